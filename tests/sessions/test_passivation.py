"""Sessions that leave memory when nothing is asked of them, and come back when something is."""

from __future__ import annotations

import threading

import pytest

from asm_actors import messages
from asm_actors.config import Limits
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.memory import MemoryStore
from asm_actors.providers.script import Script, stall, text, wait
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.services import SESSIONS, session_name
from asm_actors.sessions import lives
from asm_actors.sessions import messages as m
from asm_actors.sessions.delivery import deliver, deliver_to_run, tell
from asm_actors.sessions.open_runs import Closing
from asm_actors.sessions.resting import Rest, may_rest
from asm_actors.sessions.session import SessionStatus
from asm_actors.system import ActorSystem
from asm_actors.testing.system import SimulatedSystem
from supervisors.testing import Gate

LINGER = 10.0
LONG = 3 * LINGER


@pytest.fixture
def quiet():
    """Makes systems whose sessions leave after ten seconds without work."""
    opened = []

    def make(seed=0, **options):
        options.setdefault("linger", LINGER)
        opened.append(SimulatedSystem(seed, **options))
        return opened[-1].__enter__()

    yield make
    for sim in opened:
        sim.__exit__(None, None, None)


def counts(sim):
    return sim.manager.status()["sessions"]


def supervisor(sim):
    return sim.services.whereis(SESSIONS).life.actor


def is_live(sim, session):
    return sim.session_ref(session.id) is not None


# --- Leaving and coming back -----------------------------------------------------------------------------------------


def test_a_session_of_which_nothing_is_asked_leaves_and_the_next_message_revives_it(quiet):
    sim = quiet()
    session = sim.active_session()
    sim.advance(LINGER / 2)
    assert is_live(sim, session)
    sim.advance(LONG)
    assert not is_live(sim, session)
    assert counts(sim) == {"live": 0, "passivated": 1, "revived": 0}
    result = sim.manager.execute_run(sim.manager.start_run(session.id, "Hello").id)
    assert result.output["content"] == "Mock response"
    assert counts(sim) == {"live": 1, "passivated": 1, "revived": 1}
    sim.advance(LONG)
    assert counts(sim) == {"live": 0, "passivated": 2, "revived": 1}
    assert sim.manager.complete_session(session.id).last_sequence == len(sim.events(session.id))
    sim.check_promises()


def test_each_message_gives_it_as_much_time_again(quiet):
    sim = quiet()
    session = sim.active_session()
    for _ in range(6):
        sim.advance(LINGER * 0.9)
        sim.manager.status(session.id)
    assert counts(sim) == {"live": 1, "passivated": 0, "revived": 0}


def test_without_linger_none_ever_leaves_and_no_timer_runs(quiet):
    sim = quiet(linger=None)
    session = sim.active_session()
    assert not supervisor(sim)._life.timers
    sim.advance(100_000.0)
    assert is_live(sim, session)


def test_no_timer_runs_while_no_session_lives(quiet):
    sim = quiet()
    assert not supervisor(sim)._life.timers
    sim.active_session()
    assert supervisor(sim)._life.timers
    sim.advance(LONG)
    assert not supervisor(sim)._life.timers


def test_nothing_is_kept_of_sessions_that_left(quiet):
    sim = quiet(limits=Limits(max_parallel_sessions=None))
    sessions = [sim.active_session() for _ in range(50)]
    for session in sessions:
        sim.manager.start_run(session.id, "later")
    sim.advance(LONG)
    boss, directory = supervisor(sim), sim.services.directory
    assert counts(sim)["passivated"] == 50
    for kept in (boss._lives, boss._held, boss._instances, boss._restarting, boss._reviving, boss._to_sweep):
        assert not kept
    assert not (boss._life.children or boss._finding or directory.runs or directory.on_the_way)
    assert all(sim.services.whereis(session_name(session.id)) is None for session in sessions)
    sim.check_promises()


def test_a_look_over_many_lives_is_cut_into_slices(quiet, monkeypatch):
    monkeypatch.setattr(lives, "LOOK_AT_ONCE", 7)
    monkeypatch.setattr(lives, "REST_AT_ONCE", 3)
    sim = quiet()
    for _ in range(40):
        sim.active_session()
    sim.advance(LONG)
    assert counts(sim) == {"live": 0, "passivated": 40, "revived": 0}


def test_a_revived_session_counts_its_events_on(quiet):
    sim = quiet()
    session = sim.active_session()
    for n in range(3):
        sim.advance(LONG)
        sim.manager.pause_session(session.id) if n % 2 else sim.manager.resume_session(session.id)
        sim.manager.execute_run(sim.manager.start_run(session.id, "Hi").id) if not n % 2 else None
    numbers = [event.sequence_number for event in sim.events(session.id)]
    assert numbers == list(range(1, len(numbers) + 1))
    sim.check_promises()


