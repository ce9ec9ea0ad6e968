"""The record of a session and its statuses."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime

import attrs
import pytest

from asm_actors.errors import AsmError, ErrorCode, StateError, ValidationError
from asm_actors.sessions.session import (
    SESSION_TRANSITIONS,
    TERMINAL_SESSION_STATUSES,
    Session,
    SessionStatus,
)
from asm_actors.transitions import state_diagram

NOW = 1_767_225_600_000_001
ALLOWED = {
    "pending": {"active", "failed", "cancelled"},
    "active": {"paused", "completed", "failed", "cancelled"},
    "paused": {"active", "completed", "failed", "cancelled"},
    "completed": set(),
    "failed": set(),
    "cancelled": set(),
}


def session(**fields):
    return Session.new(**{"id": "ses_1", "agent_id": "agent", "now": NOW, **fields})


def test_the_table_is_the_promised_one():
    assert {str(status): set(map(str, allowed)) for status, allowed in SESSION_TRANSITIONS.items()} == ALLOWED
    assert set(SESSION_TRANSITIONS) == set(SessionStatus)


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        SESSION_TRANSITIONS[SessionStatus.COMPLETED] = frozenset({SessionStatus.ACTIVE})


@pytest.mark.parametrize("target", list(SessionStatus))
@pytest.mark.parametrize("current", list(SessionStatus))
def test_status_changes_follow_the_table(current, target):
    before = session().replace(status=current)
    as_it_was = before.to_map()
    if target == current:
        assert before.with_status(target, NOW + 5) is before
    elif target in ALLOWED[current]:
        after = before.with_status(target, NOW + 5)
        assert after == before.replace(status=target, updated_us=NOW + 5)
        assert type(after.status) is SessionStatus
    else:
        with pytest.raises(StateError) as caught:
            before.with_status(target, NOW + 5)
        assert caught.value.code is ErrorCode.INVALID_TRANSITION
        assert caught.value.context == {"session_id": "ses_1"}
    assert before.to_map() == as_it_was


def test_a_status_may_be_given_as_text():
    active = session().with_status("active", NOW)
    assert active.status is SessionStatus.ACTIVE
    assert active.with_status("active", NOW + 1) is active


@pytest.mark.parametrize("status", ["running", "", "ACTIVE", None, 3, ["active"]])
def test_an_unknown_status_is_refused(status):
    with pytest.raises(StateError) as caught:
        session().with_status(status, NOW)
    assert caught.value.code is ErrorCode.INVALID_STATUS


@pytest.mark.parametrize("status", list(SessionStatus))
def test_terminal_statuses_end_a_session(status):
    assert session().replace(status=status).is_terminal is (status in {"completed", "failed", "cancelled"})
    assert (status in TERMINAL_SESSION_STATUSES) is (not ALLOWED[status])


def test_a_new_session_is_pending_and_empty():
    fresh = session()
    assert fresh.status is SessionStatus.PENDING
    assert (fresh.metadata, fresh.context, fresh.tags) == ({}, {}, ())
    assert (fresh.parent_session_id, fresh.provider, fresh.idempotency_key) == (None, None, None)
    assert fresh.last_sequence == 0
    assert not fresh.is_deleted
    assert fresh.created_us == fresh.updated_us == NOW


def test_times_are_shown_in_utc_to_the_microsecond():
    fresh = session().replace(deleted_us=NOW + 1)
    assert fresh.created_at == fresh.updated_at == datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert fresh.created_at.tzinfo is UTC
    assert fresh.deleted_at == datetime(2026, 1, 1, 0, 0, 0, 2, tzinfo=UTC)
    assert fresh.is_deleted
    assert session().deleted_at is None


def test_what_the_caller_gave_is_copied():
    context = {"messages": [{"role": "user"}]}
    tags = ["a", "b"]
    fresh = session(context=context, metadata=context, tags=tags)
    context["messages"][0]["role"] = "tool"
    tags.append("c")
    assert fresh.context == fresh.metadata == {"messages": [{"role": "user"}]}
    assert fresh.tags == ("a", "b")


def test_a_record_cannot_be_changed():
    fresh = session()
    for field in attrs.fields(Session):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(fresh, field.name, None)
    with pytest.raises(AttributeError):
        fresh.anything = 1


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"agent_id": None}, "agent_id is required"),
        ({"agent_id": ""}, "agent_id cannot be empty"),
        ({"agent_id": 3}, "agent_id must be a string"),
        ({"agent_id": "a" * 201}, "at most 200 bytes"),
        ({"agent_id": "é" * 101}, "at most 200 bytes"),
        ({"id": None}, "id is required"),
        ({"id": ""}, "id cannot be empty"),
        ({"id": "a\nb"}, "control characters"),
        ({"id": "a\x7f"}, "control characters"),
        ({"id": "\ud800"}, "surrogates"),
        ({"parent_session_id": ""}, "parent_session_id"),
        ({"provider": 1}, "provider"),
        ({"idempotency_key": "\x00"}, "idempotency_key"),
        ({"now": 1.5}, "now"),
        ({"now": True}, "now"),
        ({"now": 1 << 62}, "years 1 to 9999"),
        ({"metadata": []}, "metadata must be a map"),
        ({"metadata": {1: 2}}, "a key of metadata"),
        ({"context": {"a": [0, {"b": float("nan")}]}}, r"context\.a\[1\]\.b"),
        ({"context": {"a": b"x"}}, r"context\.a"),
        ({"tags": "abc"}, "tags must be a list"),
        ({"tags": ["ok", ""]}, r"tags\[1\]"),
        ({"tags": 3}, "tags"),
        ({"tags": None}, "tags"),
    ],
)
def test_bad_fields_are_refused_by_name(fields, place):
    with pytest.raises(ValidationError, match=place) as caught:
        session(**fields)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert "field" in caught.value.details


@pytest.mark.parametrize("name", ["x", "a" * 200, "é" * 100, "with space", "日本", "ses/1:2"])
def test_a_caller_may_choose_the_id(name):
    assert session(id=name).id == name


MAP = {
    "id": "ses_1",
    "agent_id": "agent",
    "status": "active",
    "created_at": "2026-01-01T00:00:00.000001Z",
    "updated_at": "2026-01-01T01:00:00+01:00",
}


def test_reading_the_required_fields_is_enough():
    read = Session.from_map(MAP)
    assert read == session().replace(status=SessionStatus.ACTIVE, updated_us=NOW - 1)
    assert type(read.status) is SessionStatus


@pytest.mark.parametrize("field", MAP)
def test_a_required_field_cannot_be_missing_or_null(field):
    for value in (MAP | {field: None}, {key: item for key, item in MAP.items() if key != field}):
        with pytest.raises(ValidationError, match=rf"session\.{field} is required"):
            Session.from_map(value)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"status": "running"}, ErrorCode.INVALID_STATUS),
        ({"status": 3}, ErrorCode.INVALID_STATUS),
        ({"id": 3}, ErrorCode.VALIDATION_ERROR),
        ({"created_at": "soon"}, ErrorCode.VALIDATION_ERROR),
        ({"created_at": "2026-01-01T00:00:00"}, ErrorCode.VALIDATION_ERROR),
        ({"created_at": "0001-01-01T00:00:00+23:00"}, ErrorCode.VALIDATION_ERROR),
        ({"updated_at": 5}, ErrorCode.VALIDATION_ERROR),
        ({"deleted_at": "soon"}, ErrorCode.VALIDATION_ERROR),
        ({"tags": "abc"}, ErrorCode.VALIDATION_ERROR),
        ({"tags": [1]}, ErrorCode.VALIDATION_ERROR),
        ({"metadata": []}, ErrorCode.VALIDATION_ERROR),
        ({"last_sequence": -1}, ErrorCode.VALIDATION_ERROR),
        ({"last_sequence": True}, ErrorCode.VALIDATION_ERROR),
        ({"last_sequence": 1.0}, ErrorCode.VALIDATION_ERROR),
    ],
)
def test_reading_a_malformed_field_is_an_error(change, code):
    with pytest.raises(AsmError) as caught:
        Session.from_map(MAP | change)
    assert caught.value.code is code


def test_unknown_fields_are_ignored_when_reading():
    assert Session.from_map(MAP | {"colour": "blue"}) == Session.from_map(MAP)


def test_the_map_always_has_every_key():
    assert set(session().to_map()) == {
        "id",
        "agent_id",
        "status",
        "parent_session_id",
        "metadata",
        "context",
        "tags",
        "created_at",
        "updated_at",
        "deleted_at",
        "provider",
        "idempotency_key",
        "last_sequence",
        "forked_at",
        "options",
    }


def test_changing_the_map_does_not_change_the_record():
    fresh = session(context={"a": {"b": 1}})
    fresh.to_map()["context"]["a"]["b"] = 2
    assert fresh.context == {"a": {"b": 1}}


def test_replace_changes_the_named_fields_only():
    fresh = session(tags=["a"])
    later = fresh.replace(last_sequence=7, updated_us=NOW + 1)
    assert (later.last_sequence, later.updated_us, later.tags) == (7, NOW + 1, ("a",))
    assert fresh.last_sequence == 0
    with pytest.raises(TypeError, match="no field 'colour'"):
        fresh.replace(colour="blue")


def test_records_are_equal_by_value_hashable_and_picklable():
    one, other = session(context={"a": 1}), session(context={"a": 1})
    assert one == other
    assert len({one, other}) == 1
    assert one != session(context={"a": 2})
    assert pickle.loads(pickle.dumps(one)) == one
    assert copy.deepcopy(one) == one


def test_the_diagram_shows_every_status():
    assert state_diagram(SESSION_TRANSITIONS).splitlines()[0] == "pending   ─> active | failed | cancelled"
    assert len(state_diagram(SESSION_TRANSITIONS).splitlines()) == len(SessionStatus)
