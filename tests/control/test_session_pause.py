"""A session is paused and resumed: its runs stand still with it, and those that it holds go on with it."""

from __future__ import annotations

import pytest

from asm_actors.config import Limits
from asm_actors.errors import ErrorCode


def statuses(stage, *run_ids):
    return [stage.sim.run(run_id).status.value for run_id in run_ids]


def test_it_is_paused_at_once_and_its_run_at_the_next_boundary(stage):
    run_id = stage.to("running")
    session = stage.manager.pause_session(stage.session.id, reason="lunch", by="ann")
    assert session.status == "paused"
    assert statuses(stage, run_id) == ["running"]
    stage.sim.advance(10)
    assert statuses(stage, run_id) == ["paused"]
    told = {event.type.value: event.data for event in stage.sim.events(stage.session.id)}
    assert told["session_paused"] == {"reason": "lunch", "by": "ann"}
    assert told["run_paused"] == {"scope": "session", "reason": "session_paused", "by": "ann"}


def test_its_slot_is_free_at_once(make_stage):
    with make_stage(limits=Limits(max_parallel_sessions=1)) as stage:
        run_id = stage.to("running")
        stage.manager.pause_session(stage.session.id)
        other = stage.manager.start_session(agent_id="agent")
        stage.manager.activate_session(other.id)
        assert stage.codes(stage.manager.resume_session, stage.session.id) is ErrorCode.MAX_SESSIONS_EXCEEDED
        stage.sim.advance(10)
        assert statuses(stage, run_id) == ["paused"]
        stage.manager.complete_session(other.id)
        stage.manager.resume_session(stage.session.id)
        stage.finish()
        assert statuses(stage, run_id) == ["completed"]


def test_what_it_holds_goes_on_with_it_and_before_what_has_not_begun(stage):
    run_id = stage.to("held")
    waiting = stage.submitted()
    stage.manager.resume_session(stage.session.id, reason="back", by="bob")
    stage.sim.advance(1)
    assert statuses(stage, run_id, waiting) == ["running", "pending"]
    types = stage.sim.types(stage.session.id)
    assert types[types.index("session_resumed") :][:2] == ["session_resumed", "run_resumed"]
    assert stage.manager.get_operation_history(run_id)[-1]["by"] == "bob"
    stage.finish()
    assert statuses(stage, run_id, waiting) == ["completed", "completed"]


def test_what_was_paused_itself_stays_paused(stage):
    run_id = stage.to("paused")
    stage.manager.pause_session(stage.session.id)
    stage.manager.resume_session(stage.session.id)
    stage.finish()
    assert statuses(stage, run_id) == ["paused"]
    stage.manager.resume_run(run_id)
    stage.finish()
    assert statuses(stage, run_id) == ["completed"]


@pytest.mark.parametrize("state", ["running", "held"])
def test_a_run_that_is_paused_itself_in_a_paused_session_does_not_go_on_with_it(stage, state):
    run_id = stage.to(state)
    if state == "running":
        stage.manager.pause_session(stage.session.id)
    run = stage.manager.pause_run(run_id, reason="tea")
    stage.sim.advance(10)
    assert stage.sim.run(run_id).details["pause"] == {"scope": "run", "reason": "tea"}
    assert run.details["pause"]["scope"] == "run"
    stage.manager.resume_session(stage.session.id)
    stage.finish()
    assert statuses(stage, run_id) == ["paused"]


def test_a_run_that_is_resumed_in_a_paused_session_waits_for_that(stage):
    run_id = stage.to("paused")
    stage.manager.pause_session(stage.session.id)
    assert stage.manager.resume_run(run_id, by="bob").status == "paused"
    stage.finish()
    assert statuses(stage, run_id) == ["paused"]
    assert stage.manager.get_operation_history(run_id)[-1]["waits_for"] == "session"
    stage.sim.kill()
    stage.sim.settle()
    assert (
        stage.manager.run_at(run_id, at=stage.sim.session(stage.session.id).last_sequence).status == "paused"
    )
    stage.manager.resume_session(stage.session.id)
    stage.finish()
    assert statuses(stage, run_id) == ["completed"]


def test_a_withdrawn_pause_of_a_run_leaves_that_of_its_session(stage):
    run_id = stage.to("pausing")
    stage.manager.pause_session(stage.session.id)
    assert "pause" not in stage.manager.resume_run(run_id).details
    stage.sim.advance(10)
    assert stage.sim.run(run_id).details["pause"]["scope"] == "session"
    stage.manager.resume_session(stage.session.id)
    stage.finish()
    assert statuses(stage, run_id) == ["completed"]


