"""Events by short names."""

from __future__ import annotations

from asm_actors.events import Event, EventType

START = 1_767_225_600_000_000


def make(place, type_, run="r1", *, session="ses", metadata=None, event_id=None, timestamp=None, **data):
    """An event with the sequence number ``place`` (None: without one)."""
    return Event(
        id=event_id or f"evt_{place}",
        type=EventType(type_),
        timestamp_us=START + (place or 0) if timestamp is None else timestamp,
        session_id=session,
        run_id=run,
        sequence_number=place,
        data=data,
        metadata=metadata or {},
    )


def numbered(*specs):
    """Events 1, 2, 3 … from ``(type, data)`` or ``(type, data, run)``."""
    return [
        make(place, type_, *(more[1:] or ("r1",)), **(more[0] if more else {}))
        for place, (type_, *more) in enumerate(specs, 1)
    ]
