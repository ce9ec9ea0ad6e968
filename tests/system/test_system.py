"""Starting, stopping, locking, reopening; what dies and what goes on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import pytest

import asm_actors as asm
from asm_actors import AsmError, Limits, RunStatus, SessionStatus
from asm_actors.journal.actor import JournalActor
from asm_actors.providers.script import Script, text, wait
from asm_actors.services import JOURNAL, SESSIONS
from supervisors.testing import Gate


def until(condition, timeout=10.0):
    """Wait for something that another thread brings about and no message tells."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        threading.Event().wait(0.001)


def on_dispatcher(system, action):
    """Do something on the dispatcher's thread and return what it gives."""
    done = threading.Event()
    result = []

    def act():
        result.append(action())
        done.set()

    system.dispatcher.call_from_outside(act)
    assert done.wait(10)
    return result[0]


def all_of(futures):
    """Ask for everything at once, then get the answers."""
    return [future.get() for future in list(futures)]


def n_dispatchers():
    """How many systems run in this process."""
    return sum(thread.name == "asm-dispatcher" for thread in threading.enumerate())


def crash_the_journal(system):
    """Have the journal's actor crash, and wait until everything runs again."""
    old = system.services.whereis(JOURNAL)
    old.life.signal("crash", ZeroDivisionError("a defect"))
    until(lambda: system.services.whereis(JOURNAL) not in (None, old) and system.services.whereis(SESSIONS))


# --- Start -------------------------------------------------------------------------------------------------------


def test_the_shortest_program_works(tmp_path):
    with asm.ActorSystem.start(tmp_path / "journal", {"mock": asm.ScriptedProvider()}) as system:
        result = system.sessions.run_once({"prompt": "Hello"})
        assert "sessions" in system.tree()
        assert system.is_running
    assert not system.is_running
    assert result.output["content"] == "Mock response"


def test_the_asyncio_program_works(tmp_path):
    async def main():
        async with asm.AsyncActorSystem.start(tmp_path / "j", {"mock": asm.ScriptedProvider()}) as system:
            result = await system.sessions.run_once({"prompt": "Hello"}, provider="mock")
            seen = [
                event async for event in system.sessions.stream_session_events(result.session_id, after=0)
            ]
            assert "journal" in await system.tree()
        assert not system.is_running
        return seen

    assert len(asyncio.run(main())) == 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"limits": {"max_parallel_runs": 3}},
        {"providers": [asm.ScriptedProvider()]},
        {"providers": {"mock": object()}},
        {"providers": {"": asm.ScriptedProvider()}},
        {"journal": 5},
        {"durability": "always"},
        {"retry": 3},
        {"patience": -1},
        {"patience": None},
    ],
)
@pytest.mark.parametrize("system", [asm.ActorSystem, asm.AsyncActorSystem])
def test_malformed_arguments_are_refused_and_start_nothing(tmp_path, raises, system, wrong):
    before = threading.active_count()
    with raises("validation_error"):
        system.start(**{"journal": tmp_path / "j", **wrong})
    assert threading.active_count() == before
    assert not (tmp_path / "j").exists()


def test_a_second_system_on_one_journal_is_refused_and_the_first_goes_on(opened, tmp_path, raises, surface):
    o = opened(journal=tmp_path / "j")
    for _ in range(3):
        with raises("journal_locked"):
            opened(surface, journal=tmp_path / "j")
    assert n_dispatchers() == 1
    assert o.manager.run_once("Hello", provider="mock").status is RunStatus.COMPLETED
    o.stop()
    again = opened(surface, journal=tmp_path / "j")
    assert len(again.manager.list_sessions()) == 1


def test_two_systems_in_one_process_do_not_know_of_each_other(opened, tmp_path):
    first, second = opened(journal=tmp_path / "1"), opened(journal=tmp_path / "2")
    session = first.manager.start_session(agent_id="a", id="same")
    second.manager.start_session(agent_id="b", id="same")
    first.manager.cancel_session("same")
    assert second.manager.get_session("same").status is SessionStatus.PENDING
    first.stop()
    assert second.manager.run_once("Hello", provider="mock").status is RunStatus.COMPLETED
    assert session.agent_id == "a"


