"""The order in which those who wait are served: by priority, then by place, and nobody is passed over for ever."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, Generic, TypeAlias, TypeVar

__all__ = ["AGEING", "PriorityLine", "Rank", "rank_of"]

AGEING: Final = 1_000
"""Places in a line which one step of priority is worth.

So who waits at priority 0 is passed over by at most so many that come later at priority 1, by twice as many at
priority 2: waiting is worth priority, and nobody needs a clock for it.
"""

T = TypeVar("T")

Rank: TypeAlias = tuple[int, int]
"""The smaller one goes first."""


def rank_of(place: int, priority: int = 0) -> Rank:
    """Return the rank of one who waits.

    Args:
        place: Counts up with each that begins to wait.
        priority: Higher goes first; of equal ones who came first does.
    """
    return (place - priority * AGEING, place)


class PriorityLine(Generic[T]):
    """Items by rank. Adding one in order, taking the first and removing any take constant time; out of order: log n."""

    __slots__ = ("_early", "_last", "_n_added", "_ranks", "_tail")

    def __init__(self) -> None:
        # Not a plain dict: taking its first entry scans the places of all that left before.
        self._tail: OrderedDict[T, Rank] = OrderedDict()
        self._last: Rank = (0, 0)
        # What came later than its rank, as a heap. What was removed stays there until it comes up, or is in the way.
        self._early: list[tuple[Rank, int, T]] = []
        self._ranks: dict[T, Rank] = {}
        self._n_added = 0

    def add(self, item: T, rank: Rank) -> None:
        """Put an item that is not in the line where its rank says."""
        if not self._tail or rank >= self._last:
            self._tail[item] = self._last = rank
            return
        self._n_added += 1
        self._ranks[item] = rank
        heapq.heappush(self._early, (rank, self._n_added, item))

    def first_rank(self) -> Rank:
        """Return the rank of the first item; there must be one."""
        if not self._ranks:
            return next(iter(self._tail.values()))
        early = self._first_early()[0]
        return min(early, next(iter(self._tail.values()))) if self._tail else early

    def first(self) -> T:
        """Return the first item; there must be one."""
        if not self._ranks:
            return next(iter(self._tail))
        rank, _, item = self._first_early()
        if self._tail:
            other = next(iter(self._tail))
            if self._tail[other] < rank:
                return other
        return item

    def pop(self) -> T:
        """Take the first item out; there must be one."""
        if not self._ranks:
            return self._tail.popitem(last=False)[0]
        item = self.first()
        self.remove(item)
        return item

    def remove(self, item: T) -> bool:
        """Take an item out of its place; return whether it was there."""
        if self._tail.pop(item, None) is not None:
            return True
        if self._ranks.pop(item, None) is None:
            return False
        if len(self._early) > 2 * len(self._ranks) + 16:
            self._early = [entry for entry in self._early if self._ranks.get(entry[2]) == entry[0]]
            heapq.heapify(self._early)
        return True

    def _first_early(self) -> tuple[Rank, int, T]:
        while self._ranks.get(self._early[0][2]) != self._early[0][0]:
            heapq.heappop(self._early)
        return self._early[0]

    def __contains__(self, item: object) -> bool:
        return item in self._tail or item in self._ranks

    def __iter__(self) -> Iterator[T]:
        """Go through the items in their order."""
        if not self._ranks:
            return iter(tuple(self._tail))
        return iter([item for item, _ in sorted([*self._tail.items(), *self._ranks.items()], key=_by_rank)])

    def __len__(self) -> int:
        return len(self._tail) + len(self._ranks)


def _by_rank(entry: tuple[object, Rank]) -> Rank:
    return entry[1]
