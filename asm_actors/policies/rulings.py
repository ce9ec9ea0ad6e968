"""What follows from a fact, as values: what becomes of a call, and what is to be put on record. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from asm_actors.policies.approval import Approval, ApprovalRequest
from asm_actors.policies.violations import Action, Violation

if TYPE_CHECKING:
    from asm_actors.policies.evaluator import Evaluator

__all__ = ["Allow", "AskApproval", "Decision", "Deny", "Ruling"]


class Allow(NamedTuple):
    """The call may be made."""

    call_id: str
    """Which call."""
    tool_input: dict[str, Any]
    """The arguments with which it shall be made: its own, or those that somebody put in their place."""
    approval: Approval | None = None
    """The grant by which it may; None if nobody had to be asked."""


class Deny(NamedTuple):
    """The call must not be made."""

    call_id: str
    """Which call."""
    reason: str
    """Why, as a sentence for the model."""
    fails_run: bool = False
    """Whether the run ends by it; else the model is told, and the run goes on."""


class AskApproval(NamedTuple):
    """Somebody has to decide about the call."""

    request: ApprovalRequest
    """The question."""
    is_new: bool = True
    """Whether nobody was asked so far."""


Decision: TypeAlias = Allow | Deny | AskApproval | Violation
"""What follows from a fact. A `Violation` is to be put on record; one whose action is ``cancel`` ends the run."""


class Ruling(NamedTuple):
    """What follows from a fact."""

    evaluator: Evaluator
    """The evaluator that knows of it."""
    decisions: tuple[Decision, ...] = ()
    """What follows, in order: violations first."""

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What is to be put on record."""
        return tuple(one for one in self.decisions if isinstance(one, Violation))

    @property
    def about_call(self) -> Allow | Deny | AskApproval | None:
        """What becomes of the call that was asked about; None if the fact was another one."""
        return next((one for one in self.decisions if not isinstance(one, Violation)), None)

    @property
    def ends_run(self) -> bool:
        """Whether the run ends by it."""
        about_call = self.about_call
        is_denied = isinstance(about_call, Deny) and about_call.fails_run
        return is_denied or any(one.action == Action.CANCEL for one in self.violations)
