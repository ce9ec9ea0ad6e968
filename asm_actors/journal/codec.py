"""Between values and stored bytes. The only file that knows the encoding.

::

    record    = version (1 byte) · CRC-32 of the payload (4 bytes) · payload (MessagePack)
    segment   = a record that holds all events of one append, column by column

1. Nothing is decoded before its checksum is right.
2. What cannot be read raises ``storage_read_failed`` with the table and the key. What a later version wrote
   raises ``migration_required``.
3. The numbers that stand for event types, and the order of fields in a record, are stored: they only ever grow
   at the end.

Columns make a segment cheap: ``zip`` splits the drafts in C, a column of equal values shrinks to that one value,
columns that are mostly absent go into a map at the end, and an event's id, sequence number and position follow
from those of the first one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from operator import attrgetter
from threading import local
from typing import Any, Final, NamedTuple, NoReturn
from zlib import crc32

import msgpack

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import SCHEMA_VERSION, Event, EventType
from asm_actors.ids import event_id
from asm_actors.journal.append import Draft, Packed
from asm_actors.journal.query import EventFilter
from asm_actors.journal.store import RECORD_VERSION
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.session import Session, SessionStatus

# fmt: off
__all__ = [
    "Buffer", "Columns", "Segment", "columns_of", "event_ids_of", "events_of", "pack_drafts", "pack_run",
    "pack_segment", "pack_session", "pack_values", "refuse_version", "seal_segment", "unpack_drafts",
    "unpack_run", "unpack_segment", "unpack_session", "unpack_values", "unreadable",
]
# fmt: on

Buffer = bytes | memoryview
"""Stored bytes, or a view of them that is valid while its transaction is."""

Columns = tuple[tuple[Any, ...], ...]

_PREFIX: Final = struct.Struct(">BI")

# fmt: off
# The order of these names is stored: new ones go at the end.
_TYPES: Final = tuple(EventType(name) for name in (
    "session_created", "session_started", "session_paused", "session_resumed", "session_completed",
    "session_failed", "session_cancelled", "run_started", "run_completed", "run_failed", "run_cancelled",
    "run_timeout", "message_sent", "message_received", "message_streamed", "tool_call_started",
    "tool_call_completed", "tool_call_failed", "error_occurred", "error_recovered", "token_usage_updated",
    "turn_completed", "workspace_snapshot_taken", "workspace_diff_computed", "policy_violation",
    "tool_approval_requested", "tool_approval_granted", "tool_approval_denied", "run_recovered", "run_interrupted",
    "session_forked", "session_deleted",
))
_SESSION_FIELDS: Final = (
    "id", "agent_id", "status", "parent_session_id", "metadata", "context", "tags", "created_us", "updated_us",
    "deleted_us", "provider", "idempotency_key", "last_sequence", "forked_at",
)
_RUN_FIELDS: Final = (
    "id", "session_id", "status", "input", "output", "error", "metadata", "turn_count", "token_usage", "cost_usd",
    "created_us", "started_us", "ended_us", "provider", "provider_metadata", "idempotency_key", "attempt", "options",
    "recoveries", "from_sequence",
)
# fmt: on
_CODES: Final = {type_: code for code, type_ in enumerate(_TYPES)}

# A segment is an array of eleven values, the last nine of which (its body) are packed before the others are known.
_SEGMENT: Final = b"\x9b"
_BODY: Final = b"\x99"

_METADATA: Final = 0
_CORRELATIONS: Final = 1
_IDS: Final = 2


class _Packers(local):
    """One packer per thread: making one costs more than packing a small record, and it must not be shared."""

    def __init__(self) -> None:
        self.pack: Callable[[Any], bytes] = msgpack.Packer().pack


_PACKERS: Final = _Packers()


class Segment(NamedTuple):
    """The events of one append, in columns; a column of equal values is that one value."""

    number: int
    first_sequence: int
    base_id: bytes
    codes: bytes | list[str]
    first_us: int
    offsets_us: list[int]
    data: list[dict[str, Any]]
    runs: str | list[str | None] | None
    providers: str | list[str | None] | None
    schema_version: int
    rare: dict[int, Any]


def columns_of(drafts: Sequence[Draft]) -> Columns:
    """Turn drafts (at least one) into one tuple per field.

    Raises:
        ValidationError: one of them is no draft.
    """
    try:
        columns = tuple(zip(*drafts, strict=True))
    except (TypeError, ValueError) as error:
        raise _unstorable("events", error) from error
    if len(columns) != len(Draft._fields):
        raise AsmError(ErrorCode.VALIDATION_ERROR, "an append's events must be drafts")
    return columns


def pack_segment(number: int, first_sequence: int, base_id: int, columns: Columns) -> bytes:
    """Encode the events of one append.

    Args:
        number: the session's number.
        first_sequence: the sequence number of the first event.
        base_id: the block its events are named from.
        columns: what :func:`columns_of` returned.

    Raises:
        ValidationError: an event holds what cannot be stored.
    """
    return seal_segment(number, first_sequence, _pack_body(base_id, columns))


def pack_drafts(base_id: int, drafts: Sequence[Draft]) -> Packed:
    """Encode drafts (at least one) before their place is known; :func:`seal_segment` adds it.

    Raises:
        ValidationError: one of them is no draft, or holds what cannot be stored.
    """
    return Packed(len(drafts), _pack_body(base_id, columns_of(drafts)))


def seal_segment(number: int, first_sequence: int, body: bytes) -> bytes:
    """Make the segment out of an encoded body and its place."""
    pack = _PACKERS.pack
    payload = b"".join((_SEGMENT, pack(number), pack(first_sequence), body))
    return _PREFIX.pack(RECORD_VERSION, crc32(payload)) + payload


def unpack_drafts(packed: Packed) -> Segment:
    """Decode what :func:`pack_drafts` made; the segment's number and first sequence number are 0."""
    return Segment(0, 0, *unpack_values(_BODY + packed.body, "drafts", "packed"))


