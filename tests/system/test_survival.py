"""Reopening a journal; what dies, and what goes on."""

from __future__ import annotations

import contextlib
import threading
import time

import asm_actors as asm
from asm_actors import AsmError, Limits, RunStatus, SessionStatus
from asm_actors.services import JOURNAL, SESSIONS
from asm_actors.sessions import delivery


def until(condition, timeout=10.0):
    """Wait for something that another thread brings about and no message tells."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        threading.Event().wait(0.001)


def all_of(futures):
    """Ask for everything at once, then get the answers."""
    return [future.get() for future in list(futures)]


def crash_the_journal(system):
    """Have the journal's actor crash, and wait until everything runs again."""
    old = system.services.whereis(JOURNAL)
    old.life.signal("crash", ZeroDivisionError("a defect"))
    until(lambda: system.services.whereis(JOURNAL) not in (None, old) and system.services.whereis(SESSIONS))


# --- Reopen --------------------------------------------------------------------------------------------------------


def test_after_a_restart_queued_runs_continue_and_those_under_way_are_taken_up(opened, tmp_path, surface):
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
    result = second.manager.await_run(run.id)
    assert result.output["content"] == "so far and more"
    assert "run_interrupted" in [event.type for event in result.events]
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
    assert second.manager.status()["sessions"]["live"] == 0


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
    assert second.manager.get_run(blocker.id).status is RunStatus.COMPLETED


# --- What dies, and what goes on -----------------------------------------------------------------------------------


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
    until(lambda: o.n_waiting(run) == 1)
    follower = o.manager.subscribe(run.session_id, after=0)
    crash_the_journal(o.system)
    waiting.join(10)
    assert outcomes == ["interrupted"]
    o.gate.open()
    assert o.system.is_running
    assert o.manager.await_run(run.id).output["content"] == "so far and more"
    assert o.stream(run.session_id, type="run_recovered", limit=1)[0].data["recovery"] == 1
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
    until(lambda: o.n_waiting(run) == 1)
    o.system.session(run.session_id).ref().kill()
    waiting.join(10)
    assert outcomes == ["interrupted"]
    o.gate.open()
    assert o.manager.await_run(queued.id).status is RunStatus.COMPLETED
    assert o.manager.get_run(run.id).status is RunStatus.COMPLETED


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
    until(lambda: o.on_dispatcher(lambda: journal.life.actor._batcher.under_way))
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
    waiting = o.on_dispatcher(
        lambda: o.system.services.whereis(JOURNAL).life.actor.statistics().waiting_events
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


def test_what_a_dying_session_had_not_taken_on_finds_its_next_life(opened):
    o = opened()
    session = o.session()
    operations = o.manager._operations

    def ask_and_kill():
        ref = o.system.session(session.id).ref()
        asked = [operations.pause_session(session.id), operations.status(session.id)]
        ref.kill()
        return asked

    paused, status = o.on_dispatcher(ask_and_kill)
    assert paused.get(timeout=10).status is SessionStatus.PAUSED
    assert status.get(timeout=10)["session_id"] == session.id


def test_a_session_with_too_many_messages_waiting_refuses_its_callers(opened, surface, raises, monkeypatch):
    o = opened(surface)
    session = o.session()
    monkeypatch.setattr(delivery, "MAX_WAITING", 0)
    with raises("overloaded") as caught:
        o.manager.pause_session(session.id)
    assert caught.value.retryable
    with raises("overloaded"):
        o.system.session(session.id).tell(asm.messages.PauseSession())
    monkeypatch.undo()
    assert o.manager.pause_session(session.id).status is SessionStatus.PAUSED


def test_while_a_part_is_restarted_callers_are_told_to_try_again(opened, raises):
    o = opened()
    o.system.dispatcher.names.forget(o.system.services.whereis(SESSIONS))
    with raises("interrupted") as caught:
        o.manager.run_once("Hello", provider="mock")
    assert caught.value.retryable