def test_a_second_system_on_one_dispatcher_is_refused_and_the_first_goes_on(dispatcher, raises):
    first = asm.ActorSystem.start(asm.MemoryStore(), {"mock": asm.ScriptedProvider()}, dispatcher=dispatcher)
    other = asm.MemoryStore()
    with raises("invalid_operation"):
        asm.ActorSystem.start(other, {}, dispatcher=dispatcher)
    with raises("storage_connection_failed"):
        other.last_position()
    assert first.sessions.run_once("Hello").status is RunStatus.COMPLETED
    first.stop()
    third = asm.ActorSystem.start(asm.MemoryStore(), {"mock": asm.ScriptedProvider()}, dispatcher=dispatcher)
    assert third.sessions.run_once("Hello").status is RunStatus.COMPLETED
    third.stop()
    assert not dispatcher.is_stopped, "it is its owner's"


def test_a_start_that_fails_half_way_leaves_no_thread_and_no_lock(
    tmp_path, monkeypatch, surface, opened, raises
):
    def fails(self):
        raise AsmError("storage_read_failed", "event 1 is unreadable")

    with monkeypatch.context() as patch:
        patch.setattr(JournalActor, "on_start", fails)
        with raises("storage_read_failed"):
            opened(surface, journal=tmp_path / "j")
        patch.setattr(JournalActor, "on_start", lambda self: 1 / 0)
        with raises("internal_error") as caught:
            opened(surface, journal=tmp_path / "j")
        assert "ZeroDivisionError" in caught.value.message
    assert n_dispatchers() == 0
    assert opened(surface, journal=tmp_path / "j").manager.list_sessions() == []


def test_giving_up_on_an_asyncio_start_leaves_nothing_running(tmp_path):
    gate = threading.Event()

    class Slow(asm.MemoryStore):
        def open(self):
            gate.wait(10)
            super().open()

    async def main():
        system = asm.AsyncActorSystem.start(Slow(), {})
        task = asyncio.ensure_future(system._open())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not system.is_running
        with pytest.raises(AsmError, match="was stopped"):
            await system

    asyncio.run(main())


def test_an_asyncio_system_is_started_once_however_often_it_is_awaited(tmp_path):
    async def main():
        system = asm.AsyncActorSystem.start(tmp_path / "j", {})
        both = await asyncio.gather(system._open(), system._open())
        assert both == [system, system]
        assert await system is system
        reports = await asyncio.gather(system.stop(), system.stop(drain=True))
        assert reports[0] is reports[1]

    asyncio.run(main())


def test_an_asyncio_system_that_is_never_awaited_has_started_nothing(tmp_path):
    before = threading.active_count()
    asm.AsyncActorSystem.start(tmp_path / "j", {})
    assert threading.active_count() == before
    assert not (tmp_path / "j").exists()


# --- Stop --------------------------------------------------------------------------------------------------------


def test_stop_is_idempotent_and_ends_every_thread(opened, surface):
    before = threading.active_count()
    o = opened(surface)
    o.manager.run_once("Hello", provider="mock")
    report = o.stop()
    assert (report.orphans, report.is_clean) == ((), True)
    assert o.stop() is report
    o.close()
    assert threading.active_count() == before


def test_draining_lets_finish_what_is_under_way(opened, surface):
    o = opened(surface)
    run = o.streaming_run()
    stopping = threading.Thread(target=lambda: o.stop(drain=True, timeout=20))
    stopping.start()
    until(lambda: o.system.services.directory.is_draining)
    o.gate.open()
    stopping.join(10)
    o.store.open()
    assert o.store.run(run.id).status is RunStatus.COMPLETED


def test_what_is_left_when_the_drains_time_is_over_is_reported_and_its_stream_is_closed(opened, surface):
    o = opened(surface)
    run = o.streaming_run()
    o.manager.start_run(run.session_id, "created, and never executed")
    report = o.stop(drain=True, timeout=0.05)
    assert report.orphans == (run.id,)
    assert o.gated.open_streams == 0
    o.store.open()
    assert not o.store.run(run.id).is_terminal, "stopping the system is not the end of a run"


def test_what_cannot_go_on_by_itself_is_not_waited_for(opened):
    o = opened()
    session = o.session()
    o.manager.pause_session(session.id)
    run = o.manager.submit_run(session.id, "waits for the resume")
    report = o.stop(drain=True, timeout=20)
    assert report.orphans == (run.id,)


def test_stopping_can_cancel_what_is_under_way_and_what_waits(opened, surface):
    o = opened(surface)
    run = o.streaming_run()
    queued = o.manager.submit_run(run.session_id, "second")
    report = o.stop(cancel_runs=True)
    assert report.orphans == ()
    o.store.open()
    assert {o.store.run(one.id).status for one in (run, queued)} == {RunStatus.CANCELLED}


