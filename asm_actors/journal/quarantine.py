"""Where a repair puts damaged bytes before it changes anything in their place.

::

    quarantine/000001.bin     the bytes as they were
    quarantine/000001.json    where they were, and what is wrong with them

The files belong to whoever runs the journal: nothing reads them, and nothing removes them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from asm_actors.errors import ErrorCode
from asm_actors.journal.lmdb_errors import system_error

__all__ = ["QUARANTINE", "Damaged", "set_aside"]

QUARANTINE: Final = "quarantine"


class Damaged(NamedTuple):
    """Bytes that cannot be read."""

    table: str
    key: bytes
    reason: str
    value: bytes


def set_aside(journal: Path, found: Sequence[Damaged]) -> Path:
    """Write damaged bytes into the quarantine of a journal; they are on the disk when this returns.

    Args:
        journal: the journal's directory.
        found: what to keep.

    Returns:
        The directory that holds them.

    Raises:
        StorageError: ``storage_write_failed``: they could not be kept, so nothing may be changed.
    """
    directory = journal / QUARANTINE
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        taken = [int(path.stem) for path in directory.glob("*.bin") if path.stem.isdecimal()]
        for number, damaged in enumerate(found, max(taken, default=0) + 1):
            facts = {
                "table": damaged.table,
                "key": damaged.key.hex(),
                "bytes": len(damaged.value),
                "reason": damaged.reason,
            }
            _write(directory / f"{number:06}.bin", damaged.value)
            _write(directory / f"{number:06}.json", json.dumps(facts, indent=2).encode() + b"\n")
        for path in (directory, journal):
            file = os.open(path, os.O_RDONLY)
            try:
                os.fsync(file)
            finally:
                os.close(file)
    except OSError as error:
        what = f"the damaged parts of the journal cannot be kept in {directory}, so nothing was repaired"
        raise system_error(error, what, directory, ErrorCode.STORAGE_WRITE_FAILED) from error
    return directory


def _write(path: Path, value: bytes) -> None:
    with path.open("xb") as file:
        path.chmod(0o600)
        file.write(value)
        file.flush()
        os.fsync(file.fileno())
