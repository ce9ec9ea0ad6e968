"""Writing a settled block of the log anew without some of what it holds.

What goes is gone from the file's pages as soon as LMDB uses them again; nothing is padded to keep places. So the other
segments of the block move, and their locators are corrected in the same transaction. That costs some microseconds for
each of them and keeps blocks dense, whereas zeros in the place of what went would stay until the whole journal is
rewritten.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from attrs import Factory, define

from asm_actors.errors import AsmError
from asm_actors.journal.codec import unpack_segment
from asm_actors.journal.holes import NOBODY, NOBODYS_SEGMENT, holes_in, without_events
from asm_actors.journal.lmdb_block import FIRST_BODY, Directory, pack_block, unpack_directory
from asm_actors.journal.lmdb_env import Transaction
from asm_actors.journal.lmdb_large import digests_of_block, forget_references, references_in
from asm_actors.journal.lmdb_layout import (
    BLOBS,
    EDITION_KEY,
    LOCATOR_SIZE,
    LOG,
    META,
    SEGMENTS,
    TOTALS_KEY,
    number_key,
    number_of,
    pack_locator,
    pair_key,
    pair_of,
    unpack_locators,
)
from asm_actors.journal.packing import pack_values, unpack_values, unreadable

__all__ = ["Change", "Contents", "add_totals", "erase_events", "next_edition", "rewrite_block", "totals_of"]

Handles = Mapping[str, Any]
"""The library's handles of the tables, by name."""


class Part(NamedTuple):
    """A segment or a record inside a block."""

    number: int
    """The number of the session or the run."""
    owner: int
    """The number of its session."""
    first: int
    """A segment's first sequence number, else 0."""
    n_events: int
    """Of a segment, else 0."""
    offset: int
    blob: bytes


@define
class Contents:
    """A block taken apart."""

    directory: Directory
    segments: list[Part]
    sessions: list[Part]
    runs: list[Part]

    @classmethod
    def of(cls, block: bytes, key: bytes) -> Contents:
        """Take a block apart. Segments and records are not decoded.

        Raises:
            StorageError: ``storage_read_failed`` or ``migration_required``: its directory cannot be read.
        """
        directory = unpack_directory(block, LOG, key)
        contents = cls(directory, [], [], [])
        offset = FIRST_BODY
        numbers = iter(directory.segments)
        for number, first, count, length in zip(numbers, numbers, numbers, numbers, strict=True):
            contents.segments.append(
                Part(number, number, first, count, offset, block[offset : offset + length])
            )
            offset += length
        numbers = iter(directory.sessions)
        for number, length in zip(numbers, numbers, strict=True):
            contents.sessions.append(Part(number, number, 0, 0, offset, block[offset : offset + length]))
            offset += length
        numbers = iter(directory.runs)
        for number, owner, length in zip(numbers, numbers, numbers, strict=True):
            contents.runs.append(Part(number, owner, 0, 0, offset, block[offset : offset + length]))
            offset += length
        return contents

    def pack(self) -> bytes:
        """Make a block of it. Neighbouring events of nobody become one segment."""
        joined: list[Part] = []
        for part in self.segments:
            if joined and part.number == NOBODY == joined[-1].number:
                joined[-1] = joined[-1]._replace(n_events=joined[-1].n_events + part.n_events)
            else:
                joined.append(part)
        offset = FIRST_BODY
        self.segments = []
        for part in joined:
            self.segments.append(part._replace(offset=offset))
            offset += len(part.blob)
        directory = self.directory._replace(
            segments=[n for p in self.segments for n in (p.number, p.first, p.n_events, len(p.blob))],
            sessions=[n for p in self.sessions for n in (p.number, len(p.blob))],
            runs=[n for p in self.runs for n in (p.number, p.owner, len(p.blob))],
        )
        return pack_block(directory, [part.blob for part in (*self.segments, *self.sessions, *self.runs)])


def nobodys(count: int) -> Part:
    """Make what stands for ``count`` events of nobody."""
    return Part(NOBODY, NOBODY, 0, count, 0, NOBODYS_SEGMENT)


@define
class Change:
    """What is to be taken out of blocks, and what it came to.

    Attributes:
        owners: the numbers of sessions of which everything goes.
        places: the places of events that go, by the number of their session and the segment's first sequence number.
        events: how many events went.
        bytes: how many bytes.
        moved: where other segments are now, by the number of their session and their first sequence number.
    """

    owners: Collection[int] = ()
    places: Mapping[tuple[int, int], Collection[int]] = Factory(dict)
    events: int = 0
    bytes: int = 0
    moved: dict[tuple[int, int], tuple[int, int]] = Factory(dict)