def test_a_second_stop_hurries_the_first(opened, surface):
    o = opened(surface)
    run = o.streaming_run()
    reports = []
    stopping = threading.Thread(target=lambda: reports.append(o.stop(drain=True, timeout=None)))
    stopping.start()
    until(lambda: o.system.services.directory.is_draining)
    report = o.stop()
    stopping.join(10)
    assert reports == [report]
    assert report.orphans == (run.id,)


def test_a_with_block_that_is_left_by_an_exception_does_not_drain(opened):
    gate = Gate()
    provider = asm.ScriptedProvider(Script(text("a"), wait(gate)))
    with (
        contextlib.suppress(ZeroDivisionError),
        asm.ActorSystem.start(asm.MemoryStore(), {"mock": provider}) as system,
    ):
        session = system.sessions.start_session(agent_id="a")
        system.sessions.activate_session(session.id)
        system.sessions.submit_run(session.id, "Hello")
        raise ZeroDivisionError
    assert not system.is_running


def test_whoever_waits_while_the_system_stops_is_told(opened, surface):
    o = opened(surface)
    run = o.streaming_run()
    outcomes = []

    def wait_for_run():
        try:
            o.manager.await_run(run.id)
        except AsmError as error:
            outcomes.append(error.code.value)

    def follow():
        outcomes.append(list(o.manager.stream_session_events(run.session_id, after=100)))

    waiting = [threading.Thread(target=wait_for_run) for _ in range(4)] + [threading.Thread(target=follow)]
    for thread in waiting:
        thread.start()
    until(lambda: o.manager.status() and _n_waiting(o, run) == 4 and _n_followers(o) == 1)
    o.stop()
    for thread in waiting:
        thread.join(10)
        assert not thread.is_alive()
    assert sorted(outcomes, key=str) == [[], *["interrupted"] * 4]


def _n_waiting(o, run):
    def look():
        actor = o.system.session(run.session_id).ref().life.actor
        return len(actor.state.open[run.id].waiters or ())

    return on_dispatcher(o.system, look)


def _n_followers(o):
    return on_dispatcher(
        o.system, lambda: o.system.services.whereis(JOURNAL).life.actor.statistics().followers
    )


def test_after_the_stop_every_operation_says_so(opened, surface, raises):
    o = opened(surface)
    session = o.session()
    run = o.manager.start_run(session.id, "Hello")
    o.stop()
    for call in (
        lambda: o.manager.start_session(agent_id="a"),
        lambda: o.manager.run_once("Hello", provider="mock"),
        lambda: o.manager.activate_session(session.id),
        lambda: o.manager.execute_run(run.id),
        lambda: o.manager.cancel_run(run.id),
        lambda: o.manager.start_session(agent_id="a", idempotency_key="k"),
        o.manager.status,
        o.manager.drain,
    ):
        with raises("invalid_operation") as caught:
            call()
        assert "not running" in caught.value.message
    with raises("storage_connection_failed"):
        o.manager.get_session(session.id)


def test_racing_callers_all_get_an_answer_when_the_system_stops(opened):
    for _ in range(5):
        o = opened(limits=Limits(max_parallel_sessions=None))
        answers, started = [], threading.Barrier(9)

        def hammer(o=o, answers=answers, started=started):
            started.wait()
            for _ in range(200):
                try:
                    o.manager.run_once("Hello", provider="mock")
                    answers.append("done")
                except AsmError as error:
                    answers.append(error.code.value)

        threads = [threading.Thread(target=hammer) for _ in range(8)]
        for thread in threads:
            thread.start()
        started.wait()
        until(lambda answers=answers: len(answers) > 30)
        o.stop()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive(), "a caller hangs"
        assert len(answers) == 1600
        assert set(answers) <= {"done", "interrupted", "invalid_operation", "storage_connection_failed"}


# --- Reopen ------------------------------------------------------------------------------------------------------


def test_after_a_restart_queued_runs_continue_and_interrupted_ones_end(opened, tmp_path, surface):
    first = opened(surface, journal=tmp_path / "j")
    run = first.streaming_run()
    queued = [first.manager.submit_run(run.session_id, f"next {k}") for k in range(3)]
    created = first.manager.start_run(run.session_id, "created")
    report = first.stop()
    assert set(report.orphans) == {run.id, *(one.id for one in queued)}
    second = opened(surface, journal=tmp_path / "j")
    second.gate.open()
    for one in queued:
        assert second.manager.await_run(one.id).status is RunStatus.COMPLETED
    with pytest.raises(AsmError) as caught:
        second.manager.await_run(run.id)
    assert caught.value.code.value == "interrupted"
    assert second.manager.execute_run(created.id).status is RunStatus.COMPLETED
    assert second.manager.complete_session(run.session_id).status is SessionStatus.COMPLETED
    events = second.manager.get_session_events(run.session_id)
    assert [event.sequence_number for event in events] == list(range(1, len(events) + 1))


