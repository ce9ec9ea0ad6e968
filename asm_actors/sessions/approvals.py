"""Part of a session's core: what somebody decides about calls of its runs. Pure; rules in `sessions.state`.

1. The first decision about a call counts. It is on record before anything follows from it: with it the session's
   grants, if it is one for the session, and the run's record, if that goes on by it.
2. A run that waits for decisions alone has no actor and no slot; it stands in line again with the first of them, and
   holds again if others are left. A run whose other calls go on hears of it.
3. A run whose policy is to begin again from its input (`on_restart`) waits for all of them; it ends with a denial.
4. A question that nobody decides in its time is denied. The time counts from its event, whatever happens meanwhile.
5. A grant that stands for other calls answers the questions about such calls, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from attrs import evolve

from asm_actors.effects import Effect, LoadRun, Reply, Then, ToRun, Write
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import Draft
from asm_actors.policies.approval import Approval, GrantScope
from asm_actors.policies.approvals import ApprovalBook, Entry
from asm_actors.runs.messages import (
    ApprovalDecided,
    CancelForApproval,
    CancelRun,
    DenyApproval,
    GrantApproval,
)
from asm_actors.runs.policing import GRANTS, grants_of
from asm_actors.runs.resumption import Progress
from asm_actors.serialization import check_id, check_optional_id, invalid, json_map, parse_member
from asm_actors.sessions.holding import go_on
from asm_actors.sessions.open_runs import Phase, RunEntry, run_draft
from asm_actors.sessions.questions import FOR_APPROVAL, checked_question, merged, question_timer
from asm_actors.sessions.run_ends import end_run, withdraw
from asm_actors.sessions.session import Session
from asm_actors.sessions.state import Handler, SessionState
from asm_actors.sessions.verdicts import begun_again, naming, outcome_unknown

__all__ = ["HANDLERS", "MAX_GRANTS", "by_standing_grants", "cancel_for_approval", "decide", "settled"]

MAX_GRANTS: Final = 200
"""Grants for a session that are kept, the newest ones: what is forgotten is asked about again."""


def decide(state: SessionState, message: GrantApproval | DenyApproval, now: int, reply: Any) -> list[Effect]:
    """Handle `GrantApproval` and `DenyApproval`."""
    run_id, call_id = check_id(message.run_id, "run_id"), check_id(message.tool_call_id, "tool_call_id")
    check_optional_id(message.by, "by")
    if message.reason is not None and not isinstance(message.reason, str):
        raise invalid("reason", "must be a text, or None", message.reason)
    scope, edited = GrantScope.ONCE, None
    if type(message) is GrantApproval:
        scope = parse_member(GrantScope, message.scope, ErrorCode.VALIDATION_ERROR)
        edited = None if message.tool_input is None else json_map(message.tool_input, "tool_input")
    entry = state.open.get(run_id)
    if entry is None:
        return [LoadRun(run_id, message, reply)]
    asked = None if entry.book is None else entry.book.approvals.get((run_id, call_id))
    if asked is None and call_id not in (entry.decided or {}):
        raise _not_asked(state, run_id, call_id)
    if entry.stopping is not None:
        entry.wait_for_end(reply)
        return []
    if asked is None or not asked.is_pending:
        return [Write((), then=(Reply(reply, entry.run),))]
    assert entry.book is not None
    if edited is not None:
        _check_edited(state, entry, asked, edited)
    told = {"by": message.by, "reason": message.reason or None}
    if type(message) is GrantApproval:
        made = entry.book.grant(run_id, call_id, now, tool_input=edited, scope=scope, **told)
    else:
        made = entry.book.deny(run_id, call_id, now, **told)
    return _entered(state, entry, made, now, reply)


def _not_asked(state: SessionState, run_id: str, call_id: str) -> AsmError:
    return AsmError(
        ErrorCode.INVALID_OPERATION,
        f"nobody was asked about call {call_id!r} of run {run_id}",
        context={"session_id": state.session.id, "run_id": run_id, "tool_call_id": call_id},
    )


def _check_edited(state: SessionState, entry: RunEntry, asked: Approval, edited: dict[str, Any]) -> None:
    """Refuse arguments which the tool does not take."""
    if entry.progress is not None and entry.progress.begins_again:
        raise invalid("tool_input", "cannot be given: the run begins again from its input", edited)
    tool = state.rules.tools.get(asked.tool_name)
    fault = None if tool is None else tool.fault_of(edited)
    if fault is not None:
        raise AsmError(ErrorCode.VALIDATION_ERROR, fault, details={"field": "tool_input"})


def _entered(state: SessionState, entry: RunEntry, made: Entry, now: int, reply: Any) -> list[Effect]:
    """Put a decision on record, and what else it decides."""
    grant = made.approval
    decisions, book = [made], made.book
    session: Session | None = None
    for other in book.alike(grant):
        decisions.append(_like(book, other, grant, now))
        book = decisions[-1].book
    if grant.stands and grant.scope is GrantScope.SESSION:
        session = _with_grant(state, grant)
    effects = settled(state, entry, decisions, now, (Reply(reply, entry.run),), session)
    if session is None:
        return effects
    for other_entry in list(state.open.values()):
        if other_entry is not entry and other_entry.book is not None:
            effects += _answer_alike(state, other_entry, (grant,), now)
    return effects


def _like(book: ApprovalBook, asked: Approval, grant: Approval, now: int) -> Entry:
    made = book.grant(
        asked.run_id, asked.call_id, now, by=grant.by, reason=grant.reason, tool_input=grant.edited_input
    )
    made.data["standing"] = {
        "run_id": grant.run_id,
        "tool_call_id": grant.call_id,
        "scope": grant.scope.value,
    }
    return made


def _with_grant(state: SessionState, grant: Approval) -> Session:
    """Keep a grant with the session, for its later runs."""
    grants = [*(state.session.options.get(GRANTS) or ()), grant.to_map()][-MAX_GRANTS:]
    state.session = state.session.replace(options={**state.session.options, GRANTS: grants})
    return state.session


def by_standing_grants(state: SessionState, entry: RunEntry, now: int) -> list[Effect]:
    """Answer the new questions of a run which a grant of its session answers that the run did not know."""
    grants = grants_of(state.session) if state.session.options.get(GRANTS) else ()
    return _answer_alike(state, entry, grants, now) if grants else []


def _answer_alike(state: SessionState, entry: RunEntry, grants: Sequence[Approval], now: int) -> list[Effect]:
    book = entry.book
    if book is None or entry.stopping is not None:
        return []
    decisions: list[Entry] = []
    for grant in reversed(grants):  # the newest one counts
        for asked in book.alike(grant):
            decisions.append(_like(book, asked, grant, now))
            book = decisions[-1].book
    return settled(state, entry, decisions, now) if decisions else []


# --- What follows ------------------------------------------------------------------------------------------------


def settled(
    state: SessionState,
    entry: RunEntry,
    decisions: Sequence[Entry],
    now: int,
    then: Sequence[Then] = (),
    session: Session | None = None,
) -> list[Effect]:
    """Put decisions on record, and do what follows from them.

    Args:
        state: Changed in place.
        entry: The run's place in the session.
        decisions: What was decided about its calls, in order.
        now: Microseconds since the epoch.
        then: What follows when it is durable; answers with the run's record get that as it is then.
        session: The session's new record, if it changed.
    """
    drafts: list[Draft] = []
    entry.book = decisions[-1].book
    for made in decisions:
        assert made.kind is not None
        drafts.append(run_draft(state.session, entry.run, made.kind, now, made.data))
        entry.decided = {**(entry.decided or {}), made.approval.call_id: made.approval.status.value}
    timer = question_timer(entry, now)
    if entry.progress is not None:
        entry.progress = merged(entry, entry.progress)
    if entry.phase is Phase.HELD:
        return [*_held(state, entry, drafts, now, then, session), *timer]
    effects: list[Effect] = [Write(drafts, session, (), then), *timer]
    if entry.phase is Phase.STARTED:
        effects += [
            ToRun(
                entry.run.id, ApprovalDecided(entry.run.id, made.approval.call_id, made.kind, made.data, now)
            )
            for made in decisions
            if made.kind is not None
        ]
    return effects


def _held(
    state: SessionState,
    entry: RunEntry,
    drafts: list[Draft],
    now: int,
    then: Sequence[Then],
    session: Session | None,
) -> list[Effect]:
    progress = entry.progress
    assert progress is not None
    if progress.begins_again:
        if any(call.answer is None and call.decision == "denied" for call in progress.calls):
            return _end_denied(state, entry, progress, drafts, now, then, session)
        if progress.undecided:
            return [Write(drafts, session, (), then)]
        entry.run, data = begun_again(entry.run, progress)
        entry.progress = progress.anew
        entry.book = None if entry.book is None else evolve(entry.book, approvals={})
        drafts.append(run_draft(state.session, entry.run, EventType.RUN_RECOVERED, now, data))
    return go_on(state, entry, drafts, now, then, session)


def _end_denied(
    state: SessionState,
    entry: RunEntry,
    progress: Progress,
    drafts: list[Draft],
    now: int,
    then: Sequence[Then],
    session: Session | None,
) -> list[Effect]:
    error = naming(outcome_unknown(entry.run, progress.unknown, is_denied=True), progress)
    ended = entry.run.with_error(error, now)
    drafts.append(run_draft(state.session, ended, EventType.RUN_FAILED, now, error.to_payload()))
    for one in then:
        if type(one) is Reply:
            entry.wait_for_end(one.to)
    return end_run(state, entry, ended, drafts, error, now, session)


def cancel_for_approval(
    state: SessionState, message: CancelForApproval, now: int, reply: Any
) -> list[Effect]:
    """Handle `CancelForApproval`: the question is written with the run's end, wherever that comes from."""
    run_id, data = check_id(message.run_id, "run_id"), checked_question(message.approval_data)
    entry = state.open.get(run_id)
    if entry is None:
        return [LoadRun(run_id, message, reply)]
    if entry.approval is None:
        entry.approval = data
    entry.wait_for_end(reply)
    return withdraw(state, entry, CancelRun(FOR_APPROVAL, run_id), now)


HANDLERS: dict[type, Handler] = {
    GrantApproval: decide,
    DenyApproval: decide,
    CancelForApproval: cancel_for_approval,
}
"""Message type -> its handler."""
