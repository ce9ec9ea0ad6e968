"""Which target a session had last. Pure: the time is given.

Entries stand in the order in which they end, since each use moves its entry to the end: forgetting what is over
looks at nothing else.
"""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_STICKY", "StickyTable"]

MAX_STICKY: Final = 100_000
"""Entries that a table holds; beyond that it forgets the oldest, whose sessions are routed as new ones."""


class StickyTable:
    """Targets by key, each for so many seconds after it was last kept.

    Args:
        ttl: Seconds; 0 keeps nothing.
        most: Entries it holds.
    """

    __slots__ = ("_entries", "_most", "_ttl")

    def __init__(self, ttl: float, most: int = MAX_STICKY) -> None:
        self._ttl = ttl
        self._most = most
        self._entries: dict[str, tuple[str, float]] = {}

    def get(self, key: str, now: float) -> str | None:
        """Return the target of a key; None if there is none, or its time is over."""
        found = self._entries.get(key)
        return found[0] if found is not None and now < found[1] else None

    def keep(self, key: str, target: str, now: float) -> None:
        """Note the target of a key, for the whole time from now on."""
        self._entries.pop(key, None)
        if self._ttl > 0:
            self._entries[key] = (target, now + self._ttl)
        self._prune(now)

    def forget(self, key: str) -> None:
        """Forget a key."""
        self._entries.pop(key, None)

    def forget_target(self, target: str) -> None:
        """Forget every key of a target."""
        self._entries = {key: entry for key, entry in self._entries.items() if entry[0] != target}

    def count(self, now: float) -> int:
        """Return how many entries hold."""
        return sum(now < until for _, until in tuple(self._entries.values()))

    def _prune(self, now: float) -> None:
        while self._entries:
            oldest = next(iter(self._entries))
            if len(self._entries) <= self._most and now < self._entries[oldest][1]:
                return
            del self._entries[oldest]
