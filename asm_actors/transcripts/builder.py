"""From events to messages. Pure.

1. Events are taken in order: by sequence number, then those without one, by time, by id, as they came.
2. A message, a tool call and a tool's answer become a message each. What adds nothing to the conversation is passed
   over; a message without text too.
3. The pieces of a streamed text are gathered by run and become one message. What closes it is the assistant's next
   message of that run (whose own text wins), another message or tool event of it, or the run's end. Until then it
   stands, partial, where its last piece came. Input into a running turn closes nothing: it stands before the answer.
4. What a run says again is there once. A turn that is begun again, by a retry or after a restart, replaces what it had
   said; a run that is begun again from its input, all that it had answered. A call of a tool that is begun again is the
   same call.
5. A run that sums the conversation up says nothing in it. Its summary then stands for all messages up to the one that
   it covers.
6. A run that is rolled back leaves nothing: neither what it was asked, nor what it answered.
7. Going on later (:class:`Builder` takes the messages so far) leads to the same as taking everything at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from asm_actors.events import EVENT_GROUPS, Event, EventGroup, EventType
from asm_actors.journal.append import EMPTY
from asm_actors.serialization import iso_from_us
from asm_actors.transcripts.message import Message, MessageRole

__all__ = ["AWAITING_APPROVAL", "FATES", "OPEN", "SUMMARY", "Builder", "in_order"]

AWAITING_APPROVAL: Final = "[Execution paused: awaiting human approval]"
"""What stands for the answer of a tool that waits for somebody's approval."""

SUMMARY: Final = "Summary of the conversation so far: "
"""How the message begins that stands for what was summed up."""

OPEN: Final = "open"
"""What :attr:`Builder.runs` says of a run that is part of the conversation."""


def in_order(events: Iterable[Event]) -> list[Event]:
    """Return events in the order in which a conversation tells them; see the module."""
    return sorted(events, key=_place)


def _place(event: Event) -> tuple[bool, int, int, str]:
    number = event.sequence_number
    if number is None:
        return True, 0, event.timestamp_us, event.id
    return False, number, event.timestamp_us, event.id


class _Streamed:
    """A text of which pieces came, and which nothing has closed yet."""

    __slots__ = ("pieces", "place", "source")

    def __init__(self, source: Event | dict[str, Any], pieces: list[str], place: int) -> None:
        self.source = source
        """The event of the last piece, or the metadata that was made of it."""
        self.pieces = pieces
        self.place = place
        """How many closed messages stand before the last piece."""

    def spoken(self, *, is_partial: bool) -> Message:
        """The message as far as it was heard."""
        source = self.source
        return Message(
            MessageRole.ASSISTANT,
            "".join(self.pieces),
            metadata=_metadata(source) if isinstance(source, Event) else source,
            is_partial=is_partial,
        )


