"""Between values and stored bytes: which field stands where.

::

    record    = version · checksum · payload (see ``packing``)
    segment   = a record that holds all events of one append, column by column

1. Nothing is decoded before its checksum is right.
2. What cannot be read raises ``storage_read_failed`` with the table and the key. What a later version wrote
   raises ``migration_required``.
3. The numbers that stand for event types, and the order of fields in a record, are stored: they only ever grow
   at the end.

An event that was erased leaves the type :data:`HOLE` at its place and nothing else (``holes``); a payload that is too
large for its block is named by its digest at the end (``large``).

Columns make a segment cheap: ``zip`` splits the drafts in C, a column of equal values shrinks to that one value,
columns that are mostly absent go into a map at the end, and an event's id, sequence number and position follow
from those of the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import SCHEMA_VERSION, Event, EventType
from asm_actors.ids import event_id
from asm_actors.journal.append import Draft, Packed
from asm_actors.journal.cursors import NamedCursor
from asm_actors.journal.large import LARGE_FROM, LargeValues, thin_data
from asm_actors.journal.packing import (
    PACKERS,
    UNPACKING_ERRORS,
    Buffer,
    fetch_value,
    pack_values,
    payload_of,
    refuse_version,
    seal,
    unpack_record,
    unpack_values,
    unreadable,
    value_reader,
)
from asm_actors.journal.query import EventFilter
from asm_actors.journal.record_codec import record_codec, unstorable
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.session import Session, SessionStatus

# fmt: off
__all__ = [
    "HOLE", "Buffer", "Columns", "Segment", "columns_of", "event_ids_of", "events_of", "has_holes",
    "pack_cursor", "pack_drafts", "pack_run", "pack_segment", "pack_session", "pack_values", "peek_segments",
    "refuse_version", "seal_segment", "type_mask", "unpack_cursor", "unpack_drafts", "unpack_run",
    "unpack_segment", "unpack_session", "unpack_values", "unreadable",
]
# fmt: on

Columns = tuple[tuple[Any, ...], ...]

# fmt: off
# The order of these names is stored: new ones go at the end.
_TYPES: Final = tuple(EventType(name) for name in (
    "session_created", "session_started", "session_paused", "session_resumed", "session_completed",
    "session_failed", "session_cancelled", "run_started", "run_completed", "run_failed", "run_cancelled",
    "run_timeout", "message_sent", "message_received", "message_streamed", "tool_call_started",
    "tool_call_completed", "tool_call_failed", "error_occurred", "error_recovered", "token_usage_updated",
    "turn_completed", "workspace_snapshot_taken", "workspace_diff_computed", "policy_violation",
    "tool_approval_requested", "tool_approval_granted", "tool_approval_denied", "run_recovered", "run_interrupted",
    "session_forked", "session_deleted", "run_paused", "run_resumed", "transcript_compacted",
))
_SESSION_FIELDS: Final = (
    "id", "agent_id", "status", "parent_session_id", "metadata", "context", "tags", "created_us", "updated_us",
    "deleted_us", "provider", "idempotency_key", "last_sequence", "forked_at", "options",
)
_RUN_FIELDS: Final = (
    "id", "session_id", "status", "input", "output", "error", "metadata", "turn_count", "token_usage", "cost_usd",
    "created_us", "started_us", "ended_us", "provider", "provider_metadata", "idempotency_key", "attempt", "options",
    "recoveries", "from_sequence", "details",
)
_CURSOR_FIELDS: Final = ("name", "scope", "cursor", "created_us", "updated_us")
# fmt: on
_CODES: Final = {type_: code for code, type_ in enumerate(_TYPES)}
_OTHER: Final = 63

HOLE: Final = 62
"""Stands for the type of an event that was erased; in a segment that spells its types out, an empty name does."""

_HOLE_BYTE: Final = bytes((HOLE,))

# A segment is an array of eleven values, the last nine of which (its body) are packed before the others are known.
_SEGMENT: Final = b"\x9b"
_BODY: Final = b"\x99"

_METADATA: Final = 0
_CORRELATIONS: Final = 1
_IDS: Final = 2
_LARGE: Final = 3


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
        raise unstorable("events", error) from error
    if len(columns) != len(Draft._fields):
        raise AsmError(ErrorCode.VALIDATION_ERROR, "an append's events must be drafts")
    return columns


def pack_segment(
    number: int, first_sequence: int, base_id: int, columns: Columns, large: LargeValues | None = None
) -> bytes:
    """Encode the events of one append.

    Args:
        number: the session's number.
        first_sequence: the sequence number of the first event.
        base_id: the block its events are named from.
        columns: what :func:`columns_of` returned.
        large: takes up payloads that are too large to stand in the segment; None: all stand in it.

    Raises:
        ValidationError: an event holds what cannot be stored.
    """
    return seal_segment(number, first_sequence, _pack_body(base_id, columns, large))


def pack_drafts(base_id: int, drafts: Sequence[Draft]) -> Packed:
    """Encode drafts (at least one) before their place is known; :func:`seal_segment` adds it.

    Raises:
        ValidationError: one of them is no draft, or holds what cannot be stored.
    """
    large: LargeValues = {}
    body = _pack_body(base_id, columns_of(drafts), large)
    return Packed(len(drafts), body, large or None)


def seal_segment(number: int, first_sequence: int, body: bytes) -> bytes:
    """Make the segment out of an encoded body and its place."""
    pack = PACKERS.pack
    payload = b"".join((_SEGMENT, pack(number), pack(first_sequence), body))
    return seal(payload)


def unpack_drafts(packed: Packed) -> Segment:
    """Decode what :func:`pack_drafts` made; the segment's number and first sequence number are 0."""
    segment = Segment(0, 0, *unpack_values(_BODY + packed.body, "drafts", "packed"))
    for k, digest in segment.rare.pop(_LARGE, {}).items():
        segment.data[k] = unpack_values((packed.large or {})[digest], "drafts", "large")
    return segment


