"""Differences between two snapshots in a repository, read from git's own words."""

from __future__ import annotations

from typing import Final

from asm_actors.workspace.git_calls import Git
from asm_actors.workspace.snapshot import Change, ChangeKind, displayed

__all__ = ["changes_between", "patch_between"]

_SHOWN: Final = (
    "diff-tree",
    "-r",
    "--find-renames",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--full-index",
    "--diff-algorithm=myers",
)
_KINDS: Final = {"A": ChangeKind.ADDED, "D": ChangeKind.DELETED, "R": ChangeKind.RENAMED}


def changes_between(git: Git, before: str, after: str) -> tuple[Change, ...]:
    """Return what changed, by path."""
    items = iter(git.items(*_SHOWN, "--raw", "--numstat", "-z", before, after, "--"))
    raw: dict[str, tuple[str, str, str, str, str, str | None]] = {}
    counted: dict[str, tuple[int, int, bool]] = {}
    for item in items:
        if item.startswith(":"):
            old_mode, new_mode, old, new, status = item[1:].split(" ")
            old_path = next(items) if status[0] in "RC" else None
            raw[next(items)] = (old_mode, new_mode, old, new, status[0], old_path)
        else:
            plus, minus, path = item.split("\t", 2)
            if not path:
                next(items)
                path = next(items)
            counted[path] = (0, 0, True) if plus == "-" else (int(plus), int(minus), False)
    sizes = _sizes(git, raw)
    found = []
    for path, (old_mode, new_mode, old, new, status, old_path) in raw.items():
        came, went, is_binary = counted.get(path, (0, 0, False))
        found.append(
            Change(
                path=displayed(path),
                kind=_KINDS.get(status, ChangeKind.MODIFIED),
                old_path=None if old_path is None else displayed(old_path),
                old_mode=_mode(old_mode),
                new_mode=_mode(new_mode),
                old_bytes=sizes.get(old),
                new_bytes=sizes.get(new),
                insertions=came,
                deletions=went,
                binary=is_binary,
            )
        )
    return tuple(sorted(found, key=lambda change: change.path))


def patch_between(git: Git, before: str, after: str, bound: int) -> tuple[bytes, int]:
    """Return the patch up to a bound, and how long it is."""
    result = git.run(
        *_SHOWN,
        "-p",
        "--binary",
        "-U3",
        "--inter-hunk-context=0",
        "--src-prefix=a/",
        "--dst-prefix=b/",
        "--submodule=short",
        before,
        after,
        "--",
        max_output_bytes=bound,
    )
    return result.stdout, result.stdout_bytes


def _mode(mode: str) -> str | None:
    return mode if mode.strip("0") else None


def _sizes(git: Git, raw: dict[str, tuple[str, str, str, str, str, str | None]]) -> dict[str, int]:
    """Return the sizes of contents; commits of repositories inside have none."""
    names = {
        name
        for old_mode, new_mode, old, new, _, _ in raw.values()
        for mode, name in ((old_mode, old), (new_mode, new))
        if mode.strip("0") and mode != "160000"
    }
    if not names:
        return {}
    lines = "".join(f"{name}\n" for name in names).encode()
    told = git.text("cat-file", "--batch-check=%(objectname) %(objectsize)", stdin=lines).splitlines()
    return {name: int(size) for name, size in (line.split(" ") for line in told) if size != "missing"}
