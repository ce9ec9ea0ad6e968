"""JSON Schema: whether a schema is one, and what is wrong with a value. The only file of ``jsonschema``. Pure.

Nothing is fetched: a schema refers to itself and to nothing else. ``format`` says what is meant and is not checked, as
the standard has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import shown

__all__ = ["Checker", "compile_schema"]

_MOST: Final = 5
_LENGTH: Final = 300
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")


class Checker:
    """Checks values against one schema. Made by `compile_schema`."""

    __slots__ = ("_validator", "schema")

    def __init__(self, schema: Any, validator: Any) -> None:
        self.schema = schema
        self._validator = validator

    def faults(self, value: Any) -> list[str]:
        """Return what is wrong with a JSON value: at most five texts, each with the place where; empty if it fits."""
        try:
            found = islice(self._validator.iter_errors(value), _MOST)
            return [_told(error) for error in found]
        except Unresolvable as error:
            return [f"the schema refers to what it does not have: {str(error)[:_LENGTH]}"]
        except RecursionError:
            return ["the schema refers to itself without an end"]


def compile_schema(schema: Any) -> Checker:
    """Make what checks values against a schema; by default of the draft 2020-12, else of the one that it names.

    Args:
        schema: The schema, a JSON value.

    Raises:
        ValidationError: It is no JSON Schema, or refers to what it does not have; the message says what is wrong.
    """
    if not isinstance(schema, Mapping | bool):
        raise _bad(f"a JSON Schema is a map, not {shown(schema)}")
    draft = schema.get("$schema") if isinstance(schema, Mapping) else None
    if not isinstance(draft, str | None):
        raise _bad(f"$schema: a JSON Schema names its draft by a text, not {shown(draft)}")
    kind: Any = Draft202012Validator if draft is None else validator_for(schema, Draft202012Validator)
    try:
        kind.check_schema(schema)
        known = set(_values_of(schema, ("$id",)))
        targets = list(_values_of(schema, _REFERENCES))
    except SchemaError as error:
        raise _bad(_told(error)) from error
    except RecursionError:
        raise _bad("it is nested too deep") from None
    for target in targets:
        if not target.startswith("#") and target.partition("#")[0] not in known:
            raise _bad(f"it refers to {target[:_LENGTH]!r}, which it does not have")
    return Checker(schema, kind(schema, registry=Registry()))


def _values_of(schema: Any, names: tuple[str, ...]) -> Iterator[str]:
    if isinstance(schema, Mapping):
        for name, value in schema.items():
            if name in names and isinstance(value, str):
                yield value
            else:
                yield from _values_of(value, names)
    elif isinstance(schema, list | tuple):
        for value in schema:
            yield from _values_of(value, names)


def _told(error: ValidationError | SchemaError) -> str:
    text = str(error.message)
    if len(text) > _LENGTH:
        # What is too long is the value; what was asked of it is not.
        text = f"{shown(error.instance)} breaks the rule {error.validator!r}"
        rule = repr(error.validator_value)
        text += f" ({rule})" if len(rule) <= _LENGTH else ""
    place = error.json_path
    return text if place == "$" else f"{place.removeprefix('$.').removeprefix('$')}: {text}"


def _bad(text: str) -> AsmError:
    return AsmError(ErrorCode.VALIDATION_ERROR, text)
