"""What the next process makes of the journal of the last one; and everything at once."""

from __future__ import annotations

import random

import pytest

from asm_actors.config import Limits
from asm_actors.errors import ErrorCode
from asm_actors.providers.script import Script, sleep, stall, text
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.runs.actor import RunActor
from asm_actors.services import JOURNAL, RUN_SLOTS, SESSION_SLOTS, SESSIONS, SUBSCRIPTIONS
from asm_actors.sessions import messages as m
from asm_actors.sessions.actor import SessionActor
from asm_actors.testing.system import SimulatedSystem
from supervisors.testing import Gate

pytestmark = pytest.mark.usefixtures("_quiet_logs")


# --- A new process ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_after_the_end_of_the_process_queued_runs_go_on_behind_those_under_way_which_are_asked_again(seed):
    scripts = [Script(text("Hel"), stall()), Script(text("Done"))]
    provider = ScriptedProvider(scripts)
    with SimulatedSystem(seed, providers={"mock": provider}) as sim:
        session = sim.active_session()
        under_way = sim.manager.submit_run(session.id, "one")
        sim.settle()
        queued = [sim.manager.submit_run(session.id, str(n)) for n in range(3)]
        created = sim.manager.start_run(session.id, "created")
        sim.kill()
        sim.settle()
        assert sim.run(under_way.id).output["content"] == "Done"
        assert [request.run_id for request in provider.requests] == [
            under_way.id,
            under_way.id,
            *(run.id for run in queued),
        ]
        assert [sim.run(run.id).status for run in queued] == ["completed"] * 3
        assert sim.run(created.id).status == "pending"
        assert sim.manager.execute_run(created.id).output["content"] == "Done"
        sim.check_promises()


def test_a_run_that_stood_in_line_for_a_slot_is_not_forgotten():
    provider = ScriptedProvider([Script(stall()), Script(text("Done"))])
    with SimulatedSystem(providers={"mock": provider}, limits=Limits(max_parallel_runs=1)) as sim:
        first, second = sim.active_session(), sim.active_session()
        sim.manager.submit_run(first.id, "holds the slot")
        sim.settle()
        run = sim.manager.start_run(second.id, "stands in line")
        sim.operations.execute_run(run.id)
        sim.settle()
        sim.kill()
        sim.settle()
        assert sim.run(run.id).status == "completed"
        sim.check_promises()


def test_a_deadline_goes_on_counting_over_the_end_of_the_process():
    with SimulatedSystem(script=Script(stall())) as sim:
        session = sim.active_session()
        sim.manager.submit_run(session.id, "before")
        sim.settle()
        run = sim.manager.submit_run(session.id, "Hello", deadline=10.0)
        sim.advance(4)
        sim.manager.pause_session(session.id)
        sim.kill()
        sim.advance(5.5)
        assert sim.run(run.id).status == "pending"
        sim.advance(1)
        assert sim.run(run.id).status == "timeout"
        sim.check_promises()


@pytest.mark.parametrize("steps", range(0, 100, 5))
def test_killed_at_any_moment_the_next_process_goes_on_from_the_journal(steps):
    with SimulatedSystem(steps) as sim:
        session = sim.active_session()
        operations = sim.operations
        operations.submit_run(session.id, "one")
        operations.submit_run(session.id, "two")
        operations.run_once("three")
        operations.cancel_session(session.id)
        sim.steps(steps)
        sim.kill()
        sim.check_journal()
        sim.check_promises()
        assert sim.store.open_runs() == []


def test_a_session_that_was_about_to_end_when_the_process_ended_goes_on_and_can_be_ended_again():
    provider = ScriptedProvider(Script(stall()))
    closing = Gate()

    async def never_closes():
        await closing.wait()

    with SimulatedSystem(providers={"mock": provider}) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "Hello")
        sim.settle()
        sim.session_ref(session.id).tell(m.CancelSession())
        while sim.session_ref(session.id).life.actor.state.closing is None:
            assert sim.dispatcher.step()
        sim.kill()
        sim.settle()
        assert sim.run(run.id).status == "running"
        assert sim.session(session.id).status == "active"
        assert sim.manager.cancel_session(session.id).status == "cancelled"
        assert sim.run(run.id).status == "cancelled"
        sim.check_promises()


