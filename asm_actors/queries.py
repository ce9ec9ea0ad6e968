"""`system.queries`: find sessions, runs and events, sum up, export.

The operations are defined once; the two surfaces get them blocking and awaited. Each checks what it is asked at once,
and reads where it is waited for: on the caller's thread, or off the caller's event loop. Nothing here sends a message
or waits for an actor, so a long search holds up nobody.

Pages hold up to 1000 items, or fewer where the system is configured so (`max_query_limit`). A page has a cursor unless
it is empty: given back with the same filters and the same order it leads to the next page. Items that are added or
taken away meanwhile neither repeat nor hide others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from asm_actors.events import Event, EventType
from asm_actors.faces import awaited, blocking
from asm_actors.journal.pricing import CostSummary, PricingTable
from asm_actors.journal.query import EventFilter
from asm_actors.journal.search import (
    EventSearch,
    EventsFound,
    RunSearch,
    RunsFound,
    SessionSearch,
    SessionsFound,
)
from asm_actors.journal.store import Store
from asm_actors.journal.usage import RunSelection, SessionStats, UsageSummary
from asm_actors.maintenance.artifact import Artifact
from asm_actors.runs.run import Run, RunStatus
from asm_actors.serialization import check_id, invalid
from asm_actors.services import Services
from asm_actors.sessions.carrying import Carrying
from asm_actors.sessions.session import Session, SessionStatus
from supervisors import Future

__all__ = ["AsyncQueries", "Queries", "SessionExport"]

_LOOKS: Final = 8
"""How often an export looks for a moment at which a session's record and its runs stand still."""

Names = str | Iterable[str] | None
Instant = datetime | int | None


@frozen
class SessionExport:
    """All of one session.

    Attributes:
        session: its record.
        runs: its runs, in the order of their creation.
        events: its history up to the record's ``last_sequence``; a fork's begins with its parent's.
        artifacts: the records of its artifacts, or None if they were not asked for.
    """

    session: Session
    runs: tuple[Run, ...]
    events: tuple[Event, ...]
    artifacts: tuple[Artifact, ...] | None = None

    def to_map(self) -> dict[str, Any]:
        """Return a JSON-ready map; ``artifacts`` is left out if they were not asked for."""
        found: dict[str, Any] = {
            "session": self.session.to_map(),
            "runs": [run.to_map() for run in self.runs],
            "events": [event.to_map() for event in self.events],
        }
        if self.artifacts is not None:
            found["artifacts"] = [artifact.to_map() for artifact in self.artifacts]
        return found


