"""From types to JSON Schema, and from a function's signature to that of its arguments. Pure.

Known are ``str int float bool None``, ``list tuple set dict`` and their abstract relatives, ``Literal``, enums,
``Optional`` and unions, ``datetime date UUID Path``, attrs classes, dataclasses and TypedDicts, and all of these
inside each other. Any other type takes any value. ``Annotated[T, "text"]`` describes a value, and
``Annotated[T, {"minimum": 1}]`` adds to its schema. Of the validators of attrs classes those are told that a schema can
say (`tools.validators`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, MutableMapping, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import attrs

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import jsonable
from asm_actors.tools.context import ToolContext
from asm_actors.tools.docstrings import description_of, field_texts
from asm_actors.tools.validators import constrain

__all__ = [
    "Parameters",
    "enum_values",
    "fields_of",
    "is_record",
    "parameters_of",
    "schema_of",
    "schema_of_type",
]

_SIMPLE: Final[Mapping[Any, Mapping[str, Any]]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    list: {"type": "array"},
    tuple: {"type": "array"},
    set: {"type": "array", "uniqueItems": True},
    frozenset: {"type": "array", "uniqueItems": True},
    dict: {"type": "object"},
    type(None): {"type": "null"},
    None: {"type": "null"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    UUID: {"type": "string", "format": "uuid"},
    Path: {"type": "string"},
}
_LISTS: Final = (list, Sequence, MutableSequence, Iterable)
_SETS: Final = (set, frozenset, AbstractSet)
_MAPS: Final = (dict, Mapping, MutableMapping)
_MARKS: Final = (typing.Required, typing.NotRequired, typing.ClassVar, typing.Final)
_JSON: Final = (str, int, float, bool, type(None))
_NOTHING: Final = object()


class Parameters(NamedTuple):
    """What a function takes."""

    schema: dict[str, Any]
    """JSON Schema of the arguments that a model gives."""
    types: Mapping[str, Any]
    """Their annotations."""
    context: str | None
    """Name of the parameter that takes the `ToolContext`, if there is one."""


class _Field(NamedTuple):
    """One field of a record."""

    hint: Any
    is_required: bool
    default: Any = _NOTHING
    validator: Any = None


def schema_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the JSON Schema of a function's arguments: an object; arguments without a default are required.

    Raises:
        ValidationError: The function has no signature, or takes arguments by position only.
    """
    return parameters_of(function).schema


def schema_of_type(hint: Any) -> dict[str, Any]:
    """Return the JSON Schema of a type; classes that contain themselves are told under ``$defs``."""
    maker = _Maker()
    return maker.finished(maker.schema(hint))


def parameters_of(function: Callable[..., Any]) -> Parameters:
    """Read what a function takes.

    Raises:
        ValidationError: The function has no signature, takes arguments by position only, or more than one context.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise _unfit(f"{function!r:.80} has no signature: {error}") from error
    hints, texts, maker = _hints(function), field_texts(function), _Maker()
    properties: dict[str, Any] = {}
    required: list[str] = []
    takes_more = False
    context: str | None = None
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise _unfit(f"a tool gets its arguments by name, and {name!r} of {function!r:.80} has none")
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_more = True
            continue
        hint = hints.get(name, Any)
        if ToolContext in (hint, *get_args(hint)):
            if context is not None:
                raise _unfit(f"a tool has one context, and {function!r:.80} has {context!r} and {name!r}")
            context = name
            continue
        is_required = parameter.default is parameter.empty
        if is_required:
            required.append(name)
        default = _NOTHING if is_required or parameter.default is None else parameter.default
        properties[name] = maker.property(hint, default, texts.get(name))
    schema: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": takes_more,
    }
    return Parameters(maker.finished(schema), {name: hints.get(name, Any) for name in properties}, context)


def is_record(hint: Any) -> bool:
    """Tell whether a type is an attrs class, a dataclass or a TypedDict."""
    return isinstance(hint, type) and (
        attrs.has(hint) or dataclasses.is_dataclass(hint) or typing.is_typeddict(hint)
    )


def enum_values(kind: type[Enum]) -> list[Any]:
    """Return what stands for an enum's members in JSON: their values, or their names if one has no JSON value."""
    values = [member.value for member in kind]
    return values if all(type(value) in _JSON for value in values) else [member.name for member in kind]


def fields_of(record: type) -> dict[str, _Field]:
    """Return the fields of a record that its maker takes, by the names under which he gives them."""
    hints = _hints(record)
    if attrs.has(record):
        return {
            one.alias: _Field(
                hints.get(one.name, Any),
                one.default is attrs.NOTHING,
                _attrs_default(one),
                _attrs_validator(one),
            )
            for one in attrs.fields(record)
            if one.init and one.alias is not None
        }
    if dataclasses.is_dataclass(record):
        return {one.name: _dataclass_field(one, hints) for one in dataclasses.fields(record) if one.init}
    keys: frozenset[str] = getattr(record, "__required_keys__", frozenset())
    return {name: _typed_dict_field(hint, is_required=name in keys) for name, hint in hints.items()}


def _attrs_default(one: attrs.Attribute[Any]) -> Any:
    is_known = one.default is not attrs.NOTHING and not isinstance(one.default, attrs.Factory)  # type: ignore[arg-type]
    return one.default if is_known else _NOTHING


def _attrs_validator(one: attrs.Attribute[Any]) -> Any:
    # Of what a converter makes of the value, no schema of the value itself can speak.
    return one.validator if one.converter is None else None


