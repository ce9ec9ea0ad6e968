"""Part of a session's core: messages about runs that are over, once their records have been read. Pure.

All runs that are not over are in `open`; the message itself is handled where it belongs.
"""

from __future__ import annotations

from typing import Any

from asm_actors.effects import Effect, Refuse, Reply
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.runs.messages import (
    CancelForApproval,
    CancelRun,
    DenyApproval,
    GrantApproval,
    InterruptRun,
    PauseRun,
    ResumeRun,
    SteerRun,
)
from asm_actors.sessions import admission, approvals, control
from asm_actors.sessions import messages as m
from asm_actors.sessions.run_ends import cancel_run, outcome
from asm_actors.sessions.state import Handler, SessionState

__all__ = ["HANDLERS"]


def _run_loaded(state: SessionState, message: m.RunLoaded, now: int, reply: Any) -> list[Effect]:
    """Answer for a run that is over."""
    asked, run = message.message, message.run
    if asked.run_id in state.open:
        # It was created while the journal was read.
        return _AGAIN[type(asked)](state, asked, now, message.reply)
    if run is None or run.session_id != state.session.id:
        error = AsmError(
            ErrorCode.RUN_NOT_FOUND,
            f"session {state.session.id} has no run {asked.run_id}",
            context={"session_id": state.session.id, "run_id": asked.run_id},
        )
        return [Refuse(message.reply, error)]
    if not run.is_terminal:
        # It was ended here, and the journal could not take that: this life is about to hear of it.
        error = AsmError(
            ErrorCode.STORAGE_WRITE_FAILED,
            f"the end of run {run.id} could not be made durable; it is {run.status.value}",
            context={"session_id": run.session_id, "run_id": run.id},
        )
        return [Refuse(message.reply, error)]
    if type(asked) is m.ExecuteRun:
        error = AsmError(
            ErrorCode.INVALID_OPERATION,
            f"run {run.id} is over ({run.status.value}) and cannot be executed again; start a new run",
            context={"session_id": run.session_id, "run_id": run.id},
        )
        return [Refuse(message.reply, error)]
    if type(asked) in _SENSELESS:
        error = AsmError(
            ErrorCode.INVALID_OPERATION,
            f"run {run.id} is over ({run.status.value}): cannot {_SENSELESS[type(asked)]}",
            context={"session_id": run.session_id, "run_id": run.id, "status": run.status.value},
        )
        return [Refuse(message.reply, error)]
    if type(asked) is m.AwaitRun:
        return [outcome(message.reply, run, None)]
    # Callers race with the end: what they want of a run that is over changes nothing.
    return [Reply(message.reply, run)]


_SENSELESS: dict[type, str] = {PauseRun: "pause it", ResumeRun: "resume it", SteerRun: "give it input"}
"""What nobody can want of a run that is over."""

HANDLERS: dict[type, Handler] = {m.RunLoaded: _run_loaded}
"""Message type -> its handler."""

_AGAIN: dict[type, Handler] = {
    m.ExecuteRun: admission.HANDLERS[m.ExecuteRun],
    m.QueueRun: admission.HANDLERS[m.QueueRun],
    m.AwaitRun: admission.HANDLERS[m.AwaitRun],
    CancelRun: cancel_run,
    InterruptRun: cancel_run,
    PauseRun: control.pause_run,
    ResumeRun: control.resume_run,
    SteerRun: control.steer_run,
    CancelForApproval: approvals.cancel_for_approval,
    GrantApproval: approvals.decide,
    DenyApproval: approvals.decide,
}