class QueryOperations(Carrying):
    """The operations; see the module. Values out; what cannot be asked raises an `AsmError`."""

    def search_sessions(
        self,
        *,
        agent_id: str | None = None,
        status: SessionStatus | str | Iterable[SessionStatus | str] | None = None,
        provider: str | None = None,
        tags: Names = None,
        created_after: Instant = None,
        created_before: Instant = None,
        include_deleted: bool = False,
        order_by: str = "updated_at_desc",
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Future[SessionsFound]:
        """Find sessions. Everything given must hold.

        Args:
            agent_id: The agent they talk to.
            status: One status or several, of which one must hold.
            provider: The provider of the session itself or of one of its runs.
            tags: Labels they must all have.
            created_after: Made at this instant or later: an aware ``datetime``, or microseconds since the epoch.
            created_before: Made at this instant or earlier.
            include_deleted: Softly deleted ones too.
            order_by: ``updated_at_desc``, ``created_at_asc`` or ``created_at_desc``; anything else stands for the
                first.
            limit: At most so many, from 1 up to the largest page; by default as the system is configured.
            cursor: Of the page before.

        Returns:
            ``sessions``, ``cursor``, and ``total_count`` of all pages.

        Raises:
            ValidationError: A filter or the limit is malformed.
            StateError: ``invalid_status``, ``invalid_cursor``.
        """
        search = SessionSearch(
            agent_id=agent_id,
            status=status,
            provider=provider,
            tags=tags,
            created_after=created_after,
            created_before=created_before,
            include_deleted=include_deleted,
            order_by=order_by,
            limit=self._limit(limit, self._services.config.default_session_query_limit),
            cursor=cursor,
        )
        return self._read(lambda: self._services.store.search_sessions(search))

    def get_session_stats(self, session_id: str) -> Future[SessionStats]:
        """Sum up one session: events, runs, tokens, providers, times.

        Raises:
            ResourceError: ``session_not_found``.
        """
        session_id = check_id(session_id, "session_id")
        return self._read(lambda: self._services.store.session_stats(session_id))

    def search_runs(
        self,
        *,
        session_id: str | None = None,
        provider: str | None = None,
        status: RunStatus | str | Iterable[RunStatus | str] | None = None,
        started_after: Instant = None,
        started_before: Instant = None,
        min_tokens: int | None = None,
        order_by: str = "started_at_desc",
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Future[RunsFound]:
        """Find runs. Everything given must hold.

        Args:
            session_id: The session they belong to.
            provider: The provider that executes them.
            status: One status or several, of which one must hold.
            started_after: Started at this instant or later: an aware ``datetime``, or microseconds since the epoch. A
                run that has not started counts by when it was asked for.
            started_before: Started at this instant or earlier.
            min_tokens: Used at least so many tokens, input and output together.
            order_by: ``started_at_desc``, ``started_at_asc`` or ``token_usage_desc``; anything else stands for the
                first.
            limit: At most so many, from 1 up to the largest page; by default as the system is configured.
            cursor: Of the page before; ``token_usage_desc`` has none.

        Raises:
            ValidationError: A filter or the limit is malformed.
            StateError: ``invalid_status``, ``invalid_cursor``.
            StorageError: ``query_error``: `min_tokens` is no integer of at least 0.
        """
        search = RunSearch(
            session_id=session_id,
            provider=provider,
            status=status,
            started_after=started_after,
            started_before=started_before,
            min_tokens=min_tokens,
            order_by=order_by,
            limit=self._limit(limit, self._services.config.default_run_query_limit),
            cursor=cursor,
        )
        return self._read(lambda: self._services.store.search_runs(search))

    def get_usage_summary(
        self,
        *,
        session_id: str | None = None,
        provider: str | None = None,
        since: Instant = None,
        until: Instant = None,
    ) -> Future[UsageSummary]:
        """Sum up what runs used, in all and by provider.

        Args:
            session_id: Runs of this session.
            provider: Runs of this provider.
            since: Started at this instant or later: an aware ``datetime``, or microseconds since the epoch.
            until: Started at this instant or earlier.

        Raises:
            ValidationError: A filter is malformed.
        """
        selection = RunSelection(session_id=session_id, provider=provider, since=since, until=until)
        return self._read(lambda: self._services.store.usage_summary(selection))

    def get_cost_summary(
        self,
        *,
        session_id: str | None = None,
        agent_id: str | None = None,
        provider: str | None = None,
        since: Instant = None,
        until: Instant = None,
        pricing_table: PricingTable | Mapping[str, Any] | None = None,
    ) -> Future[CostSummary]:
        """Sum up what runs cost in US dollars, in all, by provider and by model.

        Args:
            session_id: Runs of this session.
            agent_id: Runs of sessions with this agent.
            provider: Runs of this provider.
            since: Started at this instant or later: an aware ``datetime``, or microseconds since the epoch.
            until: Started at this instant or earlier.
            pricing_table: For runs whose cost was not recorded: ``{provider: {model: {"input": …, "output": …}}}`` in
                US dollars per token; see `PricingTable.of`. By default that of the system. Runs for which it has no
                rates are counted as unmapped.

        Raises:
            ValidationError: A filter or the table is malformed.
        """
        selection = RunSelection(
            session_id=session_id, agent_id=agent_id, provider=provider, since=since, until=until
        )
        pricing = self._services.pricing if pricing_table is None else PricingTable.of(pricing_table)
        return self._read(lambda: self._services.store.cost_summary(selection, pricing))

    def search_events(
        self,
        *,
        session_ids: Names = None,
        run_ids: Names = None,
        types: EventType | str | Iterable[EventType | str] | None = None,
        providers: Names = None,
        since: Instant = None,
        until: Instant = None,
        correlation_id: str | None = None,
        order_by: str = "sequence_asc",
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Future[EventsFound]:
        """Find events. Everything given must hold.

        Args:
            session_ids: Events of these sessions (one id or several); a fork's events are its own.
            run_ids: Events of these runs.
            types: Events of these types.
            providers: Events reported by these providers.
            since: Events of this instant or later: an aware ``datetime``, or microseconds since the epoch.
            until: Events of this instant or earlier.
            correlation_id: Events with this correlation id.
            order_by: ``sequence_asc`` (as they were written), ``timestamp_asc`` or ``timestamp_desc``; anything else
                stands for the first.
            limit: At most so many, from 1 up to the largest page; by default as the system is configured.
            cursor: Of the page before.

        Raises:
            ValidationError: A filter or the limit is malformed.
            StateError: ``invalid_event_type``, ``invalid_cursor``.
        """
        search = EventSearch(
            session_ids=session_ids,
            run_ids=run_ids,
            types=types,
            providers=providers,
            since=since,
            until=until,
            correlation_id=correlation_id,
            order_by=order_by,
            limit=self._limit(limit, self._services.config.default_event_query_limit),
            cursor=cursor,
        )
        return self._read(lambda: self._services.store.search_events(search))

    def count_events(
        self,
        *,
        session_ids: Names = None,
        run_ids: Names = None,
        types: EventType | str | Iterable[EventType | str] | None = None,
        providers: Names = None,
        since: Instant = None,
        until: Instant = None,
        correlation_id: str | None = None,
    ) -> Future[int]:
        """Count events; the filters are those of `search_events`.

        Raises:
            ValidationError: A filter is malformed.
            StateError: ``invalid_event_type``.
        """
        search = EventSearch(
            session_ids=session_ids,
            run_ids=run_ids,
            types=types,
            providers=providers,
            since=since,
            until=until,
            correlation_id=correlation_id,
        )
        return self._read(lambda: self._services.store.count_events(search))

    def export_session(self, session_id: str, *, include_artifacts: bool = False) -> Future[SessionExport]:
        """Return all of one session.

        Args:
            session_id: Which session; softly deleted ones too.
            include_artifacts: Also the records of its artifacts, not their bytes.

        Raises:
            ResourceError: ``session_not_found``.
        """
        session_id = check_id(session_id, "session_id")
        return self._read(lambda: _export(self._services.store, session_id, with_artifacts=include_artifacts))

    def _limit(self, limit: int | None, default: int) -> int:
        most = self._services.config.max_query_limit
        if limit is None:
            return min(default, most)
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= most:
            raise invalid("limit", f"must be an integer from 1 to {most}", limit)
        return limit


def _export(store: Store, session_id: str, *, with_artifacts: bool) -> SessionExport:
    session, runs = store.session(session_id), store.runs(session_id)
    for _ in range(_LOOKS):
        # A session at work goes on meanwhile; its record and its runs should be of one moment.
        again = store.session(session_id)
        if again == session:
            break
        session, runs = again, store.runs(session_id)
    events = store.read_session(session_id, EventFilter(before=session.last_sequence + 1))
    artifacts = tuple(store.artifacts(session_id)) if with_artifacts else None
    return SessionExport(session, tuple(runs), tuple(events), artifacts)


class _Surface:
    def __init__(self, services: Services) -> None:
        self._operations = QueryOperations(services)


class Queries(_Surface):
    """The queries, blocking; `ActorSystem.queries` gives it."""

    search_sessions = blocking(QueryOperations.search_sessions)
    get_session_stats = blocking(QueryOperations.get_session_stats)
    search_runs = blocking(QueryOperations.search_runs)
    get_usage_summary = blocking(QueryOperations.get_usage_summary)
    get_cost_summary = blocking(QueryOperations.get_cost_summary)
    search_events = blocking(QueryOperations.search_events)
    count_events = blocking(QueryOperations.count_events)
    export_session = blocking(QueryOperations.export_session)


class AsyncQueries(_Surface):
    """The queries, awaited; `AsyncActorSystem.queries` gives it. See `Queries`."""

    search_sessions = awaited(QueryOperations.search_sessions)
    get_session_stats = awaited(QueryOperations.get_session_stats)
    search_runs = awaited(QueryOperations.search_runs)
    get_usage_summary = awaited(QueryOperations.get_usage_summary)
    get_cost_summary = awaited(QueryOperations.get_cost_summary)
    search_events = awaited(QueryOperations.search_events)
    count_events = awaited(QueryOperations.count_events)
    export_session = awaited(QueryOperations.export_session)
