"""Who has a journal open for reading, over all processes of a machine.

A reader shares this lock while it has the journal open. Whoever puts another file in the journal's place takes it
alone: a reader of the old file would never hear of a commit again, and the two would disagree about LMDB's own lock
file. Like the writer's lock it goes with the process that has it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lmdb_errors import unopened

__all__ = ["ReaderLock"]

_FILE: Final = "readers.lock"


class ReaderLock:
    """The right to have the journal in a directory open.

    Args:
        directory: the journal's directory, which exists.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / _FILE
        self._file: int | None = None

    def share(self) -> None:
        """Keep others from replacing the journal's file. Where nothing can be written, nobody can replace it.

        Raises:
            StorageError: ``journal_locked``: it is being replaced right now. ``storage_connection_failed``: this user
                may not open the lock's file, and another one could replace the journal's.
        """
        if self._lock(fcntl.LOCK_SH) is False:
            raise AsmError(
                ErrorCode.JOURNAL_LOCKED,
                f"the journal at {self._path.parent} is being compacted: open it again in a moment",
                details={"path": str(self._path.parent)},
                retryable=True,
            )

    def exclude(self) -> bool:
        """Take it alone, if nobody shares it; tells whether that is so."""
        return self._lock(fcntl.LOCK_EX) is not False

    def _lock(self, kind: int) -> bool | None:
        """Take the lock; False if others have it, None if there can be no lock."""
        file = self._open(kind)
        if file is None:
            return None
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return False
        self._file = file
        return True

    def _open(self, kind: int) -> int | None:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if kind == fcntl.LOCK_EX or error.errno not in (errno.EACCES, errno.EPERM):
                return None
            refusal = error
        try:
            # Sharing it takes no right to write.
            return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            raise unopened(refusal, self._path.parent, readonly=True) from refusal

    def release(self) -> None:
        """Give it back, if this object has it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
