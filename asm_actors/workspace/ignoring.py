"""Which paths a workspace without git leaves alone. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

__all__ = ["ignoring"]


def ignoring(roots: Iterable[str], paths: Iterable[str], globs: Iterable[str]) -> Callable[[str, bool], bool]:
    """Return a function of a path and whether it is a folder that tells whether it is left alone.

    Args:
        roots: Names of folders at the top.
        paths: Paths below the top; with all below them.
        globs: Patterns: ``*`` and ``?`` stand for anything but slashes, ``**`` for slashes, too. One without a slash
            fits the names of files and folders anywhere; what lies in a folder that fits is left alone with it.
    """
    known = {*roots, *(path.strip("/").removeprefix("./") for path in paths)}
    by_path = _any(glob.strip("/") for glob in globs if "/" in glob.strip("/"))
    by_name = _any(glob.strip("/") for glob in globs if "/" not in glob.strip("/"))

    def is_ignored(path: str, is_folder: bool) -> bool:
        return (
            path in known
            or (by_path is not None and by_path.fullmatch(path) is not None)
            or (by_name is not None and by_name.fullmatch(path.rpartition("/")[2]) is not None)
        )

    return is_ignored


def _any(globs: Iterable[str]) -> re.Pattern[str] | None:
    found = [_translated(glob) for glob in globs]
    return re.compile("|".join(found), re.DOTALL) if found else None


def _translated(glob: str) -> str:
    pattern, at = "", 0
    while at < len(glob):
        if glob.startswith("**/", at):
            pattern, at = pattern + "(?:.*/)?", at + 3
        elif glob.startswith("**", at):
            pattern, at = pattern + ".*", at + 2
        else:
            pattern += {"*": "[^/]*", "?": "[^/]"}.get(glob[at], re.escape(glob[at]))
            at += 1
    return pattern
