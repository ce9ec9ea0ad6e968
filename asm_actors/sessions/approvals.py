"""Part of a session's core: decisions about calls that somebody was asked about. Pure; rules in `sessions.state`.

A run waits for them without an actor and without a slot; the journal holds all of it, so that a restart changes
nothing. The first decision about a call counts. When the last one is there the run stands in line again: to go
on, or, if its policy is to begin again from its input, to do that. Such a run ends with the first denial.
"""

from __future__ import annotations

from typing import Any

from asm_actors.effects import Effect, LoadRun, Reply, Write
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import Draft
from asm_actors.runs.messages import DenyApproval, GrantApproval
from asm_actors.runs.resumption import Progress
from asm_actors.runs.run import RunStatus
from asm_actors.serialization import check_id, check_optional_id, invalid
from asm_actors.sessions.admission import enqueue_again
from asm_actors.sessions.open_runs import Phase, RunEntry, run_draft
from asm_actors.sessions.run_ends import end_run
from asm_actors.sessions.state import Handler, SessionState
from asm_actors.sessions.verdicts import begun_again, naming, outcome_unknown

__all__ = ["HANDLERS", "decide"]


def decide(state: SessionState, message: GrantApproval | DenyApproval, now: int, reply: Any) -> list[Effect]:
    """Handle `GrantApproval` and `DenyApproval`."""
    run_id, call_id = check_id(message.run_id, "run_id"), check_id(message.tool_call_id, "tool_call_id")
    check_optional_id(message.by, "by")
    if message.reason is not None and not isinstance(message.reason, str):
        raise invalid("reason", "must be a text, or None", message.reason)
    entry = state.open.get(run_id)
    if entry is None:
        return [LoadRun(run_id, message, reply)]
    known = (entry.decided or {}).get(call_id)
    if known is None:
        raise AsmError(
            ErrorCode.INVALID_OPERATION,
            f"nobody was asked about call {call_id!r} of run {run_id}",
            context={"session_id": state.session.id, "run_id": run_id, "tool_call_id": call_id},
        )
    if known != "requested" or entry.phase is not Phase.HELD:
        return [Write((), then=(Reply(reply, entry.run),))]
    return _decided(state, entry, message, now, reply)


def _decided(
    state: SessionState, entry: RunEntry, message: GrantApproval | DenyApproval, now: int, reply: Any
) -> list[Effect]:
    is_granted = type(message) is GrantApproval
    progress = entry.progress
    assert progress is not None
    progress = progress.with_decision(message.tool_call_id, "granted" if is_granted else "denied")
    entry.progress, entry.decided = progress, dict(progress.decided)
    call = next(call for call in progress.calls if call.id == message.tool_call_id)
    data: dict[str, Any] = {"tool_call_id": call.id, "tool_name": call.name}
    data |= {
        key: value for key, value in (("by", message.by), ("reason", message.reason)) if value is not None
    }
    kind = EventType.TOOL_APPROVAL_GRANTED if is_granted else EventType.TOOL_APPROVAL_DENIED
    drafts = [run_draft(state.session, entry.run, kind, now, data)]
    if progress.begins_again and not is_granted:
        return _end_denied(state, entry, progress, drafts, now, reply)
    if progress.undecided:
        return [Write(drafts, then=(Reply(reply, entry.run),))]
    entry.run = entry.run.with_status(RunStatus.RUNNING, now)
    if progress.begins_again:
        entry.run, data = begun_again(entry.run, progress)
        entry.progress = None
        drafts.append(run_draft(state.session, entry.run, EventType.RUN_RECOVERED, now, data))
    write = Write(drafts, None, (entry.run,), (Reply(reply, entry.run),))
    return [write, *enqueue_again(state, entry, now)]


def _end_denied(
    state: SessionState, entry: RunEntry, progress: Progress, drafts: list[Draft], now: int, reply: Any
) -> list[Effect]:
    error = naming(outcome_unknown(entry.run, progress.unknown, is_denied=True), progress)
    ended = entry.run.with_error(error, now)
    drafts.append(run_draft(state.session, ended, EventType.RUN_FAILED, now, error.to_payload()))
    entry.wait_for_end(reply)
    return end_run(state, entry, ended, drafts, error, now)


HANDLERS: dict[type, Handler] = {GrantApproval: decide, DenyApproval: decide}
"""Message type -> its handler."""
