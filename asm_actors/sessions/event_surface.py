"""Following events, as the two managers offer it: `subscribe` and `stream_session_events`, blocking and awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any, Literal

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.faces import refusing
from asm_actors.journal.driving import drive
from asm_actors.journal.follow import AsyncSubscription, Subscription
from asm_actors.journal.following import Naming
from asm_actors.journal.query import EventFilter, check_count
from asm_actors.journal.subscription import Scope
from asm_actors.serialization import check_id, check_integer, check_optional_id, invalid
from asm_actors.services import Services
from asm_actors.sessions.callbacks import EventCallback
from asm_actors.sessions.event_operations import seconds_of
from asm_actors.sessions.operations import Operations
from asm_actors.sessions.streaming import (
    AsyncSessionStream,
    IdleTimeout,
    SessionStream,
    StreamOptions,
    begun,
)

__all__ = ["AsyncEventSurface", "EventSurface", "Overflow"]

Overflow = Literal["read_on", "drop"]
Names = str | Iterable[str] | None
Types = EventType | str | Iterable[EventType | str] | None
MAX_LAG = 10_000
"""Events behind from which a subscription that drops skips some, unless it says otherwise."""


class _Surface:
    """What both share.

    Args:
        services: The system's.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._operations = Operations(services)

    def _scope(
        self,
        session_id: str | None,
        run_id: Names,
        type: Types,  # noqa: A002 - the event's name
        since: datetime | int | None,
        before: int | None = None,
        *,
        agent_id: Names = None,
        tags: Names = None,
    ) -> Scope:
        wanted = EventFilter(run_ids=run_id, types=type, since=since, before=before)
        return Scope(check_optional_id(session_id, "session_id"), wanted, agents=agent_id, tags=tags)


class EventSurface(_Surface):
    """Following events, blocking."""

    @refusing
    def subscribe(
        self,
        session_id: str | None = None,
        *,
        run_id: str | Iterable[str] | None = None,
        type: EventType | str | Iterable[EventType | str] | None = None,  # noqa: A002 - the event's name
        agent_id: str | Iterable[str] | None = None,
        tags: str | Iterable[str] | None = None,
        since: datetime | int | None = None,
        after: int | Literal["now"] | None = None,
        timeout: float | None = None,
        name: str | None = None,
        auto_ack: bool = False,
        takeover: bool = True,
        overflow: Overflow = "read_on",
        max_lag: int | None = None,
    ) -> Subscription:
        """Follow the events of one session, or of the whole journal, from a cursor on.

        With a `name` the journal remembers where the consumer stands, over restarts: after ``ack`` it goes on behind
        what was acknowledged, and whatever was not comes again. Events that maintenance erased meanwhile are passed
        over without a word.

        Args:
            session_id: One session; None for all.
            run_id: Events of this run only, or of these.
            type: One event type or several.
            agent_id: Of all sessions those with this agent, or one of these.
            tags: Of all sessions those with this tag, or all of these.
            since: Earliest time (inclusive): aware, or microseconds since the epoch.
            after: Sequence number (of a session) or position (of the journal) after which to begin; ``"now"``: what
                comes from now on; by default from the beginning. With a name that is known its own place counts.
            timeout: Iterating ends after so many seconds without an event; None: never.
            name: Makes it durable. A name keeps following what it followed first.
            auto_ack: Asking for more acknowledges what was handed over. Without it only ``ack`` does.
            takeover: If another consumer has the name open, that one is closed (``stream_closed``); else this call is
                refused.
            overflow: ``read_on``: whoever is slow falls behind and misses nothing. ``drop``: whoever is more than
                `max_lag` behind is moved on, and `Subscription.skipped` counts what that passed over.
            max_lag: In events, those not wanted included; 10,000 by default. For ``drop`` only.

        Raises:
            ResourceError: ``session_not_found``.
            ConcurrencyError: ``invalid_operation``: the name follows something else, or is open already.
            AsmError: ``validation_error``, ``invalid_event_type``.
        """
        scope = self._scope(session_id, run_id, type, since, agent_id=agent_id, tags=tags)
        subscription = Subscription(
            self._services,
            scope,
            _cursor(after),
            timeout,
            naming=_naming(name, auto_ack, takeover),
            max_lag=_max_lag(overflow, max_lag, name),
        )
        if scope.session_id is not None:
            self._services.store.head(scope.session_id)  # raises session_not_found where the caller sees it
        drive(subscription._begin())
        return subscription

    @refusing
    def stream_session_events(
        self,
        session_id: str,
        *,
        after: int = 0,
        run_id: str | Iterable[str] | None = None,
        type: EventType | str | Iterable[EventType | str] | None = None,  # noqa: A002 - the event's name
        since: datetime | int | None = None,
        before: int | None = None,
        limit: int | None = None,
        wait_timeout_ms: float | None = None,
    ) -> Iterator[Event]:
        """Iterate over the events of a session, those to come included; see `subscribe`.

        Args:
            session_id: Which session.
            after: Sequence number after which to begin (exclusive).
            run_id: Events of this run only, or of these.
            type: One event type or several.
            since: Earliest time (inclusive): aware, or microseconds since the epoch.
            before: Sequence number at which to end (exclusive).
            limit: End after so many events.
            wait_timeout_ms: End after so many milliseconds without an event; None: never.

        Raises:
            ResourceError: ``session_not_found``.
        """
        session_id = check_id(session_id, "session_id")
        scope = self._scope(session_id, run_id, type, since, before)
        wanted, start, wait = check_count(limit), _place(after), seconds_of(wait_timeout_ms)
        self._services.store.head(session_id)  # as above
        return _bounded(Subscription(self._services, scope, start, wait), wanted)

    @refusing
    def stream_session(
        self,
        input: Any = None,  # noqa: A002 - the field's name is the argument's
        *,
        event_callback: EventCallback | None = None,
        idle_timeout: IdleTimeout = "configured",
        shutdown_timeout: float | None = None,
        cancel_on_close: bool = True,
        **options: Any,
    ) -> SessionStream:
        """Make a session, execute one run in it, and iterate over the run's events while they come.

        As `run_once`, but its answer is a stream: see `sessions.streaming`. The run begins at once, whether the stream
        is read or not.

        Args:
            input: What to answer.
            event_callback: Called with each event before it is handed over; see `execute_run`.
            idle_timeout: Seconds without an event after which the stream gives up and cancels the run; None: never; by
                default as the system is configured (`stream_idle_timeout_ms`).
            shutdown_timeout: Seconds for which closing it waits for the end of the run; by default as the system is
                configured (`task_shutdown_timeout_ms`).
            cancel_on_close: Whether closing the stream cancels the run.
            options: Those of `run_once`.

        Raises:
            AsmError: What is refused before the run is there. How the run ended, tells `SessionStream.result`.
        """
        given = StreamOptions.of(
            self._services, idle_timeout, shutdown_timeout, cancel_on_close, event_callback
        )
        return SessionStream(*begun(self._operations, given, Subscription, input, options))