# --- Everything at once --------------------------------------------------------------------------------------------


PARTS = (JOURNAL, SESSION_SLOTS, RUN_SLOTS, SESSIONS, SUBSCRIPTIONS)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("steps", range(0, 60, 6))
def test_when_a_part_of_the_tree_crashes_everybody_is_answered_and_the_rest_goes_on(part, steps):
    provider = ScriptedProvider(Script(text("Hello", size=1)))
    with SimulatedSystem(steps, providers={"mock": provider}) as sim:
        session, other = sim.active_session(), sim.manager.start_session(agent_id="a")
        operations = sim.operations
        run = sim.manager.submit_run(session.id, "one")
        asked = [
            operations.await_run(run.id),
            operations.submit_run(session.id, "two"),
            operations.activate_session(other.id),
            operations.run_once("three"),
            operations.cancel_run(run.id),
            operations.start_session(agent_id="a", id="ses_mine"),
        ]
        sim.steps(steps)
        sim.crash(sim.services.whereis(part))
        asked += [
            operations.status(session.id),
            operations.start_run(session.id, "four"),
            operations.run_once("five"),
        ]
        sim.advance(10)
        expected = {None, ErrorCode.INTERRUPTED, ErrorCode.CANCELLED}
        assert set(sim.codes(asked)) <= expected
        assert sim.system.is_running
        assert sim.manager.run_once("Hello").status == "completed"
        sim.check_promises()


def one_command(operations, chance, session_id, runs):
    """Give some command to a session, or to one of its runs."""
    run_id = chance.choice(runs).id if runs else "run_none"
    deadline, cancel_runs = chance.choice([None, 1.0, 5.0]), chance.random() < 0.3
    command = chance.choice(
        [
            lambda: operations.activate_session(session_id),
            lambda: operations.pause_session(session_id),
            lambda: operations.resume_session(session_id),
            lambda: operations.start_run(session_id, "x"),
            lambda: operations.submit_run(session_id, "x", deadline=deadline),
            lambda: operations.execute_run(run_id),
            lambda: operations.await_run(run_id),
            lambda: operations.cancel_run(run_id),
            lambda: operations.run_once("x"),
            lambda: operations.complete_session(session_id, cancel_runs=cancel_runs),
            lambda: operations.status(session_id),
        ]
    )
    return command()


@pytest.mark.parametrize("seed", range(25))
def test_in_a_storm_of_commands_and_crashes_everybody_is_answered_and_every_promise_holds(seed):
    chance = random.Random(seed)
    scripts = [
        Script(text("Hello", size=2)),
        Script(text("Hel"), sleep(2), text("lo")),
        Script(text("x"), sleep(9)),
    ]
    provider = ScriptedProvider(lambda request: chance.choice(scripts))
    limits = Limits(max_parallel_sessions=3, max_parallel_runs=2, max_concurrent_runs=2, max_queued_runs=3)
    with SimulatedSystem(seed, providers={"mock": provider}, limits=limits) as sim:
        sessions = [sim.manager.start_session(agent_id="a").id for _ in range(4)]
        operations, asked = sim.operations, []
        for _ in range(60):
            session_id = chance.choice(sessions)
            asked.append(one_command(operations, chance, session_id, sim.store.runs(session_id)))
            sim.steps(chance.randrange(12))
            if chance.random() < 0.15:
                victims = [
                    life.ref
                    for life in sim.dispatcher.lives
                    if isinstance(life.actor, SessionActor | RunActor) and life.ref is not None
                ]
                if victims:
                    sim.crash(chance.choice(victims))
            if chance.random() < 0.2:
                sim.advance(chance.random() * 3)
        sim.advance(60)
        asked += [operations.cancel_session(session_id) for session_id in sessions]
        sim.advance(60)
        assert all(future.is_available for future in asked)
        for future in asked:
            sim.error_of(future)  # raises if it is anything but a result or an AsmError
        assert provider.open_streams == 0
        sim.check_promises()
        assert sim.store.open_runs() == []
