"""Every (status, operation) pair: what it does, what it refuses, and that a refusal changes nothing."""

from __future__ import annotations

import pytest

from asm_actors.errors import ErrorCode as E
from asm_actors.sessions.session import SessionStatus

RUN_OPERATIONS = {
    "pause": lambda stage, run_id: stage.manager.pause_run(run_id, reason="tea", by="bob"),
    "resume": lambda stage, run_id: stage.manager.resume_run(run_id, reason="back", by="bob"),
    "cancel": lambda stage, run_id: stage.manager.cancel_run(run_id, reason="no", by="bob"),
    "interrupt": lambda stage, run_id: stage.manager.interrupt_run(run_id, reason="no", by="bob"),
    "steer": lambda stage, run_id: stage.manager.steer_run(run_id, "left", by="bob"),
}
OVER = ("completed", "failed", "cancelled", "timeout")
# state -> operation -> the error; "same" if nothing changes; else the status that the call returns, and the final one.
TABLE = {
    "created": {
        "pause": E.INVALID_TRANSITION,
        "resume": E.INVALID_OPERATION,
        "steer": E.INVALID_OPERATION,
        "cancel": ("cancelled", "cancelled"),
        "interrupt": ("cancelled", "cancelled"),
    },
    "queued": {
        "pause": E.INVALID_TRANSITION,
        "resume": E.INVALID_OPERATION,
        "steer": E.INVALID_OPERATION,
        "cancel": ("cancelled", "cancelled"),
        "interrupt": ("cancelled", "cancelled"),
    },
    "running": {
        "pause": ("running", "paused"),
        "resume": "same",
        "steer": ("running", "completed"),
        "cancel": ("cancelled", "cancelled"),
        "interrupt": ("cancelled", "cancelled"),
    },
    "calling": {
        "pause": ("running", "paused"),
        "resume": "same",
        "steer": E.INVALID_OPERATION,
        "cancel": ("cancelled", "cancelled"),
        "interrupt": ("cancelled", "cancelled"),
    },
    "pausing": {
        "pause": "same",
        "resume": ("running", "completed"),
        "steer": ("running", "paused"),
        "cancel": ("cancelled", "cancelled"),
        "interrupt": ("cancelled", "cancelled"),
    },
    "paused": {
        "pause": "same",
        "resume": ("running", "completed"),
        "steer": E.INVALID_OPERATION,
        "cancel": ("cancelled", "cancelled"),
        "interrupt": ("cancelled", "cancelled"),
    },
    "held": {
        "pause": ("paused", "paused"),
        "resume": "same",
        "steer": E.INVALID_OPERATION,
        "cancel": ("cancelled", "cancelled"),
        "interrupt": ("cancelled", "cancelled"),
    },
    "awaiting_approval": {
        "pause": ("awaiting_approval", "awaiting_approval"),
        "resume": "same",
        "steer": E.INVALID_OPERATION,
        "cancel": ("cancelled", "cancelled"),
        "interrupt": ("cancelled", "cancelled"),
    },
    **{
        over: {
            "pause": E.INVALID_OPERATION,
            "resume": E.INVALID_OPERATION,
            "steer": E.INVALID_OPERATION,
            "cancel": "same",
            "interrupt": "same",
        }
        for over in OVER
    },
}


def cells(is_meant):
    found = [
        (state, name) for state, row in TABLE.items() for name, outcome in row.items() if is_meant(outcome)
    ]
    return pytest.mark.parametrize(("state", "operation"), found, ids=[f"{s}-{o}" for s, o in found])


def test_the_table_holds_every_state_and_operation(make_stage):
    assert set(TABLE) == set(make_stage.STATES)
    assert all(set(row) == set(RUN_OPERATIONS) for row in TABLE.values())


@pytest.mark.parametrize("state", TABLE)
def test_a_run_can_be_brought_to_each_state(stage, state):
    run_id = stage.to(state)
    expected = {
        "created": "pending",
        "queued": "pending",
        "calling": "running",
        "pausing": "running",
        "held": "paused",
    }
    assert stage.sim.run(run_id).status == expected.get(state, state)


@cells(lambda outcome: isinstance(outcome, E))
def test_what_is_refused_changes_nothing_and_names_the_run(stage, state, operation):
    run_id = stage.to(state)
    before = stage.facts(run_id)
    with pytest.raises(Exception, match=run_id) as caught:
        RUN_OPERATIONS[operation](stage, run_id)
    assert caught.value.code is TABLE[state][operation]
    assert stage.facts(run_id) == before
    stage.finish()


@cells(lambda outcome: outcome == "same")
def test_what_makes_no_difference_changes_nothing_and_returns_the_run(stage, state, operation):
    run_id = stage.to(state)
    before = stage.facts(run_id)
    assert RUN_OPERATIONS[operation](stage, run_id) == before[0]
    assert stage.facts(run_id) == before
    stage.finish()


