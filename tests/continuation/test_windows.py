"""What a run is sent of the conversation if its options choose events: runs count as they are, chosen or not."""

from __future__ import annotations

import pytest

from asm_actors.journal.query import EventFilter
from asm_actors.runs.run import Run, RunStatus
from asm_actors.transcripts.builder import AWAITING_APPROVAL, FATES
from asm_actors.transcripts.continuation import continue_from
from asm_actors.transcripts.reading import read_window
from tests.continuation.past import NATIVE, PLAIN, Past, rolled_back

ANSWER = [("message_streamed", {"content": "an", "delta": "an"}), ("message_received", {"content": "answer"})]
CALL = {"tool_call_id": "c1", "tool_name": "look", "tool_input": {"at": "x"}}


@pytest.fixture
def past():
    """Events: 1 created; 2 ask r1, 3 started, 4 streamed, 5 received, 6 completed; 7 ask r2 … 11 completed."""
    made = Past()
    made.run("r1", *ANSWER)
    made.run("r2", *ANSWER)
    yield made
    made.store.close()


def sent(past, **opts):
    options = {"continuation": "replay", "continuation_opts": opts}
    run = Run(id="now", session_id="ses", options=options, from_sequence=past.store.head("ses"))
    return continue_from(past.store, past.session, run, PLAIN).messages


def texts(past, **opts):
    return [message["content"] for message in sent(past, **opts)]


ONE, TWO = ["ask r1", "answer"], ["ask r2", "answer"]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (2, []),
        (3, ONE[:1]),
        (4, ONE[:1]),
        (5, ["ask r1", "an"]),
        (6, ONE),
        (7, ONE),
        (8, [*ONE, "ask r2"]),
        (9, [*ONE, "ask r2"]),
        (11, [*ONE, *TWO]),
        (12, [*ONE, *TWO]),
    ],
)
def test_a_run_that_is_over_counts_also_if_its_end_is_not_chosen(past, before, expected):
    assert texts(past, before=before) == expected
    assert texts(past, limit=before - 1) == expected


def test_one_whose_beginning_is_not_chosen_counts_from_there(past):
    assert texts(past, after=3) == ["answer", *TWO]
    assert texts(past, after=5) == TWO
    assert texts(past, after=5, before=8) == ["ask r2"]


def test_a_type_and_a_run_choose_as_they_are_told(past):
    assert texts(past, type="message_sent") == ["ask r1", "ask r2"]
    assert texts(past, type=["message_sent", "message_streamed"]) == ["ask r1", "an", "ask r2", "an"]
    assert texts(past, run_id="r2") == TWO


@pytest.mark.parametrize(
    "opts", [{}, {"after": 12}, {"after": 13}, {"before": 15}, {"type": "message_received"}]
)
def test_one_that_is_under_way_is_left_out_whatever_is_chosen(past, opts):
    past.run("r3", ("message_received", {"content": "so far"}), status=RunStatus.RUNNING)
    assert "so far" not in texts(past, **opts)
    assert "ask r3" not in texts(past, **opts)


@pytest.mark.parametrize("opts", [{}, {"after": 11}, {"before": 14}, {"type": "message_sent"}])
def test_one_that_was_rolled_back_is_left_out_whatever_is_chosen(past, opts):
    rolled_back(past)
    assert "no" not in texts(past, **opts)


@pytest.mark.parametrize("opts", [{}, {"after": 13}, {"before": 15}, {"type": "message_received"}])
def test_a_run_that_sums_up_says_nothing_whatever_is_chosen(past, opts):
    past.run("c", ("message_received", {"content": "the gist"}), begun={"purpose": "compaction"})
    assert "the gist" not in texts(past, **opts)


def test_a_call_whose_answer_is_not_chosen_has_one_that_says_so(past):
    done = {"tool_call_id": "c1", "tool_name": "look", "tool_output": {"seen": 1}}
    past.run("r3", ("tool_call_started", CALL), ("tool_call_completed", done))
    call, answer = sent(past, after=11, before=15)[1:]
    assert (call["tool_name"], answer["role"], answer["is_error"]) == ("look", "tool", True)
    assert sent(past, after=11)[2]["tool_output"] == {"seen": 1}


def test_one_that_waits_for_an_approval_counts_until_it_goes_on(past):
    past.run("r3", ("tool_approval_requested", CALL), status=RunStatus.AWAITING_APPROVAL)
    question = past.store.head("ses")
    assert sent(past, after=11)[-1]["tool_output"] == AWAITING_APPROVAL
    past.run("r3", ("tool_call_started", CALL), status=RunStatus.RUNNING)
    assert sent(past, after=11, before=question + 1) == ()


def test_it_ends_where_the_run_begins_whatever_is_chosen(past):
    found = read_window(past.store, "ses", 8, EventFilter(limit=20))
    assert [message.content for message in found.messages] == [*ONE, "ask r2"]
    assert found.open_runs == {"r2": "open"}


def test_what_tells_the_fate_of_messages_makes_none():
    assert {"run_started", "run_completed", "run_recovered", "session_forked", "error_occurred"} <= FATES
    assert (
        not {"message_sent", "tool_call_started", "tool_approval_requested", "transcript_compacted"} & FATES
    )


def natively(past, **opts):
    options = {"continuation": "auto", "continuation_opts": opts}
    run = Run(id="now", session_id="ses", options=options, from_sequence=past.store.head("ses"))
    return continue_from(past.store, past.session, run, NATIVE).data


@pytest.mark.parametrize("opts", [{"max_messages": 4}, {"before": 99}, {"after": 1}, {"max_chars": 1000}])
def test_a_provider_goes_on_by_itself_if_options_leave_nothing_out(past, opts):
    assert natively(past, **opts)["used"] == "native"


@pytest.mark.parametrize(
    "opts", [{"max_messages": 3}, {"before": 7}, {"after": 3}, {"run_id": "r2"}, {"max_chars": 9}]
)
def test_one_that_knows_more_than_options_choose_is_sent_what_they_choose(past, opts):
    found = natively(past, **opts)
    assert found["used"] == "replay"
    assert "its options choose a part" in found["reason"]
