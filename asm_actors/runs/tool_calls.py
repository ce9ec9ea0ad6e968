"""Part of a run's core: calls of the host's tools, between two turns. Pure; rules in `runs.state`.

1. A call begins only when its `tool_call_started` is durable. So whatever a tool did, the journal knows that it may
   have done it.
2. All calls of a turn run at once. The next turn is asked for when each has an answer, in the order of the calls.
3. What a tool raises, a call that cannot be made, and an outcome that is unknown are answers too: they are told to the
   model as errors, and the run goes on.
"""

from __future__ import annotations

from asm_actors.effects import CallTool, Effect
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import EMPTY, Draft
from asm_actors.runs.calls import Call, answers_of
from asm_actors.runs.execution import Handler, Phase, RunState, append, draft, start_turn
from asm_actors.runs.notices import ToolEnded
from asm_actors.runs.run import Run

__all__ = ["HANDLERS", "answer_calls", "begin_when_durable"]


def answer_calls(state: RunState, drafts: list[Draft], run: Run | None, now: int) -> list[Effect]:
    """Have the calls of the last turn answered, then ask for the next turn.

    Args:
        state: Changed in place.
        drafts: Events to be told before those of the calls.
        run: The run's new record, if it changed.
        now: Microseconds since the epoch.
    """
    state.phase = Phase.CALLING
    state.to_call = [
        call for call in state.calls.values() if call.answer is None and _begins(state, call, drafts, now)
    ]
    if state.to_call:
        effect = append(state, drafts, run, is_awaited=True)
        state.n_before_calls = state.n_pending
        return [effect]
    effects: list[Effect] = [append(state, drafts, run)] if drafts else []
    return [*effects, *_all_answered(state)]


def _begins(state: RunState, call: Call, drafts: list[Draft], now: int) -> bool:
    """Whether a call is to be made; if not, it is answered."""
    turn = state.request.turn
    if call.is_unknown:
        drafts.append(draft(state, EventType.TOOL_CALL_FAILED, now, call.lose(turn)))
        return False
    if call.decision == "denied":
        error = AsmError(ErrorCode.TOOL_PERMISSION_DENIED, f"the call of {call.name} was denied")
        return _refuse(state, call, error, drafts, now)
    tool = state.tools.get(call.name)
    if tool is None:
        known = ", ".join(state.tools) or "none"
        error = AsmError(ErrorCode.TOOL_NOT_FOUND, f"there is no tool {call.name!r}; there are: {known}")
        return _refuse(state, call, error, drafts, now)
    fault = tool.fault_of(call.input)
    if fault is not None:
        return _refuse(state, call, AsmError(ErrorCode.TOOL_ERROR, fault), drafts, now)
    call.attempt += 1
    call.is_started, call.safe_to_repeat, call.decision = True, tool.safe_to_repeat, None
    drafts.append(draft(state, EventType.TOOL_CALL_STARTED, now, call.started_data(turn)))
    return True


def _refuse(state: RunState, call: Call, error: AsmError, drafts: list[Draft], now: int) -> bool:
    """Answer a call that cannot be made."""
    turn = state.request.turn
    if not call.is_announced and not call.attempt:
        drafts.append(draft(state, EventType.TOOL_CALL_STARTED, now, call.started_data(turn)))
    drafts.append(draft(state, EventType.TOOL_CALL_FAILED, now, call.fail(error, turn)))
    return False


def begin_when_durable(state: RunState, count: int) -> list[Effect]:
    """So many more events are durable: begin the calls that waited for it."""
    state.n_before_calls -= count
    if state.n_before_calls > 0 or state.phase is not Phase.CALLING:
        return []
    calls, state.to_call = state.to_call, ()
    return [CallTool(call.id, call.name, call.input) for call in calls]


def _tool_ended(state: RunState, message: ToolEnded, now: int) -> list[Effect]:
    call = state.calls.get(message.call_id)
    if call is None or call.answer is not None or state.phase not in (Phase.CALLING, Phase.STOPPING_CALLS):
        return []
    turn = state.request.turn
    if message.error is None:
        made = draft(state, EventType.TOOL_CALL_COMPLETED, now, call.succeed(message.output, turn))
    else:
        made = draft(state, EventType.TOOL_CALL_FAILED, now, call.fail(message.error, turn))
    effects: list[Effect] = [append(state, [made])]
    if state.phase is Phase.CALLING and all(one.answer is not None for one in state.calls.values()):
        effects += _all_answered(state)
    return effects


def _all_answered(state: RunState) -> list[Effect]:
    request = state.request
    messages = (*request.messages, *answers_of(state.calls.values()))
    state.request = request._replace(turn=request.turn + 1, attempt=1, messages=messages)
    state.calls = EMPTY
    return [start_turn(state)]


HANDLERS: dict[type, Handler] = {ToolEnded: _tool_ended}
"""Message type -> its handler."""
