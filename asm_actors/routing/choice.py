"""One decision of a router, and why each target was or was not chosen. Pure.

A target is passed over for the first of these that holds: it was tried for this turn already, it is excluded, it cannot
work, it lacks a required capability, it failed and is left alone, its breaker refuses. Of those that remain the first
in the policy's order is chosen, or the one that the session had last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from attrs import frozen

__all__ = ["Choice", "Reason", "Verdict", "choose"]


class Reason(StrEnum):
    """Why a target was chosen, or was not."""

    CHOSEN = "chosen"
    """It is the first that could be."""
    STICKY = "sticky"
    """It is the one that the session, or the run, had last."""
    ELIGIBLE = "eligible"
    """It could have been; another one comes before it."""
    TRIED = "tried"
    """It failed in this turn."""
    EXCLUDED = "excluded"
    """The policy, or the request, excludes it."""
    UNUSABLE = "unusable"
    """It cannot work as it is configured."""
    INCAPABLE = "incapable"
    """It lacks a required capability."""
    UNHEALTHY = "unhealthy"
    """It failed lately and is left alone."""
    REFUSED = "refused"
    """Its circuit breaker refuses."""


@frozen
class Verdict:
    """What was found of one target.

    Attributes:
        target: Its name.
        reason: Why it was chosen, or was not.
        detail: More of that, for human readers.
        ready_in: Seconds until it may be asked; None: time alone does not change the verdict.
    """

    target: str
    reason: Reason
    detail: str | None = None
    ready_in: float | None = None

    def __str__(self) -> str:
        return self.reason.value if self.detail is None else f"{self.reason.value}: {self.detail}"


@frozen
class Choice:
    """A decision.

    Attributes:
        chosen: The target; None: there is none.
        candidates: Those that could be chosen, in order.
        verdicts: Of each target, in the policy's order.
    """

    chosen: str | None
    candidates: tuple[str, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def ready_in(self) -> float | None:
        """Seconds until some target may be asked; 0: now; None: time alone does not help."""
        if self.candidates:
            return 0.0
        return min((found.ready_in for found in self.verdicts if found.ready_in is not None), default=None)

    @property
    def passed_over(self) -> dict[str, str]:
        """Why each of those was passed over that could not be chosen, JSON-ready."""
        return {found.target: str(found) for found in self.verdicts if found.target not in self.candidates}

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map."""
        return {
            "chosen": self.chosen,
            "candidates": list(self.candidates),
            "verdicts": {found.target: str(found) for found in self.verdicts},
        }


def choose(found: Sequence[Verdict], homes: Iterable[str | None] = ()) -> Choice:
    """Decide.

    Args:
        found: What was found of each target, in the policy's order; ``eligible`` are those that may be chosen.
        homes: Where the request would rather go, the dearest first; one that is not eligible is passed over.
    """
    able = [verdict.target for verdict in found if verdict.reason is Reason.ELIGIBLE]
    if not able:
        return Choice(None, (), tuple(found))
    home = next((name for name in homes if name in able), None)
    chosen = able[0] if home is None else home
    reason = Reason.CHOSEN if home is None else Reason.STICKY
    candidates = (chosen, *(name for name in able if name != chosen))
    verdicts = tuple(Verdict(chosen, reason) if verdict.target == chosen else verdict for verdict in found)
    return Choice(chosen, candidates, verdicts)
