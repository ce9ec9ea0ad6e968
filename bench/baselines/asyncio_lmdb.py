"""The plain asyncio program on LMDB: one put per event, one transaction per batch.

The log is all it keeps: a session's state is what its events say. The key is the session's id and
the sequence number, so that one range of keys is one session in order; the value is the event in
msgpack.

`PROGRAM` is the ordinary program, `TUNED` what profiling makes of it. The difference is
instructive: `uuid4` asks the kernel for random bytes and releases the interpreter's lock to do it,
so that with a writer at work each event's id costs a change of threads. Ids from a generator in the
process, fewer full garbage collections and uvloop nearly double the rate.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import lmdb
import msgpack

from bench.baselines.asyncio_program import Program
from bench.baselines.plain import Event
from bench.harness import Durability

__all__ = ["PROGRAM", "TUNED", "LmdbStore"]

#: Bytes of address space, not of disk: the file grows as it is written.
_MAP_SIZE = 16 << 30
_SEQUENCE_BYTES = 8


class LmdbStore:
    """Events in one LMDB environment."""

    def __init__(self, directory: Path, durability: Durability) -> None:
        self._env = lmdb.open(str(directory), map_size=_MAP_SIZE, sync=durability is Durability.FSYNC)

    def encode(self, event: Event) -> tuple[bytes, bytes]:
        """Return the event's key and value."""
        key = event.session_id.encode() + event.sequence.to_bytes(_SEQUENCE_BYTES, "big")
        return key, msgpack.packb(event)

    def write(self, rows: list[tuple[bytes, bytes]]) -> None:
        """Put each row; the commit syncs."""
        with self._env.begin(write=True) as transaction:
            for key, value in rows:
                transaction.put(key, value)

    def stored(self) -> Iterator[tuple[str, int, str]]:
        """Yield session id, sequence number and type of each event in the order of their keys."""
        with self._env.begin() as transaction:
            for key, value in transaction.cursor():
                event = Event(*msgpack.unpackb(value))
                if key != self.encode(event)[0]:
                    raise LookupError(f"the event under {key!r} is another one")
                yield event.session_id, event.sequence, event.type

    def entries(self) -> int:
        """Return how many rows there are."""
        return int(self._env.stat()["entries"])

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


def _random_id() -> str:
    return f"{random.getrandbits(128):032x}"


def _run_tuned(main: Coroutine[Any, Any, Any]) -> Any:
    # Full collections walk every waiting session; a tenth of them is enough for what they find.
    gc.set_threshold(50_000, 20, 100)
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


PROGRAM = Program(LmdbStore)
TUNED = Program(LmdbStore, draw_id=_random_id, run=_run_tuned)
