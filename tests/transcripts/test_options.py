"""The options of a continuation: what is legal, and what a record keeps of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.query import EventFilter
from asm_actors.runs.options import run_options
from asm_actors.transcripts.options import (
    KEEP_LAST,
    ContinuationOptions,
    check_continuation_opts,
    check_mode,
)
from asm_actors.transcripts.truncation import Truncation

DAY = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("mode", [False, "auto", "replay", "native"])
def test_these_modes_there_are(mode):
    assert check_mode(mode) == mode
    assert run_options({"continuation": mode})["continuation"] == mode


@pytest.mark.parametrize("mode", [True, None, 0, 1, "", "Auto", "none", ["auto"]])
def test_there_is_no_other_mode(mode):
    with pytest.raises(AsmError) as caught:
        check_mode(mode)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, {}),
        ({"limit": None}, {}),
        ({"run_id": "r1"}, {"run_id": "r1"}),
        ({"run_id": {"r2", "r1"}}, {"run_id": ["r1", "r2"]}),
        ({"type": "message_sent"}, {"type": "message_sent"}),
        ({"type": ("message_sent", "message_received")}, {"type": ["message_received", "message_sent"]}),
        ({"since": DAY}, {"since": "2026-03-01T00:00:00.000000Z"}),
        ({"since": "2026-03-01T01:00:00+01:00"}, {"since": "2026-03-01T00:00:00.000000Z"}),
        ({"limit": 0, "after": 0, "before": 9}, {"limit": 0, "after": 0, "before": 9}),
        (
            {"max_messages": 1, "max_chars": 2, "max_tokens_approx": 3},
            {"max_messages": 1, "max_chars": 2, "max_tokens_approx": 3},
        ),
        ({"compact_over_tokens": 1, "keep_last": 0}, {"compact_over_tokens": 1, "keep_last": 0}),
    ],
)
def test_options_are_kept_as_json_and_checking_twice_is_checking_once(given, kept):
    found = check_continuation_opts(given)
    assert found == kept
    assert check_continuation_opts(json.loads(json.dumps(found))) == kept
    assert run_options({"continuation_opts": given})["continuation_opts"] == kept


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (None, ErrorCode.VALIDATION_ERROR),
        ([], ErrorCode.VALIDATION_ERROR),
        ({"max_mesages": 1}, ErrorCode.VALIDATION_ERROR),
        ({1: 1}, ErrorCode.VALIDATION_ERROR),
        ({"limit": -1}, ErrorCode.VALIDATION_ERROR),
        ({"max_chars": "3"}, ErrorCode.VALIDATION_ERROR),
        ({"max_messages": True}, ErrorCode.VALIDATION_ERROR),
        ({"compact_over_tokens": 0}, ErrorCode.VALIDATION_ERROR),
        ({"keep_last": -1}, ErrorCode.VALIDATION_ERROR),
        ({"since": datetime(2026, 3, 1)}, ErrorCode.VALIDATION_ERROR),  # noqa: DTZ001 - that is what is refused
        ({"since": 5}, ErrorCode.VALIDATION_ERROR),
        ({"since": "yesterday"}, ErrorCode.VALIDATION_ERROR),
        ({"run_id": ""}, ErrorCode.VALIDATION_ERROR),
        ({"run_id": 3}, ErrorCode.VALIDATION_ERROR),
        ({"type": "message"}, ErrorCode.INVALID_EVENT_TYPE),
    ],
)
def test_anything_else_is_refused(given, code):
    with pytest.raises(AsmError) as caught:
        check_continuation_opts(given)
    assert caught.value.code is code


def test_a_typo_is_told_what_was_meant():
    with pytest.raises(AsmError) as caught:
        check_continuation_opts({"max_mesages": 1})
    assert "max_messages" in caught.value.message


def test_options_are_ready_for_use():
    assert ContinuationOptions.of({}) == ContinuationOptions()
    assert ContinuationOptions.of({}).takes_all
    found = ContinuationOptions.of({"since": DAY, "run_id": "r1", "max_chars": 9, "compact_over_tokens": 5})
    assert found.wanted == EventFilter(since=DAY, run_ids="r1")
    assert found.truncation == Truncation(max_chars=9)
    assert (found.compact_over_tokens, found.keep_last) == (5, KEEP_LAST)
    assert not found.takes_all


@pytest.mark.parametrize("opts", [{"after": 1}, {"before": 9}, {"limit": 1}, {"type": "message_sent"}])
def test_a_filter_takes_not_all(opts):
    assert not ContinuationOptions.of(opts).takes_all
