"""What a reader asks of a store: values that mean the same to every store."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from attrs import field, frozen

from asm_actors.errors import ErrorCode
from asm_actors.events import Event, EventType, parse_event_type
from asm_actors.runs.run import RunStatus
from asm_actors.serialization import (
    check_id,
    check_ids,
    check_integer,
    check_optional_id,
    invalid,
    parse_member,
    us_from_time,
)
from asm_actors.sessions.session import Session, SessionStatus

__all__ = ["EventFilter", "EventPage", "SessionQuery", "check_count", "check_flag", "statuses_of"]


def statuses_of(
    kind: type[SessionStatus | RunStatus], value: str | Iterable[str] | None
) -> frozenset[str] | None:
    """Return the statuses a query names, or None for any.

    Raises:
        StateError: ``invalid_status``.
    """
    if value is None:
        return None
    found = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else value
    return frozenset(parse_member(kind, name, ErrorCode.INVALID_STATUS) for name in found)


def check_count(value: object) -> int | None:
    """Return how many a reader wants at most; None: all. As many as no list can hold are all.

    Raises:
        ValidationError: it is no integer of at least 0.
    """
    return None if value is None else min(check_integer(value, "limit", least=0), sys.maxsize)


def check_flag(value: object, field: str) -> bool:
    """Return ``value`` if it is true or false, else raise ``validation_error``."""
    if not isinstance(value, bool):
        raise invalid(field, "must be true or false", value)
    return value


def _names(value: str | Iterable[str] | None) -> frozenset[str] | None:
    if value is None:
        return None
    found = (value,) if isinstance(value, str) else value
    if not isinstance(found, Iterable):
        raise invalid("a filter by name", "takes one name or several", value)
    return frozenset(check_id(name, "name") for name in found)


def _types(value: EventType | str | Iterable[EventType | str] | None) -> frozenset[EventType] | None:
    if value is None:
        return None
    found = (value,) if isinstance(value, str) else value
    if not isinstance(found, Iterable):
        raise invalid("types", "takes one event type or several", value)
    return frozenset(parse_event_type(name) for name in found)


def _instant(value: datetime | int | None) -> int | None:
    if value is None or type(value) is int:
        return value
    return us_from_time(value, "since or until")


def _bound(value: int | None) -> int | None:
    return None if value is None else check_integer(value, "after, before or limit", least=0)


@frozen
class EventFilter:
    """Which events a reader wants. Everything given must hold; the defaults want all of them.

    Attributes:
        run_ids: events of these runs (one id or several).
        types: events of these types (one or several).
        since: events of this instant or later (inclusive): an aware ``datetime``, or microseconds since the epoch.
        until: events of this instant or earlier (inclusive), likewise.
        after: events after this place (exclusive): a sequence number where one session is read, a position where
            the whole journal is read.
        before: events before this place (exclusive), likewise.
        providers: events reported by these providers (one name or several).
        correlation_id: events with this correlation id.
        limit: at most so many events, the first ones in order.

    Raises:
        ValidationError: a field has the wrong type or is negative.
        StateError: ``invalid_event_type``.
    """

    run_ids: frozenset[str] | None = field(default=None, converter=_names)
    types: frozenset[EventType] | None = field(default=None, converter=_types)
    since: int | None = field(default=None, converter=_instant)
    until: int | None = field(default=None, converter=_instant)
    after: int | None = field(default=None, converter=_bound)
    before: int | None = field(default=None, converter=_bound)
    providers: frozenset[str] | None = field(default=None, converter=_names)
    correlation_id: str | None = None
    limit: int | None = field(default=None, converter=_bound)

    @property
    def takes_all(self) -> bool:
        """Whether every event between ``after`` and ``before`` is wanted."""
        return (
            self.run_ids is None
            and self.types is None
            and self.since is None
            and self.until is None
            and self.providers is None
            and self.correlation_id is None
        )


class EventPage(NamedTuple):
    """What a bounded scan over the journal found."""

    events: list[Event]
    """The matching events in the order of the journal."""

    position: int
    """How far the scan came. Read on with ``after=position``, even if no event matched."""


@frozen
class SessionQuery:
    """Which sessions a listing wants; shared by the stores, so that all of them mean the same.

    Attributes:
        statuses: the statuses of which one must hold, or None for any.
        agent_id: the agent, or None for any.
        tags: labels that must all be there.
        provider: the provider, or None for any.
        include_deleted: whether softly deleted ones are wanted too.
        parent_session_id: the session they were forked from or belong to, or None for any.
    """

    statuses: frozenset[str] | None
    agent_id: str | None
    tags: frozenset[str]
    provider: str | None
    include_deleted: bool
    parent_session_id: str | None = None

    @classmethod
    def of(
        cls,
        status: str | Iterable[str] | None,
        agent_id: str | None,
        tags: Iterable[str] | None,
        provider: str | None,
        *,
        include_deleted: bool,
        parent_session_id: str | None = None,
    ) -> SessionQuery:
        """Check what a caller asks for.

        Raises:
            StateError: ``invalid_status``.
            ValidationError: something else is malformed.
        """
        labels = () if tags is None else check_ids((tags,) if isinstance(tags, str) else tags, "tags")
        return cls(
            statuses_of(SessionStatus, status),
            check_optional_id(agent_id, "agent_id"),
            frozenset(labels),
            check_optional_id(provider, "provider"),
            check_flag(include_deleted, "include_deleted"),
            check_optional_id(parent_session_id, "parent_session_id"),
        )

    def matches(self, session: Session) -> bool:
        """Tell whether a session is wanted."""
        return (
            (self.include_deleted or session.deleted_us is None)
            and (self.statuses is None or session.status in self.statuses)
            and (self.agent_id is None or session.agent_id == self.agent_id)
            and (self.provider is None or session.provider == self.provider)
            and (self.parent_session_id is None or session.parent_session_id == self.parent_session_id)
            and self.tags.issubset(session.tags)
        )
