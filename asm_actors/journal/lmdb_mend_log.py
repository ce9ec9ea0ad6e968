"""Repairing the log: what can be read of a damaged block stays, and what is lost becomes a known hole.

1. A segment with a wrong checksum becomes a hole of its session; a record in a block is dropped, since its table, or
   another block, has it too.
2. A block whose directory is damaged is taken apart by what the locators say and by reading its records one after the
   other; what neither tells is a hole.
3. Where blocks are missing altogether, a block of holes takes their place. A session that has a gap in its numbers
   between the blocks on both sides lost its events there.
4. A last block of which nothing can be read was never settled, and never acknowledged if the disk kept its promises:
   it goes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

from attrs import Factory, define

from asm_actors.errors import AsmError
from asm_actors.journal.codec import unpack_run, unpack_segment, unpack_session
from asm_actors.journal.holes import NOBODY, hole_segment
from asm_actors.journal.lmdb_block import Directory, unpack_directory
from asm_actors.journal.lmdb_layout import LOG, SEGMENTS, Locator, pair_key, pair_of, unpack_locators
from asm_actors.journal.lmdb_mending import Mending, readable
from asm_actors.journal.lmdb_rewrite import Contents, Part, nobodys
from asm_actors.journal.lmdb_salvage import counters_before, salvage

__all__ = ["mend_log"]

_MISSING: Final = f"a block of {LOG} is missing"


@define
class _Slot:
    """A stretch of the log that has to be written anew."""

    key: bytes
    first: int
    """Its first position."""
    end: int | None
    """The first position after it; None at the end of the log."""
    reason: str
    block: bytes | None = None
    known: dict[int, Part] = Factory(dict)
    """Segments by position, readable or known to be lost."""
    sessions: list[Part] = Factory(list)
    runs: list[Part] = Factory(list)
    has_erased: bool = False
    """Whether some of what it held had been erased before."""

    def free(self) -> Iterator[tuple[int, int]]:
        """Yield the positions of which nothing is known, as (first, count)."""
        position = self.first
        for begin, part in sorted(self.known.items()):
            if begin > position:
                yield position, begin - position
            position = begin + part.n_events
        if self.end is not None and self.end > position:
            yield position, self.end - position


@define
class _Gap:
    """Sequence numbers that a session lacks."""

    number: int
    first: int
    last: int
    after: int
    """The position of the event before."""
    before: int
    """The position of the event behind."""


def mend_log(mending: Mending) -> bool:
    """Make every block readable, and every position known; tells whether anything was changed."""
    good, slots, end = _survey(mending)
    _place_lost_locators(mending, good, slots, end)
    for slot in slots:
        if slot.block is not None:
            _salvage(mending, slot)
    gaps = _walk(mending, slots)
    changed = bool(slots) or bool(mending.damaged)
    for gap in gaps:
        _fill(mending, gap, slots)
    for slot in slots:
        _write(mending, slot)
    return changed


# --- Looking


def _survey(mending: Mending) -> tuple[set[bytes], list[_Slot], bytes]:
    """Read all directories: which blocks are good, where something is wrong, and the key that follows the last."""
    good: set[bytes] = set()
    slots: list[_Slot] = []
    position = 1
    commit = 0
    for stored, block in mending.txn.cursor(mending.handles[LOG]):
        key = bytes(stored)
        try:
            directory = unpack_directory(block, LOG, key)
            if key[:8] != pair_key(directory.first_position, 0)[:8]:
                raise AsmError(
                    "storage_read_failed", f"the block {key.hex()} in {LOG} belongs to another key"
                )
        except AsmError as error:
            begin = max(pair_of(key)[0], position) if len(key) == 16 else position
            _close(slots, begin)
            if begin > position and not (slots and slots[-1].end == begin):
                slots.append(_Slot(pair_key(position, commit + 1), position, begin, _MISSING))
            slots.append(_Slot(key, begin, None, error.message, bytes(block)))
            position = begin
            commit = pair_of(key)[1] if len(key) == 16 else commit
            continue
        first = directory.first_position
        _close(slots, first)
        if first > position and not (slots and slots[-1].end == first):
            slots.append(_Slot(pair_key(position, commit + 1), position, first, _MISSING))
        good.add(key)
        position = first + directory.n_events
        commit = pair_of(key)[1]
    return good, slots, pair_key(position, commit + 1)


def _close(slots: list[_Slot], position: int) -> None:
    """Let an open slot at the end reach up to a position."""
    if slots and slots[-1].end is None:
        slots[-1].end = position


def _place_lost_locators(mending: Mending, good: set[bytes], slots: list[_Slot], end: bytes) -> None:
    """Note what the locators say about the stretches that cannot be read."""
    lost: list[tuple[int, Locator]] = []
    for key, value in mending.txn.cursor(mending.handles[SEGMENTS]):
        try:
            locators = list(unpack_locators(bytes(value)))
        except struct.error:
            continue  # a damaged value tells nothing, and is built anew later
        lost += [(pair_of(key)[0], locator) for locator in locators if locator.block not in good]
    for number, locator in sorted(lost, key=lambda pair: pair[1].first_position):
        slot = _slot_at(slots, locator.first_position)
        if slot is None:
            if locator.first_position < pair_of(end)[0]:
                continue  # it contradicts a block that can be read
            slots.append(slot := _Slot(end, pair_of(end)[0], None, _MISSING))
        slot.known[locator.first_position] = _known(slot, number, locator)
    for slot in slots:
        if slot.end is None and slot.known:
            slot.end = max(begin + part.n_events for begin, part in slot.known.items())


def _slot_at(slots: list[_Slot], position: int) -> _Slot | None:
    for slot in slots:
        if slot.first <= position and (slot.end is None or position < slot.end):
            return slot
    return None


def _known(slot: _Slot, number: int, locator: Locator) -> Part:
    first, count, _, _, offset, length = locator
    if slot.block is not None:
        blob = slot.block[offset : offset + length]
        if _is_segment(blob, number, first, count):
            return Part(number, number, first, count, 0, blob)
    return Part(number, number, first, count, 0, b"")


def _is_segment(blob: bytes, number: int, first: int, count: int) -> bool:
    try:
        segment = unpack_segment(blob, LOG, "segment")
    except AsmError:
        return False
    return (segment.number, segment.first_sequence, len(segment.codes)) == (number, first, count)


def _salvage(mending: Mending, slot: _Slot) -> None:
    """Take what can be read out of a block without its directory."""
    assert slot.block is not None
    mending.set_aside(LOG, slot.key, slot.reason, slot.block)
    position: int | None = slot.first
    for kind, part in salvage(mending, slot.key, slot.block):
        if kind == "segment":
            if part.number == NOBODY:
                # Only the directory counted these. What follows is settled, so the locators know it.
                slot.has_erased, position = True, None
            if position is None:
                continue
            if position not in slot.known and (slot.end is None or position + part.n_events <= slot.end):
                slot.known[position] = part
            position += part.n_events
        elif kind == "session":
            slot.sessions.append(part)
        else:
            slot.runs.append(part)
    if slot.end is None:
        slot.end = max((begin + part.n_events for begin, part in slot.known.items()), default=slot.first)


# --- Walking through what is there


def _walk(mending: Mending, slots: list[_Slot]) -> list[_Gap]:
    """Check every part of every good block, and find the gaps in the sequences of sessions."""
    heads: dict[int, tuple[int, int]] = {}
    gaps: list[_Gap] = []
    waiting = sorted(slots, key=lambda slot: slot.first)
    for key in mending.keys(LOG):
        block = mending.get(LOG, key)
        assert block is not None
        try:
            contents = Contents.of(block, key)
        except AsmError:
            continue
        while waiting and waiting[0].first <= contents.directory.first_position:
            for begin, part in sorted(waiting.pop(0).known.items()):
                _follow(mending, heads, gaps, part, begin)
        _check_parts(mending, key, block, contents)
        for part in contents.sessions:
            session = readable(unpack_session, part.blob, LOG, key)
            if session.forked_at is not None and part.number not in heads:
                heads[part.number] = (session.forked_at, contents.directory.first_position - 1)
        position = contents.directory.first_position
        for part in contents.segments:
            _follow(mending, heads, gaps, part, position)
            position += part.n_events
    for slot in waiting:
        for begin, part in sorted(slot.known.items()):
            _follow(mending, heads, gaps, part, begin)
    return gaps


def _follow(
    mending: Mending, heads: dict[int, tuple[int, int]], gaps: list[_Gap], part: Part, position: int
) -> None:
    if part.number == NOBODY:
        return
    if part.number not in heads and part.first > 1:
        heads[part.number] = (mending.shared_by(part.number), 0)
    head, after = heads.get(part.number, (0, 0))
    if part.first > head + 1:
        gaps.append(_Gap(part.number, head + 1, part.first - 1, after, position))
    heads[part.number] = (max(head, part.first + part.n_events - 1), position + part.n_events - 1)


def _check_parts(mending: Mending, key: bytes, block: bytes, contents: Contents) -> None:
    """Replace what cannot be read in a block whose directory is good."""
    segments = [_checked(mending, key, part) for part in contents.segments]
    sessions = [part for part in contents.sessions if _is_record(mending, key, part, unpack_session)]
    runs = [part for part in contents.runs if _is_record(mending, key, part, unpack_run)]
    if (segments, sessions, runs) == (contents.segments, contents.sessions, contents.runs):
        return
    mending.set_aside(LOG, key, "parts of it have a wrong checksum", block)
    contents.segments, contents.sessions, contents.runs = segments, sessions, runs
    mending.put(LOG, key, contents.pack())


def _checked(mending: Mending, key: bytes, part: Part) -> Part:
    if part.number == NOBODY or _is_segment(part.blob, part.number, part.first, part.n_events):
        return part
    last = part.first + part.n_events - 1
    reason = f"the segment at {part.offset} of the block {key.hex()} in {LOG} cannot be read"
    mending.lose(part.number, part.first, last, reason)
    mending.give_up(f"{reason}: the events {part.first} to {last} of {mending.name_of(part.number)} are lost")
    return part._replace(blob=hole_segment(part.number, part.first, part.n_events))


def _is_record(mending: Mending, key: bytes, part: Part, unpack: Any) -> bool:
    try:
        readable(unpack, part.blob, LOG, key)
    except AsmError:
        mending.tell(f"{LOG}: a damaged copy of the record {part.number} was taken out of {key.hex()}")
        return False
    return True


# --- Filling


def _fill(mending: Mending, gap: _Gap, slots: list[_Slot]) -> None:
    """Give a session's missing sequence numbers a place in the stretches that cannot be read."""
    first = gap.first
    for slot in sorted(slots, key=lambda slot: slot.first):
        for position, count in list(slot.free()):
            begin = max(position, gap.after + 1)
            size = min(position + count, gap.before) - begin
            if first <= gap.last and size > 0:
                size = min(size, gap.last - first + 1)
                slot.known[begin] = Part(gap.number, gap.number, first, size, 0, b"")
                first += size
    if first <= gap.last:
        mending.give_up(
            f"{LOG}: the events {first} to {gap.last} of {mending.name_of(gap.number)} are missing, and no place for "
            "them is"
        )


