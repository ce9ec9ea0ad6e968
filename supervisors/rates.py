"""How often something may begin: a rate with a burst. Pure; time is given."""

from __future__ import annotations

import sys
from math import inf

from attrs import field, frozen

__all__ = ["Rate", "TokenBucket"]

_CLOSE_ENOUGH = 1e-9
"""Seconds by which a timer may seem to be early, for sums of times are rounded."""


@frozen
class Rate:
    """At most `burst` at once, and in the long run `per_second`: in any `s` seconds ``burst + s * per_second``.

    Raises:
        ValueError: The rate is no number above 0 (from ``sys.float_info.min`` to ``sys.float_info.max``), or the burst
            no integer of at least 1.
    """

    per_second: float = field()
    burst: int = field(default=1)

    @per_second.validator
    def _check_rate(self, _: object, value: object) -> None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # What is smaller than a normal float has no finite interval; what is larger is no float.
        if not is_number or not sys.float_info.min <= value <= sys.float_info.max:  # type: ignore[operator]
            raise ValueError("a rate must be a number above 0")

    @burst.validator
    def _check_burst(self, _: object, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError("a burst must be an int of at least 1")


class TokenBucket:
    """Tokens that come back with time; full at the beginning.

    Args:
        rate: How fast, and how many there are when it is full.
    """

    __slots__ = ("_full_at", "_slack", "_step", "rate")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._step = 1.0 / rate.per_second
        self._slack = (rate.burst - 1) * self._step
        # When it will be full again if nobody takes any more: all there is to know.
        self._full_at = -inf

    def has(self, now: float, count: int = 1) -> bool:
        """Whether so many tokens are there."""
        if count > self.rate.burst:
            return False
        return self.ready_at(count) <= now + _CLOSE_ENOUGH

    def take(self, now: float) -> None:
        """Take a token, which must be there."""
        self._full_at = max(now, self._full_at) + self._step

    def ready_at(self, count: int = 1) -> float:
        """When so many tokens are there; in the past if they are."""
        return self._full_at - self._slack + (count - 1) * self._step

    def is_full(self, now: float) -> bool:
        """Whether it is as if nobody had ever taken any."""
        return self._full_at <= now

    def level(self, now: float) -> int:
        """How many tokens are there."""
        missing = max(0.0, self._full_at - now - _CLOSE_ENOUGH) / self._step
        return max(0, self.rate.burst - _up(missing))


def _up(number: float) -> int:
    whole = int(number)
    return whole if whole == number else whole + 1
