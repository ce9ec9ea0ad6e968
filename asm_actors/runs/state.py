"""The core of a run: from the slot it waits for to its one terminal event.

    WAITING ── slot ──> STREAMING ── turn done ─────────────────────────────> ENDED
       │                 │    ^ │                                                ^
       │                 │    └─┴─ provider gone, nothing said yet: PARKED ──────┤
       └── cancel, deadline ── cancel, deadline ──> STOPPING ── stream closed ───┘

Rules:

1. Every change of a run's status between pending and its end happens here, through `RUN_TRANSITIONS`.
2. A cancel or deadline first closes the provider's stream, then ends the run: when it is told, it has stopped.
   What had arrived until then is kept: events, text so far, tokens. A stream that does not close within
   `STOP_PATIENCE_S` is left behind, and the run's end says so.
3. `RunEnded` is sent once; ENDED ignores whatever comes later.
4. Items are taken by credit: while more than `WINDOW` events are not durable, no further batches are asked for.

The state is changed in place by its one owner. No clock, no ids, no actors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from attrs import define, field

from asm_actors.effects import AcquireSlot, Effect, Leave, SetTimer, ToProvider, ToSession
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import EMPTY, Draft
from asm_actors.providers import messages as p
from asm_actors.providers.base import TurnRequest
from asm_actors.providers.items import Item
from asm_actors.runs.messages import CancelRun, DeadlineReached, Durable, RunAppends, RunEnded, RunWaits
from asm_actors.runs.notices import InLine, ProviderBack, ProviderGone, SlotTaken, StopOverdue
from asm_actors.runs.run import Run, RunStatus
from asm_actors.runs.turn import Turn, drafts_of

__all__ = [
    "RUNS_POOL",
    "InLine",
    "Phase",
    "ProviderBack",
    "ProviderGone",
    "RunState",
    "SlotTaken",
    "StopOverdue",
    "begin",
    "knows",
    "step",
]

RUNS_POOL = "runs"
WINDOW = 256
"""Events of a run that may be under way to the disk before it stops reading its provider."""
ASK_EVERY = max(1, p.CREDIT // 2)
"""Batches after which further ones are asked for: before the credit is used up."""
ACKNOWLEDGE_EVERY = 64
"""After so many events a run asks to hear when they are durable."""
STOP_PATIENCE_S = 30.0
"""How long a provider may take to close a stream: the time in which a stubborn process tree is killed, and more."""


class Phase(Enum):
    """Where a run's actor stands; see the module."""

    WAITING = "waiting"
    STREAMING = "streaming"
    PARKED = "parked"
    STOPPING = "stopping"
    ENDED = "ended"


@define
class RunState:
    """All that a run's actor knows."""

    run: Run
    request: TurnRequest
    provider: str | None
    correlation_id: str | None
    resumable: bool = False
    """Whether the provider may repeat a turn that has already said something."""
    max_crashes: int = 3
    """Deaths of the provider that one run survives."""
    phase: Phase = Phase.WAITING
    turn: Turn = field(factory=Turn)
    n_crashes: int = 0
    n_pending: int = 0
    """Events told to the session and not known to be durable."""
    n_unasked: int = 0
    """Of these, the newest ones for which no `Durable` was asked."""
    n_heard: int = 0
    """Batches heard for which no further ones were asked yet."""
    wants_more: bool = False
    """Items are there to be asked for, but the window is full."""
    ending: tuple[RunStatus, EventType, ErrorCode, str | None] | None = None


def begin(state: RunState) -> list[Effect]:
    """The first step: get in line for a slot."""
    return [AcquireSlot(RUNS_POOL)]


def step(state: RunState, message: Any, now: int) -> list[Effect]:
    """Handle one message.

    Args:
        state: Changed in place.
        message: One of `runs.messages`, a notice of the provider, or one of this module.
        now: Microseconds since the epoch.

    Returns:
        What is to be done, in order.

    Raises:
        KeyError: The message is of no known kind.
    """
    handler = _HANDLERS[type(message)]
    return [] if state.phase is Phase.ENDED else handler(state, message, now)


def knows(message: Any) -> bool:
    """Whether `step` handles messages of this kind."""
    return type(message) in _HANDLERS


# --- Start -----------------------------------------------------------------------------------------------------


def _in_line(state: RunState, message: InLine, now: int) -> list[Effect]:
    return [ToSession(RunWaits(state.run.id))] if state.phase is Phase.WAITING else []


