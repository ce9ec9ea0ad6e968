"""A run that stands still and is being ended is let go on meanwhile: it ends, and its session gets the place back."""

from __future__ import annotations

import random

import pytest

from asm_actors.config import Limits
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.script import Script, stall, text
from asm_actors.runs.messages import CancelRun
from asm_actors.sessions.holding import go_on
from asm_actors.sessions.open_runs import Phase, RunEntry
from asm_actors.sessions.run_ends import withdraw
from asm_actors.testing.promises import step_faults
from asm_actors.testing.system import SimulatedSystem

ENDS = ("cancel_run", "interrupt_run", "cancel_for_approval", "deadline")


def script(request):
    return Script(text("t"), stall()) if "stall" in str(request.input) else Script(text("done"))


def standing_still(sim, pause, **options):
    """A run that was under way when its process ended, and stands still since: its stream may still be open."""
    session = sim.active_session()
    run = sim.manager.submit_run(session.id, "stall", **options)
    sim.settle()
    if pause == "run":
        sim.manager.pause_run(run.id)
    else:
        sim.manager.pause_session(session.id)
    sim.kill()
    sim.settle()
    assert sim.run(run.id).status == "paused"
    return session.id, run.id


def end(sim, run_id, how):
    """Have a run ended, without waiting for it."""
    if how == "deadline":
        sim.clock.advance(6)
        return None
    more = {"tool_name": "t"} if how == "cancel_for_approval" else {}
    return getattr(sim.operations, how)(run_id, **more)


def is_told(sim, session_id, run_id):
    entry = sim.session_ref(session_id).life.actor.state.open.get(run_id)
    return entry is None or entry.stopping is not None


@pytest.mark.parametrize("steps", range(4))
@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("pause", ["run", "session"])
def test_its_place_is_free_for_the_next_one(pause, how, steps):
    with SimulatedSystem(1, script=script, limits=Limits(max_concurrent_runs=1)) as sim:
        session_id, run_id = standing_still(sim, pause, deadline=5.0 if how == "deadline" else None)
        ended = end(sim, run_id, how)
        sim.steps(steps)
        was_told = is_told(sim, session_id, run_id)
        name, argument = ("resume_run", run_id) if pause == "run" else ("resume_session", session_id)
        let_go = getattr(sim.operations, name)(argument)
        sim.settle()
        if pause == "run" and was_told:
            assert sim.codes([let_go]) == [ErrorCode.INVALID_OPERATION]
        sim.advance(6)
        assert sim.run(run_id).status == ("timeout" if how == "deadline" else "cancelled")
        assert ended is None or ended.get().id == run_id
        sim.check_promises()
        later = sim.manager.submit_run(session_id, "x")
        sim.settle()
        assert sim.run(later.id).status == "completed"


@pytest.mark.parametrize("steps", range(0, 30, 2))
def test_if_the_process_ends_before_the_run_it_goes_on_with_its_session(steps):
    with SimulatedSystem(1, script=script, limits=Limits(max_concurrent_runs=1)) as sim:
        session_id, run_id = standing_still(sim, "session")
        end(sim, run_id, "cancel_run")
        sim.steps(3)
        resumed = sim.operations.resume_session(session_id)
        sim.steps(steps)
        sim.kill()
        sim.settle()
        if sim.session(session_id).status == "active":
            assert sim.run(run_id).status in ("running", "cancelled")
        else:
            assert sim.codes([resumed]) != [None]
            assert sim.run(run_id).status in ("paused", "cancelled")
        sim.check_promises()


def test_whoever_has_it_go_on_who_does_not_look_is_refused():
    with SimulatedSystem(1, script=script) as sim:
        session_id, run_id = standing_still(sim, "run")
        state = sim.session_ref(session_id).life.actor.state
        entry = state.open[run_id]
        withdraw(state, entry, CancelRun(None, run_id), sim.services.now_us())
        assert entry.phase is Phase.STARTED
        before = state.n_started, list(state.queue), entry.run
        with pytest.raises(AsmError) as caught:
            go_on(state, entry, (), sim.services.now_us())
        assert caught.value.code is ErrorCode.INVALID_OPERATION
        assert (state.n_started, list(state.queue), entry.run) == before
        sim.kill()


# --- Any schedule --------------------------------------------------------------------------------------------------


def act(sim, rng, session_id, runs):
    """Do something to a run or the session, without waiting for it."""
    operations, run_id = sim.operations, rng.choice(runs)
    names = (
        "pause_run pause_run resume_run resume_run resume_run cancel_run interrupt_run cancel_for_approval"
        " pause_session resume_session resume_session interrupt_session"
    )
    name = rng.choice(names.split())
    if name == "cancel_for_approval":
        return operations.cancel_for_approval(run_id, tool_name="t")
    return getattr(operations, name)(session_id if name.endswith("session") else run_id)


@pytest.mark.parametrize("seed", range(60))
def test_no_place_is_lost_whatever_is_done_at_once_and_whenever_the_process_ends(seed):
    rng = random.Random(seed)
    limits = Limits(max_concurrent_runs=rng.choice((1, 2)), max_queued_runs=None)
    with SimulatedSystem(seed, script=script, limits=limits, max_recoveries=99) as sim:
        session_id = sim.active_session().id
        runs = []
        for number in range(40):
            if number % 5 == 0:
                made = sim.operations.submit_run(session_id, "stall", deadline=rng.choice((None, 5.0)))
                sim.settle()
                runs.append(made.get().id)
            futures = [act(sim, rng, session_id, runs[-2:]) for _ in range(rng.choice((1, 2, 3)))]
            sim.steps(rng.choice((0, 1, 3, 10, 30)))
            if rng.random() < 0.3:
                sim.kill()
                sim.settle()
            elif rng.random() < 0.3:
                sim.settle()
                assert all(future.is_available for future in futures)
            elif rng.random() < 0.1:
                sim.advance(3)
        sim.settle()
        sim.manager.resume_session(session_id)
        sim.manager.interrupt_session(session_id)
        sim.check_promises()
        assert sim.manager.status(session_id)["available_run_slots"] == limits.max_concurrent_runs


# --- What is looked at after each step -------------------------------------------------------------------------------


def spoilt(what):
    """The state of a session with a run in its place, two in line, and a fault."""
    with SimulatedSystem(1, script=script, limits=Limits(max_concurrent_runs=1)) as sim:
        session_id = sim.active_session().id
        for _ in range(3):
            sim.manager.submit_run(session_id, "stall")
        state = sim.session_ref(session_id).life.actor.state
        assert list(step_faults(state)) == []
        what(state, [state.open[run_id] for run_id in sorted(state.open)])
        faults = list(step_faults(state))
        sim.kill()
    return faults


def _put_in_line(state, entries):
    state.queue.put_back((entries[0].run.id,))


def _taken_out(state, entries):
    state.queue.remove(entries[1].run.id)


def _queued(state, entries):
    entries[0].phase = Phase.QUEUED


def _told(state, entries):
    entries[1].stopping = CancelRun(None, entries[1].run.id)


def _counted(state, entries):
    state.n_started += 1


def _misplaced(state, entries):
    state.open["run_x"] = RunEntry(entries[0].run, Phase.CREATED)


@pytest.mark.parametrize("what", [_put_in_line, _taken_out, _queued, _told, _counted, _misplaced])
def test_each_fault_in_the_order_of_a_session_is_found(what):
    assert spoilt(what)
