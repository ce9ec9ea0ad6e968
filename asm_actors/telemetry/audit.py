"""`AuditLog`: who did what when, read from the journal. Nothing is written a second time, so it cannot disagree.

``system.audit`` gives it. Each record is an event with the agent of its session and the statuses of what it is about.
What was said is no part of it: pieces of streams and messages are left out unless they are asked for by type. It is
redacted as the journal is, and as durable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EVENT_GROUPS, Event, EventGroup, EventType
from asm_actors.faces import awaited, blocking
from asm_actors.journal.search import EventSearch
from asm_actors.journal.store import Store
from asm_actors.runs.run import RunStatus
from asm_actors.services import Services
from asm_actors.sessions.carrying import Carrying
from asm_actors.sessions.session import SessionStatus
from supervisors import Future

__all__ = ["AUDIT_TYPES", "AsyncAuditLog", "AuditLog", "AuditPage", "AuditRecord"]

Names = str | Iterable[str] | None
Instant = datetime | int | None

AUDIT_TYPES: Final = frozenset(
    kind for group, kinds in EVENT_GROUPS.items() if group is not EventGroup.MESSAGE for kind in kinds
)
"""The types of an audit log unless others are asked for: all but messages and their pieces."""

# What an event makes of the run, or else of the session, that it is about.
_STATUS: Final[Mapping[EventType, str]] = {
    EventType.SESSION_CREATED: SessionStatus.PENDING,
    EventType.SESSION_FORKED: SessionStatus.PENDING,
    EventType.SESSION_STARTED: SessionStatus.ACTIVE,
    EventType.SESSION_PAUSED: SessionStatus.PAUSED,
    EventType.SESSION_RESUMED: SessionStatus.ACTIVE,
    EventType.SESSION_COMPLETED: SessionStatus.COMPLETED,
    EventType.SESSION_FAILED: SessionStatus.FAILED,
    EventType.SESSION_CANCELLED: SessionStatus.CANCELLED,
    EventType.RUN_STARTED: RunStatus.RUNNING,
    EventType.RUN_COMPLETED: RunStatus.COMPLETED,
    EventType.RUN_FAILED: RunStatus.FAILED,
    EventType.RUN_CANCELLED: RunStatus.CANCELLED,
    EventType.RUN_TIMEOUT: RunStatus.TIMEOUT,
    EventType.RUN_PAUSED: RunStatus.PAUSED,
    EventType.RUN_RESUMED: RunStatus.RUNNING,
}


@frozen
class AuditRecord:
    """One entry.

    Attributes:
        event: What happened.
        agent_id: The agent of its session; None if the session is deleted for good.
        status: What the event made of its run or session; None if it changed no status.
        session_status: How its session stands now.
        run_status: How its run stands now; None for an event of a session itself.
    """

    event: Event
    agent_id: str | None = None
    status: str | None = None
    session_status: str | None = None
    run_status: str | None = None

    def to_map(self) -> dict[str, Any]:
        """Return a JSON-ready map: the event's own, and what is joined to it."""
        return {
            **self.event.to_map(),
            "agent_id": self.agent_id,
            "status": self.status,
            "session_status": self.session_status,
            "run_status": self.run_status,
        }


@frozen
class AuditPage:
    """A page of an audit log.

    Attributes:
        records: In the order that was asked for.
        cursor: For the next page; None if this one is empty.
    """

    records: tuple[AuditRecord, ...]
    cursor: str | None = None

    def to_map(self) -> dict[str, Any]:
        """Return a JSON-ready map."""
        return {"records": [record.to_map() for record in self.records], "cursor": self.cursor}


class AuditOperations(Carrying):
    """The operations; see the module."""

    @property
    def enabled(self) -> bool:
        """Whether there is an audit log at all."""
        return self._services.config.audit_logging_enabled

    def get_audit_log(
        self,
        session_id: Names = None,
        *,
        run_id: Names = None,
        types: EventType | str | Iterable[EventType | str] | None = None,
        since: Instant = None,
        until: Instant = None,
        correlation_id: str | None = None,
        order_by: str = "sequence_asc",
        limit: int = 100,
        cursor: str | None = None,
    ) -> Future[AuditPage]:
        """Read the audit log. Everything given must hold.

        Args:
            session_id: Of this session, or of these; None for all.
            run_id: Of this run, or of these.
            types: Of these types; by default `AUDIT_TYPES`.
            since: Of this instant or later: an aware ``datetime``, or microseconds since the epoch.
            until: Of this instant or earlier.
            correlation_id: With this correlation id.
            order_by: ``sequence_asc`` (as it was written), ``timestamp_asc`` or ``timestamp_desc``; anything else
                stands for the first.
            limit: At most so many, 1 to 1000.
            cursor: Of the page before.

        Raises:
            ValidationError: A filter or the limit is malformed.
            StateError: ``invalid_event_type``, ``invalid_cursor``.
            ConcurrencyError: ``invalid_operation``: the audit log is switched off.
        """
        if not self.enabled:
            raise AsmError(
                ErrorCode.INVALID_OPERATION, "the audit log is switched off: audit_logging_enabled is false"
            )
        search = EventSearch(
            session_ids=session_id,
            run_ids=run_id,
            types=AUDIT_TYPES if types is None else types,
            since=since,
            until=until,
            correlation_id=correlation_id,
            order_by=order_by,
            limit=limit,
            cursor=cursor,
        )
        return self._read(lambda: _page(self._services.store, search))


def _page(store: Store, search: EventSearch) -> AuditPage:
    found = store.search_events(search)
    sessions: dict[str, tuple[str | None, str | None]] = {}
    runs: dict[str, str | None] = {}
    records = []
    for event in found.events:
        if event.session_id not in sessions:
            sessions[event.session_id] = _of_session(store, event.session_id)
        if event.run_id is not None and event.run_id not in runs:
            runs[event.run_id] = _of_run(store, event.run_id)
        agent_id, session_status = sessions[event.session_id]
        run_status = None if event.run_id is None else runs[event.run_id]
        status = _STATUS.get(event.type)
        records.append(
            AuditRecord(event, agent_id, None if status is None else str(status), session_status, run_status)
        )
    return AuditPage(tuple(records), found.cursor)


def _of_session(store: Store, session_id: str) -> tuple[str | None, str | None]:
    try:
        session = store.session(session_id)
    except AsmError as error:
        if error.code is not ErrorCode.SESSION_NOT_FOUND:
            raise
        return None, None  # it was deleted for good since it was found
    return session.agent_id, session.status.value


def _of_run(store: Store, run_id: str) -> str | None:
    try:
        return store.run(run_id).status.value
    except AsmError as error:
        if error.code is not ErrorCode.RUN_NOT_FOUND:
            raise
        return None


class _Surface:
    def __init__(self, services: Services) -> None:
        self._operations = AuditOperations(services)

    @property
    def enabled(self) -> bool:
        """Whether there is an audit log: ``audit_logging_enabled`` of the configuration."""
        return self._operations.enabled


class AuditLog(_Surface):
    """The audit log, blocking; `ActorSystem.audit` gives it."""

    get_audit_log = blocking(AuditOperations.get_audit_log)


class AsyncAuditLog(_Surface):
    """The audit log, awaited; `AsyncActorSystem.audit` gives it. See `AuditLog`."""

    get_audit_log = awaited(AuditOperations.get_audit_log)