def _pack_body(base_id: int, columns: Columns) -> bytes:
    types, stamps, runs, data, metadata, providers, correlations, ids = columns
    try:
        first_us = stamps[0]
        rare: dict[int, Any] = {}
        if any(metadata):
            rare[_METADATA] = metadata
        if any(correlations):
            rare[_CORRELATIONS] = _column(correlations)
        if any(ids):
            rare[_IDS] = ids
        body = _PACKERS.pack(
            (
                base_id.to_bytes(16, "big"),
                _coded(types),
                first_us,
                [us - first_us for us in stamps],
                data,
                _column(runs),
                _column(providers),
                SCHEMA_VERSION,
                rare,
            )
        )
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise _unstorable("an event", error) from error
    return body[1:]


def _column(values: tuple[Any, ...]) -> Any:
    first = values[0]
    return first if values.count(first) == len(values) else values


def _coded(types: tuple[EventType, ...]) -> bytes | tuple[str, ...]:
    try:
        return bytes(map(_CODES.__getitem__, types))
    except KeyError:
        # A type that has no number yet is stored by its name, and so is every other one of its segment.
        return tuple(EventType(name).value for name in types)


def unpack_segment(blob: Buffer, table: str, key: object) -> Segment:
    """Decode what :func:`pack_segment` made.

    Raises:
        StorageError: ``storage_read_failed`` or ``migration_required``, naming ``table`` and ``key``.
    """
    values = _open(blob, table, key)
    try:
        segment = Segment(*values)
        if not len(segment.codes) == len(segment.offsets_us) == len(segment.data):
            raise ValueError("the columns differ in length")
    except (TypeError, ValueError) as error:
        raise unreadable(table, key, str(error)) from error
    return segment


def events_of(
    segment: Segment,
    session_id: str,
    first_position: int,
    within: tuple[int, int],
    wanted: EventFilter,
) -> list[Event]:
    """Make the wanted events of a segment.

    Args:
        segment: the decoded segment.
        session_id: whose events these are.
        first_position: the position of the segment's first event.
        within: the first place in the segment to look at, from 0, and the one to stop before.
        wanted: what else must hold; its ``after``, ``before`` and ``limit`` are not looked at.
    """
    number_of_events = len(segment.codes)
    places: Sequence[int] = range(max(within[0], 0), min(within[1], number_of_events))
    runs = _spread(segment.runs, number_of_events)
    providers = _spread(segment.providers, number_of_events)
    correlations = _spread(segment.rare.get(_CORRELATIONS), number_of_events)
    types = _types(segment.codes)
    first_us, offsets = segment.first_us, segment.offsets_us
    if not wanted.takes_all:
        places = [
            k
            for k in places
            if (wanted.types is None or types[k] in wanted.types)
            and (wanted.run_ids is None or runs[k] in wanted.run_ids)
            and (wanted.since is None or first_us + offsets[k] >= wanted.since)
            and (wanted.until is None or first_us + offsets[k] <= wanted.until)
            and (wanted.providers is None or providers[k] in wanted.providers)
            and (wanted.correlation_id is None or correlations[k] == wanted.correlation_id)
        ]
    metadata = segment.rare.get(_METADATA)
    ids = segment.rare.get(_IDS)
    base = int.from_bytes(segment.base_id, "big")
    first = segment.first_sequence
    return [
        Event(
            (ids and ids[k]) or event_id(base, k),
            types[k],
            first_us + offsets[k],
            session_id,
            runs[k],
            first + k,
            segment.data[k],
            metadata[k] if metadata else {},
            segment.schema_version,
            providers[k],
            correlations[k],
            first_position + k,
        )
        for k in places
    ]