def _write(mending: Mending, slot: _Slot) -> None:
    """Write a stretch anew."""
    parts: list[Part] = []
    end = slot.first if slot.end is None else slot.end
    places = {**slot.known, **{position: nobodys(count) for position, count in slot.free()}}
    for position in sorted(places):
        part = places[position]
        if not part.blob:
            part = part._replace(blob=hole_segment(part.number, part.first, part.n_events))
            last = part.first + part.n_events - 1
            mending.lose(part.number, part.first, last, slot.reason)
            mending.give_up(
                f"{slot.reason}: the events {part.first} to {last} of {mending.name_of(part.number)} are lost"
            )
        elif part.number == NOBODY and not slot.has_erased:
            mending.lose(None, 0, 0, slot.reason)
            mending.give_up(f"{slot.reason}: {part.n_events} events from position {position} on are lost")
        parts.append(part)
    if not parts and not slot.sessions and not slot.runs:
        if slot.block is not None:
            mending.delete(LOG, slot.key)
            mending.lose(None, 0, 0, slot.reason)
            mending.give_up(f"{slot.reason}: nothing in it can be read, and nothing tells what it held")
        return
    counters = _counters(mending, slot)
    contents = Contents(
        Directory(slot.first, end - slot.first, *counters, [], [], []), parts, slot.sessions, slot.runs
    )
    mending.put(LOG, slot.key, contents.pack())
    mending.tell(
        f"{LOG}: the positions {slot.first} to {end - 1} were written anew; what is lost is a known hole"
    )


def _counters(mending: Mending, slot: _Slot) -> tuple[int, int]:
    """Return the next numbers of sessions and runs after a stretch, from the blocks around it."""
    sessions = [part.number for part in (*slot.known.values(), *slot.sessions)]
    runs = [part.number for part in slot.runs]
    before = counters_before(mending, slot.key)
    return max([before.session - 1, *sessions]) + 1, max([before.run - 1, *runs]) + 1