def _dataclass_field(one: dataclasses.Field[Any], hints: Mapping[str, Any]) -> _Field:
    is_required = one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
    default = _NOTHING if one.default is dataclasses.MISSING else one.default
    return _Field(hints.get(one.name, Any), is_required, default)


def _typed_dict_field(hint: Any, *, is_required: bool) -> _Field:
    # Where annotations are deferred, the class itself does not see its own marks.
    mark = get_origin(hint)
    if mark in (typing.Required, typing.NotRequired):
        return _Field(get_args(hint)[0], mark is typing.Required)
    return _Field(hint, is_required)


def _hints(annotated: Any) -> Mapping[str, Any]:
    target = annotated
    if not inspect.isroutine(annotated) and not isinstance(annotated, type):
        target = getattr(annotated, "__call__", annotated)  # noqa: B004
    try:
        return get_type_hints(target, include_extras=True)
    except Exception:  # an annotation that cannot be resolved: the argument takes any value
        return {
            name: hint
            for name, hint in getattr(target, "__annotations__", {}).items()
            if not isinstance(hint, str)
        }


def _unfit(text: str) -> AsmError:
    return AsmError(ErrorCode.VALIDATION_ERROR, text)


class _Maker:
    """Makes the schemas of one document, and keeps what they refer to."""

    def __init__(self) -> None:
        self._defs: dict[str, Any] = {}
        self._names: dict[Any, str] = {}
        self._open: list[Any] = []

    def finished(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {**schema, "$defs": self._defs} if self._defs else schema

    def property(self, hint: Any, default: Any = _NOTHING, text: str | None = None) -> dict[str, Any]:
        schema = self.schema(hint)
        if text and "description" not in schema:
            schema["description"] = text
        if default is not _NOTHING and not is_record(type(default)):
            schema["default"] = jsonable(_plain(default))
        return schema

    def _field(self, one: _Field, text: str | None) -> dict[str, Any]:
        schema = self.property(one.hint, _NOTHING if one.default is None else one.default, text)
        constrain(schema, one.validator, _plain)
        return schema

    def schema(self, hint: Any) -> dict[str, Any]:
        with contextlib.suppress(TypeError):  # not every annotation can be looked up
            if hint in _SIMPLE:
                return dict(_SIMPLE[hint])
        if isinstance(hint, typing.NewType):
            return self.schema(hint.__supertype__)
        if isinstance(hint, type) and issubclass(hint, Enum):
            return _enum(hint)
        if is_record(hint):
            return self._record(hint)
        origin, args = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return self._annotated(args[0], args[1:])
        if origin in _MARKS:
            return self.schema(args[0])
        if origin is Literal:
            return {"enum": [_plain(arg) for arg in args]}
        if origin in (Union, types.UnionType):
            parts = [self.schema(arg) for arg in args]
            return {"anyOf": parts} if all(parts) else {}
        return self._collection(origin, args)

    def _collection(self, origin: Any, args: tuple[Any, ...]) -> dict[str, Any]:
        if origin is tuple and args and args[-1] is not ...:
            parts = [self.schema(arg) for arg in args if arg != ()]
            return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
        if origin in (*_LISTS, tuple) or origin in _SETS:
            item = self.schema(args[0]) if args else {}
            unique = {"uniqueItems": True} if origin in _SETS else {}
            return {"type": "array", **({"items": item} if item else {}), **unique}
        if origin in _MAPS:
            value = self.schema(args[1]) if len(args) == 2 else {}
            return {"type": "object", "additionalProperties": value} if value else {"type": "object"}
        return {}

    def _annotated(self, hint: Any, notes: tuple[Any, ...]) -> dict[str, Any]:
        schema = self.schema(hint)
        for note in notes:
            if isinstance(note, str):
                schema["description"] = note
            elif isinstance(note, Mapping):
                schema.update(jsonable(note))
        return schema

    def _record(self, record: type) -> dict[str, Any]:
        if record in self._open or record in self._names:
            return {"$ref": f"#/$defs/{self._name(record)}"}
        self._open.append(record)
        texts = field_texts(record)
        found = fields_of(record)
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {name: self._field(one, texts.get(name)) for name, one in found.items()},
            "required": [name for name, one in found.items() if one.is_required],
            "additionalProperties": False,
        }
        self._open.pop()
        text = description_of(record) if vars(record).get("__doc__") and not _is_made_up(record) else ""
        if text:
            schema["description"] = text
        if record not in self._names:
            return schema
        self._defs[self._names[record]] = schema
        return {"$ref": f"#/$defs/{self._names[record]}"}

    def _name(self, record: type) -> str:
        """The name under which a class that contains itself is told."""
        if record not in self._names:
            taken = set(self._names.values())
            name, number = record.__name__, 1
            while name in taken:
                number += 1
                name = f"{record.__name__}{number}"
            self._names[record] = name
        return self._names[record]


def _enum(kind: type[Enum]) -> dict[str, Any]:
    values = enum_values(kind)
    is_text = all(isinstance(value, str) for value in values)
    return {"type": "string", "enum": values} if is_text else {"enum": values}


def _plain(value: Any) -> Any:
    if not isinstance(value, Enum):
        return value
    return value.value if type(value.value) in _JSON else value.name


def _is_made_up(record: type) -> bool:
    """Whether a dataclass's docstring is the signature that was put there for want of one."""
    return dataclasses.is_dataclass(record) and (record.__doc__ or "").startswith(f"{record.__name__}(")
