"""Operations that race with each other, with the end, with time and with crashes: one end, and nothing lost."""

from __future__ import annotations

import random

import pytest

from asm_actors.config import Limits
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.runs.run import TERMINAL_RUN_STATUSES

ENDS = {"run_completed", "run_failed", "run_cancelled", "run_timeout"}
# What a caller may be told who came too early, too late, or while something crashed.
REFUSALS = {
    ErrorCode.INVALID_OPERATION,
    ErrorCode.INVALID_TRANSITION,
    ErrorCode.INTERRUPTED,
    ErrorCode.CANCELLED,
    ErrorCode.OUTCOME_UNKNOWN,
}


def act(stage, rng, runs):
    """Do something to a run or the session, without waiting for it."""
    operations, run_id = stage.sim.operations, rng.choice(runs)
    choice = rng.randrange(9)
    if choice == 0:
        return operations.pause_run(run_id, by="ann")
    if choice in (1, 2):
        return operations.resume_run(run_id, by="bob")
    if choice == 3:
        return operations.steer_run(run_id, "left")
    if choice == 4:
        return operations.pause_session(stage.session.id)
    if choice in (5, 6):
        return operations.resume_session(stage.session.id)
    if choice == 7 and rng.random() < 0.3:
        return operations.interrupt_run(run_id)
    return operations.grant_approval(run_id, "call_1")


def told(future):
    try:
        future.get()
    except AsmError as error:
        return error.code
    return None


def settle_all(stage, runs):
    """Let everything go on and come to its end."""
    stage.sim.settle()
    stage.manager.resume_session(stage.session.id)
    for _ in range(4):
        for run_id in runs:
            stage.codes(stage.manager.resume_run, run_id)
            stage.codes(stage.manager.grant_approval, run_id, "call_1")
        stage.sim.advance(40)


def check_ends(stage, runs):
    for run_id in runs:
        types = stage.sim.types_of(run_id)
        assert sum(kind in ENDS for kind in types) == 1, types
        assert types[-1] in ENDS
        assert stage.sim.run(run_id).status in TERMINAL_RUN_STATUSES
        sent = [event for event in stage.sim.events_of(run_id) if event.data.get("steered")]
        assert [event.data["number"] for event in sent] == list(range(1, len(sent) + 1))


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_done_at_once_each_run_ends_once_and_all_come_to_an_end(make_stage, seed):
    rng = random.Random(seed)
    limits = Limits(max_parallel_runs=rng.choice((1, 2, 4)), max_concurrent_runs=rng.choice((1, 2)))
    with make_stage(seed, limits=limits) as stage:
        deadlines = [rng.choice((None, None, 8)) for _ in range(4)]
        runs = [stage.sim.manager.submit_run(stage.session.id, "Hello", deadline=one).id for one in deadlines]
        futures = []
        for _ in range(30):
            futures.append(act(stage, rng, runs))
            if rng.random() < 0.5:
                stage.sim.steps(rng.randrange(30))
            if rng.random() < 0.3:
                stage.sim.advance(rng.choice((0.3, 1.0)))
        settle_all(stage, runs)
        check_ends(stage, runs)
        assert {told(future) for future in futures} <= {None, *REFUSALS}
        stage.sim.check_promises()


@pytest.mark.parametrize("seed", range(40))
def test_crashes_in_between_lose_nothing(make_stage, seed):
    rng = random.Random(1000 + seed)
    with make_stage(seed, limits=Limits(max_concurrent_runs=2)) as stage:
        runs = [stage.submitted(on_unknown_outcome=rng.choice(("ask", "report"))) for _ in range(3)]
        acknowledged = []
        for _ in range(4):
            for _ in range(6):
                future = act(stage, rng, runs)
                stage.sim.steps(rng.randrange(25))
                if rng.random() < 0.4:
                    stage.sim.advance(rng.choice((0.3, 1.0)))
                if future.is_available and told(future) is None:
                    acknowledged.append(future.get())
            how = rng.randrange(4)
            if how == 0:
                stage.sim.kill()
            elif how == 1:
                stage.sim.restart()
            else:
                ref = (
                    stage.sim.run_ref(rng.choice(runs))
                    if how == 2
                    else stage.sim.session_ref(stage.session.id)
                )
                if ref is not None:
                    stage.sim.crash(ref)
        settle_all(stage, runs)
        check_ends(stage, runs)
        stage.sim.check_promises()


@pytest.mark.parametrize("end", ["cancel_run", "interrupt_run", "deadline", "completion", "cancel_session"])
@pytest.mark.parametrize("steps", range(0, 40, 4))
def test_a_pause_that_races_with_an_end_loses_or_comes_too_late(make_stage, steps, end):
    with make_stage(steps) as stage:
        sim = stage.sim
        run_id = stage.submitted(
            "short" if end == "completion" else "Hello", deadline=2 if end == "deadline" else None
        )
        sim.advance(1.0 if end == "completion" else 1.999)
        paused = sim.operations.pause_run(run_id)
        sim.steps(steps)
        if end == "deadline":
            sim.dispatcher.clock.advance(0.001)
        elif end == "cancel_session":
            sim.operations.cancel_session(stage.session.id)
        elif end != "completion":
            getattr(sim.operations, end)(run_id)
        sim.advance(20)
        check_ends(stage, [run_id])
        assert told(paused) in (None, ErrorCode.INVALID_OPERATION)
        sim.check_promises()


@pytest.mark.parametrize("steps", range(0, 60, 3))
def test_an_end_that_comes_while_its_last_word_is_on_the_way_counts(make_stage, steps):
    with make_stage(steps) as stage:
        run_id = stage.to("pausing")
        stage.sim.dispatcher.clock.advance(5)
        stage.sim.steps(steps)
        run = stage.manager.cancel_run(run_id)
        assert run.status == "cancelled"
        stage.finish()
        check_ends(stage, [run_id])
        assert stage.sim.run_ref(run_id) is None
