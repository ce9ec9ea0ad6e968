"""`Transcript`: a conversation as far as it went."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from attrs import Factory, evolve, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.jsonable import stringify_keys
from asm_actors.serialization import Fields, check_id, iso_from_us, json_map, time_from_us
from asm_actors.transcripts.builder import Builder, in_order
from asm_actors.transcripts.message import Message
from asm_actors.transcripts.truncation import Truncation

__all__ = ["Transcript"]

_WHOLE = Truncation()


@frozen
class Transcript:
    """A conversation as far as it went: what a session's events tell, as messages.

    Attributes:
        session_id: the session.
        messages: what was said and done, in order.
        last_sequence: the sequence number of the last event that it was made of, whether that made a message or not;
            None if no event had one.
        last_timestamp_us: the latest time of these events, in microseconds since the epoch, or None;
            :attr:`last_timestamp` shows it.
        metadata: the caller's own facts, JSON.
        open_runs: runs that had begun and were not over, by id: ``open``, or what they are for if nothing that they say
            is part of the conversation (``compaction``).
    """

    session_id: str
    messages: tuple[Message, ...] = ()
    last_sequence: int | None = None
    last_timestamp_us: int | None = None
    metadata: dict[str, Any] = Factory(dict)
    open_runs: dict[str, str] = Factory(dict)

    def __hash__(self) -> int:
        return hash((self.session_id, self.last_sequence))

    @property
    def last_timestamp(self) -> datetime | None:
        """The latest time of the events it was made of (aware, UTC), or None."""
        return None if self.last_timestamp_us is None else time_from_us(self.last_timestamp_us)

    @classmethod
    def from_events(
        cls,
        events: Iterable[Event],
        *,
        session_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        truncation: Truncation = _WHOLE,
    ) -> Transcript:
        """Make the transcript that some events tell; :mod:`asm_actors.transcripts.builder` has the rules.

        Args:
            events: in any order.
            session_id: the session; by default that of the first event. A fork's history holds events of the session
                that it was forked from, so of a fork it must be given.
            metadata: facts to keep with it, JSON.
            truncation: what it may hold.

        Raises:
            ValidationError: there are no events and no session id, or the metadata is not JSON.
        """
        ordered = in_order(events)
        if session_id is None:
            if not ordered:
                raise AsmError(
                    ErrorCode.VALIDATION_ERROR,
                    "session_id is required where there are no events",
                    details={"field": "session_id"},
                )
            session_id = ordered[0].session_id
        start = cls(check_id(session_id, "session_id"), metadata=json_map(metadata, "metadata"))
        return start._grown(ordered, truncation)

    def updated(self, events: Iterable[Event], *, truncation: Truncation = _WHOLE) -> Transcript:
        """Return this transcript with later events added; without any it is this very one.

        The result is what :meth:`from_events` makes of all events, as long as nothing was cut off and each call brings
        what follows the one before. Events with a sequence number that it has already are passed over.

        Args:
            events: those that came since, in any order.
            truncation: what it may hold.
        """
        last = self.last_sequence or 0
        fresh = [
            event
            for event in in_order(events)
            if event.sequence_number is None or event.sequence_number > last
        ]
        return self._grown(fresh, truncation) if fresh else self

    def _grown(self, ordered: list[Event], truncation: Truncation) -> Transcript:
        builder = Builder(self.messages, self.open_runs)
        sequence, timestamp = self.last_sequence, self.last_timestamp_us
        for event in ordered:
            builder.take(event)
            if event.sequence_number is not None:
                sequence = event.sequence_number
            if timestamp is None or event.timestamp_us > timestamp:
                timestamp = event.timestamp_us
        return evolve(
            self,
            messages=truncation.cut(builder.messages),
            last_sequence=sequence,
            last_timestamp_us=timestamp,
            open_runs=builder.runs,
        )

    def to_map(self) -> dict[str, Any]:
        """Return the transcript as a JSON-ready map; the time is ISO-8601 text in UTC."""
        return {
            "session_id": self.session_id,
            "messages": [message.to_map() for message in self.messages],
            "last_sequence": self.last_sequence,
            "last_timestamp": None if self.last_timestamp_us is None else iso_from_us(self.last_timestamp_us),
            "metadata": stringify_keys(self.metadata),
            "open_runs": dict(self.open_runs),
        }

    @classmethod
    def from_map(cls, value: Any) -> Transcript:
        """Read what :meth:`to_map` wrote. ``session_id`` is required.

        Raises:
            ValidationError: the map, or a field in it, is missing or malformed.
        """
        fields = Fields(value, "transcript")
        return cls(
            session_id=fields.id("session_id"),
            messages=tuple(map(Message.from_map, fields.items("messages"))),
            last_sequence=fields.optional_integer("last_sequence", least=0),
            last_timestamp_us=fields.optional_time("last_timestamp"),
            metadata=fields.map("metadata"),
            open_runs=fields.map("open_runs"),
        )
