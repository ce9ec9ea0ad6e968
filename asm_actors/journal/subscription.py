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
6. A pull that waits while much passes that nobody wants is told so now and then, so that a cursor moves with the
   journal even if nothing matches for hours.
7. Who chose to miss events rather than to lag (`Pull.max_lag`) is moved on, and told how many places were skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from attrs import define, evolve, field, frozen

from asm_actors.events import Event, EventType
from asm_actors.journal.query import EventFilter
from asm_actors.serialization import check_id, invalid

__all__ = [
    "SESSION_ENDS",
    "Hurry",
    "Page",
    "Pull",
    "Scope",
    "SubscriptionPhase",
    "SubscriptionState",
    "SubscriptionStatistics",
    "matches",
]

LAG_LIMIT = 10_000
"""Events behind the high-water mark from which a subscription is called lagging."""

NEWS_AFTER = 10_000
"""Places passed as not wanted after which a pull that waits is told of it."""
NEWS_AFTER_S = 60.0
"""Seconds after which it is told if any were passed."""

SESSION_ENDS = frozenset(
    {
        EventType.SESSION_COMPLETED,
        EventType.SESSION_FAILED,
        EventType.SESSION_CANCELLED,
        EventType.SESSION_DELETED,
    }
)
"""Types after which a session has no more events but these."""


class SubscriptionPhase(StrEnum):
    """Where a subscription stands."""

    CATCHING_UP = "catching_up"
    LIVE = "live"
    LAGGING = "lagging"
    OVER = "over"
    CLOSED = "closed"


@frozen
class SubscriptionStatistics:
    """A subscription at one moment.

    Attributes:
        phase: Where it stands.
        cursor: Last sequence number (of one session) or position (of the journal) handed over.
        delivered: Events handed over.
        lag: Events beyond the cursor, those that are not wanted included; None where that is not known at once: at the
            actor of a subscription that follows one session.
        skipped: Places that were skipped, for a subscription that drops what it is too slow for.
        acknowledged: Of a named subscription the last place it acknowledged, else None.
    """

    phase: SubscriptionPhase
    cursor: int
    delivered: int
    lag: int | None
    skipped: int = 0
    acknowledged: int | None = None


def _names_or_none(value: str | Iterable[str] | None) -> frozenset[str] | None:
    if value is None:
        return None
    found = (value,) if isinstance(value, str) else value
    if not isinstance(found, Iterable):
        raise invalid("agent_id or tags", "takes one name or several", value)
    return frozenset(check_id(name, "agent_id or tags") for name in found)


@frozen
class Scope:
    """What a subscription follows.

    Attributes:
        session_id: One session, by sequence number; None: the whole journal, by position.
        filter: Which of its events; its ``before`` is where the subscription is over.
        may_come: Whether the session may not be there yet; else that is ``session_not_found``.
        agents: Of the whole journal, sessions with one of these agents; None: any.
        tags: Of the whole journal, sessions with all of these tags; None: any.

    Raises:
        ValidationError: A name is malformed, or agents or tags are given together with a session.
    """

    session_id: str | None = None
    filter: EventFilter = field(factory=EventFilter)
    may_come: bool = False
    agents: frozenset[str] | None = field(default=None, converter=_names_or_none)
    tags: frozenset[str] | None = field(default=None, converter=_names_or_none)

    def __attrs_post_init__(self) -> None:
        if self.session_id is not None and self.chooses_sessions:
            raise invalid("session_id", "cannot be given together with agent_id or tags", self.session_id)

    @property
    def chooses_sessions(self) -> bool:
        """Whether an event is wanted or not by the record of its session."""
        return self.agents is not None or self.tags is not None

    @property
    def takes_all(self) -> bool:
        """Whether every event beyond the cursor is wanted."""
        return self.filter.takes_all and not self.chooses_sessions

    def to_map(self) -> dict[str, Any]:
        """What is followed as a JSON map, the same for the same scope; only what is given is in it."""
        wanted = self.filter
        found: dict[str, Any] = {
            "session_id": self.session_id,
            "agents": _sorted(self.agents),
            "tags": _sorted(self.tags),
            "run_ids": _sorted(wanted.run_ids),
            "types": _sorted(wanted.types),
            "since": wanted.since,
            "until": wanted.until,
            "before": wanted.before,
            "providers": _sorted(wanted.providers),
            "correlation_id": wanted.correlation_id,
        }
        return {key: value for key, value in found.items() if value is not None}

    def reading(self, cursor: int, limit: int) -> EventFilter:
        """The filter for one read."""
        return evolve(self.filter, after=cursor, limit=limit)

    def place(self, event: Event) -> int:
        """Where an event stands, in the count of this scope."""
        place = event.position if self.session_id is None else event.sequence_number
        return place or 0


