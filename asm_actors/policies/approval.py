"""One question about a call of a tool, and what was decided, as values. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self

from attrs import Factory, frozen

from asm_actors.errors import ErrorCode
from asm_actors.jsonable import jsonable, stringify_keys
from asm_actors.policies.violations import ViolationKind
from asm_actors.serialization import Fields

__all__ = ["Approval", "ApprovalRequest", "ApprovalStatus", "GrantScope", "fingerprint"]


class ApprovalStatus(StrEnum):
    """Where a question stands."""

    REQUESTED = "requested"
    GRANTED = "granted"
    DENIED = "denied"


class GrantScope(StrEnum):
    """How far a grant goes.

    A call is like another one if it calls the same tool with the same arguments: whoever allowed ``ls`` has not allowed
    ``rm`` by that.
    """

    ONCE = "once"
    """This call."""
    RUN = "run"
    """This call and those of the run that are like it; limits that are exceeded are lifted for the run."""
    SESSION = "session"
    """This call and those of the session that are like it; limits that are exceeded are lifted for the run."""


_STANDING: Final = frozenset({ViolationKind.TOOL_DENIED.value, ViolationKind.APPROVAL_REQUIRED.value})


def fingerprint(tool_name: str, tool_input: Mapping[str, Any]) -> str:
    """Return a text that is the same for calls that are alike: the tool, and its arguments in whatever order."""
    return f"{tool_name} {json.dumps(jsonable(tool_input), sort_keys=True, separators=(',', ':'))}"


class ApprovalRequest(NamedTuple):
    """A question: may this call be made?"""

    tool_call_id: str
    """The provider's id of the call."""
    tool_name: str
    """The tool."""
    tool_input: dict[str, Any]
    """The arguments."""
    policy_name: str
    """The policy that wants to know."""
    violation_kind: str
    """What the call, or the run, would violate: a `ViolationKind`."""
    reason: str
    """That as a sentence."""
    lifts: tuple[str, ...] = ()
    """Metrics whose limits are exceeded."""
    timeout: float | None = None
    """Seconds after which it is denied; None: it waits for ever."""

    def to_map(self) -> dict[str, Any]:
        """Return it as the payload of `tool_approval_requested`, JSON-ready."""
        return {
            "tool_call_id": self.tool_call_id,
            "tool_name": self.tool_name,
            "tool_input": stringify_keys(self.tool_input),
            "policy_name": self.policy_name,
            "violation_kind": self.violation_kind,
            "reason": self.reason,
            "lifts": list(self.lifts),
            "approval_timeout": self.timeout,
        }


@frozen(kw_only=True)
class Approval:
    """A question, and what was decided.

    Attributes:
        run_id: the run that asks.
        call_id: the provider's id of the call.
        tool_name: the tool.
        tool_input: the arguments, as they were asked about.
        policy_name: the policy that wants to know.
        violation_kind: what the call, or the run, would violate.
        question: that as a sentence.
        lifts: metrics whose limits are exceeded.
        asked_us: when it was asked, in microseconds since the epoch.
        timeout: seconds after which it is denied; None: it waits for ever.
        status: where it stands.
        by: who decided, if that was told.
        reason: why, if that was told.
        scope: how far a grant goes.
        edited_input: the arguments with which the call shall be made instead; None: as they were asked about.
        decided_us: when it was decided; None before that.
        is_timed_out: whether it was denied since nobody had decided in time.
    """

    run_id: str
    call_id: str
    tool_name: str = ""
    tool_input: dict[str, Any] = Factory(dict)
    policy_name: str = ""
    violation_kind: str = ""
    question: str = ""
    lifts: tuple[str, ...] = ()
    asked_us: int = 0
    timeout: float | None = None
    status: ApprovalStatus = ApprovalStatus.REQUESTED
    by: str | None = None
    reason: str | None = None
    scope: GrantScope = GrantScope.ONCE
    edited_input: dict[str, Any] | None = None
    decided_us: int | None = None
    is_timed_out: bool = False

    def __hash__(self) -> int:
        return hash((self.run_id, self.call_id))

    @property
    def is_pending(self) -> bool:
        """Whether nobody has decided."""
        return self.status is ApprovalStatus.REQUESTED

    @property
    def is_granted(self) -> bool:
        """Whether the call may be made."""
        return self.status is ApprovalStatus.GRANTED

    @property
    def stands(self) -> bool:
        """Whether calls that are like this one may be made too.

        Only what a rule forbids, or makes somebody be asked about, can be allowed so: a limit that is exceeded is
        lifted instead, and that a call may be repeated whose outcome is unknown says nothing about others.
        """
        return self.is_granted and self.scope is not GrantScope.ONCE and self.violation_kind in _STANDING

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments with which the call shall be made."""
        return self.tool_input if self.edited_input is None else self.edited_input

    @property
    def expires_us(self) -> int | None:
        """When it is denied if nobody has decided by then, in microseconds since the epoch; None: never."""
        return None if self.timeout is None else self.asked_us + round(self.timeout * 1_000_000)

    @property
    def denial(self) -> str:
        """Why it was denied, as a sentence for the model."""
        if self.is_timed_out:
            return f"the call of {self.tool_name} was denied: nobody allowed it within {self.timeout:g} s"
        who = f" by {self.by}" if self.by else ""
        why = f": {self.reason}" if self.reason else ""
        return f"the call of {self.tool_name} was denied{who}{why}"

    @property
    def request(self) -> ApprovalRequest:
        """The question as it was asked."""
        return ApprovalRequest(
            self.call_id, self.tool_name, self.tool_input, self.policy_name, self.violation_kind, self.question,
            self.lifts, self.timeout,
        )  # fmt: skip

    def is_overdue(self, now: int) -> bool:
        """Tell whether nobody has decided in time."""
        return self.is_pending and self.expires_us is not None and now >= self.expires_us

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map."""
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            "tool_input": stringify_keys(self.tool_input),
            "lifts": list(self.lifts),
            "status": self.status.value,
            "scope": self.scope.value,
            "edited_input": None if self.edited_input is None else stringify_keys(self.edited_input),
        }

    @classmethod
    def from_map(cls, value: Any) -> Self:
        """Read what :meth:`to_map` wrote.

        Raises:
            ValidationError: a field is missing or malformed.
        """
        fields = Fields(value, "approval")
        return cls(
            run_id=fields.id("run_id"),
            call_id=fields.id("call_id"),
            tool_name=fields.optional_text("tool_name") or "",
            tool_input=fields.map("tool_input"),
            policy_name=fields.optional_text("policy_name") or "",
            violation_kind=fields.optional_text("violation_kind") or "",
            question=fields.optional_text("question") or "",
            lifts=fields.texts("lifts"),
            asked_us=fields.integer("asked_us", least=0),
            timeout=fields.optional_number("timeout"),
            status=fields.member("status", ApprovalStatus, ErrorCode.VALIDATION_ERROR),
            by=fields.optional_text("by"),
            reason=fields.optional_text("reason"),
            scope=fields.member("scope", GrantScope, ErrorCode.VALIDATION_ERROR),
            edited_input=fields.optional_map("edited_input"),
            decided_us=fields.optional_integer("decided_us", least=0),
            is_timed_out=fields.boolean("is_timed_out", default=False),
        )


_PLAIN: Final = (
    "run_id", "call_id", "tool_name", "policy_name", "violation_kind", "question", "asked_us", "timeout", "by",
    "reason", "decided_us", "is_timed_out",
)  # fmt: skip
