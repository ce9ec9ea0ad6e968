"""Look at a directory: what is there, and what its files hold."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from attrs import Factory, define

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.workspace.tree import FILE, LINK, Entry

__all__ = ["PIECE", "Hasher", "Scan", "Seeing", "Seen", "make_writable", "scan", "see"]

PIECE: Final = 1 << 20
# A file may change twice within one tick of its file system's clock, and the coarsest clocks tick every two seconds.
_SETTLED_NS: Final = 2_000_000_000


class Seen(NamedTuple):
    """A file or link as the file system describes it."""

    kind: str
    mode: int
    size: int
    stamp: tuple[int, ...]
    """Changes whenever the file does, but for a change in the same tick of the clock."""


@define
class Scan:
    """What lies in a directory."""

    files: dict[str, Seen] = Factory(dict)
    folders: dict[str, int] = Factory(dict)
    repos: set[str] = Factory(set)
    specials: set[str] = Factory(set)


def see(found: os.stat_result) -> Seen | None:
    """Describe a file or link; None for anything else."""
    kind = FILE if stat.S_ISREG(found.st_mode) else LINK if stat.S_ISLNK(found.st_mode) else None
    if kind is None:
        return None
    stamp = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)
    return Seen(kind, stat.S_IMODE(found.st_mode), found.st_size, stamp)


def scan(
    root: Path,
    leaves: Callable[[str, bool], bool],
    *,
    leaves_repos: bool = False,
    folders: Collection[str] = (),
    opens: bool = False,
) -> Scan:
    """Look at everything below a directory. Links are not followed.

    Args:
        root: The directory.
        leaves: Tells of a path, and whether it is a folder, that it is not to be looked at.
        leaves_repos: Whether folders with a ``.git`` of their own are noted and not looked into.
        folders: But for these: they were looked into before they had one.
        opens: Whether folders that may not be read, or not be changed, are made to allow it.

    Raises:
        AsmError: ``storage_read_failed``: a folder may not be read.
    """
    result = Scan()
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            if not folder:
                result.folders[""] = stat.S_IMODE(root.lstat().st_mode)
            if opens:
                make_writable(root / folder)
            with os.scandir(root / folder) as listing:
                entries = list(listing)
        except FileNotFoundError:
            if not folder:
                raise _unreadable(str(root), "it is gone") from None
            result.folders.pop(folder, None)
            continue
        except OSError as error:
            raise _unreadable(folder or str(root), error.strerror or str(error)) from error
        if (
            leaves_repos
            and folder
            and folder not in folders
            and any(entry.name == ".git" for entry in entries)
        ):
            del result.folders[folder]
            result.repos.add(folder)
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            try:
                is_folder = entry.is_dir(follow_symlinks=False)
                if leaves(path, is_folder):
                    continue
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if is_folder:
                result.folders[path] = stat.S_IMODE(found.st_mode)
                waiting.append(path)
            elif (seen := see(found)) is not None:
                result.files[path] = seen
            else:
                result.specials.add(path)
    return result


def make_writable(folder: Path) -> None:
    """Let its owner list and change a folder."""
    mode = stat.S_IMODE(folder.lstat().st_mode)
    if mode & 0o700 != 0o700:
        folder.chmod(mode | 0o700)


class Hasher:
    """Reads and digests contents.

    Args:
        name: The digest: ``sha1`` or ``sha256``.
        as_blob: Whether the digest is that of git's object, which begins with the size.
    """

    def __init__(self, name: str, *, as_blob: bool = False) -> None:
        self._name = name
        self._as_blob = as_blob

    def of_bytes(self, data: bytes) -> str:
        """Digest bytes."""
        return str(self._begin(len(data), data).hexdigest())

    def _begin(self, size: int, data: bytes = b"") -> Any:
        head = b"blob %d\0" % size if self._as_blob else b""
        return hashlib.new(self._name, head + data, usedforsecurity=False)

    def of_file(self, path: Path, copy: IO[bytes] | None = None) -> tuple[str, int] | None:
        """Read a file once and digest it.

        Args:
            path: The file; a link is not followed.
            copy: Gets what was read.

        Returns:
            The digest, and how many bytes it is of. None if the file is gone, or is none, or (git's digests) its
            size has changed while it was read.

        Raises:
            AsmError: ``storage_read_failed``.
        """
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if path.is_symlink():
                return None
            raise _unreadable(str(path), error.strerror or str(error)) from error
        with open(handle, "rb", buffering=0) as file:  # noqa: PTH123 - a handle, which no link can lead astray
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                return None
            summed, size = self._begin(found.st_size), 0
            try:
                while piece := file.read(PIECE):
                    summed.update(piece)
                    size += len(piece)
                    if copy is not None:
                        copy.write(piece)
            except OSError as error:
                raise _unreadable(str(path), error.strerror or str(error)) from error
        if self._as_blob and size != found.st_size:
            return None
        return summed.hexdigest(), size

    def of_link(self, path: Path) -> tuple[str, bytes] | None:
        """Return the digest of a link's target, and the target; None if the link is gone."""
        try:
            target = os.readlink(os.fsencode(path))  # noqa: PTH115 - a Path would leave out what it holds idle
        except OSError:
            return None
        return self.of_bytes(target), target


class Seeing:
    """Remembers what files held, and by which stamp.

    Args:
        hasher: Digests what is not remembered.
        now: Nanoseconds since the epoch, by the clock that file systems use.
    """

    def __init__(self, hasher: Hasher, now: Callable[[], int] = time.time_ns) -> None:
        self.hasher = hasher
        self._now = now
        self._known: dict[str, tuple[tuple[int, ...], str]] = {}

    def known(self, path: str, seen: Seen) -> str | None:
        """Return the digest of a file that has not changed since it was remembered; else None."""
        found = self._known.get(path)
        return found[1] if found is not None and found[0] == seen.stamp else None

    def remember(self, path: str, seen: Seen, digest: str, read_at: int) -> None:
        """Remember what a file held.

        Args:
            path: The file.
            seen: How it was described before it was read.
            digest: What it held.
            read_at: When its reading began; a file that had just been written then is not remembered.
        """
        if max(seen.stamp[1], seen.stamp[2]) + _SETTLED_NS < read_at:
            self._known[path] = (seen.stamp, digest)
        else:
            self._known.pop(path, None)

    def forget_all_but(self, paths: Collection[str]) -> None:
        """Forget the files that are gone."""
        for path in [path for path in self._known if path not in paths]:
            del self._known[path]

    def look(self, root: Path, path: str, seen: Seen) -> Entry | None:
        """Return what a file or link holds, read only if need be; None if it is gone or is changing right now."""
        if seen.kind == LINK:
            link = self.hasher.of_link(root / path)
            return None if link is None else Entry(LINK, 0o777, len(link[1]), link[0])
        digest = self.known(path, seen)
        if digest is not None:
            return Entry(FILE, seen.mode, seen.size, digest)
        read_at = self._now()
        found = self.hasher.of_file(root / path)
        if found is None or found[1] != seen.size:
            return None
        self.remember(path, seen, found[0], read_at)
        return Entry(FILE, seen.mode, seen.size, found[0])

    def now(self) -> int:
        """Return the time, for `remember`."""
        return self._now()

    def dump(self) -> dict[str, list[Any]]:
        """Return what is remembered, JSON-ready."""
        return {path: [list(stamp), digest] for path, (stamp, digest) in self._known.items()}

    def load(self, found: dict[str, Any]) -> None:
        """Remember what :meth:`dump` gave."""
        self._known.update({path: (tuple(stamp), digest) for path, (stamp, digest) in found.items()})


def _unreadable(path: str, why: str) -> AsmError:
    shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return AsmError(ErrorCode.STORAGE_READ_FAILED, f"{shown} cannot be read: {why}", details={"path": shown})
