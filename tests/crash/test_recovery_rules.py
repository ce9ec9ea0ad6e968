"""What must become of an open run, and how turns and calls must follow each other: the rules find each break."""

from __future__ import annotations

import attrs
import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.runs.run import Run, RunStatus
from asm_actors.testing.call_promises import call_faults
from asm_actors.testing.recovery_rules import Fate, Outlook, RecoveryRules, outlook_of, recovery_faults

E = EventType
RULES = RecoveryRules()


def made(*given):
    """Events of these types and payloads."""
    return [
        Event(
            id=f"evt_{k}", session_id="s", run_id="r", type=kind, timestamp_us=k, sequence_number=k, data=data
        )
        for k, (kind, data) in enumerate(given, 1)
    ]


def run_of(status=RunStatus.RUNNING, **fields):
    run = Run.new(id="r", session_id="s", input="hello", now=1)
    return run.replace(status=status, **fields)


def turn(number, *calls):
    pending = [{"id": call, "name": "t", "input": {}} for call in calls]
    return E.TURN_COMPLETED, {"turn": number, "pending_tool_calls": pending}


def called(kind, call_id="c", attempt=1, turn=1, safe=False):
    return kind, {"tool_call_id": call_id, "attempt": attempt, "turn": turn, "safe_to_repeat": safe}


STARTED, COMPLETED, FAILED = E.TOOL_CALL_STARTED, E.TOOL_CALL_COMPLETED, E.TOOL_CALL_FAILED
OWN = (STARTED, {"tool_call_id": "o"})
BEGUN = (E.RUN_STARTED, {})
SAID = (E.MESSAGE_STREAMED, {"content": "x"})
LOST = (FAILED, {"tool_call_id": "c", "attempt": 1, "turn": 1, "error": {"code": "outcome_unknown"}})
GRANTED = (E.TOOL_APPROVAL_GRANTED, {"tool_call_id": "c"})
CRASHED = (E.RUN_RECOVERED, {"interrupted_by": "crash", "decision": "resume"})
AGAIN = (E.RUN_RECOVERED, {"interrupted_by": "crash", "decision": "retry"})


@pytest.mark.parametrize(
    ("options", "events", "fate"),
    [
        ({}, [BEGUN, SAID], Fate.GOES_ON),
        ({"on_restart": "fail"}, [BEGUN], Fate.INTERRUPTED),
        ({}, [BEGUN, SAID, OWN], Fate.INTERRUPTED),
        ({}, [BEGUN, OWN, turn(1, "c"), called(STARTED, safe=True)], Fate.GOES_ON),
        ({"on_restart": "retry"}, [BEGUN, OWN], Fate.GOES_ON),
        ({"on_restart": "retry"}, [BEGUN, turn(1, "c"), called(STARTED)], Fate.UNKNOWN),
        ({"on_restart": "retry"}, [BEGUN, turn(1, "c"), called(STARTED, safe=True)], Fate.GOES_ON),
        ({"on_restart": "retry"}, [BEGUN, turn(1, "c"), called(STARTED), called(COMPLETED)], Fate.GOES_ON),
        ({"on_restart": "retry"}, [BEGUN, turn(1, "c"), called(STARTED), LOST, OWN], Fate.INTERRUPTED),
        ({}, [BEGUN, turn(1, "c"), called(STARTED)], Fate.UNKNOWN),
        ({}, [BEGUN, turn(1, "c"), called(STARTED), called(COMPLETED)], Fate.GOES_ON),
        ({"on_unknown_outcome": "report"}, [BEGUN, turn(1, "c"), called(STARTED)], Fate.GOES_ON),
        ({"on_unknown_outcome": "ask"}, [BEGUN, turn(1, "c"), called(STARTED)], Fate.IS_DECIDED),
        ({"on_unknown_outcome": "ask"}, [BEGUN, turn(1, "c"), called(STARTED), GRANTED], Fate.GOES_ON),
    ],
)
def test_a_run_that_was_under_way_goes_on_or_ends_by_its_policy(options, events, fate):
    assert outlook_of(run_of(options=options), made(*events), RULES).fate is fate


def test_a_run_that_survived_as_many_crashes_as_it_may_is_interrupted_by_the_next_one_but_not_by_a_stop():
    run = run_of(recoveries=3)
    assert outlook_of(run, made(BEGUN), RULES).fate is Fate.INTERRUPTED
    stopped = run.replace(options={"interrupted_by": "stop"})
    assert outlook_of(stopped, made(BEGUN), RULES) == Outlook(Fate.GOES_ON, is_crash=False)


def test_a_run_that_waits_goes_on_waiting():
    assert outlook_of(run_of(RunStatus.PENDING), [], RULES).fate is Fate.WAITS
    asked = made(BEGUN, turn(1, "c"), called(STARTED))
    assert outlook_of(run_of(RunStatus.AWAITING_APPROVAL), asked, RULES).unknown == ("c",)


INTERRUPTED = AsmError(ErrorCode.INTERRUPTED, "so it is", details={"recoveries": 0}).to_record()
UNKNOWN = AsmError(ErrorCode.OUTCOME_UNKNOWN, "so it is").to_record()
ASKED = (E.RUN_RECOVERED, {"decision": "ask", "on_restart": "retry"})


