"""Sessions as actors, in whole systems on the simulation: their lives, crashes, and journals that fail."""

from __future__ import annotations

import pytest

from asm_actors.config import Limits
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.memory import MemoryStore
from asm_actors.providers.script import Script, stall, text, wait
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.services import SESSIONS
from asm_actors.sessions import messages as m
from asm_actors.sessions.actor import SessionActor
from asm_actors.testing.system import SimulatedSystem
from supervisors.testing import Gate

pytestmark = pytest.mark.usefixtures("_quiet_logs")


class FailingStore(MemoryStore):
    """Refuses commits while `is_full`."""

    is_full = False

    def commit(self, appends, *, sync=True):
        if self.is_full and appends:
            raise AsmError(ErrorCode.STORAGE_WRITE_FAILED, "no space left")
        return super().commit(appends, sync=sync)


# --- A life ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_conversation_from_start_to_end(seed):
    with SimulatedSystem(seed) as sim:
        session = sim.active_session(provider="mock")
        run = sim.manager.start_run(session.id, "Hello")
        result = sim.manager.execute_run(run.id)
        assert result.output["content"] == "Mock response"
        assert [event.type.value for event in result.events] == sim.types_of(run.id)
        ended = sim.manager.complete_session(session.id)
        assert ended.last_sequence == len(sim.events(session.id))
        assert sim.types(session.id) == [
            "session_created",
            "session_started",
            "message_sent",
            "run_started",
            "message_streamed",
            "message_streamed",
            "message_received",
            "token_usage_updated",
            "run_completed",
            "session_completed",
        ]
        sim.check_promises()
        assert sim.session_ref(session.id) is None


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_answered_before_it_is_durable(seed):
    with SimulatedSystem(seed) as sim:
        operations, seen = sim.operations, []

        def look(future, what):
            future.add_done_callback(lambda _: seen.append(what()))
            return future

        def status():
            return sim.store.has_session("ses_a") and sim.session("ses_a").status.value

        look(operations.start_session(agent_id="a", id="ses_a"), status)
        sim.settle()
        look(operations.activate_session("ses_a"), status)
        sim.settle()
        run = look(operations.submit_run("ses_a", "Hello"), lambda: len(sim.store.runs("ses_a"))).get()
        look(operations.await_run(run.id), lambda: sim.run(run.id).status.value)
        sim.settle()
        look(operations.cancel_session("ses_a"), status)
        sim.settle()
        assert seen == ["pending", "active", 1, "completed", "cancelled"]


def test_records_given_to_callers_know_the_sessions_last_event():
    with SimulatedSystem() as sim:
        session = sim.active_session()
        assert session.last_sequence == 2
        sim.manager.run_once("x")
        assert sim.system.session(session.id).ask(m.GetSession()).last_sequence == 2
        assert sim.manager.status(session.id)["last_sequence"] == 2
        sim.kill()
        assert sim.system.session(session.id).ask(m.GetSession()).last_sequence == 2


@pytest.mark.parametrize("seed", range(10))
def test_asking_about_a_session_that_is_over_leaves_no_actor_behind(seed):
    with SimulatedSystem(seed) as sim:
        result = sim.manager.run_once("Hello")
        sim.settle()
        assert sim.session_ref(result.session_id) is None
        asked = [
            sim.operations.await_run(result.run_id),
            sim.operations.status(result.session_id),
            sim.operations.cancel_run(result.run_id),
            sim.operations.complete_session(result.session_id),
            sim.operations.activate_session(result.session_id),
            sim.operations.execute_run(result.run_id),
        ]
        sim.settle()
        assert sim.codes(asked) == [
            None,
            None,
            None,
            None,
            ErrorCode.INVALID_TRANSITION,
            ErrorCode.INVALID_OPERATION,
        ]
        assert sim.session_ref(result.session_id) is None
        sim.check_promises()


@pytest.mark.parametrize("steps", range(0, 60, 3))
def test_a_question_that_meets_a_leaving_session_is_answered_by_its_next_life(steps):
    with SimulatedSystem(steps) as sim:
        session = sim.active_session()
        ending = sim.operations.complete_session(session.id)
        sim.steps(steps)
        asked = [sim.operations.complete_session(session.id), sim.operations.start_run(session.id, "x")]
        sim.settle()
        assert sim.codes([ending, asked[0]]) == [None, None]
        assert sim.codes(asked[1:])[0] in (None, ErrorCode.INVALID_OPERATION)
        sim.check_promises()


def test_a_session_that_is_unknown_is_not_found():
    with SimulatedSystem() as sim:
        for ask in (sim.manager.activate_session, sim.manager.status, sim.manager.submit_run):
            with pytest.raises(AsmError) as caught:
                ask("ses_nobody")
            assert caught.value.code is ErrorCode.SESSION_NOT_FOUND
        sim.check_promises()


