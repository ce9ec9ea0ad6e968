"""Limits, cancels and deadlines of sessions and runs, in whole systems on the simulation."""

from __future__ import annotations

import itertools

import pytest

from asm_actors.config import Limits
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.script import Script, sleep, stall, text
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.testing.system import SimulatedSystem

pytestmark = pytest.mark.usefixtures("_quiet_logs")


# --- Limits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_runs_of_one_session_execute_one_after_another_in_order(seed):
    with SimulatedSystem(seed, script=Script(sleep(1), text("x"))) as sim:
        session = sim.active_session()
        runs = [sim.manager.submit_run(session.id, str(n)) for n in range(5)]
        sim.advance(10)
        starts = [event.run_id for event in sim.events(session.id) if event.type == "run_started"]
        assert starts == [run.id for run in runs]
        records = [sim.run(run.id) for run in runs]
        assert all(a.ended_us <= b.started_us for a, b in itertools.pairwise(records))
        sim.check_promises()


@pytest.mark.parametrize("seed", range(5))
def test_runs_wait_for_the_slots_of_the_whole_in_the_order_of_asking(seed):
    limits = Limits(max_parallel_runs=2)
    with SimulatedSystem(seed, script=Script(sleep(1), text("x")), limits=limits) as sim:
        sessions = [sim.active_session() for _ in range(6)]
        runs = []
        for session in sessions:
            runs.append(sim.manager.submit_run(session.id, "x"))
            sim.settle()
        status = sim.manager.status()
        assert (status["active_runs"], status["waiting_runs"]) == (2, 4)
        sim.check_promises()
        sim.advance(2.5)
        sim.advance(2.5)
        started = [sim.run(run.id).started_us for run in runs]
        assert started == sorted(started)
        assert len(set(started)) == 3
        sim.check_promises()


def test_one_session_more_than_may_be_active_is_refused_at_once_and_pause_complete_and_cancel_make_room():
    with SimulatedSystem(limits=Limits(max_parallel_sessions=1)) as sim:
        first = sim.active_session()
        second = sim.manager.start_session(agent_id="a")
        with pytest.raises(AsmError) as caught:
            sim.manager.activate_session(second.id)
        assert caught.value.code is ErrorCode.MAX_SESSIONS_EXCEEDED
        assert "max_parallel_sessions" in caught.value.message
        with pytest.raises(AsmError) as caught:
            sim.manager.run_once("Hello")
        assert caught.value.code is ErrorCode.MAX_SESSIONS_EXCEEDED
        sim.manager.pause_session(first.id)
        sim.manager.activate_session(second.id)
        with pytest.raises(AsmError) as caught:
            sim.manager.resume_session(first.id)
        assert caught.value.code is ErrorCode.MAX_SESSIONS_EXCEEDED
        sim.manager.complete_session(second.id)
        sim.manager.resume_session(first.id)
        sim.crash(sim.session_ref(first.id))
        sim.check_promises()
        assert sim.manager.status()["active_sessions"] == 1
        sim.manager.cancel_session(first.id)
        assert sim.manager.run_once("Hello").status == "completed"
        sim.check_promises()


def test_a_session_whose_slot_is_refused_in_run_once_is_on_record_as_failed():
    with SimulatedSystem(limits=Limits(max_parallel_sessions=1)) as sim:
        sim.active_session()
        with pytest.raises(AsmError):
            sim.manager.run_once("Hello")
        (failed,) = sim.manager.list_sessions(status="failed")
        assert sim.types(failed.id) == ["session_created", "session_failed"]
        assert sim.store.runs(failed.id) == []
        sim.check_promises()


def test_a_slot_passes_from_pause_to_resume_in_every_order():
    for seed in range(20):
        with SimulatedSystem(seed, limits=Limits(max_parallel_sessions=1)) as sim:
            session = sim.active_session()
            asked = []
            for n in range(6):
                operation = sim.operations.resume_session if n % 2 else sim.operations.pause_session
                asked.append(operation(session.id))
                sim.steps(seed % 4)
            sim.settle()
            assert set(sim.codes(asked)) <= {None, ErrorCode.INVALID_OPERATION}
            sim.check_promises()


