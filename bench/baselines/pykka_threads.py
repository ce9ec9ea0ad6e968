"""Plain Pykka: a thread per session, a journal actor that commits each event by itself.

What Pykka's documentation leads to. A session tells the journal its events and asks for an answer
behind the last one; the mailbox keeps them in order, so the answer means that all are durable.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pykka

from bench.baselines.asyncio_lmdb import LmdbStore
from bench.baselines.plain import Event, new_id, new_session, now_us, verify
from bench.harness import LAG_PERIOD_S, Durability, Meter, Options, Result, measures, scratch
from bench.workload import Workload, chunk_data, closing, opening, stream_blocking

__all__ = ["JournalActor", "SessionActor", "single", "storm", "streams"]


class Run(NamedTuple):
    """Asks a session actor to do its work; the answer is `Finished`."""


class Finished(NamedTuple):
    """A session's result, all of its events being durable."""

    content: str
    at_s: float
    """Instant on the performance counter."""


class Flush(NamedTuple):
    """Asks the journal for an answer once it has handled all that came before."""


class JournalActor(pykka.ThreadingActor):
    """Writes each event it is told in a transaction of its own."""

    def __init__(self, directory: Path, durability: Durability) -> None:
        super().__init__()
        self._store = LmdbStore(directory, durability)

    def on_receive(self, message: Any) -> None:
        """Write an event; a `Flush` needs no more than its turn."""
        if isinstance(message, Event):
            self._store.write([self._store.encode(message)])

    def on_stop(self) -> None:
        """Close the environment."""
        self._store.close()


class SessionActor(pykka.ThreadingActor):
    """Does one session's work and stops."""

    def __init__(self, journal: pykka.ActorRef[JournalActor], work: Workload) -> None:
        super().__init__()
        self._journal = journal
        self._work = work
        self._session_id, self._run_id = new_session()
        self._sequence = 0

    def on_receive(self, message: Any) -> Finished:
        """Run the session to its durable end."""
        assert isinstance(message, Run)
        for kind, in_run, data in opening():
            self._emit(kind, data, in_run=in_run)
        parts: list[str] = []
        for text in stream_blocking(self._work):
            parts.append(text)
            self._emit("message_streamed", chunk_data(text), in_run=True)
        content = "".join(parts)
        for kind, in_run, data in closing(self._work, content):
            self._emit(kind, data, in_run=in_run)
        self._journal.ask(Flush())
        self.stop()
        return Finished(content, time.perf_counter())

    def _emit(self, kind: str, data: dict[str, Any], *, in_run: bool) -> None:
        self._sequence += 1
        run_id = self._run_id if in_run else None
        event = Event(new_id(), self._session_id, self._sequence, kind, now_us(), run_id, data)
        self._journal.tell(event)


def storm(options: Options) -> Result:
    """Run all sessions at once; latency is a session's, from the storm's start to its result."""
    sessions = options.size("sessions")
    with _journal(options, sessions) as (journal, work, meter), meter:
        begun = time.perf_counter()
        finished = pykka.get_all(_start(journal, work, sessions, meter))
    return _result(meter, work, sessions, [each.at_s - begun for each in finished])


def single(options: Options) -> Result:
    """Run the sessions one after another; latency is a session's."""
    sessions = options.size("sessions")
    latencies_s: list[float] = []
    with _journal(options, sessions) as (journal, work, meter), meter:
        for _ in range(sessions):
            begun = time.perf_counter()
            SessionActor.start(journal, work).ask(Run())
            latencies_s.append(time.perf_counter() - begun)
        meter.sample()
    return _result(meter, work, sessions, latencies_s)


def streams(options: Options) -> Result:
    """Run all sessions at once, in pace with their provider; latency is a sleeper's lateness."""
    sessions = options.size("runs")
    lags_s: list[float] = []
    done = threading.Event()
    probe = threading.Thread(target=_watch_lag, args=(lags_s, done))
    with _journal(options, sessions) as (journal, work, meter), meter:
        probe.start()
        pykka.get_all(_start(journal, work, sessions, meter))
        done.set()
        probe.join()
    return _result(meter, work, sessions, lags_s)


def _start(
    journal: pykka.ActorRef[JournalActor], work: Workload, sessions: int, meter: Meter
) -> list[pykka.Future[Any]]:
    futures = [SessionActor.start(journal, work).ask(Run(), block=False) for _ in range(sessions)]
    meter.sample()
    return futures


@contextmanager
def _journal(
    options: Options, sessions: int
) -> Iterator[tuple[pykka.ActorRef[JournalActor], Workload, Meter]]:
    """Run a journal actor; on the way out stop all actors and check what is on the disk."""
    work = options.workload()
    with scratch(options) as directory:
        journal = JournalActor.start(directory, options.durability)
        try:
            yield journal, work, Meter()
        finally:
            pykka.ActorRegistry.stop_all()
        store = LmdbStore(directory, options.durability)
        try:
            verify(store.stored(), work, sessions)
        finally:
            store.close()


def _result(meter: Meter, work: Workload, sessions: int, latencies_s: list[float]) -> Result:
    return measures(
        meter.measured,
        sessions=sessions,
        events=sessions * work.events_per_session,
        latencies_s=latencies_s,
    )


def _watch_lag(lags_s: list[float], done: threading.Event) -> None:
    """Note, until done, how much later than asked a sleeping thread runs again."""
    while not done.is_set():
        due = time.perf_counter() + LAG_PERIOD_S
        time.sleep(LAG_PERIOD_S)
        lags_s.append(max(0.0, time.perf_counter() - due))