def test_a_session_that_only_waits_is_not_started_until_somebody_asks(opened, tmp_path):
    first = opened(journal=tmp_path / "j")
    session = first.session()
    first.manager.start_run(session.id, "created")
    first.stop()
    second = opened(journal=tmp_path / "j")
    second.manager.drain(5.0)
    assert second.manager.status()["sessions_live"] == 0


def test_thousands_of_open_runs_are_taken_up_without_holding_the_others_up(opened, tmp_path):
    first = opened(
        journal=tmp_path / "j",
        durability="none",
        limits=Limits(max_parallel_sessions=None, max_parallel_runs=1),
    )
    blocker = first.streaming_run()
    do = first.manager._operations
    sessions = all_of(do.start_session(agent_id="a", provider="mock") for _ in range(600))
    all_of(do.activate_session(session.id) for session in sessions)
    runs = all_of(do.submit_run(session.id, "Hello") for session in sessions)
    first.stop()
    second = opened(journal=tmp_path / "j", durability="none", limits=Limits(max_parallel_sessions=None))
    second.gate.open()
    assert second.manager.drain(timeout=60).is_clean
    statuses = [second.manager.get_run(run.id).status for run in runs]
    assert set(statuses) == {RunStatus.COMPLETED}
    assert second.manager.get_run(blocker.id).status is RunStatus.FAILED


# --- What dies, and what goes on ---------------------------------------------------------------------------------


def test_a_crash_of_the_journal_restarts_what_stands_on_it_and_callers_get_typed_errors(
    opened, surface, tmp_path
):
    o = opened(surface, journal=tmp_path / "j")
    run = o.streaming_run()
    outcomes = []

    def wait_for_run():
        try:
            o.manager.await_run(run.id)
        except AsmError as error:
            outcomes.append(error.code.value)

    waiting = threading.Thread(target=wait_for_run)
    waiting.start()
    until(lambda: _n_waiting(o, run) == 1)
    follower = o.manager.subscribe(run.session_id, after=0)
    crash_the_journal(o.system)
    waiting.join(10)
    assert outcomes == ["interrupted"]
    o.gate.open()
    assert o.system.is_running
    end = o.stream(run.session_id, type="run_failed", limit=1)
    assert end[0].data["error_code"] == "interrupted"
    assert o.manager.run_once("Hello", provider="mock").status is RunStatus.COMPLETED
    o.manager.complete_session(run.session_id)
    seen = list(follower) if surface == "blocking" else o.wait(_collect(follower))
    assert [event.sequence_number for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].type.value == "session_completed"


async def _collect(events):
    return [event async for event in events]


def test_followers_see_everything_once_across_crashes_of_the_journal(opened):
    o = opened(limits=Limits(max_parallel_sessions=None))
    seen, crashes = [], 2
    follower = o.manager.subscribe()
    reading = threading.Thread(target=lambda: seen.extend(follower))
    reading.start()
    for _ in range(crashes):
        for _ in range(10):
            with contextlib.suppress(AsmError):
                o.manager.run_once("Hello", provider="mock")
        crash_the_journal(o.system)
    o.manager.run_once("Hello", provider="mock")
    last = o.store.last_position()
    until(lambda: seen and seen[-1].position == last)
    follower.close()
    reading.join(10)
    assert [event.position for event in seen] == list(range(1, last + 1))


def test_a_system_whose_journal_keeps_crashing_gives_up_and_says_so(opened, caplog, raises):
    o = opened()
    for _ in range(4):
        ref = o.system.services.whereis(JOURNAL)
        ref.life.signal("crash", ZeroDivisionError("a defect"))
        until(
            lambda ref=ref: not o.system.is_running or o.system.services.whereis(JOURNAL) not in (None, ref)
        )
    until(lambda: not o.system.is_running)
    with raises("invalid_operation"):
        o.manager.start_session(agent_id="a")
    assert not list(o.manager.subscribe())
    o.stop()


