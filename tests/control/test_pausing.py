"""A run is paused and resumed: where it stands still, what it goes on with, and what a crash makes of it."""

from __future__ import annotations

import pytest

from asm_actors.config import Limits
from asm_actors.errors import ErrorCode

WHOLE = [
    "message_sent",
    "run_started",
    "message_streamed",
    "message_streamed",
    "message_received",
    "token_usage_updated",
    "turn_completed",
    "tool_call_started",
    "tool_call_completed",
    "message_streamed",
    "message_streamed",
    "message_received",
    "token_usage_updated",
    "run_completed",
]


def with_pause(at):
    """The events of a whole run that was paused and resumed behind its event of that type."""
    place = WHOLE.index(at) + 1
    return [*WHOLE[:place], "run_paused", "run_resumed", *WHOLE[place:]]


def conversations(stage, run_id):
    """What the provider was asked, turn by turn."""
    return [request.messages for request in stage.provider.requests if request.run_id == run_id]


# --- Where it stands still -------------------------------------------------------------------------------------------


def test_while_its_turn_is_answered_it_comes_to_the_end_of_that_and_calls_no_tool(stage):
    run_id = stage.to("paused")
    assert stage.sim.types_of(run_id)[-2:] == ["turn_completed", "run_paused"]
    assert stage.looked == 0
    stage.manager.resume_run(run_id)
    stage.finish()
    assert stage.sim.types_of(run_id) == with_pause("turn_completed")
    assert stage.looked == 1


def test_while_its_tools_are_called_it_waits_for_their_answers_and_asks_for_no_turn(stage):
    run_id = stage.to("calling")
    stage.manager.pause_run(run_id)
    stage.sim.advance(10)
    assert stage.sim.types_of(run_id)[-2:] == ["tool_call_completed", "run_paused"]
    assert stage.provider.calls == 1
    stage.manager.resume_run(run_id)
    stage.finish()
    assert stage.sim.types_of(run_id) == with_pause("tool_call_completed")
    assert stage.looked == 1


@pytest.mark.parametrize("state", ["running", "calling"])
def test_it_goes_on_with_the_same_conversation(stage, state):
    untouched = stage.to(state)
    stage.finish()
    run_id = stage.to(state)
    stage.manager.pause_run(run_id)
    stage.sim.advance(10)
    stage.manager.resume_run(run_id)
    stage.finish()
    assert conversations(stage, run_id) == conversations(stage, untouched)
    assert stage.sim.run(run_id).token_usage == stage.sim.run(untouched).token_usage


def test_a_turn_that_ends_the_run_ends_it(stage):
    run_id = stage.submitted("short")
    assert stage.manager.pause_run(run_id).status == "running"
    stage.finish()
    run = stage.sim.run(run_id)
    assert run.status == "completed"
    assert "pause" not in run.details
    assert "run_paused" not in stage.sim.types_of(run_id)


def test_one_whose_provider_is_being_restarted_stands_still_at_once(stage):
    run_id = stage.submitted()
    stage.sim.crash(stage.sim.services.whereis(("provider", "mock")))
    stage.sim.settle()
    assert stage.sim.types_of(run_id)[-1] == "error_occurred"
    stage.manager.pause_run(run_id)
    stage.sim.settle()
    assert stage.sim.run(run_id).status == "paused"
    stage.manager.resume_run(run_id)
    stage.finish()
    assert stage.sim.run(run_id).status == "completed"


def test_the_call_does_not_wait_for_the_boundary_and_the_wish_is_on_record(stage):
    run_id = stage.to("running")
    before = stage.sim.types_of(run_id)
    run = stage.manager.pause_run(run_id, reason="tea", by="ann")
    assert run.details["pause"] == {"scope": "run", "reason": "tea", "by": "ann"}
    assert stage.sim.run(run_id) == run
    assert stage.sim.types_of(run_id) == before
    stage.sim.advance(10)
    assert stage.sim.events_of(run_id)[-1].data == {"scope": "run", "reason": "tea", "by": "ann"}


# --- What it holds meanwhile -----------------------------------------------------------------------------------------


def test_it_has_no_actor_and_no_slot(make_stage):
    with make_stage(limits=Limits(max_parallel_runs=1)) as stage:
        run_id = stage.to("paused")
        assert stage.sim.run_ref(run_id) is None
        other = stage.submitted("short")
        stage.sim.advance(10)
        assert stage.sim.run(other).status == "completed"
        stage.manager.resume_run(run_id)
        stage.finish()
        assert stage.sim.run(run_id).status == "completed"


def test_it_goes_on_in_its_turn(stage):
    run_id = stage.to("paused")
    busy = stage.submitted()
    assert stage.manager.resume_run(run_id).status == "running"
    stage.sim.settle()
    assert stage.sim.run_ref(run_id) is None
    stage.finish()
    assert [stage.sim.run(key).status for key in (run_id, busy)] == ["completed", "completed"]