@pytest.mark.parametrize(
    ("status", "options", "more", "ends"),
    [
        (RunStatus.RUNNING, {"on_restart": "retry", "on_unknown_outcome": "ask"}, [], True),
        (RunStatus.RUNNING, {"on_unknown_outcome": "ask"}, [], False),
        (RunStatus.AWAITING_APPROVAL, {}, [ASKED], True),
        (RunStatus.AWAITING_APPROVAL, {}, [], False),
    ],
)
def test_a_denial_ends_a_run_that_would_begin_again(status, options, more, ends):
    events = made(BEGUN, turn(1, "c", "d"), called(STARTED), called(STARTED, "d"), *more)
    outlook = outlook_of(run_of(status, options=options), events, RULES)
    assert (outlook.fate, outlook.unknown, outlook.ends_if_denied) == (Fate.IS_DECIDED, ("c", "d"), ends)
    failed = run_of(error=UNKNOWN)
    assert (recovery_faults(run_of(RunStatus.AWAITING_APPROVAL), failed, outlook) == []) is ends


@pytest.mark.parametrize(
    ("fate", "changes", "is_sound"),
    [
        (Fate.WAITS, {}, True),
        (Fate.WAITS, {"error": INTERRUPTED}, False),
        (Fate.WAITS, {"recoveries": 1}, False),
        (Fate.INTERRUPTED, {"error": INTERRUPTED}, True),
        (Fate.INTERRUPTED, {}, False),
        (Fate.UNKNOWN, {"error": INTERRUPTED}, False),
    ],
)
def test_what_became_of_a_run_is_held_against_what_must(fate, changes, is_sound):
    old = run_of(RunStatus.PENDING)
    assert (recovery_faults(old, old.replace(**changes), Outlook(fate)) == []) is is_sound


def test_a_crash_is_counted_and_a_stop_is_not():
    old = run_of()
    assert recovery_faults(old, old, Outlook(Fate.GOES_ON, is_crash=False)) == []
    assert len(recovery_faults(old, old, Outlook(Fate.GOES_ON))) == 1
    assert recovery_faults(old, old.replace(recoveries=1), Outlook(Fate.GOES_ON)) == []


@pytest.mark.parametrize(
    "events",
    [
        [BEGUN, SAID],
        [BEGUN, SAID, turn(1, "c"), called(STARTED), called(COMPLETED), SAID],
        [BEGUN, turn(1, "c"), called(STARTED, safe=True), CRASHED, called(STARTED, attempt=2)],
        [BEGUN, turn(1, "c"), called(STARTED), GRANTED, CRASHED, called(STARTED, attempt=2)],
        [BEGUN, turn(1, "c"), called(STARTED), CRASHED, called(FAILED)],
        [BEGUN, turn(1, "c"), called(STARTED), called(COMPLETED), AGAIN, SAID, turn(1, "c"), called(STARTED)],
        [BEGUN, turn(1, "c"), called(STARTED, safe=True), AGAIN, SAID, turn(1, "c"), called(STARTED)],
        [BEGUN, turn(1, "c"), called(STARTED), GRANTED, AGAIN, SAID, turn(1, "c"), called(STARTED)],
        [BEGUN, OWN, SAID],
    ],
)
def test_turns_and_calls_in_their_order_are_no_fault(events):
    kinds = [kind for kind, _ in events]
    run = run_of(turn_count=kinds.count(E.TURN_COMPLETED), recoveries=kinds.count(E.RUN_RECOVERED))
    assert list(call_faults(run, made(*events))) == []


@pytest.mark.parametrize(
    ("events", "fault"),
    [
        ([turn(2)], "follows turn 0"),
        ([turn(1, "c"), called(STARTED, "d")], "did not ask for"),
        ([turn(1, "c"), called(STARTED), called(STARTED, attempt=2)], "which nobody allowed"),
        ([turn(1, "c"), called(STARTED, safe=True), called(STARTED)], "attempt 1 was the last"),
        ([turn(1, "c"), called(STARTED), called(COMPLETED), called(COMPLETED)], "follows its end"),
        ([turn(1, "c"), called(STARTED), called(COMPLETED), called(STARTED, attempt=2)], "follows its end"),
        ([turn(1, "c"), called(COMPLETED)], "attempt 0 was begun"),
        ([turn(1, "c"), called(STARTED), AGAIN], "c may have had its effect"),
        ([turn(1, "c"), called(STARTED), SAID], "had no end when the next turn said"),
        ([turn(1, "c"), called(STARTED), turn(2)], "had no end when turn 2"),
        ([turn(1, "c"), called(STARTED, turn=2)], "belongs to turn 2"),
    ],
)
def test_a_break_of_the_order_of_turns_and_calls_is_found(events, fault):
    kinds = [kind for kind, _ in events]
    run = run_of(turn_count=kinds.count(E.TURN_COMPLETED))
    assert any(fault in found for found in call_faults(run, made(BEGUN, *events)))


def test_a_record_that_counts_otherwise_is_found():
    events = made(BEGUN, CRASHED)
    assert len(list(call_faults(run_of(), events))) == 1
    assert len(list(call_faults(attrs.evolve(run_of(), turn_count=1, recoveries=1), events))) == 1
