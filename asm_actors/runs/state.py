"""The core of a run: from the slot it waits for to its one terminal event.

    WAITING ── slot ──> STREAMING ── turn done ───────────────────────────────> ENDED
       │       │         │  ^  ^ │                                                ^
       │   RECOVERING ───┤  │  └─┴─ provider gone, nothing said yet: PARKED ──────┤
       │       │         │  └─ CALLING <─ turn done, tools of the host are called ┤
       │       └─────────┼────> │                                                 │
       └── cancel, deadline ── cancel, deadline ──> STOPPING ── all closed ───────┘

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
6. Items are taken by credit: while more than `WINDOW` events are not durable, no further batches are asked for.

The state is changed in place by its one owner. No clock, no ids, no actors.
"""

from __future__ import annotations

from typing import Any

from asm_actors.effects import AcquireSlot, Effect, ToSession
from asm_actors.events import EventType
from asm_actors.runs import stops, tool_calls, turns
from asm_actors.runs.execution import WINDOW, Handler, Phase, RunState, append, draft, start_turn
from asm_actors.runs.messages import RunBarrier, RunEnded, RunWaits
from asm_actors.runs.notices import (
    InLine,
    ProviderBack,
    ProviderGone,
    SlotTaken,
    StopOverdue,
    ToolEnded,
    ToolsStopped,
)
from asm_actors.runs.run import RunStatus
from asm_actors.runs.stops import STOP_PATIENCE_S
from asm_actors.runs.turns import ASK_EVERY

__all__ = [
    "ASK_EVERY",
    "RUNS_POOL",
    "STOP_PATIENCE_S",
    "WINDOW",
    "InLine",
    "Phase",
    "ProviderBack",
    "ProviderGone",
    "RunEnded",
    "RunState",
    "SlotTaken",
    "StopOverdue",
    "ToolEnded",
    "ToolsStopped",
    "begin",
    "knows",
    "step",
]

RUNS_POOL = "runs"


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


def _in_line(state: RunState, message: InLine, now: int) -> list[Effect]:
    return [ToSession(RunWaits(state.run.id))] if state.phase is Phase.WAITING else []


def _slot_taken(state: RunState, message: SlotTaken, now: int) -> list[Effect]:
    if state.phase is not Phase.WAITING:
        return []
    if state.run.status is RunStatus.RUNNING:
        state.phase = Phase.RECOVERING
        return [ToSession(RunBarrier(state.run.id))]
    state.run = state.run.begun(now, state.head)
    drafts = [
        draft(state, EventType.MESSAGE_SENT, now, {"role": said["role"], "content": said["content"]})
        for said in state.request.messages
        if said["role"] != "system"
    ]
    drafts.append(draft(state, EventType.RUN_STARTED, now, _started_data(state)))
    if state.is_careful:
        state.phase = Phase.RECOVERING
        return [append(state, drafts, state.run), ToSession(RunBarrier(state.run.id))]
    return [append(state, drafts, state.run), start_turn(state)]


def _started_data(state: RunState) -> dict[str, Any]:
    data: dict[str, Any] = {"provider": state.provider, "turn": state.request.turn}
    model = state.request.options.get("model")
    if model is not None:
        data["model"] = model
    return data


_HANDLERS: dict[type, Handler] = {
    SlotTaken: _slot_taken,
    InLine: _in_line,
    **turns.HANDLERS,
    **tool_calls.HANDLERS,
    **stops.HANDLERS,
}