def rewrite_block(txn: Transaction, tables: Handles, key: bytes, change: Change) -> None:
    """Take something out of one block; :func:`erase_events` then corrects the locators.

    Raises:
        StorageError: ``storage_read_failed``: the block, or a segment of which some events stay, cannot be read.
    """
    stored = txn.get(key, db=tables[LOG])
    if stored is None:
        raise unreadable(LOG, key, "it is missing")
    before = bytes(stored)
    contents = Contents.of(before, key)
    old = {(part.number, part.first): (part.offset, len(part.blob)) for part in contents.segments}
    contents.segments = [_changed(part, change, key) for part in contents.segments]
    contents.sessions = [part for part in contents.sessions if part.owner not in change.owners]
    contents.runs = [part for part in contents.runs if part.owner not in change.owners]
    after = contents.pack()
    if after == before:
        return
    txn.put(key, after, db=tables[LOG])
    change.bytes += len(before) - len(after)
    for part in contents.segments:
        place = (part.offset, len(part.blob))
        if part.number != NOBODY and old[part.number, part.first] != place:
            change.moved[part.number, part.first] = place
    if digests_of_block(txn, tables[BLOBS], key):
        kept = references_in(
            [part.blob for part in contents.segments],
            [part.blob for part in (*contents.sessions, *contents.runs)],
        )
        change.bytes += forget_references(txn, tables[BLOBS], key, kept)


def _changed(part: Part, change: Change, key: bytes) -> Part:
    if part.owner in change.owners and part.number != NOBODY:
        change.events += part.n_events - _holes_of(part, key)
        return nobodys(part.n_events)
    places = change.places.get((part.number, part.first))
    if not places:
        return part
    segment = unpack_segment(part.blob, LOG, key)
    before = holes_in(segment)
    blob = without_events(segment, places)
    change.events += holes_in(unpack_segment(blob, LOG, key)) - before
    return part._replace(blob=blob)


def _holes_of(part: Part, key: bytes) -> int:
    try:
        return holes_in(unpack_segment(part.blob, LOG, key))
    except AsmError:
        # It cannot be read, and it goes.
        return 0


def erase_events(txn: Transaction, tables: Handles, keys: Collection[bytes], change: Change) -> None:
    """Take something out of several blocks, and correct everything that leads into them."""
    for key in keys:
        rewrite_block(txn, tables, key, change)
    _move_locators(txn, tables[SEGMENTS], change.moved)
    change.moved = {}
    next_edition(txn, tables)


def _move_locators(txn: Transaction, table: Any, moved: Mapping[tuple[int, int], tuple[int, int]]) -> None:
    by_value: dict[bytes, dict[int, tuple[int, int]]] = defaultdict(dict)
    cursor = txn.cursor(table)
    for (number, first), place in sorted(moved.items()):
        # A value holds consecutive locators under the sequence number of the first of them.
        key = pair_key(number, first)
        if cursor.set_range(key):
            if bytes(cursor.key()) != key:
                cursor.prev()
        else:
            cursor.last()
        by_value[bytes(cursor.key())][first] = place
    for key, places in by_value.items():
        value = txn.get(key, db=table)
        if value is None or len(value) % LOCATOR_SIZE:
            raise unreadable(SEGMENTS, key, "it is damaged")
        locators = [
            locator._replace(
                offset=places[locator.first_sequence][0], length=places.pop(locator.first_sequence)[1]
            )
            if locator.first_sequence in places
            else locator
            for locator in unpack_locators(value)
        ]
        if places:
            raise unreadable(SEGMENTS, key, f"session {pair_of(key)[0]} has no locator for {min(places)}")
        txn.put(key, b"".join(pack_locator(*locator) for locator in locators), db=table)


def next_edition(txn: Transaction, tables: Handles) -> None:
    """Tell other processes that blocks of the log are not what they were."""
    edition = number_of(txn.get(EDITION_KEY, db=tables[META]) or bytes(8))
    txn.put(EDITION_KEY, number_key(edition + 1), db=tables[META])


_NONE: Final = (0, 0, 0)


def totals_of(stored: Any) -> tuple[int, int, int]:
    """Return how many sessions, runs and events were ever erased, from the stored form of that."""
    if stored is None:
        return _NONE
    sessions, runs, events = unpack_values(stored, META, TOTALS_KEY)
    return sessions, runs, events


def add_totals(txn: Transaction, tables: Handles, sessions: int, runs: int, events: int) -> None:
    """Count what was erased."""
    before = totals_of(txn.get(TOTALS_KEY, db=tables[META]))
    after = (before[0] + sessions, before[1] + runs, before[2] + events)
    txn.put(TOTALS_KEY, pack_values(after), db=tables[META])
