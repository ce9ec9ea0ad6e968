"""The settled part of an LMDB journal, in one snapshot: keys and cursors, no decisions."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from typing import Any, Final

from asm_actors.journal.codec import Buffer, unpack_run, unpack_session, unreadable
from asm_actors.journal.large import unpack_large
from asm_actors.journal.lmdb_env import Transaction
from asm_actors.journal.lmdb_layout import (
    BLOBS,
    CHUNK,
    ERASED,
    LOG,
    MARKS,
    MEMBERS,
    NAMES,
    OPEN,
    RUNS,
    SEGMENTS,
    SESSION_ID,
    SESSIONS,
    Locator,
    chunk_of,
    end_of_locators,
    mark_key,
    name_key,
    number_key,
    number_of,
    pair_key,
    pair_of,
    unpack_locators,
)
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = ["Tables"]

_LAST: Final = (1 << 64) - 1
_CHUNKS: Final = (1 << 32) - 1


class Tables:
    """The settled part of a journal, in one snapshot.

    Args:
        txn: a read transaction whose values are views.
        handles: the library's handles of the tables.
    """

    def __init__(self, txn: Transaction, handles: Mapping[str, Any]) -> None:
        self._txn = txn
        self._handles = handles

    def get(self, table: str, key: bytes) -> memoryview | None:
        """Return the value at a key."""
        value: memoryview | None = self._txn.get(key, db=self._handles[table])
        return value

    def cursor(self, table: str) -> Any:
        """Open a cursor over a table."""
        return self._txn.cursor(self._handles[table])

    def fetch_large(self, digest: bytes) -> Buffer:
        """Return the encoded form of a large payload.

        Raises:
            StorageError: ``storage_read_failed``: it is damaged or missing.
        """
        stored = self.get(BLOBS, digest)
        if stored is None:
            raise unreadable(BLOBS, digest, "it is missing")
        return unpack_large(stored, BLOBS, digest)

    def is_erased(self, number: int) -> bool:
        """Tell whether a session was erased whose events still have to be removed from the log."""
        return self.get(ERASED, number_key(number)) is not None

    def number_of_name(self, key: bytes) -> int | None:
        """Return the number that a name stands for."""
        value = self.get(NAMES, key)
        return None if value is None else number_of(value[:8])

    def has_session(self, number: int) -> bool:
        """Tell whether a session's record is settled."""
        return self.get(SESSIONS, number_key(number)) is not None

    def has_run(self, number: int) -> bool:
        """Tell whether a run's record is settled."""
        return self.get(RUNS, number_key(number)) is not None

    def session(self, number: int) -> Session:
        """Return a session's record.

        Raises:
            StorageError: ``storage_read_failed``: it is damaged or missing.
        """
        value = self.get(SESSIONS, number_key(number))
        if value is None:
            raise unreadable(SESSIONS, number, "it is missing")
        return unpack_session(value, SESSIONS, number)

    def run(self, number: int) -> Run:
        """Return a run's record.

        Raises:
            StorageError: ``storage_read_failed``: it is damaged or missing.
        """
        value = self.get(RUNS, number_key(number))
        if value is None:
            raise unreadable(RUNS, number, "it is missing")
        return unpack_run(value, RUNS, number)

    def session_number(self, session_id: str) -> int | None:
        """Return a session's number."""
        return self.number_of_name(name_key(SESSION_ID, session_id))

    def head(self, number: int) -> int:
        """Return the sequence number of the last settled event of a session, 0 if there is none."""
        cursor = self.cursor(SEGMENTS)
        if not (cursor.prev() if cursor.set_range(pair_key(number, _LAST)) else cursor.last()):
            return 0
        if pair_of(cursor.key())[0] != number:
            return 0
        return end_of_locators(cursor.value())

    def _locators(self, cursor: Any) -> list[Locator]:
        try:
            return list(unpack_locators(cursor.value()))
        except struct.error as error:
            raise unreadable(SEGMENTS, cursor.key(), str(error)) from error

    def locators(self, number: int, after: int = 0) -> Iterator[Locator]:
        """Yield where a session's settled events are, in order, from the value that holds ``after + 1`` on."""
        cursor = self.cursor(SEGMENTS)
        found = cursor.set_range(pair_key(number, after + 1))
        if not (found and pair_of(cursor.key()) == (number, after + 1)):
            # The event may stand inside the value before.
            back = cursor.prev() if found else cursor.last()
            if not back:
                found = cursor.first()
            elif pair_of(cursor.key())[0] != number:
                found = cursor.next()
            else:
                found = True
        while found and pair_of(cursor.key())[0] == number:
            yield from self._locators(cursor)
            found = cursor.next()

    def sequence_at(self, number: int, head: int, position: int) -> int:
        """Return a sequence number, near the largest, whose event is settled and not after ``position``; else 0.

        Sequence numbers and positions of one session grow together, so this halves the range until it is small.
        """
        low, high = 0, head + 1
        while high - low > 64:
            middle = (low + high) // 2
            # The first locator that is yielded is the first of its value, which may lie before the one that is meant.
            found = (
                one for one in self.locators(number, middle - 1) if one.first_sequence + one.n_events > middle
            )
            locator = next(found, None)
            if locator is not None and locator.first_position + middle - locator.first_sequence <= position:
                low = middle
            else:
                high = middle
        return low

    def chunks(self, prefix: bytes, begin: int, *, backwards: bool) -> Iterator[tuple[int, int]]:
        """Yield the chunks of a mark as (chunk, bits), from ``begin`` on in the asked direction."""
        cursor = self.cursor(MARKS)
        start = mark_key(prefix, begin)
        found = cursor.set_range(start)
        if backwards and not (found and cursor.key() == start):
            found = cursor.prev() if found else cursor.last()
        while found and cursor.key()[: len(prefix)] == prefix and len(cursor.key()) == len(start):
            yield chunk_of(cursor.key()), int.from_bytes(cursor.value(), "little")
            found = cursor.prev() if backwards else cursor.next()

    def marked(
        self,
        any_of: Collection[bytes],
        all_of: Collection[bytes],
        none_of: Collection[bytes],
        *,
        after: int | None,
        newest_first: bool,
    ) -> Iterator[int]:
        """Yield the numbers with one of the first marks, all of the second ones and none of the third.

        Args:
            any_of: prefixes of marks, not empty.
            all_of: further prefixes.
            none_of: prefixes that must not be marked.
            after: the number to start after in the asked direction, or None for all.
            newest_first: from the largest number down.
        """
        edge = (_CHUNKS if newest_first else 0) if after is None else after // CHUNK
        # A single label is mostly the rarest.
        conditions = (any_of, *([one] for one in all_of))[::-1]
        for chunk, bits in self.marked_chunks(conditions, none_of, edge, backwards=newest_first):
            yield from _numbers(chunk, bits, after, newest_first=newest_first)

    def marked_chunks(
        self,
        conditions: Sequence[Collection[bytes]],
        none_of: Collection[bytes],
        begin: int = 0,
        *,
        backwards: bool = False,
    ) -> Iterator[tuple[int, int]]:
        """Yield as (chunk, bits) the numbers that fulfil all conditions and have none of some marks.

        Args:
            conditions: each names prefixes of marks of which one must be there. The first one leads: its chunks are
                visited, and the others are looked up in these.
            none_of: prefixes that must not be marked.
            begin: the chunk to begin with.
            backwards: from the largest chunk down.
        """
        lead, *rest = conditions
        streams = [self.chunks(prefix, begin, backwards=backwards) for prefix in lead]
        sign = -1 if backwards else 1
        for chunk, leading in _joined(merge(*streams, key=lambda pair: sign * pair[0])):
            bits = leading
            for alternatives in rest:
                bits &= self.bits(alternatives, chunk)
            if bits and none_of:
                bits &= ~self.bits(none_of, chunk)
            if bits:
                yield chunk, bits

    def bits(self, prefixes: Collection[bytes], chunk: int) -> int:
        """Return the numbers of a chunk that have one of some marks, as bits."""
        bits = 0
        for prefix in prefixes:
            value = self.get(MARKS, mark_key(prefix, chunk))
            if value is not None:
                bits |= int.from_bytes(value, "little")
        return bits

    def members(self, owner: int, *, is_open: bool = False) -> Iterator[int]:
        """Yield the numbers of a session's settled runs, in order.

        Args:
            owner: the session's number.
            is_open: only of those that were not over when they were settled.
        """
        cursor = self.cursor(OPEN if is_open else MEMBERS)
        found = cursor.set_range(pair_key(owner, 0))
        while found:
            session, run = pair_of(cursor.key())
            if session != owner:
                return
            yield run
            found = cursor.next()

    def ids_from(self, session: int, run: int) -> Iterator[str]:
        """Yield the ids of settled sessions and runs from these numbers on."""
        cursor = self.cursor(SESSIONS)
        if cursor.set_range(number_key(session)):
            for key, blob in cursor.iternext():
                yield unpack_session(blob, SESSIONS, number_of(key)).id
        cursor = self.cursor(RUNS)
        if cursor.set_range(number_key(run)):
            for key, blob in cursor.iternext():
                yield unpack_run(blob, RUNS, number_of(key)).id

    def all_runs(self) -> Iterator[int]:
        """Yield the numbers of all settled runs, in order."""
        for key in self.cursor(RUNS).iternext(values=False):
            yield number_of(key)

    def blocks(self, position: int) -> Iterator[tuple[bytes, Buffer]]:
        """Yield the blocks from the one that holds ``position`` on; there is one."""
        cursor = self.cursor(LOG)
        # A block without events has the same first position as the one that follows it. So the last block which
        # begins at or before the position is the one.
        if cursor.prev() if cursor.set_range(pair_key(position + 1, 0)) else cursor.last():
            yield from _forward(cursor)

    def blocks_from(self, key: bytes) -> Iterator[tuple[bytes, Buffer]]:
        """Yield the blocks from this key on."""
        cursor = self.cursor(LOG)
        if cursor.set_range(key):
            yield from _forward(cursor)

    def last_block(self) -> tuple[bytes, Buffer] | None:
        """Return the newest block."""
        cursor = self.cursor(LOG)
        return (bytes(cursor.key()), cursor.value()) if cursor.last() else None


def _forward(cursor: Any) -> Iterator[tuple[bytes, Buffer]]:
    found = True
    while found:
        yield bytes(cursor.key()), cursor.value()
        found = cursor.next()


def _joined(chunks: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Unite neighbours of the same chunk."""
    current, gathered = -1, 0
    for chunk, bits in chunks:
        if chunk != current and current >= 0:
            yield current, gathered
            gathered = 0
        current = chunk
        gathered |= bits
    if current >= 0:
        yield current, gathered


def _numbers(chunk: int, bits: int, after: int | None, *, newest_first: bool) -> Iterator[int]:
    base = chunk * CHUNK
    if newest_first:
        while bits:
            top = bits.bit_length() - 1
            bits ^= 1 << top
            if after is None or base + top < after:
                yield base + top
        return
    while bits:
        low = bits & -bits
        bits ^= low
        number = base + low.bit_length() - 1
        if after is None or number > after:
            yield number
