"""Moving what was committed into the tables that answer queries.

All functions run inside the write transaction of a commit, or of one of their own. A record's old version is read
from its table, so that only marks which really change are touched; marks of one chunk are changed together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final

from asm_actors.errors import AsmError
from asm_actors.journal.codec import unpack_run, unpack_session
from asm_actors.journal.lmdb_env import Transaction
from asm_actors.journal.lmdb_layout import (
    CHUNK,
    LOCATOR_SIZE,
    MARKS,
    MEMBERS,
    META,
    NAMES,
    RESUME_KEY,
    RUN_ID,
    RUN_KEY,
    RUNS,
    SEGMENTS,
    SESSION_ID,
    SESSION_KEY,
    SESSIONS,
    facets_of_run,
    facets_of_session,
    mark_key,
    name_key,
    number_key,
    pair_key,
)
from asm_actors.journal.lmdb_recent import SettleBatch

__all__ = ["settle"]

_LOCATOR_BYTES: Final = 64 * LOCATOR_SIZE
_MARK_BYTES: Final = CHUNK // 8


def settle(txn: Transaction, tables: Mapping[str, Any], batch: SettleBatch, resume: bytes) -> None:
    """Write a batch into the tables.

    Args:
        txn: the write transaction.
        tables: the handles of the tables.
        batch: what to write.
        resume: the key of the first block that the journal must be replayed from afterwards.
    """
    marks = _Marks()
    _settle_sessions(txn, tables, batch, marks)
    _settle_runs(txn, tables, batch, marks)
    for number, locators in sorted(batch.segments.items()):
        # A reader unpacks a whole value to find one locator in it, hence the bound.
        for begin in range(0, len(locators), _LOCATOR_BYTES):
            part = locators[begin : begin + _LOCATOR_BYTES]
            # A locator starts with its first sequence number, as the key ends with it.
            txn.put(number_key(number) + part[:8], part, db=tables[SEGMENTS])
    marks.write(txn, tables[MARKS])
    txn.put(RESUME_KEY, resume, db=tables[META])


def _settle_sessions(txn: Transaction, tables: Mapping[str, Any], batch: SettleBatch, marks: _Marks) -> None:
    names: list[tuple[bytes, bytes]] = []
    for number, entry in sorted(batch.sessions.items()):
        key = number_key(number)
        session = entry.record
        before: frozenset[bytes] = frozenset()
        if entry.is_new:
            names.append((name_key(SESSION_ID, session.id), key))
            if session.idempotency_key is not None:
                names.append((name_key(SESSION_KEY, session.idempotency_key), key))
        else:
            before = _facets_before(unpack_session, facets_of_session, txn, tables[SESSIONS], number)
        txn.put(key, entry.blob, db=tables[SESSIONS])
        marks.move(number, before, facets_of_session(session))
    for name, value in sorted(names):
        txn.put(name, value, db=tables[NAMES])


def _settle_runs(txn: Transaction, tables: Mapping[str, Any], batch: SettleBatch, marks: _Marks) -> None:
    names: list[tuple[bytes, bytes]] = []
    for number, entry in sorted(batch.runs.items()):
        key = number_key(number)
        run = entry.record
        before: frozenset[bytes] = frozenset()
        if entry.is_new:
            names.append((name_key(RUN_ID, run.id), pair_key(number, entry.owner)))
            if run.idempotency_key is not None:
                names.append((name_key(RUN_KEY, run.idempotency_key, entry.owner), key))
            txn.put(pair_key(entry.owner, number), b"", db=tables[MEMBERS])
        else:
            before = _facets_before(unpack_run, facets_of_run, txn, tables[RUNS], number)
        txn.put(key, entry.blob, db=tables[RUNS])
        marks.move(number, before, facets_of_run(run))
    for name, value in sorted(names):
        txn.put(name, value, db=tables[NAMES])


def _facets_before(
    unpack: Callable[..., Any],
    facets: Callable[[Any], frozenset[bytes]],
    txn: Transaction,
    table: Any,
    number: int,
) -> frozenset[bytes]:
    try:
        return facets(unpack(txn.get(number_key(number), db=table) or b"", "", number))
    except AsmError:
        # The old version is damaged, and the new one replaces it: that must not stop the journal. Its marks cannot
        # be told any more; one left behind does no harm, since queries look at the record that they find by it.
        return frozenset()


class _Marks:
    """Changes to bit sets, gathered by chunk."""

    def __init__(self) -> None:
        self._set: defaultdict[tuple[bytes, int], int] = defaultdict(int)
        self._clear: defaultdict[tuple[bytes, int], int] = defaultdict(int)

    def move(self, number: int, before: frozenset[bytes], after: frozenset[bytes]) -> None:
        """Note that ``number`` leaves the facets ``before`` for those of ``after``."""
        chunk, bit = divmod(number, CHUNK)
        for facet in after - before:
            self._set[facet, chunk] |= 1 << bit
        for facet in before - after:
            self._clear[facet, chunk] |= 1 << bit

    def write(self, txn: Transaction, table: Any) -> None:
        """Bring the changes into the table; a chunk without marks leaves it."""
        for facet, chunk in sorted(self._set.keys() | self._clear.keys()):
            key = mark_key(facet, chunk)
            stored = txn.get(key, db=table)
            bits = 0 if stored is None else int.from_bytes(stored, "little")
            bits = (bits & ~self._clear[facet, chunk]) | self._set[facet, chunk]
            if bits:
                txn.put(key, bits.to_bytes(_MARK_BYTES, "little"), db=table)
            elif stored is not None:
                txn.delete(key, db=table)
