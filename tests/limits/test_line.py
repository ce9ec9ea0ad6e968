"""The line for the slots of the whole: its bound, its order, how fast it moves, and what a crash leaves of it."""

from __future__ import annotations

import pytest

from asm_actors.config import Limits
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.script import Script, sleep, stall, text
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.services import RUN_SLOTS
from asm_actors.testing.system import SimulatedSystem

pytestmark = pytest.mark.usefixtures("_quiet_logs")

SHORT = Script(sleep(1), text("x"))


def in_order_of_start(sim, runs):
    started = [run for run in runs if sim.run(run.id).started_us is not None]
    return [run.id for run in sorted(started, key=lambda run: sim.run(run.id).started_us)]


# --- Its bound -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_of_a_burst_exactly_those_are_refused_for_whom_there_is_neither_a_slot_nor_a_place(seed):
    limits = Limits(max_parallel_runs=5, max_waiting_runs=3)
    with SimulatedSystem(seed, script=SHORT, limits=limits) as sim:
        sessions = [sim.active_session() for _ in range(20)]
        asked = [sim.operations.submit_run(session.id, "x") for session in sessions]
        sim.settle()
        codes = sim.codes(asked)
        assert codes.count(None) == 8
        assert codes.count(ErrorCode.MAX_RUNS_EXCEEDED) == 12
        status = sim.manager.status()
        assert (status["active_runs"], status["waiting_runs"]) == (5, 3)
        for _ in range(3):
            sim.advance(1.0)
        assert sim.manager.submit_run(sessions[0].id, "x").status == "pending"
        sim.check_promises()


def test_the_refusal_names_the_limit_its_value_what_is_in_use_and_what_to_raise():
    limits = Limits(max_parallel_runs=1, max_waiting_runs=1)
    with SimulatedSystem(script=SHORT, limits=limits) as sim:
        sessions = [sim.active_session() for _ in range(4)]
        for session in sessions[:2]:
            sim.manager.submit_run(session.id, "x")
        sim.settle()
        with pytest.raises(AsmError) as caught:
            sim.manager.submit_run(sessions[2].id, "x")
        error = caught.value
        assert error.code is ErrorCode.MAX_RUNS_EXCEEDED
        for part in (
            "1 runs wait",
            "limits.max_waiting_runs (1)",
            "1 are under way",
            "raise max_waiting_runs",
        ):
            assert part in error.message
        created = sim.manager.start_run(sessions[3].id, "x")
        for refused in (
            lambda: sim.manager.execute_run(created.id),
            lambda: sim.manager.run_once("x"),
            lambda: sim.manager.submit_run(sessions[0].id, "in line in its own session"),
        ):
            with pytest.raises(AsmError, match="max_waiting_runs"):
                refused()
        assert sim.run(created.id).status == "pending"
        assert len(sim.manager.list_sessions(limit=None)) == 4
        sim.check_promises()


def test_a_run_that_need_not_wait_is_taken_however_long_the_line_is():
    limits = Limits(max_runs_per_agent={"busy": 1}, max_waiting_runs=1)
    providers = {"slow": ScriptedProvider(Script(stall())), "fast": ScriptedProvider(Script(text("x")))}
    with SimulatedSystem(providers=providers, limits=limits) as sim:
        for _ in range(2):
            sim.manager.submit_run(sim.active_session("busy", provider="slow").id, "x")
        sim.settle()
        assert sim.manager.run_once("x", agent_id="idle", provider="fast").status == "completed"
        with pytest.raises(AsmError, match="agent:busy"):
            sim.manager.submit_run(sim.active_session("busy", provider="slow").id, "x")


def test_a_run_that_takes_the_place_of_another_one_is_not_one_more():
    limits = Limits(max_parallel_runs=1, max_waiting_runs=0)
    with SimulatedSystem(script=Script(text("a"), stall()), limits=limits) as sim:
        session = sim.active_session(second_run="interrupt")
        first = sim.manager.submit_run(session.id, "x")
        sim.settle()
        second = sim.manager.submit_run(session.id, "y")
        sim.settle()
        assert (sim.run(first.id).status, sim.run(second.id).status) == ("cancelled", "running")


def test_a_session_that_comes_back_from_the_journal_need_not_wait():
    limits = Limits(max_waiting_runs=0, max_queued_runs=0)
    with SimulatedSystem(script=Script(text("x")), limits=limits, linger=5.0) as sim:
        session = sim.active_session()
        sim.advance(30.0)
        assert sim.session_ref(session.id) is None
        run = sim.manager.submit_run(session.id, "x")
        sim.settle()
        assert sim.run(run.id).status == "completed"
        sim.check_promises()


def test_runs_that_were_accepted_before_are_never_refused():
    with SimulatedSystem(script=SHORT, limits=Limits(max_parallel_runs=1)) as sim:
        runs = [sim.manager.submit_run(sim.active_session().id, "x") for _ in range(5)]
        sim.limits = Limits(max_parallel_runs=1, max_waiting_runs=0)
        sim.kill()
        for _ in range(12):
            sim.advance(1.0)
        assert {sim.run(run.id).status for run in runs} == {"completed"}
        sim.check_promises()


# --- Its speed -----------------------------------------------------------------------------------------------------


