"""Part of a run's core: it is cancelled, or its time is over. Pure; rules in `runs.state`."""

from __future__ import annotations

from typing import Any, Final

from asm_actors.effects import Effect, SetTimer, StopTools, StopWork, ToProvider
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import Draft
from asm_actors.providers import messages as p
from asm_actors.runs.execution import (
    Ending,
    Handler,
    Phase,
    RunState,
    cut_short,
    draft,
    end,
    usage_draft,
)
from asm_actors.runs.messages import ROLLED_BACK, CancelRun, DeadlineReached, InterruptRun, SupersedeRun
from asm_actors.runs.notices import StopOverdue, ToolsStopped
from asm_actors.runs.run import RunStatus
from asm_actors.runs.unfinished import ENDING

__all__ = ["HANDLERS", "STOP_PATIENCE_S", "finish_stop", "stop"]

STOP_PATIENCE_S: Final = 30.0
"""How long a provider may take to close a stream: the time in which a stubborn process tree is killed, and more. Tools
have their own time (`task_shutdown_timeout_ms`), and this at most."""

_STOPPING: Final = frozenset({Phase.STOPPING, Phase.STOPPING_CALLS, Phase.STOPPING_WORK})


def _superseded(state: RunState, message: SupersedeRun, now: int) -> list[Effect]:
    if message.rolls_back and state.ending is None and ENDING not in state.run.details:
        # On its record, so that whoever sees to its files knows.
        state.run = state.run.replace(details={**state.run.details, ROLLED_BACK: True})
    return _cancel(state, message, now)


def _cancel(state: RunState, message: CancelRun | InterruptRun | SupersedeRun, now: int) -> list[Effect]:
    told = message.told
    if state.ending is None and ENDING not in state.run.details:
        state.told = told
    reason = told.get("reason")
    return stop(state, (RunStatus.CANCELLED, EventType.RUN_CANCELLED, ErrorCode.CANCELLED, reason), now)


def _deadline(state: RunState, message: DeadlineReached, now: int) -> list[Effect]:
    return stop(state, (RunStatus.TIMEOUT, EventType.RUN_TIMEOUT, ErrorCode.TIMEOUT, "deadline"), now)


def stop(state: RunState, ending: Ending, now: int) -> list[Effect]:
    """Have what is under way stopped, then the run ended; what it was told first stands."""
    if state.phase in _STOPPING or ENDING in state.run.details:
        return []  # it is about to end: what was first stands
    state.ending = ending
    if state.phase is Phase.STREAMING:
        state.phase = Phase.STOPPING
        halt: Effect = ToProvider(p.CancelTurn(state.run.id))
    elif state.phase is Phase.CALLING:
        state.phase, state.to_call = Phase.STOPPING_CALLS, ()
        halt = StopTools(state.run.id)
    elif state.phase is Phase.PREPARING and state.is_working:
        state.phase = Phase.STOPPING_WORK
        halt = StopWork(state.run.id)
    elif state.phase is not Phase.PARKED and state.run.status is RunStatus.RUNNING:
        # It is taken up again, and has not gone on: a stream of its earlier life may still be being closed.
        state.phase = Phase.STOPPING
        halt = ToProvider(p.CloseTurn(None, state.run.id))
    else:
        return finish_stop(state, [], now)
    return [halt, SetTimer("stop", STOP_PATIENCE_S, StopOverdue())]


def _overdue(state: RunState, message: StopOverdue, now: int) -> list[Effect]:
    if state.phase is Phase.STOPPING:
        return finish_stop(state, [], now, {"stream_left_open": True})
    if state.phase is Phase.STOPPING_WORK:
        return finish_stop(state, [], now, {"workspace_left": True})
    if state.phase is Phase.STOPPING_CALLS:
        return _calls_stopped(state, [call.id for call in state.calls.values() if call.is_running], now)
    return []


def _tools_stopped(state: RunState, message: ToolsStopped, now: int) -> list[Effect]:
    return _calls_stopped(state, message.left, now) if state.phase is Phase.STOPPING_CALLS else []


def _calls_stopped(state: RunState, left: list[str], now: int) -> list[Effect]:
    """The calls have ended, or cannot be made to end: each gets its end on record, then the run does."""
    drafts: list[Draft] = []
    turn = state.request.turn
    for call in state.calls.values():
        if call.answer is None and call.is_running:
            text = "cancelled; it could not be stopped and goes on" if call.id in left else "cancelled"
            error = AsmError(ErrorCode.CANCELLED, text)
            drafts.append(draft(state, EventType.TOOL_CALL_FAILED, now, call.fail(error, turn)))
    names = [call.name for call in state.calls.values() if call.id in left]
    return finish_stop(state, drafts, now, {"tools_left_running": names} if names else {})


def finish_stop(
    state: RunState, drafts: list[Draft], now: int, more: dict[str, Any] | None = None
) -> list[Effect]:
    """End a run that was told to stop.

    Args:
        state: Changed in place.
        drafts: Events to be told before the last one.
        now: Microseconds since the epoch.
        more: What the error's details say of things that could not be stopped.
    """
    assert state.ending is not None
    status, kind, code, reason = state.ending
    details: dict[str, Any] = {"reason": reason} if reason else {}
    details.update(state.told)
    details.update(more or {})
    if code is ErrorCode.POLICY_VIOLATION and state.verdict is not None:
        error = state.verdict
        error.details.update(details)
    else:
        error = AsmError(code, _ending_text(state, status, reason), details=details or None)
    run = cut_short(state).with_error(error, now, status)
    drafts += usage_draft(state, now)
    data = {**error.to_payload(), "partial_content": bool(state.turn.text)}
    if reason is not None:
        data["reason"] = reason
    data.update(state.told)
    drafts.append(draft(state, kind, now, data))
    return end(state, drafts, run, error)


def _ending_text(state: RunState, status: RunStatus, reason: str | None) -> str:
    if status is RunStatus.TIMEOUT:
        return f"run {state.run.id} reached its deadline"
    return f"run {state.run.id} was cancelled" + (f": {reason}" if reason else "")


HANDLERS: dict[type, Handler] = {
    CancelRun: _cancel,
    InterruptRun: _cancel,
    SupersedeRun: _superseded,
    DeadlineReached: _deadline,
    StopOverdue: _overdue,
    ToolsStopped: _tools_stopped,
}
"""Message type -> its handler."""