def test_its_deadline_goes_on_counting(stage):
    run_id = stage.submitted(deadline=20)
    stage.manager.pause_run(run_id)
    stage.sim.advance(10)
    assert stage.sim.run(run_id).status == "paused"
    stage.sim.kill()
    stage.sim.advance(11)
    assert stage.sim.run(run_id).status == "timeout"
    stage.finish()


def test_who_waits_for_its_result_gets_it_when_it_has_gone_on(stage):
    run_id = stage.to("running")
    result = stage.sim.operations.await_run(run_id)
    stage.manager.pause_run(run_id)
    stage.sim.advance(10)
    assert not result.is_done
    stage.manager.resume_run(run_id)
    stage.finish()
    assert result.get().output["content"] == "It is there."


# --- The wish is withdrawn --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", range(0, 60, 3))
def test_a_withdrawn_pause_leaves_no_trace_unless_it_had_come_to_it(make_stage, steps):
    with make_stage(steps) as stage:
        run_id = stage.to("pausing")
        stage.sim.dispatcher.clock.advance(5)
        stage.sim.steps(steps)
        stage.manager.resume_run(run_id, by="bob")
        stage.finish()
        run, types = stage.sim.run(run_id), stage.sim.types_of(run_id)
        assert run.status == "completed"
        assert "pause" not in run.details
        assert types.count("run_paused") == types.count("run_resumed") <= 1


# --- Crashes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill", "restart"])
@pytest.mark.parametrize("state", ["pausing", "paused"])
def test_the_next_process_finds_it_standing_still(make_stage, state, how):
    with make_stage() as stage:
        run_id = stage.to(state)
        getattr(stage.sim, how)()
        stage.sim.advance(20)
        run = stage.sim.run(run_id)
        assert run.status == "paused"
        assert run.details["pause"] == {"scope": "run", "reason": "tea", "by": "ann"}
        assert stage.sim.types_of(run_id)[-1] == "run_paused"
        stage.manager.resume_run(run_id)
        stage.finish()
        assert stage.sim.run(run_id).status == "completed"
        assert stage.looked == 1


@pytest.mark.parametrize("victim", ["run", "session"])
def test_a_crash_of_an_actor_does_not_lose_the_wish(stage, victim):
    run_id = stage.to("pausing")
    ref = stage.sim.run_ref(run_id) if victim == "run" else stage.sim.session_ref(stage.session.id)
    stage.sim.crash(ref)
    stage.sim.advance(20)
    assert stage.sim.run(run_id).status == "paused"
    stage.manager.resume_run(run_id)
    stage.finish()
    assert stage.sim.run(run_id).status == "completed"


def test_a_run_that_is_taken_up_again_and_waits_to_go_on_stands_still_at_once(stage):
    run_id = stage.to("paused")
    stage.submitted()
    stage.manager.resume_run(run_id)
    assert stage.manager.pause_run(run_id).status == "paused"
    stage.finish()
    assert stage.sim.run(run_id).status == "paused"


# --- While somebody is asked about its calls --------------------------------------------------------------------------


def test_a_run_that_waits_for_a_decision_stands_still_when_it_would_go_on(stage):
    run_id = stage.to("awaiting_approval")
    assert stage.manager.pause_run(run_id, by="ann").status == "awaiting_approval"
    assert stage.manager.grant_approval(run_id, "call_1", by="bob").status == "paused"
    stage.sim.advance(20)
    assert stage.sim.types_of(run_id)[-2:] == ["tool_approval_granted", "run_paused"]
    assert stage.looked == 1
    stage.manager.resume_run(run_id)
    stage.finish()
    assert stage.sim.run(run_id).status == "completed"
    assert stage.looked == 2


def test_the_pause_of_one_that_waits_for_a_decision_survives_a_crash_and_can_be_withdrawn(stage):
    run_id = stage.to("awaiting_approval")
    stage.manager.pause_run(run_id)
    stage.sim.kill()
    stage.sim.settle()
    assert stage.manager.get_operation_status(run_id)["state"] == "pausing"
    stage.manager.resume_run(run_id)
    stage.manager.grant_approval(run_id, "call_1")
    stage.finish()
    assert stage.sim.run(run_id).status == "completed"


def test_unknown_runs_and_bad_words_are_refused(stage):
    run_id = stage.to("running")
    for call in (stage.manager.pause_run, stage.manager.resume_run, stage.manager.interrupt_run):
        assert stage.codes(call, "run_nowhere") is ErrorCode.RUN_NOT_FOUND
        assert stage.codes(call, run_id, reason=7) is ErrorCode.VALIDATION_ERROR
        assert stage.codes(call, run_id, by="") is ErrorCode.VALIDATION_ERROR
    assert stage.sim.run(run_id).status == "running"
    stage.finish()
