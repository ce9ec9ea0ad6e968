"""What the runtime's cases have in common: a system on a scratch journal, its provider, the check."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import asm_actors as asm
from asm_actors.providers.items import Item, MessageDone, TextDelta, TurnDone, TurnStarted, Usage
from bench.baselines.plain import VerificationError, verify
from bench.harness import Durability, Options, watch_lag
from bench.workload import AGENT_ID, CONTEXT, PROMPT, PROVIDER, TAGS, Workload, usage
from supervisors import LoopDispatcher

__all__ = [
    "ONCE",
    "UNLIMITED",
    "WorkloadProvider",
    "async_system",
    "blocking_system",
    "check_journal",
    "journal_of",
    "watch_dispatcher",
]

#: As much at once as is asked for.
UNLIMITED = asm.Limits(max_parallel_sessions=None, max_parallel_runs=None)

#: The arguments of `run_once` that make the session of the workload.
ONCE: Final[dict[str, Any]] = {
    "input": {"prompt": PROMPT},
    "agent_id": AGENT_ID,
    "context": CONTEXT,
    "tags": TAGS,
}


class WorkloadProvider(asm.BaseProvider):
    """Streams the workload's pieces in the workload's pace, as the other cases' stubs do.

    Args:
        work: What each run streams.
        endless: Whether to begin again after the last piece, until the run is cancelled.

    """

    def __init__(self, work: Workload, *, endless: bool = False) -> None:
        self.name = PROVIDER
        self._wanted = threading.Semaphore(0)
        self._work = work
        self._endless = endless
        self._chunks = tuple(TextDelta(text) for text in work.texts)
        self._ending: tuple[Item, ...] = (
            MessageDone("".join(work.texts)),
            Usage(*usage(work)),
            TurnDone("end_turn"),
        )

    async def stream(self, request: asm.TurnRequest) -> AsyncGenerator[Item, None]:
        """Stream one turn."""
        yield TurnStarted("scripted-1")
        burst, pause_s = self._work.burst, self._work.pause_s
        for chunk in self._chunks:
            if not burst:
                await asyncio.sleep(pause_s)
            yield chunk
        self._wanted.release()
        while self._endless:
            for chunk in self._chunks:
                await asyncio.sleep(pause_s)
                yield chunk
        for item in self._ending:
            yield item

    def wait_for(self, count: int) -> None:
        """Block until so many more streams have given all their pieces once."""
        for _ in range(count):
            self._wanted.acquire()


def journal_of(directory: Path, durability: Durability) -> asm.LmdbStore:
    """Return the journal in a directory, synced as the request says."""
    return asm.LmdbStore(directory, durability="commit" if durability is Durability.FSYNC else "none")


@contextlib.asynccontextmanager
async def async_system(
    directory: Path, options: Options, provider: asm.Provider
) -> AsyncIterator[asm.AsyncActorSystem]:
    """Run a system without limits on the asyncio surface."""
    fsync = options.durability is Durability.FSYNC
    async with asm.AsyncActorSystem.start(
        journal=journal_of(directory, options.durability),
        providers={PROVIDER: provider},
        limits=UNLIMITED,
        durability="commit" if fsync else "none",
    ) as system:
        yield system


@contextlib.contextmanager
def blocking_system(directory: Path, options: Options, provider: asm.Provider) -> Iterator[asm.ActorSystem]:
    """Run a system without limits on the blocking surface."""
    fsync = options.durability is Durability.FSYNC
    with asm.ActorSystem.start(
        journal=journal_of(directory, options.durability),
        providers={PROVIDER: provider},
        limits=UNLIMITED,
        durability="commit" if fsync else "none",
    ) as system:
        yield system


@contextlib.asynccontextmanager
async def watch_dispatcher(system: asm.AsyncActorSystem) -> AsyncIterator[list[float]]:
    """Give a list that fills with the lateness of the dispatcher's loop, in seconds."""
    dispatcher = system.dispatcher
    assert isinstance(dispatcher, LoopDispatcher)
    lags_s: list[float] = []
    started: asyncio.Future[asyncio.Task[None]] = asyncio.get_running_loop().create_future()
    mine = started.get_loop()

    def start() -> None:
        task = dispatcher.create_task(watch_lag(lags_s), "watch-lag")
        mine.call_soon_threadsafe(started.set_result, task)

    dispatcher.call_from_outside(start)
    task = await started
    try:
        yield lags_s
    finally:
        dispatcher.call_from_outside(task.cancel)


def check_journal(directory: Path, work: Workload, sessions: int) -> None:
    """Open what a stopped system left and check every session of it.

    Raises:
        VerificationError: An event is missing or out of place, or a session or run is not completed.
    """
    with contextlib.closing(asm.LmdbStore(directory)) as store:
        store.open()
        records = store.sessions()
        verify(_stored(store, records), work, sessions)
        statuses = {str(record.status) for record in records} | {str(run.status) for run in store.runs()}
    if statuses != {"completed"}:
        raise VerificationError(f"sessions and runs are {', '.join(sorted(statuses))}")


def _stored(store: asm.LmdbStore, records: list[asm.Session]) -> Iterator[tuple[str, int, str]]:
    for record in records:
        for event in store.read_session(record.id):
            yield event.session_id, event.sequence_number or 0, str(event.type)
