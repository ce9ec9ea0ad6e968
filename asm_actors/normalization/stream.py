"""A bounded buffer of one run's events with a read cursor, as a value: every change returns a new stream.

1. A stream belongs to one run of one session and refuses other events.
2. Sequence numbers count from 0 here, unlike in the journal; an event without one gets the next.
3. Over its size the stream keeps the events with the highest numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from attrs import evolve, frozen

from asm_actors.config import EVENT_BUFFER_SIZE
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.normalization.normalized_event import NormalizedEvent
from asm_actors.normalization.normalizer import filter_by_type, sort_events
from asm_actors.serialization import check_id, check_integer

__all__ = ["EventStream", "StreamStatus"]


class StreamStatus(StrEnum):
    """Whether a stream takes more events."""

    OPEN = "open"
    CLOSED = "closed"


@frozen
class EventStream:
    """The events of one run.

    Attributes:
        session_id: the session they belong to.
        run_id: the run they belong to.
        events: what is kept, sorted by sequence number.
        cursor: the first sequence number not yet read.
        buffer_size: how many events are kept.
        status: whether it takes more.
        next_sequence: the number the next event without one gets.
    """

    session_id: str
    run_id: str
    events: tuple[NormalizedEvent, ...] = ()
    cursor: int = 0
    buffer_size: int = EVENT_BUFFER_SIZE
    status: StreamStatus = StreamStatus.OPEN
    next_sequence: int = 0

    @classmethod
    def new(
        cls, session_id: str | None = None, run_id: str | None = None, *, buffer_size: int = EVENT_BUFFER_SIZE
    ) -> EventStream:
        """Return an empty open stream.

        Raises:
            ValidationError: a name is missing or malformed, or ``buffer_size`` is below 1.
        """
        return cls(
            session_id=check_id(session_id, "session_id"),
            run_id=check_id(run_id, "run_id"),
            buffer_size=check_integer(buffer_size, "buffer_size", least=1),
        )

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more events."""
        return self.status is StreamStatus.CLOSED

    @property
    def count(self) -> int:
        """How many events are kept."""
        return len(self.events)

    @property
    def remaining(self) -> int:
        """How many of them are not yet read."""
        return len(self._unread())

    def push(self, event: NormalizedEvent) -> EventStream:
        """Return the stream with one more event.

        Raises:
            StateError: ``stream_closed``, ``session_mismatch`` or ``run_mismatch``.
        """
        self._must_be_open()
        if event.session_id != self.session_id:
            raise _mismatch(ErrorCode.SESSION_MISMATCH, "session", event.session_id, self.session_id)
        if event.run_id != self.run_id:
            raise _mismatch(ErrorCode.RUN_MISMATCH, "run", event.run_id, self.run_id)
        return self._with((event,))

    def push_batch(self, events: Iterable[NormalizedEvent]) -> EventStream:
        """Return the stream with all these events, or raise and take none of them.

        Raises:
            StateError: ``stream_closed``, or ``context_mismatch`` if any event belongs elsewhere.
        """
        self._must_be_open()
        batch = tuple(events)
        strangers = [
            event.id for event in batch if event.session_id != self.session_id or event.run_id != self.run_id
        ]
        if strangers:
            raise AsmError(
                ErrorCode.CONTEXT_MISMATCH,
                f"{len(strangers)} of {len(batch)} events belong to another session or run",
                details={"event_ids": strangers},
                context={"session_id": self.session_id, "run_id": self.run_id},
            )
        return self._with(batch)

    def get_events(
        self,
        *,
        from_cursor: int | None = None,
        type_: EventType | str | None = None,
        limit: int | None = None,
    ) -> tuple[NormalizedEvent, ...]:
        """Return events in order; reading this way moves no cursor.

        Args:
            from_cursor: the first sequence number wanted.
            type_: only events of this type.
            limit: at most so many.

        Raises:
            StateError: ``invalid_event_type`` or ``invalid_cursor``.
            ValidationError: ``limit`` is no integer of at least 0.
        """
        found = self.events if from_cursor is None else self._from(_check_cursor(from_cursor))
        if type_ is not None:
            found = filter_by_type(found, type_)
        return found if limit is None else found[: check_integer(limit, "limit", least=0)]

    def advance_cursor(self, cursor: int) -> EventStream:
        """Return the stream with its cursor moved forward; the present place is allowed.

        Raises:
            StateError: ``invalid_cursor``: backwards, or no number.
        """
        if _check_cursor(cursor) < self.cursor:
            raise AsmError(
                ErrorCode.INVALID_CURSOR,
                f"the cursor is at {self.cursor} and moves only forward, not to {cursor}",
                details={"cursor": cursor, "current": self.cursor},
            )
        return evolve(self, cursor=cursor)

    def peek(self, n: int = 1) -> tuple[NormalizedEvent, ...]:
        """Return the next ``n`` events and leave them unread.

        Raises:
            ValidationError: ``n`` is no integer of at least 0.
        """
        return self._unread()[: check_integer(n, "n", least=0)]

    def take(self, n: int = 1) -> tuple[tuple[NormalizedEvent, ...], EventStream]:
        """Return the next ``n`` events, and the stream in which they are read.

        Raises:
            ValidationError: ``n`` is no integer of at least 0.
        """
        taken = self.peek(n)
        return taken, evolve(self, cursor=_number(taken[-1]) + 1) if taken else self

    def close(self) -> EventStream:
        """Return the stream closed, all of it counted as read; its events can still be read by number."""
        return evolve(self, status=StreamStatus.CLOSED, cursor=max(self.cursor, self.next_sequence))

    def __iter__(self) -> Iterator[NormalizedEvent]:
        """Iterate over the events that are not yet read."""
        return iter(self._unread())

    def _must_be_open(self) -> None:
        if self.is_closed:
            raise AsmError(
                ErrorCode.STREAM_CLOSED, context={"session_id": self.session_id, "run_id": self.run_id}
            )

    def _from(self, cursor: int) -> tuple[NormalizedEvent, ...]:
        return tuple(event for event in self.events if _number(event) >= cursor)

    def _unread(self) -> tuple[NormalizedEvent, ...]:
        return self._from(self.cursor)

    def _with(self, batch: tuple[NormalizedEvent, ...]) -> EventStream:
        following = self.next_sequence
        numbered = []
        for event in batch:
            placed = event if event.sequence_number is not None else evolve(event, sequence_number=following)
            following = max(following, _number(placed) + 1)
            numbered.append(placed)
        kept = sort_events((*self.events, *numbered))[-self.buffer_size :]
        return evolve(self, events=kept, next_sequence=following)


def _number(event: NormalizedEvent) -> int:
    # Every event in a stream has a number: _with gives one to those that came without.
    assert event.sequence_number is not None
    return event.sequence_number


def _check_cursor(cursor: object) -> int:
    if isinstance(cursor, bool) or not isinstance(cursor, int) or cursor < 0:
        raise AsmError(ErrorCode.INVALID_CURSOR, "a cursor is an integer of at least 0")
    return cursor


def _mismatch(code: ErrorCode, what: str, found: str | None, wanted: str) -> AsmError:
    return AsmError(
        code,
        f"the event belongs to {what} {found}, the stream to {wanted}",
        details={"expected": wanted, "found": found},
    )
