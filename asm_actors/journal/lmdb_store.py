"""A journal on disk, in LMDB: opening, committing, settling.

A commit writes one block. What it holds is found through memory until it is settled into the tables, by the
commits that follow or by :meth:`LmdbStore.settle`; ``lmdb_layout`` tells what lies where and why.

One thread commits, settles and syncs. Memory changes under ``_lock`` and only after LMDB has committed, so that
nobody sees what is not there for good.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from threading import RLock
from typing import Final, Literal

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.append import Append, Appended
from asm_actors.journal.lmdb_artifacts import LmdbArtifacts
from asm_actors.journal.lmdb_block import pack_group, unpack_directory
from asm_actors.journal.lmdb_cursors import LmdbCursors
from asm_actors.journal.lmdb_env import Environment, Transaction
from asm_actors.journal.lmdb_errors import system_error
from asm_actors.journal.lmdb_event_search import LmdbEventSearch
from asm_actors.journal.lmdb_known import SAVE_AFTER, KnownIds
from asm_actors.journal.lmdb_large import put_large, stored_forms
from asm_actors.journal.lmdb_layout import BLOBS, LOG, META, pair_key
from asm_actors.journal.lmdb_maintenance import LmdbMaintenance
from asm_actors.journal.lmdb_planning import Planner, load_known, save_known, take_new_ids
from asm_actors.journal.lmdb_presence import check_directory, check_is_there, is_there, sync_directory
from asm_actors.journal.lmdb_recent import SettleBatch
from asm_actors.journal.lmdb_search import LmdbSearch
from asm_actors.journal.lmdb_settle import settle
from asm_actors.journal.lmdb_view import commit_number, counters_after
from asm_actors.journal.lmdb_zones import extend_zones, zoned_until
from asm_actors.journal.placing import Group
from asm_actors.journal.reader_lock import ReaderLock
from asm_actors.journal.store import StoreStatistics
from asm_actors.journal.writer_lock import WriterLock
from asm_actors.serialization import check_integer, invalid

__all__ = ["Durability", "LmdbStore"]

Durability = Literal["commit", "interval", "none"]

_LOGGER: Final = logging.getLogger(__name__)

# Sparse, so a journal of a few events takes a few pages all the same.
_MAP_SIZE: Final = 1 << 30

# Records in memory cost about 1 KB each. Ten thousand sessions that all begin at once fit below this, so their
# burst is written as blocks only and is settled when it is over.
_SETTLE_AFTER: Final = 32_768
_SETTLE_STEP: Final = 2_048
_ALL_SEGMENTS: Final = 1 << 62

# A journal with fewer new ids than this reads them again at the next opening, in some milliseconds.
_WORTH_SAVING: Final = 4_096


class LmdbStore(LmdbSearch, LmdbEventSearch, LmdbMaintenance, LmdbCursors, LmdbArtifacts):
    """A journal in a directory. :class:`asm_actors.journal.store.Store` tells what each method does.

    Args:
        path: the directory; a writer makes it, with access for its user only. Where a journal's file is empty, or gone
            while its lock file is there, opening is ``storage_read_failed``: no new journal takes its place.
        map_size: bytes of address space to begin with; it doubles by itself when it is full.
        max_map_size: bytes beyond which it does not grow; None leaves it to the disk. Erasing, pruning and compacting
            work on a full journal too: the file may exceed this for them, by twice as much and at most by 128 MB.
        readonly: read what another process writes, also while it is writing. Committing is then
            ``invalid_operation``. This needs the right to write ``lock.mdb``, where readers note which pages they read:
            a writer that does not see them uses these pages again, under their eyes. A user without that right is
            refused (``storage_connection_failed``), unless the whole file system is read-only, and reads a copy of
            their own, made by :meth:`backup`.
        durability: ``commit`` syncs every commit to disk before it returns, whatever ``sync`` says. ``interval`` syncs
            where ``sync`` is true and on :meth:`sync`. ``none`` never does. The death of the process loses nothing
            in any of them. A loss of power or a crash of the system may lose what is not synced, and with the last
            two, on a file system that reorders writes, the journal with it: keep backups.
        settle_after: how many records may wait to be settled before commits settle some of them.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        map_size: int = _MAP_SIZE,
        max_map_size: int | None = None,
        readonly: bool = False,
        durability: Durability = "commit",
        settle_after: int = _SETTLE_AFTER,
    ) -> None:
        if durability not in ("commit", "interval", "none"):
            raise AsmError(
                ErrorCode.VALIDATION_ERROR,
                f"durability is 'commit', 'interval' or 'none', not {durability!r}",
            )
        if not isinstance(readonly, bool):
            raise invalid("readonly", "must be true or false", readonly)
        self.path = check_directory(path, "path")
        self._map_size = check_integer(map_size, "map_size", least=1)
        self._max_map_size = None
        if max_map_size is not None:
            self._max_map_size = check_integer(max_map_size, "max_map_size", least=1)
            self._map_size = min(self._map_size, self._max_map_size)
        self._readonly = readonly
        self._durability = durability
        self._settle_after = check_integer(settle_after, "settle_after", least=0)
        self._writer_lock: WriterLock | None = None
        self._reader_lock = ReaderLock(self.path)
        self._writing = RLock()
        self._commits = 0
        self._known = KnownIds()
        super().__init__(f"at {self.path}")

    @property
    def description(self) -> str:
        """What this is and where."""
        return f"LMDB journal at {self.path}{' (read-only)' if self._readonly else ''}"

    def open(self) -> None:
        """Take the writer's lock, open the environment and replay what was not settled."""
        if self._environment is not None:
            self._opened()
            return
        self._forget()
        if self._readonly:
            check_is_there(self.path)
            self._reader_lock.share()
        else:
            # Before anything is made there.
            is_there(self.path)
            self._make_directory()
            lock = WriterLock(self.path)
            lock.acquire()
            self._writer_lock = lock
        try:
            self._pid = os.getpid()
            self._environment = Environment(
                self.path,
                map_size=self._map_size,
                max_map_size=self._max_map_size,
                readonly=self._readonly,
                durable=self._durability == "commit",
            )
            if not self._readonly and self._durability != "none":
                sync_directory(self.path)
            self._follows = True
            with self._view(lambda _, __: None) as (_, tables):
                if not self._readonly:
                    self._recent.reconcile(tables.has_session, tables.has_run, tables.head)
                newest = tables.last_block()
                if newest is not None:
                    self._last_block = newest[0]
                    self._counters = counters_after(unpack_directory(newest[1], LOG, newest[0]))
                if not self._readonly:
                    self._known = load_known(tables, self._recent)
            # From now on this process alone writes, so what it knows is what there is.
            self._follows = self._readonly
            self._commits = 0
            if not self._readonly:
                self._go_on_erasing()
        except OSError as error:
            self._let_go()
            raise system_error(error, f"the journal at {self.path} cannot be opened", self.path) from error
        except BaseException:  # whatever it is goes on up; lock and environment must not stay behind
            self._let_go()
            raise

    def _go_on_erasing(self) -> None:
        try:
            self._finish_erasing()
        except AsmError:
            # A full disk must not keep the journal closed. Nobody sees what is left, and the next opening tries again.
            _LOGGER.exception("what was erased from the journal at %s is still on the disk", self.path)

    def _make_directory(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            what = f"the directory {self.path} for the journal cannot be made"
            raise system_error(error, what, self.path) from error

    def close(self) -> None:
        """Settle, sync and let go."""
        environment = self._environment
        if environment is None:
            return
        if self._pid != os.getpid():
            # A forked child has the parent's environment in its memory, and must not touch the parent's files.
            self._environment = None
            self._writer_lock = None
            return
        try:
            if not self._readonly:
                # Not needed, since opening replays what is left; it makes the next opening quicker.
                self.settle()
                if self._known.n_unsaved >= _WORTH_SAVING:
                    self._save_known(environment)
                if self._durability != "none":
                    environment.sync()
        except AsmError:
            _LOGGER.exception("the journal at %s was closed without settling or syncing", self.path)
        finally:
            self._let_go()

    def _save_known(self, environment: Environment) -> None:
        table = environment.tables[META]
        environment.write(lambda txn: save_known(txn, table, self._known, self._counters))

    def _let_go(self) -> None:
        environment, self._environment = self._environment, None
        if environment is not None:
            environment.close()
        self._reader_lock.release()
        if self._writer_lock is not None:
            self._writer_lock.release()
            self._writer_lock = None
        self._known = KnownIds()
        self._forget()

    def _writable(self) -> Environment:
        environment = self._opened()
        if self._readonly:
            raise AsmError(
                ErrorCode.INVALID_OPERATION, f"the journal at {self.path} is open for reading only"
            )
        return environment

    def commit(self, appends: Sequence[Append], *, sync: bool = True) -> list[Appended | AsmError]:
        """Write a group of appends in one transaction."""
        with self._writing:
            return self._commit(self._writable(), appends, sync=sync)

    def _commit(
        self, environment: Environment, appends: Sequence[Append], *, sync: bool
    ) -> list[Appended | AsmError]:
        with ExitStack() as opened:
            group = Group.plan(Planner(self, self._known, opened), self._counters, appends)
        if group.is_empty:
            return group.answers
        key = pair_key(self._counters.position, commit_number(self._last_block) + 1)
        block = pack_group(group, self._counters.position)
        batch = self._due(len(group.segments) + len(group.sessions) + len(group.runs))
        resume = self._recent.resume_key(key, batch)
        large = stored_forms(group.large)

        def work(txn: Transaction) -> None:
            if not txn.put(key, block, db=environment.tables[LOG], append=True):
                raise AsmError(
                    ErrorCode.STORAGE_WRITE_FAILED,
                    f"something else wrote to the journal at {self.path}: restart",
                )
            if large:
                put_large(txn, environment.tables[BLOBS], large, key)
            if batch is not None:
                settle(txn, environment.tables, batch, resume)
            if self._known.n_unsaved >= SAVE_AFTER:
                save_known(txn, environment.tables[META], self._known, self._counters)

        environment.write(work)
        take_new_ids(self._known, group)
        with self._lock.as_writer():
            if batch is not None:
                self._recent.drop(batch)
            self._recent.take_group(group, key, block)
            self._counters = group.counters
            self._last_block = key
        self._spots.update(group.spots)
        self._commits += 1
        if sync and self._durability == "interval":
            environment.sync()
        return group.answers

    def _due(self, added: int) -> SettleBatch | None:
        """Choose what this commit settles: twice what it adds and a little more, while too much waits."""
        if len(self._recent) <= self._settle_after:
            return None
        return self._recent.oldest(2 * added + self._settle_after // 512)

    def sync(self) -> None:
        """Make every earlier commit survive a loss of power, unless ``durability`` is ``none``."""
        environment = self._writable()
        if self._durability != "none":
            environment.sync()

    def settle(self, limit: int | None = None) -> int:
        """Move recent records into the tables."""
        with self._writing:
            return self._settle(self._writable(), limit)

    def _settle(self, environment: Environment, limit: int | None) -> int:
        left = len(self._recent) if limit is None else limit
        while left > 0 and len(self._recent):
            batch = self._recent.oldest(min(left, _SETTLE_STEP))
            resume = self._recent.resume_key(
                pair_key(self._counters.position, commit_number(self._last_block) + 1), batch
            )
            environment.write(_settling(environment, batch, resume))
            with self._lock.as_writer():
                self._recent.drop(batch)
            left -= len(batch.sessions) + len(batch.runs) + len(batch.segments)
        return len(self._recent) or self._extend_zones(environment, limit)

    def _extend_zones(self, environment: Environment, limit: int | None) -> int:
        """Give zones to what settling left without, and return whether there is more of it, as 1 or 0."""
        until = pair_key(self._counters.position, commit_number(self._last_block) + 1)
        with self._view(lambda _, __: None) as (_, tables):
            if zoned_until(tables) >= until:
                return 0
        segments = _ALL_SEGMENTS if limit is None else limit
        return 1 - environment.write(lambda txn: extend_zones(txn, environment.tables, until, segments))

    def statistics(self) -> StoreStatistics:
        """Return what the store holds."""
        environment = self._opened()
        if self._follows:
            self.last_position()
        used, reserved = environment.sizes()
        position, session, run = self._counters
        return StoreStatistics(
            description=self.description,
            sessions=session - 1,
            runs=run - 1,
            events=position - 1,
            commits=self._commits,
            bytes_used=used,
            bytes_reserved=reserved,
            unsettled=len(self._recent),
        )


def _settling(environment: Environment, batch: SettleBatch, resume: bytes) -> Callable[[Transaction], None]:
    return lambda txn: settle(txn, environment.tables, batch, resume)