def test_a_session_that_is_killed_has_a_next_life_and_its_askers_are_told(opened, surface):
    o = opened(surface)
    run = o.streaming_run()
    queued = o.manager.submit_run(run.session_id, "second")
    outcomes = []

    def wait_for_run():
        try:
            outcomes.append(o.manager.await_run(run.id))
        except AsmError as error:
            outcomes.append(error.code.value)

    waiting = threading.Thread(target=wait_for_run)
    waiting.start()
    until(lambda: _n_waiting(o, run) == 1)
    o.system.session(run.session_id).ref().kill()
    waiting.join(10)
    assert outcomes == ["interrupted"]
    o.gate.open()
    assert o.manager.await_run(queued.id).status is RunStatus.COMPLETED
    assert o.manager.get_run(run.id).status is RunStatus.FAILED


def test_killing_a_session_while_its_write_is_under_way_harms_nobody_else(opened, caplog):
    hold = threading.Event()
    hold.set()

    class Slow(asm.MemoryStore):
        def commit(self, appends, *, sync=True):
            hold.wait(10)
            return super().commit(appends, sync=sync)

    o = opened(journal=Slow())
    session = o.session()
    journal = o.system.services.whereis(JOURNAL)
    hold.clear()
    outcomes = []

    def complete():
        try:
            outcomes.append(o.manager.complete_session(session.id).status)
        except AsmError as error:
            outcomes.append(error.code.value)

    waiting = threading.Thread(target=complete)
    waiting.start()
    until(lambda: on_dispatcher(o.system, lambda: journal.life.actor._batcher.under_way))
    o.system.session(session.id).ref().kill()
    waiting.join(10)
    hold.set()
    assert outcomes == ["interrupted"]
    assert o.manager.get_session(session.id).status in (SessionStatus.ACTIVE, SessionStatus.COMPLETED)
    assert o.manager.run_once("Hello", provider="mock").status is RunStatus.COMPLETED
    assert o.system.services.whereis(JOURNAL) is journal, (
        "the journal did not crash over an answer nobody needs"
    )


def test_a_full_disk_fails_the_runs_it_hits_and_the_system_goes_on_when_there_is_room(
    opened, surface, raises
):
    full = threading.Event()

    class Brittle(asm.MemoryStore):
        def commit(self, appends, *, sync=True):
            if full.is_set():
                raise AsmError("storage_write_failed", "no space left on device")
            return super().commit(appends, sync=sync)

    o = opened(surface, journal=Brittle(), patience=0.2)
    run = o.streaming_run()
    full.set()
    o.gate.open()
    with raises("storage_write_failed"):
        o.manager.await_run(run.id)
    with raises("storage_write_failed"):
        o.manager.run_once("Hello", provider="mock")
    full.clear()
    o.stream(run.session_id, type="run_failed", limit=1)
    record = o.manager.get_run(run.id)
    assert record.status is RunStatus.FAILED
    assert o.manager.run_once("Hello", provider="mock").status is RunStatus.COMPLETED
    assert o.system.is_running


def test_back_pressure_of_the_journal_reaches_the_runs(opened, monkeypatch, raises):
    from asm_actors.journal import batch

    monkeypatch.setattr(batch, "BEHIND_EVENTS", 20)
    stuck = threading.Event()

    class Slow(asm.MemoryStore):
        def commit(self, appends, *, sync=True):
            while stuck.is_set():
                threading.Event().wait(0.001)
            return super().commit(appends, sync=sync)

    o = opened(
        journal=Slow(),
        providers={"mock": asm.ScriptedProvider(chunks=100, delay=0.001)},
        limits=Limits(max_parallel_sessions=None),
    )
    directory = o.system.services.directory
    idle, *sessions = [o.session() for _ in range(5)]
    stuck.set()
    runs = [o.manager._operations.submit_run(session.id, "Hello") for session in sessions]
    until(lambda: len(directory.held_back) == 4)
    assert directory.journal_is_behind
    waiting = on_dispatcher(
        o.system, lambda: o.system.services.whereis(JOURNAL).life.actor.statistics().waiting_events
    )
    assert waiting < 100, "a run holds at most what it had asked for"
    monkeypatch.setattr(batch, "FULL_EVENTS", waiting - 1)
    o.manager._operations.fail_session(idle.id)
    until(lambda: directory.journal_is_full)
    with raises("overloaded") as caught:
        o.manager.run_once("Hello")
    assert caught.value.retryable
    stuck.clear()
    for run in runs:
        assert o.manager.await_run(run.get().id).output["content"].count("chunk") == 100
    assert not directory.journal_is_behind
    assert o.manager.run_once("Hello").status is RunStatus.COMPLETED