# --- Reading behind writing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_a_question_about_a_run_that_has_just_ended_waits_for_its_end_to_be_durable(seed):
    """The record in the store is older than what the session knows, until the commit is through."""
    with SimulatedSystem(seed) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "Hello")
        actor = sim.session_ref(session.id).life.actor
        while run.id in actor.state.open:
            assert sim.dispatcher.step()
        asked = [sim.operations.await_run(run.id), sim.operations.cancel_run(run.id)]
        sim.settle()
        assert asked[0].get().output["content"] == "Mock response"
        assert asked[1].get().status == "completed"
        sim.check_promises()


# --- Crashes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["crash", "kill"])
@pytest.mark.parametrize("steps", range(0, 120, 4))
def test_whatever_a_crash_interrupts_every_asker_is_answered_and_the_next_life_goes_on(steps, how):
    with SimulatedSystem(steps) as sim:
        session = sim.active_session()
        operations = sim.operations
        run = sim.manager.start_run(session.id, "one")
        asked = [
            operations.execute_run(run.id),
            operations.submit_run(session.id, "two"),
            operations.await_run(run.id),
            operations.start_run(session.id, "three"),
        ]
        sim.steps(steps)
        ref = sim.session_ref(session.id)
        sim.crash(ref) if how == "crash" else ref.kill()
        asked += [operations.status(session.id), operations.submit_run(session.id, "four")]
        sim.settle()
        if sim.error_of(asked[0]) is not None and not sim.run(run.id).is_terminal:
            # Whoever was told that it was interrupted asks again; whoever awaits the run has waited for that.
            operations.execute_run(run.id)
            sim.settle()
        answers = sim.codes(asked)
        assert set(answers) <= {None, ErrorCode.INTERRUPTED}, answers
        assert answers[-1] is None
        assert sim.session_ref(session.id) is not ref
        sim.check_promises()
        assert all(run.is_terminal or "submitted" not in run.options for run in sim.store.runs(session.id))


@pytest.mark.parametrize("seed", range(20))
def test_a_session_that_crashes_again_and_again_has_one_life_at_a_time(seed):
    gate = Gate()
    with SimulatedSystem(seed, script=Script(wait(gate), text("x"))) as sim:
        session = sim.active_session()
        asked = []
        for n in range(5):
            asked.append(sim.operations.submit_run(session.id, f"run {n}"))
            sim.steps(3)
            ref = sim.session_ref(session.id)
            if ref is not None:
                sim.crash(ref)
            sim.steps(seed)
        sim.settle()
        assert set(sim.codes(asked)) <= {None, ErrorCode.INTERRUPTED}
        lives = [life for life in sim.dispatcher.lives if isinstance(life.actor, SessionActor)]
        assert len(lives) == 1
        gate.open()
        sim.check_promises()


def test_a_run_whose_making_was_lost_with_a_killed_session_is_forgotten():
    store = FailingStore()
    with SimulatedSystem(store=store, patience=2.0) as sim:
        session = sim.active_session()
        store.is_full = True
        lost = sim.operations.submit_run(session.id, "Hello")
        sim.settle()
        sim.session_ref(session.id).kill()
        sim.advance(3)
        store.is_full = False
        sim.advance(3)
        assert sim.codes([lost]) == [ErrorCode.INTERRUPTED]
        assert sim.services.directory.runs == {}
        sim.check_promises()


@pytest.mark.parametrize("seed", range(20))
def test_what_is_told_to_a_session_that_has_just_died_does_not_start_a_second_life_beside_its_restart(seed):
    with SimulatedSystem(seed) as sim:
        session = sim.active_session()
        for _ in range(3):
            sim.system.session(session.id).tell(m.GetStatus())
            ref = sim.session_ref(session.id)
            if ref is not None:
                sim.crash(ref)
            sim.steps(2)
        sim.settle()
        statistics = sim.services.whereis(SESSIONS).life.actor.statistics()
        assert (statistics.active, statistics.failed_starts) == (1, 0)
        sim.check_promises()


@pytest.mark.parametrize("seed", range(10))
def test_a_killed_session_leaves_nothing_in_the_directory_that_is_over(seed):
    with SimulatedSystem(seed, script=Script(stall())) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "Hello")
        sim.settle()
        sim.session_ref(session.id).kill()
        sim.settle()
        assert sim.services.directory.runs == {run.id: session.id}
        assert sim.manager.cancel_run(run.id).recoveries == 1
        assert sim.services.directory.runs == {}
        sim.check_promises()


