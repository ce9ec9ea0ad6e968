"""From a transcript to the messages that a provider is sent. Pure.

A conversation may be cut anywhere: by truncation, by the end of a run, by a crash. What is made of it here is always
one that a model's API accepts, whatever went in:

1. Each run's messages stand together, runs in the order of their first messages: where several ran at once, what one
   of them asked is followed by what it was answered. What no run said stays where it is.
2. What was still being said is left out.
3. Each call of a tool is followed by its answer, before anybody else speaks. Of several answers the last one counts,
   but one that says that somebody is being asked only while there is no other. A call without an answer gets one that
   says so (:data:`NO_RESULT`); an answer without its call is left out.
4. A call that waits for an approval before it began has no event of its own: it is told from the question.
5. Ids of calls are unique: one that occurs again gets a number behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from asm_actors.events import EventType
from asm_actors.transcripts.message import Message, MessageRole

__all__ = ["NO_RESULT", "by_runs", "turn_messages"]

NO_RESULT: Final = "The result of this call is not known: the run ended before it was recorded."
"""What stands for the answer of a call that has none."""


def by_runs(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Return finished messages with those of each run together; see rules 1 and 2."""
    return tuple(message for group in _groups(messages) for message in group)


def turn_messages(messages: Iterable[Message]) -> tuple[dict[str, Any], ...]:
    """Return messages as `TurnRequest.messages` has them; see the module."""
    used: set[str] = set()
    found: list[dict[str, Any]] = []
    for group in _groups(messages):
        found += _Group(group, used).told()
    return tuple(found)


def _groups(messages: Iterable[Message]) -> list[list[Message]]:
    groups: list[list[Message]] = []
    of_run: dict[str, list[Message]] = {}
    alone: list[Message] | None = None
    for message in messages:
        if message.is_partial:
            continue
        run_id = message.metadata.get("run_id")
        if run_id is None:
            if alone is None:
                alone = []
                groups.append(alone)
            alone.append(message)
            continue
        alone = None
        if run_id not in of_run:
            of_run[run_id] = []
            groups.append(of_run[run_id])
        of_run[run_id].append(message)
    return groups


class _Group:
    """The messages of one run; calls are paired within it, since ids are unique in a turn at best."""

    def __init__(self, messages: Sequence[Message], used: set[str]) -> None:
        self._messages = messages
        self._used = used
        # Of each id of a call the places where it begins, and those where it is answered.
        self._calls: dict[str, list[int]] = {}
        self._answers: dict[str, list[int]] = {}
        for place, message in enumerate(messages):
            if message.tool_call_id is not None:
                places = self._calls if message.role is MessageRole.ASSISTANT else self._answers
                places.setdefault(message.tool_call_id, []).append(place)

    def told(self) -> Iterator[dict[str, Any]]:
        """The messages, each call followed by its answer."""
        waiting: list[tuple[int, str]] = []
        for place, message in enumerate(self._messages):
            if message.role is MessageRole.ASSISTANT:
                if message.tool_call_id is not None:
                    waiting.append((place, self._unique(message.tool_call_id)))
                    yield _call(message, waiting[-1][1])
                elif message.content:
                    yield {"role": "assistant", "content": message.content}
                continue
            for call in waiting:
                yield self._answer(*call)
            waiting.clear()
            if message.tool_call_id is None:
                if message.content:
                    yield {"role": message.role.value, "content": message.content}
            elif self._is_only_asked(place, message):
                name = self._unique(message.tool_call_id)
                yield _call(message, name)
                yield self._answer(place, name)
        for call in waiting:
            yield self._answer(*call)

    def _unique(self, call_id: str) -> str:
        name, number = call_id, 1
        while name in self._used:
            number += 1
            name = f"{call_id}-{number}"
        self._used.add(name)
        return name

    def _is_only_asked(self, place: int, message: Message) -> bool:
        """Whether this is the first question about a call that is told nowhere else."""
        call_id = message.tool_call_id or ""
        return (
            _is_question(message)
            and message.tool_input is not None
            and message.tool_name is not None
            and call_id not in self._calls
            and not any(
                _is_question(self._messages[before]) for before in self._answers[call_id] if before < place
            )
        )

    def _answer(self, place: int, name: str) -> dict[str, Any]:
        call = self._messages[place]
        call_id = call.tool_call_id or ""
        end = next((later for later in self._calls.get(call_id, ()) if later > place), len(self._messages))
        found = [self._messages[at] for at in self._answers.get(call_id, ()) if place <= at < end]
        real = [message for message in found if not _is_question(message)]
        told: dict[str, Any] = {"role": "tool", "content": "", "tool_call_id": name}
        if call.tool_name is not None:
            told["tool_name"] = call.tool_name
        if not found:
            return told | {"tool_output": NO_RESULT, "is_error": True}
        answer = real[-1] if real else found[-1]
        output = answer.content if answer.tool_output is None else answer.tool_output
        is_error = answer.metadata.get("event_type") == EventType.TOOL_CALL_FAILED
        return told | {"tool_output": output} | ({"is_error": True} if is_error else {})


def _call(message: Message, name: str) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": "",
        "tool_call_id": name,
        "tool_name": message.tool_name or "unknown",
        "tool_input": dict(message.tool_input or {}),
    }


def _is_question(message: Message) -> bool:
    return message.metadata.get("event_type") == EventType.TOOL_APPROVAL_REQUESTED
