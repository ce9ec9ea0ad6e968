"""Part of a session's core: the questions of its runs, and the timers that belong to them. Pure.

A run's entry holds the book of its questions: what somebody is asked, and what was decided, as the events tell it. The
session is the one who knows first what was decided; what its runs know may be older (`merged`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from attrs import evolve

from asm_actors.effects import CancelTimer, Effect, SetTimer
from asm_actors.events import EventType
from asm_actors.journal.append import Draft
from asm_actors.policies.approval import GrantScope
from asm_actors.policies.approvals import ApprovalBook
from asm_actors.runs.policing import policed_by
from asm_actors.runs.resumption import Progress
from asm_actors.runs.run import Run, RunStatus
from asm_actors.serialization import invalid, json_map
from asm_actors.sessions.open_runs import RunEntry, run_draft
from asm_actors.sessions.session import Session
from asm_actors.sessions.state import SessionState

__all__ = [
    "FOR_APPROVAL",
    "ApprovalsDue",
    "PolicyDue",
    "book_from",
    "checked_question",
    "merged",
    "policy_timer",
    "question_timer",
    "take_questions",
    "timers_off",
    "with_question",
]

FOR_APPROVAL: Final = "approval_requested"
"""The reason of a run's end that was cancelled in order to ask somebody."""
NO_QUESTIONS: Final = ApprovalBook()


class ApprovalsDue(NamedTuple):
    """From the session's timer: the time of a question about a run's call may be over."""

    run_id: str
    """Which run."""


class PolicyDue(NamedTuple):
    """From the session's timer: the time that its policy allows a run that is held may be over."""

    run_id: str
    """Which run."""


def take_questions(entry: RunEntry, drafts: Iterable[Draft]) -> bool:
    """Take what a run asks into its book; return whether it asks anything."""
    found = False
    for one in drafts:
        if one.type is EventType.TOOL_APPROVAL_REQUESTED:
            found = True
            book = NO_QUESTIONS if entry.book is None else entry.book
            entry.book = book.apply(one.type, entry.run.id, one.data, one.timestamp_us)
            entry.decided = {**(entry.decided or {}), one.data["tool_call_id"]: "requested"}
    return found


def book_from(entry: RunEntry, progress: Progress | None) -> None:
    """Take over what the journal tells of a run's questions."""
    if progress is None:
        entry.book = None
        return
    entry.book, entry.decided = progress.book, dict(progress.decided)


def merged(entry: RunEntry, progress: Progress) -> Progress:
    """Return how far a run has come with all that was decided, though the run may not have heard of it."""
    book = entry.book
    if book is None:
        return progress
    for call in progress.calls:
        approval = book.approvals.get((entry.run.id, call.id))
        if call.waits and approval is not None and not approval.is_pending:
            progress = progress.with_decision(call.id, approval.status.value)
    policed = progress.policed
    if policed is not None:
        lifted = {
            metric
            for one in book.approvals.values()
            if one.is_granted and one.scope is not GrantScope.ONCE
            for metric in one.lifts
        }
        policed = evolve(policed, lifted=policed.lifted | lifted) if lifted else policed
    decided = {**progress.decided, **(entry.decided or {})}
    return evolve(progress, book=book, policed=policed, decided=decided)


def checked_question(data: Any) -> dict[str, Any]:
    """Return what somebody is to be asked, as an event tells it.

    Raises:
        ValidationError: No tool is named, or it is no JSON.
    """
    found = json_map(data, "approval_data")
    for name in ("tool_name", "tool_call_id", "policy_name", "violation_kind", "reason"):
        value = found.get(name)
        if value is not None and not isinstance(value, str):
            raise invalid(name, "must be a text", value)
    if not found.get("tool_name"):
        raise invalid("tool_name", "must name the tool that somebody is asked about", found.get("tool_name"))
    if not isinstance(found.get("tool_input", {}), dict):
        raise invalid("tool_input", "must be a map of arguments", found["tool_input"])
    return {"tool_input": {}, "policy_name": "approval", **found}


def with_question(
    session: Session, entry: RunEntry, run: Run, drafts: Sequence[Draft], now: int
) -> Sequence[Draft]:
    """The last events of a run that was cancelled for a question, with that: nothing comes after a run's end."""
    assert entry.approval is not None
    reason = (run.error or {}).get("details", {}).get("reason")
    if run.status is not RunStatus.CANCELLED or reason != FOR_APPROVAL:
        return drafts  # it came to another end first
    question = run_draft(session, run, EventType.TOOL_APPROVAL_REQUESTED, now, entry.approval)
    return (*drafts[:-1], question, drafts[-1])


# --- Timers ------------------------------------------------------------------------------------------------------


def _questions_key(run_id: str) -> str:
    return f"approvals:{run_id}"


def _policy_key(run_id: str) -> str:
    return f"policy:{run_id}"


def question_timer(entry: RunEntry, now: int) -> list[Effect]:
    """Have the time of a run's questions counted, from when they were asked."""
    run_id = entry.run.id
    due = None if entry.book is None else entry.book.next_expiry_us
    if due is None:
        return [] if entry.book is None else [CancelTimer(_questions_key(run_id))]
    return [SetTimer(_questions_key(run_id), max(0.0, (due - now) / 1_000_000), ApprovalsDue(run_id))]


def policy_timer(state: SessionState, entry: RunEntry, now: int) -> list[Effect]:
    """Have the time counted that the policy allows a run which is held: it goes on while the run waits."""
    policed = None if entry.progress is None else entry.progress.policed
    if policed is None:
        return []
    evaluator = policed_by(state.rules, state.session, entry.run, policed)
    due = None if evaluator is None else evaluator.deadline_us
    if due is None:
        return []
    run_id = entry.run.id
    return [SetTimer(_policy_key(run_id), max(0.0, (due - now) / 1_000_000), PolicyDue(run_id))]


def timers_off(entry: RunEntry) -> list[Effect]:
    """Take back the timers of a run that is over."""
    return [CancelTimer(_questions_key(entry.run.id)), CancelTimer(_policy_key(entry.run.id))]
