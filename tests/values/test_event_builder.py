"""From what somebody else reported to an event that the journal can take."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from asm_actors.errors import AsmError, ValidationError
from asm_actors.events import EventType
from asm_actors.normalization.event_builder import WARNINGS, BuildContext, build_event, build_events
from asm_actors.redaction.redactor import Redactor

NOW = 1_767_225_600_000_000
SECRET = "sk-ant-api03-" + "a" * 40


def context(**fields):
    given = {"session_id": "ses_1", "now": NOW, "ids": ("evt_1", "evt_2", "evt_3"), "run_id": "run_1"}
    return BuildContext(**{**given, "provider": "claude", "correlation_id": "cor_1", **fields})


def test_it_is_resolved_and_enriched():
    raw = {
        "type": "run_completed",
        "data": {"stop_reason": "end_turn"},
        "provider": "other",
        "correlation_id": "x",
    }
    event = build_event(raw, context())
    assert (event.id, event.type, event.session_id, event.run_id) == (
        "evt_1",
        EventType.RUN_COMPLETED,
        "ses_1",
        "run_1",
    )
    assert (event.provider, event.correlation_id, event.sequence_number) == ("claude", "cor_1", None)
    assert event.metadata == {}


@pytest.mark.parametrize("raw", [{"type": "odd"}, {}, {"type": None}, {"type": 3}])
def test_a_type_that_is_not_ours_or_missing_is_an_error_that_occurred(raw):
    assert build_event(raw, context()).type is EventType.ERROR_OCCURRED


@pytest.mark.parametrize("field", ["data", "metadata"])
@pytest.mark.parametrize("value", [None, "x", [1], 3])
def test_what_is_no_map_counts_as_an_empty_one(field, value):
    event = build_event({"type": "session_started", field: value}, context())
    assert getattr(event, field) == {}


def test_its_own_time_is_kept_if_it_can_be_read():
    when = datetime(2026, 1, 1, tzinfo=UTC)
    assert build_event({"timestamp": when}, context()).timestamp == when
    assert build_event({"timestamp": "2026-01-01T00:00:00Z"}, context()).timestamp == when
    for unreadable in (None, "yesterday", 3, datetime(2026, 1, 1)):  # noqa: DTZ001 - it lacks a zone
        assert build_event({"timestamp": unreadable}, context()).timestamp_us == NOW


def test_secrets_are_taken_out_before_anything_is_kept():
    raw = {"type": "error_occurred", "data": {"error_message": f"key {SECRET}"}, "metadata": {"key": SECRET}}
    event = build_event(raw, context(redactor=Redactor()))
    assert SECRET not in repr(event)
    assert event.data["error_message"].startswith("key [REDACTED")
    assert SECRET in repr(build_event(raw, context()))


def test_an_unusual_shape_is_kept_and_says_so():
    event = build_event({"type": "message_received", "data": {"content": 3}, "metadata": {"a": 1}}, context())
    assert event.data == {"content": 3}
    assert event.metadata == {
        "a": 1,
        WARNINGS: ["message_received: content must be a string", "message_received: role is missing"],
    }


def test_a_batch_is_taken_wholly_or_not_at_all():
    raws = [{"type": "run_started"}, {"type": "run_completed", "data": {"stop_reason": "end"}}]
    assert [event.id for event in build_events(raws, context())] == ["evt_1", "evt_2"]
    with pytest.raises(ValidationError) as caught:
        build_events([*raws, "no map"], context())
    [error] = caught.value.details["errors"]
    assert (error["index"], error["raw"]) == (2, "no map")


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        ("x", {}),
        (None, {}),
        ({}, {"ids": ()}),
        ({}, {"session_id": ""}),
        ({}, {"provider": 3}),
    ],
)
def test_what_cannot_be_an_event_is_refused(raw, fields):
    with pytest.raises(AsmError) as caught:
        build_event(raw, context(**fields))
    assert caught.value.code == "validation_error"
