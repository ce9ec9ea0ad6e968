"""How large a journal's map may become, and what is kept free for erasing. It knows no more of LMDB than its numbers.

LMDB writes a page anew for whatever changes in it, so that even deleting needs free pages first. A map that is bounded
may therefore exceed its bound by a headroom, while something is erased. Whatever else is written afterwards still finds
no more than the bound: it may use the pages that became free, but not let all that is in use grow beyond it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

__all__ = ["Room", "sizes_of"]

_LEAST: Final = 4 << 20
_MOST: Final = 128 << 20


def sizes_of(env: Any) -> tuple[int, int]:
    """Return the bytes that the file of an environment has in use, free pages included, and the bytes of its map."""
    info = env.info()
    return (info["last_pgno"] + 1) * env.stat()["psize"], info["map_size"]


class Room:
    """The bound of one map.

    Args:
        bound: bytes, or None to grow as long as the system allows.
    """

    def __init__(self, bound: int | None) -> None:
        self.bound = bound
        self._lent = 0

    @contextmanager
    def for_erasing(self) -> Iterator[None]:
        """A block whose writes may use the headroom; nobody else writes meanwhile."""
        self._lent += 1
        try:
            yield
        finally:
            self._lent -= 1

    def larger(self, size: int) -> int:
        """Return the size to grow to from a size; the same if it may not grow."""
        if self.bound is None:
            return size * 2
        headroom = max(_LEAST, min(2 * self.bound, _MOST)) if self._lent else 0
        return max(size, min(size * 2, self.bound + headroom))

    def tighten(self, env: Any, resize: Callable[[int], None]) -> bool:
        """Take the headroom back before a write, and tell whether the file is beyond the bound all the same."""
        if self.bound is None or self._lent:
            return False
        used, size = sizes_of(env)
        if size > max(used, self.bound):
            resize(max(used, self.bound))
        return used > self.bound

    def is_exceeded(self, txn: Any, tables: Mapping[str, Any]) -> bool:
        """Whether the pages that are in use after a transaction exceed the bound; free ones do not count."""
        pages = size = 0
        for table in tables.values():
            found = txn.stat(table)
            pages += found["branch_pages"] + found["leaf_pages"] + found["overflow_pages"]
            size = found["psize"]
        return self.bound is not None and pages * size > self.bound
