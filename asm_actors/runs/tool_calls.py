"""Part of a run's core: calls of the host's tools, between two turns. Pure; rules in `runs.state`.

1. A call begins only when its `tool_call_started` is durable. So whatever a tool did, the journal knows that it may
   have done it.
2. All calls of a turn run at once. The next turn is asked for when each has an answer, in the order of the calls.
3. A call that somebody is asked about waits, and only that one. When nothing else goes on the run holds: it gives up
   its actor and its slot until the decision is there.
4. What a tool raises, a call that cannot be made, and an outcome that is unknown are answers too: they are told to the
   model as errors, and the run goes on.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from asm_actors.effects import CallTool, Effect
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import EMPTY, Draft
from asm_actors.policies.approvals import ApprovalBook
from asm_actors.policies.facts import CallBegan
from asm_actors.policies.rulings import Allow, AskApproval, Deny
from asm_actors.runs.asking import asked, by_decision, takes_decision, with_asked
from asm_actors.runs.calls import Call, answers_of
from asm_actors.runs.execution import Handler, Phase, RunState, append, draft, start_turn
from asm_actors.runs.holding import hold
from asm_actors.runs.messages import ApprovalDecided
from asm_actors.runs.notices import ToolEnded
from asm_actors.runs.policing import fact_told, is_over, judged, stopped
from asm_actors.runs.run import Run, RunStatus
from asm_actors.tools.tool import Tool

__all__ = ["HANDLERS", "answer_calls", "begin_when_durable"]


def answer_calls(state: RunState, drafts: list[Draft], run: Run | None, now: int) -> list[Effect]:
    """Have the calls of the last turn answered, then ask for the next turn; or wait, if nothing else can be done.

    Args:
        state: Changed in place.
        drafts: Events to be told before those of the calls.
        run: The run's new record, if it changed.
        now: Microseconds since the epoch.
    """
    state.phase = Phase.CALLING
    n_before = len(drafts)
    begun = [call for call in state.calls.values() if _is_due(call) and _begins(state, call, drafts, now)]
    if is_over(state):
        # Nothing of what was about to begin has begun.
        for call in begun:
            call.is_running = False
        ids = {call.id for call in begun}
        kept = [one for n, one in enumerate(drafts) if n < n_before or not _begins_one_of(one, ids)]
        return stopped(state, kept, now)
    asks = any(one.type is EventType.TOOL_APPROVAL_REQUESTED for one in drafts[n_before:])
    if begun:
        if asks:
            run = with_asked(state)
        state.to_call = [*state.to_call, *begun]
        effect = append(state, drafts, run, is_awaited=True, asks=asks)
        state.n_before_calls = state.n_pending
        return [effect]
    return _go_on_or_wait(state, drafts, run, now, asks=asks)


def _begins_one_of(one: Draft, ids: Collection[str]) -> bool:
    return one.type is EventType.TOOL_CALL_STARTED and one.data["tool_call_id"] in ids


def _is_due(call: Call) -> bool:
    return call.answer is None and not call.is_running and not call.waits


def _go_on_or_wait(
    state: RunState, drafts: list[Draft], run: Run | None, now: int, *, asks: bool = False
) -> list[Effect]:
    """See what follows when no further call begins: the next turn, the end of a call, or somebody's decision."""
    calls = state.calls.values()
    if any(call.is_running for call in calls):
        if not drafts:
            return []
        return [append(state, drafts, with_asked(state) if asks else run, asks=asks)]
    if any(call.waits for call in calls):
        with_asked(state)
        status = RunStatus.PAUSED if state.is_to_hold else RunStatus.AWAITING_APPROVAL
        return hold(state, drafts, status, now)
    effects: list[Effect] = [append(state, drafts, run)] if drafts else []
    return [*effects, *_all_answered(state, now)]


def _begins(state: RunState, call: Call, drafts: list[Draft], now: int) -> bool:
    """Whether a call is to be made; if not, it is answered, or somebody is asked about it."""
    turn = state.request.turn
    if call.is_unknown:
        drafts.append(draft(state, EventType.TOOL_CALL_FAILED, now, call.lose(turn)))
        return False
    tool = state.tools.get(call.name)
    if call.decision != "denied":
        error = _fault_of(state, tool, call)
        if error is not None:
            return _refuse(state, call, error, drafts, now)
    given = _allowed(state, call, drafts, now)
    if given is None:
        return False
    assert tool is not None
    call.input = given
    call.attempt += 1
    call.is_started = call.is_running = True
    call.safe_to_repeat, call.decision = tool.safe_to_repeat, None
    drafts.append(draft(state, EventType.TOOL_CALL_STARTED, now, call.started_data(turn)))
    if state.evaluator is not None:
        drafts += fact_told(state, CallBegan(call.attempt > 1), now)
    return True


def _fault_of(state: RunState, tool: Tool | None, call: Call) -> AsmError | None:
    if tool is None:
        known = ", ".join(state.tools) or "none"
        text = f"there is no tool {call.name!r}; there are: {known}"
        return AsmError(ErrorCode.TOOL_NOT_FOUND, text)
    fault = tool.fault_of(call.input)
    return None if fault is None else AsmError(ErrorCode.TOOL_ERROR, fault)


def _allowed(state: RunState, call: Call, drafts: list[Draft], now: int) -> dict[str, Any] | None:
    """The arguments with which a call may be made; None if it may not: it is answered, or somebody is asked."""
    if state.evaluator is None and call.decision is None:
        return call.input
    book = ApprovalBook() if state.book is None else state.book
    is_repeated = call.attempt > 0
    fact = book.about(state.run.id, call.id, call.name, call.input, is_repeated=is_repeated)
    if call.decision is None and not is_repeated:
        # What an earlier call of the same id was allowed says nothing about this one.
        fact = fact._replace(approval=None)
    if state.evaluator is None:
        ruling: Allow | Deny | AskApproval | None = by_decision(fact, call.decision)
    else:
        told, found = judged(state, fact, now)
        drafts += told
        ruling = found.about_call
    if isinstance(ruling, Allow):
        return ruling.tool_input
    if isinstance(ruling, AskApproval):
        drafts.append(asked(state, call, ruling.request, now))
        return None
    reason = ruling.reason if ruling is not None else "the run has ended"
    _refuse(state, call, AsmError(ErrorCode.TOOL_PERMISSION_DENIED, reason), drafts, now)
    return None


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
    if state.phase is Phase.STOPPING_CALLS:
        return [append(state, [made])]
    return _go_on_or_wait(state, [made], None, now)


def _all_answered(state: RunState, now: int) -> list[Effect]:
    request, answers = state.request, answers_of(state.calls.values())
    state.past += answers
    messages = (*request.messages, *answers)
    state.request = request._replace(turn=request.turn + 1, attempt=1, messages=messages)
    state.calls = EMPTY
    if state.is_to_hold:
        return hold(state, [], RunStatus.PAUSED, now)
    return [start_turn(state)]


def _decided(state: RunState, message: ApprovalDecided, now: int) -> list[Effect]:
    """Somebody decided about a call while the run is under way."""
    call = state.calls.get(message.call_id)
    takes_decision(state, message)
    if call is None or not call.waits:
        return []
    is_granted = message.type is EventType.TOOL_APPROVAL_GRANTED
    call.decision = "granted" if is_granted else "denied"
    return answer_calls(state, [], None, now) if state.phase is Phase.CALLING else []


HANDLERS: dict[type, Handler] = {ToolEnded: _tool_ended, ApprovalDecided: _decided}
"""Message type -> its handler."""
