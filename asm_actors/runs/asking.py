"""Part of a run's core: what somebody is asked about its calls, and what follows from the decision. Pure.

The question is an event that holds all that a person needs in order to decide. The run tells it to its session, which
keeps the time, takes the decision, and tells it back, or has the run go on with it (`sessions.asking`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from asm_actors.events import EventType
from asm_actors.journal.append import Draft
from asm_actors.policies.approval import ApprovalRequest
from asm_actors.policies.approvals import ApprovalBook
from asm_actors.policies.facts import CallAsked, fact_of
from asm_actors.policies.rulings import Allow, Deny
from asm_actors.runs.calls import Call
from asm_actors.runs.execution import RunState, draft
from asm_actors.runs.messages import ApprovalDecided
from asm_actors.runs.run import Run
from asm_actors.serialization import iso_from_us

__all__ = ["ASKED", "asked", "by_decision", "expiry_of", "takes_decision", "with_asked"]

ASKED: Final = "has_asked"
"""Key in a run's ``details``: somebody was asked about a call of it."""
LONGEST_TEXT: Final = 2_000
"""Characters of what the model said before the call that a question holds."""


def asked(state: RunState, call: Call, request: ApprovalRequest, now: int) -> Draft:
    """Ask somebody about a call; return the event."""
    book = ApprovalBook() if state.book is None else state.book
    entry = book.request(state.run.id, request, now)
    state.book, call.decision = entry.book, "requested"
    data: dict[str, Any] = {
        **request.to_map(),
        "expires_at": expiry_of(request.timeout, now),
        "agent_id": state.request.agent_id,
        "turn": state.request.turn,
    }
    text = _said_before(state.request.messages)
    if text:
        data["text"] = text
    return draft(state, EventType.TOOL_APPROVAL_REQUESTED, now, data)


def expiry_of(timeout: float | None, now: int) -> str | None:
    """When a question is denied that is asked now, as ISO-8601 text; None: never."""
    return None if timeout is None else iso_from_us(now + round(timeout * 1_000_000))


def _said_before(messages: Sequence[Any]) -> str:
    """What the model said with its calls, if it is short."""
    last = next((one for one in reversed(messages) if one["role"] == "assistant"), None)
    if last is None:
        return ""
    content = last["content"]
    if not isinstance(content, str):
        content = "".join(str(block.get("text", "")) for block in content if block.get("type") == "text")
    return content if len(content) <= LONGEST_TEXT else ""


def by_decision(fact: CallAsked, decision: str | None) -> Allow | Deny:
    """What becomes of a call by what was decided, where no policy has to be heard."""
    approval = fact.approval
    if decision == "denied":
        has_reason = approval is not None and not approval.is_granted
        reason = approval.denial if approval is not None and has_reason else ""
        return Deny(fact.call_id, reason or f"the call of {fact.tool_name} was denied")
    edited = None if approval is None else approval.edited_input
    return Allow(fact.call_id, dict(fact.tool_input) if edited is None else edited, approval)


def takes_decision(state: RunState, message: ApprovalDecided) -> None:
    """Take what was decided into what the run, and its policy, know."""
    book = ApprovalBook() if state.book is None else state.book
    state.book = book.apply(message.type, state.run.id, message.data, message.at_us)
    fact = fact_of(message.type, message.data)
    if state.evaluator is not None and fact is not None:
        state.evaluator = state.evaluator.observe(fact, message.at_us).evaluator


def with_asked(state: RunState) -> Run:
    """Have the record say that somebody was asked about a call: those who look for questions find it by that."""
    if not state.run.details.get(ASKED):
        state.run = state.run.replace(details={**state.run.details, ASKED: True})
    return state.run
