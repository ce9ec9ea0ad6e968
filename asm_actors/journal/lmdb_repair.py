"""Repairing an LMDB journal that nobody has open.

Everything happens in one write transaction: a crash leaves the journal as it was. What is damaged is written into the
quarantine before that transaction is committed. Without damage the transaction is given up, and nothing changes.

LMDB's own pages have no checksums. Where they are damaged, the library refuses to read on, and there is nothing that
could be mended from the rest with confidence: then the answer is the backup.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from asm_actors.errors import AsmError
from asm_actors.journal.lmdb_block import Directory, pack_block
from asm_actors.journal.lmdb_env import Environment, Transaction
from asm_actors.journal.lmdb_layout import (
    COLUMNS,
    LOG,
    LOOSE,
    MARKS,
    MEMBERS,
    META,
    NAMES,
    OPEN,
    RESUME_KEY,
    RUNS,
    SEGMENTS,
    SESSIONS,
    number_of,
    pair_key,
    pair_of,
)
from asm_actors.journal.lmdb_mend_blobs import mend_blobs
from asm_actors.journal.lmdb_mend_log import mend_log
from asm_actors.journal.lmdb_mend_records import (
    mend_by_events,
    mend_lost_runs,
    mend_lost_sessions,
    restore_records,
    take_out_ownerless_runs,
)
from asm_actors.journal.lmdb_mending import Mending
from asm_actors.journal.lmdb_rebuild import (
    forget_known,
    rebuild_indexes,
    rebuild_loose,
    rebuild_members,
    rebuild_run_names,
    rebuild_segments,
    rebuild_session_names,
)
from asm_actors.journal.lmdb_rewrite import next_edition
from asm_actors.journal.lmdb_salvage import counters_before
from asm_actors.journal.packing import finding
from asm_actors.journal.quarantine import set_aside
from asm_actors.journal.store_maintenance import Progress, RepairReport
from asm_actors.journal.writer_lock import WriterLock

__all__ = ["repair"]

_MAP_SIZE: Final = 1 << 30
_END: Final = pair_key((1 << 64) - 1, (1 << 64) - 1)


class _NothingToWrite(Exception):  # noqa: N818 - it is no error
    """Gives the transaction up."""


def repair(path: Path, progress: Progress | None, *, dry_run: bool) -> RepairReport:
    """Set right what can be set right, and say what cannot.

    Args:
        path: the journal's directory; no process has the journal open.
        progress: called with the steps done and the steps there are.
        dry_run: only tell what would be done.

    Raises:
        AsmError: ``journal_locked``, ``not_found``, ``migration_required``; ``storage_read_failed`` if the library
            cannot read the file; ``storage_write_failed``.
    """
    lock = WriterLock(path)
    lock.acquire()
    try:
        environment = Environment(path, map_size=_MAP_SIZE, max_map_size=None, readonly=False, durable=True)
        try:
            return _repair(environment, path, progress, dry_run=dry_run)
        finally:
            environment.close()
    finally:
        lock.release()


def _repair(
    environment: Environment, path: Path, progress: Progress | None, *, dry_run: bool
) -> RepairReport:
    report = RepairReport(dry_run=dry_run)

    def work(txn: Transaction) -> None:
        nonlocal report
        mending = Mending(txn, environment.tables)
        _mend(mending, progress)
        is_damaged = bool(mending.damaged)
        report = RepairReport(
            tuple(mending.mended), tuple(mending.unmended), tuple(mending.lost), None, dry_run
        )
        if dry_run or not (mending.mended or mending.unmended or is_damaged):
            raise _NothingToWrite
        next_edition(txn, environment.tables)
        if is_damaged:
            directory = set_aside(path, mending.damaged)
            report = RepairReport(report.mended, report.unmended, report.lost, str(directory), dry_run)

    try:
        environment.write(work)
    except _NothingToWrite:
        pass
    except AsmError:
        raise
    except Exception as error:  # the library's are translated, all others go on up
        meaning = environment.read_error(error)
        if meaning is None:
            raise
        raise meaning from error
    return report


def _mend(mending: Mending, progress: Progress | None) -> None:
    lost: tuple[set[int], set[int]] = (set(), set())

    def restore() -> None:
        nonlocal lost
        lost = restore_records(mending)

    def sessions() -> None:
        _tell(mending, SEGMENTS, rebuild_segments(mending, _END), "sessions' locators")
        mend_lost_sessions(mending, lost[0])
        _tell(mending, NAMES, rebuild_session_names(mending), "entries of sessions")

    def runs() -> None:
        mend_lost_runs(mending, lost[1])
        take_out_ownerless_runs(mending)
        _tell(mending, NAMES, rebuild_run_names(mending), "entries of runs")
        members, are_open = rebuild_members(mending)
        _tell(mending, MEMBERS, members, "entries")
        _tell(mending, OPEN, are_open, "entries")

    def by_events() -> None:
        before = len(mending.mended)
        mend_by_events(mending)
        if len(mending.mended) > before:
            rebuild_members(mending)

    def indexes() -> None:
        _tell(mending, LOOSE, rebuild_loose(mending, _END), "entries")
        _end(mending)
        if rebuild_indexes(mending):
            mending.tell(f"{MARKS}, {COLUMNS}: built anew from the records")

    steps: list[Callable[[], object]] = [
        lambda: mend_log(mending),
        lambda: mend_blobs(mending),
        restore,
        sessions,
        runs,
        by_events,
        indexes,
    ]
    for done, step in enumerate(steps):
        if progress is not None:
            progress(done, len(steps))
        with finding(mending.tables.fetch_large):
            step()
    if progress is not None:
        progress(len(steps), len(steps))


def _tell(mending: Mending, table: str, wrong: int, what: str) -> None:
    if wrong:
        mending.tell(f"{table}: {wrong} {what} were wrong, and are built anew")


def _end(mending: Mending) -> None:
    """Have the log end with numbers that nothing has, and count all of it as settled."""
    keys = mending.keys(LOG)
    last = keys[-1] if keys else pair_key(0, 0)
    position, sessions, runs = counters_before(mending, _END)
    most = [max((number_of(key) for key in mending.keys(table)), default=0) for table in (SESSIONS, RUNS)]
    if sessions <= most[0] or runs <= most[1]:
        last = pair_key(position, pair_of(last)[1] + 1)
        directory = Directory(position, 0, max(sessions, most[0] + 1), max(runs, most[1] + 1), [], [], [])
        mending.put(LOG, last, pack_block(directory, []))
        mending.tell(f"{LOG}: the next numbers of sessions and runs were behind the records")
    resume = pair_key(position, pair_of(last)[1] + 1)
    if mending.get(META, RESUME_KEY) != resume:
        mending.put(META, RESUME_KEY, resume)
    forget_known(mending)
