"""Back-off: the growing pause before the next restart, as a pure function of the attempt.

The curve is tenacity's `wait_exponential`; the random part comes from an injected source, so a seeded
simulation repeats its pauses exactly. This is the only file that knows tenacity.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from attrs import Attribute, field, frozen
from tenacity import RetryCallState, Retrying
from tenacity.wait import wait_base, wait_exponential

__all__ = ["Backoff"]

_RETRYING = Retrying()  # tenacity's wait objects want a call state, and that wants an owner; both stay unused


def _state(attempt: int) -> RetryCallState:
    state = RetryCallState(_RETRYING, None, (), {})
    state.attempt_number = attempt
    return state


class _Jittered(wait_base):
    """Take a random part off another wait, so that children that fell together do not return together."""

    def __init__(self, wait: wait_base, share: float, draw: Callable[[], float]) -> None:
        self.wait = wait
        self.share = share
        self.draw = draw

    def __call__(self, retry_state: RetryCallState) -> float:
        pause = self.wait(retry_state)
        return pause * (1.0 - self.share * self.draw())


def _check_seconds(owner: object, attribute: Attribute[float], value: Any) -> None:
    del owner
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"{attribute.name} must be seconds of 0 or more, not {value!r}")


def _check_maximum(owner: Backoff, attribute: Attribute[float], value: Any) -> None:
    _check_seconds(owner, attribute, value)
    if value < owner.initial:
        raise ValueError(f"maximum ({value!r}) must not be less than initial ({owner.initial!r})")


def _check_factor(owner: object, attribute: Attribute[float], value: float) -> None:
    del owner
    if not 1 <= value < math.inf:
        raise ValueError(f"{attribute.name} must be 1 or more, not {value!r}")


def _check_jitter(owner: object, attribute: Attribute[float], value: float) -> None:
    del owner
    if not 0 <= value <= 1:
        raise ValueError(f"{attribute.name} must be between 0 and 1, not {value!r}")


@frozen
class Backoff:
    """Pauses that grow by a factor from `initial` to `maximum`, each cut by a random share.

    Attributes:
        initial: Seconds before the first restart; 0 gives no pause at any attempt.
        maximum: Longest pause in seconds.
        factor: Growth from one attempt to the next, 1 or more.
        jitter: Largest share of a pause that is taken off at random: 0 none, 1 all.
        stable_after: A child that lived this many seconds is healthy again: its next restart is a first one.
        random: Gives numbers from 0 up to but without 1; `random.random` by default.

    Raises:
        ValueError: A field is out of its range.
    """

    initial: float = field(default=0.1, validator=_check_seconds)
    maximum: float = field(default=30.0, validator=_check_maximum)
    factor: float = field(default=2.0, validator=_check_factor)
    jitter: float = field(default=0.5, validator=_check_jitter)
    stable_after: float = field(default=60.0, validator=_check_seconds)
    random: Callable[[], float] = field(default=random.random, repr=False, eq=False, kw_only=True)
    _wait: wait_base = field(init=False, repr=False, eq=False)

    @_wait.default
    def _make_wait(self) -> wait_base:
        growing = wait_exponential(multiplier=self.initial, max=self.maximum, exp_base=self.factor)
        return _Jittered(growing, self.jitter, self.random)

    def delay(self, attempt: int) -> float:
        """Give the pause before an attempt.

        Args:
            attempt: 1 for the first restart in a row, 2 for the second, and so on.

        Returns:
            Seconds, between ``(1 - jitter)`` of the full pause and the full pause.

        Raises:
            ValueError: The attempt is less than 1.
        """
        if attempt < 1:
            raise ValueError(f"attempts count from 1, not from {attempt!r}")
        return self._wait(_state(attempt))

    def next_attempt(self, previous: int, lived: float) -> int:
        """Count one more restart, starting anew if the child had been stable.

        Args:
            previous: Attempts in a row so far; 0 for none.
            lived: Seconds the child ran since it was last started; 0 if it did not start.

        Returns:
            The number to give to `delay`.
        """
        return 1 if lived >= self.stable_after else previous + 1
