"""From types to JSON Schema and back: what a model is told of an argument, and what the function gets of its answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, NotRequired, Optional, TypedDict, Union
from uuid import UUID

import attrs
import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.json_schema import compile_schema
from asm_actors.structuring import is_plain, structure
from asm_actors.tools.context import ToolContext
from asm_actors.tools.schema import schema_of, schema_of_type
from asm_actors.tools.tool import tool


class Unit(StrEnum):
    CELSIUS = "celsius"
    KELVIN = "kelvin"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Shape(Enum):
    ROUND = object()
    SQUARE = (1, 2)


@attrs.frozen
class Place:
    """Somewhere.

    Attributes:
        city: Its name.
    """

    city: str
    unit: Unit = Unit.CELSIUS
    near: tuple[Place, ...] = ()
    _hidden: int = 0
    derived: int = attrs.field(init=False, default=3)


@dataclasses.dataclass
class Span:
    start: date
    end: date | None = None
    days: list[int] = dataclasses.field(default_factory=list)


class Wish(TypedDict):
    what: str
    when: NotRequired[datetime]


@attrs.frozen
class Car:
    wheels: int


@attrs.frozen
class Boat:
    sails: int


Code = NewType("Code", str)

SPAN = {
    "type": "object",
    "properties": {
        "start": {"type": "string", "format": "date"},
        "end": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        "days": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["start"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (Unit, {"type": "string", "enum": ["celsius", "kelvin"]}),
        (Level, {"enum": [1, 2]}),
        (Shape, {"type": "string", "enum": ["ROUND", "SQUARE"]}),
        (Literal[Unit.KELVIN, 3], {"enum": ["kelvin", 3]}),
        (datetime, {"type": "string", "format": "date-time"}),
        (UUID, {"type": "string", "format": "uuid"}),
        (Path, {"type": "string"}),
        (Code, {"type": "string"}),
        (set[int], {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
        (frozenset, {"type": "array", "uniqueItems": True}),
        (Sequence[str], {"type": "array", "items": {"type": "string"}}),
        (Mapping[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (
            tuple[int, str],
            {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (
            Annotated[int, "How many", {"minimum": 1}],
            {"type": "integer", "description": "How many", "minimum": 1},
        ),
        (Span, SPAN),
        (list[Span], {"type": "array", "items": SPAN}),
        (Optional[Span], {"anyOf": [SPAN, {"type": "null"}]}),  # noqa: UP045 - users write it
        (
            Wish,
            {
                "type": "object",
                "properties": {
                    "what": {"type": "string"},
                    "when": {"type": "string", "format": "date-time"},
                },
                "required": ["what"],
                "additionalProperties": False,
            },
        ),
        (
            Place,
            {
                "$ref": "#/$defs/Place",
                "$defs": {
                    "Place": {
                        "type": "object",
                        "description": "Somewhere.",
                        "properties": {
                            "city": {"type": "string", "description": "Its name."},
                            "unit": {"type": "string", "enum": ["celsius", "kelvin"], "default": "celsius"},
                            "near": {"type": "array", "items": {"$ref": "#/$defs/Place"}, "default": []},
                            "hidden": {"type": "integer", "default": 0},
                        },
                        "required": ["city"],
                        "additionalProperties": False,
                    }
                },
            },
        ),
        (object, {}),
        (complex, {}),
    ],
    ids=str,
)
def test_a_type_becomes_a_schema_which_is_one(hint, schema):
    assert schema_of_type(hint) == schema
    compile_schema(schema)


@pytest.mark.parametrize(
    ("hint", "given", "made"),
    [
        (Unit, "kelvin", Unit.KELVIN),
        (Level, 2, Level.HIGH),
        (Shape, "ROUND", Shape.ROUND),
        (datetime, "2026-01-31T09:30:00+00:00", datetime.fromisoformat("2026-01-31T09:30:00+00:00")),
        (date, "2026-01-31", date(2026, 1, 31)),
        (UUID, "00000000-0000-4000-8000-000000000000", UUID("00000000-0000-4000-8000-000000000000")),
        (Path, "a/b", Path("a/b")),
        (float, 3, 3.0),
        (set[int], [1, 2], {1, 2}),
        (tuple[int, ...], [1, 2], (1, 2)),
        (tuple[int, Unit], [1, "kelvin"], (1, Unit.KELVIN)),
        (dict[str, Unit], {"a": "kelvin"}, {"a": Unit.KELVIN}),
        (Span, {"start": "2026-01-31"}, Span(date(2026, 1, 31))),
        (Span | None, None, None),
        (list[Span], [{"start": "2026-01-31", "days": [1]}], [Span(date(2026, 1, 31), None, [1])]),
        (Wish, {"what": "x"}, {"what": "x"}),
        (Place, {"city": "Oslo", "near": [{"city": "Ski"}]}, Place("Oslo", near=(Place("Ski"),))),
        (Place, {"city": "Oslo", "hidden": 4}, Place("Oslo", hidden=4)),
        (Car | Boat, {"sails": 2}, Boat(2)),
        (Union[int, Unit, str], "kelvin", Unit.KELVIN),  # noqa: UP007 - users write it
        (int | str, "5", "5"),
        (bool | int, 5, 5),
        (Annotated[Unit, "which"], "kelvin", Unit.KELVIN),
        (Code, "x", "x"),
    ],
    ids=str,
)
def test_a_value_of_json_becomes_one_of_the_type(hint, given, made):
    found = structure(given, hint)
    assert found == made
    assert type(found) is type(made)


@pytest.mark.parametrize(
    ("hint", "given"),
    [
        (Unit, "rankine"),
        (Level, True),
        (datetime, "yesterday"),
        (datetime, 3),
        (UUID, "x"),
        (Span, {"start": "x"}),
        (Span, {}),
        (Place, {"city": "Oslo", "derived": 4}),
        (Place, {"city": 3}),
        (Car | Boat, {"masts": 2}),
        (float, "3"),
        (list[int], ["3"]),
    ],
    ids=str,
)
def test_a_value_that_does_not_fit_is_refused(hint, given):
    with pytest.raises(AsmError) as caught:
        structure(given, hint)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert caught.value.message


@pytest.mark.parametrize(
    ("hint", "plain"),
    [
        (str, True),
        (int | None, True),
        (list[dict[str, Any]], True),
        (Literal["a"], True),
        (Annotated[int, "x"], True),
        (bytes, True),
        (Literal[Unit.KELVIN], False),
        (float, False),
        (list[Unit], False),
        (Span | None, False),
        (Annotated[Unit, "x"], False),
        (tuple[int, ...], False),
        (Code, False),
    ],
    ids=str,
)
def test_what_json_holds_already_is_left_alone(hint, plain):
    assert is_plain(hint) is plain


# --- Of tools ----------------------------------------------------------------------------------------------------


def test_a_tool_gets_instances_of_its_classes():
    @tool
    def book(place: Place, span: Span | None = None, units: list[Unit] = [], note: str = ""):  # noqa: B006
        return place, span, units, note

    given = {"place": {"city": "Oslo"}, "units": ["kelvin"]}
    assert book.fault_of(given) is None
    assert book.prepared(given) == {"place": Place("Oslo"), "units": [Unit.KELVIN]}
    assert given == {"place": {"city": "Oslo"}, "units": ["kelvin"]}


def test_with_a_schema_of_ones_own_arguments_are_what_the_model_gave():
    @tool(input_schema={"type": "object", "properties": {"when": {"type": "string"}}})
    def look(when: datetime):
        return when

    assert look.prepared({"when": "whenever"}) == {"when": "whenever"}


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"n": "3", "unit": "kelvin"}, "n: '3' is not of type 'integer'"),
        ({"n": 0, "unit": "kelvin"}, "n: 0 is less than the minimum of 1"),
        ({"n": 1, "unit": "x"}, "unit: 'x' is not one of ['celsius', 'kelvin']"),
        ({"n": 1, "unit": "kelvin", "at": "x"}, "at: Invalid isoformat string: 'x'"),
        ({"n": 1, "unit": "kelvin", "places": [{"city": 1}]}, "places[0].city: 1 is not of type 'string'"),
        ({"unit": "kelvin"}, "missing: n"),
    ],
)
def test_the_model_is_told_which_argument_is_wrong_and_how(given, fault):
    @tool
    def look(
        n: Annotated[int, {"minimum": 1}], unit: Unit, at: datetime | None = None, places: list[Car] = ()
    ):
        pass

    @tool
    def other(
        n: Annotated[int, {"minimum": 1}], unit: Unit, at: datetime | None = None, places: list[Place] = ()
    ):
        pass

    found = other.fault_of(given)
    assert fault in found
    assert "it takes n, unit, at, places" in found
    assert look.fault_of({"n": 1, "unit": "kelvin", "places": [{"wheels": 4}]}) is None


def test_the_context_is_not_the_models():
    def look(at: str, context: ToolContext | None = None):
        return at, context

    made = tool(look)
    assert list(schema_of(look)["properties"]) == ["at"]
    assert made.context_parameter == "context"
    context = ToolContext("ses", "run", "call", 2, "agent")
    assert made.prepared({"at": "x"}, context) == {"at": "x", "context": context}
    assert made.prepared({"at": "x"}) == {"at": "x"}
    assert made.fault_of({"at": "x", "context": {}}) is not None
    assert "run" in repr(context)


def test_a_function_with_two_contexts_is_refused():
    def look(a: ToolContext, b: ToolContext):
        pass

    with pytest.raises(AsmError, match="one context"):
        tool(look)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "text"}}},
        {"type": "object", "required": "a"},
        {"type": "object", "properties": {"a": {"$ref": "https://example.org/a.json"}}},
    ],
)
def test_a_schema_that_is_none_is_refused_when_the_tool_is_made(schema):
    with pytest.raises(AsmError) as caught:
        tool(print, name="look", input_schema=schema)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert "the input_schema of tool look is no JSON Schema" in caught.value.message