class Builder:
    """Gathers messages.

    Args:
        messages: those of an earlier builder, to go on from.
        runs: its :attr:`runs`.
    """

    def __init__(self, messages: Iterable[Message] = (), runs: Mapping[str, str] = EMPTY) -> None:
        self._closed: list[Message] = []
        self._runs = dict(runs)
        # In the order of their last pieces.
        self._open: dict[str | None, _Streamed] = {}
        for message in messages:
            if message.is_partial:
                run_id = message.metadata.get("run_id")
                self._open[run_id] = _Streamed(message.metadata, [message.content], len(self._closed))
            else:
                self._closed.append(message)

    @property
    def messages(self) -> tuple[Message, ...]:
        """What was gathered so far, in order; partial ones among them."""
        if not self._open:
            return tuple(self._closed)
        found: list[Message] = []
        begin = 0
        for streamed in self._open.values():
            found += self._closed[begin : streamed.place]
            begin = streamed.place
            found.append(streamed.spoken(is_partial=True))
        return (*found, *self._closed[begin:])

    @property
    def runs(self) -> dict[str, str]:
        """Runs that have begun and are not over: ``open``, or what they are for if they say nothing themselves."""
        return dict(self._runs)

    def take(self, event: Event) -> None:
        """Take the next event."""
        handler = _HANDLERS.get(event.type)
        if handler is None:
            return
        if event.type in _SAID and self._runs.get(event.run_id or "", OPEN) != OPEN:
            return
        handler(self, event)

    # --- What was said -----------------------------------------------------------------------------------------

    def _sent(self, event: Event) -> None:
        if "steered" in event.data:
            self._steered(event)
            return
        self._close(event.run_id)
        self._say(_role(event, MessageRole.USER), _text(event.data.get("content")), event)

    def _steered(self, event: Event) -> None:
        """Take input into a turn: what is being said goes on after it, and is one message."""
        content = _text(event.data.get("content"))
        if content:
            metadata = {**_metadata(event), "steered": event.data.get("number")}
            self._closed.append(Message(MessageRole.USER, content, metadata=metadata))

    def _received(self, event: Event) -> None:
        role = _role(event, MessageRole.ASSISTANT)
        content = _text(event.data.get("content"))
        if role is MessageRole.ASSISTANT:
            streamed = self._open.pop(event.run_id, None)
            if streamed is not None:
                content = content or "".join(streamed.pieces)
        else:
            self._close(event.run_id)
        self._say(role, content, event)

    def _streamed(self, event: Event) -> None:
        piece = _text(event.data.get("delta")) or _text(event.data.get("content"))
        if not piece:
            return
        streamed = self._open.pop(event.run_id, None)
        if streamed is None:
            streamed = _Streamed(event, [piece], len(self._closed))
        else:
            streamed.source, streamed.place = event, len(self._closed)
            streamed.pieces.append(piece)
        self._open[event.run_id] = streamed

    def _say(self, role: MessageRole, content: str, event: Event) -> None:
        if content:
            self._closed.append(Message(role, content, metadata=_metadata(event)))

    # --- Tools -------------------------------------------------------------------------------------------------

    def _call(self, event: Event) -> None:
        tool_input = event.data.get("tool_input")
        if event.data.get("attempt", 1) != 1 and self._has_call(event):
            return  # begun again after a restart: it stands there already
        self._tool(
            event,
            MessageRole.ASSISTANT,
            tool_input=dict(tool_input) if isinstance(tool_input, Mapping) else None,
        )

    def _has_call(self, event: Event) -> bool:
        call_id, run_id = event.data.get("tool_call_id"), event.run_id
        return any(
            message.tool_call_id == call_id
            and message.role is MessageRole.ASSISTANT
            and message.metadata.get("run_id") == run_id
            for message in reversed(self._closed)
        )

    def _answer(self, event: Event) -> None:
        self._tool(event, MessageRole.TOOL, tool_output=event.data.get("tool_output"))

    def _approval(self, event: Event) -> None:
        # The arguments are told too: a call that waits before it began has no event of its own yet.
        given = event.data.get("tool_input")
        self._tool(
            event,
            MessageRole.TOOL,
            tool_input=dict(given) if isinstance(given, Mapping) else None,
            tool_output=AWAITING_APPROVAL,
        )

    def _tool(self, event: Event, role: MessageRole, **more: Any) -> None:
        self._close(event.run_id)
        data = event.data
        self._closed.append(
            Message(
                role,
                tool_call_id=_optional(data.get("tool_call_id")),
                tool_name=_optional(data.get("tool_name")),
                metadata=_metadata(event),
                **more,
            )
        )

    # --- Ends and beginnings -----------------------------------------------------------------------------------

    def _close(self, run_id: str | None) -> None:
        streamed = self._open.pop(run_id, None)
        if streamed is not None:
            self._closed.append(streamed.spoken(is_partial=False))

    def _run_begun(self, event: Event) -> None:
        run_id = event.run_id
        if run_id is None:
            return
        purpose = event.data.get("purpose")
        self._runs[run_id] = purpose if isinstance(purpose, str) else OPEN
        if self._runs[run_id] != OPEN:
            self._open.pop(run_id, None)
            self._drop(lambda message: message.metadata.get("run_id") == run_id)

    def _run_over(self, event: Event) -> None:
        run_id = event.run_id
        self._runs.pop(run_id or "", None)
        if event.data.get("rolled_back") is True:
            self._open.pop(run_id, None)
            self._drop(lambda message: message.metadata.get("run_id") == run_id)
        self._close(run_id)

    def _compacted(self, event: Event) -> None:
        """Put the summary in the place of what it sums up, unless a summary of more stands there."""
        summary, end = _text(event.data.get("summary")), event.data.get("up_to_sequence")
        if not summary or not isinstance(end, int):
            return

        def number_of(message: Message) -> int:
            return message.metadata.get("sequence_number") or 0

        if any(
            message.metadata.get("event_type") == event.type and number_of(message) > end
            for message in self._closed
        ):
            return
        self._drop(lambda message: 0 < number_of(message) <= end)
        metadata = {**_metadata(event), "sequence_number": end}
        self._closed.insert(0, Message(MessageRole.USER, SUMMARY + summary, metadata=metadata))
        for streamed in self._open.values():
            streamed.place += 1

    def _drop(self, is_unwanted: Callable[[Message], bool]) -> None:
        """Take closed messages out."""
        kept = [message for message in self._closed if not is_unwanted(message)]
        if len(kept) == len(self._closed):
            return
        for streamed in self._open.values():
            streamed.place -= sum(map(is_unwanted, self._closed[: streamed.place]))
        self._closed = kept

    def _session_over(self, event: Event) -> None:
        """Nothing of the runs so far follows: the session is over, or a fork has left them behind."""
        self._runs.clear()
        for run_id in tuple(self._open):
            self._close(run_id)

    def _recovered(self, event: Event) -> None:
        """Drop what does not count any more: of the turn that was cut, or all but the input of a run begun again."""
        self._open.pop(event.run_id, None)
        after = 0 if event.data.get("decision") == "retry" else event.data.get("discarded_after")
        if not isinstance(after, int):
            return
        self._drop(lambda message: _is_answer(message, event.run_id, after))

    def _error(self, event: Event) -> None:
        data = event.data
        if data.get("source") == "steered":
            facts = {"run_id": event.run_id, "steered": data.get("number")}  # nobody has taken it
            self._drop(lambda message: facts.items() <= message.metadata.items())
        elif data.get("source") != "provider" and ("retry_in_s" in data or data.get("will_retry") is True):
            self._open.pop(event.run_id, None)


