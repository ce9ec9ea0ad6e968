"""The one file that knows the LMDB library: opening, transactions, growth, and what its errors mean.

1. A read transaction lives inside one call, so that growing the map, which is only allowed while this process has
   no transaction open, waits for moments and not for users.
2. A write transaction that fails has written nothing.
3. No exception of the library leaves this file.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import lmdb

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal import lmdb_errors
from asm_actors.journal.codec import unreadable
from asm_actors.journal.lmdb_layout import META, SCHEMA_KEY, TABLES
from asm_actors.journal.lmdb_presence import prepare
from asm_actors.journal.lmdb_room import Room, sizes_of
from asm_actors.journal.store import STORE_SCHEMA

__all__ = ["Environment", "Transaction"]

Transaction = Any
"""A transaction of the library: ``get``, ``put``, ``delete``, ``cursor``."""

_T = TypeVar("_T")

_MAX_READERS: Final = 1024
# A line of the processor's cache for each reader, and as much again before them as is surely enough.
_LOCK_SIZE: Final = _MAX_READERS * 64 + 4096
_SPARE_TRANSACTIONS: Final = 16
_ROOM: Final = 256 << 20
_NEW_MAP_SIZE: Final = 1 << 20
_ERASE: Final = "; delete sessions for good or prune events, for which some room is kept"


class Environment:
    """An open LMDB environment with the journal's tables.

    Args:
        path: the directory that holds it.
        map_size: bytes of address space to begin with. The file is sparse: it takes the space that is used.
        max_map_size: bytes beyond which it does not grow, or None to grow as long as the system allows.
        readonly: open for reading only.
        durable: whether each commit waits for the disk.
        may_migrate: open an earlier layout too, to migrate it.

    Attributes:
        schema: the version of the layout that was found.
        tables: the library's handles of the tables, by name.
        room: its bound, and what is kept free for erasing.
    """

    def __init__(
        self,
        path: Path,
        *,
        map_size: int,
        max_map_size: int | None,
        readonly: bool,
        durable: bool,
        may_migrate: bool = False,
    ) -> None:
        self._path = path
        self.room = Room(max_map_size)
        self._readonly = readonly
        # Readers pass a gate that the committer closes while it grows the map.
        self._gate = threading.Condition(threading.Lock())
        # The map may not grow while any transaction of this process is open, so writers go one by one.
        self._write_lock = threading.Lock()
        self._readers = 0
        self._growing = False
        self._durable = durable
        self._env: Any = None
        self.tables: dict[str, Any] = {}
        try:
            prepare(path, None if readonly else self._write_new, durable=durable, lock_size=_LOCK_SIZE)
            self._env = self._begin_library(map_size)
            self._check_size()
            self.schema = self._check_schema(may_migrate=may_migrate)
            self._open_tables()
            # Slots of readers that were killed would keep old pages from being used again.
            self._env.reader_check()
            if not readonly and self.schema == STORE_SCHEMA:
                self.write(self.write_schema)
        except lmdb.Error as error:
            self.close()
            raise _opening_error(path, error, readonly) from error
        except OSError as error:
            self.close()
            raise lmdb_errors.system_error(error, f"the journal at {path} cannot be opened", path) from error
        except AsmError:
            self.close()
            raise

    def _begin_library(self, map_size: int) -> Any:
        return lmdb.open(
            str(self._path),
            map_size=map_size,
            max_dbs=len(TABLES),
            max_readers=_MAX_READERS,
            max_spare_txns=_SPARE_TRANSACTIONS,
            readonly=self._readonly,
            create=not self._readonly,
            mode=0o600,
            # Without these LMDB leaves the order of writes to the system. The journal then survives the death of the
            # process at any instant, but not for certain a loss of power.
            sync=self._durable,
            metasync=self._durable,
        )

    def _write_new(self, file: Path) -> None:
        """Write a journal without anything, in one transaction."""
        env = lmdb.open(
            str(file),
            map_size=_NEW_MAP_SIZE,
            subdir=False,
            lock=False,
            max_dbs=len(TABLES),
            mode=0o600,
            sync=self._durable,
            metasync=self._durable,
        )
        try:
            with env.begin(write=True) as txn:
                tables = {name: env.open_db(name.encode(), txn=txn) for name in TABLES}
                txn.put(SCHEMA_KEY, STORE_SCHEMA.to_bytes(4, "big"), db=tables[META])
        finally:
            env.close()

    def _open_tables(self) -> None:
        for name in TABLES:
            self.tables[name] = self._env.open_db(name.encode(), create=not self._readonly)

    def close(self) -> None:
        """Let go of the environment once no reader is inside."""
        if self._env is None:
            return
        self._growing = True
        with self._gate:
            self._gate.wait_for(lambda: self._readers == 0)
            self._env.close()
            self._env = None
            self._growing = False
            self._gate.notify_all()

    def _check_size(self) -> None:
        # Reading a page beyond the end of a mapped file kills the process, so a cut file is refused here.
        file = self._path / "data.mdb"
        needed, size = sizes_of(self._env)
        if file.stat().st_size < min(needed, size) and self._env.stat()["entries"]:
            raise AsmError(
                ErrorCode.STORAGE_READ_FAILED,
                f"{file} is cut short: {needed} bytes are in use, it has {file.stat().st_size}. Restore it from a "
                "backup; nothing was changed",
                details={"path": str(file)},
            )

    def _check_schema(self, *, may_migrate: bool) -> int:
        """Return the version of the layout, the present one for an empty environment."""
        with self._env.begin() as txn:
            names = [bytes(key) for key in txn.cursor().iternext(values=False)]
        if not names and self._readonly:
            raise lmdb_errors.absent(self._path)
        if not names:
            return STORE_SCHEMA
        if META.encode() not in names:
            raise lmdb_errors.no_journal(self._path)
        meta = self._env.open_db(META.encode(), create=False)
        with self._env.begin(db=meta) as txn:
            stored = txn.get(SCHEMA_KEY)
        if stored is None and not self._readonly:
            return STORE_SCHEMA
        version = lmdb_errors.layout_of(stored or b"", self._path, may_migrate=may_migrate)
        if version is None:
            raise unreadable(META, SCHEMA_KEY, "there is no layout 0")
        return version

    def write_schema(self, txn: Transaction) -> None:
        """Note the present version of the layout, if another one or none is noted."""
        present = STORE_SCHEMA.to_bytes(4, "big")
        if txn.get(SCHEMA_KEY, db=self.tables[META]) != present:
            txn.put(SCHEMA_KEY, present, db=self.tables[META])

    def begin_reading(self) -> Transaction:
        """Open a snapshot of what is committed; its values are views that end with it.

        Every snapshot is given back with :meth:`end_reading`, by a caller that meanwhile waits for nothing.

        Raises:
            StorageError: ``storage_connection_failed`` if the environment is closed.
        """
        self._enter()
        try:
            return self._begin()
        except BaseException:  # whatever it is goes on up; the reader it counted is not there
            self._leave()
            raise

    def _enter(self) -> None:
        with self._gate:
            self._gate.wait_for(lambda: not self._growing)
            if self._env is None:
                raise lmdb_errors.closed(str(self._path))
            self._readers += 1

    def _begin(self) -> Transaction:
        while True:
            try:
                return self._env.begin(buffers=True)
            except lmdb.MapResizedError:
                # Another process wrote beyond the size this one has mapped; 0 takes that size over.
                self._resize(0, inside=1)

    def end_reading(self, txn: Transaction) -> None:
        """Give a snapshot back."""
        txn.abort()
        self._leave()

    def _leave(self) -> None:
        with self._gate:
            self._readers -= 1
            if self._growing:
                self._gate.notify_all()

    def read_error(self, error: Exception) -> AsmError | None:
        """Return what a failure while reading means; None if it is not the library's."""
        return self._read_error(error) if isinstance(error, lmdb.Error) else None

    def _read_error(self, error: lmdb.Error) -> AsmError:
        return AsmError(
            ErrorCode.STORAGE_READ_FAILED,
            f"the journal at {self._path} cannot be read: {error}. If its file is damaged, restore it from a backup",
            details={"original_exception": type(error).__name__},
        )

    def write(self, work: Callable[[Transaction], _T]) -> _T:
        """Run ``work`` in one write transaction and commit it; grow the map and run it again if it was full.

        Raises:
            StorageError: ``storage_write_failed``: nothing was written.
        """
        with self._write_lock:
            if self._env is None:
                raise lmdb_errors.closed(str(self._path))
            while True:
                try:
                    is_tight = self.room.tighten(self._env, self._resize)
                    with self._env.begin(write=True) as txn:
                        done = work(txn)
                        if is_tight and self.room.is_exceeded(txn, self.tables):
                            raise lmdb.MapFullError("no free pages are left within its bound")
                    return done
                except lmdb.MapFullError as error:
                    self._grow(error)
                except lmdb.MapResizedError:
                    self._resize(0)
                except (lmdb.CorruptedError, lmdb.PageNotFoundError) as error:
                    raise self._read_error(error) from error
                except lmdb.Error as error:
                    raise self._write_error(error) from error

    def sync(self) -> None:
        """Make everything committed durable.

        Raises:
            StorageError: ``storage_write_failed``.
        """
        if self._env is None:
            raise lmdb_errors.closed(str(self._path))
        try:
            self._env.sync(True)
        except lmdb.Error as error:
            raise self._write_error(error) from error

    def _grow(self, cause: lmdb.Error) -> None:
        size = self._env.info()["map_size"]
        larger = self.room.larger(size)
        if larger <= size:
            raise self._write_error(
                cause, f"its size is limited to {self.room.bound} bytes{_ERASE}"
            ) from cause
        try:
            self._resize(larger)
        except (lmdb.Error, OverflowError, OSError) as error:
            raise self._write_error(error, f"it cannot grow from {size} to {larger} bytes") from error

    def _resize(self, size: int, inside: int = 0) -> None:
        """Set the size of the map; 0 takes over the size that another process gave it."""
        # This is set before the gate is taken: readers that come and go all the time would else keep it for long.
        self._growing = True
        with self._gate:
            try:
                self._gate.wait_for(lambda: self._readers <= inside)
                self._env.set_mapsize(size)
            finally:
                self._growing = False
                self._gate.notify_all()

    def copy(self, directory: Path, *, compact: bool) -> None:
        """Write a snapshot of everything into an empty directory.

        The map cannot grow meanwhile, so it is given room first: a commit that fills it would have to wait.

        Raises:
            StorageError: ``storage_write_failed``.
        """
        used, size = self.sizes()
        wanted = 2 * used + _ROOM
        if not self._readonly and size < wanted and (self.room.bound or wanted) >= wanted:
            with self._write_lock:
                self._resize(wanted)
        self._enter()
        try:
            self._env.copy(str(directory), compact=compact)
        except lmdb.Error as error:
            raise lmdb_errors.uncopied(self._path, directory, error) from error
        finally:
            self._leave()

    def take_over(self, file: Path) -> None:
        """Put another data file in the place of this environment's, and go on with that one.

        Readers and writers of this process wait meanwhile; there may be none in other processes.

        Raises:
            StorageError: ``storage_write_failed``: the old file is in its place still.
        """
        # As for growing: readers that come and go all the time must not keep the gate.
        self._growing = True
        with self._write_lock, self._gate:
            try:
                self._gate.wait_for(lambda: self._readers == 0)
                size = self._env.info()["map_size"]
                self._env.close()
                self._env = None
                try:
                    file.replace(self._path / "data.mdb")
                finally:
                    self._env = self._begin_library(size)
                    self._open_tables()
            except (lmdb.Error, OSError) as error:
                raise self._write_error(error) from error
            finally:
                self._growing = False
                self._gate.notify_all()

    def _write_error(self, error: Exception, why: str | None = None) -> AsmError:
        return AsmError(
            ErrorCode.STORAGE_WRITE_FAILED,
            f"nothing was written to the journal at {self._path}: {why or error}{lmdb_errors.advice(error)}",
            details={"original_exception": type(error).__name__, "original_message": str(error)},
            retryable=lmdb_errors.is_full(error),
        )

    def sizes(self) -> tuple[int, int]:
        """Return the bytes in use, and the bytes of the map.

        Raises:
            StorageError: ``storage_connection_failed``: it is closed.
        """
        self._enter()  # it must not be closed, nor its map be moved, while somebody looks
        try:
            return sizes_of(self._env)
        finally:
            self._leave()


def _opening_error(path: Path, error: Exception, readonly: bool) -> AsmError:
    details = {"path": str(path), "original_exception": type(error).__name__, "original_message": str(error)}
    text = str(error)
    if readonly and isinstance(error, lmdb.NotFoundError):
        return lmdb_errors.absent(path)
    if isinstance(error, lmdb.VersionMismatchError):
        return AsmError(
            ErrorCode.MIGRATION_REQUIRED,
            f"another version of LMDB wrote the journal at {path}: use a release with that version ({text})",
            details=details,
        )
    if isinstance(
        error, lmdb.InvalidError | lmdb.CorruptedError | lmdb.IncompatibleError | lmdb.PageNotFoundError
    ):
        return AsmError(
            ErrorCode.STORAGE_READ_FAILED,
            f"{path / 'data.mdb'} is damaged or no LMDB file: restore it from a backup; nothing was changed ({text})",
            details=details,
        )
    if "already open" in text:
        return AsmError(
            ErrorCode.JOURNAL_LOCKED,
            f"this process has the journal at {path} open already: share that store instead of opening it twice",
            details={**details, "pid": os.getpid()},
        )
    return lmdb_errors.unopened(error, path, readonly=readonly)
