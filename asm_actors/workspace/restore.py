"""Put a directory back into the state of a tree, exactly: contents, modes, links, folders, and nothing besides.

Two steps, because what is left alone may hang on what is restored (git's ignore files):

1. `put_back` writes every file that is not as it was, and makes room for it: what lies in its way came later.
2. `remove_later` removes everything that the tree does not know, but for what its caller leaves alone; then modes of
   folders.

A link is never followed, neither as a file nor as a folder on the way. A file is written beside its place and moved
there, so that an interruption leaves the old or the new one, and doing it all again completes it. Times of files are
not put back: what was built from a later state would pass for being up to date.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.workspace.files import Scan, Seeing, make_writable, scan, see
from asm_actors.workspace.tree import LINK, Entry, Tree

__all__ = ["Fetch", "Restoring", "Write", "clear", "not_restored"]

_TEMPORARY = ".asm-restoring"


class Write:
    """One file or link that is written anew: gets its content piece by piece, then takes its place."""

    def __init__(self, root: Path, path: str, entry: Entry) -> None:
        self.path = path
        self.entry = entry
        self.size = 0
        self._place = root / path
        self._beside = self._place.parent / f"{_TEMPORARY}-{os.getpid()}"
        self._file: IO[bytes] | None = None
        self._target = b""

    def begin(self) -> None:
        """Open the file beside its place."""
        if self.entry.kind != LINK:
            _unlink(self._beside)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            self._file = open(os.open(self._beside, flags, 0o600), "wb")  # noqa: PTH123, SIM115 - over several calls

    def write(self, piece: bytes) -> None:
        """Take a piece of the content."""
        self.size += len(piece)
        if self._file is None:
            self._target += piece
        else:
            self._file.write(piece)

    def finish(self) -> None:
        """Take its place."""
        if self.size != self.entry.size:
            self.abandon()
            raise AsmError(ErrorCode.STORAGE_READ_FAILED, f"the copy of {self.path!r} is incomplete")
        if self._file is None:
            _unlink(self._beside)
            os.symlink(self._target, os.fsencode(self._beside))  # noqa: PTH211 - as bytes, whatever they are
        else:
            os.fchmod(self._file.fileno(), self.entry.mode)
            self._file.close()
            self._file = None
        self._beside.replace(self._place)

    def abandon(self) -> None:
        """Leave everything as it is."""
        if self._file is not None:
            self._file.close()
            self._file = None
        _unlink(self._beside)


Fetch = Callable[[Sequence[Write]], None]
"""Gives contents: for each file, one after the other, `begin`, `write` in pieces, `finish`."""


class Restoring:
    """One rollback.

    Args:
        root: The directory.
        tree: What it is to be.
        seeing: Digests what is there.
        fetch: Gives contents.
    """

    def __init__(self, root: Path, tree: Tree, seeing: Seeing, fetch: Fetch) -> None:
        self._root = root
        self._tree = tree
        self._seeing = seeing
        self._fetch = fetch
        self.restored: set[str] = set()
        self.removed: set[str] = set()

    def put_back(self) -> None:
        """Make every file, link and folder of the tree be what it was."""
        for folder in sorted(self._tree.folders, key=_depth):
            self._put_folder(folder)
        writes = []
        for path, entry in self._tree.files.items():
            if not self._is_as_it_was(path, entry):
                writes.append(Write(self._root, path, entry))
        try:
            self._fetch(writes)
        except BaseException:
            for write in writes:
                write.abandon()
            raise
        self.restored.update(write.path for write in writes)

    def remove_later(self, leaves: Callable[[str, bool], bool], *, leaves_repos: bool) -> Scan:
        """Remove what the tree does not know, and set the modes of its folders.

        Args:
            leaves: Tells of a path, and whether it is a folder, that it is left alone.
            leaves_repos: Whether folders with a ``.git`` of their own are, if the tree knows them.

        Returns:
            What was there before anything was removed.
        """
        tree = self._tree
        found = scan(self._root, leaves, leaves_repos=leaves_repos, folders=tree.folders, opens=True)
        specials = set(tree.specials)
        for path in (*found.files, *found.specials):
            if path not in tree.files and path not in specials:
                self._remove(path)
        for path in found.repos:
            if path not in tree.repos:
                clear(self._root / path)
                self.removed.add(path)
        for path in sorted(found.folders, key=_depth, reverse=True):
            if path not in tree.folders:
                self._remove_folder(path)
        for path in sorted(tree.folders, key=_depth, reverse=True):
            mode = tree.folders[path]
            place = self._root / path
            if stat.S_IMODE(place.lstat().st_mode) != mode:
                place.chmod(mode)
        return found

    def _put_folder(self, path: str) -> None:
        place = self._root / path
        try:
            found = place.lstat()
        except FileNotFoundError:
            place.mkdir(0o700)
            self.restored.add(path)
            return
        if not stat.S_ISDIR(found.st_mode):
            place.unlink()
            place.mkdir(0o700)
            self.restored.add(path)
        elif found.st_mode & 0o700 != 0o700:
            place.chmod(stat.S_IMODE(found.st_mode) | 0o700)  # until all is done

    def _is_as_it_was(self, path: str, entry: Entry) -> bool:
        """Tell whether nothing need be written; what lies in the way is removed, a wrong mode set back."""
        place = self._root / path
        try:
            found = place.lstat()
        except FileNotFoundError:
            return False
        seen = see(found)
        if seen is None:
            clear(place)
            return False
        if seen.kind != entry.kind or seen.size != entry.size:
            return False
        if seen.kind != LINK and not seen.mode & 0o400:
            place.chmod(seen.mode | 0o400)
            seen = see(place.lstat()) or seen
        now = self._seeing.look(self._root, path, seen)
        if now is None or now.content != entry.content:
            return False
        if entry.kind != LINK and stat.S_IMODE(place.lstat().st_mode) != entry.mode:
            place.chmod(entry.mode)
        if entry.kind != LINK and stat.S_IMODE(found.st_mode) != entry.mode:
            self.restored.add(path)
        return True

    def _remove(self, path: str) -> None:
        place = self._root / path
        make_writable(place.parent)
        _unlink(place)
        self.removed.add(path)

    def _remove_folder(self, path: str) -> None:
        """Remove a folder if nothing is left in it; what is ignored may be."""
        place = self._root / path
        make_writable(place.parent)
        try:
            place.rmdir()
        except OSError:
            if place.exists() and not any(place.iterdir()):
                raise
        else:
            self.removed.add(path)


def clear(place: Path) -> None:
    """Remove whatever is there."""
    if place.is_dir() and not place.is_symlink():
        scan(place, lambda _, __: False, opens=True)
        shutil.rmtree(place)
    else:
        _unlink(place)


def _unlink(place: Path) -> None:
    place.unlink(missing_ok=True)


def _depth(path: str) -> int:
    return path.count("/") + 1 if path else 0


def not_restored(tree: Tree, found: Scan, heads: Callable[[str], Any]) -> Iterable[str]:
    """Give the paths that a tree knows of and does not hold, and that are not as they were."""
    for path, head in tree.repos.items():
        if path not in found.repos or heads(path) != head:
            yield path
    yield from (path for path in tree.specials if path not in found.specials)
