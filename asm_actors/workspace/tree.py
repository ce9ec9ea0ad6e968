"""What a snapshot knows of a directory: every file, folder and link in it, by path. Pure.

Paths are relative, with slashes; bytes that are no UTF-8 are lone surrogates in them, as Python's own file functions
have it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, Final, NamedTuple, Self

from attrs import Factory, frozen

from asm_actors.errors import AsmError, ErrorCode

__all__ = ["FILE", "LINK", "Entry", "Tree", "checked", "ignored_in", "parents_of"]

FILE: Final = "f"
LINK: Final = "l"


class Entry(NamedTuple):
    """A file or a symbolic link."""

    kind: str
    """`FILE` or `LINK`."""
    mode: int
    """Permission bits; those of a link mean nothing."""
    size: int
    """Bytes of the content."""
    content: str
    """Digest of the content; that of a link is where it points."""

    @property
    def git_mode(self) -> str:
        """The mode as git writes it."""
        if self.kind == LINK:
            return "120000"
        return "100755" if self.mode & 0o100 else "100644"


@frozen
class Tree:
    """A directory.

    Attributes:
        files: files and links.
        folders: permission bits of every folder; the directory itself is the empty path.
        repos: repositories inside, which are trees of their own, and what their HEAD was, or None.
        specials: pipes, sockets and devices, which are left alone.
        ignored: what was there and is left alone since it is ignored; a folder ends with a slash and stands for all
            below.
    """

    files: dict[str, Entry] = Factory(dict)
    folders: dict[str, int] = Factory(dict)
    repos: dict[str, str | None] = Factory(dict)
    specials: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def dump(self, **more: Any) -> bytes:
        """Return the tree, and whatever else is given, as JSON."""
        found = {
            "version": 1,
            "files": {path: list(entry) for path, entry in self.files.items()},
            "folders": self.folders,
            "repos": self.repos,
            "specials": self.specials,
            "ignored": self.ignored,
        }
        return json.dumps(found | more, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def load(cls, data: bytes, what: str) -> tuple[Self, dict[str, Any]]:
        """Read what :meth:`dump` wrote.

        Args:
            data: The JSON.
            what: Names it in an error.

        Returns:
            The tree, and the whole map.

        Raises:
            AsmError: ``storage_read_failed``: it is damaged, or of a later version.
        """
        try:
            found = json.loads(data)
            if found["version"] != 1:
                raise ValueError(f"version {found['version']}")
            tree = cls(
                files={checked(path): Entry(*entry) for path, entry in found["files"].items()},
                folders={path and checked(path): int(mode) for path, mode in found["folders"].items()},
                repos=dict(found["repos"]),
                specials=tuple(found["specials"]),
                ignored=tuple(found["ignored"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AsmError.wrap(
                ErrorCode.STORAGE_READ_FAILED, error, f"{what} cannot be read: {error}"
            ) from error
        return tree, found

    def digest(self) -> str:
        """Return a digest of all paths and contents: SHA-256 over lines ``path:digest`` in order."""
        summed = sha256()
        for path in sorted(self.files):
            summed.update(f"{path}:{self.files[path].content}\n".encode("utf-8", "surrogateescape"))
        return summed.hexdigest()

    def leaves(self) -> Callable[[str, bool], bool]:
        """Return a function of a path and whether it is a folder that tells what is ignored."""
        return ignored_in(self.ignored)


def ignored_in(paths: Iterable[str]) -> Callable[[str, bool], bool]:
    """Return a function of a path and whether it is a folder: whether it is among these; folders end with a slash."""
    known = frozenset(paths)
    return lambda path, is_folder: path in known or (is_folder and f"{path}/" in known)


def parents_of(path: str) -> Iterable[str]:
    """Give the folders that a path lies in, the innermost first, without the directory itself."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def checked(path: str) -> str:
    """Return a path; what is written by it must stay below the directory, whoever wrote the snapshot.

    Raises:
        ValueError: it leads elsewhere.
    """
    if (
        not path
        or path.startswith("/")
        or "\0" in path
        or any(part in {"", ".", ".."} for part in path.split("/"))
    ):
        raise ValueError(f"the path {path!r} leads elsewhere")
    return path
