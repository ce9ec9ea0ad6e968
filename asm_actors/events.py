"""The facts of the journal.

1. An event tells what happened, in the past tense, and never changes.
2. The store alone gives an event its ``sequence_number`` (1, 2, 3 ... in its session) and its ``position``
   (1, 2, 3 ... in the journal).
3. A payload of an unusual shape is kept and flagged (:func:`shape_warnings`), never dropped: what happened,
   happened. Only what cannot be an event at all is refused (:func:`validate`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Self

from attrs import Factory, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import stringify_keys
from asm_actors.serialization import (
    Fields,
    check_id,
    check_optional_id,
    check_time,
    invalid,
    iso_from_us,
    json_map,
    parse_member,
    time_from_us,
)

__all__ = [
    "EVENT_GROUPS",
    "SCHEMA_VERSION",
    "Event",
    "EventGroup",
    "EventType",
    "group_of",
    "parse_event_type",
    "shape_warnings",
    "validate",
]

SCHEMA_VERSION: Final = 1
"""The version of the payload shapes that this code writes."""


class EventGroup(StrEnum):
    """What an event is about."""

    SESSION = "session"
    RUN = "run"
    MESSAGE = "message"
    TOOL = "tool"
    ERROR = "error"
    USAGE = "usage"
    WORKSPACE = "workspace"
    POLICY = "policy"
    APPROVAL = "approval"


class EventType(StrEnum):
    """What happened. The groups stand in :data:`EVENT_GROUPS`."""

    SESSION_CREATED = "session_created"
    SESSION_STARTED = "session_started"
    SESSION_PAUSED = "session_paused"
    SESSION_RESUMED = "session_resumed"
    SESSION_COMPLETED = "session_completed"
    SESSION_FAILED = "session_failed"
    SESSION_CANCELLED = "session_cancelled"
    SESSION_FORKED = "session_forked"
    SESSION_DELETED = "session_deleted"
    TRANSCRIPT_COMPACTED = "transcript_compacted"

    RUN_STARTED = "run_started"
    RUN_COMPLETED = "run_completed"
    RUN_FAILED = "run_failed"
    RUN_CANCELLED = "run_cancelled"
    RUN_TIMEOUT = "run_timeout"
    RUN_RECOVERED = "run_recovered"
    RUN_INTERRUPTED = "run_interrupted"
    RUN_PAUSED = "run_paused"
    RUN_RESUMED = "run_resumed"

    MESSAGE_SENT = "message_sent"
    MESSAGE_RECEIVED = "message_received"
    MESSAGE_STREAMED = "message_streamed"

    TOOL_CALL_STARTED = "tool_call_started"
    TOOL_CALL_COMPLETED = "tool_call_completed"
    TOOL_CALL_FAILED = "tool_call_failed"

    ERROR_OCCURRED = "error_occurred"
    ERROR_RECOVERED = "error_recovered"

    TOKEN_USAGE_UPDATED = "token_usage_updated"  # noqa: S105 - a token of text, not a secret
    TURN_COMPLETED = "turn_completed"

    WORKSPACE_SNAPSHOT_TAKEN = "workspace_snapshot_taken"
    WORKSPACE_DIFF_COMPUTED = "workspace_diff_computed"

    POLICY_VIOLATION = "policy_violation"

    TOOL_APPROVAL_REQUESTED = "tool_approval_requested"
    TOOL_APPROVAL_GRANTED = "tool_approval_granted"
    TOOL_APPROVAL_DENIED = "tool_approval_denied"


EVENT_GROUPS: Final[Mapping[EventGroup, tuple[EventType, ...]]] = MappingProxyType(
    {
        EventGroup.SESSION: (
            EventType.SESSION_CREATED,
            EventType.SESSION_STARTED,
            EventType.SESSION_PAUSED,
            EventType.SESSION_RESUMED,
            EventType.SESSION_COMPLETED,
            EventType.SESSION_FAILED,
            EventType.SESSION_CANCELLED,
            EventType.SESSION_FORKED,
            EventType.SESSION_DELETED,
            EventType.TRANSCRIPT_COMPACTED,
        ),
        EventGroup.RUN: (
            EventType.RUN_STARTED,
            EventType.RUN_COMPLETED,
            EventType.RUN_FAILED,
            EventType.RUN_CANCELLED,
            EventType.RUN_TIMEOUT,
            EventType.RUN_RECOVERED,
            EventType.RUN_INTERRUPTED,
            EventType.RUN_PAUSED,
            EventType.RUN_RESUMED,
        ),
        EventGroup.MESSAGE: (
            EventType.MESSAGE_SENT,
            EventType.MESSAGE_RECEIVED,
            EventType.MESSAGE_STREAMED,
        ),
        EventGroup.TOOL: (
            EventType.TOOL_CALL_STARTED,
            EventType.TOOL_CALL_COMPLETED,
            EventType.TOOL_CALL_FAILED,
        ),
        EventGroup.ERROR: (EventType.ERROR_OCCURRED, EventType.ERROR_RECOVERED),
        EventGroup.USAGE: (EventType.TOKEN_USAGE_UPDATED, EventType.TURN_COMPLETED),
        EventGroup.WORKSPACE: (EventType.WORKSPACE_SNAPSHOT_TAKEN, EventType.WORKSPACE_DIFF_COMPUTED),
        EventGroup.POLICY: (EventType.POLICY_VIOLATION,),
        EventGroup.APPROVAL: (
            EventType.TOOL_APPROVAL_REQUESTED,
            EventType.TOOL_APPROVAL_GRANTED,
            EventType.TOOL_APPROVAL_DENIED,
        ),
    }
)
"""Every event type, once, under its group."""

_GROUP: Final[Mapping[EventType, EventGroup]] = {
    type_: group for group, types in EVENT_GROUPS.items() for type_ in types
}

# What a reader may rely on in each payload: key and kind. Types that are absent here promise nothing.
_SHAPES: Final[Mapping[EventType, tuple[tuple[str, type], ...]]] = {
    EventType.MESSAGE_RECEIVED: (("content", str), ("role", str)),
    EventType.MESSAGE_STREAMED: (("content", str),),
    EventType.TOOL_CALL_STARTED: (("tool_name", str),),
    EventType.TOOL_CALL_COMPLETED: (("tool_name", str),),
    EventType.TOOL_CALL_FAILED: (("tool_name", str),),
    EventType.TOKEN_USAGE_UPDATED: (("input_tokens", int), ("output_tokens", int)),
    EventType.RUN_COMPLETED: (("stop_reason", str),),
    EventType.ERROR_OCCURRED: (("error_message", str),),
    EventType.POLICY_VIOLATION: (("policy", str), ("kind", str)),
    EventType.TOOL_APPROVAL_REQUESTED: (("tool_name", str), ("policy_name", str)),
    EventType.TOOL_APPROVAL_GRANTED: (("tool_name", str),),
    EventType.TOOL_APPROVAL_DENIED: (("tool_name", str),),
}

_KIND_NAMES: Final = {str: "a string", int: "an integer"}


def group_of(type_: EventType) -> EventGroup:
    """Return the group of an event type."""
    return _GROUP[type_]


def parse_event_type(value: object) -> EventType:
    """Return the event type of that name.

    Raises:
        AsmError: ``validation_error`` if none is given, ``invalid_event_type`` if there is no such type.
    """
    if type(value) is EventType:
        return value
    if value is None:
        raise AsmError(ErrorCode.VALIDATION_ERROR, "type is required", details={"field": "type"})
    return parse_member(EventType, value, ErrorCode.INVALID_EVENT_TYPE)


def shape_warnings(type_: EventType, data: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a payload lacks of the shape its type promises; empty when all is well.

    Args:
        type_: the event's type.
        data: its payload.

    Returns:
        One sentence per unmet promise, such as ``message_received: content must be a string``.
    """
    rules = _SHAPES.get(type_)
    if rules is None:
        return ()
    for key, kind in rules:
        if type(data.get(key)) is not kind:
            break
    else:
        # Nearly every payload is right, so the sentences are only made when one is not.
        return ()
    return tuple(
        f"{type_}: {key} {'must be ' + _KIND_NAMES[kind] if key in data else 'is missing'}"
        for key, kind in rules
        if not isinstance(data.get(key), kind) or isinstance(data.get(key), bool)
    )


