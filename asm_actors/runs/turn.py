"""One turn as it is heard: items in, drafts of events out, and what adds up to the run's output.

Pure. This is the hot path of a streaming run: one dict look-up per item.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field

from asm_actors.events import EventType
from asm_actors.journal.append import EMPTY, Draft
from asm_actors.jsonable import INT_MAX, stringify_keys
from asm_actors.providers.items import (
    Item,
    MessageDone,
    Raw,
    TextDelta,
    ThinkingDelta,
    ToolCallEnded,
    ToolCallStarted,
    TurnDone,
    TurnStarted,
    Usage,
)
from asm_actors.runs.run import Run

__all__ = ["Turn", "drafts_of"]


@define
class Turn:
    """What one turn has said so far."""

    text: list[str] = field(factory=list)
    usage: dict[str, int] | None = None
    model: str | None = None
    provider_session_id: str | None = None
    message: MessageDone | None = None
    done: TurnDone | None = None
    tool_calls: list[dict[str, Any]] = field(factory=list)
    said: list[dict[str, Any]] = field(factory=list)
    """Its messages, as `message_received` tells them."""
    host_tools: Mapping[str, Any] = EMPTY
    """Tools of the host by name: their calls are announced by the run, when it begins them."""
    has_called: bool = False
    """Whether a tool was called that is none of these: the provider may have run it."""
    has_spoken: bool = False
    """Whether anything of the answer was heard: then the turn cannot simply be repeated."""

    @property
    def cost_usd(self) -> float | None:
        """What the provider says the turn cost, in US dollars."""
        return self.done.cost_usd if self.done is not None else None

    def content(self) -> str:
        """The answer's text as far as it was heard."""
        return self.message.content if self.message is not None else "".join(self.text)

    def output(self) -> dict[str, Any]:
        """What the run answers with this turn."""
        done = self.done or TurnDone()
        if done.output is not None:
            return stringify_keys(done.output)  # anything that a provider may have put there
        return {"content": self.content(), "stop_reason": done.stop_reason, "tool_calls": self.tool_calls}

    def completed_data(self, run: Run) -> dict[str, Any]:
        """Payload of `run_completed`."""
        done = self.done or TurnDone()
        data: dict[str, Any] = {
            "stop_reason": done.stop_reason,
            "num_turns": run.turn_count,
            "token_usage": run.token_usage,
        }
        if run.cost_usd is not None:
            data["total_cost_usd"] = run.cost_usd
        return data | _routed(done) if done.metadata else data

    def pending_calls(self) -> list[dict[str, Any]]:
        """The calls that the provider has not run itself: ``id name input`` each."""
        return [call for call in self.tool_calls if "output" not in call]

    def boundary_data(self, number: int) -> dict[str, Any]:
        """Payload of `turn_completed`, without the calls that wait for their answers."""
        done = self.done or TurnDone()
        data: dict[str, Any] = {
            "turn": number,
            "stop_reason": done.stop_reason,
            "token_usage": self.usage or {},
        }
        facts = {
            "model": self.model,
            "provider_session_id": self.provider_session_id,
        }
        data |= {key: value for key, value in facts.items() if value is not None}
        return data | _routed(done) if done.metadata else data

    def provider_metadata(self, provider: str | None) -> dict[str, Any]:
        """What the run's record keeps about who answered."""
        facts: dict[str, Any] = {"provider": provider}
        if self.provider_session_id is not None:
            facts["provider_session_id"] = self.provider_session_id
        if self.model is not None:
            facts["model"] = self.model
        if self.done is not None and self.done.metadata:
            facts.update(self.done.metadata)
        return facts


_ROUTED = ("routed_provider", "routing_attempt", "routing_candidates", "failover_from", "failover_reason")


def _routed(done: TurnDone) -> dict[str, Any]:
    """Which provider answered, if a router chose it; the whole way stands in the run's record."""
    routing = done.metadata.get("routing")
    if not isinstance(routing, Mapping):
        return {}
    return {name: routing[name] for name in _ROUTED if name in routing}


