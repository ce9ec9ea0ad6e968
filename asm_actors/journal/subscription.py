"""The cursor machine of one subscription. Pure.

    CATCHING_UP ── read gave less than asked ──> LIVE ── woken ──> CATCHING_UP
         any ── more behind than `lag_limit` ──> LAGGING (the same, told in `phase`)      any ── close ──> CLOSED

Rules:

1. There is one path: read after the cursor, tell what was found, wait for a wake-up if nothing was, read again.
2. Nothing is read that nobody asked for: a subscriber that does not pull costs nothing but its cursor.
3. The cursor moves only with what was handed over. A subscription that is opened again at its cursor misses nothing
   and sees nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from attrs import define, evolve, frozen

from asm_actors.events import Event
from asm_actors.journal.store import EventFilter

__all__ = ["Pull", "Scope", "SubscriptionPhase", "SubscriptionState", "matches"]

LAG_LIMIT = 10_000
"""Events behind the high-water mark from which a subscription is called lagging."""


class SubscriptionPhase(StrEnum):
    """Where a subscription stands."""

    CATCHING_UP = "catching_up"
    LIVE = "live"
    LAGGING = "lagging"
    CLOSED = "closed"


@frozen
class Scope:
    """What a subscription follows.

    Attributes:
        session_id: One session, by sequence number; None: the whole journal, by position.
        filter: Which of its events.
    """

    session_id: str | None = None
    filter: EventFilter = EventFilter()

    def reading(self, cursor: int, limit: int) -> EventFilter:
        """The filter for one read."""
        return evolve(self.filter, after=cursor, limit=limit)


@frozen
class Pull:
    """Ask of a subscriber: at most `limit` events; waits up to `timeout` seconds for the first one.

    Attributes:
        limit: How many at most.
        timeout: Seconds to wait if there is none; 0 not at all; None for ever.
    """

    limit: int = 100
    timeout: float | None = None


@define
class SubscriptionState:
    """A subscription's cursor and who waits.

    Attributes:
        scope: What is followed.
        cursor: Last place handed over, or passed as not wanted.
        pull: The request that waits for events, with its asker's token.
        is_reading: Whether a read is under way.
    """

    scope: Scope
    cursor: int
    phase: SubscriptionPhase = SubscriptionPhase.CATCHING_UP
    pull: tuple[Pull, Any] | None = None
    is_reading: bool = False
    n_delivered: int = 0

    def asked(self, pull: Pull, token: Any) -> bool:
        """Take a request; return whether to read now.

        Raises:
            ValueError: Another one is being answered: one reader per subscription.
        """
        if self.pull is not None:
            raise ValueError("another pull of this subscription is being answered")
        self.pull = (pull, token)
        return not self.is_reading

    def found(self, events: Sequence[Event], scanned: int, high_water: int) -> list[Event] | None:
        """Take what a read found, all of it beyond the cursor.

        Args:
            events: What the scope wants, in order.
            scanned: How far the read looked.
            high_water: The last committed position.

        Returns:
            What to hand over; None if there is nothing and a wake-up must be awaited.
        """
        self.is_reading = False
        if events:
            last = events[-1]
            place = last.sequence_number if self.scope.session_id is not None else last.position
            self.cursor = max(self.cursor, place or 0)
            self.n_delivered += len(events)
            behind = high_water - (last.position or high_water)
            self.phase = SubscriptionPhase.LAGGING if behind > LAG_LIMIT else SubscriptionPhase.CATCHING_UP
            return list(events)
        self.cursor = max(self.cursor, scanned)
        self.phase = SubscriptionPhase.LIVE
        return None


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