# --- What keeps it -------------------------------------------------------------------------------------------------


def test_runs_under_way_and_in_line_keep_it(quiet):
    gate = Gate()
    script = Script(text("a"), wait(gate), text("b"))
    sim = quiet(providers={"mock": ScriptedProvider(script)}, limits=Limits(max_concurrent_runs=1))
    session = sim.active_session()
    runs = [sim.manager.submit_run(session.id, "Hi") for _ in range(2)]
    sim.advance(LONG)
    assert is_live(sim, session)
    gate.open()
    sim.settle()
    assert [sim.run(run.id).status for run in runs] == ["completed", "completed"]
    sim.advance(LONG)
    assert not is_live(sim, session)


def test_runs_in_line_keep_a_paused_session(quiet):
    sim = quiet()
    session = sim.active_session()
    sim.manager.pause_session(session.id)
    run = sim.manager.submit_run(session.id, "Hi")
    sim.advance(LONG)
    assert is_live(sim, session)
    sim.manager.cancel_run(run.id)
    sim.advance(LONG)
    assert not is_live(sim, session)


def test_whoever_waits_for_a_created_run_keeps_it(quiet):
    sim = quiet()
    session = sim.active_session()
    run = sim.manager.start_run(session.id, "Hi")
    waiting = sim.operations.await_run(run.id)
    sim.advance(LONG)
    assert is_live(sim, session)
    sim.manager.execute_run(run.id)
    sim.settle()
    assert waiting.get().run_id == run.id


def test_what_is_not_durable_keeps_it(quiet):
    class SlowStore(MemoryStore):
        is_full = False

        def commit(self, appends, *, sync=True):
            if self.is_full:
                raise AsmError(ErrorCode.STORAGE_WRITE_FAILED, "no space left")
            return super().commit(appends, sync=sync)

    store = SlowStore()
    sim = quiet(store=store, patience=1_000.0)
    session = sim.active_session()
    store.is_full = True
    sim.system.session(session.id).tell(messages.PauseSession())
    sim.advance(LONG)
    assert is_live(sim, session)
    assert sim.session(session.id).status == "active"
    store.is_full = False
    sim.advance(LONG)
    assert not is_live(sim, session)
    assert sim.session(session.id).status == "paused"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("activating", [object()]),
        ("once", (None, None, None)),
        ("closing", Closing(SessionStatus.COMPLETED, None, {}, [])),
        ("prelude", object()),
    ],
)
def test_a_change_that_is_half_done_keeps_it(bench, name, value):
    core = bench()
    assert may_rest(core.state)
    setattr(core.state, name, value)
    assert not may_rest(core.state)


def test_only_runs_that_were_merely_created_may_be_left_to_the_journal(bench):
    core = bench(max_concurrent=1)
    core.created("a")
    assert may_rest(core.state)
    core.tell(m.AwaitRun("a"), reply=object())
    assert not may_rest(core.state)
    core = bench(max_concurrent=1)
    core.submitted("b")
    assert not may_rest(core.state)


# --- Its runs ------------------------------------------------------------------------------------------------------


def test_created_runs_are_found_again_by_their_ids(quiet):
    sim = quiet()
    session = sim.active_session()
    executed, cancelled, told = [sim.manager.start_run(session.id, "Hi") for _ in range(3)]
    sim.advance(LONG)
    assert sim.services.directory.runs == {}
    assert sim.manager.execute_run(executed.id).output["content"] == "Mock response"
    sim.advance(LONG)
    assert sim.manager.cancel_run(cancelled.id).status == "cancelled"
    sim.advance(LONG)
    sim.system.run(told.id).tell(messages.CancelRun(reason="user"))
    sim.settle()
    assert sim.run(told.id).status == "cancelled"
    assert counts(sim)["revived"] == 3
    sim.check_promises()


def test_what_is_asked_about_a_run_while_it_is_looked_up_stays_in_order(quiet):
    for seed in range(30):
        sim = quiet(seed)
        session = sim.active_session()
        run = sim.manager.start_run(session.id, "Hi")
        sim.advance(LONG)
        first = deliver_to_run(sim.services, run.id, m.AwaitRun(run.id))
        answers = [deliver_to_run(sim.services, run.id, m.CancelRun(reason, run.id)) for reason in "ab"]
        again = deliver_to_run(sim.services, run.id, m.ExecuteRun(run.id))
        sim.settle()
        assert sim.codes([first, *answers, again]) == ["cancelled", None, None, "invalid_operation"]
        assert answers[0].get().error["details"] == {"reason": "a"}


