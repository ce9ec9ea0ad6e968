"""Check what callers hand in, and read and write the JSON-ready maps of every value.

1. What is stored is JSON: maps with string keys, lists, strings, finite numbers, booleans, null.
2. What cannot be stored is refused where it enters, and the error names its place (``metadata.a[3]``).
3. What is taken is copied, so the caller's later changes do not reach the record.

The lenient counterpart, which shows any value, is ``asm_actors.jsonable``.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import INT_MAX, INT_MIN, MAX_DEPTH, shown

__all__ = [
    "MAX_ID_BYTES",
    "Fields",
    "check_id",
    "check_ids",
    "check_integer",
    "check_number",
    "check_optional_id",
    "check_seconds",
    "check_text",
    "check_time",
    "invalid",
    "iso_from_us",
    "json_map",
    "json_value",
    "parse_member",
    "time_from_us",
    "us_from_iso",
    "us_from_time",
]

MAX_ID_BYTES: Final = 200
"""Ids, agent names, provider names, tags and keys are keys of the journal's indexes, hence the bound."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_US_MIN: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_US_MAX: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_CENTURY_S: Final = 100 * 365.25 * 86_400
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_E = TypeVar("_E", bound=StrEnum)


def invalid(field: str, rule: str, found: object) -> AsmError:
    """Make the ``validation_error`` for one field: what it must be, and what was found instead."""
    return AsmError(
        ErrorCode.VALIDATION_ERROR, f"{field} {rule}, not {shown(found)}", details={"field": field}
    )


