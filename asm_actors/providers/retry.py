"""When a failed turn is tried again, and how long to wait before.

The policy only computes. Whoever retries sleeps on its own clock, so that tests and simulations need no time.
Two rules:

1. Only errors that say ``retryable`` are tried again, and at most ``max_attempts`` tries are made in all.
2. A wait that the provider asked for (``Retry-After``) is a lower bound. If it is longer than
   ``max_retry_after`` the policy gives up: the caller should hear of it now, not in an hour.
"""

from __future__ import annotations

from typing import Protocol

import tenacity
from attrs import Attribute, field, frozen

from asm_actors.errors import AsmError
from asm_actors.jsonable import shown
from asm_actors.serialization import check_number, invalid

__all__ = ["RandomSource", "RetryPolicy"]


class RandomSource(Protocol):
    """Where the jitter comes from: ``random.Random(seed)``, or the module ``random`` itself."""

    def random(self) -> float:
        """Return a float in [0, 1)."""
        ...


def _check_seconds(_instance: object, attribute: Attribute[float], value: object) -> None:
    check_number(value, f"retry.{attribute.name}")


def _check_attempts(_instance: object, _attribute: Attribute[int], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise invalid(
            "retry.max_attempts", "counts the first try too, and must be an integer of at least 1", value
        )


@frozen(kw_only=True)
class RetryPolicy:
    """Exponential back-off with jitter; see the module's rules.

    Raises:
        ValidationError: a field is out of its range.
    """

    max_attempts: int = field(default=3, validator=_check_attempts)
    """Tries in all, the first one included; 1 never retries."""

    initial: float = field(default=0.5, validator=_check_seconds)
    """Seconds to wait after the first failure."""

    multiplier: float = field(default=2.0, validator=_check_seconds)
    """By how much the wait grows with each further failure; at least 1."""

    maximum: float = field(default=30.0, validator=_check_seconds)
    """The back-off stops growing here (seconds); ``Retry-After`` may ask for more."""

    jitter: float = field(default=0.25, validator=_check_seconds)
    """Up to this part of the wait is added at random, so that those which failed together come back apart."""

    max_retry_after: float = field(default=120.0, validator=_check_seconds)
    """The longest ``Retry-After`` (seconds) that is waited for."""

    def __attrs_post_init__(self) -> None:
        if self.multiplier < 1:
            raise invalid("retry.multiplier", "must be at least 1", self.multiplier)
        if self.maximum < self.initial:
            rule = f"must be at least initial, which is {shown(self.initial)}"
            raise invalid("retry.maximum", rule, self.maximum)

    def delay(self, attempt: int, error: BaseException, random: RandomSource) -> float | None:
        """Return the seconds to wait before the next try, or None to give up.

        Args:
            attempt: the number of the try that just failed; the first is 1.
            error: how it failed. Anything but an ``AsmError`` is a defect, and never tried again.
            random: draws the jitter; nothing is drawn when the answer is None.
        """
        if not isinstance(error, AsmError) or not error.retryable:
            return None
        state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
        state.attempt_number = attempt
        if tenacity.stop_after_attempt(self.max_attempts)(state):
            return None
        asked = error.retry_after or 0.0
        if asked > self.max_retry_after:
            return None
        back_off = tenacity.wait_exponential(self.initial, self.maximum, self.multiplier)(state)
        wait = max(back_off, asked)
        return wait + wait * self.jitter * random.random()
