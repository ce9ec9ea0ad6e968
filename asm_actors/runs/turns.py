"""Part of a run's core: its turns, from their first item to what follows them. Pure; rules in `runs.state`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from asm_actors.effects import Effect, ToProvider
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import Draft
from asm_actors.providers import messages as p
from asm_actors.providers.items import Item
from asm_actors.runs.calls import Call, messages_of_turn, pending_of
from asm_actors.runs.execution import (
    CALLED,
    WINDOW,
    Handler,
    Phase,
    RunState,
    append,
    draft,
    end,
    fail,
    start_turn,
    usage_draft,
)
from asm_actors.runs.messages import Durable
from asm_actors.runs.notices import ProviderBack, ProviderGone
from asm_actors.runs.run import Run
from asm_actors.runs.stops import finish_stop
from asm_actors.runs.tool_calls import answer_calls, begin_when_durable
from asm_actors.runs.turn import Turn, drafts_of

__all__ = ["ASK_EVERY", "HANDLERS", "go_on"]

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
    state.n_pending -= message.count
    if state.phase is Phase.RECOVERING:
        return go_on(state, now)
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
        return fail(state, drafts, error, now)
    if state.tools and (pending := turn.pending_calls()):
        return _next_turn(state, drafts, pending, now)
    run = state.run.with_output(
        turn.output(),
        now,
        token_usage=turn.usage,
        turn_count=state.run.turn_count + 1,
        provider_metadata=turn.provider_metadata(state.provider),
        cost_usd=_cost(state),
    )
    drafts += usage_draft(state, now)
    drafts.append(draft(state, EventType.RUN_COMPLETED, now, turn.completed_data(run)))
    return end(state, drafts, run, None)


def _cost(state: RunState) -> float | None:
    before, more = state.run.cost_usd, state.turn.cost_usd
    return more if before is None else before if more is None else before + more


def _next_turn(state: RunState, drafts: list[Draft], pending: list[dict[str, Any]], now: int) -> list[Effect]:
    """The model wants tools of the host: close the turn, have them called, ask again."""
    if state.request.turn >= state.max_turns:
        error = AsmError(
            ErrorCode.POLICY_VIOLATION,
            f"run {state.run.id} took {state.request.turn} turns and wants another one; its max_turns allows "
            f"{state.max_turns}",
            details={"kind": "budget_exceeded", "limit": "max_turns", "max_turns": state.max_turns},
            context={"run_id": state.run.id},
        )
        return fail(state, drafts, error, now)
    turn = state.turn
    calls = [
        Call(call["id"], call["name"], call["input"], is_announced=call["name"] not in state.tools)
        for call in pending
    ]
    run = state.run.replace(
        turn_count=state.run.turn_count + 1,
        provider_metadata=turn.provider_metadata(state.provider),
        cost_usd=_cost(state),
    )
    if turn.usage:
        run = run.with_token_usage(turn.usage)
    drafts += usage_draft(state, now)
    data = turn.boundary_data(state.request.turn)
    data["pending_tool_calls"] = pending_of(calls)
    drafts.append(draft(state, EventType.TURN_COMPLETED, now, data))
    state.run = run
    state.calls = {call.id: call for call in calls}
    messages = (*state.request.messages, *messages_of_turn(turn.said, calls))
    state.request = state.request._replace(messages=messages)
    state.turn = Turn(host_tools=state.tools)
    return answer_calls(state, drafts, run, now)


def go_on(state: RunState, now: int) -> list[Effect]:
    """Go on with a run that was recovered: answer the calls of its last turn, or ask for the next one."""
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
    return [append(state, [draft(state, EventType.ERROR_OCCURRED, now, data)])]


def _provider_back(state: RunState, message: ProviderBack, now: int) -> list[Effect]:
    if state.phase is not Phase.PARKED:
        return []
    _begin_again(state, state.request.attempt + 1)
    return [start_turn(state)]


def _begin_again(state: RunState, attempt: int) -> None:
    """The turn is asked for once more: what it had said so far does not count."""
    state.turn = Turn(host_tools=state.tools)
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
