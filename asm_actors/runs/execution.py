"""The state of a run's core, and what its parts share: drafts, appends, the end. Pure; rules in `runs.state`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, TypeAlias

from attrs import define, field

from asm_actors.effects import Effect, Leave, ToProvider, ToSession
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import EMPTY, Draft
from asm_actors.providers import messages as p
from asm_actors.providers.base import TurnRequest
from asm_actors.runs.calls import Call
from asm_actors.runs.messages import RunAppends, RunEnded
from asm_actors.runs.run import Run, RunStatus
from asm_actors.runs.turn import Turn
from asm_actors.tools.tool import Tool

__all__ = [
    "CALLED",
    "MAX_TURNS",
    "WINDOW",
    "Ending",
    "Handler",
    "Phase",
    "RunState",
    "append",
    "cut_short",
    "draft",
    "end",
    "fail",
    "start_turn",
    "usage_draft",
]

MAX_TURNS: Final = 50
"""Turns that a run may take unless it was told otherwise."""
WINDOW: Final = 256
"""Events of a run that may be under way to the disk before it stops reading its provider."""
CALLED: Final = "has_called_tools"
"""Key in a run's ``provider_metadata`` while its first turn goes on: the provider called tools of its own in it."""
ACKNOWLEDGE_EVERY: Final = 64
"""After so many events a run asks to hear when they are durable."""

Ending: TypeAlias = tuple[RunStatus, EventType, ErrorCode, str | None]
"""How a run is to end that was told to stop: status, terminal event, error code, reason."""


class Phase(Enum):
    """Where a run's actor stands; see `runs.state`."""

    WAITING = "waiting"
    RECOVERING = "recovering"
    STREAMING = "streaming"
    PARKED = "parked"
    CALLING = "calling"
    STOPPING = "stopping"
    STOPPING_CALLS = "stopping_calls"
    ENDED = "ended"


@define
class RunState:
    """All that a run's actor knows."""

    run: Run
    request: TurnRequest
    """The turn that is asked for, or the one that led to `calls`."""
    provider: str | None
    correlation_id: str | None
    resumable: bool = False
    """Whether the provider may repeat a turn that has already said something."""
    max_crashes: int = 3
    """Deaths of the provider that one run survives."""
    tools: Mapping[str, Tool] = EMPTY
    """Tools of the host which the model may call, by name."""
    head: int = 0
    """Sequence number of its session's last event when it was started."""
    calls: Mapping[str, Call] = EMPTY
    """Calls of the last completed turn, which the host answers before the next one."""
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
    ending: Ending | None = None
    to_call: Sequence[Call] = ()
    """Calls that begin as soon as their start is durable."""
    n_before_calls: int = 0
    """Events that must be durable before that."""
    is_careful: bool = False
    """Whether it has been in line in an earlier process: it does nothing before its start is durable."""
    is_marked: bool = False
    """Whether its record says that the provider called tools of its own in the first turn."""

    @property
    def max_turns(self) -> int:
        """Turns that it may take in all."""
        limit = self.run.options.get("max_turns")
        return limit if type(limit) is int else MAX_TURNS


Handler: TypeAlias = Callable[[RunState, Any, int], list[Effect]]
"""Handles one kind of message: `(state, message, now) -> effects`."""


def draft(state: RunState, kind: EventType, now: int, data: dict[str, Any]) -> Draft:
    """An event of the run."""
    return Draft(kind, now, state.run.id, data, EMPTY, state.provider, state.correlation_id)


def append(
    state: RunState, drafts: Sequence[Draft], run: Run | None = None, *, is_awaited: bool = False
) -> Effect:
    """Tell events to the session; `is_awaited` if the run goes on only when these are durable."""
    count = len(drafts)
    state.n_pending += count
    state.n_unasked += count
    asked = 0
    if is_awaited or state.n_unasked >= ACKNOWLEDGE_EVERY or state.n_pending >= WINDOW:
        asked, state.n_unasked = state.n_unasked, 0
    return ToSession(RunAppends(state.run.id, drafts, run, asked))


def start_turn(state: RunState) -> Effect:
    """Ask the provider for the turn of `state.request`: a new call with its own credit."""
    state.phase = Phase.STREAMING
    state.wants_more, state.n_heard = False, 0
    return ToProvider(p.StartTurn(None, state.request))


def usage_draft(state: RunState, now: int) -> list[Draft]:
    """What the turn used, if that is known."""
    usage = state.turn.usage
    return [draft(state, EventType.TOKEN_USAGE_UPDATED, now, usage)] if usage else []


def cut_short(state: RunState) -> Run:
    """The run's record with what its unfinished turn had said and used."""
    turn, run = state.turn, state.run
    if turn.usage:
        run = run.with_token_usage(turn.usage)
    metadata = {**run.provider_metadata, **turn.provider_metadata(state.provider)}
    metadata.pop(CALLED, None)
    output = {"content": turn.content(), "partial": True} if turn.text else run.output
    return run.replace(output=output, provider_metadata=metadata)


def fail(state: RunState, drafts: list[Draft], error: AsmError, now: int) -> list[Effect]:
    """End the run as failed; what its turn had said is kept."""
    run = cut_short(state).with_error(error, now)
    drafts += usage_draft(state, now)
    drafts.append(draft(state, EventType.RUN_FAILED, now, error.to_payload()))
    return end(state, drafts, run, error)


def end(state: RunState, drafts: list[Draft], run: Run, error: AsmError | None) -> list[Effect]:
    """End the run: tell the session, once, and leave."""
    state.phase = Phase.ENDED
    state.run = run
    facts = {"provider_session_id": state.turn.provider_session_id, "model": state.turn.model}
    if state.turn.provider_session_id is None and state.request.turn > 1:
        facts = {name: run.provider_metadata.get(name) for name in facts}
    return [ToSession(RunEnded(run.id, drafts, run, error, facts)), Leave()]
