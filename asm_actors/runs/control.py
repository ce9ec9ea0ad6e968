"""Part of a run's core: it is to stand still, and it gets input while it is answered. Pure; rules in `runs.state`.

Standing still:

1. A run holds at a turn boundary only, which is between a completed turn and the first call of its tools, between the
   last answer of its tools and the next turn, and before its first turn. A call that has begun is never left; a turn
   that ends the run ends it.
2. One that has not begun gives up its place in the line for a slot, and its session puts it back into its own.
3. The session remembers what it wished, and writes the event; the run only stands still (`sessions.pausing`).

Input into a turn:

4. It is on record before the provider gets it, and whoever gave it is answered when the provider has taken it.
5. It belongs to the conversation where it came. A turn that is asked for again is asked for with it: by a further
   attempt, after a crash of the provider, or in a later life of the run (`runs.resumption`).
6. What the turn was over for before it could be taken goes into the next turn. If there is none, or if the provider
   does not take it, it is refused, and a further event says so; then it does not belong to the conversation.
"""

from __future__ import annotations

from typing import Any, Final

from asm_actors.effects import Effect, Leave, ToProvider, ToSession
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.providers import messages as p
from asm_actors.runs.calls import STEERED
from asm_actors.runs.execution import (
    Handler,
    Phase,
    RunState,
    draft,
    refused_data,
)
from asm_actors.runs.holding import hold
from asm_actors.runs.messages import (
    HoldRun,
    ReleaseRun,
    RunStandsBack,
    RunSteered,
    RunSteers,
    Steering,
    SteeringDurable,
)
from asm_actors.runs.run import RunStatus
from asm_actors.runs.unfinished import ENDING

__all__ = ["HANDLERS", "MAX_STEERING", "keep_input", "taken_along"]

MAX_STEERING: Final = 32
"""Inputs into one turn that may be on their way."""


_GOING_ON: Final = frozenset(
    {Phase.WAITING, Phase.RECOVERING, Phase.PREPARING, Phase.STREAMING, Phase.CALLING}
)


# --- Standing still --------------------------------------------------------------------------------------------


def _hold(state: RunState, message: HoldRun, now: int) -> list[Effect]:
    if state.phase is Phase.WAITING:
        if state.run.status is RunStatus.PENDING:
            state.phase = Phase.ENDED
            return [ToSession(RunStandsBack(state.run.id)), Leave()]
        if ENDING not in state.run.details:
            return hold(state, [], RunStatus.PAUSED, now)
    elif state.phase is Phase.PARKED:
        return [*keep_input(state), *hold(state, [], RunStatus.PAUSED, now)]
    if state.phase in _GOING_ON:
        state.is_to_hold = True
    return []


def _release(state: RunState, message: ReleaseRun, now: int) -> list[Effect]:
    state.is_to_hold = False
    return []


# --- Input into a turn -----------------------------------------------------------------------------------------


def _steer(state: RunState, message: Steering, now: int) -> list[Effect]:
    if state.phase is not Phase.STREAMING:
        error = AsmError(
            ErrorCode.INVALID_OPERATION,
            f"run {state.run.id} has no turn that is being answered ({state.phase.value}): it takes no input now",
            context={"run_id": state.run.id, "phase": state.phase.value},
        )
        return [ToSession(RunSteered(state.run.id, message.key, (), error))]
    steering = state.steering
    if steering is None:
        steering = state.steering = {}
    if len(steering) >= MAX_STEERING:
        error = AsmError(
            ErrorCode.OVERLOADED, f"{MAX_STEERING} inputs into the turn of run {state.run.id} wait already"
        )
        return [ToSession(RunSteered(state.run.id, message.key, (), error))]
    number = state.run.details.get(STEERED, 0) + 1
    # Its record says that its events must be read if it is taken up again.
    state.run = state.run.replace(details={**state.run.details, STEERED: number})
    steering[number] = message.key
    data: dict[str, Any] = {
        "role": message.message["role"],
        "content": message.message["content"],
        STEERED: True,
        "number": number,
        "turn": state.request.turn,
    }
    if message.by is not None:
        data["by"] = message.by
    state.turn.said.append(data)
    sent = draft(state, EventType.MESSAGE_SENT, now, data)
    return [ToSession(RunSteers(state.run.id, [sent], state.run, number))]


def _on_record(state: RunState, message: SteeringDurable, now: int) -> list[Effect]:
    said = _said(state, message.number)
    if said is None or state.phase is not Phase.STREAMING:
        return []  # it goes into the request that follows, if there is one
    given = {"role": said["role"], "content": said["content"]}
    return [ToProvider(p.SteerTurn(None, state.run.id, message.number, given))]


def _steered(state: RunState, message: p.TurnSteered, now: int) -> list[Effect]:
    said = _said(state, message.number)
    if said is None:
        return []
    assert state.steering is not None
    key = state.steering.pop(message.number)
    if message.error is None:
        return [ToSession(RunSteered(state.run.id, key))]
    state.turn.said.remove(said)
    refusal = draft(state, EventType.ERROR_OCCURRED, now, refused_data(message.number, message.error))
    return [ToSession(RunSteered(state.run.id, key, [refusal], message.error))]


def _said(state: RunState, number: int) -> dict[str, Any] | None:
    """What the turn keeps of an input of which nobody knows yet whether it is taken."""
    if number not in (state.steering or ()):
        return None
    return next((one for one in state.turn.said if STEERED in one and one["number"] == number), None)


def keep_input(state: RunState) -> list[Effect]:
    """The turn is to be asked for with a new request: the input that came for it becomes part of that."""
    kept = tuple(
        {"role": one["role"], "content": one["content"]} for one in state.turn.said if STEERED in one
    )
    state.turn.said = [one for one in state.turn.said if STEERED not in one]
    state.past += kept
    state.request = state.request._replace(messages=(*state.request.messages, *kept))
    return taken_along(state)


def taken_along(state: RunState) -> list[Effect]:
    """A new request has all input so far: whoever gave some is told that it was taken."""
    steering, state.steering = state.steering, None
    return [ToSession(RunSteered(state.run.id, key)) for key in (steering or {}).values()]


HANDLERS: dict[type, Handler] = {
    HoldRun: _hold,
    ReleaseRun: _release,
    Steering: _steer,
    SteeringDurable: _on_record,
    p.TurnSteered: _steered,
}
"""Message type -> its handler."""
