"""Errors of LMDB journals that need nothing of the library."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from asm_actors.errors import AsmError, ErrorCode

__all__ = ["absent", "advice", "closed"]

# A write that is cut short by a full disk is an "Input/output error" to LMDB.
_FULL: Final = ("No space left", "Disk quota exceeded", "File too large", "Input/output error")


def closed(where: str) -> AsmError:
    """Make the error for using a store that is not open."""
    return AsmError(ErrorCode.STORAGE_CONNECTION_FAILED, f"the store {where} is not open", retryable=False)


def advice(error: Exception) -> str:
    """Return what to do about a write that failed, if that can be told."""
    if any(words in str(error) for words in _FULL):
        return ". Make room on the disk: writing goes on by itself then, and nothing that was acknowledged is lost"
    return ""


def absent(path: Path) -> AsmError:
    """Make the error for reading a journal that is not there."""
    return AsmError(
        ErrorCode.NOT_FOUND,
        f"there is no journal at {path}: check the path, or let a system write there first",
        details={"path": str(path)},
    )