def _sorted(names: Iterable[str] | None) -> list[str] | None:
    return None if names is None else sorted(str(name) for name in names)


@frozen
class Pull:
    """Ask of a subscriber: at most `limit` events; waits up to `timeout` seconds for the first one.

    Attributes:
        limit: How many at most.
        timeout: Seconds to wait if there is none; 0 not at all; None for ever.
        after: The subscriber's cursor; None: where the subscription stands.
        max_lag: Places behind the end from which it would rather skip some than read on; None: never.
    """

    limit: int = 100
    timeout: float | None = None
    after: int | None = None
    max_lag: int | None = None


class Page(NamedTuple):
    """The answer to a `Pull`."""

    events: list[Event]
    """What there was, in order; empty if the time was over, if the subscription is, or to tell how far it came."""
    cursor: int
    """Where the next pull goes on: beyond these events, and beyond those that are not wanted."""
    is_over: bool
    """Whether nothing will ever follow."""
    skipped: int = 0
    """Places passed unread since the last page, since the subscriber was too far behind and chose so."""


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
        asked_at: Cursor and time of the pull that waits.
        n_delivered: Events handed over.
        n_skipped: Places skipped in all.
    """

    scope: Scope
    cursor: int
    phase: SubscriptionPhase = SubscriptionPhase.CATCHING_UP
    pull: tuple[Pull, Any] | None = None
    is_reading: bool = False
    is_over: bool = False
    is_hurried: bool = False
    asked_at: tuple[int, float] = (0, 0.0)
    n_delivered: int = 0
    n_skipped: int = 0
    _n_told: int = 0

    def asked(self, pull: Pull, token: Any, now: float = 0.0) -> Any:
        """Take a request; return the token of the one whose place it takes, or None."""
        superseded = None if self.pull is None else self.pull[1]
        self.pull = (pull, token)
        if pull.after is not None and pull.after != self.cursor:
            # What was handed over last did not arrive: back to where the subscriber stands.
            self.cursor = pull.after
            self.is_over = False
        self.asked_at = (self.cursor, now)
        return superseded

    def skip(self, end: int) -> None:
        """Move on to where the pull that waits lags no more than it wants to, if it says so."""
        most = None if self.pull is None else self.pull[0].max_lag
        if most is not None and end - self.cursor > most:
            self.n_skipped += end - most - self.cursor
            self.cursor = end - most

    def has_news(self, now: float) -> bool:
        """Whether the one who waits should be told how far it came though nothing was wanted."""
        cursor, at = self.asked_at
        passed = self.cursor - cursor
        return passed >= NEWS_AFTER or (passed > 0 and now - at >= NEWS_AFTER_S)

    def page(self, events: list[Event], *, is_over: bool) -> Page:
        """Make an answer that goes on at the cursor."""
        skipped, self._n_told = self.n_skipped - self._n_told, self.n_skipped
        return Page(events, self.cursor, is_over, skipped)

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
            return self.page([], is_over=True) if is_over else None
        behind = high_water - (events[-1].position or high_water)
        self.phase = SubscriptionPhase.LAGGING if behind > LAG_LIMIT else SubscriptionPhase.CATCHING_UP
        if is_over:
            self.phase = SubscriptionPhase.OVER
        self.n_delivered += len(events)
        return self.page(list(events), is_over=is_over)


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
