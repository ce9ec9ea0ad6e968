"""A full check of an LMDB journal.

The log is read in slices, each in a snapshot of its own, so that a long check keeps nobody waiting. The tables are
checked in one snapshot, against what the log says and what memory holds. If something was erased meanwhile, the two
were of different journals, and the check begins again.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any, Final

from attrs import Factory, define

from asm_actors.errors import AsmError
from asm_actors.journal.codec import Buffer, unpack_run, unpack_segment, unpack_session
from asm_actors.journal.holes import NOBODY, holes_in, large_values_of
from asm_actors.journal.large import DIGEST_SIZE, EMPTY_VALUE, digest_of, unpack_large
from asm_actors.journal.lmdb_block import FIRST_BODY, Directory, unpack_directory
from asm_actors.journal.lmdb_erase import pending_sessions
from asm_actors.journal.lmdb_layout import (
    BLOBS,
    EDITION_KEY,
    LOG,
    META,
    RESUME_KEY,
    number_key,
    number_of,
    pair_key,
)
from asm_actors.journal.lmdb_recent import Recent
from asm_actors.journal.lmdb_tables import Tables
from asm_actors.journal.lmdb_verify_tables import TableCheck, View
from asm_actors.journal.packing import finding
from asm_actors.journal.store_maintenance import Progress, VerifyReport

__all__ = ["verify"]

_SLICE: Final = 512
_ATTEMPTS: Final = 4


@define
class _Check(TableCheck):
    """What was found in the log so far; see `TableCheck` for the rest."""

    events: int = 0
    holes: int = 0
    blobs: int = 0
    erased: set[int] = Factory(set)
    """Sessions whose events are still being removed."""
    references: dict[bytes, set[bytes]] = Factory(dict)
    """The large payloads that a block refers to, by its key."""


def verify(view: View, last_position: int, progress: Progress | None, *, follows: bool) -> VerifyReport:
    """Check a journal up to a position.

    Args:
        view: opens a snapshot, as ``LmdbView._view`` does.
        last_position: the position of the last event that must be there.
        progress: called with the events checked so far and the events there are.
        follows: whether memory replays what another process wrote. It may hold again then what is settled already.
    """
    for _ in range(_ATTEMPTS):
        with view(_edition) as (edition, tables):
            check = _Check(erased=pending_sessions(tables), resume=_resume(tables))
        _check_log(check, view, last_position, progress)
        with view(_waiting) as ((sessions, runs, heads), tables):
            is_same = _edition(None, tables) == edition
            if is_same:
                with finding(lambda _: EMPTY_VALUE):
                    check.check_tables(tables, sessions, runs, heads, follows=follows)
                _check_blobs(check, tables)
        if is_same:
            break
    return VerifyReport(
        check.events, len(check.sessions), len(check.runs), tuple(check.problems), check.holes, check.blobs
    )


def _edition(_: Recent | None, tables: Tables) -> bytes:
    return bytes(tables.get(META, EDITION_KEY) or b"")


def _resume(tables: Tables) -> bytes:
    return bytes(tables.get(META, RESUME_KEY) or pair_key(0, 0))


def _waiting(recent: Recent, _: Tables) -> tuple[set[int], set[int], dict[int, int]]:
    """Copy what the tables need not have yet."""
    return (
        set(recent.sessions),
        set(recent.runs),
        {number: number_of(waiting[:8]) for number, waiting in recent.segments.items()},
    )


# --- The log


def _check_log(check: _Check, view: View, last_position: int, progress: Progress | None) -> None:
    position = 1
    after = b""
    while True:
        with view(lambda _, __: None) as (_, tables):
            blocks = list(islice(tables.blocks_from(after + b"\0"), _SLICE))
            for key, block in blocks:
                position = _check_block(check, tables, key, block, position)
                after = key
        if progress is not None:
            progress(min(position - 1, last_position), last_position)
        if len(blocks) < _SLICE or position > last_position:
            break
    if position <= last_position:
        check.note(f"{LOG}: the events from position {position} to {last_position} are missing")


def _check_block(check: _Check, tables: Tables, key: bytes, block: Buffer, position: int) -> int:
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
    found: set[bytes] = set()

    def note(digest: bytes) -> Buffer:
        found.add(digest)
        return EMPTY_VALUE

    # The records first: they tell where the events of a new fork begin.
    with finding(note):
        _check_records(check, key, block, directory)
        for number, first in zip(directory.segments[::4], directory.segments[1::4], strict=True):
            if first > 1 and number not in check.heads:
                # A fork, whose first record was lost and is known from the table.
                check.shared[number] = check.heads[number] = _shared_by(tables, number)
    _check_segments(check, key, block, directory, found)
    if found:
        check.references[key] = found
    return directory.first_position + directory.n_events


def _shared_by(tables: Tables, number: int) -> int:
    try:
        # What the record in the table refers to is not what this block refers to.
        with finding(lambda _: EMPTY_VALUE):
            return tables.session(number).forked_at or 0
    except AsmError:
        return 0


def _check_records(check: _Check, key: bytes, block: Buffer, directory: Directory) -> None:
    owners = set()
    offset = FIRST_BODY + sum(directory.segments[3::4])
    numbers = iter(directory.sessions)
    for number, length in zip(numbers, numbers, strict=True):
        session = _try(check, unpack_session, block[offset : offset + length], key)
        offset += length
        if number in check.erased:
            continue
        if session is not None and session.forked_at is not None and number not in check.sessions:
            check.shared[number] = check.heads[number] = session.forked_at
        check.sessions.add(number)
        owners.add(number)
    numbers = iter(directory.runs)
    for number, owner, length in zip(numbers, numbers, numbers, strict=True):
        _try(check, unpack_run, block[offset : offset + length], key)
        offset += length
        if owner not in check.erased:
            check.runs.add(number)
            owners.add(owner)
    if key < check.resume:
        check.loose.update(number_key(owner) + key for owner in owners.difference(directory.segments[::4]))


def _check_segments(
    check: _Check, key: bytes, block: Buffer, directory: Directory, found: set[bytes]
) -> None:
    offset = FIRST_BODY
    numbers = iter(directory.segments)
    for number, first, count, length in zip(numbers, numbers, numbers, numbers, strict=True):
        blob = block[offset : offset + length]
        offset += length
        if number == NOBODY or number in check.erased:
            check.holes += count
            continue
        expected = check.heads.get(number, 0) + 1
        if first != expected:
            check.note(f"{LOG}: {key.hex()} has sequence number {first} of session {number}, not {expected}")
        check.heads[number] = first + count - 1
        try:
            segment = unpack_segment(blob, LOG, key)
        except AsmError as error:
            check.note(error.message)
            continue
        if (segment.number, segment.first_sequence, len(segment.codes)) != (number, first, count):
            check.note(f"{LOG}: {key.hex()} has another segment at {offset - length} than its directory says")
        holes = holes_in(segment)
        check.events += count - holes
        check.holes += holes
        found.update(large_values_of(segment))


def _try(check: _Check, unpack: Callable[[Buffer, str, object], Any], blob: Buffer, key: object) -> Any:
    try:
        return unpack(blob, LOG, key)
    except AsmError as error:
        check.note(error.message)
        return None


# --- Large payloads


def _check_blobs(check: _Check, tables: Tables) -> None:
    used: set[bytes] = set()
    listed: dict[bytes, set[bytes]] = {}
    pairs: set[bytes] = set()
    for stored, value in tables.cursor(BLOBS):
        key = bytes(stored)
        if len(key) == DIGEST_SIZE:
            check.blobs += 1
            try:
                if digest_of(bytes(unpack_large(value, BLOBS, key))) != key:
                    check.note(f"{BLOBS}: the payload {key.hex()} is another one than its name says")
            except AsmError as error:
                check.note(error.message)
        elif len(key) > DIGEST_SIZE:
            pairs.add(key)
        else:
            listed[key] = {bytes(value[k : k + DIGEST_SIZE]) for k in range(0, len(value), DIGEST_SIZE)}
    for key, found in check.references.items():
        used |= found
        for digest in found:
            if tables.get(BLOBS, digest) is None:
                check.note(f"{BLOBS}: {digest.hex()}, to which {LOG} {key.hex()} refers, is missing")
        if listed.get(key) != found or any(digest + key not in pairs for digest in found):
            check.note(f"{BLOBS}: what {LOG} {key.hex()} refers to is not listed as it is")
    for key in listed.keys() - check.references.keys():
        # A block that came after the log was read is listed, and was not looked at.
        if key < check.resume and not check.erased:
            check.note(f"{BLOBS}: {key.hex()} is listed with payloads, and refers to none")
