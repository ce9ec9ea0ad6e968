"""What was done to a run, as its own events tell it."""

from __future__ import annotations

import json

from asm_actors.errors import ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.sessions.control_history import operations_of


def brief(history):
    return [(one["operation"], one["by"], one["reason"]) for one in history]


def test_it_tells_what_was_done_when_by_whom_and_why(stage):
    run_id = stage.to("running")
    stage.manager.steer_run(run_id, "left", by="eve")
    stage.manager.pause_run(run_id, reason="tea", by="ann")
    stage.sim.advance(20)
    stage.manager.resume_run(run_id, reason="back", by="bob")
    stage.manager.interrupt_run(run_id, reason="enough", by="cid")
    history = stage.manager.get_operation_history(run_id)
    assert brief(history) == [
        ("steer", "eve", None),
        ("pause", "ann", "tea"),
        ("resume", "bob", "back"),
        ("interrupt", "cid", "interrupted"),
    ]
    events = {event.id: event for event in stage.sim.events_of(run_id)}
    for one in history:
        event = events[one["event_id"]]
        assert one["sequence_number"] == event.sequence_number
        assert one["timestamp"] == event.to_map()["timestamp"]
        assert one["result"] == "ok"
    assert json.loads(json.dumps(history)) == history


def test_the_status_tells_the_last_one_and_what_it_has_come_to(stage):
    status = stage.manager.get_operation_status
    run_id = stage.to("running")
    assert status(run_id) == {"last_operation": None, "state": "running", "history": []}
    stage.manager.pause_run(run_id)
    assert (status(run_id)["last_operation"], status(run_id)["state"]) == (None, "pausing")
    stage.sim.advance(20)
    assert (status(run_id)["last_operation"], status(run_id)["state"]) == ("pause", "paused")
    stage.manager.interrupt_run(run_id)
    assert (status(run_id)["last_operation"], status(run_id)["state"]) == ("interrupt", "interrupted")
    other = stage.to("cancelled")
    assert (status(other)["last_operation"], status(other)["state"]) == ("cancel", "cancelled")


def test_it_survives_everything(stage):
    run_id = stage.to("paused")
    before = stage.manager.get_operation_history(run_id)
    stage.sim.kill()
    stage.sim.restart()
    assert stage.manager.get_operation_history(run_id) == before


def test_decisions_about_calls_are_operations_too(stage):
    run_id = stage.to("awaiting_approval")
    stage.manager.deny_approval(run_id, "call_1", by="ann", reason="too risky")
    (denied,) = stage.manager.get_operation_history(run_id)
    assert brief([denied]) == [("deny_approval", "ann", "too risky")]
    assert denied["tool_call_id"] == "call_1"


def test_what_was_refused_or_made_no_difference_is_not_in_it(stage):
    run_id = stage.to("paused")
    before = stage.manager.get_operation_history(run_id)
    stage.manager.pause_run(run_id)
    assert stage.codes(stage.manager.steer_run, run_id, "left") is ErrorCode.INVALID_OPERATION
    assert stage.manager.get_operation_history(run_id) == before


def test_the_end_of_its_session_is_told_as_the_reason(stage):
    run_id = stage.to("running")
    stage.manager.cancel_session(stage.session.id)
    assert brief(stage.manager.get_operation_history(run_id)) == [("cancel", None, "session_cancelled")]


def test_unknown_runs_have_none(stage):
    for call in (stage.manager.get_operation_history, stage.manager.get_operation_status):
        assert stage.codes(call, "run_nowhere") is ErrorCode.RUN_NOT_FOUND


def test_what_a_run_was_asked_at_first_is_no_operation():
    events = [
        Event(
            id="evt_1",
            type=EventType.MESSAGE_SENT,
            timestamp_us=0,
            session_id="ses_1",
            data={"content": "Hello"},
        ),
        Event(id="evt_2", type=EventType.RUN_STARTED, timestamp_us=0, session_id="ses_1"),
    ]
    assert operations_of(events) == []
