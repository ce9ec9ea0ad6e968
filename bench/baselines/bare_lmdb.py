"""The plainest journal: one loop that encodes a group of events, puts each, and commits.

No threads, no actors, no indexes, no records of sessions: what msgpack and LMDB cost and nothing else.
`journal` appends to one sequence, which is the fastest that LMDB can do and cannot be read by session
without reading it all; `by_session` keys the events by session and number.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import msgpack

from bench.baselines.asyncio_lmdb import LmdbStore
from bench.baselines.plain import Event, VerificationError, now_us
from bench.harness import Meter, Options, Result, measures, scratch
from bench.workload import Workload, chunk_data

__all__ = ["by_session", "journal"]

#: Makes the key and the value of an event at a position of the journal.
Encode = Callable[[LmdbStore, Event, int], tuple[bytes, bytes]]


def journal(options: Options) -> Result:
    """Write one batch of every session per commit; latency is a group's, from its first event to the sync."""
    return _measure(options, _by_position)


def by_session(options: Options) -> Result:
    """Do the same with keys that find a session."""
    return _measure(options, _by_session)


def _by_position(store: LmdbStore, event: Event, position: int) -> tuple[bytes, bytes]:
    return position.to_bytes(8, "big"), msgpack.packb(event)


def _by_session(store: LmdbStore, event: Event, position: int) -> tuple[bytes, bytes]:
    return store.encode(event)


def _measure(options: Options, encode: Encode) -> Result:
    count, batch, meter = options.size("sessions"), options.size("batch"), Meter()
    rounds = max(1, options.size("events") // (count * batch))
    sessions = [f"ses_{number:032x}" for number in range(count)]
    texts = Workload(chunks=batch).texts
    latencies_s: list[float] = []
    with scratch(options) as directory:
        store = LmdbStore(directory, options.durability)
        try:
            _commit(store, encode, sessions, texts, 0)
            with meter:
                for turn in range(1, rounds + 1):
                    begun = time.perf_counter()
                    _commit(store, encode, sessions, texts, turn)
                    latencies_s.append(time.perf_counter() - begun)
            entries = store.entries()
        finally:
            store.close()
    if entries != (rounds + 1) * count * batch:
        raise VerificationError(f"{entries} events are on the disk")
    return measures(meter.measured, events=count * rounds * batch, latencies_s=latencies_s)


def _commit(store: LmdbStore, encode: Encode, sessions: list[str], texts: tuple[str, ...], turn: int) -> None:
    draw, first = random.getrandbits, turn * len(texts) + 1
    position, rows = turn * len(sessions) * len(texts), []
    for name in sessions:
        for number, text in enumerate(texts, first):
            position += 1
            data = chunk_data(text)
            event = Event(f"{draw(128):032x}", name, number, "message_streamed", now_us(), None, data)
            rows.append(encode(store, event, position))
    store.write(rows)
