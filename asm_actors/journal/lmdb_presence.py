"""Whether there is a journal in a directory, there was one, or one may be made.

A journal's file gets its name when it is whole and on the disk, and LMDB's lock file is made after that. So whatever
moment a process is killed at: a file without content is a damaged one, and a directory that holds what only a journal
leaves, but not its file, has lost it. A new journal in their place would hide that.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lmdb_errors import absent, is_full, system_error
from asm_actors.serialization import invalid

__all__ = [
    "DATA",
    "check_directory",
    "check_is_there",
    "is_there",
    "prepare",
    "put_new",
    "sync_directory",
]

DATA: Final = "data.mdb"
_LOCK: Final = "lock.mdb"
_NEW: Final = "data.mdb.new"
# What is made only where the file of a journal is, or was.
_LEFT_BY_A_JOURNAL: Final = (_LOCK, "readers.lock", "quarantine")


def check_directory(value: object, field: str) -> Path:
    """Return what names a directory as a path.

    Raises:
        ValidationError: it is no path, empty, or nothing that a file system can hold.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise invalid(field, "must be the path of a directory, as text or a pathlib.Path", value)
    if not text:
        raise invalid(field, "must name a directory (`.` is the working directory)", value)
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise invalid(
            field, "must be a path that the file system can hold (no lone surrogates)", text
        ) from None
    if "\0" in text:
        raise invalid(field, "must be a path that the file system can hold (no NUL)", text)
    return Path(text)


def is_there(path: Path) -> bool:
    """Tell whether a directory holds a journal; False means that one may be made there.

    Raises:
        StorageError: ``storage_read_failed`` if its file is empty, or gone and what else a journal leaves is there;
            ``storage_connection_failed`` if this user may not look.
    """
    file = path / DATA
    try:
        # In this order: another process may be making both.
        left = [name for name in _LEFT_BY_A_JOURNAL if _status(path / name) is not None]
        found = _status(file)
    except OSError as error:
        raise system_error(error, f"the journal at {path} cannot be opened", path) from error
    if found is None and left:
        raise _lost(file, f"is missing, though {left[0]} beside it tells that there was a journal")
    if found is not None and stat.S_ISREG(found.st_mode) and not found.st_size:
        raise _lost(file, "is empty")
    return found is not None


def check_is_there(path: Path) -> None:
    """Refuse a directory without a journal.

    Raises:
        ResourceError: ``not_found``.
        StorageError: as `is_there`.
    """
    if not is_there(path):
        raise absent(path)


def prepare(path: Path, make: Callable[[Path], None] | None, *, durable: bool, lock_size: int) -> None:
    """See to it that LMDB finds all it needs to open a journal.

    Args:
        path: the directory.
        make: writes a new journal at the path of a file; None: there must be one.
        durable: as for `put_new`.
        lock_size: bytes that LMDB's lock file may need.

    Raises:
        AsmError: as `check_is_there`.
        OSError: there is no room, or no right.
    """
    if make is None:
        check_is_there(path)
    elif not is_there(path):
        put_new(path, make, durable=durable)
    _allocate_lock_file(path, lock_size)


def put_new(path: Path, make: Callable[[Path], None], *, durable: bool) -> None:
    """Give a directory its journal's file, whole or not at all.

    Args:
        path: the directory.
        make: writes a file at the path that it is given, and to the disk if that is wanted.
        durable: whether the file's name waits for the disk too.

    Raises:
        OSError: there is no room, or no right.
    """
    new = path / _NEW
    # One of an earlier process that was killed is perhaps not whole.
    new.unlink(missing_ok=True)
    try:
        make(new)
        new.replace(path / DATA)
    finally:
        new.unlink(missing_ok=True)
    if durable:
        sync_directory(path)


def _allocate_lock_file(path: Path, size: int) -> None:
    """Make LMDB's lock file with room on the disk, if there is none.

    LMDB itself makes it sparse and maps it: on a full disk the system would kill the process that touches it.

    Raises:
        OSError: there is no room.
    """
    file = path / _LOCK
    new = path / f"{_LOCK}.{os.getpid()}"
    try:
        if file.exists():
            return
        try:
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as content:
                content.write(bytes(size))
            # Another process may have made it meanwhile, and uses it.
            os.link(new, file)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        if is_full(error):
            raise
        # No right, or a file system without links: LMDB tells it, or does without.


def sync_directory(path: Path) -> None:
    """Make the names of new files survive a loss of power, as LMDB does for what is in them."""
    for directory in (path, path.parent):
        file = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def _status(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _lost(file: Path, what: str) -> AsmError:
    return AsmError(
        ErrorCode.STORAGE_READ_FAILED,
        f"{file} {what}: restore it from a backup, or empty the directory to begin a new journal there; nothing was "
        "changed",
        details={"path": str(file)},
    )