@cells(lambda outcome: isinstance(outcome, tuple))
def test_what_is_done_is_durable_when_the_call_returns_and_leads_to_its_end(stage, state, operation):
    run_id = stage.to(state)
    now, finally_ = TABLE[state][operation]
    returned = RUN_OPERATIONS[operation](stage, run_id)
    assert returned.status == now
    assert stage.sim.run(run_id) == returned or operation == "steer"
    stage.finish()
    assert stage.sim.run(run_id).status == finally_


@pytest.mark.parametrize("state", [state for state in TABLE if state not in OVER])
@pytest.mark.parametrize("operation", ["cancel", "interrupt"])
def test_an_open_run_ends_once_and_says_who_ended_it_and_why(stage, state, operation):
    run_id = stage.to(state)
    run = RUN_OPERATIONS[operation](stage, run_id)
    (ended,) = [event for event in stage.sim.events_of(run_id) if event.type == "run_cancelled"]
    told = (
        {"reason": "no"}
        if operation == "cancel"
        else {"reason": "interrupted", "operation": "interrupt", "note": "no"}
    )
    assert told.items() <= ended.data.items()
    assert ended.data["by"] == "bob"
    assert run.error["code"] == "cancelled"
    assert stage.provider.open_streams == (1 if state == "queued" else 0)
    stage.finish()


# --- Sessions --------------------------------------------------------------------------------------------------------

S = SessionStatus
SESSION_OPERATIONS = {
    "pause": lambda manager, key: manager.pause_session(key, reason="tea", by="bob"),
    "resume": lambda manager, key: manager.resume_session(key, reason="back", by="bob"),
    "complete": lambda manager, key: manager.complete_session(key),
    "fail": lambda manager, key: manager.fail_session(key, "boom"),
    "cancel": lambda manager, key: manager.cancel_session(key, reason="no", by="bob"),
    "interrupt": lambda manager, key: manager.interrupt_session(key, reason="no", by="bob"),
}
PATHS = {
    S.PENDING: (),
    S.ACTIVE: ("activate",),
    S.PAUSED: ("activate", "pause"),
    S.COMPLETED: ("activate", "complete"),
}
PATHS |= {S.FAILED: ("fail",), S.CANCELLED: ("cancel",)}
SESSION_TABLE = {
    (S.PENDING, "pause"): E.INVALID_TRANSITION,
    (S.PENDING, "resume"): E.INVALID_OPERATION,
    (S.PENDING, "complete"): E.INVALID_TRANSITION,
    (S.PENDING, "fail"): "session_failed",
    (S.PENDING, "cancel"): "session_cancelled",
    (S.PENDING, "interrupt"): None,
    (S.ACTIVE, "pause"): "session_paused",
    (S.ACTIVE, "resume"): None,
    (S.ACTIVE, "complete"): "session_completed",
    (S.ACTIVE, "fail"): "session_failed",
    (S.ACTIVE, "cancel"): "session_cancelled",
    (S.ACTIVE, "interrupt"): None,
    (S.PAUSED, "pause"): None,
    (S.PAUSED, "resume"): "session_resumed",
    (S.PAUSED, "complete"): "session_completed",
    (S.PAUSED, "fail"): "session_failed",
    (S.PAUSED, "cancel"): "session_cancelled",
    (S.PAUSED, "interrupt"): None,
    **{
        (over, name): None if name in (same, "interrupt") else E.INVALID_TRANSITION
        for over, same in ((S.COMPLETED, "complete"), (S.FAILED, "fail"), (S.CANCELLED, "cancel"))
        for name in SESSION_OPERATIONS
    },
}


def test_the_table_of_sessions_holds_every_pair():
    assert set(SESSION_TABLE) == {(status, name) for status in S for name in SESSION_OPERATIONS}


@pytest.mark.parametrize(("status", "operation"), SESSION_TABLE, ids=[f"{s}-{o}" for s, o in SESSION_TABLE])
def test_each_operation_on_a_session_does_what_the_table_says_and_no_more(stage, status, operation):
    sim, manager = stage.sim, stage.manager
    session = manager.start_session(agent_id="agent")
    for step in PATHS[status]:
        getattr(manager, f"{step}_session")(session.id)
    before = sim.session(session.id), sim.types(session.id)
    outcome = SESSION_TABLE[status, operation]
    code = stage.codes(SESSION_OPERATIONS[operation], manager, session.id)
    assert code == (outcome if isinstance(outcome, E) else None)
    after = sim.session(session.id), sim.types(session.id)
    if isinstance(outcome, str) and not isinstance(outcome, E):
        assert after[1] == [*before[1], outcome]
        if operation in ("pause", "resume", "cancel"):
            assert sim.events(session.id)[-1].data["by"] == "bob"
    else:
        assert after == before
    sim.check_promises()
