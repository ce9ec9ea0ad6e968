"""From the validators of an attrs field to JSON Schema: what of them a schema can say. Pure.

Told are ``in_ instance_of gt ge lt le min_len max_len matches_re``, and these inside ``optional and_ deep_iterable``,
several in a list included. Any other validator, such as a function of one's own, says nothing here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

__all__ = ["constrain"]

Schema = dict[str, Any]

_BOUNDS: Final = {">": "exclusiveMinimum", ">=": "minimum", "<": "exclusiveMaximum", "<=": "maximum"}
_LENGTHS: Final = {"string": "Length", "array": "Items", "object": "Properties"}
_TYPES: Final[Mapping[Any, str]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
    type(None): "null",
}
_SCALARS: Final = (str, int, float, bool, type(None))
_SAID: Final = ("type", "enum", "anyOf", "$ref")
_MOST: Final = 1_000


def constrain(schema: Schema, validator: Any, plain: Callable[[Any], Any]) -> None:
    """Add to a field's schema what its validator asks of its value.

    Args:
        schema: Of the field's type; changed in place.
        validator: The field's; None: there is none.
        plain: Makes of an option, such as a member of an enum, what stands for it in JSON.
    """
    # These classes have no public names, and are the same since attrs has them; what is different says nothing.
    if type(validator).__module__ not in ("attr.validators", "attr._make"):
        return
    kind = type(validator).__name__
    if kind == "_AndValidator":
        for each in getattr(validator, "_validators", ()):
            constrain(schema, each, plain)
    elif kind == "_OptionalValidator":
        _optional(schema, getattr(validator, "validator", None), plain)
    elif kind == "_DeepIterable":
        constrain(schema, getattr(validator, "iterable_validator", None), plain)
        if "array" in _types(schema):
            constrain(schema.setdefault("items", {}), getattr(validator, "member_validator", None), plain)
    elif kind == "_InValidator":
        _one_of(schema, getattr(validator, "_original_options", None) or validator.options, plain)
    elif kind in _READERS:
        _READERS[kind](schema, validator)


def _optional(schema: Schema, validator: Any, plain: Callable[[Any], Any]) -> None:
    # Every other rule says nothing about null.
    inner = next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), schema)
    constrain(inner, validator, plain)
    if inner is schema and None not in schema.get("enum", (None,)):
        schema["enum"] = [*schema["enum"], None]


def _one_of(schema: Schema, options: Any, plain: Callable[[Any], Any]) -> None:
    if isinstance(options, type) and issubclass(options, Enum):
        options = list(options)
    if not isinstance(options, list | tuple | set | frozenset | dict) or not 0 < len(options) <= _MOST:
        return
    found = [plain(option) for option in options]
    if isinstance(options, set | frozenset):
        found.sort(key=repr)
    if any(type(one) not in _SCALARS for one in found):
        return
    known = schema.get("enum")
    if known is not None:
        found = [one for one in found if one in known]
    if found:
        schema["enum"] = found


def _instance_of(schema: Schema, validator: Any) -> None:
    given = validator.type if isinstance(validator.type, tuple) else (validator.type,)
    names = [_TYPES.get(each) for each in given]
    if all(names) and not any(name in schema for name in _SAID):
        schema["type"] = names[0] if len(names) == 1 else names


def _bound(schema: Schema, validator: Any) -> None:
    name, bound = _BOUNDS.get(validator.compare_op), validator.bound
    if (
        name is None
        or isinstance(bound, bool)
        or not isinstance(bound, int | float)
        or not math.isfinite(bound)
    ):
        return
    is_least = name in ("minimum", "exclusiveMinimum")
    known = schema.get(name)
    schema[name] = bound if known is None else max(bound, known) if is_least else min(bound, known)


def _least_length(schema: Schema, validator: Any) -> None:
    _length(schema, "min", validator.min_length)


def _most_length(schema: Schema, validator: Any) -> None:
    _length(schema, "max", validator.max_length)


def _length(schema: Schema, which: str, length: Any) -> None:
    for kind in _types(schema):
        if kind in _LENGTHS and type(length) is int and length >= 0:
            schema[f"{which}{_LENGTHS[kind]}"] = length


def _pattern(schema: Schema, validator: Any) -> None:
    pattern = validator.pattern
    # Flags cannot be told, and one pattern is what a schema has.
    if not isinstance(pattern.pattern, str) or pattern.flags != re.UNICODE or "pattern" in schema:
        return
    forms = {"fullmatch": "^(?:{})$", "match": "^(?:{})", "search": "{}"}
    form = forms.get(getattr(validator.match_func, "__name__", ""))
    if form is not None:
        schema["pattern"] = form.format(pattern.pattern)


def _types(schema: Schema) -> list[Any]:
    """The types that a schema names, in all of its alternatives."""
    found = [schema.get("type"), *(one.get("type") for one in schema.get("anyOf", ()))]
    return [name for one in found for name in (one if isinstance(one, list) else [one])]


_READERS: Final[Mapping[str, Callable[[Schema, Any], None]]] = {
    "_InstanceOfValidator": _instance_of,
    "_NumberValidator": _bound,
    "_MinLengthValidator": _least_length,
    "_MaxLengthValidator": _most_length,
    "_MatchesReValidator": _pattern,
}