def _pack_body(base_id: int, columns: Columns, large: LargeValues | None) -> bytes:
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
        head = (base_id.to_bytes(16, "big"), _coded(types), first_us, [us - first_us for us in stamps])
        tail = (_column(runs), _column(providers), SCHEMA_VERSION, rare)
        body = PACKERS.pack((*head, data, *tail))
        if len(body) > LARGE_FROM and large is not None:
            thin, places = thin_data(data, large)
            if places:
                rare[_LARGE] = places
                body = PACKERS.pack((*head, thin, *tail))
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise unstorable("an event", error) from error
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
    values = unpack_record(blob, table, key)
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
    if has_holes(segment):
        places = [k for k in places if segment.codes[k] not in (HOLE, "")]
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
    data = segment.data
    if large := segment.rare.get(_LARGE):
        # Only what is wanted is fetched.
        for k in large.keys() & places:
            data[k] = fetch_value(large[k])
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
            data[k],
            metadata[k] if metadata else {},
            segment.schema_version,
            providers[k],
            correlations[k],
            first_position + k,
        )
        for k in places
    ]


def has_holes(segment: Segment) -> bool:
    """Tell whether some of a segment's events were erased."""
    codes = segment.codes
    return (HOLE if isinstance(codes, bytes) else "") in codes


def event_ids_of(segment: Segment) -> list[str]:
    """Return the ids of a segment's events, in order; an erased one has an empty id."""
    base = int.from_bytes(segment.base_id, "big")
    ids = segment.rare.get(_IDS) or (None,) * len(segment.codes)
    if has_holes(segment):
        return [
            "" if code in (HOLE, "") else ids[k] or event_id(base, k) for k, code in enumerate(segment.codes)
        ]
    return [own or event_id(base, k) for k, own in enumerate(ids)]


def type_mask(types: Iterable[EventType | str]) -> int:
    """Return the bits of event types; those without a number share one."""
    mask = 0
    for type_ in types:
        mask |= 1 << _CODES.get(type_, _OTHER)  # type: ignore[arg-type]  # a name is as good as its member
    return mask


def peek_segments(
    blobs: Iterable[Buffer], table: str, key: object
) -> Iterator[tuple[int, int, int, Any, Any]]:
    """Yield of each segment the bits of its types, its earliest and latest time, its providers and correlation ids.

    What its events tell is passed over, not decoded: this costs a tenth of :func:`unpack_segment`.

    Raises:
        StorageError: as :func:`unpack_segment`.
    """
    unpacker = value_reader()
    unpack, skip = unpacker.unpack, unpacker.skip
    for blob in blobs:
        unpacker.feed(payload_of(blob, table, key))
        try:
            unpacker.read_array_header()
            skip(), skip(), skip()
            codes, first_us, offsets = unpack(), unpack(), unpack()
            skip(), skip()
            providers = unpack()
            skip()
            correlations = None
            for _ in range(unpacker.read_map_header()):
                if unpack() == _CORRELATIONS:
                    correlations = unpack()
                else:
                    skip()
            mask = 0
            for code in set(codes):
                mask |= 1 << (code if type(code) is int else _CODES.get(code, _OTHER))
            yield mask, first_us + min(offsets), first_us + max(offsets), providers, correlations
        except UNPACKING_ERRORS as error:
            raise unreadable(table, key, str(error)) from error


def _spread(column: Any, length: int) -> Sequence[Any]:
    return column if isinstance(column, list) else (column,) * length


def _types(codes: bytes | list[str]) -> Sequence[EventType]:
    if isinstance(codes, bytes):
        return [_TYPES[code] for code in codes.replace(_HOLE_BYTE, b"\0")]
    return [EventType(name or _TYPES[0]) for name in codes]


def _session(fields: dict[str, Any]) -> Session:
    fields["status"] = SessionStatus(fields["status"])
    fields["tags"] = tuple(fields["tags"])
    return Session(**fields)


def _run(fields: dict[str, Any]) -> Run:
    fields["status"] = RunStatus(fields["status"])
    return Run(**fields)


pack_session: Callable[..., bytes]
unpack_session: Callable[[Buffer, str, object], Session]
pack_session, unpack_session = record_codec(_SESSION_FIELDS, _session)

pack_run: Callable[..., bytes]
unpack_run: Callable[[Buffer, str, object], Run]
pack_run, unpack_run = record_codec(_RUN_FIELDS, _run)

pack_cursor: Callable[[NamedCursor], bytes]
unpack_cursor: Callable[[Buffer, str, object], NamedCursor]
pack_cursor, unpack_cursor = record_codec(_CURSOR_FIELDS, lambda fields: NamedCursor(**fields))
