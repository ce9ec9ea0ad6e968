"""Any value as JSON can hold it."""

from __future__ import annotations

import json
from collections import OrderedDict, UserDict, deque
from datetime import UTC, date, datetime
from enum import Enum, IntEnum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asm_actors.errors import ErrorCode
from asm_actors.jsonable import MAX_DEPTH, jsonable, shown, stringify_keys


class Colour(Enum):
    RED = "red"
    PAIR = (1, 2)


class Level(IntEnum):
    HIGH = 3


class Mapped:
    def to_map(self):
        return {"a": {1, 2}}


class Angry:
    def __repr__(self):
        raise RuntimeError

    def __str__(self):
        raise RuntimeError


class OddText(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (1, 1),
        (1.5, 1.5),
        ("é", "é"),
        ("\ud800x", "?x"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (1 << 64, str(1 << 64)),
        ((1 << 64) - 1, (1 << 64) - 1),
        (-(1 << 63), -(1 << 63)),
        (b"x\xff", "x\ufffd"),
        ((1, (2,)), [1, [2]]),
        ({3, 1, 2}, [1, 2, 3]),
        (deque([1]), [1]),
        (OrderedDict(a=1), {"a": 1}),
        (UserDict(a=1), {"a": 1}),
        ({1: "a", None: "b", ErrorCode.TIMEOUT: "c"}, {"1": "a", "None": "b", "timeout": "c"}),
        (Colour.RED, "red"),
        (Colour.PAIR, [1, 2]),
        (Level.HIGH, 3),
        (ErrorCode.TIMEOUT, "timeout"),
        (OddText("x"), "x"),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (Mapped(), {"a": [1, 2]}),
        (Angry(), "<Angry>"),
        ({Angry(): 1}, {"<Angry>": 1}),
        ([Angry(), 1], ["<Angry>", 1]),
    ],
)
def test_every_value_has_its_json_form(value, expected):
    result = jsonable(value)
    assert result == expected
    assert type(result) is type(expected)
    json.dumps(result, allow_nan=False).encode()


def test_an_integer_too_long_to_print_in_decimal_is_hex():
    assert jsonable(10**5_000) == hex(10**5_000)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (3, "3"),
        (1.5, "1.5"),
        ("é\ud800", r"'é\ud800'"),
        ("x" * 100, "'" + "x" * 76 + "..."),
        ([1], "a value of type list"),
        (Angry(), "a value of type Angry"),
        (Level.HIGH, "3"),
    ],
)
def test_messages_show_values_briefly(value, text):
    assert shown(value) == text
    assert shown(10**5_000).startswith("0x")


def test_a_class_is_shown_and_not_called():
    assert jsonable(Mapped).startswith("<class")


def test_a_value_that_contains_itself_ends():
    loop = [1]
    loop += [loop, loop]
    assert jsonable(loop) == [1, "[cycle]", "[cycle]"]
    ring = {}
    ring["ring"] = {"back": ring}
    assert jsonable(ring) == {"ring": {"back": "[cycle]"}}
    assert stringify_keys(ring) == {"ring": {"back": "[cycle]"}}


def test_a_value_seen_twice_side_by_side_is_no_cycle():
    shared = [1]
    assert jsonable([shared, shared]) == [[1], [1]]


def test_too_deep_a_value_is_cut():
    deep = []
    for _ in range(500):
        deep = [deep]
    result, depth = jsonable(deep), 0
    while isinstance(result, list):
        result, depth = result[0], depth + 1
    assert (result, depth) == ("[nested too deep]", MAX_DEPTH)


def test_the_result_shares_nothing_with_the_value():
    value = {"a": [{"b": 1}]}
    jsonable(value)["a"][0]["b"] = 2
    assert value == {"a": [{"b": 1}]}


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.datetimes()),
    lambda inner: st.one_of(
        st.lists(inner),
        st.dictionaries(st.one_of(st.text(), st.integers(), st.none()), inner),
        st.frozensets(st.integers()),
    ),
    max_leaves=10,
)


@given(anything)
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_the_result_is_always_json_and_a_fixed_point(value):
    once = jsonable(value)
    json.dumps(once, allow_nan=False).encode()
    assert jsonable(once) == once
