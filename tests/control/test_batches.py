"""Many at once: `cancel_all` and `interrupt_session`."""

from __future__ import annotations

import pytest

from asm_actors.config import Limits
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.script import Script, stall, text
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.testing.system import SimulatedSystem


def test_each_is_cancelled_whatever_becomes_of_the_others(stage):
    over, open_ = stage.to("completed"), stage.to("running")
    found = stage.manager.cancel_all([open_, "run_nowhere", over], reason="no", by="ann")
    assert list(found) == [open_, "run_nowhere", over]
    assert (found[open_].status, found[over].status) == ("cancelled", "completed")
    assert found["run_nowhere"].code is ErrorCode.RUN_NOT_FOUND
    assert stage.sim.run(open_) == found[open_]
    stage.finish()


def test_none_and_the_same_twice(stage):
    run_id = stage.to("running")
    assert stage.manager.cancel_all([]) == {}
    assert list(stage.manager.cancel_all([run_id, run_id])) == [run_id]
    assert stage.sim.types_of(run_id).count("run_cancelled") == 1


@pytest.mark.parametrize("given", ["run_1", [7], [""], None])
def test_malformed_ids_are_refused_before_anything_is_done(stage, given):
    run_id = stage.to("running")
    wanted = [run_id, *given] if isinstance(given, list) else given
    assert stage.codes(stage.manager.cancel_all, wanted) is ErrorCode.VALIDATION_ERROR
    assert stage.sim.run(run_id).status == "running"


def test_one_does_not_wait_for_another():
    class Stubborn(ScriptedProvider):
        async def stream(self, request):
            from asyncio import sleep

            try:
                async for item in super().stream(request):
                    yield item
            finally:
                await sleep(1)

    with SimulatedSystem(providers={"mock": Stubborn(Script(text("Hm."), stall()))}) as sim:
        runs = [sim.manager.submit_run(sim.active_session().id, "Hello").id for _ in range(20)]
        sim.settle()
        future = sim.operations.cancel_all(runs)
        sim.advance(1.1)
        assert {run.status for run in future.get().values()} == {"cancelled"}
        sim.check_promises()


def test_runs_of_hundreds_of_sessions_are_cancelled_at_once():
    with SimulatedSystem(
        script=Script(text("Hm."), stall()), limits=Limits(max_parallel_sessions=None, max_parallel_runs=150)
    ) as sim:
        runs = [sim.manager.submit_run(sim.active_session().id, "Hello").id for _ in range(300)]
        sim.settle()
        found = sim.manager.cancel_all(runs)
        assert {run.status for run in found.values()} == {"cancelled"}
        assert len(found) == 300
        sim.check_promises()


@pytest.mark.parametrize("seed", range(6))
def test_interrupting_a_session_ends_all_runs_that_are_to_be_executed_and_the_session_goes_on(
    make_stage, seed
):
    with make_stage(seed, limits=Limits(max_concurrent_runs=2)) as stage:
        paused, created = stage.to("paused"), stage.to("created")
        others = [stage.submitted() for _ in range(4)]
        stage.sim.steps(seed * 3)
        found = stage.manager.interrupt_session(stage.session.id, reason="enough", by="ann")
        assert set(found) == {paused, *others}
        assert {run.status for run in found.values()} == {"cancelled"}
        for run_id in found:
            (last,) = stage.manager.get_operation_history(run_id)[-1:]
            assert (last["operation"], last["reason"], last["note"], last["by"]) == (
                "interrupt",
                "interrupted",
                "enough",
                "ann",
            )
        assert stage.sim.run(created).status == "pending"
        assert stage.sim.session(stage.session.id).status == "active"
        assert stage.manager.execute_run(created).output["content"] == "It is there."
        stage.finish()


def test_a_run_that_ends_meanwhile_is_told_as_it_ended(stage):
    run_id = stage.submitted("short")
    stage.sim.dispatcher.clock.advance(1)
    stage.sim.steps(6)
    found = stage.manager.interrupt_session(stage.session.id)
    assert all(run.is_terminal and run == stage.sim.run(key) for key, run in found.items())
    stage.finish()
    assert stage.sim.run(run_id).is_terminal


def test_a_session_without_runs_is_interrupted_in_vain(stage):
    assert stage.manager.interrupt_session(stage.session.id) == {}
    assert stage.codes(stage.manager.interrupt_session, "ses_nowhere") is ErrorCode.SESSION_NOT_FOUND
    assert (
        stage.codes(stage.manager.interrupt_session, stage.session.id, reason=7) is ErrorCode.VALIDATION_ERROR
    )


def test_a_system_that_stops_tells_those_who_wait(stage):
    stage.to("running")
    future = stage.sim.operations.interrupt_session(stage.session.id)
    stage.sim.restart()
    try:
        found = future.get()
    except AsmError as error:
        assert error.code in (ErrorCode.INTERRUPTED, ErrorCode.INVALID_OPERATION)
    else:
        assert all(run.is_terminal for run in found.values())