def test_a_run_that_was_found_meanwhile_is_not_asked_out_of_turn(quiet):
    for seed in range(200):
        sim = quiet(seed)
        session = sim.active_session()
        run = sim.manager.start_run(session.id, "Hi")
        sim.advance(LONG)
        revived = deliver(sim.services, session.id, m.GetSession())
        sim.steps(seed % 12)
        first = deliver_to_run(sim.services, run.id, m.CancelRun("first", run.id))
        second = None
        while not first.is_available:
            sim.steps(1)
            if second is None and (run.id in sim.services.directory.runs or revived.is_available):
                second = deliver_to_run(sim.services, run.id, m.CancelRun("second", run.id))
        sim.settle()
        assert first.get().error["details"] == {"reason": "first"}
        assert second is None or second.get().error["details"] == {"reason": "first"}


def test_what_was_revived_for_its_runs_is_not_remembered_either(quiet):
    sim = quiet(providers={"mock": ScriptedProvider(Script(stall()))})
    run = sim.manager.submit_run(sim.active_session().id, "Hi")
    sim.settle()
    sim.kill()
    sim.settle()
    assert supervisor(sim)._reviving
    sim.manager.cancel_run(run.id)
    sim.advance(LONG)
    assert not supervisor(sim)._reviving


# --- Slots -----------------------------------------------------------------------------------------------------------


def test_a_session_that_left_has_given_its_slot_back_and_stands_in_line_when_it_is_revived(quiet):
    sim = quiet(limits=Limits(max_parallel_sessions=1))
    cold, warm = sim.active_session(), sim.manager.start_session(agent_id="a")
    assert (
        sim.error_of(_settled(sim, sim.operations.activate_session(warm.id))).code == "max_sessions_exceeded"
    )
    sim.advance(LONG)
    sim.manager.activate_session(warm.id)
    run = sim.manager.submit_run(cold.id, "Hi")
    sim.settle()
    assert sim.run(run.id).status == "pending", "there is no slot for its session"
    sim.manager.pause_session(warm.id)
    sim.settle()
    assert sim.run(run.id).status == "completed"
    sim.check_promises()


def _settled(sim, future):
    sim.settle()
    return future


# --- Races -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_what_comes_while_it_leaves_is_done_by_its_next_life_in_order(quiet, seed):
    sim = quiet(seed, limits=Limits(max_concurrent_runs=1, max_queued_runs=100))
    session = sim.active_session()
    handle = sim.system.session(session.id)
    for n_steps in range(1, 14):
        sim.advance(LONG)
        sim.manager.status(session.id)  # revived, and at once told to go
        sim.session_ref(session.id).tell(Rest(at_once=True))
        sim.steps(n_steps)
        before = len(sim.events(session.id))
        handle.tell(messages.PauseSession())
        runs = [sim.operations.submit_run(session.id, "Hi") for _ in range(3)]
        resumed = sim.operations.resume_session(session.id)
        sim.settle()
        assert sim.codes([*runs, resumed]) == [None] * 4
        types = sim.types(session.id)[before:]
        assert [kind for kind in types if kind.startswith("session_")] == [
            "session_paused",
            "session_resumed",
        ]
        started = [event.run_id for event in sim.events(session.id)[before:] if event.type == "run_started"]
        assert started == [run.get().id for run in runs]
    assert counts(sim)["passivated"] >= 13
    sim.check_promises()


def test_a_message_that_is_with_the_supervisor_is_not_overtaken_by_the_next_one(quiet):
    for seed in range(50):
        sim = quiet(seed)
        session = sim.active_session()
        sim.advance(LONG)
        tell(sim.services, session.id, m.PauseSession())
        others = [deliver(sim.services, session.id, m.GetStatus()) for _ in range(3)]
        sim.steps(seed % 12)
        resumed = deliver(sim.services, session.id, m.ResumeSession())
        sim.settle()
        assert sim.types(session.id)[-2:] == ["session_paused", "session_resumed"]
        assert resumed.get().status == "active"
        assert {one.get()["status"] for one in others} == {"paused"}
        assert sim.services.directory.on_the_way == {}


def test_a_restart_of_the_supervisor_forgets_what_was_on_the_way(quiet):
    sim = quiet()
    session = sim.active_session()
    sim.advance(LONG)
    lost = deliver(sim.services, session.id, m.GetSession())
    assert sim.services.directory.on_the_way == {session.id: 1}
    sim.services.whereis(SESSIONS).kill()
    sim.settle()
    sim.advance(1.0)
    assert sim.services.directory.on_the_way == {}
    assert sim.error_of(lost).code in ("interrupted", "invalid_operation")
    assert sim.manager.get_session(session.id).id == session.id