def check_text(value: object, field: str) -> str:
    """Return ``value`` if it is a string that UTF-8 can hold (the empty one too), else raise."""
    if not isinstance(value, str):
        raise invalid(field, "must be a string", value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise invalid(field, "must be text that UTF-8 can hold (no lone surrogates)", value) from None
    return value if type(value) is str else str(value)


def check_id(value: object, field: str) -> str:
    """Return ``value`` if it can name something, else raise ``validation_error``.

    A name is a string, not empty, at most :data:`MAX_ID_BYTES` bytes in UTF-8, without control characters.
    """
    if value is None:
        raise AsmError(ErrorCode.VALIDATION_ERROR, f"{field} is required", details={"field": field})
    text = check_text(value, field)
    if not text:
        raise AsmError(ErrorCode.VALIDATION_ERROR, f"{field} cannot be empty", details={"field": field})
    if _CONTROL.search(text):
        raise invalid(field, "must not hold control characters", text)
    # A string has at most four bytes per character, so short ones need no encoding to be measured.
    if len(text) > MAX_ID_BYTES // 4 and len(text.encode()) > MAX_ID_BYTES:
        raise invalid(field, f"must have at most {MAX_ID_BYTES} bytes in UTF-8", text)
    return text


def check_optional_id(value: object, field: str) -> str | None:
    """Return ``value`` if it is None or can name something, else raise ``validation_error``."""
    return None if value is None else check_id(value, field)


def check_time(value: object, field: str) -> int:
    """Return ``value`` if it is microseconds since the epoch that a ``datetime`` can show, else raise."""
    if type(value) is not int:
        raise invalid(field, "must be an integer of microseconds since the epoch", value)
    if not _US_MIN <= value <= _US_MAX:
        raise invalid(field, "must lie in the years 1 to 9999", value)
    return value


def parse_member(kind: type[_E], value: object, code: ErrorCode) -> _E:
    """Return the member of a closed set that has this text, else raise an error with ``code``."""
    if isinstance(value, str):
        try:
            return kind(value if type(value) is str else str(value))
        except ValueError:
            pass
    members = ", ".join(member.value for member in kind)
    raise AsmError(
        code,
        f"{shown(value)} is not one of: {members}",
        details={"value": repr(value) if isinstance(value, str) else type(value).__name__},
    )


def time_from_us(us: int) -> datetime:
    """Return microseconds since the epoch as an aware ``datetime`` in UTC, exactly."""
    return _EPOCH + timedelta(microseconds=us)


def us_from_time(value: object, field: str) -> int:
    """Return an aware ``datetime`` as microseconds since the epoch, else raise ``validation_error``."""
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise invalid(field, "must be a datetime with a time zone", value)
    return check_time((value - _EPOCH) // _MICROSECOND, field)


def iso_from_us(us: int) -> str:
    """Return microseconds since the epoch as ISO-8601 text in UTC.

    The width is fixed (``2026-01-31T09:30:00.000000Z``), so these texts sort as the times do.
    """
    return f"{time_from_us(us).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def us_from_iso(value: object, field: str) -> int:
    """Return ISO-8601 text with an offset as microseconds since the epoch, else raise an error."""
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            if time.utcoffset() is not None:
                return check_time((time - _EPOCH) // _MICROSECOND, field)
    raise invalid(field, "must be ISO-8601 text with an offset, such as 2026-01-31T09:30:00Z", value)


def json_map(value: object, field: str) -> dict[str, Any]:
    """Return a checked copy of a map; None gives an empty one.

    Raises:
        ValidationError: it is no map, or something in it is not JSON; the message names the place.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise invalid(field, "must be a map", value)
    return _copy_map(value, field, 1)


def json_value(value: object, field: str) -> Any:
    """Return a checked copy of any JSON value: tuples become lists, enum members their values.

    Raises:
        ValidationError: something in it is not JSON: a key that is no string, NaN or an infinity, an integer
            beyond 64 bits, bytes, any other object, text that UTF-8 cannot hold, or more than 100 levels.
    """
    return _copy(value, field, 0)


def _copy(value: Any, path: str, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        return value if value.isascii() else check_text(value, path)
    if value is None or kind is bool:
        return value
    if kind is int:
        if INT_MIN <= value <= INT_MAX:
            return value
        raise invalid(path, "must fit into 64 bits", value)
    if kind is float:
        if math.isfinite(value):
            return value
        raise invalid(path, "must be a finite number", value)
    if depth >= MAX_DEPTH:
        raise AsmError(
            ErrorCode.VALIDATION_ERROR,
            f"{path[:80]}... is nested more than {MAX_DEPTH} levels deep",
            details={"field": path},
        )
    if isinstance(value, Mapping):
        return _copy_map(value, path, depth + 1)
    if isinstance(value, list | tuple):
        return [_copy(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    # Subclasses, enum members among them, are stored as what they are a kind of.
    for plain in (str, int, float):
        if isinstance(value, plain):
            return _copy(plain(value), path, depth)
    raise invalid(path, "must be a JSON value (map, list, string, number, boolean or null)", value)


def _copy_map(value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
    copy: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise invalid(f"a key of {path}", "must be a string", key)
        name = key if type(key) is str and key.isascii() else check_text(key, f"a key of {path}")
        kind = type(item)
        # The commonest leaf is copied without a call, and without building its path.
        copy[name] = item if kind is str and item.isascii() else _copy(item, f"{path}.{name}", depth)
    return copy


class Fields:
    """The fields of one map that is being read back; each method checks one field and returns it.

    Unknown keys are ignored: a newer version may have written them.

    Args:
        value: what should be a map with string keys.
        what: the name of the value that is read, for messages: ``session``.

    Raises:
        ValidationError: ``value`` is no map; each method: the field is missing or malformed.
    """

    __slots__ = ("_map", "_what")

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, Mapping):
            raise invalid(f"a {what}", "is read from a map", value)
        self._map = value
        self._what = what

    def _path(self, name: str) -> str:
        return f"{self._what}.{name}"

    def _get(self, name: str) -> Any:
        found = self._map.get(name)
        if found is None:
            raise AsmError(
                ErrorCode.VALIDATION_ERROR, f"{self._path(name)} is required", details={"field": name}
            )
        return found

    def has(self, name: str) -> bool:
        """Tell whether the field is there and not null."""
        return self._map.get(name) is not None

    def value(self, name: str) -> Any:
        """Read any JSON value; None if absent."""
        return json_value(self._map.get(name), self._path(name))

    def id(self, name: str) -> str:
        """Read a required name."""
        return check_id(self._get(name), self._path(name))

    def optional_id(self, name: str) -> str | None:
        """Read a name; None if absent."""
        return check_optional_id(self._map.get(name), self._path(name))

    def optional_text(self, name: str) -> str | None:
        """Read text of any length; None if absent."""
        found = self._map.get(name)
        return None if found is None else check_text(found, self._path(name))

    def map(self, name: str) -> dict[str, Any]:
        """Read a map; an empty one if absent."""
        return json_map(self._map.get(name), self._path(name))

    def optional_map(self, name: str) -> dict[str, Any] | None:
        """Read a map; None if absent."""
        found = self._map.get(name)
        return None if found is None else json_map(found, self._path(name))

    def items(self, name: str) -> list[Any]:
        """Read a list whose items the caller checks; an empty one if absent."""
        found = self._map.get(name)
        if found is None:
            return []
        if not isinstance(found, list | tuple):
            raise invalid(self._path(name), "must be a list", found)
        return list(found)

    def ids(self, name: str) -> tuple[str, ...]:
        """Read a list of names; an empty one if absent."""
        return check_ids(self.items(name), self._path(name))

    def texts(self, name: str) -> tuple[str, ...]:
        """Read a list of texts of any length; an empty one if absent."""
        path = self._path(name)
        return tuple(check_text(item, f"{path}[{index}]") for index, item in enumerate(self.items(name)))

    def time(self, name: str) -> int:
        """Read a required time as microseconds since the epoch."""
        return us_from_iso(self._get(name), self._path(name))

    def optional_time(self, name: str) -> int | None:
        """Read a time as microseconds since the epoch; None if absent."""
        found = self._map.get(name)
        return None if found is None else us_from_iso(found, self._path(name))

    def integer(self, name: str, *, least: int, default: int | None = None) -> int:
        """Read an integer not below ``least``; ``default`` if absent, and without one it is required."""
        found = self._map.get(name)
        if found is None and default is not None:
            return default
        return check_integer(self._get(name), self._path(name), least=least)

    def optional_integer(self, name: str, *, least: int) -> int | None:
        """Read an integer not below ``least``; None if absent."""
        found = self._map.get(name)
        return None if found is None else check_integer(found, self._path(name), least=least)

    def optional_number(self, name: str) -> float | None:
        """Read a finite number not below 0 as a float; None if absent."""
        found = self._map.get(name)
        return None if found is None else check_number(found, self._path(name))

    def boolean(self, name: str, *, default: bool) -> bool:
        """Read true or false; ``default`` if absent."""
        found = self._map.get(name)
        if found is None:
            return default
        if not isinstance(found, bool):
            raise invalid(self._path(name), "must be true or false", found)
        return found

    def member(self, name: str, kind: type[_E], code: ErrorCode) -> _E:
        """Read a required member of a closed set; a text that is none raises an error with ``code``."""
        return parse_member(kind, self._get(name), code)


def check_ids(values: object, field: str) -> tuple[str, ...]:
    """Return names as a tuple; a single string is refused, since its letters are hardly meant."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise invalid(field, "must be a list of strings", values)
    return tuple(check_id(item, f"{field}[{index}]") for index, item in enumerate(values))


def check_integer(value: object, field: str, *, least: int) -> int:
    """Return ``value`` if it is an integer of 64 bits not below ``least`` (booleans are none), else raise."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid(field, f"must be an integer of at least {least}", value)
    if not least <= value <= INT_MAX:
        raise invalid(field, f"must be an integer of at least {least}, within 64 bits", value)
    return int(value)


def check_number(value: object, field: str) -> float:
    """Return ``value`` as a float if it is a finite number not below 0 (booleans are none), else raise."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(field, "must be a number of at least 0", value)
    if not 0 <= value <= sys.float_info.max:
        raise invalid(field, "must be a finite number of at least 0", value)
    return float(value)


def check_seconds(value: object, field: str = "timeout") -> float | None:
    """Return how long a caller will wait: seconds as a float, or None for ever; else raise ``validation_error``.

    What is longer than a century is cut down to that: a lock refuses to wait for much longer.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise invalid(field, "must be finite seconds of at least 0, or None", value)
    return float(min(value, _CENTURY_S))