def test_runs_of_a_crashed_session_go_on_and_others_are_untouched():
    gate = Gate()
    with SimulatedSystem(script=Script(wait(gate), text("Done"))) as sim:
        first, second = sim.active_session(), sim.active_session()
        mine = sim.manager.submit_run(first.id, "Hello")
        other = sim.manager.submit_run(second.id, "Hello")
        sim.settle()
        sim.crash(sim.session_ref(first.id))
        sim.settle()
        (recovered,) = [event for event in sim.events_of(mine.id) if event.type == "run_recovered"]
        assert "injected" in recovered.data["reason"]
        gate.open()
        assert sim.manager.await_run(mine.id).output["content"] == "Done"
        assert sim.run(other.id).recoveries == 0
        assert sim.manager.await_run(other.id).output["content"] == "Done"
        sim.check_promises()


@pytest.mark.parametrize("seed", range(10))
def test_the_death_of_a_runs_actor_that_may_not_go_on_fails_it_frees_its_slot_and_closes_its_stream(seed):
    provider = ScriptedProvider([Script(text("Hel"), stall()), Script(text("Hello"))])
    limits = Limits(max_parallel_runs=1)
    with SimulatedSystem(seed, providers={"mock": provider}, limits=limits, on_restart="fail") as sim:
        session, other = sim.active_session(), sim.active_session()
        run = sim.manager.submit_run(session.id, "one")
        sim.settle()
        waiting = sim.operations.await_run(run.id)
        next_run = sim.manager.submit_run(other.id, "two")
        sim.crash(sim.run_ref(run.id))
        sim.settle()
        assert sim.codes([waiting]) == [ErrorCode.INTERNAL_ERROR]
        assert sim.types_of(run.id)[-1] == "run_failed"
        assert sim.run(next_run.id).status == "completed"
        assert provider.open_streams == 0
        sim.check_promises()


# --- A journal that fails ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_run_whose_events_cannot_be_made_durable_fails_with_that_when_the_disk_is_back(seed):
    store, gate = FailingStore(), Gate()
    with SimulatedSystem(
        seed,
        store=store,
        patience=3.0,
        providers={"mock": ScriptedProvider(Script(text("Hel"), wait(gate), text("lo")))},
    ) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "Hello")
        sim.settle()
        waiting = sim.operations.await_run(run.id)
        store.is_full = True
        gate.open()
        sim.advance(10)
        assert sim.codes([waiting]) == [ErrorCode.STORAGE_WRITE_FAILED]
        assert sim.run(run.id).status == "running"
        store.is_full = False
        sim.advance(10)
        assert sim.run(run.id).error["code"] == "storage_write_failed"
        sim.check_promises()


def test_a_session_that_cannot_be_read_behind_its_writes_is_taken_up_when_the_disk_is_back():
    store = FailingStore()
    with SimulatedSystem(script=Script(stall()), store=store, patience=2.0) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "Hello")
        sim.settle()
        store.is_full = True
        lost = sim.operations.start_run(session.id, "lost")
        sim.settle()
        sim.session_ref(session.id).kill()
        sim.advance(5)
        assert sim.codes([lost]) == [ErrorCode.INTERRUPTED]
        assert sim.run(run.id).status == "running"
        store.is_full = False
        sim.advance(5)
        assert sim.run(run.id).status == "failed"
        sim.check_promises()


def test_a_full_disk_is_no_crash_however_many_sessions_it_hits():
    store, gate = FailingStore(), Gate()
    limits = Limits(max_parallel_sessions=None, max_parallel_runs=None)
    provider = ScriptedProvider(Script(wait(gate), text("Hi")))
    with SimulatedSystem(store=store, patience=1.0, providers={"mock": provider}, limits=limits) as sim:
        sessions = [sim.active_session() for _ in range(150)]
        runs = [sim.manager.submit_run(session.id, "Hello") for session in sessions]
        sim.settle()
        store.is_full = True
        gate.open()
        sim.advance(8)
        assert sim.system.is_running
        store.is_full = False
        sim.advance(10)
        assert {sim.run(run.id).error["code"] for run in runs} == {"storage_write_failed"}
        sim.check_promises()


def test_what_is_refused_by_a_failing_journal_is_told_and_did_not_happen():
    store = FailingStore()
    with SimulatedSystem(store=store, patience=1.0) as sim:
        session = sim.active_session()
        store.is_full = True
        asked = [
            sim.operations.start_session(agent_id="a", id="ses_new"),
            sim.operations.start_run(session.id, "Hello"),
            sim.operations.run_once("Hello"),
            sim.operations.cancel_session(session.id),
        ]
        sim.advance(5)
        assert set(sim.codes(asked)) == {ErrorCode.STORAGE_WRITE_FAILED}
        store.is_full = False
        sim.advance(5)
        assert not sim.store.has_session("ses_new")
        assert sim.session(session.id).status == "active"
        assert sim.store.runs(session.id) == []
        sim.check_promises()
