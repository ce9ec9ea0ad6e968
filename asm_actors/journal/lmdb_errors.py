"""Errors of LMDB journals that need nothing of the library: how they are told, and which can be tried again."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.store import STORE_SCHEMA

__all__ = [
    "absent",
    "advice",
    "closed",
    "is_full",
    "layout_of",
    "no_journal",
    "system_error",
    "uncopied",
    "unopened",
]

# A write that is cut short by a full disk is an "Input/output error" to LMDB.
_FULL: Final = ("No space left", "Disk quota exceeded", "File too large", "Input/output error")


def closed(where: str) -> AsmError:
    """Make the error for using a store that is not open."""
    return AsmError(ErrorCode.STORAGE_CONNECTION_FAILED, f"the store {where} is not open", retryable=False)


def advice(error: Exception) -> str:
    """Return what to do about a write that failed, if that can be told."""
    if is_full(error):
        return ". Make room on the disk: writing goes on by itself then, and nothing that was acknowledged is lost"
    return ""


def is_full(error: Exception) -> bool:
    """Tell whether a failure means that the disk has no room."""
    return any(words in str(error) for words in _FULL)


def system_error(
    error: OSError, what: str, path: Path, code: ErrorCode = ErrorCode.STORAGE_CONNECTION_FAILED
) -> AsmError:
    """Make the error for something that the operating system refused.

    Args:
        error: its refusal.
        what: what cannot be done, as the beginning of the sentence.
        path: about what.
        code: of the error to make. It is retryable if the disk is full.
    """
    hint = ""
    if is_full(error):
        hint = ". Make room on the disk, and try again; nothing that was acknowledged is lost"
    elif error.errno in (errno.EACCES, errno.EPERM):
        hint = f". This user needs the right to read and write {error.filename or path}"
    return AsmError(
        code,
        f"{what}: {error.strerror or error}{hint}",
        details={
            "path": str(path),
            "original_exception": type(error).__name__,
            "original_message": str(error),
        },
        retryable=is_full(error),
    )


def unopened(error: Exception, path: Path, *, readonly: bool) -> AsmError:
    """Make the error for a journal that LMDB cannot open, though nothing is known to be wrong with its content."""
    if is_full(error):
        hint = "Make room on the disk, and try again; nothing that was acknowledged is lost"
    elif readonly:
        # Without its lock file LMDB reads too, but then a writer takes pages that are being read for something else.
        hint = (
            "Check that this user may read data.mdb, and read and write lock.mdb and readers.lock (make them, if they "
            "are not there): readers note in them what a writer must leave alone. Or read a copy, made with "
            "`asm journal backup` and given to this user"
        )
    else:
        hint = "Check that it is a directory this user may write"
    return AsmError(
        ErrorCode.STORAGE_CONNECTION_FAILED,
        f"the journal at {path} cannot be opened: {error}. {hint}",
        details={
            "path": str(path),
            "original_exception": type(error).__name__,
            "original_message": str(error),
        },
        retryable=is_full(error),
    )


def layout_of(stored: bytes, path: Path, *, may_migrate: bool) -> int | None:
    """Return the version of a journal's layout; None if there is no such version.

    Raises:
        AsmError: ``migration_required``: this release cannot work with it.
    """
    version = int.from_bytes(stored, "big")
    if version > STORE_SCHEMA:
        raise AsmError(
            ErrorCode.MIGRATION_REQUIRED,
            f"the journal at {path} has layout {version}, and this release knows up to {STORE_SCHEMA}: use "
            "the release that wrote it, or a later one",
            details={"path": str(path), "version": version},
        )
    if not version:
        return None
    if version < STORE_SCHEMA and not may_migrate:
        raise AsmError(
            ErrorCode.MIGRATION_REQUIRED,
            f"the journal at {path} has layout {version}, and this release works with {STORE_SCHEMA}: run "
            f"`asm journal migrate {path}`",
            details={"path": str(path), "version": version},
        )
    return version


def absent(path: Path) -> AsmError:
    """Make the error for reading a journal that is not there."""
    return AsmError(
        ErrorCode.NOT_FOUND,
        f"there is no journal at {path}: check the path, or let a system write there first",
        details={"path": str(path)},
    )


def no_journal(path: Path) -> AsmError:
    """Make the error for a directory that holds a database of something else."""
    return AsmError(
        ErrorCode.STORAGE_READ_FAILED,
        f"{path} holds an LMDB database that is no journal: choose another directory",
        details={"path": str(path)},
    )


def uncopied(path: Path, target: Path, error: Exception) -> AsmError:
    """Make the error for a journal that cannot be copied."""
    return AsmError(
        ErrorCode.STORAGE_WRITE_FAILED,
        f"the journal at {path} cannot be copied to {target}: {error}",
        details={"path": str(target), "original_exception": type(error).__name__},
        retryable=is_full(error),
    )
