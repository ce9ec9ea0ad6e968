"""A fixed piece of work is hit at every instant there is, one after the other: nothing may be lost, or done twice.

The hits: the end of the process at each step of the simulation; a crash of the session's, the run's or the journal's
actor before each of their effects; a disk that fails before, or after, each commit. Each is tried at its first
instant, at its second, and so on, until the work is done before the hit comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.actor import JournalActor
from asm_actors.journal.memory import MemoryStore
from asm_actors.runs.actor import RunActor
from asm_actors.sessions.actor import SessionActor
from asm_actors.testing.promises import journal_faults
from asm_actors.testing.system import SimulatedSystem
from tests.faults.asking import AskingClient
from tests.faults.client import Client, CrashError
from tests.faults.files import FilesClient
from tests.faults.policed import PolicedClient

WORK = pytest.mark.parametrize("make", [Client, AskingClient, PolicedClient, FilesClient])
_ENOUGH = 2_000
"""Instants after which the work must be done: a bound on an endless test."""


class _KilledError(Exception):
    """The process ends here."""


class _Countdown:
    """Counts down to the instant; `is_over` tells whether it came."""

    def __init__(self, instant: int) -> None:
        self.left = instant

    @property
    def is_over(self) -> bool:
        return self.left < 0

    def tick(self) -> bool:
        """Count one; whether this is the instant."""
        self.left -= 1
        return self.left == -1


def _check(
    client: Client, sim: SimulatedSystem, what: str, instant: int, *, may_fail: str | None = None
) -> None:
    client.work(sim)
    sim.settle()
    faults = [*journal_faults(sim.store), *client.faults(sim, may_fail=may_fail)]
    assert not faults, "\n".join([f"{what} at instant {instant}:", *faults])
    sim.check_promises()


def _each_instant(try_one: Callable[[int], bool], stride: int = 1) -> Iterator[int]:
    for instant in range(0, _ENOUGH, stride):
        yield instant
        if not try_one(instant):
            return
    raise AssertionError("the work does not come to its end")


# --- The process ends --------------------------------------------------------------------------------------------


def _killed_at(instant: int, seed: int, make: type[Client]) -> bool:
    client, countdown = make(), _Countdown(instant)

    def on_step(dispatcher: Any) -> None:
        if countdown.tick():
            raise _KilledError

    sim = SimulatedSystem(seed, providers=client.providers, tools=client.tools, on_step=on_step)
    try:
        sim._start()
        client.work(sim)
    except _KilledError:
        sim.on_step = None
        sim.kill()
        client.note_completed(sim.store)
    else:
        sim.on_step = sim.dispatcher.on_step = None
    try:
        _check(client, sim, "killed", instant)
    finally:
        sim.__exit__(None, None, None)
    return countdown.is_over


@pytest.mark.parametrize("seed", [1])
@WORK
def test_the_end_of_the_process_at_every_step_loses_nothing(seed, make):
    assert len(list(_each_instant(lambda instant: _killed_at(instant, seed, make)))) > 100


# --- An actor crashes --------------------------------------------------------------------------------------------


def _crashed_at(instant: int, kind: type[Any], method: str, monkeypatch: Any, make: type[Client]) -> bool:
    client, countdown = make(), _Countdown(instant)
    original = getattr(kind, method)

    def perform(self: Any, effects: list[Any]) -> None:
        for effect in effects:
            if countdown.tick():
                raise CrashError(f"before {type(effect).__name__}")
            original(self, [effect])

    with monkeypatch.context() as patch:
        patch.setattr(kind, method, perform)
        with SimulatedSystem(1, providers=client.providers, tools=client.tools) as sim:
            client.work(sim)
            client.note_completed(sim.store)
            _check(client, sim, f"{kind.__name__} crashed", instant)
    return countdown.is_over


@pytest.mark.parametrize("kind", [SessionActor, RunActor])
@WORK
def test_the_crash_of_an_actor_before_each_of_its_effects_loses_nothing(kind, monkeypatch, make):
    tried = list(_each_instant(lambda instant: _crashed_at(instant, kind, "_perform", monkeypatch, make)))
    assert len(tried) > 20


def _journal_crashed_at(instant: int, monkeypatch: Any, make: type[Client]) -> bool:
    client, countdown = make(), _Countdown(instant)
    original = JournalActor.on_receive

    def on_receive(self: Any, message: Any) -> Any:
        if countdown.tick():
            raise CrashError(f"at {type(message).__name__}")
        return original(self, message)

    with monkeypatch.context() as patch:
        patch.setattr(JournalActor, "on_receive", on_receive)
        with SimulatedSystem(1, providers=client.providers, tools=client.tools) as sim:
            client.work(sim)
            client.note_completed(sim.store)
            _check(client, sim, "the journal crashed", instant)
    return countdown.is_over


@WORK
def test_the_crash_of_the_journal_at_each_of_its_messages_loses_nothing(monkeypatch, make):
    assert len(list(_each_instant(lambda instant: _journal_crashed_at(instant, monkeypatch, make)))) > 20


# --- The disk fails ----------------------------------------------------------------------------------------------


class _FailingStore(MemoryStore):
    """Fails one commit: before it is taken, or after, when only its acknowledgement is lost."""

    def __init__(self, countdown: _Countdown, *, is_taken: bool) -> None:
        super().__init__()
        self._countdown = countdown
        self._is_taken = is_taken

    def commit(self, appends: Any, *, sync: bool = True) -> Any:
        fails = self._countdown.tick()
        if fails and not self._is_taken:
            raise AsmError(ErrorCode.STORAGE_WRITE_FAILED, "the disk failed")
        answers = super().commit(appends, sync=sync)
        if fails:
            raise AsmError(ErrorCode.STORAGE_WRITE_FAILED, "the acknowledgement was lost")
        return answers


def _disk_failed_at(instant: int, patience: float, make: type[Client], *, is_taken: bool) -> bool:
    client, countdown = make(), _Countdown(instant)
    store = _FailingStore(countdown, is_taken=is_taken)
    with SimulatedSystem(
        1, providers=client.providers, tools=client.tools, store=store, patience=patience
    ) as sim:
        client.work(sim)
        client.note_completed(sim.store)
        may_fail = None if patience else "storage_write_failed"
        what = f"the disk failed (taken: {is_taken}, patience: {patience})"
        _check(client, sim, what, instant, may_fail=may_fail)
    return countdown.is_over


@pytest.mark.parametrize("patience", [0.0, 10.0])
@pytest.mark.parametrize("is_taken", [False, True])
@WORK
def test_a_disk_that_fails_at_each_commit_loses_nothing(patience, is_taken, make):
    tried = list(_each_instant(lambda instant: _disk_failed_at(instant, patience, make, is_taken=is_taken)))
    assert len(tried) > 5