@pytest.mark.parametrize("state", ["queued", "created"])
def test_no_new_run_starts(stage, state):
    run_id = stage.to(state)
    stage.manager.pause_session(stage.session.id)
    stage.sim.advance(20)
    assert statuses(stage, run_id) == ["pending"]
    stage.manager.resume_session(stage.session.id)
    stage.finish()
    assert statuses(stage, run_id) == ["completed" if state == "queued" else "pending"]


@pytest.mark.parametrize("execute", [False, True])
def test_a_run_in_line_for_a_slot_stands_back_and_comes_first_later(make_stage, execute):
    with make_stage(limits=Limits(max_parallel_runs=1)) as stage:
        busy = stage.sim.active_session()
        blocker = stage.manager.submit_run(busy.id, "Hello").id
        if execute:
            first = stage.manager.start_run(stage.session.id, "Hello").id
            stage.sim.operations.execute_run(first)
        else:
            first = stage.manager.submit_run(stage.session.id, "Hello").id
        stage.sim.settle()
        second = stage.submitted()
        stage.manager.pause_session(stage.session.id)
        stage.sim.advance(20)
        assert statuses(stage, blocker, first, second) == ["completed", "pending", "pending"]
        assert stage.manager.status(stage.session.id)["queued_runs"] == [first, second]
        stage.manager.resume_session(stage.session.id)
        stage.finish()
        assert statuses(stage, first, second) == ["completed", "completed"]
        assert [request.run_id for request in stage.provider.requests][2:] == [first, first, second, second]


@pytest.mark.parametrize("steps", range(0, 80, 4))
def test_paused_and_resumed_at_any_moment_nothing_is_lost(make_stage, steps):
    with make_stage(steps, limits=Limits(max_concurrent_runs=2, max_parallel_runs=2)) as stage:
        runs = [stage.manager.submit_run(stage.session.id, "Hello").id for _ in range(3)]
        stage.sim.steps(steps)
        paused = stage.sim.operations.pause_session(stage.session.id)
        stage.sim.steps(steps // 4)
        resumed = stage.sim.operations.resume_session(stage.session.id)
        stage.finish()
        assert [future.get().status for future in (paused, resumed)] == ["paused", "active"]
        assert statuses(stage, *runs) == ["completed"] * 3
        assert stage.looked == 3


@pytest.mark.parametrize("how", ["kill", "restart"])
@pytest.mark.parametrize("state", ["running", "calling", "held", "queued"])
def test_the_next_process_keeps_it_paused_with_its_runs(make_stage, state, how):
    with make_stage() as stage:
        run_id = stage.to(state)
        if state != "held":
            stage.manager.pause_session(stage.session.id)
        getattr(stage.sim, how)()
        stage.sim.advance(20)
        expected = "pending" if state == "queued" else "failed" if state == "calling" else "paused"
        assert statuses(stage, run_id) == [expected]
        assert stage.sim.session(stage.session.id).status == "paused"
        stage.manager.resume_session(stage.session.id)
        stage.finish()
        assert statuses(stage, run_id) == ["failed" if state == "calling" else "completed"]


@pytest.mark.parametrize("end", ["complete", "fail", "cancel"])
@pytest.mark.parametrize("state", ["paused", "held", "pausing"])
def test_runs_that_stand_still_end_with_their_session(stage, state, end):
    run_id = stage.to(state)
    options = {"cancel_runs": True} if end == "complete" else {}
    session = getattr(stage.manager, f"{end}_session")(stage.session.id, **options)
    assert session.is_terminal
    assert statuses(stage, run_id) == ["cancelled"]
    stage.finish()


def test_a_session_with_a_paused_run_is_not_completed_without_asking(stage):
    run_id = stage.to("paused")
    assert stage.codes(stage.manager.complete_session, stage.session.id) is ErrorCode.INVALID_OPERATION
    assert stage.codes(stage.manager.delete_session, stage.session.id) is ErrorCode.INVALID_OPERATION
    assert statuses(stage, run_id) == ["paused"]


def test_the_status_tells_which_runs_are_held(stage):
    run_id = stage.to("paused")
    status = stage.manager.status(stage.session.id)
    assert (status["held_runs"], status["in_flight_runs"]) == ([run_id], [])


def test_a_drain_does_not_wait_for_paused_runs(stage):
    run_id = stage.to("paused")
    assert stage.manager.drain(timeout=5.0).orphans == (run_id,)
