"""How far a run had come, read from its events: the same as what a live run knew."""

from __future__ import annotations

import pytest

from asm_actors.events import Event, EventType
from asm_actors.runs.calls import Call
from asm_actors.runs.messages import RunAppends, RunEnded
from asm_actors.runs.resumption import READ, Progress, must_be_read, progress_of
from asm_actors.runs.run import Run, RunStatus
from asm_actors.runs.state import SlotTaken, ToolEnded
from asm_actors.tools.tool import Tool

T = EventType
TOOLS = (
    Tool("look", "", {"type": "object"}, print, safe_to_repeat=True),
    Tool("charge", "", {"type": "object"}, print),
)
MESSAGE = {"content": "Let me see. ", "role": "assistant"}
BOUNDARY = {"turn": 1, "pending_tool_calls": [{"id": "call_1", "name": "charge", "input": {"amount": 1}}]}
CALL = {"tool_call_id": "call_1", "tool_name": "charge", "turn": 1, "attempt": 1}
ENDED = CALL | {"tool_output": "paid"}
OF_PROVIDER = {"tool_call_id": "x", "tool_name": "search", "tool_input": {}}
STEP = ((T.MESSAGE_RECEIVED, MESSAGE), (T.TURN_COMPLETED, BOUNDARY))
QUESTION = {"tool_call_id": "call_1", "tool_name": "charge", "policy_name": "outcome_unknown"}


def run(status=RunStatus.RUNNING, **fields):
    made = Run.new(id="run_1", now=1, session_id="ses_1").replace(from_sequence=10, **fields)
    return made if status is RunStatus.PENDING else made.with_status("running", 1).with_status(status, 1)


def event(number, kind, data):
    return Event(f"evt_{number}", kind, 1, "ses_1", "run_1", number, data)


def read(*told, n_pieces=None):
    events = [event(11, T.RUN_STARTED, {})]
    events += [event(number, kind, data) for number, (kind, data) in enumerate(told, start=12)]
    return progress_of(run(), events, n_pieces)


def record(bench, steps):
    """What a live run tells its session while `steps` are done with it, as stored events; and the run."""
    live = bench("waiting", tools=TOOLS)
    effects = live.tell(SlotTaken())
    for step in steps:
        effects += step(live)
    drafts = [
        draft
        for effect in effects
        if type(getattr(effect, "message", None)) in (RunAppends, RunEnded)
        for draft in effect.message.drafts
    ]
    return live, [event(n, draft.type, draft.data) for n, draft in enumerate(drafts, start=11)]


def call_both(live):
    return live.call(("look", {"at": 1}), ("charge", {"amount": 2}))


def call_none_there_is(live):
    return live.call(("search", {}))


