"""Building the indexes of searches anew, from the records and the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from asm_actors.journal.codec import unpack_run, unpack_session, unreadable
from asm_actors.journal.lmdb_env import Transaction
from asm_actors.journal.lmdb_indexing import Indexing
from asm_actors.journal.lmdb_layout import (
    COLUMNS,
    MARKS,
    META,
    NAMES,
    RESUME_KEY,
    RUN_ID,
    RUNS,
    SESSIONS,
    ZONED_KEY,
    ZONES,
    name_key,
    number_of,
    pair_of,
)
from asm_actors.journal.lmdb_zones import extend_zones

__all__ = ["build_search_indexes"]

_STEP: Final = 4096


def build_search_indexes(
    txn: Transaction, tables: Mapping[str, Any], progress: Callable[[int, int], None] | None = None
) -> None:
    """Build marks, columns and zones anew from what is settled; what they held before is dropped.

    The tables ``sessions``, ``runs``, ``members``, ``names`` and ``log`` must be there, and ``meta/resume``: what lies
    in blocks from there on is not settled, and gets its indexes when it is. Repeating it changes nothing more.

    Args:
        txn: a write transaction of the whole environment. Its values may be views or copies.
        tables: the handles of all tables, by name, as ``Environment.tables`` holds them.
        progress: called now and then with the records read so far and the records there are.

    Raises:
        StorageError: ``storage_read_failed``: a record cannot be read; the transaction must then be given up.
    """
    for table in (MARKS, COLUMNS, ZONES):
        txn.drop(tables[table], delete=False)
    txn.delete(ZONED_KEY, db=tables[META])
    total = txn.stat(tables[SESSIONS])["entries"] + txn.stat(tables[RUNS])["entries"]
    done = 0
    indexing = Indexing(txn, tables)
    for key, blob in txn.cursor(tables[SESSIONS]).iternext():
        number = number_of(key)
        indexing.session(number, None, unpack_session(blob, SESSIONS, number))
        done, indexing = _step(done, total, indexing, Indexing(txn, tables), progress)
    for key, blob in txn.cursor(tables[RUNS]).iternext():
        number = number_of(key)
        run = unpack_run(blob, RUNS, number)
        names = txn.get(name_key(RUN_ID, run.id), db=tables[NAMES])
        if names is None:
            raise unreadable(NAMES, run.id, "it is missing")
        indexing.run(number, pair_of(names)[1], None, run)
        done, indexing = _step(done, total, indexing, Indexing(txn, tables), progress)
    indexing.write()
    resume = txn.get(RESUME_KEY, db=tables[META])
    if resume is not None:
        while not extend_zones(txn, tables, bytes(resume), _STEP):
            pass
    if progress is not None:
        progress(total, total)


def _step(
    done: int,
    total: int,
    indexing: Indexing,
    fresh: Indexing,
    progress: Callable[[int, int], None] | None,
) -> tuple[int, Indexing]:
    """Count one record, and write what is gathered now and then."""
    done += 1
    if done % _STEP:
        return done, indexing
    indexing.write()
    if progress is not None:
        progress(done, total)
    return done, fresh
