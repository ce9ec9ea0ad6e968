"""Moving what was committed into the tables that answer queries.

All functions run inside the write transaction of a commit, or of one of their own. A record's old version is read
from its table, so that only marks which really change are touched; marks of one chunk are changed together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from asm_actors.errors import AsmError
from asm_actors.journal.codec import unpack_run, unpack_session
from asm_actors.journal.large import EMPTY_VALUE
from asm_actors.journal.lmdb_env import Transaction
from asm_actors.journal.lmdb_indexing import Indexing
from asm_actors.journal.lmdb_layout import (
    LOCATOR_SIZE,
    LOOSE,
    MEMBERS,
    META,
    NAMES,
    OPEN,
    RESUME_KEY,
    RUN_ID,
    RUN_KEY,
    RUNS,
    SEGMENTS,
    SESSION_ID,
    SESSION_KEY,
    SESSIONS,
    name_key,
    number_key,
    pair_key,
)
from asm_actors.journal.lmdb_recent import SettleBatch
from asm_actors.journal.lmdb_zones import extend_zones
from asm_actors.journal.packing import finding

__all__ = ["settle"]

_LOCATOR_BYTES: Final = 64 * LOCATOR_SIZE
_ZONE_SEGMENTS: Final = 64


def settle(txn: Transaction, tables: Mapping[str, Any], batch: SettleBatch, resume: bytes) -> None:
    """Write a batch into the tables.

    Args:
        txn: the write transaction.
        tables: the handles of the tables.
        batch: what to write.
        resume: the key of the first block that the journal must be replayed from afterwards.
    """
    indexing = Indexing(txn, tables)
    # Large fields make no index.
    with finding(lambda _: EMPTY_VALUE):
        _settle_sessions(txn, tables, batch, indexing)
        _settle_runs(txn, tables, batch, indexing)
        indexing.write()
    for entry in sorted(batch.loose):
        txn.put(entry, b"", db=tables[LOOSE])
    for number, locators in sorted(batch.segments.items()):
        # A reader unpacks a whole value to find one locator in it, hence the bound.
        for begin in range(0, len(locators), _LOCATOR_BYTES):
            part = locators[begin : begin + _LOCATOR_BYTES]
            # A locator starts with its first sequence number, as the key ends with it.
            txn.put(number_key(number) + part[:8], part, db=tables[SEGMENTS])
    txn.put(RESUME_KEY, resume, db=tables[META])
    # Twice what is settled keeps up with what is written, since each segment is settled once.
    extend_zones(
        txn, tables, resume, _ZONE_SEGMENTS + 2 * sum(map(len, batch.segments.values())) // LOCATOR_SIZE
    )


def _settle_sessions(
    txn: Transaction, tables: Mapping[str, Any], batch: SettleBatch, indexing: Indexing
) -> None:
    names: list[tuple[bytes, bytes]] = []
    for number, entry in sorted(batch.sessions.items()):
        key = number_key(number)
        session = entry.record
        before = None
        if entry.is_new:
            names.append((name_key(SESSION_ID, session.id), key))
            if session.idempotency_key is not None:
                names.append((name_key(SESSION_KEY, session.idempotency_key), key))
        else:
            before = _before(unpack_session, txn, tables[SESSIONS], number)
        txn.put(key, entry.blob, db=tables[SESSIONS])
        indexing.session(number, before, session)
    for name, value in sorted(names):
        txn.put(name, value, db=tables[NAMES])


def _settle_runs(txn: Transaction, tables: Mapping[str, Any], batch: SettleBatch, indexing: Indexing) -> None:
    names: list[tuple[bytes, bytes]] = []
    for number, entry in sorted(batch.runs.items()):
        key = number_key(number)
        run = entry.record
        before = None
        if entry.is_new:
            names.append((name_key(RUN_ID, run.id), pair_key(number, entry.owner)))
            if run.idempotency_key is not None:
                names.append((name_key(RUN_KEY, run.idempotency_key, entry.owner), key))
            txn.put(pair_key(entry.owner, number), b"", db=tables[MEMBERS])
        else:
            before = _before(unpack_run, txn, tables[RUNS], number)
        if not run.is_terminal:
            txn.put(pair_key(entry.owner, number), b"", db=tables[OPEN])
        elif not entry.is_new:
            txn.delete(pair_key(entry.owner, number), db=tables[OPEN])
        txn.put(key, entry.blob, db=tables[RUNS])
        indexing.run(number, entry.owner, before, run)
    for name, value in sorted(names):
        txn.put(name, value, db=tables[NAMES])


def _before(unpack: Callable[..., Any], txn: Transaction, table: Any, number: int) -> Any:
    """Read the settled version of a record."""
    try:
        return unpack(txn.get(number_key(number), db=table) or b"", "", number)
    except AsmError:
        # The old version is damaged, and the new one replaces it: that must not stop the journal. Its marks cannot
        # be told any more; one left behind does no harm, since queries look at the record that they find by it.
        return None