def drafts_of(
    turn: Turn,
    items: Sequence[Item],
    now: int,
    run_id: str,
    provider: str | None,
    correlation_id: str | None,
) -> list[Draft]:
    """Take items into the turn and return the events they make.

    Args:
        turn: Changed in place.
        items: What the provider said, in order.
        now: Microseconds since the epoch.
        run_id: The run.
        provider: Its provider's name.
        correlation_id: Its correlation id.
    """
    drafts: list[Draft] = []
    text = turn.text
    for item in items:
        kind = type(item)
        if kind is TextDelta:
            piece: str = item[0]  # type: ignore[assignment]
            text.append(piece)
            data = {"content": piece, "delta": piece}
            # What Draft(...) does, without the detour through its Python-level constructor.
            drafts.append(_new(Draft, (_STREAMED, now, run_id, data, EMPTY, provider, correlation_id, None)))
        else:
            if kind is ToolCallEnded and item.name in turn.host_tools:  # type: ignore[union-attr]
                # The provider has run what it shares its name with a tool of the host: not announced yet.
                begun = _announced(turn, item)
                drafts.append(
                    Draft(EventType.TOOL_CALL_STARTED, now, run_id, begun, EMPTY, provider, correlation_id)
                )
            made = _TAKERS[kind](turn, item)
            if made is not None:
                drafts.append(
                    _new(Draft, (made[0], now, run_id, made[1], EMPTY, provider, correlation_id, None))
                )
    if drafts and not turn.has_spoken:
        turn.has_spoken = any(type(item) not in _PREAMBLE for item in items)
    return drafts


_new = tuple.__new__
_STREAMED = EventType.MESSAGE_STREAMED
_MOST_USD = 1e12
# Nothing that an answer is made of.
_PREAMBLE = frozenset({TurnStarted, Usage, Raw})
_Made = tuple[EventType, dict[str, Any]] | None


def _turn_started(turn: Turn, item: TurnStarted) -> _Made:
    turn.model = item.model
    turn.provider_session_id = item.provider_session_id
    return None


def _thinking(turn: Turn, item: ThinkingDelta) -> _Made:
    return EventType.MESSAGE_STREAMED, {"content": "", "delta": "", "thinking": item.text}


def _tool_call_started(turn: Turn, item: ToolCallStarted) -> _Made:
    data = {"tool_call_id": item.id, "tool_name": item.name, "tool_input": dict(item.input)}
    turn.tool_calls.append({"id": item.id, "name": item.name, "input": data["tool_input"]})
    if item.name in turn.host_tools:
        return None
    turn.has_called = True
    return EventType.TOOL_CALL_STARTED, data


def _announced(turn: Turn, item: Any) -> dict[str, Any]:
    turn.has_called = True
    given: dict[str, Any] = next((call["input"] for call in turn.tool_calls if call["id"] == item.id), {})
    return {"tool_call_id": item.id, "tool_name": item.name, "tool_input": given}


def _tool_call_ended(turn: Turn, item: ToolCallEnded) -> _Made:
    kind = EventType.TOOL_CALL_FAILED if item.is_error else EventType.TOOL_CALL_COMPLETED
    for call in turn.tool_calls:
        if call["id"] == item.id:
            call["output"] = item.output
    return kind, {"tool_call_id": item.id, "tool_name": item.name, "tool_output": item.output}


def _count(value: Any) -> int:
    """What a provider calls a number of tokens; 0 if it is none."""
    return value if type(value) is int and 0 <= value <= INT_MAX else 0


def _usage(turn: Turn, item: Usage) -> _Made:
    # Totals of the turn so far: told once, when the turn is over.
    usage = {"input_tokens": _count(item.input_tokens), "output_tokens": _count(item.output_tokens)}
    if item.cache_read_tokens or item.cache_creation_tokens:
        usage["cache_read_tokens"] = _count(item.cache_read_tokens)
        usage["cache_creation_tokens"] = _count(item.cache_creation_tokens)
    turn.usage = usage
    return None


def _message_done(turn: Turn, item: MessageDone) -> _Made:
    turn.message = item
    data: dict[str, Any] = {"content": item.content, "role": item.role}
    if item.blocks:
        data["blocks"] = list(item.blocks)
    turn.said.append(data)
    return EventType.MESSAGE_RECEIVED, data


def _turn_done(turn: Turn, item: TurnDone) -> _Made:
    cost = item.cost_usd
    if cost is not None and (type(cost) not in (int, float) or not 0 <= cost < _MOST_USD):
        item = item._replace(cost_usd=None)  # no price: it would spoil every sum that it is part of
    turn.done = item
    return None


def _raw(turn: Turn, item: Raw) -> _Made:
    # The provider's own retries and warnings: kept as what they are, an error that was dealt with.
    data: Mapping[str, Any] = item.data
    return EventType.ERROR_OCCURRED, {"error_message": item.type, "source": "provider", **data}


_TAKERS: dict[type, Callable[[Turn, Any], _Made]] = {
    TurnStarted: _turn_started,
    ThinkingDelta: _thinking,
    ToolCallStarted: _tool_call_started,
    ToolCallEnded: _tool_call_ended,
    Usage: _usage,
    MessageDone: _message_done,
    TurnDone: _turn_done,
    Raw: _raw,
}
