"""A full check of an LMDB journal.

The log is read in slices, each in a snapshot of its own, so that a long check keeps nobody waiting. The tables are
checked in one snapshot, against what the log says and what memory holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, Final

from attrs import Factory, define

from asm_actors.errors import AsmError
from asm_actors.journal.codec import Buffer, unpack_run, unpack_segment, unpack_session
from asm_actors.journal.lmdb_block import FIRST_BODY, unpack_directory
from asm_actors.journal.lmdb_layout import (
    CHUNK,
    LOG,
    MARKS,
    MEMBERS,
    NAMES,
    RUN_ID,
    RUNS,
    SEGMENTS,
    SESSION_ID,
    SESSIONS,
    facets_of_run,
    facets_of_session,
    mark_key,
    name_key,
    number_of,
    pair_key,
)
from asm_actors.journal.lmdb_recent import Recent
from asm_actors.journal.lmdb_tables import Tables
from asm_actors.journal.store import VerifyReport

__all__ = ["verify"]

_Marks = defaultdict[bytes, int]
"""The bits that the records ask for, by key."""

View = Callable[[Callable[[Recent, Tables], Any]], AbstractContextManager[tuple[Any, Tables]]]

_SLICE: Final = 512
_MAX_PROBLEMS: Final = 1000


@define
class _Check:
    """What was found so far."""

    events: int = 0
    heads: dict[int, int] = Factory(dict)
    sessions: set[int] = Factory(set)
    runs: set[int] = Factory(set)
    problems: list[str] = Factory(list)

    def note(self, problem: object) -> None:
        """Add a fault; a wreck needs no full list."""
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(str(problem))


def verify(
    view: View, last_position: int, progress: Callable[[int, int], None] | None, *, follows: bool
) -> VerifyReport:
    """Check a journal up to a position.

    Args:
        view: opens a snapshot, as ``LmdbView._view`` does.
        last_position: the position of the last event that must be there.
        progress: called with the events checked so far and the events there are.
        follows: whether memory replays what another process wrote. It may hold again then what is settled already.
    """
    check = _Check()
    position = 1
    after = b""
    while True:
        with view(lambda _, __: None) as (_, tables):
            blocks = list(islice(tables.blocks_from(after + b"\\0" if after else pair_key(0, 0)), _SLICE))
            for key, block in blocks:
                position = _check_block(check, key, block, position)
                after = key
        if progress is not None:
            progress(min(position - 1, last_position), last_position)
        if len(blocks) < _SLICE or position > last_position:
            break
    if position <= last_position:
        check.note(f"{LOG}: the events from position {position} to {last_position} are missing")
    with view(_waiting) as ((sessions, runs, heads), tables):
        marks: _Marks = defaultdict(int)
        _check_sessions(check, tables, marks)
        _check_runs(check, tables, marks)
        _check_marks(check, tables, marks)
        _check_segments(check, tables, heads, follows=follows)
        for number in sorted((check.sessions - set(sessions)) - _numbers(tables, SESSIONS)):
            check.note(f"{SESSIONS}: the record {number} is missing")
        for number in sorted((check.runs - set(runs)) - _numbers(tables, RUNS)):
            check.note(f"{RUNS}: the record {number} is missing")
    return VerifyReport(check.events, len(check.sessions), len(check.runs), tuple(check.problems))


def _waiting(recent: Recent, _: Tables) -> tuple[list[int], list[int], dict[int, int]]:
    """Copy what the tables need not have yet."""
    return (
        list(recent.sessions),
        list(recent.runs),
        {number: number_of(waiting[:8]) for number, waiting in recent.segments.items()},
    )


def _numbers(tables: Tables, table: str) -> set[int]:
    return {number_of(key) for key in tables.cursor(table).iternext(values=False)}


def _check_block(check: _Check, key: bytes, block: Buffer, position: int) -> int:
    """Check one block, and return the position that the next one must begin with."""
    try:
        directory = unpack_directory(block, LOG, key)
    except AsmError as error:
        check.note(error.message)
        return position
    if directory.first_position != position:
        check.note(f"{LOG}: {key.hex()} begins at position {directory.first_position}, not {position}")
    if key[:8] != pair_key(directory.first_position, 0)[:8]:
        check.note(f"{LOG}: {key.hex()} holds the block of another key")
    offset = FIRST_BODY
    numbers = iter(directory.segments)
    for number, first, count, length in zip(numbers, numbers, numbers, numbers, strict=True):
        expected = check.heads.get(number, 0) + 1
        if first != expected:
            check.note(f"{LOG}: {key.hex()} has sequence number {first} of session {number}, not {expected}")
        check.heads[number] = first + count - 1
        try:
            segment = unpack_segment(block[offset : offset + length], LOG, key)
            if (segment.number, segment.first_sequence, len(segment.codes)) != (number, first, count):
                check.note(f"{LOG}: {key.hex()} has another segment at {offset} than its directory says")
            check.events += count
        except AsmError as error:
            check.note(error.message)
        offset += length
    numbers = iter(directory.sessions)
    for number, length in zip(numbers, numbers, strict=True):
        check.sessions.add(number)
        _try(check, unpack_session, block[offset : offset + length], key)
        offset += length
    numbers = iter(directory.runs)
    for number, _, length in zip(numbers, numbers, numbers, strict=True):
        check.runs.add(number)
        _try(check, unpack_run, block[offset : offset + length], key)
        offset += length
    return directory.first_position + directory.n_events


def _try(check: _Check, unpack: Callable[[Buffer, str, object], Any], blob: Buffer, key: object) -> Any:
    try:
        return unpack(blob, LOG, key)
    except AsmError as error:
        check.note(error.message)
        return None


def _records(
    check: _Check, tables: Tables, table: str, unpack: Callable[[Buffer, str, object], Any]
) -> Iterator[tuple[int, Any]]:
    for key, blob in tables.cursor(table):
        number = number_of(key)
        try:
            yield number, unpack(blob, table, number)
        except AsmError as error:
            check.note(error.message)


def _check_sessions(check: _Check, tables: Tables, marks: _Marks) -> None:
    for number, session in _records(check, tables, SESSIONS, unpack_session):
        if tables.number_of_name(name_key(SESSION_ID, session.id)) != number:
            check.note(f"{NAMES}: {session.id} does not lead to the session record {number}")
        _expect(marks, number, facets_of_session(session))


def _check_runs(check: _Check, tables: Tables, marks: _Marks) -> None:
    for number, run in _records(check, tables, RUNS, unpack_run):
        if tables.number_of_name(name_key(RUN_ID, run.id)) != number:
            check.note(f"{NAMES}: {run.id} does not lead to the run record {number}")
        owner = tables.session_number(run.session_id)
        # The session's own record may still wait in memory; then there is no number to look for.
        if owner is not None and tables.get(MEMBERS, pair_key(owner, number)) is None:
            check.note(f"{MEMBERS}: the run record {number} is missing in its session {owner}")
        _expect(marks, number, facets_of_run(run))


def _expect(marks: _Marks, number: int, facets: frozenset[bytes]) -> None:
    chunk, bit = divmod(number, CHUNK)
    for facet in facets:
        marks[mark_key(facet, chunk)] |= 1 << bit


def _check_marks(check: _Check, tables: Tables, marks: _Marks) -> None:
    for key, value in tables.cursor(MARKS):
        expected = marks.pop(bytes(key), 0)
        found = int.from_bytes(value, "little")
        if found != expected:
            check.note(
                f"{MARKS}: {bytes(key).hex()} differs from the records in {(found ^ expected).bit_count()} marks"
            )
    for key in marks:
        check.note(f"{MARKS}: {key.hex()} is missing")


def _check_segments(check: _Check, tables: Tables, waiting: dict[int, int], *, follows: bool) -> None:
    for number, head in check.heads.items():
        expected = 1
        try:
            for locator in tables.locators(number):
                if locator.first_sequence != expected:
                    check.note(
                        f"{SEGMENTS}: session {number} goes on at {locator.first_sequence}, not at {expected}"
                    )
                expected = locator.first_sequence + locator.n_events
                if tables.get(LOG, locator.block) is None:
                    check.note(f"{SEGMENTS}: session {number} names a block that is not there")
        except AsmError as error:
            check.note(error.message)
        begin = waiting.get(number, head + 1)
        if expected <= head and (begin > expected or (begin < expected and not follows)):
            check.note(f"{SEGMENTS}: session {number} ends before {expected}, and its last event is {head}")
