"""Tools as values: what is made of a function, and what is refused."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, Optional, Union

import pytest

import asm_actors as asm
from asm_actors.errors import AsmError
from asm_actors.tools.docstrings import description_of
from asm_actors.tools.schema import schema_of
from asm_actors.tools.tool import Tool, tool, tools_by_name

EMPTY = {"type": "object", "properties": {}}


def properties(function):
    return schema_of(function)["properties"]


# --- Schema ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (list, {"type": "array"}),
        (dict, {"type": "object"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (tuple[str, ...], {"type": "array", "items": {"type": "string"}}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (dict[str, Any], {"type": "object"}),
        (Literal["a", "b"], {"enum": ["a", "b"]}),
        (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045 - users write it
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (Union[int, bytes], {}),  # noqa: UP007 - as above
        (Any, {}),
        (bytes, {}),
    ],
    ids=str,
)
def test_an_annotation_becomes_a_schema(hint, schema):
    def function(value):
        pass

    function.__annotations__ = {"value": hint}
    assert properties(function) == {"value": schema}


def test_arguments_without_a_default_are_required_and_no_others_are_taken():
    def function(a: int, b: str = "x", *, c: int | None = None, d=None):
        pass

    schema = schema_of(function)
    assert schema["required"] == ["a"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["b"] == {"type": "string", "default": "x"}
    assert "default" not in schema["properties"]["c"]


def test_a_function_of_any_arguments_takes_any():
    def function(**more):
        pass

    assert schema_of(function) == {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": True,
    }


def test_annotations_that_cannot_be_resolved_take_any_value():
    def function(a: Unknown, b: int):  # noqa: F821
        pass

    assert properties(function) == {"a": {}, "b": {}}


def test_the_docstring_describes_the_tool_and_its_arguments():
    def function(city: str, unit: str = "celsius", more=None):
        """Look up the weather.

        Of one city.

        Args:
            city: Name of the city,
                as people write it.
            unit (str): Unit of the temperature.

        Returns:
            more: not an argument.
        """

    assert description_of(function) == "Look up the weather.\n\nOf one city."
    texts = {name: schema.get("description") for name, schema in properties(function).items()}
    assert texts == {
        "city": "Name of the city, as people write it.",
        "unit": "Unit of the temperature.",
        "more": None,
    }


@pytest.mark.parametrize("function", [lambda *args: None, lambda a, /: None, dict.get, iter], ids=repr)
def test_a_function_that_takes_no_names_is_refused(function):
    with pytest.raises(AsmError) as caught:
        schema_of(function)
    assert caught.value.code.value == "validation_error"


# --- Tools -----------------------------------------------------------------------------------------------------


def test_the_decorator_takes_its_options_or_none():
    @asm.tool
    def plain(a: int) -> int:
        """Plain."""
        return a

    @asm.tool(name="other", description="Other.", safe_to_repeat=True, timeout=None, input_schema=EMPTY)
    async def told(a: int) -> int:
        return a

    assert (plain.name, plain.description, plain.safe_to_repeat, plain.timeout) == (
        "plain",
        "Plain.",
        False,
        60.0,
    )
    assert (told.name, told.description, told.safe_to_repeat, told.timeout) == ("other", "Other.", True, None)
    assert told.input_schema == EMPTY
    assert (plain.is_async, told.is_async) == (False, True)
    assert plain(4) == 4
    assert plain.to_map() == {"name": "plain", "description": "Plain.", "input_schema": plain.input_schema}
    assert len({plain, told}) == 2


def test_an_object_that_can_be_called_is_a_function_too():
    class Lookup:
        async def __call__(self, city: str) -> str:
            return city

    made = tool(Lookup())
    assert (made.name, made.is_async) == ("Lookup", True)
    assert made.input_schema["required"] == ["city"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "with space"),
        ("name", "x" * 65),
        ("name", 1),
        ("description", None),
        ("input_schema", {"type": "array"}),
        ("input_schema", {"x": object()}),
        ("function", "print"),
        ("safe_to_repeat", 1),
        ("timeout", 0),
        ("timeout", True),
        ("timeout", float("inf")),
        ("timeout", "1"),
    ],
)
def test_a_malformed_field_is_refused_and_named(field, value):
    fields = {"name": "look", "description": "", "input_schema": EMPTY, "function": print}
    with pytest.raises(AsmError) as caught:
        Tool(**fields | {field: value})
    assert caught.value.code.value == "validation_error"
    assert field in caught.value.message


@pytest.mark.parametrize("given", [3, "abc", {"a": print}, [3], [partial], [print, print]], ids=repr)
def test_what_is_no_list_of_tools_is_refused(given):
    with pytest.raises(AsmError):
        tools_by_name(given)


def test_functions_are_made_into_tools():
    def look(at: str) -> str:
        return at

    made = tools_by_name([look, tool(look, name="other")])
    assert list(made) == ["look", "other"]
    assert made["look"].function is look


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"a": 1}, None),
        ({"a": 1, "b": 2}, None),
        ({}, "missing: a"),
        ({"a": 1, "c": 3}, "unknown: c"),
        ({"c": 3}, "missing: a; unknown: c"),
    ],
)
def test_the_names_of_arguments_are_checked(given, fault):
    def function(a, b=1):
        pass

    found = tool(function).fault_of(given)
    assert (found is None) == (fault is None)
    assert fault is None or (fault in found and "it takes a, b" in found)


def test_a_schema_that_says_nothing_takes_anything():
    assert Tool("look", "", {}, print).fault_of({"x": 1}) is None
