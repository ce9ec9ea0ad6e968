"""Checks of what callers hand in, times, and the reading of maps."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asm_actors.errors import AsmError, ErrorCode, ValidationError
from asm_actors.events import EventType
from asm_actors.serialization import (
    Fields,
    check_id,
    check_integer,
    check_number,
    check_text,
    check_time,
    iso_from_us,
    json_map,
    json_value,
    parse_member,
    time_from_us,
    us_from_iso,
    us_from_time,
)

FAST = settings(max_examples=60, deadline=None, derandomize=True, database=None)
# The years 1 to 9999.
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999


@pytest.mark.parametrize("name", ["a", " ", "a" * 200, "é" * 100, "𝄞" * 50, "a/b:c", "\xa0"])
def test_names_that_are_allowed(name):
    assert check_id(name, "id") == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (None, "id is required"),
        ("", "id cannot be empty"),
        (3, "must be a string, not 3"),
        (b"a", "must be a string, not a value of type bytes"),
        ("a" * 201, "at most 200 bytes"),
        ("é" * 101, "at most 200 bytes"),
        ("𝄞" * 51, "at most 200 bytes"),
        ("a\x00", "control characters"),
        ("\t", "control characters"),
        ("a\x85", "control characters"),
        ("a\udc80", "surrogates"),
    ],
)
def test_names_that_are_refused(name, why):
    with pytest.raises(ValidationError, match=why) as caught:
        check_id(name, "id")
    assert caught.value.details == {"field": "id"}
    str(caught.value).encode()


def test_text_may_be_empty_and_hold_anything_but_surrogates():
    assert check_text("", "t") == ""
    assert check_text("a\n\x00é", "t") == "a\n\x00é"
    with pytest.raises(ValidationError):
        check_text("\ud800", "t")


def test_a_string_subclass_becomes_a_plain_string():
    assert type(check_text(EventType.RUN_STARTED, "t")) is str


@pytest.mark.parametrize("value", [0, -1, FIRST, LAST])
def test_times_within_the_calendar_are_taken(value):
    assert check_time(value, "now") == value


@pytest.mark.parametrize("value", [None, 1.0, "1", True, FIRST - 1, LAST + 1])
def test_other_times_are_refused(value):
    with pytest.raises(ValidationError, match="now must"):
        check_time(value, "now")


@given(st.integers(FIRST, LAST))
@FAST
def test_times_survive_every_form(us):
    assert us_from_iso(iso_from_us(us), "t") == us
    assert us_from_time(time_from_us(us), "t") == us
    assert len(iso_from_us(us)) == 27


@given(st.integers(FIRST, LAST), st.integers(FIRST, LAST))
@FAST
def test_time_texts_sort_as_the_times_do(one, other):
    assert (iso_from_us(one) < iso_from_us(other)) is (one < other)


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000001+00:00", 1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T19:00:00-05:00", 0),
    ],
)
def test_texts_with_an_offset_are_read(text, us):
    assert us_from_iso(text, "t") == us


@pytest.mark.parametrize(
    "text",
    [
        None,
        0,
        "",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-02-30T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "\ud800",
        datetime(1970, 1, 1, tzinfo=UTC),
    ],
)
def test_other_texts_are_refused(text):
    with pytest.raises(ValidationError, match="t must"):
        us_from_iso(text, "t")


@pytest.mark.parametrize(
    "value",
    [
        None,
        "x",
        3,
        datetime(1970, 1, 1),  # noqa: DTZ001 - a time without a zone is what is tested
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_times_without_a_zone_or_place_are_refused(value):
    with pytest.raises(ValidationError):
        us_from_time(value, "t")


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(1 << 63), (1 << 64) - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
    ),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=12,
)


@given(json_values)
@FAST
def test_json_is_taken_as_it_is(value):
    assert json_value(value, "v") == value
    assert json_value(json.loads(json.dumps(value)), "v") == value


@given(st.dictionaries(st.text(), json_values))
@FAST
def test_maps_are_copied_to_the_bottom(value):
    copy = json_map(value, "v")
    assert copy == value
    assert copy is not value
    for key, item in value.items():
        if isinstance(item, dict | list):
            assert copy[key] is not item


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": {1: 2}}, r"a key of v\.a must be a string, not 1"),
        ({"a": {None: 2}}, r"a key of v\.a must be a string"),
        ({"\ud800": 1}, "a key of v must be text"),
        ({"a": [1, float("nan")]}, r"v\.a\[1\] must be a finite number"),
        ([float("inf")], r"v\[0\] must be a finite number"),
        ({"a": b"x"}, r"v\.a must be a JSON value .* not a value of type bytes"),
        ({"a": {1, 2}}, r"v\.a must be a JSON value"),
        (object(), "v must be a JSON value"),
        (datetime(2026, 1, 1, tzinfo=UTC), "v must be a JSON value"),
        ({"a": {"b": ["\udfff"]}}, r"v\.a\.b\[0\] must be text"),
        (1 << 64, "v must fit into 64 bits"),
        (-(1 << 63) - 1, "v must fit into 64 bits"),
        pytest.param(10**5_000, "v must fit into 64 bits", id="long"),
    ],
)
def test_what_json_cannot_hold_is_refused_at_its_place(value, place):
    with pytest.raises(ValidationError, match=place) as caught:
        json_value(value, "v")
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    str(caught.value).encode()


def nested(levels):
    value = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_a_hundred_levels_are_enough():
    assert json_map(nested(100), "v") == nested(100)
    assert json_value(nested(100), "v") == nested(100)
    for check in (json_map, json_value):
        with pytest.raises(ValidationError, match="nested more than 100 levels"):
            check(nested(101), "v")


def test_a_value_that_contains_itself_is_nested_too_deep():
    loop = []
    loop += [loop, loop]
    with pytest.raises(ValidationError, match="nested"):
        json_value(loop, "v")


@pytest.mark.parametrize("value", [[], "x", 3, [("a", 1)]])
def test_a_map_is_a_map(value):
    with pytest.raises(ValidationError, match="v must be a map"):
        json_map(value, "v")


def test_no_map_is_an_empty_map():
    assert json_map(None, "v") == {}


def test_members_are_found_by_their_text():
    assert parse_member(EventType, "run_failed", ErrorCode.INVALID_EVENT_TYPE) is EventType.RUN_FAILED


@pytest.mark.parametrize("value", ["x", "", None, 3, [], "\ud800", "y" * 500])
def test_a_text_that_is_no_member_names_the_members(value):
    with pytest.raises(AsmError, match="not one of: session_created, ") as caught:
        parse_member(EventType, value, ErrorCode.INVALID_EVENT_TYPE)
    assert caught.value.code is ErrorCode.INVALID_EVENT_TYPE
    str(caught.value).encode()


@pytest.mark.parametrize(
    ("value", "ok"), [(0, True), (5, True), (-1, False), (True, False), (1.0, False), ("1", False)]
)
def test_integers_are_checked(value, ok):
    if ok:
        assert check_integer(value, "n", least=0) == value
    else:
        with pytest.raises(ValidationError, match="n must be an integer of at least 0"):
            check_integer(value, "n", least=0)


@pytest.mark.parametrize("value", [-1, True, "1", float("nan"), float("inf"), 10**400, None])
def test_numbers_are_finite_and_not_negative(value):
    with pytest.raises(ValidationError, match="x must be a"):
        check_number(value, "x")


def test_fields_tell_what_is_there():
    fields = Fields({"a": 1, "b": None}, "thing")
    assert fields.has("a")
    assert not fields.has("b")
    assert not fields.has("c")


@pytest.mark.parametrize(
    ("method", "absent"),
    [
        ("value", None),
        ("optional_id", None),
        ("optional_text", None),
        ("map", {}),
        ("optional_map", None),
        ("items", []),
        ("ids", ()),
        ("texts", ()),
        ("optional_time", None),
        ("optional_number", None),
    ],
)
def test_absent_optional_fields_have_their_empty_value(method, absent):
    for source in ({}, {"a": None}):
        assert getattr(Fields(source, "thing"), method)("a") == absent


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda fields: fields.id("a"), 3),
        (lambda fields: fields.optional_id("a"), ""),
        (lambda fields: fields.optional_text("a"), 3),
        (lambda fields: fields.map("a"), []),
        (lambda fields: fields.optional_map("a"), []),
        (lambda fields: fields.items("a"), {}),
        (lambda fields: fields.items("a"), "abc"),
        (lambda fields: fields.ids("a"), [""]),
        (lambda fields: fields.texts("a"), [1]),
        (lambda fields: fields.time("a"), "x"),
        (lambda fields: fields.optional_time("a"), 1),
        (lambda fields: fields.integer("a", least=1), 0),
        (lambda fields: fields.optional_integer("a", least=1), 0),
        (lambda fields: fields.optional_number("a"), "1"),
        (lambda fields: fields.boolean("a", default=True), 1),
    ],
)
def test_malformed_fields_are_named_with_their_owner(read, value):
    with pytest.raises(ValidationError, match=r"thing\.a"):
        read(Fields({"a": value}, "thing"))


@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_only_maps_have_fields(value):
    with pytest.raises(ValidationError, match="a thing is read from a map"):
        Fields(value, "thing")