def _is_answer(message: Message, run_id: str | None, after: int) -> bool:
    """Tell whether a message is part of what a run answered, and not was asked, after a sequence number."""
    facts = message.metadata
    return (
        facts.get("run_id") == run_id
        and facts.get("event_type") != EventType.MESSAGE_SENT
        and (facts.get("sequence_number") or 0) > after
    )


def _metadata(event: Event) -> dict[str, Any]:
    return {
        **event.metadata,
        "event_id": event.id,
        "event_type": event.type.value,
        "run_id": event.run_id,
        "timestamp": iso_from_us(event.timestamp_us),
        "sequence_number": event.sequence_number,
    }


def _role(event: Event, default: MessageRole) -> MessageRole:
    found = event.data.get("role")
    try:
        return MessageRole(found.lower()) if isinstance(found, str) else default
    except ValueError:
        return default


def _text(content: Any) -> str:
    """The text of a content: itself, or that of its text blocks joined."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    blocks = (block for block in content if isinstance(block, dict) and block.get("type") == "text")
    return "".join(text for block in blocks if isinstance(text := block.get("text"), str))


def _optional(value: Any) -> str | None:
    return value if isinstance(value, str) else None


_HANDLERS: Final[Mapping[EventType, Callable[[Builder, Event], None]]] = {
    EventType.MESSAGE_SENT: Builder._sent,
    EventType.MESSAGE_RECEIVED: Builder._received,
    EventType.MESSAGE_STREAMED: Builder._streamed,
    EventType.TOOL_CALL_STARTED: Builder._call,
    EventType.TOOL_CALL_COMPLETED: Builder._answer,
    EventType.TOOL_CALL_FAILED: Builder._answer,
    EventType.TOOL_APPROVAL_REQUESTED: Builder._approval,
    EventType.TRANSCRIPT_COMPACTED: Builder._compacted,
    EventType.RUN_STARTED: Builder._run_begun,
    EventType.RUN_COMPLETED: Builder._run_over,
    EventType.RUN_FAILED: Builder._run_over,
    EventType.RUN_CANCELLED: Builder._run_over,
    EventType.RUN_TIMEOUT: Builder._run_over,
    EventType.RUN_RECOVERED: Builder._recovered,
    EventType.ERROR_OCCURRED: Builder._error,
    EventType.SESSION_COMPLETED: Builder._session_over,
    EventType.SESSION_FAILED: Builder._session_over,
    EventType.SESSION_CANCELLED: Builder._session_over,
    EventType.SESSION_FORKED: Builder._session_over,
}

_SAID: Final = frozenset(
    EVENT_GROUPS[EventGroup.MESSAGE] + EVENT_GROUPS[EventGroup.TOOL] + EVENT_GROUPS[EventGroup.APPROVAL]
)
"""The types that make messages: those of a run that sums the conversation up are no part of it."""

FATES: Final = frozenset(_HANDLERS) - _SAID - {EventType.TRANSCRIPT_COMPACTED}
"""The types that make no message, and tell what becomes of those that were made."""