def test_a_session_that_was_told_to_rest_stays_if_something_comes_first(quiet):
    sim = quiet()
    session = sim.active_session()
    sim.session_ref(session.id).tell(Rest())
    future = sim.operations.pause_session(session.id)
    sim.settle()
    assert future.get().status == "paused"
    assert is_live(sim, session)


def test_a_crash_while_it_leaves_loses_nothing(quiet):
    for n_steps in range(1, 12):
        sim = quiet(n_steps)
        session = sim.active_session()
        run = sim.manager.start_run(session.id, "Hi")
        ref = sim.session_ref(session.id)
        ref.tell(Rest(at_once=True))
        sim.steps(n_steps)
        sim.crash(ref) if ref.is_alive() else None
        asked = sim.operations.execute_run(run.id)
        sim.settle()
        if sim.error_of(asked) is not None:
            assert sim.error_of(asked).code == "interrupted"
        else:
            assert asked.get().output["content"] == "Mock response"
        sim.dispatcher.failures.clear()
        sim.check_promises()


# --- Readers, drain, stop --------------------------------------------------------------------------------------------


def test_a_subscription_needs_no_actor_and_goes_on_through_a_revival(quiet):
    sim = quiet()
    session = sim.active_session()
    subscription = sim.manager.subscribe(session.id)
    stream = iter(subscription)
    heard = [next(stream).type.value for _ in range(2)]
    sim.advance(LONG)
    assert not is_live(sim, session)
    sim.manager.pause_session(session.id)
    heard.append(next(stream).type.value)
    assert heard == ["session_created", "session_started", "session_paused"]
    subscription.close()


def test_a_drain_is_not_disturbed_by_sessions_that_leave(quiet):
    gate = Gate()
    script = Script(wait(gate), text("b"))
    sim = quiet(providers={"mock": ScriptedProvider(script)})
    busy, idle = sim.active_session(), sim.active_session()
    sim.manager.start_run(idle.id, "never executed")
    run = sim.manager.submit_run(busy.id, "Hi")
    drained = sim.operations.drain(timeout=100.0)
    sim.advance(LONG)
    assert not is_live(sim, idle)
    assert not drained.is_available
    gate.open()
    sim.advance(1.0)
    assert drained.get().orphans == ()
    assert sim.run(run.id).status == "completed"


def test_a_system_stops_while_sessions_leave(quiet):
    sim = quiet()
    sessions = [sim.active_session() for _ in range(5)]
    for session in sessions:
        sim.session_ref(session.id).tell(Rest(at_once=True))
    sim.steps(3)
    sim.restart()
    assert [sim.manager.get_session(session.id).status for session in sessions] == ["active"] * 5
    sim.check_promises()


def test_a_stalled_stream_is_not_idle(quiet):
    sim = quiet(providers={"mock": ScriptedProvider(Script(text("a"), stall()))})
    session = sim.active_session()
    run = sim.manager.submit_run(session.id, "Hi")
    sim.advance(10 * LONG)
    assert is_live(sim, session)
    assert sim.manager.cancel_run(run.id).status == "cancelled"


# --- Real threads ----------------------------------------------------------------------------------------------------


def test_callers_on_threads_notice_nothing_of_sessions_that_come_and_go(monkeypatch):
    monkeypatch.setattr(lives, "SHORTEST_PAUSE_S", 0.001)
    problems = []
    with ActorSystem.start(
        MemoryStore(),
        {"mock": ScriptedProvider()},
        Limits(max_concurrent_runs=1, max_queued_runs=100),
        linger=0.0,
    ) as system:
        manager = system.sessions

        def call(session_id):
            try:
                for _ in range(15):
                    futures = [manager._operations.submit_run(session_id, "Hi") for _ in range(3)]
                    runs = [future.get(timeout=30.0) for future in futures]
                    for run in runs:
                        manager.await_run(run.id, timeout=30.0)
                    order = [event.run_id for event in manager.get_session_events(session_id)]
                    assert list(dict.fromkeys(i for i in order if i))[-3:] == [run.id for run in runs]
                    # Until it has left: then the next round revives it.
                    while system.session(session_id).ref() is not None:
                        threading.Event().wait(0.001)
            except BaseException as error:
                problems.append(error)

        sessions = [manager.start_session(agent_id="a") for _ in range(4)]
        for session in sessions:
            manager.activate_session(session.id)
        threads = [threading.Thread(target=call, args=(session.id,)) for session in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = manager.status()["sessions"]
    assert problems == []
    assert found["passivated"] >= 60
    assert found["revived"] >= 56
