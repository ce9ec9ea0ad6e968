"""Clocks: time is an argument here, so that a test can jump it.

Two readings are enough: a monotonic one for timers and durations, and a civil one for records that people read.
"""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Where a dispatcher and its actors read the time."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back. For timers and durations."""
        ...

    def time_us(self) -> int:
        """Microseconds since 1970-01-01 UTC. For time stamps in records."""
        ...


class SystemClock:
    """The clocks of the operating system."""

    __slots__ = ()

    def monotonic(self) -> float:
        """Seconds of the system's monotonic clock."""
        return time.monotonic()

    def time_us(self) -> int:
        """Microseconds of the system's civil clock."""
        return time.time_ns() // 1000
