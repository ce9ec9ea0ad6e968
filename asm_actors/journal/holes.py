"""What is left in a segment where events were erased: their count, and nothing of what they said.

A hole is a place of a segment whose type is :data:`~asm_actors.journal.codec.HOLE` and whose other columns are empty.
The numbers of the events beside it follow from their places, so they stay as they are. Where all events of a session
were erased, its segment has no owner any more: neighbours without owner are joined into one, of any size.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

from asm_actors.journal.codec import HOLE, Segment, unpack_segment
from asm_actors.journal.packing import Buffer, fetch_value, pack_values, seal

__all__ = [
    "NOBODY",
    "NOBODYS_SEGMENT",
    "hole_segment",
    "holes_in",
    "is_hole",
    "large_places_of",
    "large_values_of",
    "whole_segment",
    "without_events",
]

NOBODY: Final = 0
"""The number of the session to which erased sessions' events belong."""

_RARE_LARGE: Final = 3


def is_hole(segment: Segment) -> bool:
    """Tell whether all events of a segment were erased."""
    return holes_in(segment) == len(segment.codes)


def holes_in(segment: Segment) -> int:
    """Count the events of a segment that were erased."""
    codes = segment.codes
    return codes.count(HOLE) if isinstance(codes, bytes) else codes.count("")


def large_values_of(segment: Segment) -> Iterator[bytes]:
    """Yield the digests of the large payloads that a segment refers to."""
    yield from large_places_of(segment).values()


def large_places_of(segment: Segment) -> dict[int, bytes]:
    """Return the digests of a segment's large payloads by the places of their events."""
    places: dict[int, bytes] = segment.rare.get(_RARE_LARGE, {})
    return places


def without_events(segment: Segment, places: Collection[int]) -> bytes:
    """Encode a segment again, with holes at some places.

    Args:
        segment: the segment.
        places: counted from 0.
    """
    codes: Any = segment.codes
    empty: Any
    if isinstance(codes, bytes):
        codes = bytearray(codes)
        empty = HOLE
    else:
        codes = list(codes)
        empty = ""
    data = list(segment.data)
    for k in places:
        codes[k] = empty
        data[k] = {}
    rare: dict[int, Any] = {}
    for kind, column in segment.rare.items():
        if kind == _RARE_LARGE:
            left: Any = {k: digest for k, digest in column.items() if k not in places}
        elif isinstance(column, list):
            blank: Any = {} if kind == 0 else None
            left = [blank if k in places else value for k, value in enumerate(column)]
        else:
            left = column
        if left and (not isinstance(left, list) or any(left)):
            rare[kind] = left
    changed = segment._replace(
        codes=bytes(codes) if isinstance(codes, bytearray) else codes,
        data=data,
        runs=_without(segment.runs, places),
        providers=_without(segment.providers, places),
        rare=rare,
    )
    if is_hole(changed):
        changed = changed._replace(runs=None, providers=None, rare={})
    return seal(pack_values(tuple(changed)))


def hole_segment(number: int, first: int, count: int) -> bytes:
    """Encode a segment of a session of which nothing is left."""
    nothing: list[dict[str, Any]] = [{}] * count
    return seal(
        pack_values(
            tuple(
                Segment(
                    number, first, b"", bytes((HOLE,)) * count, 0, [0] * count, nothing, None, None, 1, {}
                )
            )
        )
    )


def _without(column: Any, places: Collection[int]) -> Any:
    if not isinstance(column, list):
        return column
    return [None if k in places else value for k, value in enumerate(column)]


def whole_segment(blob: Buffer) -> bytes:
    """Encode a segment again with its large payloads in it; they must be at hand."""
    segment = unpack_segment(blob, "log", "segment")
    for k, digest in segment.rare.pop(_RARE_LARGE, {}).items():
        segment.data[k] = fetch_value(digest)
    return seal(pack_values(tuple(segment)))


NOBODYS_SEGMENT: Final = seal(
    pack_values(tuple(Segment(NOBODY, 0, b"", bytes((HOLE,)), 0, [0], [{}], None, None, 1, {})))
)
"""What stands in a block for erased sessions' events, however many: only the directory counts them."""
