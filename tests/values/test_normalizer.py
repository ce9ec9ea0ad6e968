"""Raw provider events into the common form, and events in order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import attrs
import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.normalization.normalizer import (
    NormalizationContext,
    filter_by_run,
    filter_by_session,
    filter_by_type,
    normalize,
    normalize_batch,
    resolve_type,
    sort_events,
)

NOW = 1_767_225_600_000_000
HERE = NormalizationContext("ses_1", "run_1", base_id=1 << 32, now=NOW, provider="claude")


@pytest.mark.parametrize("type_", list(EventType))
def test_our_own_types_are_recognised(type_):
    assert resolve_type(type_.value) is type_
    assert resolve_type(type_) is type_


@pytest.mark.parametrize("value", [None, "", "delta", 3, [], {}])
def test_anything_else_is_an_error_that_occurred(value):
    assert resolve_type(value) is EventType.ERROR_OCCURRED


def test_a_raw_event_is_lifted_and_kept_whole():
    raw = {
        "type": "tool_call_started",
        "id": "msg_1",
        "content": "c",
        "delta": "d",
        "role": "assistant",
        "tool_name": "bash",
        "tool_input": {"command": "ls"},
        "tool_output": "x",
        "model": "m",
        "stop_reason": "end_turn",
        "metadata": {"k": 1},
        "extra": [1],
    }
    event = normalize(raw, HERE)
    assert event.type is EventType.TOOL_CALL_STARTED
    assert event.data == {
        "raw": raw,
        "content": "c",
        "delta": "d",
        "role": "assistant",
        "tool_name": "bash",
        "tool_input": {"command": "ls"},
        "tool_output": "x",
    }
    assert event.metadata == {"k": 1, "model": "m", "stop_reason": "end_turn"}
    assert (event.session_id, event.run_id, event.provider) == ("ses_1", "run_1", "claude")
    assert (event.provider_event_id, event.timestamp_us, event.sequence_number) == ("msg_1", NOW, None)
    assert event.id == f"nevt_{1 << 32:032x}"
    assert event.is_valid


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, {"raw": {}}),
        ({"type": ""}, {"raw": {"type": ""}}),
        ({"type": "error_occurred"}, {"raw": {"type": "error_occurred"}}),
        ({"type": "delta"}, {"raw": {"type": "delta"}, "original_type": "delta"}),
        ({"name": "bash"}, {"raw": {"name": "bash"}, "tool_name": "bash"}),
        ({"name": "a", "tool_name": "b"}, {"raw": {"name": "a", "tool_name": "b"}, "tool_name": "b"}),
        ({"content": None}, {"raw": {"content": None}}),
        ({"content": ""}, {"raw": {"content": ""}, "content": ""}),
    ],
)
def test_only_what_is_there_is_lifted(raw, expected):
    assert normalize(raw, HERE).data == expected


def test_keys_may_be_enum_members_and_values_foreign_objects():
    class Thing:
        def __repr__(self):
            return "thing"

    event = normalize({EventType.RUN_STARTED: 1, "content": Thing()}, HERE)
    assert event.data == {"raw": {"run_started": 1, "content": "thing"}, "content": "thing"}
    assert event.is_valid


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"id": "a", "message_id": "b"}, "a"),
        ({"message_id": "b"}, "b"),
        ({"id": 7}, "7"),
        ({"id": ""}, None),
        ({"id": "", "message_id": "b"}, "b"),
        ({"id": "x" * 300}, None),
        ({"id": ["a"]}, None),
        ({"id": True}, None),
        ({}, None),
    ],
)
def test_the_providers_own_id_is_taken_if_it_can_be_a_name(raw, expected):
    assert normalize(raw, HERE).provider_event_id == expected


@pytest.mark.parametrize(
    ("timestamp", "us"),
    [
        (datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC), NOW + 1_000_000),
        (datetime(2026, 1, 1, 2, 0, 1, tzinfo=timezone(timedelta(hours=2))), NOW + 1_000_000),
        ("2026-01-01T00:00:01Z", NOW + 1_000_000),
        (datetime(2026, 1, 1, 0, 0, 1), NOW),  # noqa: DTZ001 - a time without a zone is what is tested
        ("soon", NOW),
        (1_767_225_601, NOW),
        (None, NOW),
    ],
)
def test_the_providers_time_is_taken_if_it_can_be_read(timestamp, us):
    assert normalize({"timestamp": timestamp}, HERE).timestamp_us == us


@pytest.mark.parametrize("raw", [None, [], "x", 3])
def test_a_raw_event_is_a_map(raw):
    with pytest.raises(AsmError) as caught:
        normalize(raw, HERE)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


@pytest.mark.parametrize(
    "change", [{"session_id": None}, {"session_id": ""}, {"run_id": None}, {"run_id": ""}]
)
def test_the_context_needs_session_and_run(change):
    with pytest.raises(AsmError):
        normalize({}, attrs.evolve(HERE, **change))


def test_a_batch_is_numbered_in_its_order():
    events = normalize_batch([{"content": "a"}, {"content": "b"}], HERE, sequence_offset=5)
    assert [event.sequence_number for event in events] == [5, 6]
    assert [event.data["content"] for event in events] == ["a", "b"]
    assert len({event.id for event in events}) == 2
    assert normalize_batch([{}], HERE)[0].sequence_number == 0
    assert normalize_batch([], HERE) == ()


def test_one_bad_event_fails_the_batch_and_tells_of_both_kinds():
    with pytest.raises(AsmError, match="2 of 3") as caught:
        normalize_batch([{"content": "a"}, 3, None], HERE)
    details = caught.value.details
    assert [(bad["sequence_number"], bad["raw"]) for bad in details["errors"]] == [(1, 3), (2, None)]
    assert all(bad["error"]["code"] == "validation_error" for bad in details["errors"])
    assert [good.data["content"] for good in details["successful"]] == ["a"]
    assert caught.value.to_map()["details"]["successful"][0]["data"]["content"] == "a"


def event(id_, sequence, us=0, **fields):
    defaults = {"type": EventType.RUN_STARTED, "session_id": "s", "run_id": "r"}
    return Event(**{"id": id_, "sequence_number": sequence, "timestamp_us": us, **defaults, **fields})


@pytest.mark.parametrize(
    "expected",
    [
        [event("a", 1), event("b", 2)],
        [event("a", 0), event("b", None)],
        [event("b", 9, us=5), event("a", None, us=1)],
        [event("b", 1, us=1), event("a", 1, us=2)],
        [event("a", 1), event("b", 1)],
        [event("b", None, us=1), event("a", None, us=2)],
        [event("a", None), event("b", None)],
    ],
)
def test_sorting_goes_by_number_then_time_then_id(expected):
    assert list(sort_events(expected)) == expected
    assert list(sort_events(reversed(expected))) == expected


def test_filters_keep_the_order():
    events = (
        event("a", 1, run_id="r2"),
        event("b", 2, session_id="s2"),
        event("c", 3, type=EventType.RUN_FAILED),
    )
    assert [e.id for e in filter_by_run(events, "r")] == ["b", "c"]
    assert [e.id for e in filter_by_session(events, "s")] == ["a", "c"]
    assert [e.id for e in filter_by_type(events, "run_failed")] == ["c"]
    assert [e.id for e in filter_by_type(events, EventType.RUN_STARTED)] == ["a", "b"]
    assert [e.id for e in filter_by_type(events, ["run_failed", EventType.RUN_STARTED])] == ["a", "b", "c"]
    assert filter_by_type(events, []) == ()
    with pytest.raises(AsmError):
        filter_by_type(events, "nonsense")
