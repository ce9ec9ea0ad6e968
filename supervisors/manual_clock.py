"""`ManualClock`: time that moves only when a test says so."""

from __future__ import annotations

__all__ = ["ManualClock"]


class ManualClock:
    """Both clocks of `supervisors.clock.Clock`, moved by hand.

    Args:
        start_us: Civil time at the start, in microseconds since 1970; 2026-01-01 by default.
    """

    def __init__(self, start_us: int = 1_767_225_600_000_000) -> None:
        self._now = 0.0
        self._start_us = start_us

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._now

    def time_us(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        return self._start_us + round(self._now * 1_000_000)

    def move_to(self, seconds: float) -> None:
        """Set the monotonic time.

        Raises:
            ValueError: That would be back in time.
        """
        if seconds < self._now:
            raise ValueError(f"time does not go back: {seconds} < {self._now}")
        self._now = seconds

    def advance(self, seconds: float) -> None:
        """Move on by some seconds.

        Timers fire when their dispatcher is run; `SimulationDispatcher.advance` does both.
        """
        self.move_to(self._now + seconds)
