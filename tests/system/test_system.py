"""Starting and stopping, locks, two systems in one process."""

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
from supervisors.testing import Gate


def until(condition, timeout=10.0):
    """Wait for something that another thread brings about and no message tells."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        threading.Event().wait(0.001)


def n_dispatchers():
    """How many systems run in this process."""
    return sum(thread.name == "asm-dispatcher" for thread in threading.enumerate())


# --- Start ---------------------------------------------------------------------------------------------------------


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


# --- Stop ----------------------------------------------------------------------------------------------------------


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
    until(
        lambda: (
            o.manager.status()
            and o.n_waiting(run) == 4
            and o.on_dispatcher(lambda: o.journal().statistics().followers) == 1
        )
    )
    o.stop()
    for thread in waiting:
        thread.join(10)
        assert not thread.is_alive()
    assert sorted(outcomes, key=str) == [[], *["interrupted"] * 4]


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
