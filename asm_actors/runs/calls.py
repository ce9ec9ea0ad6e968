"""Calls of the host's tools as values: what is asked, what was answered, and how both stand in the conversation. Pure.

A live run and one that is rebuilt from the journal make the same messages here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import define, field

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import jsonable

__all__ = ["STEERED", "UNKNOWN_OUTCOME", "Call", "answers_of", "messages_of_turn", "pending_of"]

STEERED: Final = "steered"
"""Key in what tells of input into a running turn, and in a run's ``details``, where it counts them."""
UNKNOWN_OUTCOME: Final = (
    "The outcome of this call is unknown: the system stopped after it had begun and before its end was recorded. "
    "It may have had its effect. It was not repeated."
)
"""What a model is told of a call that began, and whose end nobody saw."""


@define
class Call:
    """One call of a tool which the host answers."""

    id: str
    """The provider's id of the call."""
    name: str
    """The tool."""
    input: dict[str, Any]
    """The arguments."""
    attempt: int = 0
    """How many times it was begun."""
    is_started: bool = False
    """Whether it was begun, and its end is not recorded."""
    safe_to_repeat: bool = False
    """Whether its tool said so when it was begun."""
    is_announced: bool = False
    """Whether `tool_call_started` was written while the model spoke, since nobody knew that the host is meant."""
    decision: str | None = None
    """Of somebody who was asked about it: ``requested`` so far, ``granted`` (it may begin, again) or ``denied``."""
    is_running: bool = field(default=False, eq=False)
    """Whether it is under way in this life of its run."""
    answer: dict[str, Any] | None = None
    """The tool's message to the model, once there is one."""

    @property
    def waits(self) -> bool:
        """Whether somebody is being asked about it."""
        return self.answer is None and self.decision == "requested"

    @property
    def may_begin(self) -> bool:
        """Whether it can be begun without doing something twice that nobody allowed to be done twice."""
        return not self.is_started or self.safe_to_repeat or self.decision == "granted"

    @property
    def is_unknown(self) -> bool:
        """Whether its outcome is unknown and it must not simply be repeated."""
        return self.answer is None and not self.may_begin

    @property
    def is_undecided(self) -> bool:
        """Whether somebody has to be asked about it before anything becomes of it, or is being asked."""
        if self.answer is not None or self.decision == "denied":
            return False
        return self.decision == "requested" or not self.may_begin

    def started_data(self, turn: int) -> dict[str, Any]:
        """Payload of `tool_call_started`."""
        return {
            "tool_call_id": self.id,
            "tool_name": self.name,
            "tool_input": self.input,
            "turn": turn,
            "attempt": self.attempt,
            "safe_to_repeat": self.safe_to_repeat,
        }

    def succeed(self, output: Any, turn: int) -> dict[str, Any]:
        """Take the tool's result; return the payload of `tool_call_completed`."""
        data = self._ended_data(jsonable(output), turn)
        self.answered(data["tool_output"], is_error=False)
        return data

    def fail(self, error: AsmError, turn: int) -> dict[str, Any]:
        """Take the tool's failure; return the payload of `tool_call_failed`."""
        data = self._ended_data(error.message, turn)
        data["error"] = {"code": error.code.value, "message": error.message}
        self.answered(error.message, is_error=True)
        return data

    def lose(self, turn: int) -> dict[str, Any]:
        """Have the model told that the outcome is unknown; return the payload of `tool_call_failed`."""
        return self.fail(AsmError(ErrorCode.OUTCOME_UNKNOWN, UNKNOWN_OUTCOME), turn)

    def answered(self, output: Any, *, is_error: bool) -> None:
        """Keep what the model is told."""
        self.is_started = self.is_running = False
        self.answer = {
            "role": "tool",
            "content": "",
            "tool_call_id": self.id,
            "tool_name": self.name,
            "tool_output": output,
            "is_error": is_error,
        }

    def _ended_data(self, output: Any, turn: int) -> dict[str, Any]:
        return {
            "tool_call_id": self.id,
            "tool_name": self.name,
            "tool_output": output,
            "turn": turn,
            "attempt": self.attempt,
        }


def pending_of(calls: Iterable[Call]) -> list[dict[str, Any]]:
    """Calls as `turn_completed` tells them."""
    return [{"id": call.id, "name": call.name, "input": call.input} for call in calls]


def answers_of(calls: Iterable[Call]) -> tuple[dict[str, Any], ...]:
    """The tools' messages, in the order of the calls."""
    return tuple(call.answer for call in calls if call.answer is not None)


def messages_of_turn(said: Sequence[Mapping[str, Any]], calls: Iterable[Call]) -> tuple[dict[str, Any], ...]:
    """What a completed turn adds to the conversation before its calls are answered.

    Args:
        said: The messages of the turn as `message_received` tells them: ``content role``, perhaps ``blocks``; and input
            that came meanwhile.
        calls: The calls that the host answers; each stands in the last message as a ``tool_use`` block, whether the
            provider put it there or not. What follows that are their answers: input that came after the last message
            goes before it.
    """
    calls = list(calls)
    if calls and said and STEERED in said[-1]:
        said = _answered_last(said)
    messages: list[dict[str, Any]] = [
        {"role": one["role"], "content": list(one.get("blocks") or ()) or one["content"]} for one in said
    ]
    known = {
        block.get("id")
        for message in messages
        if isinstance(message["content"], list)
        for block in message["content"]
        if block.get("type") == "tool_use"
    }
    missing = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}
        for call in calls
        if call.id not in known
    ]
    if missing:
        last = messages[-1] if messages and messages[-1]["role"] == "assistant" else None
        if last is None:
            last = {"role": "assistant", "content": ""}
            messages.append(last)
        text = last["content"]
        blocks = text if isinstance(text, list) else [{"type": "text", "text": text}] if text else []
        last["content"] = [*blocks, *missing]
    return tuple(message for message in messages if message["content"])


def _answered_last(said: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Put input that came after the last answer before it."""
    at = max((n for n, one in enumerate(said) if STEERED not in one), default=None)
    return said if at is None else [*said[:at], *said[at + 1 :], said[at]]
