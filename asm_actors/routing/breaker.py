"""A circuit breaker as a value: what it answers follows from its fields, its rules and the time that is given. Pure.

::

    closed ──failure_threshold failures in a row──> open ──cooldown──> half open ──a probe succeeds──> closed
                                                     ^                     │
                                                     └──────a failure──────┘

1. Open, it refuses. A failure of something that began earlier starts the cooldown anew; a success changes nothing.
2. Half open, it lets so many probes through at a time. A probe that is given up makes room for another one, and so does
   one that has not ended within the cooldown: a target that hangs must not keep its breaker half open for ever.
3. Half open, only a success of what began then closes it; any failure opens it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from attrs import evolve, field, frozen

from asm_actors.config import BREAKER_COOLDOWN, BREAKER_FAILURE_THRESHOLD, BREAKER_HALF_OPEN_MAX_PROBES
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.serialization import check_integer, check_number

__all__ = ["Breaker", "BreakerState", "CircuitBreaker"]


class BreakerState(StrEnum):
    """What a breaker does with requests."""

    CLOSED = "closed"
    """It lets them through."""
    OPEN = "open"
    """It refuses them."""
    HALF_OPEN = "half_open"
    """It lets probes through."""


def _count(value: Any) -> int:
    return check_integer(value, "a circuit breaker's failure_threshold or half_open_max_probes", least=1)


def _seconds(value: Any) -> float:
    return check_number(value, "a circuit breaker's cooldown")


@frozen(kw_only=True)
class CircuitBreaker:
    """The rules of a breaker.

    Attributes:
        failure_threshold: Failures in a row that open it.
        cooldown: Seconds for which it stays open.
        half_open_max_probes: Requests it lets through at a time while it is half open.

    Raises:
        ValidationError: A field is out of range.
    """

    failure_threshold: int = field(default=BREAKER_FAILURE_THRESHOLD, converter=_count)
    cooldown: float = field(default=BREAKER_COOLDOWN, converter=_seconds)
    half_open_max_probes: int = field(default=BREAKER_HALF_OPEN_MAX_PROBES, converter=_count)


@frozen
class Breaker:
    """A breaker at one moment; a new one is closed. ``now`` is seconds of a clock that never goes back.

    Attributes:
        rules: Its rules.
        state: As of the last change; ask :meth:`at` for the present.
        failures: Failures in a row.
        opened_at: When it opened last, or its cooldown was started anew.
        probes: When each probe began that is under way.
    """

    rules: CircuitBreaker
    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    opened_at: float = 0.0
    probes: tuple[float, ...] = ()

    def at(self, now: float) -> Breaker:
        """Return it as it is by now: half open after its cooldown, without the probes that hang."""
        if self.state is BreakerState.OPEN and now >= self._half_opens_at:
            return evolve(self, state=BreakerState.HALF_OPEN, probes=())
        if self.state is BreakerState.HALF_OPEN and self.probes:
            alive = tuple(began for began in self.probes if now < began + self.rules.cooldown)
            return self if len(alive) == len(self.probes) else evolve(self, probes=alive)
        return self

    def ready_in(self, now: float) -> float:
        """Return the seconds until it may let a request through; 0: now. Earlier news may change that."""
        current = self.at(now)
        if current.state is BreakerState.OPEN:
            return current._half_opens_at - now
        if current.state is BreakerState.HALF_OPEN and len(current.probes) >= self.rules.half_open_max_probes:
            return min(current.probes) + self.rules.cooldown - now
        return 0.0

    def allows(self, now: float) -> bool:
        """Tell whether a request may go through now."""
        return self.ready_in(now) <= 0

    def began(self, now: float) -> Breaker:
        """Let a request through, which is a probe if it is half open.

        Raises:
            ConcurrencyError: ``invalid_operation``: it does not allow that.
        """
        if not self.allows(now):
            raise AsmError(ErrorCode.INVALID_OPERATION, f"the circuit breaker is {self.at(now).state}")
        current = self.at(now)
        if current.state is BreakerState.HALF_OPEN:
            return evolve(current, probes=(*current.probes, now))
        return current

    def succeeded(self, now: float, began_at: float) -> Breaker:
        """Take in that what began at ``began_at`` succeeded."""
        current = self.at(now)
        if current.state is BreakerState.CLOSED:
            return evolve(current, failures=0) if current.failures else current
        if current.state is BreakerState.HALF_OPEN and began_at >= self._half_opens_at:
            return Breaker(self.rules)
        return current  # it began before the breaker opened, and says nothing of the time since

    def failed(self, now: float) -> Breaker:
        """Take in a failure, whenever that began."""
        current = self.at(now)
        failures = current.failures + 1
        if current.state is BreakerState.CLOSED and failures < self.rules.failure_threshold:
            return evolve(current, failures=failures)
        return Breaker(self.rules, BreakerState.OPEN, failures, opened_at=now)

    def given_up(self, now: float, began_at: float) -> Breaker:
        """Take in that what began at ``began_at`` ended without telling anything, such as by a cancel."""
        current = self.at(now)
        if began_at not in current.probes:
            return current
        at = current.probes.index(began_at)
        return evolve(current, probes=current.probes[:at] + current.probes[at + 1 :])

    @property
    def _half_opens_at(self) -> float:
        return self.opened_at + self.rules.cooldown
