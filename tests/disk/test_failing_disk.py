"""Whole systems on a disk that is full, does not answer, or lies: nothing acknowledged is lost, nothing comes twice."""

from __future__ import annotations

import random

import pytest

import asm_actors as asm
from asm_actors.errors import AsmError
from asm_actors.providers.script import Script, text
from asm_actors.testing.faulty_store import Fault, FaultKind, FaultyStore
from asm_actors.testing.system import SimulatedSystem

PATIENCE = 3.0
KINDS = list(FaultKind)


class Disk:
    """A system on a faulty store, and what it told."""

    def __init__(self, **options):
        self.store = FaultyStore(asm.MemoryStore(), **options)
        script = Script(text("one two three four", size=3))
        self.sim = SimulatedSystem(store=self.store, patience=PATIENCE, script=script)

    def __enter__(self):
        self.sim.__enter__()
        return self

    def __exit__(self, *exc_info):
        self.store.heal()
        return self.sim.__exit__(*exc_info)

    def completed(self, run_id):
        return self.sim.types_of(run_id).count("run_completed") == 1

    def assert_sound(self):
        self.store.heal()
        self.sim.advance(30.0)
        self.sim.check_promises()


@pytest.fixture
def disk():
    with Disk() as disk:
        yield disk


# --- Within the patience -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("first", [1, 2, 3])
def test_a_run_waits_for_the_disk_and_goes_on(disk, kind, count, first):
    session = disk.sim.active_session()
    before = disk.store.inner.head(session.id)
    disk.store.fail(Fault("commit", kind, first=first, count=count))
    run = disk.sim.operations.submit_run(session.id, "hi")
    disk.sim.settle()
    if first == 1 and kind is not FaultKind.LOST_ANSWER:
        assert not run.is_available
        assert disk.store.inner.head(session.id) == before
    disk.sim.advance(PATIENCE)
    assert disk.completed(run.get().id)
    assert disk.sim.manager.await_run(run.get().id).output["content"] == "one two three four"
    disk.assert_sound()


@pytest.mark.parametrize("kind", [FaultKind.NO_SPACE, FaultKind.IO_ERROR])
def test_nothing_is_shown_while_nothing_can_be_written(disk, kind):
    session = disk.sim.active_session()
    heard = []
    subscription = disk.sim.manager.subscribe(session.id)
    disk.store.fail(Fault("commit", kind, count=None))
    asked = [
        disk.sim.operations.submit_run(session.id, "hi"),
        disk.sim.operations.pause_session(session.id),
        disk.sim.operations.start_session(agent_id="other"),
    ]
    disk.sim.advance(PATIENCE / 2)
    assert [one.is_available for one in asked] == [False] * 3
    assert disk.sim.types(session.id) == ["session_created", "session_started"]
    assert disk.store.calls["commit"] > 3
    disk.store.heal()
    disk.sim.advance(PATIENCE)
    assert [one.is_available for one in asked] == [True] * 3
    with subscription:
        while events := subscription.pull(timeout=0.0):
            heard += events
    assert heard == disk.sim.events(session.id)
    disk.assert_sound()


def test_a_disk_that_lies_writes_nothing_twice(disk):
    session = disk.sim.active_session()
    disk.store.fail(Fault("commit", FaultKind.LOST_ANSWER, count=3))
    run = disk.sim.operations.submit_run(session.id, "hi")
    disk.sim.advance(PATIENCE)
    types = disk.sim.types_of(run.get().id)
    assert [
        types.count(name) for name in ("message_sent", "run_started", "message_received", "run_completed")
    ] == [1] * 4
    said = [
        event.data["delta"] for event in disk.sim.events_of(run.get().id) if event.type == "message_streamed"
    ]
    assert "".join(said) == "one two three four"
    disk.assert_sound()


def test_settling_and_the_tables_may_wait(disk, caplog):
    disk.store.fail(Fault("settle", FaultKind.NO_SPACE, count=3))
    session = disk.sim.active_session()
    result = disk.sim.manager.run_once("hi")
    disk.sim.advance(5.0)
    assert disk.store.calls["settle"] >= 1
    assert result.output["content"] == "one two three four"
    assert "could not be settled" in caplog.text
    assert disk.sim.session(session.id).status == "active"
    disk.assert_sound()


