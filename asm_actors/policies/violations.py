"""What was violated, as a value: in events, in errors, and in what a run's result tells. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, Self

from attrs import Factory, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import stringify_keys
from asm_actors.serialization import Fields

__all__ = ["Action", "Metric", "Violation", "ViolationKind", "violation_error"]


class ViolationKind(StrEnum):
    """What was violated."""

    TOOL_DENIED = "tool_denied"
    """A rule about tools."""
    BUDGET_EXCEEDED = "budget_exceeded"
    """A limit."""
    APPROVAL_REQUIRED = "approval_required"
    """A tool for which somebody has to be asked. A violation only if it was called by the provider, and nobody was."""


class Metric(StrEnum):
    """What a limit is about."""

    TOTAL_TOKENS = "total_tokens"
    DURATION_MS = "duration_ms"
    TOOL_CALLS = "tool_calls"
    COST_USD = "cost_usd"
    TURNS = "turns"

    @property
    def limit(self) -> str:
        """The name of the limit."""
        return f"max_{self.value}"


class Action(StrEnum):
    """What follows from a violation."""

    CANCEL = "cancel"
    """The run is stopped and ends as failed."""
    DENY = "deny"
    """The call is not made, the model is told, and the run goes on."""
    REQUEST_APPROVAL = "request_approval"
    """Somebody is asked."""
    WARN = "warn"
    """It is put on record."""


_KEYS: Final = {
    ViolationKind.TOOL_DENIED.value: "tool_name",
    ViolationKind.APPROVAL_REQUIRED.value: "tool_name",
    ViolationKind.BUDGET_EXCEEDED.value: "metric",
}


@frozen
class Violation:
    """Something that a policy forbids has happened, or was about to.

    Attributes:
        kind: what was violated, a `ViolationKind`; text, since others may have put it on record.
        policy: the policy's name.
        action: what follows, an `Action`; text likewise.
        details: of a denied tool ``tool_name rule list``, of a limit ``metric actual limit``; ``policies`` are those
            that say so. ``seen_afterwards`` is there, and true, if the provider had called the tool on its own by then.
    """

    kind: str
    policy: str
    action: str
    details: dict[str, Any] = Factory(dict)

    def __hash__(self) -> int:
        return hash((self.kind, self.policy, self.action))

    @property
    def subject(self) -> str:
        """The tool or the metric it is about."""
        return str(self.details.get(_KEYS.get(self.kind, ""), ""))

    @property
    def key(self) -> tuple[str, str, str]:
        """What is told once per run: the kind, the tool or the metric, and what follows."""
        return self.kind, self.subject, self.action

    @property
    def text(self) -> str:
        """One sentence for a human reader."""
        details = self.details
        if self.kind == ViolationKind.TOOL_DENIED:
            return f"policy {self.policy} does not allow the tool {self.subject}"
        if self.kind == ViolationKind.APPROVAL_REQUIRED:
            return f"the tool {self.subject} was called, and somebody had to be asked before"
        if self.subject == Metric.DURATION_MS:
            # Its timer finds it at the very end of the time, when nothing is more than anything.
            return f"the {_shown(details.get('limit'))} ms that policy {self.policy} allows are over"
        return (
            f"{_shown(details.get('actual'))} {self.subject} are more than the {_shown(details.get('limit'))} that "
            f"policy {self.policy} allows"
        )

    def to_map(self) -> dict[str, Any]:
        """Return it as the payload of `policy_violation`, JSON-ready."""
        return {
            "policy": self.policy,
            "kind": self.kind,
            "action": self.action,
            "details": stringify_keys(self.details),
        }

    @classmethod
    def from_map(cls, value: Any) -> Self:
        """Read what :meth:`to_map` wrote.

        Raises:
            ValidationError: a field is malformed.
        """
        fields = Fields(value, "violation")
        return cls(
            kind=fields.optional_text("kind") or "",
            policy=fields.optional_text("policy") or "",
            action=fields.optional_text("action") or "",
            details=fields.map("details"),
        )


def _shown(value: Any) -> str:
    # Sums of dollars have digits that mean nothing.
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def violation_error(
    policy: str, violations: Iterable[Violation], context: Mapping[str, Any] | None = None
) -> AsmError:
    """Return the error with which a run ends: ``policy_violation``.

    Args:
        policy: the policy's name.
        violations: all of them, in order; those that ended the run are named in the message.
        context: where it happened.
    """
    told = list(violations)
    ending = [one for one in told if one.action == Action.CANCEL] or told
    return AsmError(
        ErrorCode.POLICY_VIOLATION,
        "; ".join(one.text for one in ending) or None,
        details={"policy": policy, "violations": [one.to_map() for one in told]},
        context=context,
    )
