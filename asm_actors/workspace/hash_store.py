"""Copies of files by their digests, and what each snapshot of a directory holds.

Below the store's directory each workspace has one of its own::

    workspaces/<digest of its path>/objects/ab/cdef…     contents, by SHA-256
                                    snapshots/<id>.json  trees
                                    known.json           what files held when they were read last
                                    lock                 shared by who adds, exclusive for who removes
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.workspace.files import PIECE, Hasher, Scan, Seeing, see
from asm_actors.workspace.restore import Write
from asm_actors.workspace.tree import FILE, LINK, Entry, Tree

__all__ = ["HashStore", "default_store"]

_ATTEMPTS = 3


def default_store() -> Path:
    """Return where copies are kept if nobody says: in the user's state directory."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "asm" / "workspaces"


class HashStore:
    """The copies of one workspace.

    Args:
        base: The store's directory; made when something is kept.
        root: The workspace's directory.
    """

    def __init__(self, base: Path, root: Path) -> None:
        self.base = base
        self._root = root
        self._home = base / sha256(os.fsencode(root)).hexdigest()[:32]
        self._objects = self._home / "objects"
        self._snapshots = self._home / "snapshots"

    @contextmanager
    def locked(self, *, alone: bool = False) -> Iterator[None]:
        """Keep others from removing what is being added, or from adding at all.

        Args:
            alone: Whether this removes.
        """
        self.base.mkdir(parents=True, exist_ok=True)
        for folder in (self._home, self._objects, self._snapshots):
            folder.mkdir(mode=0o700, exist_ok=True)
        with (self._home / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield

    # Contents.

    def add(self, found: Scan, seeing: Seeing, check_going: Callable[[], None]) -> dict[str, Entry]:
        """Copy what a scan has found, unless it is there; return the files and links.

        What is gone meanwhile is left out. Each is as it was at some time during the call.

        Raises:
            AsmError: ``storage_read_failed``.
        """
        entries: dict[str, Entry] = {}
        for path, seen in found.files.items():
            check_going()
            if seen.kind == LINK:
                link = seeing.hasher.of_link(self._root / path)
                if link is not None:
                    self._add_bytes(*link)
                    entries[path] = Entry(LINK, 0o777, len(link[1]), link[0])
                continue
            digest = seeing.known(path, seen)
            if digest is not None and self._has(digest, seen.size):
                entries[path] = Entry(FILE, seen.mode, seen.size, digest)
            elif (entry := self._add_file(path, seeing)) is not None:
                entries[path] = entry
        seeing.forget_all_but(entries.keys())
        return entries

    def _add_file(self, path: str, seeing: Seeing) -> Entry | None:
        for _ in range(_ATTEMPTS):
            try:
                seen = see((self._root / path).lstat())
            except OSError:
                return None
            if seen is None or seen.kind != FILE:
                return None
            read_at = seeing.now()
            with self._adding() as (file, name):
                copied = seeing.hasher.of_file(self._root / path, file)
                if copied is None:
                    continue
                file.close()
                self._keep(name, *copied)
            if copied[1] == seen.size:
                seeing.remember(path, seen, copied[0], read_at)
            return Entry(FILE, seen.mode, copied[1], copied[0])
        return None

    def _add_bytes(self, digest: str, content: bytes) -> None:
        if not self._has(digest, len(content)):
            with self._adding() as (file, name):
                file.write(content)
                file.close()
                self._keep(name, digest, len(content))

    @contextmanager
    def _adding(self) -> Iterator[tuple[IO[bytes], Path]]:
        handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=self._objects)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file, Path(name)
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()

    def _keep(self, name: Path, digest: str, size: int) -> None:
        if not self._has(digest, size):
            place = self._place(digest)
            place.parent.mkdir(mode=0o700, exist_ok=True)
            name.replace(place)

    def _has(self, digest: str, size: int) -> bool:
        """Tell whether a copy is there. One that a loss of power has cut short is made again."""
        try:
            return self._place(digest).stat().st_size == size
        except OSError:
            return False

    def _place(self, digest: str) -> Path:
        return self._objects / digest[:2] / digest[2:]

    def fetch(self, writes: Sequence[Write]) -> None:
        """Give files their contents.

        Raises:
            AsmError: ``storage_read_failed``: a copy is gone or damaged; nothing is written from it.
        """
        for write in writes:
            summed = Hasher("sha256").of_file(self._place(write.entry.content))
            if summed is None or summed[0] != write.entry.content:
                raise AsmError(
                    ErrorCode.STORAGE_READ_FAILED, f"the copy of {write.path!r} is gone or damaged"
                )
            write.begin()
            with self._place(write.entry.content).open("rb") as file:
                while piece := file.read(PIECE):
                    write.write(piece)
            write.finish()

    def read(self, entry: Entry) -> bytes:
        """Return a content.

        Raises:
            AsmError: ``storage_read_failed``.
        """
        try:
            return self._place(entry.content).read_bytes()
        except OSError as error:
            raise AsmError.wrap(ErrorCode.STORAGE_READ_FAILED, error, f"a copy is gone: {error}") from error

    # Snapshots.

    def put(self, name: str, tree: Tree, told: dict[str, Any]) -> None:
        """Keep a snapshot.

        Args:
            name: Its id.
            tree: What it holds.
            told: What else is known of it.
        """
        self._write(self._snapshots / f"{name}.json", tree.dump(snapshot=told))

    def get(self, name: str) -> tuple[Tree, dict[str, Any]]:
        """Return what a snapshot holds, and what else is known of it.

        Raises:
            AsmError: ``not_found``; ``storage_read_failed``.
        """
        try:
            data = (self._snapshots / f"{name}.json").read_bytes()
        except FileNotFoundError as error:
            raise AsmError(ErrorCode.NOT_FOUND, f"the snapshot {name} is not kept any more") from error
        tree, found = Tree.load(data, f"the snapshot {name}")
        return tree, found["snapshot"]

    def names(self) -> list[str]:
        """Return the ids of all snapshots."""
        if not self._snapshots.is_dir():
            return []
        return sorted(path.stem for path in self._snapshots.glob("snap_*.json"))

    def remove(self, name: str) -> None:
        """Remove a snapshot, and the copies that no other one holds."""
        with self.locked(alone=True):
            try:
                tree, _ = self.get(name)
            except AsmError as error:
                if error.code == ErrorCode.NOT_FOUND:
                    return
                raise
            (self._snapshots / f"{name}.json").unlink()
            unneeded = {entry.content for entry in tree.files.values()}
            for other in self.names():
                if not unneeded:
                    break
                unneeded -= {entry.content for entry in self.get(other)[0].files.values()}
            for digest in unneeded:
                self._place(digest).unlink(missing_ok=True)

    # What files held.

    def remember(self, seeing: Seeing) -> None:
        """Keep what files held."""
        self._write(self._home / "known.json", json.dumps(seeing.dump()).encode())

    def recall(self, seeing: Seeing) -> None:
        """Read that back; what is damaged is read anew."""
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            seeing.load(json.loads((self._home / "known.json").read_bytes()))

    def _write(self, path: Path, data: bytes) -> None:
        handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
            raise
