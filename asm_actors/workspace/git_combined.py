"""Differences between two snapshots whose work trees have repositories inside.

The trees of all are put together into one for each snapshot, in an object database of the moment that looks into
those of all repositories; so a file that went from one into another is a file that moved, and there is one patch.
Commits that HEADs of the repositories name are told besides, in git's own way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from asm_actors.workspace.git_calls import Git, quoted
from asm_actors.workspace.git_diff import changes_between, patch_between
from asm_actors.workspace.git_nested import Inner, git_dirs_of
from asm_actors.workspace.git_objects import TreeWriter
from asm_actors.workspace.snapshot import Change, ChangeKind, displayed
from asm_actors.workspace.tree import Entry, Tree, parents_of

__all__ = ["Combined", "Side"]

_LINK: Final = "160000"


class Side(NamedTuple):
    """One of the two snapshots."""

    tree: Tree
    nested: Mapping[str, Inner]

    @property
    def files(self) -> dict[str, Entry]:
        """All files, those in repositories inside, too."""
        found = dict(self.tree.files)
        for path, inner in self.nested.items():
            found.update((f"{path}/{name}", entry) for name, entry in inner.files.items())
        return found

    @property
    def heads(self) -> dict[str, str]:
        """The commits of repositories inside that have one."""
        return {path: inner.head for path, inner in self.nested.items() if inner.head is not None}


class Combined:
    """A difference.

    Args:
        git: Calls git at the top.
        name_of: Gives an object its name.
        before: The earlier state.
        after: The later one.
        scratch: A directory for the object database; it must stay until all is told.

    Attributes:
        changes: one for each file, by path.
        metadata: what `Diff.metadata` says of what could not be told.
    """

    def __init__(
        self, git: Git, name_of: Callable[[bytes], str], before: Side, after: Side, scratch: Path
    ) -> None:
        self._git = _looking_into_all(git, (before, after), scratch)
        not_compared = {
            path for side in (before, after) for path, inner in side.nested.items() if inner.ref is None
        }
        unread = self._unread((before, after)) - not_compared
        left_out = not_compared | unread
        trees = TreeWriter(name_of)
        old, new = before.files, after.files
        self._roots = trees.add(_named(old, left_out)), trees.add(_named(new, left_out))
        trees.write(self._git)
        links = _links(before.heads, after.heads)
        unread_changes = [
            _plain_change(path, old.get(path), new.get(path))
            for path in sorted(old.keys() | new.keys())
            if _is_within(path, unread)
            and not _is_within(path, not_compared)
            and _has_changed(old.get(path), new.get(path))
        ]
        told = (*changes_between(self._git, *self._roots), *(change for change, _ in links), *unread_changes)
        self.changes = tuple(sorted(told, key=lambda change: change.path))
        self._link_patch = b"".join(text for _, text in links)
        lists = {"not_compared": not_compared, "not_counted": unread if unread_changes else set()}
        self.metadata: dict[str, Any] = {
            name: sorted(map(displayed, paths)) for name, paths in lists.items() if paths
        }
        if self.metadata:
            self.metadata["patch_is_exact"] = False

    def patch(self, bound: int) -> tuple[bytes, int]:
        """Return the patch up to a bound, and how long it is."""
        text, size = patch_between(self._git, *self._roots, bound)
        return (self._link_patch + text)[:bound], len(self._link_patch) + size

    def _unread(self, sides: tuple[Side, Side]) -> set[str]:
        """The repositories inside whose contents cannot be read (any more), or have names of another kind."""
        refs = [
            (path, inner.ref)
            for side in sides
            for path, inner in side.nested.items()
            if inner.ref is not None
        ]
        lines = "".join(f"{ref}\n" for _, ref in refs).encode()
        lines_told = self._git.text("cat-file", "--batch-check", stdin=lines).splitlines()
        return {
            path
            for (path, _), line in zip(refs, lines_told, strict=True)
            if line.split(" ")[1:2] != ["commit"]
        }


def _looking_into_all(git: Git, sides: tuple[Side, Side], scratch: Path) -> Git:
    root = Path(git.directory)
    own = scratch / "objects"
    own.mkdir()
    found = {git.text("rev-parse", "--path-format=absolute", "--git-path", "objects"): None}
    git_dirs = [
        git_dir
        for side in sides
        for path, inner in side.nested.items()
        if inner.ref is not None
        for git_dir in git_dirs_of(root / path, inner)
    ]
    for git_dir in dict.fromkeys(git_dirs):
        words = ("rev-parse", "--path-format=absolute", "--git-path", "objects")
        told = git.at(git_dir, root).run(*words, success=(0, 128))
        if not told.exit_code:
            found[told.stdout.decode("utf-8", "surrogateescape").removesuffix("\n")] = None
    return git.with_env(
        {
            "GIT_OBJECT_DIRECTORY": str(own),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": ":".join(map(_in_quotes, found)),
        }
    )


def _in_quotes(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _is_within(path: str, folders: set[str]) -> bool:
    return bool(folders) and any(above in folders for above in parents_of(path))


def _named(files: Mapping[str, Entry], left_out: set[str]) -> dict[str, tuple[str, str]]:
    return {
        path: (entry.git_mode, entry.content)
        for path, entry in files.items()
        if not _is_within(path, left_out)
    }


def _has_changed(old: Entry | None, new: Entry | None) -> bool:
    return old is None or new is None or (old.git_mode, old.content) != (new.git_mode, new.content)


def _plain_change(path: str, old: Entry | None, new: Entry | None) -> Change:
    kind = ChangeKind.ADDED if old is None else ChangeKind.DELETED if new is None else ChangeKind.MODIFIED
    return Change(
        path=displayed(path),
        kind=kind,
        old_mode=old and old.git_mode,
        new_mode=new and new.git_mode,
        old_bytes=None if old is None else old.size,
        new_bytes=None if new is None else new.size,
    )


def _links(before: Mapping[str, str], after: Mapping[str, str]) -> list[tuple[Change, bytes]]:
    """Tell which repositories inside came, went, or are at another commit, each with its part of the patch."""
    found = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        kind = ChangeKind.ADDED if old is None else ChangeKind.DELETED if new is None else ChangeKind.MODIFIED
        change = Change(
            path=displayed(path),
            kind=kind,
            old_mode=None if old is None else _LINK,
            new_mode=None if new is None else _LINK,
            insertions=int(new is not None),
            deletions=int(old is not None),
        )
        found.append((change, _link_patch(path, old, new)))
    return found


def _link_patch(path: str, old: str | None, new: str | None) -> bytes:
    names = quoted(f"a/{path}"), quoted(f"b/{path}")
    none = "0" * len(old or new or "")
    lines = [b"diff --git %s %s" % names]
    if old is None:
        lines.append(b"new file mode 160000")
    elif new is None:
        lines.append(b"deleted file mode 160000")
    mode = " 160000" if old and new else ""
    lines.append(f"index {old or none}..{new or none}{mode}".encode())
    lines.append(b"--- %s" % (b"/dev/null" if old is None else names[0]))
    lines.append(b"+++ %s" % (b"/dev/null" if new is None else names[1]))
    lines.append(b"@@ -%s +%s @@" % (b"1" if old else b"0,0", b"1" if new else b"0,0"))
    if old is not None:
        lines.append(f"-Subproject commit {old}".encode())
    if new is not None:
        lines.append(f"+Subproject commit {new}".encode())
    return b"\n".join(lines) + b"\n"
