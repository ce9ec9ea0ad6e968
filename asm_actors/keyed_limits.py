"""Limits that say something of each of several keys: one number for every key, or a map with a number for some.

In a map ``"*"`` stands for all keys that it does not name; without that they have no limit. None is no limit, as the
whole value and in the map.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from asm_actors.jsonable import INT_MAX
from asm_actors.serialization import check_text, invalid

__all__ = [
    "LEAST_RATE",
    "MOST_RATE",
    "OTHERS",
    "RATE",
    "Keyed",
    "check_count",
    "check_counts",
    "check_rate",
    "check_rates",
    "limit_for",
]

OTHERS: Final = "*"
"""In a map: every key that is not named."""

LEAST_RATE: Final = 1e-6
"""The lowest rate: one in eleven days. With one that is much lower even the first would never come."""

MOST_RATE: Final = 1e9
"""The highest rate, in a second: whoever wants more wants no limit."""

RATE: Final = "a number from 0.000001 to 1,000,000,000"
"""What a rate may be, after "must be"."""

Keyed: TypeAlias = "int | float | Mapping[str, Any] | None"
"""A limit by key."""

_COUNT: Final = "an integer of at least 1"


def limit_for(limit: Keyed, key: str) -> Any:
    """Return the limit of one key; None: it has none."""
    if not isinstance(limit, Mapping):
        return limit
    return limit[key] if key in limit else limit.get(OTHERS)


def check_count(value: object, name: str) -> None:
    """Refuse what is no count.

    Raises:
        ValidationError: It is neither an integer of at least 1 nor None.
    """
    if not _is_count(value):
        raise invalid(name, f"must be {_COUNT}, or None for no limit", value)


def check_rate(value: object, name: str) -> None:
    """Refuse what is no rate.

    Raises:
        ValidationError: It is neither a number from `LEAST_RATE` to `MOST_RATE` nor None.
    """
    if not _is_rate(value):
        raise invalid(name, f"must be {RATE}, or None for no limit", value)


def check_counts(value: object, name: str) -> Any:
    """Return a limit by key; a map is copied.

    Raises:
        ValidationError: A count is malformed, or a key is no name.
    """
    return _check(value, name, _is_count, _COUNT)


def check_rates(value: object, name: str) -> Any:
    """Return a rate by key; a map is copied.

    Raises:
        ValidationError: A rate is malformed, or a key is no name.
    """
    return _check(value, name, _is_rate, RATE)


def _check(value: object, name: str, is_legal: Any, legal: str) -> Any:
    if not isinstance(value, Mapping):
        if not is_legal(value):
            rule = (
                f'must be {legal}, a map from names to such ("{OTHERS}" for all others), or None for no limit'
            )
            raise invalid(name, rule, value)
        return value
    for key, limit in value.items():
        if not isinstance(key, str) or not key:
            raise invalid(name, f'must be a map whose keys are names, or "{OTHERS}"', key)
        check_text(key, f"a key of {name}")
        if not is_legal(limit):
            raise invalid(f"{name}[{key!r:.80}]", f"must be {legal}, or None for no limit", limit)
    return dict(value)


def _is_count(value: object) -> bool:
    # True is an int to Python, and as a limit always a mistake.
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= INT_MAX)


def _is_rate(value: object) -> bool:
    return value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and LEAST_RATE <= value <= MOST_RATE
    )