def test_runs_begin_no_faster_than_the_rate_and_in_order(watch):
    limits = Limits(max_run_starts_per_second=2.0, run_start_burst=3)
    with SimulatedSystem(script=Script(text("x")), limits=limits, on_step=watch) as sim:
        watch.system = sim
        runs = [sim.manager.submit_run(sim.active_session().id, "x") for _ in range(9)]
        sim.settle()
        assert sim.manager.status()["waiting_runs"] == 6
        assert sim.manager.status()["active_runs"] == 0  # they wait though all slots are free
        for _ in range(8):
            sim.advance(0.5)
        began = watch.starts[0]
        assert [round(at - began, 3) for at in watch.starts] == [0, 0, 0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
        assert in_order_of_start(sim, runs[3:]) == [run.id for run in runs[3:]]
        sim.check_promises()


def test_a_rate_by_key_holds_back_that_key_alone():
    limits = Limits(max_run_starts_per_second_per_agent={"slow": 0.5})
    with SimulatedSystem(script=Script(text("x")), limits=limits) as sim:
        slow = [sim.manager.submit_run(sim.active_session("slow").id, "x") for _ in range(3)]
        fast = [sim.manager.submit_run(sim.active_session("fast").id, "x") for _ in range(3)]
        sim.settle()
        assert [sim.run(run.id).status for run in fast] == ["completed"] * 3
        assert [sim.run(run.id).status for run in slow] == ["completed", "pending", "pending"]
        sim.advance(2.0)
        assert [sim.run(run.id).status for run in slow] == ["completed", "completed", "pending"]
        sim.advance(2.0)
        assert sim.run(slow[2].id).status == "completed"


def test_a_run_that_waits_for_the_rate_can_be_cancelled_and_reaches_its_deadline():
    limits = Limits(max_run_starts_per_second=0.01)
    with SimulatedSystem(script=Script(text("x")), limits=limits) as sim:
        sessions = [sim.active_session() for _ in range(3)]
        sim.manager.submit_run(sessions[0].id, "x")
        cancelled = sim.manager.submit_run(sessions[1].id, "x")
        late = sim.manager.submit_run(sessions[2].id, "x", deadline=5.0)
        sim.settle()
        assert sim.manager.cancel_run(cancelled.id).status == "cancelled"
        sim.advance(6.0)
        assert sim.run(late.id).status == "timeout"
        sim.check_promises()


# --- Its order -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_highest_priority_goes_first_of_the_run_or_its_session(seed):
    with SimulatedSystem(seed, script=SHORT, limits=Limits(max_parallel_runs=1)) as sim:
        holder = sim.manager.submit_run(sim.active_session().id, "x")
        sim.settle()
        runs = []
        for of_session, own in ((0, None), (0, 1), (2, None), (5, 0), (0, None), (2, None)):
            options = {} if own is None else {"priority": own}
            session = sim.active_session(priority=of_session)
            runs.append(sim.manager.submit_run(session.id, "x", **options))
            sim.settle()
        for _ in range(8):
            sim.advance(1.0)
        expected = [holder.id, *(runs[n].id for n in (2, 5, 1, 0, 3, 4))]
        assert in_order_of_start(sim, [holder, *runs]) == expected
        sim.check_promises()


def test_in_its_own_session_the_highest_priority_goes_first_too_after_a_restart():
    with SimulatedSystem(script=SHORT) as sim:
        session = sim.active_session(priority=1)
        runs = {
            name: sim.manager.submit_run(session.id, name, **options)
            for name, options in {
                "first": {},
                "low": {"priority": -1},
                "high": {"priority": 7},
                "second": {},
            }.items()
        }
        sim.settle()
        sim.kill()
        for _ in range(6):
            sim.advance(1.0)
        assert in_order_of_start(sim, runs.values()) == [
            runs[name].id for name in ("first", "high", "second", "low")
        ]
        sim.check_promises()


@pytest.mark.parametrize("seed", range(6))
def test_when_the_pool_crashes_runs_get_in_line_again_by_priority(seed):
    with SimulatedSystem(seed, script=SHORT, limits=Limits(max_parallel_runs=1)) as sim:
        holder = sim.manager.submit_run(sim.active_session().id, "x")
        sim.settle()
        runs = [
            sim.manager.submit_run(sim.active_session().id, "x", priority=priority)
            for priority in (0, 3, 1, 2, 3, 0)
        ]
        sim.settle()
        sim.crash(sim.services.whereis(RUN_SLOTS))
        sim.settle()
        for _ in range(12):
            sim.advance(1.0)
        assert sim.run(holder.id).status == "completed"
        order = in_order_of_start(sim, runs)
        # Whoever came first found the slot free; from then on there is a line.
        priorities = [sim.run(run_id).options["priority"] for run_id in order[1:]]
        assert priorities == sorted(priorities, reverse=True)
        assert len(order) == 6
        sim.check_promises()


def test_after_a_restart_sessions_are_revived_by_the_priority_of_their_runs():
    with SimulatedSystem(script=SHORT, limits=Limits(max_parallel_runs=1)) as sim:
        sessions = [sim.active_session() for _ in range(4)]
        for session, priority in zip(sessions, (0, 2, 5, 2), strict=True):
            sim.manager.submit_run(session.id, "x", priority=priority)
        sim.settle()
        sim.kill()
        supervisor = sim.services.whereis("sessions").life.actor
        while not supervisor._lives:
            sim.steps(1)
        revived = list(supervisor._lives)
        assert revived == [sessions[n].id for n in (2, 1, 3, 0)]
        sim.check_promises()
