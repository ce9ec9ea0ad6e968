"""What checks values against a JSON Schema: places, bounds, drafts, references."""

from __future__ import annotations

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.json_schema import compile_schema

TREE = {"$ref": "#/$defs/node", "$defs": {"node": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}


@pytest.mark.parametrize(
    ("schema", "value", "faults"),
    [
        ({"type": "integer"}, 3, []),
        ({"type": "integer"}, "3", ["'3' is not of type 'integer'"]),
        (True, object, []),
        ({}, {"a": [1]}, []),
        (
            {"properties": {"a": {"items": {"type": "integer"}}}},
            {"a": [1, "x"]},
            ["a[1]: 'x' is not of type 'integer'"],
        ),
        (TREE, [[], [[]]], []),
        (TREE, [[3]], ["[0][0]: 3 is not of type 'array'"]),
        ({"format": "date-time", "type": "string"}, "any", []),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "null"}]}, [None, 3], []),
    ],
)
def test_a_value_fits_or_it_is_told_where_not(schema, value, faults):
    assert compile_schema(schema).faults(value) == faults


def test_only_the_first_faults_are_told_and_no_long_ones():
    found = compile_schema({"items": {"type": "integer"}}).faults(["x" * 10_000] * 50)
    assert len(found) == 5
    assert all(len(text) < 400 for text in found)


@pytest.mark.parametrize(
    "schema",
    [
        3,
        None,
        [],
        {"type": "text"},
        {"minimum": "x"},
        {"$schema": 5},
        {"$schema": None, "type": 3},
        {"$ref": "https://example.org/other.json"},
        {"properties": {"a": {"$ref": "other.json#/x"}}},
    ],
    ids=repr,
)
def test_what_is_no_schema_is_refused(schema):
    with pytest.raises(AsmError) as caught:
        compile_schema(schema)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert caught.value.message


def test_a_reference_that_leads_nowhere_is_a_fault_of_the_value():
    assert "does not have" in compile_schema({"$ref": "#/$defs/none"}).faults(3)[0]


def test_a_schema_without_an_end_is_a_fault_and_not_the_end():
    assert compile_schema({"$ref": "#"}).faults(3) == ["the schema refers to itself without an end"]
