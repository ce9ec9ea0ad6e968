"""The runtime in `journal`: the journal's actor and its store, without sessions and runs around them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import asm_actors as asm
from asm_actors.effects import Note
from asm_actors.ids import RandomIds
from asm_actors.journal.append import EMPTY, Append, Draft
from asm_actors.journal.codec import pack_drafts
from asm_actors.journal.messages import Commit
from asm_actors.services import JOURNAL
from bench.asm_cases.running import WorkloadProvider, async_system, journal_of
from bench.baselines.plain import VerificationError
from bench.harness import Meter, Options, Result, measures, scratch
from bench.workload import AGENT_ID, PROVIDER, Workload, chunk_data
from supervisors import Actor

__all__ = ["actor", "store"]


class _Acknowledged(NamedTuple):
    """To the writer: this session's append is durable."""

    number: int


class _Go(NamedTuple):
    """Tells the writer to let every session append so many times; it calls `done` behind the last one."""

    rounds: int
    done: Callable[[], object]


class _Writer(Actor):
    """Appends for many sessions; each appends again as soon as its last append is durable."""

    def __init__(self, services: Any, sessions: list[asm.Session], batch: int) -> None:
        super().__init__()
        self._services = services
        self._sessions = sessions
        self._drafts = _drafts(batch)
        self._heads = [0] * len(sessions)
        self._left = [0] * len(sessions)
        self._told_at = [0.0] * len(sessions)
        self._open = 0
        self._go: _Go
        self.latencies_s: list[float] = []

    def on_receive(self, message: Any) -> None:
        """Begin, or take an acknowledgement."""
        if type(message) is _Acknowledged:
            number = message.number
            self.latencies_s.append(time.perf_counter() - self._told_at[number])
            if self._left[number]:
                self._append(number)
            else:
                self._open -= 1
                if not self._open:
                    self._go.done()
        elif type(message) is _Go:
            self._go = message
            self._open = len(self._sessions)
            self._left = [message.rounds] * self._open
            self.latencies_s.clear()
            for number in range(self._open):
                self._append(number)
        else:
            raise message.error  # a write failed

    def _append(self, number: int) -> None:
        services, head = self._services, self._heads[number]
        session = self._sessions[number]
        base_id = services.ids.block()
        packed = pack_drafts(base_id, self._drafts(time.time_ns() // 1000))
        append = Append(session.id, packed, base_id, None if head else session, (), head)
        self._heads[number] = head + len(packed)
        self._left[number] -= 1
        self._told_at[number] = time.perf_counter()
        services.whereis(JOURNAL).tell(Commit(self.actor_ref, append, (Note(_Acknowledged(number)),)))


def _drafts(batch: int) -> Callable[[int], list[Draft]]:
    texts = Workload(chunks=batch).texts

    def make(now_us: int) -> list[Draft]:
        return [
            Draft(asm.EventType.MESSAGE_STREAMED, now_us, None, chunk_data(text), EMPTY, PROVIDER)
            for text in texts
        ]

    return make


def _sessions(count: int) -> list[asm.Session]:
    return [
        asm.Session.new(id=f"ses_{number:032x}", now=time.time_ns() // 1000, agent_id=AGENT_ID)
        for number in range(count)
    ]


def actor(options: Options) -> Result:
    """Append through the journal's actor; latency is from an append's making to its acknowledgement."""
    return asyncio.run(_through_actor(options))


async def _through_actor(options: Options) -> Result:
    count, batch, meter = options.size("sessions"), options.size("batch"), Meter()
    rounds = max(1, options.size("events") // (count * batch))
    with scratch(options) as directory:
        async with (
            async_system(directory, options, WorkloadProvider(Workload())) as system,
            _writer(system, count, batch) as (writer, go),
        ):
            await go(1)  # the sessions' records are written with their first events
            with meter:
                await go(rounds)
            latencies_s = list(writer.latencies_s)
        _check(directory, options, count, (rounds + 1) * batch)
    return measures(meter.measured, events=count * rounds * batch, latencies_s=latencies_s)


@contextlib.asynccontextmanager
async def _writer(
    system: asm.AsyncActorSystem, count: int, batch: int
) -> AsyncIterator[tuple[_Writer, Callable[[int], Any]]]:
    ref: Any = system.dispatcher.start(_Writer, system.services, _sessions(count), batch)
    loop = asyncio.get_running_loop()

    async def go(rounds: int) -> None:
        done = asyncio.Event()
        ref.tell(_Go(rounds, lambda: loop.call_soon_threadsafe(done.set)))
        await done.wait()

    yield ref.life.actor, go
    ref.stop()


def store(options: Options) -> Result:
    """Commit to the store directly, all sessions' appends in one group; latency is a group's."""
    count, batch, meter = options.size("sessions"), options.size("batch"), Meter()
    rounds = max(1, options.size("events") // (count * batch))
    latencies_s: list[float] = []
    drafts, sessions, ids = _drafts(batch), _sessions(count), RandomIds()

    def commit(turn: int) -> None:
        appends = []
        for session in sessions:
            base_id = ids.block()
            packed = pack_drafts(base_id, drafts(time.time_ns() // 1000))
            appends.append(Append(session.id, packed, base_id, None if turn else session, (), turn * batch))
        for answer in journal.commit(appends):
            if isinstance(answer, asm.AsmError):
                raise answer

    with scratch(options) as directory:
        with contextlib.closing(journal_of(directory, options.durability)) as journal:
            journal.open()
            commit(0)
            with meter:
                for turn in range(1, rounds + 1):
                    begun = time.perf_counter()
                    commit(turn)
                    latencies_s.append(time.perf_counter() - begun)
        _check(directory, options, count, (rounds + 1) * batch)
    return measures(meter.measured, events=count * rounds * batch, latencies_s=latencies_s)


def _check(directory: Path, options: Options, sessions: int, events_each: int) -> None:
    with contextlib.closing(journal_of(directory, options.durability)) as journal:
        journal.open()
        heads = {record.last_sequence for record in journal.sessions()}
        if heads != {events_each} or journal.last_position() != sessions * events_each:
            raise VerificationError(
                f"the sessions end at {heads} and the journal at {journal.last_position()}"
            )
