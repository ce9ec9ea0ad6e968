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
from asm_actors.journal.codec import unreadable
from asm_actors.journal.lmdb_errors import absent, advice, closed
from asm_actors.journal.lmdb_layout import META, SCHEMA_KEY, TABLES
from asm_actors.journal.store import STORE_SCHEMA

__all__ = ["Environment", "Transaction"]

Transaction = Any
"""A transaction of the library: ``get``, ``put``, ``delete``, ``cursor``."""

_T = TypeVar("_T")

_MAX_READERS: Final = 1024
_SPARE_TRANSACTIONS: Final = 16
_ROOM: Final = 256 << 20


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
        self._max_map_size = max_map_size
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
        needed = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]
        if file.stat().st_size < min(needed, self._env.info()["map_size"]) and self._env.stat()["entries"]:
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
            raise absent(self._path)
        if not names:
            return STORE_SCHEMA
        if META.encode() not in names:
            raise AsmError(
                ErrorCode.STORAGE_READ_FAILED,
                f"{self._path} holds an LMDB database that is no journal: choose another directory",
                details={"path": str(self._path)},
            )
        meta = self._env.open_db(META.encode(), create=False)
        with self._env.begin(db=meta) as txn:
            stored = txn.get(SCHEMA_KEY)
        if stored is None and not self._readonly:
            return STORE_SCHEMA
        version = int.from_bytes(stored or b"", "big")
        if version > STORE_SCHEMA:
            raise AsmError(
                ErrorCode.MIGRATION_REQUIRED,
                f"the journal at {self._path} has layout {version}, and this release knows up to {STORE_SCHEMA}: use "
                "the release that wrote it, or a later one",
                details={"path": str(self._path), "version": version},
            )
        if not 0 < version <= STORE_SCHEMA:
            raise unreadable(META, SCHEMA_KEY, f"there is no layout {version}")
        if version < STORE_SCHEMA and not may_migrate:
            raise AsmError(
                ErrorCode.MIGRATION_REQUIRED,
                f"the journal at {self._path} has layout {version}, and this release works with {STORE_SCHEMA}: run "
                f"`asm journal migrate {self._path}`",
                details={"path": str(self._path), "version": version},
            )
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
                raise closed(str(self._path))
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
                raise closed(str(self._path))
            while True:
                try:
                    with self._env.begin(write=True) as txn:
                        return work(txn)
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
            raise closed(str(self._path))
        try:
            self._env.sync(True)
        except lmdb.Error as error:
            raise self._write_error(error) from error

    def _grow(self, cause: lmdb.Error) -> None:
        size = self._env.info()["map_size"]
        larger = size * 2 if self._max_map_size is None else min(size * 2, self._max_map_size)
        if larger <= size:
            raise self._write_error(cause, f"its size is limited to {size} bytes") from cause
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
        if not self._readonly and size < wanted and (self._max_map_size or wanted) >= wanted:
            with self._write_lock:
                self._resize(wanted)
        self._enter()
        try:
            self._env.copy(str(directory), compact=compact)
        except lmdb.Error as error:
            raise AsmError(
                ErrorCode.STORAGE_WRITE_FAILED,
                f"the journal at {self._path} cannot be copied to {directory}: {error}",
                details={"path": str(directory), "original_exception": type(error).__name__},
            ) from error
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
            f"nothing was written to the journal at {self._path}: {why or error}{advice(error)}",
            details={"original_exception": type(error).__name__, "original_message": str(error)},
        )

    def sizes(self) -> tuple[int, int]:
        """Return the bytes in use, and the bytes of the map."""
        if self._env is None:
            raise closed(str(self._path))
        info = self._env.info()
        return (info["last_pgno"] + 1) * self._env.stat()["psize"], info["map_size"]


def _opening_error(path: Path, error: Exception, readonly: bool) -> AsmError:
    details = {"path": str(path), "original_exception": type(error).__name__, "original_message": str(error)}
    text = str(error)
    if readonly and (not (path / "data.mdb").exists() or isinstance(error, lmdb.NotFoundError)):
        return absent(path)
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
    return AsmError(
        ErrorCode.STORAGE_CONNECTION_FAILED,
        f"the journal at {path} cannot be opened: {text}. Check that it is a directory this user may "
        f"{'read' if readonly else 'write'}",
        details=details,
        retryable=False,
    )
