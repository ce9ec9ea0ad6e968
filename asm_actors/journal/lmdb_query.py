"""From locators and blocks to events, and from numbers to records: the loops of an LMDB journal's reader.

Nothing here knows the library or a lock. Where something is read from is given as functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import merge
from typing import TypeVar

from asm_actors.events import Event
from asm_actors.journal.codec import Buffer, events_of, has_holes, unpack_segment, unreadable
from asm_actors.journal.holes import NOBODY
from asm_actors.journal.lmdb_block import FIRST_BODY, unpack_directory
from asm_actors.journal.lmdb_layout import LOG, SEGMENTS, Locator
from asm_actors.journal.query import EventFilter, EventPage
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = ["overlaid", "read_segments", "scan_blocks", "scan_segments"]

_R = TypeVar("_R", Session, Run)


def read_segments(
    locators: Iterable[Locator],
    block_of: Callable[[bytes], Buffer],
    session_id: str,
    number: int,
    wanted: EventFilter,
) -> list[Event]:
    """Read the wanted events of one session.

    Args:
        locators: where its events are, in order; ones before ``wanted.after`` are passed over.
        block_of: gives a block of the log by its key.
        session_id: whose events these are.
        number: the session's number.
        wanted: which events; its bounds are sequence numbers.
    """
    after = wanted.after or 0
    before = wanted.before
    limit = wanted.limit
    events: list[Event] = []
    for first, count, position, block, offset, length in locators:
        if first + count - 1 <= after:
            continue
        if (before is not None and first >= before) or (limit is not None and len(events) >= limit):
            break
        segment = unpack_segment(block_of(block)[offset : offset + length], LOG, block)
        if segment.number != number or segment.first_sequence != first or len(segment.codes) != count:
            raise unreadable(LOG, block, f"the segment at {offset} is not the one that {SEGMENTS} names")
        end = count if before is None else before - first
        if limit is not None and wanted.takes_all and not has_holes(segment):
            end = min(end, max(after + 1 - first, 0) + limit - len(events))
        events += events_of(segment, session_id, position, (after + 1 - first, end), wanted)
    return events if limit is None else events[:limit]


def scan_segments(
    locators: Iterable[Locator],
    block_of: Callable[[bytes], Buffer],
    session_id: str,
    wanted: EventFilter,
    *,
    after: int,
    last: int,
    limit: int,
    scan_limit: int,
) -> EventPage:
    """Read the wanted events of one session by their positions.

    Args:
        locators: where its events are, in order; ones up to ``after`` are passed over.
        block_of: gives a block of the log by its key.
        session_id: whose events these are.
        wanted: which events; its bounds are not looked at.
        after: the position to start after.
        last: the last position to look at.
        limit: at most so many events.
        scan_limit: stop once so many events were looked at.
    """
    events: list[Event] = []
    scanned = 0
    for _, count, position, block, offset, length in locators:
        if position + count - 1 <= after:
            continue
        if position > last:
            break
        if scanned >= scan_limit:
            return EventPage(events, after)
        segment = unpack_segment(block_of(block)[offset : offset + length], LOG, block)
        end = min(count, last + 1 - position)
        found = events_of(segment, session_id, position, (after + 1 - position, end), wanted)
        if len(events) + len(found) >= limit:
            events += found[: limit - len(events)]
            return EventPage(events, events[-1].position or 0)
        events += found
        after = position + end - 1
        scanned += count
    return EventPage(events, last)


def scan_blocks(
    blocks: Iterable[tuple[bytes, Buffer]],
    name_of: Callable[[int], str | None],
    wanted: EventFilter,
    *,
    after: int,
    last: int,
    limit: int,
) -> EventPage:
    """Read the wanted events of the whole journal.

    Args:
        blocks: blocks of the log in order; events up to ``after`` are passed over.
        name_of: gives a session's id by its number; None for one that was erased.
        wanted: which events; its bounds are not looked at.
        after: the position to start after.
        last: the last position to look at.
        limit: at most so many events.
    """
    events: list[Event] = []
    for key, block in blocks:
        directory = unpack_directory(block, LOG, key)
        position = directory.first_position
        if position > last:
            break
        offset = FIRST_BODY
        numbers = iter(directory.segments)
        for number, _, count, length in zip(numbers, numbers, numbers, numbers, strict=True):
            if position + count - 1 > after and position <= last:
                end = min(count, last + 1 - position)
                name = None if number == NOBODY else name_of(number)
                found: list[Event] = []
                if name is not None:
                    segment = unpack_segment(block[offset : offset + length], LOG, key)
                    found = events_of(segment, name, position, (after + 1 - position, end), wanted)
                if len(events) + len(found) >= limit:
                    events += found[: limit - len(events)]
                    return EventPage(events, events[-1].position or 0)
                events += found
                after = position + end - 1
            offset += length
            position += count
    return EventPage(events, after)


def overlaid(
    recent: Mapping[int, _R],
    settled: Iterator[int],
    load: Callable[[int], _R],
    matches: Callable[[_R], bool],
    *,
    after: int | None = None,
    newest_first: bool = False,
) -> Iterator[tuple[int, _R]]:
    """Yield the matching records of memory and tables by number; what memory has replaces what the tables have.

    Args:
        recent: records in memory.
        settled: numbers of records in the tables that may match, in the asked order.
        load: reads a record from the tables.
        matches: tells whether a record is wanted. Records from the tables are asked too: a mark only says where to
            look.
        after: the number to start after in the asked direction, or None for all.
        newest_first: from the largest number down.
    """
    mine = [number for number, record in recent.items() if matches(record)]
    if after is not None:
        mine = [number for number in mine if (number < after if newest_first else number > after)]
    mine.sort(reverse=newest_first)
    for number in merge(mine, (n for n in settled if n not in recent), reverse=newest_first):
        record = recent[number] if number in recent else load(number)
        if number in recent or matches(record):
            yield number, record
