"""The facts of the journal."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import attrs
import pytest

from asm_actors.errors import AsmError, ErrorCode, ValidationError
from asm_actors.events import (
    EVENT_GROUPS,
    Event,
    EventGroup,
    EventType,
    group_of,
    parse_event_type,
    shape_warnings,
    validate,
)

NOW = 1_767_225_600_000_000
# Written out, not derived: stored events and readers rely on these names.
TYPES = {
    "session": "session_created session_started session_paused session_resumed session_completed "
    "session_failed session_cancelled",
    "run": "run_started run_completed run_failed run_cancelled run_timeout",
    "message": "message_sent message_received message_streamed",
    "tool": "tool_call_started tool_call_completed tool_call_failed",
    "error": "error_occurred error_recovered",
    "usage": "token_usage_updated turn_completed",
    "workspace": "workspace_snapshot_taken workspace_diff_computed",
    "policy": "policy_violation",
    "approval": "tool_approval_requested tool_approval_granted tool_approval_denied",
}


def event(**fields):
    return Event.new(**{"id": "evt_1", "type": "run_started", "session_id": "ses_1", "now": NOW, **fields})


@pytest.mark.parametrize("group", TYPES)
def test_each_group_has_its_types(group):
    names = TYPES[group].split()
    assert set(names) <= {type_.value for type_ in EVENT_GROUPS[EventGroup(group)]}
    assert all(group_of(EventType(name)) == group for name in names)


def test_every_type_is_in_exactly_one_group():
    grouped = [type_ for types in EVENT_GROUPS.values() for type_ in types]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == set(EventType)
    assert set(EVENT_GROUPS) == set(EventGroup)


@pytest.mark.parametrize("type_", list(EventType))
def test_a_type_is_found_by_its_name(type_):
    assert parse_event_type(type_) is type_
    assert parse_event_type(type_.value) is type_


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, ErrorCode.VALIDATION_ERROR),
        ("", ErrorCode.INVALID_EVENT_TYPE),
        ("run_begun", ErrorCode.INVALID_EVENT_TYPE),
        ("RUN_STARTED", ErrorCode.INVALID_EVENT_TYPE),
        (3, ErrorCode.INVALID_EVENT_TYPE),
        ([], ErrorCode.INVALID_EVENT_TYPE),
    ],
)
def test_what_is_no_type_is_refused(value, code):
    with pytest.raises(AsmError) as caught:
        parse_event_type(value)
    assert caught.value.code is code


def test_a_new_event_has_no_place_yet():
    fresh = event()
    assert fresh.type is EventType.RUN_STARTED
    assert fresh.group is EventGroup.RUN
    assert fresh.timestamp == datetime(2026, 1, 1, tzinfo=UTC)
    assert (fresh.sequence_number, fresh.position, fresh.run_id) == (None, None, None)
    assert fresh.data == fresh.metadata == {}
    assert fresh.schema_version == 1


@pytest.mark.parametrize(
    ("fields", "code", "place"),
    [
        ({"type": None}, ErrorCode.VALIDATION_ERROR, "type is required"),
        ({"type": "nonsense"}, ErrorCode.INVALID_EVENT_TYPE, "nonsense"),
        ({"session_id": None}, ErrorCode.VALIDATION_ERROR, "session_id is required"),
        ({"session_id": ""}, ErrorCode.VALIDATION_ERROR, "session_id cannot be empty"),
        ({"id": "\x1b"}, ErrorCode.VALIDATION_ERROR, "id must not hold control"),
        ({"run_id": ""}, ErrorCode.VALIDATION_ERROR, "run_id"),
        ({"now": None}, ErrorCode.VALIDATION_ERROR, "now"),
        ({"data": [1]}, ErrorCode.VALIDATION_ERROR, "data must be a map"),
        ({"data": {"a": {2: 3}}}, ErrorCode.VALIDATION_ERROR, r"a key of data\.a"),
        ({"metadata": "x"}, ErrorCode.VALIDATION_ERROR, "metadata must be a map"),
        ({"provider": 3}, ErrorCode.VALIDATION_ERROR, "provider"),
        ({"correlation_id": ""}, ErrorCode.VALIDATION_ERROR, "correlation_id"),
    ],
)
def test_bad_fields_are_refused_by_name(fields, code, place):
    with pytest.raises(AsmError, match=place) as caught:
        event(**fields)
    assert caught.value.code is code


def test_the_payload_is_copied():
    data = {"a": [1]}
    fresh = event(data=data)
    data["a"].append(2)
    assert fresh.data == {"a": [1]}


RIGHT = {
    "message_received": {"content": "x", "role": "user"},
    "message_streamed": {"content": ""},
    "tool_call_started": {"tool_name": "bash"},
    "tool_call_completed": {"tool_name": "bash"},
    "tool_call_failed": {"tool_name": "bash"},
    "token_usage_updated": {"input_tokens": 0, "output_tokens": 3},
    "run_completed": {"stop_reason": "end_turn"},
    "error_occurred": {"error_message": "x"},
    "policy_violation": {"policy": "p", "kind": "k"},
    "tool_approval_requested": {"tool_name": "bash", "policy_name": "p"},
    "tool_approval_granted": {"tool_name": "bash"},
    "tool_approval_denied": {"tool_name": "bash"},
}


@pytest.mark.parametrize("type_", RIGHT)
def test_a_payload_of_the_promised_shape_gives_no_warning(type_):
    assert shape_warnings(EventType(type_), RIGHT[type_] | {"more": 1}) == ()


@pytest.mark.parametrize(("type_", "key"), [(type_, key) for type_, data in RIGHT.items() for key in data])
def test_each_missing_or_wrong_key_gives_one_warning(type_, key):
    kind = "an integer" if key.endswith("_tokens") else "a string"
    missing = {name: value for name, value in RIGHT[type_].items() if name != key}
    assert shape_warnings(EventType(type_), missing) == (f"{type_}: {key} is missing",)
    for wrong in (None, True, 1.5, []):
        assert shape_warnings(EventType(type_), RIGHT[type_] | {key: wrong}) == (
            f"{type_}: {key} must be {kind}",
        )


@pytest.mark.parametrize("type_", [type_ for type_ in EventType if type_ not in RIGHT])
def test_types_without_a_promise_give_no_warning(type_):
    assert shape_warnings(type_, {}) == ()


def test_subclasses_of_strings_and_integers_are_of_the_right_shape():
    assert shape_warnings(EventType.RUN_COMPLETED, {"stop_reason": EventType.RUN_STARTED}) == ()


def test_an_event_built_from_checked_parts_is_valid():
    assert validate(event(run_id="run_1", data={"a": 1})) is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"id": ""}, ErrorCode.VALIDATION_ERROR),
        ({"type": "nonsense"}, ErrorCode.INVALID_EVENT_TYPE),
        ({"type": None}, ErrorCode.VALIDATION_ERROR),
        ({"session_id": None}, ErrorCode.VALIDATION_ERROR),
        ({"run_id": ""}, ErrorCode.VALIDATION_ERROR),
        ({"provider": 1}, ErrorCode.VALIDATION_ERROR),
        ({"correlation_id": "\n"}, ErrorCode.VALIDATION_ERROR),
        ({"timestamp_us": "now"}, ErrorCode.VALIDATION_ERROR),
        ({"timestamp_us": 1 << 70}, ErrorCode.VALIDATION_ERROR),
        ({"data": None}, ErrorCode.VALIDATION_ERROR),
        ({"data": {"a": object()}}, ErrorCode.VALIDATION_ERROR),
        ({"metadata": []}, ErrorCode.VALIDATION_ERROR),
    ],
)
def test_validation_finds_what_the_bare_constructor_let_through(change, code):
    with pytest.raises(AsmError) as caught:
        validate(attrs.evolve(event(), **change))
    assert caught.value.code is code


MAP = {
    "id": "evt_1",
    "type": "run_started",
    "timestamp": "2026-01-01T00:00:00Z",
    "session_id": "ses_1",
    "schema_version": 1,
}


def test_reading_the_required_fields_is_enough():
    assert Event.from_map(MAP) == event()


@pytest.mark.parametrize("field", MAP)
def test_a_required_field_cannot_be_missing_or_null(field):
    for value in (MAP | {field: None}, {key: item for key, item in MAP.items() if key != field}):
        with pytest.raises(ValidationError, match=rf"event\.{field} is required"):
            Event.from_map(value)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"type": "nonsense"}, ErrorCode.INVALID_EVENT_TYPE),
        ({"timestamp": "nonsense"}, ErrorCode.VALIDATION_ERROR),
        ({"schema_version": 0}, ErrorCode.VALIDATION_ERROR),
        ({"schema_version": "1"}, ErrorCode.VALIDATION_ERROR),
        ({"schema_version": True}, ErrorCode.VALIDATION_ERROR),
        ({"sequence_number": -1}, ErrorCode.VALIDATION_ERROR),
        ({"position": 0}, ErrorCode.VALIDATION_ERROR),
        ({"data": "x"}, ErrorCode.VALIDATION_ERROR),
        ({"run_id": 7}, ErrorCode.VALIDATION_ERROR),
    ],
)
def test_reading_a_malformed_field_is_an_error(change, code):
    with pytest.raises(AsmError) as caught:
        Event.from_map(MAP | change)
    assert caught.value.code is code


@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_an_event_is_read_from_a_map_only(value):
    with pytest.raises(ValidationError):
        Event.from_map(value)


def test_an_event_cannot_be_changed():
    fresh = event()
    for field in attrs.fields(Event):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(fresh, field.name, None)


def test_events_are_equal_by_value_hashable_and_picklable():
    assert event(data={"a": 1}) == event(data={"a": 1})
    assert event(data={"a": 1}) != event(data={"a": 2})
    assert len({event(), event()}) == 1
    assert pickle.loads(pickle.dumps(event(data={"a": 1}))) == event(data={"a": 1})