@frozen
class Event:
    """One fact of the journal.

    Attributes:
        id: its name, ``evt_`` and 32 hex digits unless the caller chose one.
        type: what happened.
        timestamp_us: when, in microseconds since the epoch; :attr:`timestamp` shows it.
        session_id: the session it belongs to.
        run_id: the run it belongs to, or None for an event of the session itself.
        sequence_number: its place in the session, from 1, or None before it is stored.
        data: its payload, JSON.
        metadata: facts about the event itself, JSON.
        schema_version: the version of the payload's shape.
        provider: who reported it.
        correlation_id: the caller's key that ties it to other work.
        position: its place in the whole journal, from 1, or None before it is stored.
    """

    id: str
    type: EventType
    timestamp_us: int
    session_id: str
    run_id: str | None = None
    sequence_number: int | None = None
    data: dict[str, Any] = Factory(dict)
    metadata: dict[str, Any] = Factory(dict)
    schema_version: int = SCHEMA_VERSION
    provider: str | None = None
    correlation_id: str | None = None
    position: int | None = None

    @classmethod
    def new(
        cls,
        *,
        id: str,  # noqa: A002 - the field's name is the argument's
        now: int,
        type: EventType | str | None = None,  # noqa: A002 - as above
        session_id: str | None = None,
        run_id: str | None = None,
        data: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        provider: str | None = None,
        correlation_id: str | None = None,
    ) -> Self:
        """Check what a caller gives, copy it, and return an event that has no place yet.

        Args:
            id: its name, made or chosen.
            now: microseconds since the epoch.
            type: required, though it has a default: leaving it out is bad input like any other.
            session_id: required likewise.
            run_id: the run it belongs to.
            data: JSON.
            metadata: JSON.
            provider: a provider's name.
            correlation_id: the caller's key.

        Raises:
            ValidationError: a field is missing or malformed; the message names it.
            StateError: ``invalid_event_type``.
        """
        return cls(
            id=check_id(id, "id"),
            type=parse_event_type(type),
            timestamp_us=check_time(now, "now"),
            session_id=check_id(session_id, "session_id"),
            run_id=check_optional_id(run_id, "run_id"),
            data=json_map(data, "data"),
            metadata=json_map(metadata, "metadata"),
            provider=check_optional_id(provider, "provider"),
            correlation_id=check_optional_id(correlation_id, "correlation_id"),
        )

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def timestamp(self) -> datetime:
        """When it happened (aware, UTC)."""
        return time_from_us(self.timestamp_us)

    @property
    def group(self) -> EventGroup:
        """What it is about."""
        return _GROUP[self.type]

    def to_map(self) -> dict[str, Any]:
        """Return the event as a JSON-ready map; the time is ISO-8601 text in UTC."""
        return {
            "id": self.id,
            "type": self.type.value,
            "timestamp": iso_from_us(self.timestamp_us),
            "session_id": self.session_id,
            "run_id": self.run_id,
            "sequence_number": self.sequence_number,
            "data": stringify_keys(self.data),
            "metadata": stringify_keys(self.metadata),
            "schema_version": self.schema_version,
            "provider": self.provider,
            "correlation_id": self.correlation_id,
            "position": self.position,
        }

    @classmethod
    def from_map(cls, value: Any) -> Self:
        """Read what :meth:`to_map` wrote. ``id type timestamp session_id schema_version`` are required.

        Raises:
            ValidationError: the map, or a field in it, is missing or malformed.
            StateError: ``invalid_event_type``.
        """
        return cls(**cls._read(Fields(value, "event")))

    @classmethod
    def _read(cls, fields: Fields) -> dict[str, Any]:
        return {
            "id": fields.id("id"),
            "type": fields.member("type", EventType, ErrorCode.INVALID_EVENT_TYPE),
            "timestamp_us": fields.time("timestamp"),
            "session_id": fields.id("session_id"),
            "run_id": fields.optional_id("run_id"),
            # An in-memory stream counts from 0, the journal from 1; both may be written to a map.
            "sequence_number": fields.optional_integer("sequence_number", least=0),
            "data": fields.map("data"),
            "metadata": fields.map("metadata"),
            "schema_version": fields.integer("schema_version", least=1),
            "provider": fields.optional_id("provider"),
            "correlation_id": fields.optional_id("correlation_id"),
            "position": fields.optional_integer("position", least=1),
        }


def validate(event: Event) -> None:
    """Check that an event built with the bare constructor is one at all.

    Raises:
        ValidationError: a name, the time, or a payload is malformed, or the payload is not JSON.
        StateError: ``invalid_event_type``.
    """
    check_id(event.id, "id")
    parse_event_type(event.type)
    check_id(event.session_id, "session_id")
    check_optional_id(event.run_id, "run_id")
    check_optional_id(event.provider, "provider")
    check_optional_id(event.correlation_id, "correlation_id")
    check_time(event.timestamp_us, "timestamp")
    for field, payload in (("data", event.data), ("metadata", event.metadata)):
        if not isinstance(payload, dict):
            raise invalid(field, "must be a map", payload)
        json_map(payload, field)
