"""Bringing an LMDB journal of an earlier layout to the present one, in its place.

Each layout only adds tables that follow from what was there, so all of them are built in one write transaction that
also notes the new version. A crash leaves the earlier layout, and migrating begins anew; there is nothing to clean up.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from asm_actors.journal.lmdb_env import Environment, Transaction
from asm_actors.journal.lmdb_layout import META, RESUME_KEY, RUNS, SESSIONS, pair_key
from asm_actors.journal.lmdb_mending import Mending
from asm_actors.journal.lmdb_presence import check_directory, check_is_there
from asm_actors.journal.lmdb_rebuild import rebuild_indexes, rebuild_loose, rebuild_members
from asm_actors.journal.store import STORE_SCHEMA
from asm_actors.journal.store_maintenance import MigrateReport, Progress
from asm_actors.journal.writer_lock import WriterLock

__all__ = ["migrate"]

_MAP_SIZE: Final = 1 << 30
_STEPS: Final = 4


def migrate(path: str | os.PathLike[str], progress: Progress | None = None) -> MigrateReport:
    """Bring a journal to the layout of this release; one that has it already stays as it is.

    Args:
        path: the journal's directory; no process has the journal open.
        progress: called with the steps done and the steps there are.

    Raises:
        AsmError: ``not_found``; ``journal_locked``; ``migration_required`` if a later release wrote it;
            ``storage_read_failed`` if something in it cannot be read: then it has to be repaired by the release that
            wrote it, or restored from a backup; ``storage_write_failed``. The journal is as before then.
    """
    directory = check_directory(path, "path")
    check_is_there(directory)
    lock = WriterLock(directory)
    lock.acquire()
    try:
        environment = Environment(
            directory, map_size=_MAP_SIZE, max_map_size=None, readonly=False, durable=True, may_migrate=True
        )
        try:
            before = environment.schema

            def work(txn: Transaction) -> tuple[int, int]:
                if before < STORE_SCHEMA:
                    _add_tables(Mending(txn, environment.tables), progress)
                    environment.write_schema(txn)
                sessions, runs = (
                    txn.stat(environment.tables[table])["entries"] for table in (SESSIONS, RUNS)
                )
                return sessions, runs

            sessions, runs = environment.write(work)
        finally:
            environment.close()
    finally:
        lock.release()
    if progress is not None:
        progress(_STEPS, _STEPS)
    return MigrateReport(str(directory), before, STORE_SCHEMA, sessions, runs)


def _add_tables(mending: Mending, progress: Progress | None) -> None:
    """Build what layout 1 does not have. What is not settled gets there when it is."""
    resume = mending.get(META, RESUME_KEY) or pair_key(0, 0)
    steps: list[Callable[[], object]] = [
        lambda: rebuild_members(mending),
        lambda: rebuild_loose(mending, resume),
        lambda: rebuild_indexes(mending),
    ]
    for done, step in enumerate(steps):
        if progress is not None:
            progress(done, _STEPS)
        step()
