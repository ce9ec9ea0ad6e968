"""Building the tables anew that follow from the log and from the records; each says how much of it was wrong.

A migration needs some of these, and a repair all. Each works in the caller's write transaction and leaves entries that
are right alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from asm_actors.journal.codec import unpack_run, unpack_session
from asm_actors.journal.holes import NOBODY
from asm_actors.journal.large import EMPTY_VALUE
from asm_actors.journal.lmdb_block import FIRST_BODY, unpack_directory
from asm_actors.journal.lmdb_layout import (
    COLUMNS,
    KNOWN_KEY,
    LOCATOR_SIZE,
    LOG,
    LOOSE,
    MARKS,
    MEMBERS,
    META,
    NAMES,
    OPEN,
    RUN_ID,
    RUN_KEY,
    RUNS,
    SEGMENTS,
    SESSION_ID,
    SESSION_KEY,
    SESSIONS,
    name_key,
    number_key,
    number_of,
    pack_locator,
    pair_key,
)
from asm_actors.journal.lmdb_mending import Mending, readable
from asm_actors.journal.lmdb_search_build import build_search_indexes
from asm_actors.journal.packing import finding

__all__ = [
    "forget_known",
    "rebuild_indexes",
    "rebuild_loose",
    "rebuild_members",
    "rebuild_run_names",
    "rebuild_segments",
    "rebuild_session_names",
]

_LOCATOR_BYTES: Final = 64 * LOCATOR_SIZE


def rebuild_segments(mending: Mending, until: bytes) -> int:
    """Have the locators of every session lead to its events in the log; returns how many sessions' were wrong.

    Args:
        mending: the transaction.
        until: the first block that is not settled.
    """
    located: dict[int, bytearray] = {}
    gone = mending.erased()
    for key, block in mending.txn.cursor(mending.handles[LOG]):
        if bytes(key) >= until:
            break
        directory = unpack_directory(block, LOG, key)
        offset, position = FIRST_BODY, directory.first_position
        numbers = iter(directory.segments)
        for number, first, count, length in zip(numbers, numbers, numbers, numbers, strict=True):
            if number != NOBODY and number not in gone:
                located.setdefault(number, bytearray()).extend(
                    pack_locator(first, count, position, bytes(key), offset, length)
                )
            offset += length
            position += count
    stored: dict[int, bytearray] = {}
    broken: set[int] = set()
    for key, value in mending.txn.cursor(mending.handles[SEGMENTS]):
        number = number_of(key[:8])
        if bytes(key[8:]) != bytes(value[:8]):
            broken.add(number)
        stored.setdefault(number, bytearray()).extend(value)
    wrong = {n for n in located.keys() | stored.keys() if located.get(n) != stored.get(n)} | broken
    if wrong:
        for key in mending.keys(SEGMENTS):
            if number_of(key[:8]) in wrong:
                mending.delete(SEGMENTS, key)
        for number in sorted(wrong & located.keys()):
            locators = located[number]
            for begin in range(0, len(locators), _LOCATOR_BYTES):
                part = bytes(locators[begin : begin + _LOCATOR_BYTES])
                mending.put(SEGMENTS, number_key(number) + part[:8], part)
    return len(wrong)


def rebuild_loose(mending: Mending, until: bytes) -> int:
    """List the blocks that hold records of a session, but no events of it; returns how many entries were wrong."""
    expected: set[bytes] = set()
    gone = mending.erased()
    for key, block in mending.txn.cursor(mending.handles[LOG]):
        if bytes(key) >= until:
            break
        directory = unpack_directory(block, LOG, key)
        owners = {*directory.sessions[::2], *directory.runs[1::3]} - {*directory.segments[::4]}
        expected.update(number_key(owner) + bytes(key) for owner in owners - gone)
    return _replace(mending, LOOSE, expected)


def _replace(mending: Mending, table: str, expected: set[bytes]) -> int:
    """Have a table hold exactly these keys, without values."""
    found = set(mending.keys(table))
    for key in found - expected:
        mending.delete(table, key)
    for key in sorted(expected - found):
        mending.put(table, key, b"")
    return len(found ^ expected)


def rebuild_session_names(mending: Mending) -> int:
    """Have the id and the key of every session lead to it; returns how many entries were wrong."""
    expected: dict[bytes, bytes] = {}
    for key, blob in mending.txn.cursor(mending.handles[SESSIONS]):
        session = readable(unpack_session, blob, SESSIONS, number_of(key))
        expected[name_key(SESSION_ID, session.id)] = bytes(key)
        if session.idempotency_key is not None:
            expected.setdefault(name_key(SESSION_KEY, session.idempotency_key), bytes(key))
    return _rename(mending, expected, (SESSION_ID, SESSION_KEY))


def rebuild_run_names(mending: Mending) -> int:
    """Likewise for runs; the sessions' names must be right by now."""
    expected: dict[bytes, bytes] = {}
    for key, blob in mending.txn.cursor(mending.handles[RUNS]):
        run = readable(unpack_run, blob, RUNS, number_of(key))
        session = mending.get(NAMES, name_key(SESSION_ID, run.session_id))
        if session is None:
            continue  # it belongs to nobody, which is told elsewhere
        expected[name_key(RUN_ID, run.id)] = bytes(key) + session
        if run.idempotency_key is not None:
            expected.setdefault(name_key(RUN_KEY, run.idempotency_key, number_of(session)), bytes(key))
    return _rename(mending, expected, (RUN_ID, RUN_KEY))


def _rename(mending: Mending, expected: dict[bytes, bytes], kinds: Iterable[bytes]) -> int:
    wrong = 0
    for key in mending.keys(NAMES):
        if key[:1] in kinds and key not in expected:
            mending.delete(NAMES, key)
            wrong += 1
    for key, value in sorted(expected.items()):
        if mending.get(NAMES, key) != value:
            mending.put(NAMES, key, value)
            wrong += 1
    return wrong


def rebuild_members(mending: Mending) -> tuple[int, int]:
    """List the runs of every session, and which of them are open; returns how many entries of each were wrong."""
    members: set[bytes] = set()
    are_open: set[bytes] = set()
    for key, blob in mending.txn.cursor(mending.handles[RUNS]):
        run = readable(unpack_run, blob, RUNS, number_of(key))
        named = mending.get(NAMES, name_key(RUN_ID, run.id))
        if named is None:
            continue
        member = pair_key(number_of(named[8:16]), number_of(key))
        members.add(member)
        if not run.is_terminal:
            are_open.add(member)
    return _replace(mending, MEMBERS, members), _replace(mending, OPEN, are_open)


def rebuild_indexes(mending: Mending) -> bool:
    """Build marks, columns and zones anew; tells whether marks or columns were wrong.

    Zones are cut as the log was settled, so two journals with the same events may have others.
    """
    before = _fingerprint(mending)
    with finding(lambda _: EMPTY_VALUE):
        build_search_indexes(mending.txn, mending.handles)
    return _fingerprint(mending) != before


def _fingerprint(mending: Mending) -> bytes:
    hashed = blake2b(digest_size=16)
    for table in (MARKS, COLUMNS):
        for key, value in mending.txn.cursor(mending.handles[table]):
            hashed.update(b"%d %d " % (len(key), len(value)))
            hashed.update(key)
            hashed.update(value)
    return hashed.digest()


def forget_known(mending: Mending) -> None:
    """Have the filter of known ids built anew at the next opening."""
    for key in mending.keys(META):
        if key.startswith(KNOWN_KEY):
            mending.delete(META, key)
