"""A router at one moment, as values."""

from __future__ import annotations

from typing import Any

from attrs import asdict, field, frozen

from asm_actors.errors import ErrorCode
from asm_actors.routing.breaker import BreakerState
from asm_actors.routing.policy import RoutingPolicy

__all__ = ["RouterStatistics", "TargetStatistics"]


@frozen
class TargetStatistics:
    """A target at one moment. Counts are of the time since it was added.

    Attributes:
        name: The target.
        in_flight: Turns it answers.
        started: Turns that were given to it.
        succeeded: Of these, those it answered.
        failed: Those it failed.
        given_up: Those that ended otherwise: cancelled, or refused for what was asked.
        failures: Failures in a row.
        error: How it failed last, unless it succeeded since.
        ready_in: Seconds for which it is left alone; 0: it is asked.
        breaker: The state of its circuit breaker; None: it has none.
    """

    name: str
    in_flight: int = 0
    started: int = 0
    succeeded: int = 0
    failed: int = 0
    given_up: int = 0
    failures: int = 0
    error: ErrorCode | None = None
    ready_in: float = 0.0
    breaker: BreakerState | None = None

    @property
    def is_healthy(self) -> bool:
        """Whether it is asked."""
        return self.ready_in <= 0


@frozen
class RouterStatistics:
    """A router at one moment.

    Attributes:
        name: The router.
        policy: Its policy.
        cooldown: Seconds for which a target is left alone that failed.
        targets: Its targets, in the order in which they were added.
        active_runs: Which target answers each run.
        sticky_sessions: Sessions that are kept with a target.
        failovers: Turns that were given to another target, after one had failed.
    """

    name: str
    policy: RoutingPolicy
    cooldown: float
    targets: tuple[TargetStatistics, ...] = ()
    active_runs: dict[str, str] = field(factory=dict)
    sticky_sessions: int = 0
    failovers: int = 0

    __hash__ = None  # type: ignore[assignment]

    def target(self, name: str) -> TargetStatistics:
        """Return what is known of one target.

        Raises:
            KeyError: There is none of that name.
        """
        for found in self.targets:
            if found.name == name:
                return found
        raise KeyError(name)

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map."""
        return {
            "name": self.name,
            "policy": self.policy.to_map(),
            "cooldown": self.cooldown,
            "targets": [asdict(target) for target in self.targets],
            "active_runs": dict(self.active_runs),
            "sticky_sessions": self.sticky_sessions,
            "failovers": self.failovers,
        }