class AsyncEventSurface(_Surface):
    """Following events, awaited."""

    @refusing
    def subscribe(
        self,
        session_id: str | None = None,
        *,
        run_id: str | Iterable[str] | None = None,
        type: EventType | str | Iterable[EventType | str] | None = None,  # noqa: A002 - the event's name
        agent_id: str | Iterable[str] | None = None,
        tags: str | Iterable[str] | None = None,
        since: datetime | int | None = None,
        after: int | Literal["now"] | None = None,
        timeout: float | None = None,
        name: str | None = None,
        auto_ack: bool = False,
        takeover: bool = True,
        overflow: Overflow = "read_on",
        max_lag: int | None = None,
    ) -> AsyncSubscription:
        """As `SessionManager.subscribe`; iterate it with `async for`.

        It does not wait here: what ``"now"`` is, and whether the name can be had, is found out by ``async with`` or by
        the first pull, and that a session is not there by the first pull.
        """
        scope = self._scope(session_id, run_id, type, since, agent_id=agent_id, tags=tags)
        return AsyncSubscription(
            self._services,
            scope,
            _cursor(after),
            timeout,
            naming=_naming(name, auto_ack, takeover),
            max_lag=_max_lag(overflow, max_lag, name),
        )

    async def stream_session_events(
        self,
        session_id: str,
        *,
        after: int = 0,
        run_id: str | Iterable[str] | None = None,
        type: EventType | str | Iterable[EventType | str] | None = None,  # noqa: A002 - the event's name
        since: datetime | int | None = None,
        before: int | None = None,
        limit: int | None = None,
        wait_timeout_ms: float | None = None,
    ) -> AsyncIterator[Event]:
        """As `SessionManager.stream_session_events`; iterate it with `async for`."""
        scope = self._scope(check_id(session_id, "session_id"), run_id, type, since, before)
        left, start, wait = check_count(limit), _place(after), seconds_of(wait_timeout_ms)
        async with AsyncSubscription(self._services, scope, start, wait) as subscription:
            if left == 0:
                return
            async for event in subscription:
                yield event
                if left is not None:
                    left -= 1
                    if not left:
                        return

    @refusing
    def stream_session(
        self,
        input: Any = None,  # noqa: A002 - the field's name is the argument's
        *,
        event_callback: EventCallback | None = None,
        idle_timeout: IdleTimeout = "configured",
        shutdown_timeout: float | None = None,
        cancel_on_close: bool = True,
        **options: Any,
    ) -> AsyncSessionStream:
        """As `SessionManager.stream_session`; use it with `async with` and `async for`. It does not wait here."""
        given = StreamOptions.of(
            self._services, idle_timeout, shutdown_timeout, cancel_on_close, event_callback
        )
        return AsyncSessionStream(*begun(self._operations, given, AsyncSubscription, input, options))


def _bounded(subscription: Subscription, limit: int | None) -> Iterator[Event]:
    with subscription:
        yield from islice(subscription, limit)


def _place(after: int | None) -> int:
    return 0 if after is None else check_integer(after, "after", least=0)


def _cursor(after: Any) -> int | None:
    return None if isinstance(after, str) and after == "now" else _place(after)


def _naming(name: str | None, auto_ack: bool, takeover: bool) -> Naming | None:
    if name is not None:
        return Naming(check_id(name, "name"), auto_ack, takeover)
    if auto_ack:
        raise invalid("auto_ack", "is for a named subscription: give a name", auto_ack)
    return None


def _max_lag(overflow: Any, max_lag: int | None, name: str | None) -> int | None:
    if not isinstance(overflow, str) or overflow not in ("read_on", "drop"):
        raise invalid("overflow", "must be read_on or drop", overflow)
    if overflow == "read_on":
        if max_lag is not None:
            raise invalid("max_lag", "is for overflow='drop'", max_lag)
        return None
    if name is not None:
        raise AsmError(
            ErrorCode.INVALID_OPERATION, "a named subscription misses nothing: it cannot have overflow='drop'"
        )
    return MAX_LAG if max_lag is None else max_lag