def _slot_taken(state: RunState, message: SlotTaken, now: int) -> list[Effect]:
    if state.phase is not Phase.WAITING:
        return []
    state.phase = Phase.STREAMING
    state.run = state.run.with_status(RunStatus.RUNNING, now)
    drafts = [
        _draft(state, EventType.MESSAGE_SENT, now, {"role": said["role"], "content": said["content"]})
        for said in state.request.messages
        if said["role"] != "system"
    ]
    drafts.append(_draft(state, EventType.RUN_STARTED, now, _started_data(state)))
    return [_append(state, drafts, state.run), ToProvider(p.StartTurn(None, state.request))]


def _started_data(state: RunState) -> dict[str, Any]:
    data: dict[str, Any] = {"provider": state.provider, "turn": state.request.turn}
    model = state.request.options.get("model")
    if model is not None:
        data["model"] = model
    return data


# --- The turn --------------------------------------------------------------------------------------------------


def _items(state: RunState, message: p.TurnItems, now: int) -> list[Effect]:
    if state.phase is Phase.STOPPING:
        # Sent before the provider saw the cancel: what it said counts, how it ended does not.
        drafts = _take(state, message.items, now)
        if message.is_last:
            return _finish_stop(state, drafts, now)  # there is no stream left to be closed
        return [_append(state, drafts)] if drafts else []
    if state.phase is not Phase.STREAMING:
        return []
    drafts = _take(state, message.items, now)
    if message.is_last:
        return _turn_over(state, drafts, message.error, now)
    effects: list[Effect] = [_append(state, drafts)] if drafts else []
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


def _durable(state: RunState, message: Durable, now: int) -> list[Effect]:
    state.n_pending -= message.count
    if state.wants_more and state.phase is Phase.STREAMING and state.n_pending < WINDOW:
        state.wants_more = False
        return [_more(state)]
    return []


def _retries(state: RunState, message: p.TurnRetries, now: int) -> list[Effect]:
    if state.phase is not Phase.STREAMING:
        return []
    data = {**message.error.to_payload(), "attempt": message.attempt, "retry_in_s": message.delay_s}
    _begin_again(state, message.attempt + 1)
    return [_append(state, [_draft(state, EventType.ERROR_OCCURRED, now, data)])]


def _turn_over(state: RunState, drafts: list[Draft], error: AsmError | None, now: int) -> list[Effect]:
    turn = state.turn
    if error is None and turn.done is None:
        error = AsmError(
            ErrorCode.PROVIDER_ERROR,
            f"provider {state.provider} ended its stream in the middle of the turn",
            context={"run_id": state.run.id},
        )
    if error is None:
        run = state.run.with_output(
            turn.output(),
            now,
            token_usage=turn.usage,
            turn_count=state.run.turn_count + 1,
            provider_metadata=turn.provider_metadata(state.provider),
            cost_usd=turn.cost_usd,
        )
        drafts += _usage_draft(state, now)
        drafts.append(_draft(state, EventType.RUN_COMPLETED, now, turn.completed_data(run)))
        return _end(state, drafts, run, None)
    run = _cut_short(state, now).with_error(error, now)
    drafts += _usage_draft(state, now)
    drafts.append(_draft(state, EventType.RUN_FAILED, now, error.to_payload()))
    return _end(state, drafts, run, error)


# --- The provider dies, comes back -----------------------------------------------------------------------------


def _provider_gone(state: RunState, message: ProviderGone, now: int) -> list[Effect]:
    if state.phase is Phase.STOPPING:
        return _stopped(state, p.TurnStopped(()), now)
    if state.phase not in (Phase.STREAMING, Phase.PARKED):
        return []
    if state.phase is Phase.STREAMING:
        state.n_crashes += 1
    may_retry = not state.turn.has_spoken or state.resumable
    if message.for_good or not may_retry or state.n_crashes > state.max_crashes:
        return _turn_over(state, [], message.error, now)
    if state.phase is Phase.PARKED:
        return []
    state.phase = Phase.PARKED
    data = {**message.error.to_payload(), "attempt": state.n_crashes, "will_retry": True}
    return [_append(state, [_draft(state, EventType.ERROR_OCCURRED, now, data)])]


def _provider_back(state: RunState, message: ProviderBack, now: int) -> list[Effect]:
    if state.phase is not Phase.PARKED:
        return []
    state.phase = Phase.STREAMING
    # A new call with its own credit; one that is tried again by its provider keeps what it has.
    state.wants_more, state.n_heard = False, 0
    _begin_again(state, state.request.attempt + 1)
    return [ToProvider(p.StartTurn(None, state.request))]


def _begin_again(state: RunState, attempt: int) -> None:
    """The turn is asked for once more: what it had said so far does not count."""
    state.turn = Turn()
    state.run = state.run.replace(attempt=state.run.attempt + 1)
    state.request = state.request._replace(attempt=attempt)


