"""Places in an order, and the cursors that name them."""

from __future__ import annotations

import base64
import binascii
import json
from typing import NamedTuple

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.usage import INT64_MAX, INT64_MIN

__all__ = ["Place", "cursor_of", "no_cursor", "place_of"]


class Place(NamedTuple):
    """Where an item stands in an order."""

    value: int
    """What is sorted by: microseconds since the epoch, or a count."""
    number: int
    """The store's number of a session or a run, or the position of an event; unique, in the order of creation."""


def cursor_of(kind: str, order: str, place: Place) -> str:
    """Return the opaque, URL-safe text that names a place.

    Args:
        kind: what is paged: ``sessions``, ``runs`` or ``events``.
        order: the order it stands in.
        place: the place of the last item of a page.
    """
    text = json.dumps([kind, order, place.value, place.number], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place_of(kind: str, order: str, cursor: str | None) -> Place | None:
    """Return the place that a cursor names; None stands for the begin.

    Raises:
        StateError: ``invalid_cursor``: it is none, or it is of another kind or order.
    """
    if cursor is None:
        return None
    try:
        padding = "=" * (-len(cursor) % 4)
        found = json.loads(base64.b64decode(cursor + padding, altchars=b"-_", validate=True))
        of_kind, of_order, value, number = found
    except (TypeError, ValueError, binascii.Error, RecursionError):
        raise no_cursor("it is not one that a search returned") from None
    if type(found) is not list or type(value) is not int or type(number) is not int:
        raise no_cursor("it is not one that a search returned")
    if not (INT64_MIN <= value <= INT64_MAX and 0 <= number <= INT64_MAX):
        raise no_cursor("it is not one that a search returned")
    if (of_kind, of_order) != (kind, order):
        raise no_cursor(f"it belongs to {of_kind!s:.40} by {of_order!s:.40}, not to {kind} by {order}")
    return Place(value, number)


def no_cursor(why: str) -> AsmError:
    """Make the error for a cursor that leads nowhere."""
    return AsmError(ErrorCode.INVALID_CURSOR, f"this cursor cannot be used: {why}; begin without one")