# --- Beyond it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_stays_full_is_told_and_nothing_acknowledged_is_lost(disk, kind):
    session = disk.sim.active_session()
    done = disk.sim.manager.run_once("before")
    accepted = disk.sim.manager.start_run(session.id, "accepted")
    disk.store.fail(Fault("commit", kind, count=None))
    futures = [
        disk.sim.operations.execute_run(accepted.id),
        disk.sim.operations.submit_run(session.id, "refused"),
        disk.sim.operations.start_session(agent_id="refused"),
    ]
    disk.sim.advance(PATIENCE * 4)
    codes = {code and code.value for code in disk.sim.codes(futures)}
    assert codes <= {"storage_write_failed", "interrupted"} | (
        {None} if kind is FaultKind.LOST_ANSWER else set()
    )
    disk.store.heal()
    disk.sim.advance(30.0)
    assert disk.completed(done.run_id)
    # What was accepted before is still there, and either was taken up or can be executed again.
    run = disk.sim.run(accepted.id)
    assert (
        run.is_terminal or disk.sim.manager.execute_run(accepted.id).output["content"] == "one two three four"
    )
    assert disk.sim.manager.run_once("after").output["content"] == "one two three four"
    disk.assert_sound()


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_streams_while_the_disk_fills_up_ends_once(kind):
    with Disk() as disk:
        session = disk.sim.active_session()
        run = disk.sim.manager.submit_run(session.id, "hi")
        disk.sim.steps(5)
        disk.store.fail(Fault("commit", kind, count=None))
        waiting = disk.sim.operations.await_run(run.id)
        disk.sim.advance(PATIENCE * 5)
        disk.store.heal()
        disk.sim.advance(60.0)
        record = disk.sim.run(run.id)
        ends = [
            one
            for one in disk.sim.types_of(run.id)
            if one in ("run_completed", "run_failed", "run_cancelled")
        ]
        assert len(ends) == record.is_terminal
        assert waiting.is_available
        if disk.sim.error_of(waiting) is None:
            assert record.status == "completed"
        disk.assert_sound()


# --- Reads -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["open", "last_position", "open_runs", "open_sessions"])
def test_a_start_that_cannot_read_fails_and_leaves_nothing_behind(call):
    store = FaultyStore(asm.MemoryStore())
    with SimulatedSystem(store=store) as sim:
        session = sim.active_session()
        sim.manager.pause_session(session.id)
        run = sim.manager.submit_run(session.id, "hi")
        sim.system.stop()
        sim.dispatcher.close()
        store.fail(Fault(call, FaultKind.IO_ERROR, count=None))
        before = store.calls[call]
        try:
            sim._start()
        except AsmError as error:
            assert error.category == "storage"
        else:
            # It reads this elsewhere, or tries again: what it cannot know it does not make up.
            assert store.calls[call] == before or sim.run_ref(run.id) is None
            store.heal()
            sim.system.stop()
            sim.dispatcher.close()
        store.heal()
        sim._start()
        sim.manager.resume_session(session.id)
        sim.settle()
        sim.advance(5.0)
        assert sim.manager.await_run(run.id).output["content"] == "Mock response"
        sim.check_promises()


@pytest.mark.parametrize("call", ["session", "open_runs", "runs", "read"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_cold_session_that_cannot_be_read_says_so_and_is_there_later(call, count):
    store = FaultyStore(asm.MemoryStore())
    with SimulatedSystem(store=store) as sim:
        session = sim.active_session()
        sim.manager.pause_session(session.id)
        sim.restart()
        store.fail(Fault(call, FaultKind.IO_ERROR, count=count))
        future = sim.operations.resume_session(session.id)
        sim.advance(1.0)
        error = sim.error_of(future)
        assert error is None or error.code in ("storage_read_failed", "interrupted")
        store.heal()
        sim.advance(5.0)
        assert sim.manager.resume_session(session.id).status == "active"
        assert sim.manager.get_session(session.id).status == "active"
        sim.check_promises()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_open_runs_are_recovered_although_the_disk_does_not_answer_at_first(count):
    store = FaultyStore(asm.MemoryStore())
    with SimulatedSystem(store=store) as sim:
        sessions = [sim.active_session() for _ in range(3)]
        runs = [sim.manager.submit_run(session.id, "hi") for session in sessions]
        sim.kill()
        store.fail(Fault("read", FaultKind.IO_ERROR, first=8, count=count))
        sim.advance(60.0)
        store.heal()
        sim.advance(60.0)
        for run in runs:
            assert sim.run(run.id).is_terminal
        sim.check_promises()


# --- By seed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_whatever_fails_what_was_told_is_true(seed):
    rng = random.Random(f"disk/{seed}")
    calls = rng.choice([("commit",), ("commit", "settle"), ("write",), ("commit", "read")])
    with Disk(seed=seed, rate=0.0, calls=calls) as disk:
        sim = disk.sim
        sessions = [sim.active_session() for _ in range(3)]
        disk.store._rate = rng.choice([0.02, 0.1, 0.3])
        submitted = []
        for _ in range(12):
            session = rng.choice(sessions)
            submitted.append(sim.operations.submit_run(session.id, "hi"))
            sim.steps(rng.randint(1, 40))
            if rng.random() < 0.3:
                sim.advance(rng.choice([0.01, 0.5, PATIENCE]))
        sim.advance(PATIENCE * 3)
        disk.store.heal()
        sim.advance(60.0)
        for future in submitted:
            assert future.is_available
        if not sim.system.is_running:
            # A journal that cannot be read brings its tree down; the next process takes up what was left open.
            assert "read" in calls
            sim.kill()
            sim.advance(60.0)
        for future in submitted:
            if sim.error_of(future) is not None:
                continue
            # What was accepted is there, and comes to one end.
            run = sim.run(future.get().id)
            assert run.is_terminal
            types = sim.types_of(run.id)
            assert sum(name in ("run_completed", "run_failed", "run_cancelled") for name in types) == 1
            if run.status == "completed":
                said = [one.data["delta"] for one in sim.events_of(run.id) if one.type == "message_streamed"]
                assert "".join(said) == "one two three four"
        disk.assert_sound()