def event_ids_of(segment: Segment) -> list[str]:
    """Return the ids of a segment's events, in order."""
    base = int.from_bytes(segment.base_id, "big")
    ids = segment.rare.get(_IDS) or (None,) * len(segment.codes)
    return [own or event_id(base, k) for k, own in enumerate(ids)]


def _spread(column: Any, length: int) -> Sequence[Any]:
    return column if isinstance(column, list) else (column,) * length


def _types(codes: bytes | list[str]) -> Sequence[EventType]:
    if isinstance(codes, bytes):
        return [_TYPES[code] for code in codes]
    return [EventType(name) for name in codes]


def _record_codec(
    names: Sequence[str], build: Callable[[dict[str, Any]], Any]
) -> tuple[Callable[[Any], bytes], Callable[[Buffer, str, object], Any]]:
    """Make the pair of functions that encode and decode one kind of record."""
    read = attrgetter(*names)

    def pack(record: Any) -> bytes:
        try:
            payload = _PACKERS.pack(read(record))
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise _unstorable(f"the record of {getattr(record, 'id', record)!r:.80}", error) from error
        return _PREFIX.pack(RECORD_VERSION, crc32(payload)) + payload

    def unpack(blob: Buffer, table: str, key: object) -> Any:
        values = _open(blob, table, key)
        if len(values) > len(names):
            raise unreadable(table, key, f"it has {len(values)} fields, and this release knows {len(names)}")
        try:
            # A record of an earlier version has fewer fields: the class gives the others their defaults.
            return build(dict(zip(names, values, strict=False)))
        except (TypeError, ValueError, KeyError) as error:
            raise unreadable(table, key, str(error)) from error

    return pack, unpack


def _session(fields: dict[str, Any]) -> Session:
    fields["status"] = SessionStatus(fields["status"])
    fields["tags"] = tuple(fields["tags"])
    return Session(**fields)


def _run(fields: dict[str, Any]) -> Run:
    fields["status"] = RunStatus(fields["status"])
    return Run(**fields)


pack_session: Callable[[Session], bytes]
unpack_session: Callable[[Buffer, str, object], Session]
pack_session, unpack_session = _record_codec(_SESSION_FIELDS, _session)

pack_run: Callable[[Run], bytes]
unpack_run: Callable[[Buffer, str, object], Run]
pack_run, unpack_run = _record_codec(_RUN_FIELDS, _run)


def pack_values(values: Any) -> bytes:
    """Encode plain values, without version or checksum."""
    return _PACKERS.pack(values)


def unpack_values(payload: Buffer, table: str, key: object) -> Any:
    """Decode what :func:`pack_values` made.

    Raises:
        StorageError: ``storage_read_failed``, naming ``table`` and ``key``.
    """
    try:
        return msgpack.unpackb(payload, strict_map_key=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise unreadable(table, key, str(error)) from error


def _open(blob: Buffer, table: str, key: object) -> Any:
    """Check a record's version and checksum, and return its values."""
    if len(blob) <= _PREFIX.size:
        raise unreadable(table, key, "it is cut short")
    version, checksum = _PREFIX.unpack_from(blob)
    if version != RECORD_VERSION:
        refuse_version(version, table, key)
    payload = memoryview(blob)[_PREFIX.size :]
    if crc32(payload) != checksum:
        raise unreadable(table, key, "its checksum is wrong")
    return unpack_values(payload, table, key)


def refuse_version(version: int, table: str, key: object) -> NoReturn:
    """Raise for a record of another version: ``migration_required`` if it is a later one."""
    if version > RECORD_VERSION:
        raise AsmError(
            ErrorCode.MIGRATION_REQUIRED,
            f"the record {_shown(key)} in {table} has version {version}, and this release reads up to "
            f"{RECORD_VERSION}: use the release that wrote it, or a later one",
            details={"table": table, "key": _shown(key), "version": version},
        )
    raise unreadable(table, key, f"there is no version {version}")


def unreadable(table: str, key: object, why: str) -> AsmError:
    """Make the error for a record that cannot be read."""
    return AsmError(
        ErrorCode.STORAGE_READ_FAILED,
        f"the record {_shown(key)} in {table} cannot be read: {why}",
        details={"table": table, "key": _shown(key), "reason": why},
    )


def _shown(key: object) -> str:
    return bytes(key).hex() if isinstance(key, bytes | memoryview) else str(key)


def _unstorable(what: str, error: Exception) -> AsmError:
    return AsmError(
        ErrorCode.VALIDATION_ERROR,
        f"{what} cannot be stored: {error}",
        details={"original_exception": type(error).__name__},
    )
