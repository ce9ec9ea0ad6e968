"""The record of a session, and the table of its statuses.

1. Every status change of a session goes through :data:`SESSION_TRANSITIONS`.
2. Records are values: a change makes a new record. The maps inside are never changed in place.
3. What callers give is checked in :meth:`Session.new` and :meth:`Session.from_map`. The bare constructor
   checks nothing, because the actors build records from what was checked before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from attrs import Factory, frozen

from asm_actors.errors import ErrorCode
from asm_actors.jsonable import stringify_keys
from asm_actors.records import replacer
from asm_actors.serialization import (
    Fields,
    check_id,
    check_ids,
    check_optional_id,
    check_time,
    iso_from_us,
    json_map,
    parse_member,
    time_from_us,
)
from asm_actors.transitions import advance, terminal_statuses

__all__ = ["SESSION_TRANSITIONS", "TERMINAL_SESSION_STATUSES", "Session", "SessionStatus"]


class SessionStatus(StrEnum):
    """Where a session stands."""

    PENDING = "pending"
    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


_ENDS = frozenset({SessionStatus.COMPLETED, SessionStatus.FAILED, SessionStatus.CANCELLED})

SESSION_TRANSITIONS: Final[Mapping[SessionStatus, frozenset[SessionStatus]]] = MappingProxyType(
    {
        # A session that never was active has nothing to complete.
        SessionStatus.PENDING: frozenset(
            {SessionStatus.ACTIVE, SessionStatus.FAILED, SessionStatus.CANCELLED}
        ),
        SessionStatus.ACTIVE: _ENDS | {SessionStatus.PAUSED},
        SessionStatus.PAUSED: _ENDS | {SessionStatus.ACTIVE},
        SessionStatus.COMPLETED: frozenset(),
        SessionStatus.FAILED: frozenset(),
        SessionStatus.CANCELLED: frozenset(),
    }
)
"""What each status may change to; the empty set ends the session."""

TERMINAL_SESSION_STATUSES: Final = terminal_statuses(SESSION_TRANSITIONS)
"""The statuses that nothing follows."""


@frozen
class Session:
    """One conversation.

    Attributes:
        id: its name, ``ses_`` and 32 hex digits unless the caller chose one.
        agent_id: the agent it talks to.
        status: where it stands.
        parent_session_id: the session it was forked from or belongs to, if any.
        metadata: the caller's own facts, JSON.
        context: what its runs start from (``system_prompt`` and the like), JSON.
        tags: labels to find it by.
        created_us: when it was made, in microseconds since the epoch; :attr:`created_at` shows it.
        updated_us: when its record last changed; :attr:`updated_at` shows it.
        deleted_us: when it was deleted softly, or None; :attr:`deleted_at` shows it.
        provider: the name of the provider its runs use unless they say otherwise.
        idempotency_key: the caller's key which makes a repeated start the same session.
        last_sequence: the sequence number of its last event, 0 before the first.
        forked_at: for a fork, the last sequence number that it shares with :attr:`parent_session_id`; None: it is none.
        options: what it says about its runs, JSON: see `sessions.options`.
    """

    id: str
    agent_id: str
    status: SessionStatus = SessionStatus.PENDING
    parent_session_id: str | None = None
    metadata: dict[str, Any] = Factory(dict)
    context: dict[str, Any] = Factory(dict)
    tags: tuple[str, ...] = ()
    created_us: int = 0
    updated_us: int = 0
    deleted_us: int | None = None
    provider: str | None = None
    idempotency_key: str | None = None
    last_sequence: int = 0
    forked_at: int | None = None
    options: dict[str, Any] = Factory(dict)

    @classmethod
    def new(
        cls,
        *,
        id: str,  # noqa: A002 - the field's name is the argument's
        now: int,
        agent_id: str | None = None,
        parent_session_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        provider: str | None = None,
        idempotency_key: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Session:
        """Check what a caller asks for, copy it, and return a pending session.

        Args:
            id: its name, made or chosen.
            now: microseconds since the epoch.
            agent_id: required, though it has a default: leaving it out is bad input like any other.
            parent_session_id: the session it belongs to.
            metadata: JSON.
            context: JSON.
            tags: names.
            provider: a provider's name.
            idempotency_key: the caller's key for this start.
            options: JSON.

        Raises:
            ValidationError: a field is missing or malformed; the message names it.
        """
        us = check_time(now, "now")
        return cls(
            id=check_id(id, "id"),
            agent_id=check_id(agent_id, "agent_id"),
            parent_session_id=check_optional_id(parent_session_id, "parent_session_id"),
            metadata=json_map(metadata, "metadata"),
            context=json_map(context, "context"),
            tags=check_ids(tags, "tags"),
            created_us=us,
            updated_us=us,
            provider=check_optional_id(provider, "provider"),
            idempotency_key=check_optional_id(idempotency_key, "idempotency_key"),
            options=json_map(options, "options"),
        )

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def is_terminal(self) -> bool:
        """Whether it is over."""
        return self.status in TERMINAL_SESSION_STATUSES

    @property
    def is_deleted(self) -> bool:
        """Whether it was deleted softly."""
        return self.deleted_us is not None

    @property
    def created_at(self) -> datetime:
        """When it was made (aware, UTC)."""
        return time_from_us(self.created_us)

    @property
    def updated_at(self) -> datetime:
        """When its record last changed (aware, UTC)."""
        return time_from_us(self.updated_us)

    @property
    def deleted_at(self) -> datetime | None:
        """When it was deleted softly (aware, UTC), or None."""
        return None if self.deleted_us is None else time_from_us(self.deleted_us)

    def with_status(self, status: SessionStatus | str, now: int) -> Session:
        """Return this session with another status; the same status returns this very record.

        Args:
            status: the status asked for.
            now: microseconds since the epoch, the new :attr:`updated_us`.

        Raises:
            StateError: ``invalid_transition`` if the table lacks the change, ``invalid_status`` if there is
                no such status.
        """
        if type(status) is not SessionStatus:
            status = parse_member(SessionStatus, status, ErrorCode.INVALID_STATUS)
        if status is self.status:
            return self
        advance(SESSION_TRANSITIONS, self.status, status, "session", self.id)
        return _replace(self, {"status": status, "updated_us": now})

    def replace(self, **changes: Any) -> Session:
        """Return a copy with some fields changed, unchecked: statuses go through :meth:`with_status`."""
        return _replace(self, changes)

    def to_map(self) -> dict[str, Any]:
        """Return the session as a JSON-ready map; times are ISO-8601 text in UTC."""
        return {
            "id": self.id,
            "agent_id": self.agent_id,
            "status": self.status.value,
            "parent_session_id": self.parent_session_id,
            "metadata": stringify_keys(self.metadata),
            "context": stringify_keys(self.context),
            "tags": list(self.tags),
            "created_at": iso_from_us(self.created_us),
            "updated_at": iso_from_us(self.updated_us),
            "deleted_at": None if self.deleted_us is None else iso_from_us(self.deleted_us),
            "provider": self.provider,
            "idempotency_key": self.idempotency_key,
            "last_sequence": self.last_sequence,
            "forked_at": self.forked_at,
            "options": stringify_keys(self.options),
        }

    @classmethod
    def from_map(cls, value: Any) -> Session:
        """Read what :meth:`to_map` wrote. ``id agent_id status created_at updated_at`` are required.

        Raises:
            ValidationError: the map, or a field in it, is missing or malformed.
            StateError: ``invalid_status``.
        """
        fields = Fields(value, "session")
        return cls(
            id=fields.id("id"),
            agent_id=fields.id("agent_id"),
            status=fields.member("status", SessionStatus, ErrorCode.INVALID_STATUS),
            parent_session_id=fields.optional_id("parent_session_id"),
            metadata=fields.map("metadata"),
            context=fields.map("context"),
            tags=fields.ids("tags"),
            created_us=fields.time("created_at"),
            updated_us=fields.time("updated_at"),
            deleted_us=fields.optional_time("deleted_at"),
            provider=fields.optional_id("provider"),
            idempotency_key=fields.optional_id("idempotency_key"),
            last_sequence=fields.integer("last_sequence", least=0, default=0),
            forked_at=fields.optional_integer("forked_at", least=1),
            options=fields.map("options"),
        )


_replace = replacer(Session)
