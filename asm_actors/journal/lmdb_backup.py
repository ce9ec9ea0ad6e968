"""Copies of an LMDB journal: a backup elsewhere, or a smaller one in its own place.

Both are written beside their place and put there by renaming, when they are whole, on the disk, and were opened once.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lmdb_env import Environment
from asm_actors.journal.lmdb_errors import system_error
from asm_actors.journal.lmdb_presence import DATA
from asm_actors.journal.reader_lock import ReaderLock
from asm_actors.journal.store_maintenance import BackupReport, CompactReport, Progress

__all__ = ["back_up", "compact"]

COMPACTING: Final = "compacting"
_LOOK_S: Final = 0.1


def back_up(
    environment: Environment,
    target: Path,
    progress: Progress | None,
    *,
    compact: bool,
    reopen: Callable[[Path], tuple[int, int, int]],
) -> BackupReport:
    """Write a copy to a directory that is new or empty.

    Args:
        environment: the journal.
        target: the directory.
        progress: called with bytes written and bytes there are, about.
        compact: leave free pages out.
        reopen: opens the copy; gives its last position, its sessions and its runs.

    Raises:
        AsmError: ``already_exists``, ``storage_write_failed``, or what opening the copy raises.
    """
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise AsmError(
                ErrorCode.ALREADY_EXISTS,
                f"there is something at {target}: choose a directory that is new or empty",
                details={"path": str(target)},
            )
        # An unfinished one of an earlier call, whose process died, is of no use to anybody.
        part = target.with_name(target.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700, parents=True)
        try:
            size = _copy(environment, part, progress, compact=compact)
            events, sessions, runs = reopen(part)
            _sync(part / DATA)
            _sync(part)
            if target.exists():
                target.rmdir()
            part.rename(target)
            _sync(target.parent)
        except BaseException:  # whatever it is goes on up; half a backup must not stay
            shutil.rmtree(part, ignore_errors=True)
            raise
    except OSError as error:
        what = f"no backup could be written to {target}"
        raise system_error(error, what, target, ErrorCode.STORAGE_WRITE_FAILED) from error
    return BackupReport(str(target), size, events, sessions, runs)


def _copy(environment: Environment, directory: Path, progress: Progress | None, *, compact: bool) -> int:
    """Copy on a thread, and tell from this one how far it is; returns the size of the copy."""
    file = directory / DATA
    expected = environment.sizes()[0]
    failures: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            environment.copy(directory, compact=compact)
        except BaseException as error:  # it is raised again, on the caller's thread
            failures.append(error)
        finally:
            done.set()

    copier = threading.Thread(target=work, name="journal-copy", daemon=True)
    copier.start()
    try:
        while not done.wait(_LOOK_S):
            if progress is not None:
                progress(min(_size(file), expected), expected)
    finally:
        copier.join()
    if failures:
        raise failures[0]
    file.chmod(0o600)
    size = _size(file)
    if progress is not None:
        progress(size, size)
    return size


def compact(environment: Environment, path: Path, progress: Progress | None) -> CompactReport:
    """Put a copy without free pages in a journal's own place.

    Args:
        environment: the journal, to which nobody writes meanwhile.
        path: its directory.
        progress: called with bytes written and bytes there are, about.

    Raises:
        AsmError: ``invalid_operation`` if another process reads it, ``storage_write_failed``.
    """
    lock = ReaderLock(path)
    if not lock.exclude():
        raise AsmError(
            ErrorCode.INVALID_OPERATION,
            f"another process has the journal at {path} open: stop it first, since it would go on with the old file",
            details={"path": str(path)},
        )
    part = path / COMPACTING
    try:
        before = _size(path / DATA)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700)
        _copy(environment, part, progress, compact=True)
        _sync(part / DATA)
        environment.take_over(part / DATA)
        _sync(path)
        return CompactReport(before, _size(path / DATA))
    except OSError as error:
        what = f"the journal at {path} could not be compacted, and is as before"
        raise system_error(error, what, path, ErrorCode.STORAGE_WRITE_FAILED) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        lock.release()


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
