"""What a policy looks at: facts about a run, and how events tell them. Pure.

1. A fact that an event tells is read from it (`fact_of`), by a live run and by one that is rebuilt alike.
2. `CallAsked`, `UsageSoFar` and `TimePassed` are told by no event: they only make the policy look, and leave no trace
   in its state but the violations that they bring up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from asm_actors.events import EventType
from asm_actors.policies.approval import Approval
from asm_actors.policies.violations import Violation

__all__ = [
    "TELLING",
    "CallAsked",
    "CallBegan",
    "CallSeen",
    "Fact",
    "LimitsLifted",
    "RunBegan",
    "RunOver",
    "TimePassed",
    "TurnOver",
    "UsageSoFar",
    "UsageTold",
    "ViolationTold",
    "fact_of",
]


class RunBegan(NamedTuple):
    """The run has started; the time counts from here. Only the first one does."""

    model: str | None = None
    """The model, if that is known."""


class CallAsked(NamedTuple):
    """The model wants a tool of the host to be called. It has not been called."""

    call_id: str
    """The provider's id of the call."""
    tool_name: str
    """The tool."""
    tool_input: Mapping[str, Any] = MappingProxyType({})
    """The arguments."""
    approval: Approval | None = None
    """The question about this very call; None if nobody was asked."""
    standing: Approval | None = None
    """A grant of another call that stands for this one, since they are alike; None if there is none."""
    is_repeated: bool = False
    """Whether this call was made before, and is to be made again after a crash: it counts once."""


class CallBegan(NamedTuple):
    """A tool of the host is called."""

    is_repeated: bool = False
    """Whether this is the same call made again after a crash: it counts once."""


class CallSeen(NamedTuple):
    """The provider called a tool on its own."""

    tool_name: str
    """The tool."""


class UsageSoFar(NamedTuple):
    """The turn that is under way has used so much; not on record so far."""

    usage: Mapping[str, Any]
    """Totals of this turn."""
    model: str | None = None
    """The model that answers, if that is known."""


class UsageTold(NamedTuple):
    """A turn has used so much."""

    usage: Mapping[str, Any]
    """Totals of this turn, or a further part of them."""
    model: str | None = None
    """The model that answered, if that is known."""
    provider: str | None = None
    """Who answered, if that is known."""


class TurnOver(NamedTuple):
    """A turn is complete, and the run goes on."""

    cost_usd: float | None = None
    """What it cost, if the provider says so; US dollars."""
    model: str | None = None
    """The model that answered, if that is known."""
    wants_more: bool = True
    """Whether another turn is to follow."""


class RunOver(NamedTuple):
    """The run has ended."""

    total_cost_usd: float | None = None
    """What it cost in all, if that was told; US dollars."""
    is_complete: bool = True
    """Whether it was completed, so that its last turn counts."""


class TimePassed(NamedTuple):
    """The timer has fired, or a run is taken up again: look at everything."""


class ViolationTold(NamedTuple):
    """A violation is on record."""

    violation: Violation
    """What."""


class LimitsLifted(NamedTuple):
    """Somebody allowed the run to go on though limits are exceeded."""

    metrics: tuple[str, ...]
    """What these limits are about."""


Fact: TypeAlias = (
    RunBegan
    | CallAsked
    | CallBegan
    | CallSeen
    | UsageSoFar
    | UsageTold
    | TurnOver
    | RunOver
    | TimePassed
    | ViolationTold
    | LimitsLifted
)
"""All that a policy looks at."""

_Data: TypeAlias = Mapping[str, Any]


def fact_of(kind: EventType, data: Mapping[str, Any], provider: str | None = None) -> Fact | None:
    """Return the fact that an event tells, or None if it tells none that matters here.

    Args:
        kind: the event's type.
        data: its payload.
        provider: who reported it.
    """
    reader = _READERS.get(kind)
    return None if reader is None else reader(data, provider)


def _model(data: _Data) -> str | None:
    model = data.get("model")
    return model if isinstance(model, str) and model else None


def _usd(value: object) -> float | None:
    return float(value) if type(value) in (int, float) else None  # type: ignore[arg-type]


def _call_started(data: _Data, provider: str | None) -> Fact | None:
    # The run numbers the attempts of the calls that it makes; calls of the provider have no number, and a call which
    # was refused has 0.
    attempt = data.get("attempt")
    if attempt is None:
        return CallSeen(str(data.get("tool_name", "")))
    return CallBegan(attempt > 1) if type(attempt) is int and attempt > 0 else None


def _turn_completed(data: _Data, provider: str | None) -> Fact:
    return TurnOver(_usd(data.get("cost_usd")), _model(data), bool(data.get("pending_tool_calls")))


def _granted(data: _Data, provider: str | None) -> Fact | None:
    lifts = data.get("lifts")
    return LimitsLifted(tuple(map(str, lifts))) if isinstance(lifts, list | tuple) and lifts else None


_READERS: Final[Mapping[EventType, Callable[[_Data, str | None], Fact | None]]] = {
    EventType.RUN_STARTED: lambda data, _: RunBegan(_model(data)),
    EventType.TOOL_CALL_STARTED: _call_started,
    EventType.TOKEN_USAGE_UPDATED: lambda data, provider: UsageTold(data, _model(data), provider),
    EventType.TURN_COMPLETED: _turn_completed,
    EventType.RUN_COMPLETED: lambda data, _: RunOver(_usd(data.get("total_cost_usd"))),
    EventType.RUN_FAILED: lambda *_: RunOver(is_complete=False),
    EventType.RUN_CANCELLED: lambda *_: RunOver(is_complete=False),
    EventType.RUN_TIMEOUT: lambda *_: RunOver(is_complete=False),
    EventType.POLICY_VIOLATION: lambda data, _: ViolationTold(Violation.from_map(data)),
    EventType.TOOL_APPROVAL_GRANTED: _granted,
}
TELLING: Final = frozenset(_READERS)
"""Types of the events that may tell a fact."""
