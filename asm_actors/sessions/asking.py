"""Part of a session's core: its runs ask somebody, and time passes while they wait. Pure; rules in `sessions.state`."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from asm_actors.effects import Effect, Write
from asm_actors.events import EventType
from asm_actors.journal.append import Draft
from asm_actors.policies.facts import TimePassed
from asm_actors.runs.messages import RunAppends, RunAsks, RunHolds
from asm_actors.runs.policing import policed_by
from asm_actors.sessions.approvals import by_standing_grants, settled
from asm_actors.sessions.holding import run_holds
from asm_actors.sessions.open_runs import Phase, run_draft
from asm_actors.sessions.questions import (
    ApprovalsDue,
    PolicyDue,
    policy_timer,
    question_timer,
    take_questions,
)
from asm_actors.sessions.run_ends import HANDLERS as RUNNING
from asm_actors.sessions.run_ends import end_run
from asm_actors.sessions.state import Handler, SessionState

__all__ = ["HANDLERS"]


def _run_asks(state: SessionState, message: RunAsks, now: int, reply: Any) -> list[Effect]:
    """A run asks about a call while others of it go on."""
    entry = state.open.get(message.run_id)
    if entry is None:
        return []
    effects = RUNNING[RunAppends](state, message, now, reply)
    take_questions(entry, message.drafts)
    return [*effects, *question_timer(entry, now), *by_standing_grants(state, entry, now)]


def _run_holds(state: SessionState, message: RunHolds, now: int, reply: Any) -> list[Effect]:
    """A run waits for somebody, and has given up its actor."""
    effects = run_holds(state, message, now, reply)
    entry = state.open.get(message.run_id)
    if entry is None or entry.book is None or entry.phase is not Phase.HELD:
        return effects
    return [*effects, *by_standing_grants(state, entry, now)]


def _approvals_due(state: SessionState, message: ApprovalsDue, now: int, reply: Any) -> list[Effect]:
    """Nobody has decided in time: deny."""
    entry = state.open.get(message.run_id)
    if entry is None or entry.book is None or entry.stopping is not None:
        return []
    _, decisions = entry.book.expire(now)
    return settled(state, entry, decisions, now) if decisions else question_timer(entry, now)


def _policy_due(state: SessionState, message: PolicyDue, now: int, reply: Any) -> list[Effect]:
    """The time of a run that is held is over by its policy: do what that says. Any other one looks by itself."""
    entry = state.open.get(message.run_id)
    progress = None if entry is None else entry.progress
    if entry is None or entry.phase is not Phase.HELD or progress is None or progress.policed is None:
        return []
    evaluator = policed_by(state.rules, state.session, entry.run, progress.policed)
    if evaluator is None:
        return []
    ruling = evaluator.observe(TimePassed(), now)
    entry.progress = evolve(progress, policed=ruling.evaluator.state)
    session, run = state.session, entry.run
    drafts: list[Draft] = [
        run_draft(session, run, EventType.POLICY_VIOLATION, now, one.to_map()) for one in ruling.violations
    ]
    if not ruling.ends_run:
        effects: list[Effect] = [Write(drafts)] if drafts else []
        return [*effects, *policy_timer(state, entry, now)]
    error = ruling.evaluator.error({"session_id": session.id, "run_id": run.id})
    ended = run.with_error(error, now)
    ended = ended.replace(details={**ended.details, **ruling.evaluator.details(now)})
    drafts.append(run_draft(session, ended, EventType.RUN_FAILED, now, error.to_payload()))
    return end_run(state, entry, ended, drafts, error, now)


HANDLERS: dict[type, Handler] = {
    RunAsks: _run_asks,
    RunHolds: _run_holds,
    ApprovalsDue: _approvals_due,
    PolicyDue: _policy_due,
}
"""Message type -> its handler."""
