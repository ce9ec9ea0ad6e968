"""Artifacts as files in one directory."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.serialization import check_id, invalid

__all__ = ["FileArtifactStore", "checked_data", "file_name"]

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")
_PREFIX_LENGTH: Final = 32
_DIGEST_LENGTH: Final = 16


def file_name(key: str) -> str:
    """Return the name of the file of a key: readable letters of the key, and a digest that makes it unique."""
    prefix = _UNSAFE.sub("_", key)[:_PREFIX_LENGTH].strip("_")
    digest = sha256(key.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{prefix}-{digest}" if prefix else digest


def checked_data(data: object) -> bytes:
    """Return bytes as they are, else raise ``validation_error``."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise invalid("data", "must be bytes", data)
    return bytes(data)


class FileArtifactStore:
    """Keeps each artifact in a file of its own. A put is wholly there, on the disk, or not at all.

    Args:
        root: The directory; made if it is not there, with access for its user only.

    Raises:
        StorageError: ``storage_error``: the directory cannot be made.
    """

    backend: Final = "file"

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).absolute()
        with _as_storage_error(f"the directory {self.root} for artifacts cannot be made"):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def __repr__(self) -> str:
        return f"FileArtifactStore({str(self.root)!r})"

    def path_of(self, key: str) -> Path:
        """Return the file of a key, whether it is there or not."""
        return self.root / file_name(check_id(key, "key"))

    def put(self, key: str, data: bytes) -> str:
        """Keep bytes under a key; see `ArtifactStore.put`."""
        path, content = self.path_of(key), checked_data(data)
        with _as_storage_error(f"the artifact {key} could not be written to {path}"):
            # Written beside its place and moved there: whoever reads sees the old bytes or the new ones.
            handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=self.root)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(name).unlink()
                raise
            self._sync_directory()
        return str(path)

    def get(self, key: str) -> bytes:
        """Return the bytes under a key; see `ArtifactStore.get`."""
        path = self.path_of(key)
        try:
            with _as_storage_error(f"the artifact {key} could not be read from {path}"):
                return path.read_bytes()
        except AsmError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise AsmError(ErrorCode.NOT_FOUND, f"there is no artifact {key}") from error
            raise

    def delete(self, key: str) -> None:
        """Remove what is under a key; see `ArtifactStore.delete`."""
        path = self.path_of(key)
        with _as_storage_error(f"the artifact {key} could not be removed from {path}"):
            path.unlink(missing_ok=True)

    def _sync_directory(self) -> None:
        """Make the new name survive a loss of power."""
        directory = os.open(self.root, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


@contextmanager
def _as_storage_error(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AsmError(ErrorCode.STORAGE_ERROR, f"{what}: {error.strerror or error}") from error
