"""Validators of attrs fields: what of them a schema says."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any

import attrs
import pytest
from attrs import validators as v

from asm_actors.json_schema import compile_schema
from asm_actors.tools.schema import schema_of_type


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


def of_field(hint, validator, **options):
    made = attrs.make_class("Made", {"x": attrs.field(type=hint, validator=validator, **options)})
    return schema_of_type(made)["properties"]["x"]


@pytest.mark.parametrize(
    ("hint", "validator", "schema"),
    [
        (int, v.gt(5), {"type": "integer", "exclusiveMinimum": 5}),
        (int, [v.ge(1), v.lt(9)], {"type": "integer", "minimum": 1, "exclusiveMaximum": 9}),
        (float, v.and_(v.le(9.5), v.le(7)), {"type": "number", "maximum": 7}),
        (int, [v.ge(1), v.ge(3)], {"type": "integer", "minimum": 3}),
        (int, v.gt(float("inf")), {"type": "integer"}),
        (str, v.in_(["a", "b"]), {"type": "string", "enum": ["a", "b"]}),
        (str, v.in_({"b", "a"}), {"type": "string", "enum": ["a", "b"]}),
        (str, v.in_("abc"), {"type": "string"}),
        (Any, v.in_([object]), {}),
        (Colour, v.in_([Colour.BLUE]), {"type": "string", "enum": ["blue"]}),
        (Colour, v.in_(Colour), {"type": "string", "enum": ["red", "blue"]}),
        (Any, v.instance_of(int), {"type": "integer"}),
        (Any, v.instance_of((int, str)), {"type": ["integer", "string"]}),
        (Any, v.instance_of(object), {}),
        (str, v.instance_of(str), {"type": "string"}),
        (str, [v.min_len(1), v.max_len(3)], {"type": "string", "minLength": 1, "maxLength": 3}),
        (list, v.min_len(1), {"type": "array", "minItems": 1}),
        (dict, v.max_len(2), {"type": "object", "maxProperties": 2}),
        (str, v.matches_re("a+"), {"type": "string", "pattern": "^(?:a+)$"}),
        (str, v.matches_re("a|b", func=re.match), {"type": "string", "pattern": "^(?:a|b)"}),
        (str, v.matches_re("a", func=re.search), {"type": "string", "pattern": "a"}),
        (str, v.matches_re("a", flags=re.IGNORECASE), {"type": "string"}),
        (
            int | None,
            v.optional(v.gt(1)),
            {"anyOf": [{"type": "integer", "exclusiveMinimum": 1}, {"type": "null"}]},
        ),
        (Any, v.optional(v.in_(["a"])), {"enum": ["a", None]}),
        (
            list[int],
            v.deep_iterable(v.ge(0), v.min_len(1)),
            {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
        ),
        (int, v.not_(v.gt(1)), {"type": "integer"}),
        (int, v.or_(v.gt(1), v.lt(0)), {"type": "integer"}),
        (int, lambda *_: None, {"type": "integer"}),
    ],
)
def test_what_a_schema_can_say_it_says(hint, validator, schema):
    assert of_field(hint, validator) == schema
    compile_schema(schema)


def test_a_field_with_a_converter_is_not_constrained():
    assert of_field(int, v.gt(5), converter=lambda value: value * 10) == {"type": "integer"}