# --- Cancel, deadline ------------------------------------------------------------------------------------------


def _cancel(state: RunState, message: CancelRun, now: int) -> list[Effect]:
    return _stop(
        state, (RunStatus.CANCELLED, EventType.RUN_CANCELLED, ErrorCode.CANCELLED, message.reason), now
    )


def _deadline(state: RunState, message: DeadlineReached, now: int) -> list[Effect]:
    return _stop(state, (RunStatus.TIMEOUT, EventType.RUN_TIMEOUT, ErrorCode.TIMEOUT, "deadline"), now)


def _stop(
    state: RunState, ending: tuple[RunStatus, EventType, ErrorCode, str | None], now: int
) -> list[Effect]:
    if state.phase is Phase.STOPPING:
        return []
    state.ending = ending
    if state.phase is Phase.STREAMING:
        state.phase = Phase.STOPPING
        return [
            ToProvider(p.CancelTurn(state.run.id)),
            SetTimer("stop", STOP_PATIENCE_S, StopOverdue()),
        ]
    return _finish_stop(state, [], now)


def _stopped(state: RunState, message: p.TurnStopped, now: int) -> list[Effect]:
    if state.phase is not Phase.STOPPING:
        return []
    return _finish_stop(state, _take(state, message.items, now), now)


def _stop_overdue(state: RunState, message: StopOverdue, now: int) -> list[Effect]:
    return _finish_stop(state, [], now, is_closed=False) if state.phase is Phase.STOPPING else []


def _finish_stop(state: RunState, drafts: list[Draft], now: int, *, is_closed: bool = True) -> list[Effect]:
    assert state.ending is not None
    status, kind, code, reason = state.ending
    details: dict[str, Any] = {"reason": reason} if reason else {}
    if not is_closed:
        details["stream_left_open"] = True
    error = AsmError(code, _ending_text(state, status, reason), details=details or None)
    run = _cut_short(state, now).with_error(error, now, status)
    drafts += _usage_draft(state, now)
    data = {**error.to_payload(), "partial_content": bool(state.turn.text)}
    if reason is not None:
        data["reason"] = reason
    drafts.append(_draft(state, kind, now, data))
    return _end(state, drafts, run, error)


def _ending_text(state: RunState, status: RunStatus, reason: str | None) -> str:
    if status is RunStatus.TIMEOUT:
        return f"run {state.run.id} reached its deadline"
    return f"run {state.run.id} was cancelled" + (f": {reason}" if reason else "")


def _cut_short(state: RunState, now: int) -> Run:
    """The run's record with what its unfinished turn had said and used."""
    turn, run = state.turn, state.run
    if turn.usage:
        run = run.with_token_usage(turn.usage)
    metadata = turn.provider_metadata(state.provider)
    output = {"content": turn.content(), "partial": True} if turn.text else run.output
    return run.replace(output=output, provider_metadata=metadata)


# --- The end ---------------------------------------------------------------------------------------------------


def _end(state: RunState, drafts: list[Draft], run: Run, error: AsmError | None) -> list[Effect]:
    state.phase = Phase.ENDED
    state.run = run
    facts = {"provider_session_id": state.turn.provider_session_id, "model": state.turn.model}
    return [ToSession(RunEnded(run.id, drafts, run, error, facts)), Leave()]


def _usage_draft(state: RunState, now: int) -> list[Draft]:
    usage = state.turn.usage
    return [_draft(state, EventType.TOKEN_USAGE_UPDATED, now, usage)] if usage else []


def _draft(state: RunState, kind: EventType, now: int, data: dict[str, Any]) -> Draft:
    return Draft(kind, now, state.run.id, data, EMPTY, state.provider, state.correlation_id)


def _append(state: RunState, drafts: Sequence[Draft], run: Run | None = None) -> Effect:
    count = len(drafts)
    state.n_pending += count
    state.n_unasked += count
    asked = 0
    if state.n_unasked >= ACKNOWLEDGE_EVERY or state.n_pending >= WINDOW:
        asked, state.n_unasked = state.n_unasked, 0
    return ToSession(RunAppends(state.run.id, drafts, run, asked))


_HANDLERS: dict[type, Callable[[RunState, Any, int], list[Effect]]] = {
    SlotTaken: _slot_taken,
    InLine: _in_line,
    StopOverdue: _stop_overdue,
    p.TurnItems: _items,
    p.TurnRetries: _retries,
    p.TurnStopped: _stopped,
    Durable: _durable,
    ProviderGone: _provider_gone,
    ProviderBack: _provider_back,
    CancelRun: _cancel,
    DeadlineReached: _deadline,
}
