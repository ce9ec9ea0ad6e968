"""What sessions and runs are sorted by, in columns: one value of LMDB holds that of 512 consecutive numbers.

::

    column chunk = smallest · largest · 512 values, each eight bytes; the smallest integer stands for "none"

A search picks numbers by bit sets first (``marks``). Of a chunk with none of them nothing is read, of one that is too
far away in the order two numbers. That is also cheaper to write than an index with a key per session: a settled
batch touches a few chunks, and most sessions of a batch are neighbours.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import nlargest, nsmallest
from typing import Final

from asm_actors.journal.codec import Buffer, unreadable
from asm_actors.journal.lmdb_layout import CHUNK, COLUMNS
from asm_actors.journal.pages import Place
from asm_actors.journal.usage import INT64_MAX, INT64_MIN, started_us_of, tokens_of
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

# fmt: off
__all__ = [
    "CREATED", "STARTED", "TOKENS", "UPDATED", "Column", "changed_column", "column_key", "first_places", "narrowed",
    "numbers_in", "values_of_run", "values_of_session",
]
# fmt: on

CREATED: Final = b"c"
UPDATED: Final = b"u"
STARTED: Final = b"s"
TOKENS: Final = b"t"

_ABSENT: Final = INT64_MIN
_HEADER: Final = struct.Struct("<qq")
_CHUNK_NUMBER: Final = struct.Struct(">I")
_EMPTY: Final = array("q", [_ABSENT]) * CHUNK

Chunks = dict[int, int]
"""Numbers as bits, by chunk."""


def column_key(what: bytes, chunk: int) -> bytes:
    """Make the key of one chunk of a column."""
    return what + _CHUNK_NUMBER.pack(chunk)


def values_of_session(session: Session) -> dict[bytes, int]:
    """Return what a session is sorted by, by column."""
    return {CREATED: session.created_us, UPDATED: session.updated_us}


def values_of_run(run: Run) -> dict[bytes, int]:
    """Return what a run is sorted by, by column."""
    return {STARTED: started_us_of(run), TOKENS: tokens_of(run).total}


class Column:
    """One chunk of a column, as it is stored.

    Args:
        value: the stored bytes; valid while they are.
        key: their key, for errors.

    Raises:
        StorageError: ``storage_read_failed``: they have another length.
    """

    __slots__ = ("_value", "largest", "smallest")

    def __init__(self, value: Buffer, key: bytes) -> None:
        if len(value) != _HEADER.size + 8 * CHUNK:
            raise unreadable(COLUMNS, key, "it has another length")
        self._value = value
        self.smallest, self.largest = _HEADER.unpack_from(value)

    def values(self) -> array[int]:
        """Return the values by their places in the chunk."""
        return _in_order(array("q", bytes(self._value[_HEADER.size :])))


def changed_column(before: Column | None, changes: Mapping[int, int | None]) -> bytes | None:
    """Return a chunk with some values changed; None if no value is left.

    Args:
        before: the chunk so far.
        changes: new values by their places in the chunk; None takes one away.
    """
    values = _EMPTY[:] if before is None else before.values()
    for place, value in changes.items():
        values[place] = _ABSENT if value is None else max(_ABSENT + 1, min(value, INT64_MAX))
    there = [value for value in values if value != _ABSENT]
    if not there:
        return None
    return _HEADER.pack(min(there), max(there)) + _in_order(values).tobytes()


def _in_order(values: array[int]) -> array[int]:
    """Turn stored values into the machine's order of bytes, or back."""
    if sys.byteorder == "big":
        values.byteswap()
    return values


def numbers_in(chunk: int, bits: int) -> Iterator[int]:
    """Yield the numbers that a chunk's bits stand for, in order."""
    base = chunk * CHUNK
    while bits:
        low = bits & -bits
        bits ^= low
        yield base + low.bit_length() - 1


def narrowed(
    chunks: Chunks, column: Callable[[int], Column | None], least: int | None, most: int | None
) -> Chunks:
    """Return those numbers whose values lie within bounds (both inclusive; None: no bound)."""
    low = _ABSENT + 1 if least is None else least
    high = INT64_MAX if most is None else most
    kept: Chunks = {}
    for chunk, all_bits in chunks.items():
        found, bits = column(chunk), all_bits
        if found is None or found.smallest > high or found.largest < low:
            continue
        if found.smallest < low or found.largest > high:
            values, base, left = found.values(), chunk * CHUNK, 0
            for number in numbers_in(chunk, all_bits):
                if low <= values[number - base] <= high:
                    left |= 1 << (number - base)
            bits = left
        if bits:
            kept[chunk] = bits
    return kept


def first_places(
    chunks: Chunks,
    column: Callable[[int], Column | None],
    more: Iterable[Place],
    *,
    limit: int,
    after: Place | None,
    descending: bool,
) -> list[Place]:
    """Return the first places of an order, at most ``limit``.

    Args:
        chunks: numbers whose values are in the column.
        column: gives a chunk of the column.
        more: further places, in no order.
        limit: at most so many.
        after: the place to start after, or None.
        descending: whether the largest comes first.
    """
    first = nlargest if descending else nsmallest
    passed = Place(INT64_MAX, INT64_MAX) if descending else Place(INT64_MIN, -1)
    after = passed if after is None else after
    best = first(limit, (place for place in more if (place < after if descending else place > after)))
    # The most promising chunks come first, so that most of the others need no look inside.
    waiting = [(chunk, found) for chunk in chunks if (found := column(chunk)) is not None]
    waiting.sort(key=lambda pair: pair[1].largest if descending else pair[1].smallest, reverse=descending)
    for chunk, found in waiting:
        if (found.smallest > after.value) if descending else (found.largest < after.value):
            continue
        if len(best) == limit:
            worst = best[-1].value
            if (found.largest < worst) if descending else (found.smallest > worst):
                break
        values, base = found.values(), chunk * CHUNK
        places = [Place(values[number - base], number) for number in numbers_in(chunk, chunks[chunk])]
        best = first(limit, [*best, *(p for p in places if (p < after if descending else p > after))])
    return best
