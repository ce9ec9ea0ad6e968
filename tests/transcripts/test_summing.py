"""What of a conversation is summed up, and what the summariser is sent."""

from __future__ import annotations

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.runs.run import Run, RunStatus
from asm_actors.transcripts.summing import (
    compacted_data,
    compaction_for,
    compaction_run,
    must_compact,
    to_sum_up,
    tokens_of,
)
from asm_actors.transcripts.transcript import Transcript
from tests.transcripts.history import numbered

CALL = ("tool_call_started", {"tool_call_id": "c1", "tool_name": "add", "tool_input": {"a": 1}})
DONE = ("tool_call_completed", {"tool_call_id": "c1", "tool_name": "add", "tool_output": {"sum": 3}})


def asked(text):
    return "message_sent", {"content": text}


def said(text):
    return "message_received", {"content": text}


def messages(*specs):
    return Transcript.from_events(numbered(*specs), session_id="ses").messages


TALK = [asked("one"), said("1"), asked("two"), CALL, DONE, said("2"), asked("three"), said("3")]


@pytest.mark.parametrize(
    ("keep_last", "n_messages", "up_to"),
    [(0, 8, 8), (1, 6, 6), (2, 6, 6), (3, 2, 2), (5, 2, 2), (6, 2, 2), (7, None, None), (99, None, None)],
)
def test_what_is_kept_begins_with_the_user(keep_last, n_messages, up_to):
    part = to_sum_up(messages(*TALK), keep_last)
    found = (None, None) if part is None else (part.n_messages, part.up_to_sequence)
    assert found == (n_messages, up_to)


def test_the_conversation_is_told_as_one_text():
    part = to_sum_up(messages(*TALK[:6]), 0)
    assert part.text.startswith("<conversation>\nuser: one\n\nassistant: 1\n\n")
    for line in (
        "user: one",
        "assistant: 1",
        '[assistant calls add with {"a": 1}]',
        '[add answers: {"sum": 3}]',
    ):
        assert line in part.text


def test_a_long_answer_of_a_tool_is_told_in_part():
    long = ("tool_call_completed", {"tool_call_id": "c1", "tool_name": "add", "tool_output": "x" * 100_000})
    part = to_sum_up(messages(CALL, long), 0)
    assert len(part.text) < 5000
    assert "100000 characters" in part.text


def test_a_summary_alone_is_not_summed_up_again():
    summary = ("transcript_compacted", {"summary": "gist", "up_to_sequence": 2})
    assert to_sum_up(messages(asked("one"), said("1"), summary), 0) is None
    assert to_sum_up((), 0) is None


def test_tokens_count_what_tools_were_given_and_answered():
    assert tokens_of(messages(asked("x" * 40))) == 10
    assert tokens_of(messages(CALL, DONE)) == (len('{"a": 1}') + len('{"sum": 3}')) // 4
    assert must_compact(messages(asked("x" * 44)), 10)
    assert not must_compact(messages(asked("x" * 40)), 10)


def completed(**changes):
    run = compaction_run("run_c", "ses", 1).begun(2, 9)
    details = {"continuation": {"up_to_sequence": 7, "messages": 3}}
    fields = {"status": RunStatus.COMPLETED, "output": {"content": " gist\n"}, "details": details}
    return run.replace(**(fields | changes))


def test_its_summary_is_told_with_what_it_covers():
    assert compacted_data(completed()) == {
        "summary": "gist",
        "up_to_sequence": 7,
        "run_id": "run_c",
        "messages": 3,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"output": {"content": "  "}},
        {"output": None},
        {"output": {"answer": 3}},
        {"details": {}},
        {"status": RunStatus.FAILED},
    ],
)
def test_without_a_summary_nothing_is_told(changes):
    assert compacted_data(completed(**changes)) is None


def test_a_run_that_sums_up_uses_no_tools_and_is_marked():
    run = compaction_run("run_c", "ses", 5, keep_last=3, instructions="Briefly.", adapter_opts={"model": "m"})
    assert run.input == {"prompt": "Briefly."}
    assert run.options["purpose"] == "compaction"
    assert run.options["compaction"] == {"keep_last": 3}
    assert run.options["tools"] == []
    assert run.options["adapter_opts"] == {"model": "m"}


def test_one_that_goes_before_a_run_takes_over_what_concerns_it():
    options = {
        "continuation_opts": {"keep_last": 4},
        "adapter_opts": {"model": "m", "tools": [{"name": "x"}]},
    }
    run = Run.new(
        id="run_1",
        now=1,
        session_id="ses",
        provider="p",
        options=options,
        metadata={"correlation_id": "c", "x": 1},
    )
    made = compaction_for(run, "run_2", 9)
    assert (made.session_id, made.provider, made.created_us) == ("ses", "p", 9)
    assert made.metadata == {"compacts_for": "run_1", "correlation_id": "c"}
    assert made.options["compaction"] == {"keep_last": 4}
    assert made.options["adapter_opts"] == {"model": "m"}


@pytest.mark.parametrize("bad", [{"keep_last": -1}, {"instructions": ""}, {"adapter_opts": []}])
def test_a_bad_argument_is_refused(bad):
    with pytest.raises(AsmError) as caught:
        compaction_run("run_c", "ses", 1, **bad)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
