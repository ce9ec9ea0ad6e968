"""Contents and trees in a repository's object database, as they are on the disk: no filter, no line end conversion."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.workspace.files import Scan, Seeing, see
from asm_actors.workspace.git_calls import Git, quoted
from asm_actors.workspace.restore import Write
from asm_actors.workspace.tree import FILE, LINK, Entry

__all__ = ["Batch", "TreeWriter", "Uploader", "fetch_from", "read_blobs"]

_ATTEMPTS: Final = 3


class Uploader:
    """Writes the contents of files into the object database; what it has seen before is not read again.

    Args:
        git: Calls git at the top of the work tree.
        root: That directory.
        seeing: What is remembered.
    """

    def __init__(self, git: Git, root: Path, seeing: Seeing) -> None:
        self._git = git
        self._root = root
        self._seeing = seeing

    def upload(self, scan: Scan, scratch: Path) -> dict[str, Entry]:
        """Write what a scan has found.

        Args:
            scan: Files and links.
            scratch: A directory for files of the moment.

        Returns:
            The files and links; what has gone meanwhile is left out. Each is as it was at some time during the call.

        Raises:
            AsmError: ``storage_read_failed``: a file may not be read.
        """
        entries: dict[str, Entry] = {}
        pending: list[str] = []
        links: list[tuple[str, bytes]] = []
        for path, seen in scan.files.items():
            if seen.kind == LINK:
                link = self._seeing.hasher.of_link(self._root / path)
                if link is not None:
                    entries[path] = Entry(LINK, 0o777, len(link[1]), link[0])
                    links.append(link)
            elif (digest := self._seeing.known(path, seen)) is not None:
                entries[path] = Entry(FILE, seen.mode, seen.size, digest)
            else:
                pending.append(path)
        self._upload_links(dict(links), scratch)
        for path in self._upload_files(scan, pending, entries):
            self._upload_copy(path, entries, scratch)
        self._seeing.forget_all_but(entries.keys())
        return entries

    def upload_bytes(self, contents: Sequence[bytes], scratch: Path, kind: str = "blob") -> list[str]:
        """Write contents, and return their names."""
        paths = []
        for number, content in enumerate(contents):
            path = scratch / f"{kind}-{number}"
            path.write_bytes(content)
            paths.append(path)
        return self._hash(map(str, paths), kind)

    def _upload_links(self, links: Mapping[str, bytes], scratch: Path) -> None:
        if links:
            self.upload_bytes(list(links.values()), scratch)

    def _upload_files(self, scan: Scan, pending: list[str], entries: dict[str, Entry]) -> list[str]:
        """Write files from where they are; return those that changed meanwhile."""
        for _ in range(_ATTEMPTS):
            if not pending:
                return []
            read_at = self._seeing.now()
            try:
                digests = self._hash(pending)
            except AsmError as error:
                if error.code != ErrorCode.COMMAND_FAILED:
                    raise
                # One of them is gone, or may not be read: which one, git says only in words.
                pending = [path for path in pending if _is_file(self._root / path)]
                continue
            changed = []
            for path, digest in zip(pending, digests, strict=True):
                seen, now = scan.files[path], _seen(self._root / path)
                if now is not None and now.stamp == seen.stamp:
                    entries[path] = Entry(FILE, seen.mode, seen.size, digest)
                    self._seeing.remember(path, seen, digest, read_at)
                elif now is not None:
                    changed.append(path)
            return changed
        return pending

    def _upload_copy(self, path: str, entries: dict[str, Entry], scratch: Path) -> None:
        """Write a file that does not hold still, by way of a copy."""
        copy, place = scratch / "copy", self._root / path
        seen = _seen(place)
        if seen is None or seen.kind != FILE:
            return
        try:
            handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW)
            with os.fdopen(handle, "rb") as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target)
        except FileNotFoundError:
            return
        except OSError as error:
            raise AsmError.wrap(
                ErrorCode.STORAGE_READ_FAILED, error, f"{path!r} cannot be read: {error.strerror}"
            ) from error
        entries[path] = Entry(FILE, seen.mode, copy.stat().st_size, self._hash([str(copy)])[0])

    def _hash(self, paths: Iterable[str], kind: str = "blob") -> list[str]:
        lines = b"".join(quoted(path) + b"\n" for path in paths)
        words = ("--no-filters",) if kind == "blob" else ()
        return self._git.text(
            "hash-object", "-w", "-t", kind, *words, "--stdin-paths", stdin=lines
        ).splitlines()


def _seen(path: Path) -> Any:
    try:
        return see(path.lstat())
    except OSError:
        return None


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


class TreeWriter:
    """Makes tree objects. Gathers them, and writes all at once.

    Args:
        digest: Gives an object its name.
    """

    def __init__(self, digest: Callable[[bytes], str]) -> None:
        self._digest = digest
        self._lines: list[bytes] = []

    def add(self, entries: Mapping[str, tuple[str, str]]) -> str:
        """Add a tree with all trees below it.

        Args:
            entries: Mode and object of each path.

        Returns:
            Its name.
        """
        folders: dict[str, dict[str, tuple[str, str]]] = {"": {}}
        for path, entry in entries.items():
            folder, _, name = path.rpartition("/")
            while folder not in folders:
                folders[folder] = {}
                above = folder.rpartition("/")[0]
                if above in folders:
                    break
                folder = above
            folders[path.rpartition("/")[0]][name] = entry
        for folder in sorted(folders, key=lambda path: path.count("/") + bool(path), reverse=True):
            name = self._tree(folders[folder])
            if folder:
                above, _, last = folder.rpartition("/")
                folders.setdefault(above, {})[last] = ("40000", name)
        return name

    def _tree(self, entries: Mapping[str, tuple[str, str]]) -> str:
        raw, lines = b"", b""
        for name, (mode, found) in sorted(
            ((os.fsencode(name), entry) for name, entry in entries.items()),
            key=lambda item: item[0] + b"/" if item[1][0] == "40000" else item[0],
        ):
            raw += mode.encode() + b" " + name + b"\0" + bytes.fromhex(found)
            kind = {"40000": "tree", "160000": "commit"}.get(mode, "blob")
            lines += f"{mode} {kind} {found}\t".encode() + name + b"\0"
        self._lines.append(lines + b"\0")
        return self._digest(b"tree %d\0" % len(raw) + raw)

    def write(self, git: Git) -> list[str]:
        """Write what was added."""
        return git.text("mktree", "-z", "--batch", "--missing", stdin=b"".join(self._lines)).splitlines()


class Batch:
    """Takes the output of ``cat-file --batch`` in whatever pieces it comes.

    Args:
        begin: Called with the size of each object, or None if there is no such object.
        write: Called with each piece.
        finish: Called after each object that there is.
    """

    def __init__(
        self, begin: Callable[[int | None], None], write: Callable[[bytes], None], finish: Callable[[], None]
    ) -> None:
        self._begin, self._write, self._finish = begin, write, finish
        self._head = b""
        self._left: int | None = None

    def feed(self, data: bytes) -> None:
        """Take a piece of output."""
        view = memoryview(data)
        while view:
            if self._left is None:
                view = self._take_head(view)
            elif self._left > 0:
                piece = view[: self._left]
                self._write(bytes(piece))
                self._left -= len(piece)
                view = view[len(piece) :]
            else:  # the line end after the content
                view = view[1:]
                self._left = None
                self._finish()

    def _take_head(self, view: memoryview) -> memoryview:
        found = bytes(view)
        end = found.find(b"\n")
        if end < 0:
            self._head += found
            return view[len(view) :]
        head, self._head = self._head + found[:end], b""
        if head.endswith((b" missing", b" ambiguous")):
            self._begin(None)
        else:
            self._left = int(head.rpartition(b" ")[2])
            self._begin(self._left)
        return view[end + 1 :]


def read_blobs(git: Git, names: Sequence[str]) -> list[bytes | None]:
    """Read small objects; None for each that there is none of."""
    found: list[bytes | None] = []

    def begin(size: int | None) -> None:
        found.append(None if size is None else b"")

    def write(piece: bytes) -> None:
        pieces.append(piece)

    def finish() -> None:
        found[-1] = b"".join(pieces)
        pieces.clear()

    pieces: list[bytes] = []
    batch = Batch(begin, write, finish)
    git.run("cat-file", "--batch", stdin=_lines(names), on_output=batch.feed, max_output_bytes=0)
    return found


def fetch_from(git: Git) -> Callable[[Sequence[Write]], None]:
    """Return what gives files their contents out of the object database."""

    def fetch(writes: Sequence[Write]) -> None:
        waiting = iter(writes)
        current: list[Write] = []

        def begin(size: int | None) -> None:
            write = next(waiting)
            if size is None:
                raise AsmError(
                    ErrorCode.STORAGE_READ_FAILED, f"the copy of {write.path!r} is gone from the repository"
                )
            current[:] = [write]
            write.begin()

        def write(piece: bytes) -> None:
            current[0].write(piece)

        def finish() -> None:
            current[0].finish()

        batch = Batch(begin, write, finish)
        if writes:
            names = [write.entry.content for write in writes]
            git.run("cat-file", "--batch", stdin=_lines(names), on_output=batch.feed, max_output_bytes=0)

    return fetch


def _lines(names: Iterable[str]) -> bytes:
    return b"".join(f"{name}\n".encode() for name in names)
