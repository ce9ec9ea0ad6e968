"""One writer per journal, over all processes of a machine.

The lock is the system's own record lock on a file, so it goes with the process, however that ends, and a forked
child does not inherit it. Record locks do not see a second opening inside the same process, hence the set below.
The file's text only tells people who holds it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lmdb_errors import system_error

__all__ = ["WriterLock"]

_FILE: Final = "writer.lock"
_HELD: Final[set[tuple[int, str]]] = set()
_HELD_LOCK: Final = threading.Lock()


class WriterLock:
    """The right to write to the journal in a directory.

    Args:
        directory: the journal's directory, which exists.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / _FILE
        # A forked child holds nothing of what its parent holds.
        self._name = (os.getpid(), str(self._path.resolve()))
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            StorageError: ``journal_locked``, naming the process that has it; ``storage_connection_failed`` if the
                lock file cannot be made.
        """
        with _HELD_LOCK:
            # This stands first: closing any handle of the file would give up the lock that this process has.
            if self._name in _HELD:
                raise self._taken(os.getpid())
            try:
                file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise self._unlockable(error) from error
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.read(file, 32).decode("ascii", "replace").strip()
                os.close(file)
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise self._unlockable(error) from error
                raise self._taken(int(holder) if holder.isdecimal() else None) from error
            # A full disk has no room for this text, and must not keep the journal closed.
            with suppress(OSError):
                os.ftruncate(file, 0)
                os.write(file, f"{os.getpid()}\n".encode())
            self._file = file
            _HELD.add(self._name)

    def release(self) -> None:
        """Give the lock back, if this object holds it."""
        with _HELD_LOCK:
            if self._file is None:
                return
            os.close(self._file)
            self._file = None
            _HELD.discard(self._name)

    def _unlockable(self, error: OSError) -> AsmError:
        journal = self._path.parent
        return system_error(error, f"the journal at {journal} cannot be locked for writing", journal)

    def _taken(self, pid: int | None) -> AsmError:
        who = "another process" if pid is None else "this process" if pid == os.getpid() else f"process {pid}"
        return AsmError(
            ErrorCode.JOURNAL_LOCKED,
            f"{who} writes to the journal at {self._path.parent}: stop it first, or open the journal read-only",
            details={"path": str(self._path.parent), "pid": pid},
        )
