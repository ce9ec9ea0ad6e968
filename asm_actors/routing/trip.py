"""One turn's way through the targets of a router: the rules of failover. Pure.

1. Only an error that says ``retryable`` is taken to another target, and only while nothing of an answer was heard.
2. At most ``max_attempts`` targets are asked, and never more than could be chosen at the beginning; each of them once.
3. The way is told: with the answer (``routing`` among the run's provider metadata), in the failover's event, and in the
   details of the error if nobody answers.
"""

from __future__ import annotations

import copy
from typing import Any

from attrs import define, field, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.routing.choice import Choice
from asm_actors.routing.hints import Hints

__all__ = ["Tried", "Trip", "none_eligible"]


@frozen
class Tried:
    """A target that failed in this turn.

    Attributes:
        target: Its name.
        error: How it failed.
    """

    target: str
    error: AsmError

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map."""
        return {
            "provider": self.target,
            "error_code": self.error.code.value,
            "error_message": self.error.message,
        }


@define
class Trip:
    """The way of one turn so far. Changed in place.

    Attributes:
        hints: What the request asks for.
        order: All targets, in the policy's order at the beginning.
        first: The first decision.
        tried: The targets that failed.
        target: The one that is asked now.
        can_go_on: Whether another one could be asked, should that fail.
    """

    hints: Hints
    order: tuple[str, ...]
    first: Choice | None = None
    tried: list[Tried] = field(factory=list)
    target: str | None = None
    can_go_on: bool = False

    @property
    def attempt(self) -> int:
        """The number of the present attempt, from 1."""
        return len(self.tried) + 1

    @property
    def tried_targets(self) -> frozenset[str]:
        """The targets that failed."""
        return frozenset(found.target for found in self.tried)

    def go(self, choice: Choice) -> None:
        """Go where a decision says."""
        if self.first is None:
            self.first = choice
        limit = min(self.hints.policy.max_attempts, len(self.first.candidates))
        self.target = choice.chosen
        self.can_go_on = self.attempt < limit and len(choice.candidates) > 1

    def failed(self, error: AsmError) -> None:
        """The present target failed."""
        assert self.target is not None
        self.tried.append(Tried(self.target, error))

    def facts(self) -> dict[str, Any]:
        """What is told with the events of this attempt."""
        facts: dict[str, Any] = {
            "routed_provider": self.target,
            "routing_attempt": self.attempt,
            "routing_candidates": list(self.first.candidates) if self.first is not None else [],
        }
        if self.tried:
            last = self.tried[-1]
            facts["failover_from"] = last.target
            facts["failover_reason"] = last.error.code.value
        return facts

    def failover_data(self) -> dict[str, Any]:
        """Payload of the event that tells of a failover."""
        last = self.tried[-1].error
        return {**last.to_payload(), **self.facts()}

    def routing(self, inner: Any = None) -> dict[str, Any]:
        """The whole way, JSON-ready.

        Args:
            inner: What the target itself tells of a way, being a router.
        """
        facts = self.facts()
        attempts: list[dict[str, Any]] = [tried.to_map() for tried in self.tried]
        attempts.append({"provider": self.target})
        if inner is not None:
            attempts[-1]["routing"] = inner
        facts["attempts"] = attempts
        if self.first is not None and self.first.passed_over:
            facts["passed_over"] = self.first.passed_over
        return facts

    def final_error(self, ready_in: float | None) -> AsmError:
        """Return how the turn fails: the last error, with the way in its details.

        Args:
            ready_in: Seconds until some target may be asked again: an error that may be retried says so as its
                ``retry_after``. None: nobody knows.
        """
        error = copy.copy(self.tried[-1].error)
        way: dict[str, Any] = {"attempts": [tried.to_map() for tried in self.tried]}
        inner = error.details.get("routing")
        if inner is not None:
            way["attempts"][-1]["routing"] = inner
        if self.first is not None:
            way["routing_candidates"] = list(self.first.candidates)
            if self.first.passed_over:
                way["passed_over"] = self.first.passed_over
        error.details = {**error.details, "routing": way}
        if error.retryable and ready_in is not None:
            error.retry_after = ready_in or None
        return error


def none_eligible(choice: Choice) -> AsmError:
    """Make the error of a turn that no target may answer. It may be retried if time alone helps."""
    why = "; ".join(f"{found.target}: {found}" for found in choice.verdicts) or "the router has no target"
    ready_in = choice.ready_in
    return AsmError(
        ErrorCode.PROVIDER_UNAVAILABLE,
        f"no eligible provider ({why})",
        details={"routing": choice.to_map()},
        retryable=ready_in is not None,
        retry_after=ready_in,
    )
