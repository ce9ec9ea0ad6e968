"""Part of a run's core: its turns, from their first item to what follows them. Pure; rules in `runs.state`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from asm_actors.effects import Effect, ToProvider
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import Draft
from asm_actors.policies.facts import TimePassed
from asm_actors.providers import messages as p
from asm_actors.providers.items import Item
from asm_actors.runs.answers import boundary, closed, complete, thread_of, too_many_turns, with_correction
from asm_actors.runs.calls import STEERED, Call, messages_of_turn, pending_of
from asm_actors.runs.control import keep_input, taken_along
from asm_actors.runs.execution import (
    CALLED,
    WINDOW,
    Handler,
    Phase,
    RunState,
    append,
    draft,
    fail,
    must_prepare,
    prepare,
    start_turn,
    usage_draft,
)
from asm_actors.runs.finishing import resume_finishing
from asm_actors.runs.holding import hold
from asm_actors.runs.messages import Durable
from asm_actors.runs.notices import ProviderBack, ProviderGone
from asm_actors.runs.policing import fact_told, fail_policed, hears, is_over, looked_again, stopped, turn_told
from asm_actors.runs.run import Run, RunStatus
from asm_actors.runs.stops import finish_stop
from asm_actors.runs.tool_calls import answer_calls, begin_when_durable
from asm_actors.runs.turn import Turn, drafts_of
from asm_actors.runs.unfinished import ENDING

__all__ = ["ASK_EVERY", "HANDLERS", "go_on"]

_FORGOTTEN: Final = frozenset({ErrorCode.NOT_FOUND, ErrorCode.SESSION_NOT_FOUND})
"""How a provider fails that does not know a conversation of its own any more."""

ASK_EVERY: Final = max(1, p.CREDIT // 2)
"""Batches after which further ones are asked for: before the credit is used up."""


# --- Heard -----------------------------------------------------------------------------------------------------


def _items(state: RunState, message: p.TurnItems, now: int) -> list[Effect]:
    if state.phase is Phase.STOPPING:
        # Sent before the provider saw the cancel: what it said counts, how it ended does not.
        drafts = _take(state, message.items, now)
        if message.is_last:
            return finish_stop(state, drafts, now)  # there is no stream left to be closed
        return [append(state, drafts)] if drafts else []
    if state.phase is not Phase.STREAMING:
        return []
    drafts = _take(state, message.items, now)
    if state.evaluator is not None:
        drafts = hears(state, drafts, now)
        if is_over(state):
            return fail_policed(state, drafts, now) if message.is_last else stopped(state, drafts, now)
    if message.is_last:
        return _turn_over(state, drafts, message.error, now)
    effects: list[Effect] = []
    if drafts:
        effects.append(append(state, drafts, _marked(state) if state.turn.has_called else None))
    state.n_heard += 1
    if state.n_pending >= WINDOW:
        state.wants_more = True
    elif state.n_heard >= ASK_EVERY:
        effects.append(_more(state))
    return effects


def _more(state: RunState) -> Effect:
    batches, state.n_heard = state.n_heard, 0
    return ToProvider(p.More(state.run.id, batches))


def _take(state: RunState, items: Sequence[Item], now: int) -> list[Draft]:
    return drafts_of(state.turn, items, now, state.run.id, state.provider, state.correlation_id)


def _marked(state: RunState) -> Run | None:
    """Have the record say so when the provider calls tools of its own in the first turn.

    A record that says nothing of the kind, and of no completed turn, need not be looked behind when the run is
    recovered: nothing can have happened that must not happen twice.
    """
    if state.is_marked or state.run.turn_count:
        return None
    state.is_marked = True
    metadata = {**state.run.provider_metadata, CALLED: True}
    state.run = state.run.replace(provider_metadata=metadata)
    return state.run


def _durable(state: RunState, message: Durable, now: int) -> list[Effect]:
    if message.count:
        state.n_pending -= message.count
    elif state.n_barriers:
        state.n_barriers -= 1
    if state.phase is Phase.RECOVERING:
        return go_on(state, now)
    if state.phase is Phase.FINISHING:
        if message.count or state.n_barriers or state.is_working:
            return []  # that of something earlier
        return resume_finishing(state, now)
    if state.phase is Phase.PREPARING and not message.count and not state.is_working:
        state.is_settled = True
        return prepare(state)
    if state.to_call:
        return begin_when_durable(state, message.count)
    if state.wants_more and state.phase is Phase.STREAMING and state.n_pending < WINDOW:
        state.wants_more = False
        return [_more(state)]
    return []


def _retries(state: RunState, message: p.TurnRetries, now: int) -> list[Effect]:
    if state.phase is not Phase.STREAMING:
        return []
    data = {**message.error.to_payload(), "attempt": message.attempt, "retry_in_s": message.delay_s}
    _begin_again(state, message.attempt + 1)
    return [append(state, [draft(state, EventType.ERROR_OCCURRED, now, data)])]


def _stopped(state: RunState, message: p.TurnStopped, now: int) -> list[Effect]:
    if state.phase is not Phase.STOPPING:
        return []
    return finish_stop(state, _take(state, message.items, now), now)


# --- Over ------------------------------------------------------------------------------------------------------


def _turn_over(state: RunState, drafts: list[Draft], error: AsmError | None, now: int) -> list[Effect]:
    turn = state.turn
    if error is None and turn.done is None:
        error = AsmError(
            ErrorCode.PROVIDER_ERROR,
            f"provider {state.provider} ended its stream in the middle of the turn",
            context={"run_id": state.run.id},
        )
    if error is not None:
        if state.request.provider_session_id is not None and _is_forgotten(state, error):
            return _send_all(state, drafts, error, now)
        return fail(state, drafts, error, now)
    if state.tools and (pending := turn.pending_calls()):
        return _next_turn(state, drafts, pending, now)
    if state.evaluator is not None:
        drafts += turn_told(state, now, wants_more=False)
        if is_over(state):
            return fail_policed(state, drafts, now)
    effects = complete(state, drafts, now)
    if effects is not None:
        return effects
    return _ask_again(state, with_correction(state, drafts, now), now)


def _is_forgotten(state: RunState, error: AsmError) -> bool:
    """Whether the provider does not know the conversation any more with which it was to go on."""
    if state.turn.has_spoken or state.past:
        return False
    return error.code in _FORGOTTEN or (error.provider_error or {}).get("kind") in _FORGOTTEN


def _send_all(state: RunState, drafts: list[Draft], error: AsmError, now: int) -> list[Effect]:
    """Ask again with the messages that the provider has forgotten."""
    data = {**error.to_payload(), "attempt": state.request.attempt, "will_retry": True}
    drafts.append(draft(state, EventType.ERROR_OCCURRED, now, data))
    taken = keep_input(state)
    _begin_again(state, state.request.attempt + 1)
    state.request = state.request._replace(provider_session_id=None)
    reason = f"the provider does not know its conversation any more: {error.message}"
    return [append(state, drafts), *taken, *prepare(state, "replay", reason)]


def _ask_again(state: RunState, effects: list[Effect], now: int) -> list[Effect]:
    """Ask for the turn after one whose answer does not fit, unless the run has ended or is to hold."""
    if state.phase is not Phase.STREAMING:
        return effects
    if state.steering:
        effects += taken_along(state)
    if state.is_to_hold:
        return [*effects, *hold(state, [], RunStatus.PAUSED, now)]
    if state.evaluator is not None:
        told = fact_told(state, TimePassed(), now)
        if is_over(state):
            return [*effects, *fail_policed(state, told, now)]
        effects += [append(state, told)] if told else []
    return [*effects, start_turn(state)]


def _next_turn(state: RunState, drafts: list[Draft], pending: list[dict[str, Any]], now: int) -> list[Effect]:
    """The model wants tools of the host: close the turn, have them called, ask again."""
    error = too_many_turns(state)
    if error is not None:
        return fail(state, drafts, error, now)
    if state.evaluator is not None:
        drafts += turn_told(state, now, wants_more=True)
        if is_over(state):
            return fail_policed(state, drafts, now)
    turn = state.turn
    calls = [
        Call(call["id"], call["name"], call["input"], is_announced=call["name"] not in state.tools)
        for call in pending
    ]
    run = closed(state)
    drafts += usage_draft(state, now)
    drafts.append(boundary(state, now, pending_tool_calls=pending_of(calls)))
    state.run = run
    state.calls = {call.id: call for call in calls}
    added = messages_of_turn(turn.said, calls)
    state.past += added
    messages = (*state.request.messages, *added)
    state.request = state.request._replace(messages=messages, provider_session_id=thread_of(state))
    state.turn = Turn(host_tools=state.tools)
    effects = taken_along(state) if state.steering else []
    if state.is_to_hold:
        return [*effects, *hold(state, drafts, RunStatus.PAUSED, now)]
    return [*effects, *answer_calls(state, drafts, run, now)]


def go_on(state: RunState, now: int) -> list[Effect]:
    """Go on with a run that was recovered, or is ready: answer the calls of its last turn, or ask for the next one."""
    if ENDING in state.run.details:
        return resume_finishing(state, now)
    if state.is_to_hold:
        return hold(state, [], RunStatus.PAUSED, now)
    if must_prepare(state):
        return prepare(state)
    if state.evaluator is not None:
        looked = looked_again(state, now)
        return looked if is_over(state) else [*looked, *_go_on(state, now)]
    return _go_on(state, now)


def _go_on(state: RunState, now: int) -> list[Effect]:
    if state.calls:
        return answer_calls(state, [], None, now)
    return [start_turn(state)]


# --- The provider dies, comes back -----------------------------------------------------------------------------


def _provider_gone(state: RunState, message: ProviderGone, now: int) -> list[Effect]:
    if state.phase is Phase.STOPPING:
        return finish_stop(state, [], now)
    if state.phase not in (Phase.STREAMING, Phase.PARKED):
        return []
    if state.phase is Phase.STREAMING:
        state.n_crashes += 1
    may_retry = not state.turn.has_spoken or state.resumable
    if message.for_good or not may_retry or state.n_crashes > state.max_crashes:
        return fail(state, [], message.error, now)
    if state.phase is Phase.PARKED:
        return []
    state.phase = Phase.PARKED
    data = {**message.error.to_payload(), "attempt": state.n_crashes, "will_retry": True}
    effects = [append(state, [draft(state, EventType.ERROR_OCCURRED, now, data)])]
    if state.is_to_hold:
        return [*effects, *keep_input(state), *hold(state, [], RunStatus.PAUSED, now)]
    return effects


def _provider_back(state: RunState, message: ProviderBack, now: int) -> list[Effect]:
    if state.phase is not Phase.PARKED:
        return []
    effects = keep_input(state)
    _begin_again(state, state.request.attempt + 1)
    return [*effects, start_turn(state)]


def _begin_again(state: RunState, attempt: int) -> None:
    """The turn is asked for once more: what it had said so far does not count, input into it does."""
    given = [one for one in state.turn.said if STEERED in one]
    state.turn = Turn(host_tools=state.tools, said=given)
    state.run = state.run.replace(attempt=state.run.attempt + 1)
    state.request = state.request._replace(attempt=attempt)


HANDLERS: dict[type, Handler] = {
    p.TurnItems: _items,
    p.TurnRetries: _retries,
    p.TurnStopped: _stopped,
    Durable: _durable,
    ProviderGone: _provider_gone,
    ProviderBack: _provider_back,
}
"""Message type -> its handler."""
