"""Restart intensity: how many restarts within a period are still normal.

The window holds the instants of recent restarts, newest last. Time is an argument, so the window knows no
clock. It changes in place: a window that allows many restarts would otherwise be copied at each of them.
"""

from __future__ import annotations

from collections import deque

__all__ = ["RestartWindow"]


class RestartWindow:
    """At most `intensity` restarts within any `period`."""

    __slots__ = ("_restarts", "intensity", "period")

    def __init__(self, intensity: int, period: float) -> None:
        """Make an empty window.

        Args:
            intensity: Restarts allowed within the period; 0 allows none.
            period: Seconds over which they are counted, both ends included.
        """
        self.intensity = intensity
        self.period = period
        self._restarts: deque[float] = deque()

    def record(self, now: float) -> bool:
        """Count one restart.

        Args:
            now: Monotonic seconds, not before those of the last call.

        Returns:
            True if there are now more restarts within the period than allowed: the supervisor must give up.
        """
        self._expire(now)
        self._restarts.append(now)
        return len(self._restarts) > self.intensity

    def count(self, now: float) -> int:
        """Count the restarts within the period that ends now.

        Args:
            now: Monotonic seconds.
        """
        self._expire(now)
        return len(self._restarts)

    def _expire(self, now: float) -> None:
        threshold = now - self.period
        restarts = self._restarts
        while restarts and restarts[0] < threshold:
            restarts.popleft()
