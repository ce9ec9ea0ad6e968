"""The cursor machine of one subscription. Pure.

    CATCHING_UP ── nothing left ──> LIVE ── something found ──> CATCHING_UP      any ── nothing more can come ──> OVER
         any ── more than `LAG_LIMIT` behind ──> LAGGING (the same, told in `phase`)

Rules:

1. There is one path: read after the cursor, tell what was found, wait for a wake-up if nothing was, read again.
2. Nothing is read that nobody asked for: a subscriber that does not pull costs nothing but its cursor.
3. The cursor is the subscriber's. Each pull says where it stands, so an answer that never arrived (its caller gave up,
   its thread was interrupted) is given again, and a subscription that is opened again at its cursor misses nothing and
   sees nothing twice.
4. A new pull takes the place of one that still waits: its caller has given up, for a subscriber asks once at a time.
5. A session that is over gets no more events: its subscription is over with the last one, or at `before`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from attrs import define, evolve, field, frozen

from asm_actors.events import Event, EventType
from asm_actors.journal.query import EventFilter

__all__ = [
    "SESSION_ENDS",
    "Hurry",
    "Page",
    "Pull",
    "Scope",
    "SubscriptionPhase",
    "SubscriptionState",
    "matches",
]

LAG_LIMIT = 10_000
"""Events behind the high-water mark from which a subscription is called lagging."""

SESSION_ENDS = frozenset({EventType.SESSION_COMPLETED, EventType.SESSION_FAILED, EventType.SESSION_CANCELLED})
"""Types of which a session has one, its last event."""


class SubscriptionPhase(StrEnum):
    """Where a subscription stands."""

    CATCHING_UP = "catching_up"
    LIVE = "live"
    LAGGING = "lagging"
    OVER = "over"
    CLOSED = "closed"


@frozen
class Scope:
    """What a subscription follows.

    Attributes:
        session_id: One session, by sequence number; None: the whole journal, by position.
        filter: Which of its events; its ``before`` is where the subscription is over.
        may_come: Whether the session may not be there yet; else that is ``session_not_found``.
    """

    session_id: str | None = None
    filter: EventFilter = field(factory=EventFilter)
    may_come: bool = False

    def reading(self, cursor: int, limit: int) -> EventFilter:
        """The filter for one read."""
        return evolve(self.filter, after=cursor, limit=limit)

    def place(self, event: Event) -> int:
        """Where an event stands, in the count of this scope."""
        place = event.position if self.session_id is None else event.sequence_number
        return place or 0


@frozen
class Pull:
    """Ask of a subscriber: at most `limit` events; waits up to `timeout` seconds for the first one.

    Attributes:
        limit: How many at most.
        timeout: Seconds to wait if there is none; 0 not at all; None for ever.
        after: The subscriber's cursor; None: where the subscription stands.
    """

    limit: int = 100
    timeout: float | None = None
    after: int | None = None


class Page(NamedTuple):
    """The answer to a `Pull`."""

    events: list[Event]
    """What there was, in order; empty if the time was over, or if the subscription is."""
    cursor: int
    """Where the next pull goes on: beyond these events, and beyond those that are not wanted."""
    is_over: bool
    """Whether nothing will ever follow."""


class Hurry(NamedTuple):
    """From a subscriber: answer at once with what there is, now and from now on."""


@define
class SubscriptionState:
    """A subscription's cursor and who waits.

    Attributes:
        scope: What is followed.
        cursor: Last place handed over, or passed as not wanted.
        pull: The request that waits for events, with its asker's token.
        is_reading: Whether a read is under way.
        is_over: Whether nothing will follow beyond the cursor.
        is_hurried: Whether pulls wait no more.
    """

    scope: Scope
    cursor: int
    phase: SubscriptionPhase = SubscriptionPhase.CATCHING_UP
    pull: tuple[Pull, Any] | None = None
    is_reading: bool = False
    is_over: bool = False
    is_hurried: bool = False
    n_delivered: int = 0

    def asked(self, pull: Pull, token: Any) -> Any:
        """Take a request; return the token of the one whose place it takes, or None."""
        superseded = None if self.pull is None else self.pull[1]
        self.pull = (pull, token)
        if pull.after is not None and pull.after != self.cursor:
            # What was handed over last did not arrive: back to where the subscriber stands.
            self.cursor = pull.after
            self.is_over = False
        return superseded

    def found(
        self, events: Sequence[Event], scanned: int, high_water: int, *, is_over: bool = False
    ) -> Page | None:
        """Take what a read found, all of it beyond the cursor.

        Args:
            events: What the scope wants, in order.
            scanned: How far the read looked.
            high_water: The last committed position.
            is_over: Whether nothing can follow beyond `scanned`.

        Returns:
            What to hand over; None if there is nothing and a wake-up must be awaited.
        """
        assert self.pull is not None
        scope, limit = self.scope, self.pull[0].limit
        before = scope.filter.before
        if before is not None:
            events = [event for event in events if scope.place(event) < before]
            is_over = is_over or scanned >= before - 1
        if len(events) > limit:
            events, scanned, is_over = events[:limit], scope.place(events[limit - 1]), False
        self.cursor = max(self.cursor, scanned)
        self.is_over = is_over
        if not events:
            self.phase = SubscriptionPhase.OVER if is_over else SubscriptionPhase.LIVE
            return Page([], self.cursor, is_over=True) if is_over else None
        behind = high_water - (events[-1].position or high_water)
        self.phase = SubscriptionPhase.LAGGING if behind > LAG_LIMIT else SubscriptionPhase.CATCHING_UP
        if is_over:
            self.phase = SubscriptionPhase.OVER
        self.n_delivered += len(events)
        return Page(list(events), self.cursor, is_over)


def matches(event: Event, wanted: EventFilter) -> bool:
    """Whether a filter wants an event; its places (`after`, `before`) and its limit are the reader's."""
    return (
        (wanted.run_ids is None or event.run_id in wanted.run_ids)
        and (wanted.types is None or event.type in wanted.types)
        and (wanted.since is None or event.timestamp_us >= wanted.since)
        and (wanted.until is None or event.timestamp_us <= wanted.until)
        and (wanted.providers is None or event.provider in wanted.providers)
        and (wanted.correlation_id is None or event.correlation_id == wanted.correlation_id)
    )