STEPS = {
    "started": [],
    "spoke": [lambda live: live.say("Let")],
    "calls begun": [call_both],
    "one answered": [call_both, lambda live: live.durable(), lambda live: live.tell(ToolEnded("call_2", 5))],
    "all answered": [
        call_both,
        lambda live: live.durable(),
        lambda live: live.tell(ToolEnded("call_2", {"x": 1})),
        lambda live: live.tell(ToolEnded("call_1", [1])),
    ],
    "in the next turn": [
        call_both,
        lambda live: live.durable(),
        lambda live: live.tell(ToolEnded("call_2", 5)),
        lambda live: live.tell(ToolEnded("call_1", 6)),
        lambda live: live.say("So"),
    ],
    "three turns": [
        call_both,
        lambda live: live.durable(),
        lambda live: live.tell(ToolEnded("call_2", 5)),
        lambda live: live.tell(ToolEnded("call_1", 6)),
        call_none_there_is,
        lambda live: live.call(("look", {"at": 3}), text=""),
        lambda live: live.durable(),
    ],
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_what_is_rebuilt_is_what_the_live_run_had(bench, steps):
    live, events = record(bench, steps)
    progress = progress_of(run(), [each for each in events if each.type in READ])
    request = live.state.request
    rebuilt = (*request.messages[:2], *progress.messages)
    if progress.calls and not live.state.calls:
        rebuilt += tuple(call.answer for call in progress.calls)
    assert rebuilt == request.messages
    if live.state.calls:
        assert progress.own_calls() == live.state.calls
        assert progress.turn == request.turn
    elif progress.calls:
        assert progress.turn + 1 == request.turn
    else:
        assert progress.turn + 1 == request.turn


# --- A table of what was told last ------------------------------------------------------------------------------------


def test_before_the_first_turn_nothing_counts():
    assert read() == Progress(after=11, n_discarded=0)


def test_the_pieces_of_a_turn_that_was_cut_are_counted_and_not_used():
    progress = read((T.MESSAGE_RECEIVED, MESSAGE), n_pieces=3)
    assert (progress.turn, progress.messages, progress.n_discarded, progress.after) == (0, (), 4, 11)


def test_a_call_that_was_never_begun_may_begin():
    (call,) = read(*STEP).calls
    assert (call.is_started, call.may_begin, call.is_unknown) == (False, True, False)


def test_a_call_that_began_and_has_no_end_is_unknown():
    progress = read(*STEP, (T.TOOL_CALL_STARTED, CALL | {"safe_to_repeat": False}))
    assert [call.id for call in progress.unknown] == ["call_1"]
    assert [call.id for call in progress.undecided] == ["call_1"]
    assert progress.after == 14


def test_one_that_is_safe_to_repeat_is_not():
    progress = read(*STEP, (T.TOOL_CALL_STARTED, CALL | {"safe_to_repeat": True}))
    assert progress.unknown == []
    assert progress.calls[0].may_begin


@pytest.mark.parametrize(("kind", "is_error"), [(T.TOOL_CALL_COMPLETED, False), (T.TOOL_CALL_FAILED, True)])
def test_a_call_that_ended_has_its_answer(kind, is_error):
    progress = read(*STEP, (T.TOOL_CALL_STARTED, CALL), (kind, ENDED))
    assert progress.calls[0].answer == {
        "role": "tool",
        "content": "",
        "tool_call_id": "call_1",
        "tool_name": "charge",
        "tool_output": "paid",
        "is_error": is_error,
    }
    assert progress.unknown == []


def test_tools_of_the_provider_in_the_turn_that_was_cut_are_noted():
    assert read((T.TOOL_CALL_STARTED, OF_PROVIDER)).has_called
    assert not read(
        (T.TOOL_CALL_STARTED, OF_PROVIDER), (T.TOOL_CALL_COMPLETED, OF_PROVIDER), *STEP
    ).has_called


@pytest.mark.parametrize(
    ("data", "has_called"),
    [
        ({"will_retry": True}, False),
        ({"retry_in_s": 1.0}, False),
        ({"source": "provider", "retry_in_s": 1.0}, True),
        ({}, True),
    ],
)
def test_a_turn_that_began_again_starts_from_nothing(data, has_called):
    assert read((T.TOOL_CALL_STARTED, OF_PROVIDER), (T.ERROR_OCCURRED, data)).has_called is has_called


def test_a_turn_that_was_cut_before_does_not_count_again():
    again = (T.MESSAGE_RECEIVED, MESSAGE), (T.RUN_RECOVERED, {"decision": "resume"})
    progress = read(*again, *STEP)
    assert len(progress.messages) == 1
    assert progress.turn == 1


def test_a_run_that_was_begun_again_from_its_input_starts_from_nothing():
    progress = read(*STEP, (T.TOOL_CALL_STARTED, CALL), (T.RUN_RECOVERED, {"decision": "retry"}))
    assert progress == Progress(after=15, n_discarded=0)


def test_what_was_decided_is_still_known_then_and_what_the_model_was_told_is_not():
    lost = CALL | {"error": {"code": "outcome_unknown", "message": "so it is"}}
    told = (*STEP, (T.TOOL_CALL_STARTED, CALL), (T.TOOL_CALL_FAILED, lost))
    assert [call.id for call in read(*told, *STEP).lost] == ["call_1"]
    assert read(*told, (T.RUN_RECOVERED, {"decision": "retry"})).lost == ()
    granted = (T.TOOL_APPROVAL_GRANTED, QUESTION)
    assert read(*STEP, granted, (T.RUN_RECOVERED, {"decision": "retry"})).decided == {"call_1": "granted"}


@pytest.mark.parametrize(
    ("recovered", "begins_again"),
    [
        ([{"decision": "ask", "on_restart": "retry"}], True),
        ([{"decision": "ask", "on_restart": "resume"}], False),
        ([{"decision": "resume", "on_restart": "retry"}], False),
        ([{"decision": "ask", "on_restart": "retry"}, {"decision": "retry", "on_restart": "retry"}], False),
    ],
)
def test_what_a_grant_means_is_known(recovered, begins_again):
    told = [(T.RUN_RECOVERED, data) for data in recovered]
    assert read(*STEP, (T.TOOL_CALL_STARTED, CALL), *told).begins_again is begins_again


@pytest.mark.parametrize(
    ("decision", "unknown", "undecided"),
    [
        (T.TOOL_APPROVAL_REQUESTED, 1, 1),
        (T.TOOL_APPROVAL_GRANTED, 0, 0),
        (T.TOOL_APPROVAL_DENIED, 1, 0),
    ],
)
def test_what_was_decided_about_an_unknown_call_is_known(decision, unknown, undecided):
    told = [*STEP, (T.TOOL_CALL_STARTED, CALL), (T.TOOL_APPROVAL_REQUESTED, QUESTION), (decision, QUESTION)]
    progress = read(*told)
    assert (len(progress.unknown), len(progress.undecided)) == (unknown, undecided)
    assert progress.decided == {"call_1": decision.value.removeprefix("tool_approval_")}


def test_a_grant_is_used_up_by_the_call_it_allowed():
    told = [*STEP, (T.TOOL_CALL_STARTED, CALL), (T.TOOL_APPROVAL_GRANTED, QUESTION)]
    progress = read(*told, (T.TOOL_CALL_STARTED, CALL | {"attempt": 2}))
    assert len(progress.undecided) == 1
    assert progress.decided == {"call_1": "granted"}


# --- Whether the events are read at all ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "is_read"),
    [
        (run(RunStatus.PENDING), False),
        (run(), False),
        (run(turn_count=1), True),
        (run(provider_metadata={"has_called_tools": True}), True),
        (run(RunStatus.AWAITING_APPROVAL), True),
        (run(RunStatus.PAUSED), True),
    ],
)
def test_events_are_read_only_if_they_tell_more_than_the_record(record, is_read):
    assert must_be_read(record) is is_read


def test_decisions_make_a_new_progress():
    call = Call("call_1", "charge", {}, attempt=1, is_started=True)
    before = Progress(calls=(call,))
    after = before.with_decision("call_1", "granted")
    assert call.decision is None
    assert after.undecided == []
    assert before.undecided == [call]