# --- Cancel, deadline --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", range(0, 90, 2))
def test_a_cancel_at_any_moment_leaves_one_end_and_everything_free(steps):
    provider = ScriptedProvider(Script(text("Hello", size=1)))
    with SimulatedSystem(steps, providers={"mock": provider}) as sim:
        session = sim.active_session()
        run = sim.manager.start_run(session.id, "Hello")
        waiting = sim.operations.execute_run(run.id)
        sim.steps(steps)
        cancels = [sim.operations.cancel_run(run.id), sim.operations.cancel_run(run.id, reason="again")]
        sim.settle()
        records = [cancel.get() for cancel in cancels]
        assert records[0] == records[1] == sim.run(run.id)
        assert records[0].status in ("cancelled", "completed")
        assert sim.codes([waiting]) == [None if records[0].status == "completed" else ErrorCode.CANCELLED]
        assert provider.open_streams == 0
        sim.check_promises()


def test_a_run_is_cancelled_wherever_it_stands():
    provider = ScriptedProvider(Script(text("Hel"), stall()))
    with SimulatedSystem(providers={"mock": provider}, limits=Limits(max_parallel_runs=1)) as sim:
        first, second = sim.active_session(), sim.active_session()
        created = sim.manager.start_run(first.id, "created")
        streaming = sim.manager.submit_run(first.id, "streaming")
        sim.settle()
        queued = sim.manager.submit_run(first.id, "queued")
        in_line = sim.manager.submit_run(second.id, "in line for the slot")
        sim.settle()
        assert sim.run_ref(in_line.id) is not None
        for run in (created, queued, in_line, streaming):
            assert sim.manager.cancel_run(run.id, reason="enough").status == "cancelled"
            assert sim.types_of(run.id)[-1] == "run_cancelled"
        assert sim.run(streaming.id).output == {"content": "Hel", "partial": True}
        assert provider.open_streams == 0
        sim.check_promises()


@pytest.mark.parametrize("end", ["cancel_session", "fail_session", "complete_session"])
def test_ending_a_session_stops_its_runs_and_answers_everybody(end):
    for seed in range(10):
        provider = ScriptedProvider(Script(text("Hel"), stall()))
        with SimulatedSystem(seed, providers={"mock": provider}) as sim:
            session = sim.active_session()
            runs = [sim.manager.submit_run(session.id, str(n)) for n in range(3)]
            created = sim.manager.start_run(session.id, "created")
            waiting = [sim.operations.await_run(run.id) for run in (*runs, created)]
            sim.steps(seed * 3)
            options = {"cancel_runs": True} if end == "complete_session" else {}
            ended = getattr(sim.operations, end)(session.id, **options)
            sim.settle()
            assert ended.get().is_terminal
            assert sim.codes(waiting) == [ErrorCode.CANCELLED] * 4
            assert provider.open_streams == 0
            sim.check_promises()


@pytest.mark.parametrize("where", ["queued", "in line", "streaming"])
def test_a_run_whose_time_is_over_ends_wherever_it_stands(where):
    provider = ScriptedProvider(Script(text("Hel"), stall()))
    with SimulatedSystem(providers={"mock": provider}, limits=Limits(max_parallel_runs=1)) as sim:
        session, other = sim.active_session(), sim.active_session()
        if where != "streaming":
            sim.manager.submit_run(session.id, "before")
            sim.settle()
        target = other if where == "in line" else session
        run = sim.manager.submit_run(target.id, "Hello", deadline=5.0)
        waiting = sim.operations.await_run(run.id)
        sim.advance(4.9)
        assert not sim.run(run.id).is_terminal
        sim.advance(0.2)
        assert sim.codes([waiting]) == [ErrorCode.TIMEOUT]
        record = sim.run(run.id)
        assert record.status == "timeout"
        assert sim.types_of(run.id)[-1] == "run_timeout"
        assert provider.open_streams == (where != "streaming")
        sim.check_promises()


@pytest.mark.parametrize("steps", range(0, 40, 2))
def test_deadline_cancel_and_completion_that_race_make_one_end(steps):
    provider = ScriptedProvider(Script(sleep(5.0), text("Hello")))
    with SimulatedSystem(steps, providers={"mock": provider}) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "Hello", deadline=5.0)
        waiting = sim.operations.await_run(run.id)
        sim.advance(4.999)
        sim.clock.advance(0.002)
        sim.steps(steps)
        cancelled = sim.operations.cancel_run(run.id)
        sim.settle()
        assert cancelled.get().status in ("timeout", "cancelled", "completed")
        assert waiting.is_available
        assert provider.open_streams == 0
        sim.check_promises()
