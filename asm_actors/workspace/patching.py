"""Differences between two trees, and a patch that ``git apply`` takes. For directories without git."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from asm_actors.workspace.git_calls import quoted
from asm_actors.workspace.snapshot import Change, ChangeKind, displayed
from asm_actors.workspace.tree import Entry, Tree

__all__ = ["Patch", "compare"]

_TEXT_BYTES: Final = 262_144
"""Larger files are told as binary: comparing lines takes time that grows with the square of their number."""
_TEXT_LINES: Final = 10_000
_LOOKED_AT: Final = 8_000


class Patch(NamedTuple):
    """What changed."""

    changes: tuple[Change, ...]
    """One for each file, by path."""
    text: bytes
    """The patch; binary files are only named in it."""
    is_exact: bool
    """Whether it holds all that changed."""


class _Pair(NamedTuple):
    old_path: str | None
    old: Entry | None
    new_path: str | None
    new: Entry | None


def compare(before: Tree, after: Tree, read: Callable[[Entry], bytes]) -> Patch:
    """Compare two trees.

    Args:
        before: The earlier one.
        after: The later one.
        read: Returns a content.
    """
    changes, texts, is_exact = [], [], True
    for pair in _pairs(before, after):
        came, went, text, is_binary = _compared(pair, read)
        is_exact = is_exact and not is_binary
        texts.append(text)
        changes.append(_change(pair, came, went, is_binary=is_binary))
    return Patch(tuple(changes), b"".join(texts), is_exact)


def _pairs(before: Tree, after: Tree) -> Iterable[_Pair]:
    old, new = before.files, after.files
    gone = {path: entry for path, entry in old.items() if path not in new}
    come = {path: entry for path, entry in new.items() if path not in old}
    moved: dict[str, str] = {}
    by_content: dict[tuple[str, str], list[str]] = {}
    for path in sorted(gone, reverse=True):
        by_content.setdefault((gone[path].kind, gone[path].content), []).append(path)
    for path in sorted(come):
        if (sources := by_content.get((come[path].kind, come[path].content))) and come[path].size:
            moved[path] = sources.pop()
    sources_moved = set(moved.values())
    for path in sorted(old.keys() | new.keys()):
        if path in moved:
            yield _Pair(moved[path], old[moved[path]], path, new[path])
        elif path in sources_moved:
            continue
        elif path in gone:
            yield _Pair(path, old[path], None, None)
        elif path in come:
            yield _Pair(None, None, path, new[path])
        elif _differ(old[path], new[path]):
            yield _Pair(path, old[path], path, new[path])


def _differ(old: Entry, new: Entry) -> bool:
    return (old.git_mode, old.content) != (new.git_mode, new.content)


def _change(pair: _Pair, came: int, went: int, *, is_binary: bool) -> Change:
    old, new = pair.old, pair.new
    if old is None:
        kind = ChangeKind.ADDED
    elif new is None:
        kind = ChangeKind.DELETED
    else:
        kind = ChangeKind.RENAMED if pair.old_path != pair.new_path else ChangeKind.MODIFIED
    return Change(
        path=displayed(pair.new_path or pair.old_path or ""),
        kind=kind,
        old_path=displayed(pair.old_path) if kind == ChangeKind.RENAMED and pair.old_path else None,
        old_mode=old and old.git_mode,
        new_mode=new and new.git_mode,
        old_bytes=None if old is None else old.size,
        new_bytes=None if new is None else new.size,
        insertions=came,
        deletions=went,
        binary=is_binary,
    )


def _compared(pair: _Pair, read: Callable[[Entry], bytes]) -> tuple[int, int, bytes, bool]:
    """Return lines that came and went, the patch of one file, and whether it is binary."""
    if pair.old is not None and pair.new is not None and pair.old.kind != pair.new.kind:
        # Git, too, tells of another kind of file as of one that went and one that came.
        gone = _compared(_Pair(pair.old_path, pair.old, None, None), read)
        come = _compared(_Pair(None, None, pair.new_path, pair.new), read)
        return come[0], gone[1], gone[2] + come[2], gone[3] or come[3]
    head = _head(pair)
    if pair.old is not None and pair.new is not None and pair.old.content == pair.new.content:
        return 0, 0, head, False
    old, new = (None if entry is None else _lines(entry, read) for entry in (pair.old, pair.new))
    names = _name("a/", pair.old_path), _name("b/", pair.new_path)
    if (old is None and pair.old is not None) or (new is None and pair.new is not None):
        return 0, 0, head + b"Binary files %s and %s differ\n" % names, True
    body: list[bytes] = []
    came = went = 0
    for line in difflib.diff_bytes(difflib.unified_diff, old or [], new or [], *names, lineterm=b"\n"):
        if len(body) > 1:  # after the two lines of names
            came += line.startswith(b"+")
            went += line.startswith(b"-")
        body.append(line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n")
    return came, went, head + b"".join(body), False


def _lines(entry: Entry, read: Callable[[Entry], bytes]) -> list[bytes] | None:
    """Return the lines of a content, or None if it is told as binary."""
    if entry.size > _TEXT_BYTES:
        return None
    content = read(entry)
    if b"\0" in content[:_LOOKED_AT] or content.count(b"\n") > _TEXT_LINES:
        return None
    lines = content.split(b"\n")
    last = lines.pop()
    return [line + b"\n" for line in lines] + ([last] if last else [])


def _head(pair: _Pair) -> bytes:
    path = pair.new_path or pair.old_path
    names = _name("a/", pair.old_path or path), _name("b/", path)
    lines = [b"diff --git %s %s" % names]
    if pair.old is None and pair.new is not None:
        lines.append(f"new file mode {pair.new.git_mode}".encode())
    elif pair.new is None and pair.old is not None:
        lines.append(f"deleted file mode {pair.old.git_mode}".encode())
    elif pair.old is not None and pair.new is not None:
        if pair.old.git_mode != pair.new.git_mode:
            lines += [f"old mode {pair.old.git_mode}".encode(), f"new mode {pair.new.git_mode}".encode()]
        if pair.old_path != pair.new_path:
            lines += [b"similarity index 100%"]
            lines += [
                b"rename from " + quoted(pair.old_path or ""),
                b"rename to " + quoted(pair.new_path or ""),
            ]
    return b"\n".join(lines) + b"\n"


def _name(prefix: str, path: str | None) -> bytes:
    return b"/dev/null" if path is None else quoted(prefix + path)
