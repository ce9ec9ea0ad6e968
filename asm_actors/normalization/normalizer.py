"""Turn what providers report into :class:`NormalizedEvent` values, and put such values in order.

Providers differ in names, spelling and completeness. Nothing they say is dropped: what fits the common form
is lifted into it, and the whole original stays in ``data["raw"]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

from attrs import frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType, parse_event_type
from asm_actors.ids import normalized_event_id
from asm_actors.jsonable import jsonable, stringify_keys
from asm_actors.normalization.normalized_event import GENERIC_PROVIDER, NormalizedEvent
from asm_actors.serialization import check_id, invalid, us_from_iso, us_from_time

__all__ = [
    "NormalizationContext",
    "filter_by_run",
    "filter_by_session",
    "filter_by_type",
    "normalize",
    "normalize_batch",
    "resolve_type",
    "sort_events",
    "time_or",
]

_E = TypeVar("_E", bound=Event)

# Fields of a raw event that the common form has too, under the same names.
_LIFTED: Final = ("content", "delta", "role", "tool_name", "tool_input", "tool_output")


@frozen
class NormalizationContext:
    """What a provider does not know about its own events.

    Attributes:
        session_id: the session they belong to.
        run_id: the run they belong to.
        base_id: the 128-bit block from which they are named.
        now: microseconds since the epoch, for events which bring no time of their own.
        provider: who reports them.
        correlation_id: the caller's key that ties them to other work.
    """

    session_id: str
    run_id: str
    base_id: int
    now: int
    provider: str = GENERIC_PROVIDER
    correlation_id: str | None = None


def resolve_type(value: object) -> EventType:
    """Return the event type of that name; anything else is an ``error_occurred``."""
    try:
        return parse_event_type(value)
    except AsmError:
        return EventType.ERROR_OCCURRED


def normalize(
    raw: Mapping[Any, Any],
    context: NormalizationContext,
    *,
    index: int = 0,
    sequence_number: int | None = None,
) -> NormalizedEvent:
    """Bring one raw event into the common form.

    Args:
        raw: what the provider reported. A type that is not ours makes it an ``error_occurred`` with the
            provider's word in ``data["original_type"]``. ``name`` stands in for ``tool_name``; ``model`` and
            ``stop_reason`` go to the metadata; ``id``, else ``message_id``, is the provider's id.
        context: where the event belongs.
        index: its place in the batch, from 0; with the context's block it gives the id.
        sequence_number: its number, if it has one already.

    Raises:
        ValidationError: ``raw`` is no map, or the context lacks a session or run.
    """
    if not isinstance(raw, Mapping):
        raise invalid("a raw event", "must be a map", raw)
    # Providers hand over objects of their libraries; whatever JSON cannot hold is kept as text.
    original = stringify_keys(raw)
    named = original.get("type")
    event_type = resolve_type(named)
    event = NormalizedEvent.new(
        id=normalized_event_id(context.base_id, index),
        now=time_or(raw.get("timestamp"), context.now),
        type=event_type,
        session_id=context.session_id,
        run_id=context.run_id,
        provider=context.provider,
        correlation_id=context.correlation_id,
        provider_event_id=_name(original.get("id")) or _name(original.get("message_id")),
    )
    # The payload is ours already, so it goes around the check and copy of what callers give.
    return _with(event, _data(original, named, event_type), _metadata(original), sequence_number)


def normalize_batch(
    raws: Iterable[Mapping[Any, Any]], context: NormalizationContext, *, sequence_offset: int = 0
) -> tuple[NormalizedEvent, ...]:
    """Bring raw events into the common form, numbered from ``sequence_offset`` in their order.

    Raises:
        ValidationError: at least one event is bad. ``details["errors"]`` has a map with ``sequence_number``,
            ``raw`` and ``error`` for each of them, ``details["successful"]`` the good ones.
    """
    events: list[NormalizedEvent] = []
    errors: list[dict[str, Any]] = []
    for index, raw in enumerate(raws):
        number = sequence_offset + index
        try:
            events.append(normalize(raw, context, index=index, sequence_number=number))
        except AsmError as error:
            errors.append({"sequence_number": number, "raw": jsonable(raw), "error": error.to_map()})
    if errors:
        raise AsmError(
            ErrorCode.VALIDATION_ERROR,
            f"{len(errors)} of {len(errors) + len(events)} raw events cannot be normalized",
            details={"errors": errors, "successful": events},
        )
    return tuple(events)


def sort_events(events: Iterable[_E]) -> tuple[_E, ...]:
    """Return events by sequence number; those without one last; ties by time, then by id."""
    return tuple(
        sorted(
            events,
            key=lambda event: (
                event.sequence_number is None,
                event.sequence_number or 0,
                event.timestamp_us,
                event.id,
            ),
        )
    )


def filter_by_run(events: Iterable[_E], run_id: str) -> tuple[_E, ...]:
    """Return the events of one run, in their order."""
    return tuple(event for event in events if event.run_id == run_id)


def filter_by_session(events: Iterable[_E], session_id: str) -> tuple[_E, ...]:
    """Return the events of one session, in their order."""
    return tuple(event for event in events if event.session_id == session_id)


def filter_by_type(
    events: Iterable[_E], types: EventType | str | Iterable[EventType | str]
) -> tuple[_E, ...]:
    """Return the events of one type, or of any of several, in their order.

    Raises:
        StateError: ``invalid_event_type``.
    """
    several = (types,) if isinstance(types, str) else types
    wanted = {parse_event_type(type_) for type_ in several}
    return tuple(event for event in events if event.type in wanted)


def _with(
    event: NormalizedEvent, data: dict[str, Any], metadata: dict[str, Any], sequence_number: int | None
) -> NormalizedEvent:
    return NormalizedEvent(
        id=event.id,
        type=event.type,
        timestamp_us=event.timestamp_us,
        session_id=event.session_id,
        run_id=event.run_id,
        sequence_number=sequence_number,
        data=data,
        metadata=metadata,
        provider=event.provider,
        correlation_id=event.correlation_id,
        provider_event_id=event.provider_event_id,
    )


def _data(original: dict[str, Any], named: object, event_type: EventType) -> dict[str, Any]:
    data: dict[str, Any] = {"raw": original}
    for key in _LIFTED:
        if original.get(key) is not None:
            data[key] = original[key]
    if "tool_name" not in data and original.get("name") is not None:
        data["tool_name"] = original["name"]
    if named and named != event_type.value:
        data["original_type"] = named
    return data


def _metadata(original: dict[str, Any]) -> dict[str, Any]:
    given = original.get("metadata")
    metadata = dict(given) if isinstance(given, dict) else {}
    for key in ("model", "stop_reason"):
        if original.get(key) is not None:
            metadata[key] = original[key]
    return metadata


def time_or(found: object, now: int) -> int:
    """Return a raw event's own time if it can be read, else the present."""
    try:
        if isinstance(found, datetime):
            return us_from_time(found, "timestamp")
        return us_from_iso(found, "timestamp")
    except AsmError:
        # A provider's unreadable clock is no reason to lose its event; the raw text stays in the payload.
        return now


def _name(found: object) -> str | None:
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    try:
        return check_id(found, "id")
    except AsmError:
        # An id that cannot be an index key is still in the payload.
        return None
