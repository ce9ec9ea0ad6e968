"""The core of a run: from the slot it waits for to its one terminal event.

    WAITING ── slot ──> STREAMING ── turn done ───────────────────────────────> ENDED
       │       │         │  ^  ^ │                                                ^
       │   RECOVERING ───┤  │  └─┴─ provider gone, nothing said yet: PARKED ──────┤
       │       │         │  └─ CALLING <─ turn done, tools of the host are called ┤
       │       └─────────┼────> │                                                 │
       └── cancel, deadline ── cancel, deadline ──> STOPPING ── all closed ───────┘

A run that goes on from a conversation, or has files to look after, is PREPARING before its provider is asked
(`preparing.py`); one with files is FINISHING before it has ENDED (`finishing.py`).

Rules:

1. Every change of a run's status between pending and its end happens here, through `RUN_TRANSITIONS`.
2. A turn that ends with calls of the host's tools is followed by their answers and by a next turn. The boundary is one
   append: `turn_completed`, the run's record, and the starts of the calls (`tool_calls.py`).
3. A cancel or deadline first closes the provider's stream, or ends the calls, then ends the run: when it is told, it
   has stopped. What had arrived until then is kept: events, text so far, tokens. What does not stop within
   `STOP_PATIENCE_S` is left behind, and the run's end says so.
4. A run that is taken up again, or put in line again, does nothing before the event which says so is durable
   (RECOVERING): one that ends its process each time would else do so for ever, and nobody would know.
5. `RunEnded` is sent once; ENDED ignores whatever comes later.
6. A step that says so in `when_durable` is followed by a `Durable` of nothing: a barrier of its session.
7. Items are taken by credit: while more than `WINDOW` events are not durable, no further batches are asked for.

The state is changed in place by its one owner. No clock, no ids, no actors.
"""

from __future__ import annotations

from typing import Any

from asm_actors.effects import AcquireSlot, Effect, ToSession
from asm_actors.runs import control, finishing, policing, preparing, stops, tool_calls, turns
from asm_actors.runs.execution import (
    WINDOW,
    Handler,
    Phase,
    RunState,
    append,
    barrier,
    fail,
    must_prepare,
    prepare,
    start_turn,
    started,
    when_durable,
)
from asm_actors.runs.messages import RunEnded, RunWaits
from asm_actors.runs.notices import (
    Finished,
    InLine,
    Prepared,
    ProviderBack,
    ProviderGone,
    SlotTaken,
    StopOverdue,
    ToolEnded,
    ToolsStopped,
    WorkOverdue,
)
from asm_actors.runs.run import RunStatus
from asm_actors.runs.stops import STOP_PATIENCE_S
from asm_actors.runs.turns import ASK_EVERY
from asm_actors.runs.unfinished import ENDING
from asm_actors.slot_keys import RUNS_POOL

__all__ = [
    "ASK_EVERY",
    "RUNS_POOL",
    "STOP_PATIENCE_S",
    "WINDOW",
    "Finished",
    "InLine",
    "Phase",
    "Prepared",
    "ProviderBack",
    "ProviderGone",
    "RunEnded",
    "RunState",
    "SlotTaken",
    "StopOverdue",
    "ToolEnded",
    "ToolsStopped",
    "WorkOverdue",
    "begin",
    "knows",
    "step",
]


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
    effects = [] if state.phase is Phase.ENDED else handler(state, message, now)
    return effects if state.evaluator is None else policing.timed(state, effects, now)


def knows(message: Any) -> bool:
    """Whether `step` handles messages of this kind."""
    return type(message) in _HANDLERS


def _in_line(state: RunState, message: InLine, now: int) -> list[Effect]:
    return [ToSession(RunWaits(state.run.id))] if state.phase is Phase.WAITING else []


def _slot_taken(state: RunState, message: SlotTaken, now: int) -> list[Effect]:
    if state.phase is not Phase.WAITING:
        return []
    if state.run.status is RunStatus.RUNNING or ENDING in state.run.details:
        state.phase = Phase.RECOVERING
        return [barrier(state)]
    if state.evaluator is not None and (error := policing.refused_at_once(state)) is not None:
        return fail(state, started(state, now, state.request.messages), error, now)
    if state.is_careful:
        state.phase = Phase.RECOVERING
        return when_durable(state, started(state, now, state.request.messages))
    if must_prepare(state):
        return prepare(state)
    drafts = started(state, now, state.request.messages)
    return [append(state, drafts, state.run), start_turn(state)]


_HANDLERS: dict[type, Handler] = {
    SlotTaken: _slot_taken,
    InLine: _in_line,
    **turns.HANDLERS,
    **tool_calls.HANDLERS,
    **stops.HANDLERS,
    **policing.HANDLERS,
    **preparing.HANDLERS,
    **finishing.HANDLERS,
    **control.HANDLERS,
}
