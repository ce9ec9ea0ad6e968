"""A plain asyncio program: sessions are coroutines, one group-commit writer makes events durable.

No actors, no supervision, no recovery and no subscribers: what a good engineer writes when the
task is this work and nothing else. The store is the only thing that differs between the programs
built on it.

The writer's form was measured. A commit handed to a one-thread executor does as well as a writer
thread with a queue of its own or better, and is shorter. Encoding an event when it is appended
beats encoding the batch in the writer's thread once many events wait: to the garbage collector
bytes are nothing, dicts are work.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import attrs

from bench.baselines.plain import Event, new_id, new_session, now_us, verify
from bench.harness import Durability, Meter, Options, Result, measures, scratch, watch_lag
from bench.workload import Workload, chunk_data, closing, opening, stream

__all__ = ["GroupCommit", "Program", "Store"]


class Store(Protocol):
    """Where a program keeps its events. `write` runs in the writer's thread, all else in the loop's."""

    def encode(self, event: Event) -> Any:
        """Return the event as `write` wants it."""

    def write(self, rows: list[Any]) -> None:
        """Make the rows durable in one transaction."""

    def stored(self) -> Iterator[tuple[str, int, str]]:
        """Yield session id, sequence number and type of each event, by session and number."""

    def close(self) -> None:
        """Let go of the files."""


class GroupCommit:
    """Writes whatever arrived during one commit with the next one."""

    def __init__(self, store: Store, executor: ThreadPoolExecutor) -> None:
        self._store = store
        self._executor = executor
        self._loop = asyncio.get_running_loop()
        self._rows: list[Any] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    def append(self, event: Event) -> None:
        """Hand over an event; it becomes durable soon."""
        self._rows.append(self._store.encode(event))
        if self._task is None:
            self._task = self._loop.create_task(self._commit_all())

    def durable(self) -> asyncio.Future[None]:
        """Return what is done once everything handed over so far is durable.

        After a commit has failed every such future fails with its error: a log with a hole is none.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        if self._failure is not None:
            future.set_exception(self._failure)
        elif self._task is None:
            future.set_result(None)
        else:
            self._waiters.append(future)
        return future

    async def _commit_all(self) -> None:
        while self._rows and self._failure is None:
            rows, self._rows = self._rows, []
            waiters, self._waiters = self._waiters, []
            try:
                await self._loop.run_in_executor(self._executor, self._store.write, rows)
            except Exception as error:  # Told to all who wait, now and later.
                self._failure = error
                waiters += self._waiters
            for waiter in waiters:
                if waiter.done():  # Its session was cancelled.
                    continue
                if self._failure is None:
                    waiter.set_result(None)
                else:
                    waiter.set_exception(self._failure)
        self._task = None


@attrs.frozen
class Program:
    """One baseline: the asyncio program on one store.

    Args:
        open_store: Opens or creates the store in a directory.
        draw_id: Makes an id of 32 hexadecimal digits.
        run: Runs a coroutine in a new loop.
    """

    open_store: Callable[[Path, Durability], Store]
    draw_id: Callable[[], str] = new_id
    run: Callable[..., Any] = asyncio.run

    def storm(self, options: Options) -> Result:
        """Run all sessions at once; latency is a session's, from the storm's start to its result."""
        return self._measure(options, options.size("sessions"), self._at_once)

    def single(self, options: Options) -> Result:
        """Run the sessions one after another; latency is a session's."""
        return self._measure(options, options.size("sessions"), self._one_by_one)

    def streams(self, options: Options) -> Result:
        """Run all sessions at once, in pace with their provider; latency is the loop's lateness."""
        return self._measure(options, options.size("runs"), self._in_pace)

    def _measure(self, options: Options, sessions: int, drive: _Drive) -> Result:
        work = options.workload()
        meter = Meter()
        with scratch(options) as directory, ThreadPoolExecutor(1, "writer") as executor:
            with contextlib.closing(self.open_store(directory, options.durability)) as store:

                async def main() -> list[float]:
                    return await drive(GroupCommit(store, executor), work, sessions, meter)

                latencies_s = self.run(main())
            with contextlib.closing(self.open_store(directory, options.durability)) as store:
                verify(store.stored(), work, sessions)
        return measures(
            meter.measured,
            sessions=sessions,
            events=sessions * work.events_per_session,
            latencies_s=latencies_s,
        )

    async def _at_once(self, writer: GroupCommit, work: Workload, sessions: int, meter: Meter) -> list[float]:
        latencies_s: list[float] = []
        begun = time.perf_counter()

        async def session() -> None:
            await self._session(writer, work)
            latencies_s.append(time.perf_counter() - begun)

        with meter:
            begun = time.perf_counter()
            await asyncio.gather(*(session() for _ in range(sessions)))
        return latencies_s

    async def _one_by_one(
        self, writer: GroupCommit, work: Workload, sessions: int, meter: Meter
    ) -> list[float]:
        latencies_s: list[float] = []
        with meter:
            for _ in range(sessions):
                begun = time.perf_counter()
                await self._session(writer, work)
                latencies_s.append(time.perf_counter() - begun)
        return latencies_s

    async def _in_pace(self, writer: GroupCommit, work: Workload, sessions: int, meter: Meter) -> list[float]:
        lags_s: list[float] = []
        with meter:
            probe = asyncio.create_task(watch_lag(lags_s))
            await asyncio.gather(*(self._session(writer, work) for _ in range(sessions)))
            probe.cancel()
        return lags_s

    async def _session(self, writer: GroupCommit, work: Workload) -> str:
        """Run one session and return its message once its last event is durable."""
        draw_id = self.draw_id
        session_id, run_id = new_session(draw_id)
        sequence = 0

        def emit(kind: str, run: str | None, data: dict[str, Any]) -> None:
            nonlocal sequence
            sequence += 1
            writer.append(Event(draw_id(), session_id, sequence, kind, now_us(), run, data))

        for kind, in_run, data in opening():
            emit(kind, run_id if in_run else None, data)
        parts: list[str] = []
        async for text in stream(work):
            parts.append(text)
            emit("message_streamed", run_id, chunk_data(text))
        content = "".join(parts)
        for kind, in_run, data in closing(work, content):
            emit(kind, run_id if in_run else None, data)
        await writer.durable()
        return content


class _Drive(Protocol):
    """A way of running the sessions; returns the latencies that count, in seconds."""

    async def __call__(
        self, writer: GroupCommit, work: Workload, sessions: int, meter: Meter, /
    ) -> list[float]: ...
