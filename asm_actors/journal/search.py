"""What can be asked about a journal, and what is answered: values that mean the same to every store.

1. Everything given in a search must hold; what is not given does not matter.
2. Pages are found by key: a cursor names the last item of a page by its place in the order, so what is added or
   taken away meanwhile neither repeats an item nor hides one that stays where it is.
3. Where two items have the same sort value, the order of creation decides (turned round in a descending order).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from attrs import field, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.journal.pages import Place, no_cursor, place_of
from asm_actors.journal.query import EventFilter, check_flag, statuses_of
from asm_actors.journal.usage import INT64_MAX, started_us_of, tokens_of
from asm_actors.jsonable import shown
from asm_actors.runs.run import Run, RunStatus
from asm_actors.serialization import check_ids, check_optional_id, check_time, invalid, us_from_time
from asm_actors.sessions.session import Session, SessionStatus

__all__ = [
    "MAX_PAGE",
    "EventSearch",
    "EventsFound",
    "RunSearch",
    "RunsFound",
    "SessionSearch",
    "SessionsFound",
]

MAX_PAGE: Final = 1000
"""The largest page."""


def _order(value: Any, orders: tuple[str, ...]) -> str:
    """Return the order that is asked for; what is unknown stands for the first one."""
    return value if isinstance(value, str) and value in orders else orders[0]


def _session_order(value: Any) -> str:
    return _order(value, ("updated_at_desc", "created_at_asc", "created_at_desc"))


def _run_order(value: Any) -> str:
    return _order(value, ("started_at_desc", "started_at_asc", "token_usage_desc"))


def _event_order(value: Any) -> str:
    return _order(value, ("sequence_asc", "timestamp_asc", "timestamp_desc"))


def _limit(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_PAGE:
        raise invalid("limit", f"must be an integer from 1 to {MAX_PAGE}", value)
    return value


def _instant(value: Any) -> int | None:
    if value is None:
        return None
    return check_time(value, "a time") if type(value) is int else us_from_time(value, "a time")


def _name(value: Any) -> str | None:
    return check_optional_id(value, "an id or a name")


def _names(value: Any) -> frozenset[str] | None:
    if value is None:
        return None
    return frozenset(check_ids((value,) if isinstance(value, str) else value, "ids or names"))


def _labels(value: Any) -> frozenset[str]:
    if value is None:
        return frozenset()
    return frozenset(check_ids((value,) if isinstance(value, str) else value, "tags"))


def _types(value: Any) -> frozenset[EventType] | None:
    return EventFilter(types=value).types


def _session_statuses(value: Any) -> frozenset[str] | None:
    return statuses_of(SessionStatus, value)


def _run_statuses(value: Any) -> frozenset[str] | None:
    return statuses_of(RunStatus, value)


def _flag(value: Any) -> bool:
    return check_flag(value, "include_deleted")


def _least_tokens(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise AsmError(
            ErrorCode.QUERY_ERROR,
            f"min_tokens must be an integer of at least 0, not {shown(value)}",
            details={"field": "min_tokens"},
        )
    return min(value, INT64_MAX)


def _within(value: int, since: int | None, until: int | None) -> bool:
    return (since is None or value >= since) and (until is None or value <= until)


@frozen(kw_only=True)
class SessionSearch:
    """Which sessions are wanted, in which order.

    Attributes:
        agent_id: the agent they talk to.
        status: one status or several, of which one must hold.
        provider: the provider of the session itself or of one of its runs.
        tags: labels they must all have.
        created_after: made at this instant or later: an aware ``datetime``, or microseconds since the epoch.
        created_before: made at this instant or earlier, likewise.
        include_deleted: softly deleted ones too.
        order_by: ``updated_at_desc``, ``created_at_asc`` or ``created_at_desc``; anything else stands for the first.
        limit: at most so many, 1 to 1000.
        cursor: the cursor of the page before.

    Raises:
        ValidationError: a field is malformed.
        StateError: ``invalid_status``, ``invalid_cursor``.
    """

    agent_id: str | None = field(default=None, converter=_name)
    status: frozenset[str] | None = field(default=None, converter=_session_statuses)
    provider: str | None = field(default=None, converter=_name)
    tags: frozenset[str] = field(default=None, converter=_labels)
    created_after: int | None = field(default=None, converter=_instant)
    created_before: int | None = field(default=None, converter=_instant)
    include_deleted: bool = field(default=False, converter=_flag)
    order_by: str = field(default=None, converter=_session_order)
    limit: int = field(default=50, converter=_limit)
    cursor: str | None = None
    place: Place | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "place", place_of("sessions", self.order_by, self.cursor))

    @property
    def is_descending(self) -> bool:
        """Whether the largest sort value comes first."""
        return self.order_by.endswith("_desc")

    def matches(self, session: Session, uses_provider: Callable[[], bool]) -> bool:
        """Tell whether a session is wanted.

        Args:
            session: its record.
            uses_provider: tells whether one of its runs uses :attr:`provider`; asked only if that decides.
        """
        return (
            (self.include_deleted or session.deleted_us is None)
            and (self.status is None or session.status in self.status)
            and (self.agent_id is None or session.agent_id == self.agent_id)
            and self.tags.issubset(session.tags)
            and _within(session.created_us, self.created_after, self.created_before)
            and (self.provider is None or session.provider == self.provider or uses_provider())
        )

    def value_of(self, session: Session) -> int:
        """Return what a session is sorted by."""
        return session.updated_us if self.order_by == "updated_at_desc" else session.created_us


@frozen(kw_only=True)
class RunSearch:
    """Which runs are wanted, in which order.

    Attributes:
        session_id: the session they belong to.
        provider: the provider that executes them.
        status: one status or several, of which one must hold.
        started_after: started at this instant or later: an aware ``datetime``, or microseconds since the epoch. A run
            that has not started counts by when it was asked for, here and in the order.
        started_before: started at this instant or earlier, likewise.
        min_tokens: used at least so many tokens, see :func:`tokens_of`.
        order_by: ``started_at_desc``, ``started_at_asc`` or ``token_usage_desc``; anything else stands for the first.
        limit: at most so many, 1 to 1000.
        cursor: the cursor of the page before; ``token_usage_desc`` has none.

    Raises:
        ValidationError: a field is malformed.
        StateError: ``invalid_status``, ``invalid_cursor``.
        StorageError: ``query_error``: ``min_tokens`` is no integer of at least 0.
    """

    session_id: str | None = field(default=None, converter=_name)
    provider: str | None = field(default=None, converter=_name)
    status: frozenset[str] | None = field(default=None, converter=_run_statuses)
    started_after: int | None = field(default=None, converter=_instant)
    started_before: int | None = field(default=None, converter=_instant)
    min_tokens: int | None = field(default=None, converter=_least_tokens)
    order_by: str = field(default=None, converter=_run_order)
    limit: int = field(default=50, converter=_limit)
    cursor: str | None = None
    place: Place | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        if self.by_tokens and self.cursor is not None:
            raise no_cursor("runs by token_usage_desc have no pages")
        object.__setattr__(self, "place", place_of("runs", self.order_by, self.cursor))

    @property
    def by_tokens(self) -> bool:
        """Whether those that used most come first."""
        return self.order_by == "token_usage_desc"

    @property
    def is_descending(self) -> bool:
        """Whether the largest sort value comes first."""
        return self.order_by.endswith("_desc")

    def matches(self, run: Run) -> bool:
        """Tell whether a run is wanted."""
        return (
            (self.session_id is None or run.session_id == self.session_id)
            and (self.provider is None or run.provider == self.provider)
            and (self.status is None or run.status in self.status)
            and _within(started_us_of(run), self.started_after, self.started_before)
            and (self.min_tokens is None or tokens_of(run).total >= self.min_tokens)
        )

    def value_of(self, run: Run) -> int:
        """Return what a run is sorted by."""
        return tokens_of(run).total if self.by_tokens else started_us_of(run)


@frozen(kw_only=True)
class EventSearch:
    """Which events are wanted, in which order.

    Attributes:
        session_ids: events of these sessions (one id or several); a fork's events are its own.
        run_ids: events of these runs; they are in the sessions of the runs.
        types: events of these types.
        providers: events reported by these providers.
        since: events of this instant or later: an aware ``datetime``, or microseconds since the epoch.
        until: events of this instant or earlier, likewise.
        correlation_id: events with this correlation id.
        order_by: ``sequence_asc``: as they were written, so by sequence number within each session;
            ``timestamp_asc`` or ``timestamp_desc``; anything else stands for the first.
        limit: at most so many, 1 to 1000.
        cursor: the cursor of the page before.

    Raises:
        ValidationError: a field is malformed.
        StateError: ``invalid_event_type``, ``invalid_cursor``.
    """

    session_ids: frozenset[str] | None = field(default=None, converter=_names)
    run_ids: frozenset[str] | None = field(default=None, converter=_names)
    types: frozenset[EventType] | None = field(default=None, converter=_types)
    providers: frozenset[str] | None = field(default=None, converter=_names)
    since: int | None = field(default=None, converter=_instant)
    until: int | None = field(default=None, converter=_instant)
    correlation_id: str | None = field(default=None, converter=_name)
    order_by: str = field(default=None, converter=_event_order)
    limit: int = field(default=100, converter=_limit)
    cursor: str | None = None
    place: Place | None = field(init=False)
    filter: EventFilter = field(init=False)
    """What an event must be, apart from its session."""

    def __attrs_post_init__(self) -> None:
        wanted = EventFilter(
            run_ids=self.run_ids,
            types=self.types,
            since=self.since,
            until=self.until,
            providers=self.providers,
            correlation_id=self.correlation_id,
        )
        object.__setattr__(self, "filter", wanted)
        object.__setattr__(self, "place", place_of("events", self.order_by, self.cursor))

    @property
    def is_descending(self) -> bool:
        """Whether the latest event comes first."""
        return self.order_by == "timestamp_desc"

    @property
    def by_time(self) -> bool:
        """Whether events are sorted by their time."""
        return self.order_by != "sequence_asc"

    def place_of(self, event: Event) -> Place:
        """Return where an event stands."""
        position = event.position or 0
        return Place(event.timestamp_us if self.by_time else position, position)

    def has_passed(self, place: Place) -> bool:
        """Tell whether a place is on a page before this one."""
        mine = self.place
        return mine is not None and (place >= mine if self.is_descending else place <= mine)


@frozen
class SessionsFound:
    """A page of sessions.

    Attributes:
        sessions: in the order that was asked for.
        cursor: for the next page; None if this one is empty.
        total_count: how many there are on all pages together.
    """

    sessions: tuple[Session, ...]
    cursor: str | None
    total_count: int

    def to_map(self) -> dict[str, Any]:
        """Return a JSON-ready map."""
        found = [session.to_map() for session in self.sessions]
        return {"sessions": found, "cursor": self.cursor, "total_count": self.total_count}


@frozen
class RunsFound:
    """A page of runs.

    Attributes:
        runs: in the order that was asked for.
        cursor: for the next page; None if this one is empty, or if the order has no pages.
    """

    runs: tuple[Run, ...]
    cursor: str | None

    def to_map(self) -> dict[str, Any]:
        """Return a JSON-ready map."""
        return {"runs": [run.to_map() for run in self.runs], "cursor": self.cursor}


@frozen
class EventsFound:
    """A page of events.

    Attributes:
        events: in the order that was asked for.
        cursor: for the next page; None if this one is empty.
    """

    events: tuple[Event, ...]
    cursor: str | None

    def to_map(self) -> dict[str, Any]:
        """Return a JSON-ready map."""
        return {"events": [event.to_map() for event in self.events], "cursor": self.cursor}
