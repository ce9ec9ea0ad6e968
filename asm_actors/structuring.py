"""Values of classes made of JSON values: attrs classes, dataclasses, TypedDicts, enums, dates. The only file of cattrs.

Strict: a text is no number and a number no text, and a class takes no fields that it does not have. So the members of
a union are told apart by trying them in order.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin
from uuid import UUID

import cattrs

from asm_actors.errors import AsmError, ErrorCode, text_of
from asm_actors.tools.schema import enum_values, fields_of, is_record

__all__ = ["is_plain", "structure"]


def is_plain(hint: Any) -> bool:
    """Tell whether JSON values of a type are already what the type says, so that nothing needs to be made of them."""
    if hint in (str, int, bool, list, dict, None, type(None), Any, object):
        return True
    origin, args = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        return is_plain(args[0])
    if origin is typing.Literal:
        return not any(isinstance(arg, Enum) for arg in args)
    if origin in (list, dict, Mapping, Union, typing.types.UnionType):  # type: ignore[attr-defined]
        return all(is_plain(arg) for arg in args)
    if origin is None:
        is_known = hint in (float, tuple, set, frozenset, datetime, date, UUID, Path) or is_record(hint)
        return not is_known and not isinstance(hint, typing.NewType) and not _is_enum(hint)
    return False


def structure(value: Any, hint: Any) -> Any:
    """Make a value of a type of a JSON value.

    Raises:
        ValidationError: It cannot be made; the message says why.
    """
    try:
        return _converter().structure(value, hint)
    except Exception as error:  # a class may refuse its fields in any way
        cause: BaseException = error
        while cause.__cause__ is not None and not text_of(cause):
            cause = cause.__cause__
        text = text_of(cause) or type(cause).__name__
        raise AsmError(ErrorCode.VALIDATION_ERROR, text) from error


@cache
def _converter() -> cattrs.Converter:
    made = cattrs.Converter(detailed_validation=False, forbid_extra_keys=True, use_alias=True)
    for kind in (str, int, bool, type(None)):
        made.register_structure_hook(kind, _exactly(kind))
    made.register_structure_hook(float, _float)
    readers: tuple[tuple[type, Callable[[str], Any]], ...] = (
        (datetime, datetime.fromisoformat),
        (date, date.fromisoformat),
        (UUID, UUID),
        (Path, Path),
    )
    for known, read in readers:
        made.register_structure_hook(known, _read(known, read))
    made.register_structure_hook_func(_is_enum, _enum)
    made.register_structure_hook_func(typing.is_typeddict, lambda value, kind: _typed_dict(made, value, kind))
    made.register_structure_hook_factory(_is_union, lambda hint: _union(made, hint))
    return made


def _exactly(kind: type) -> Callable[[Any, Any], Any]:
    def check(value: Any, hint: Any) -> Any:
        if _is_enum(hint):  # one whose members are texts or numbers, too
            return _enum(value, hint)
        if type(value) is not kind:
            raise TypeError(f"{value!r:.80} is not of type {kind.__name__}")
        return value

    return check


def _float(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"{value!r:.80} is no number")
    return float(value)


def _read(kind: type, read: Callable[[str], Any]) -> Callable[[Any, Any], Any]:
    def check(value: Any, _: Any) -> Any:
        if not isinstance(value, str):
            raise TypeError(f"{value!r:.80} is no text of a {kind.__name__}")
        return read(value)

    return check


def _is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Enum)


def _enum(value: Any, kind: type[Enum]) -> Enum:
    for known, member in zip(enum_values(kind), kind, strict=True):
        if type(known) is type(value) and known == value:
            return member
    raise ValueError(f"{value!r:.80} is none of {', '.join(map(repr, enum_values(kind)))}")


def _typed_dict(converter: cattrs.Converter, value: Any, kind: type) -> dict[str, Any]:
    # Where annotations are deferred, only their own text says which keys may be left out.
    known = fields_of(kind)
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r:.80} is no map")
    for name in value:
        if name not in known:
            raise ValueError(f"there is no key {name!r:.80}")
    for name, one in known.items():
        if one.is_required and name not in value:
            raise ValueError(f"there must be a key {name!r}")
    return {name: converter.structure(item, known[name].hint) for name, item in value.items()}


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _union(converter: cattrs.Converter, hint: Any) -> Callable[[Any, Any], Any]:
    members = get_args(hint)

    def choose(value: Any, _: Any) -> Any:
        first: Exception | None = None
        for member in members:
            try:
                return converter.structure(value, member)
            except Exception as error:  # told if no member takes it
                first = first or error
        assert first is not None
        raise first

    return choose
