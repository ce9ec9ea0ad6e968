"""Turn any value into one that JSON can hold. Nothing here raises.

This is the lenient side, for values that must be shown whatever they are: error details, raw provider
messages, records on their way out. What comes *in* is checked by ``asm_actors.serialization`` instead, which
refuses what JSON cannot hold. This module knows no errors, so that the errors themselves can use it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime
from enum import Enum
from typing import Any, Final

__all__ = ["INT_MAX", "INT_MIN", "MAX_DEPTH", "jsonable", "shown", "stringify_keys"]

MAX_DEPTH: Final = 100
"""How many maps and lists may lie inside each other."""

# The journal's encoding holds integers of 64 bits, signed or unsigned.
INT_MIN: Final = -(1 << 63)
INT_MAX: Final = (1 << 64) - 1

_TOO_DEEP: Final = "[nested too deep]"
_CYCLE: Final = "[cycle]"


def jsonable(value: Any) -> Any:
    """Return a copy of ``value`` made of dict, list, str, int, float, bool and None only.

    Keys become strings; enum members their values; dates ISO-8601 text; bytes text; sets sorted lists; values
    with a ``to_map`` method what that gives; NaN, infinity and integers beyond 64 bits text; anything else
    its ``repr``. Lone surrogates become ``?``. Beyond :data:`MAX_DEPTH` levels, and where a value contains
    itself, a short text stands in.
    """
    return _convert(value, 0, set())


def stringify_keys(value: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a JSON-ready copy of a map: :func:`jsonable`, with the type of its result narrowed."""
    return {_key(key): _convert(item, 1, {id(value)}) for key, item in value.items()}


def shown(value: object) -> str:
    """Return at most 80 characters for a message: the ``repr`` of a simple value, the type of any other."""
    if isinstance(value, int) and not isinstance(value, bool):
        text = _digits(value)
    elif isinstance(value, str | float | bool) or value is None:
        text = repr(value)
    else:
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _convert(value: Any, depth: int, above: set[int]) -> Any:
    kind = type(value)
    if kind is str:
        return value if value.isascii() else _text(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        return value if INT_MIN <= value <= INT_MAX else _digits(value)
    if kind is float:
        return value if math.isfinite(value) else str(value)
    return _convert_rest(value, depth, above)


def _convert_rest(value: Any, depth: int, above: set[int]) -> Any:
    if isinstance(value, Enum):
        return _convert(value.value, depth, above)
    if isinstance(value, str):
        return _text(str(value))
    if isinstance(value, int):
        return _convert(int(value), depth, above)
    if isinstance(value, float):
        return _convert(float(value), depth, above)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "replace")
    if depth >= MAX_DEPTH:
        return _TOO_DEEP
    if id(value) in above:
        return _CYCLE
    above.add(id(value))
    try:
        return _convert_inside(value, depth + 1, above)
    except Exception:  # a foreign object's own methods may raise anything; its type must do
        return f"<{type(value).__name__}>"
    finally:
        above.discard(id(value))


def _convert_inside(value: Any, depth: int, above: set[int]) -> Any:
    if isinstance(value, Mapping):
        return {_key(key): _convert(item, depth, above) for key, item in value.items()}
    to_map = getattr(value, "to_map", None)
    if callable(to_map) and not isinstance(value, type):
        return _convert(to_map(), depth, above)
    if isinstance(value, Sequence):
        return [_convert(item, depth, above) for item in value]
    if isinstance(value, AbstractSet):
        # Sets have no order of their own; sorting by text makes two equal sets look equal.
        return sorted((_convert(item, depth, above) for item in value), key=repr)
    return _text(repr(value))


def _key(key: Any) -> str:
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, str):
        return _text(str(key))
    try:
        return _text(str(key))
    except Exception:  # as above: __str__ is foreign code
        return f"<{type(key).__name__}>"


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _digits(number: int) -> str:
    # Python refuses to print integers of very many digits in decimal; hex has no such bound.
    return str(int(number)) if number.bit_length() < 4_000 else hex(number)
