"""From a function's signature and docstring to the JSON Schema of its arguments. Pure."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import jsonable

__all__ = ["description_of", "schema_of"]

_SIMPLE: Final[Mapping[Any, str]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    tuple: "array",
    dict: "object",
    type(None): "null",
}
_LISTS: Final = (list, tuple, Sequence)
_MAPS: Final = (dict, Mapping)
_ARGS: Final = re.compile(r"^(Args|Arguments|Parameters):\s*$")
_SECTION: Final = re.compile(r"^[A-Z][A-Za-z ]*:\s*$")
_ARG: Final = re.compile(r"^(?P<indent>\s+)\*{0,2}(?P<name>\w+)\s*(\([^)]*\))?:\s*(?P<text>.*)$")


def description_of(function: Callable[..., Any]) -> str:
    """Return the docstring up to its first section such as ``Args:``, or the empty text."""
    lines = (inspect.getdoc(function) or "").splitlines()
    end = next((at for at, line in enumerate(lines) if _SECTION.match(line)), len(lines))
    return "\n".join(lines[:end]).strip()


def schema_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the JSON Schema of a function's arguments: an object; arguments without a default are required.

    Raises:
        ValidationError: The function has no signature, or takes arguments by position only.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise AsmError(ErrorCode.VALIDATION_ERROR, f"{function!r:.80} has no signature: {error}") from error
    hints, texts = _hints(function), _argument_texts(function)
    properties: dict[str, Any] = {}
    required: list[str] = []
    takes_more = False
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise AsmError(
                ErrorCode.VALIDATION_ERROR,
                f"a tool gets its arguments by name, and {name!r} of {function!r:.80} has none",
            )
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_more = True
            continue
        schema = _schema(hints.get(name, Any))
        if name in texts:
            schema["description"] = texts[name]
        if parameter.default is parameter.empty:
            required.append(name)
        elif parameter.default is not None:
            schema["default"] = jsonable(parameter.default)
        properties[name] = schema
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": takes_more,
    }


def _hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    target = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    try:
        return get_type_hints(target)
    except Exception:  # an annotation that cannot be resolved: the argument takes any value
        return {
            name: hint
            for name, hint in getattr(target, "__annotations__", {}).items()
            if not isinstance(hint, str)
        }


def _schema(hint: Any) -> dict[str, Any]:
    if isinstance(hint, Hashable) and hint in _SIMPLE:
        return {"type": _SIMPLE[hint]}
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return {"enum": list(args)}
    if origin in _LISTS:
        item = _schema(args[0]) if args else {}
        return {"type": "array", "items": item} if item else {"type": "array"}
    if origin in _MAPS:
        value = _schema(args[1]) if len(args) == 2 else {}
        return {"type": "object", "additionalProperties": value} if value else {"type": "object"}
    if origin in (Union, types.UnionType):
        parts = [_schema(arg) for arg in args]
        return {"anyOf": parts} if all(parts) else {}
    return {}


def _argument_texts(function: Callable[..., Any]) -> dict[str, str]:
    """Read the ``Args`` of a docstring: a line ``name: text`` each, continued by lines that are indented further."""
    texts: dict[str, str] = {}
    indent: str | None = None
    last: str | None = None
    is_inside = False
    for line in (inspect.getdoc(function) or "").splitlines():
        if not is_inside:
            is_inside = _ARGS.match(line) is not None
            continue
        if line and not line[0].isspace():
            break
        found = _ARG.match(line)
        if found is not None and (indent is None or found["indent"] == indent):
            indent, last = found["indent"], found["name"]
            texts[last] = found["text"].strip()
        elif last is not None and line.strip():
            texts[last] = f"{texts[last]} {line.strip()}".strip()
    return texts
