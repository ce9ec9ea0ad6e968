"""What a writer hands to the journal."""

from __future__ import annotations

from asm_actors.events import EventType
from asm_actors.journal.append import EMPTY, Append, Appended, Draft


def test_a_draft_needs_only_its_type_and_time():
    draft = Draft(EventType.SESSION_CREATED, 5)
    assert draft == (EventType.SESSION_CREATED, 5, None, {}, {}, None, None, None)
    assert draft.data is EMPTY
    assert draft.metadata is EMPTY


def test_an_append_may_hold_events_only():
    append = Append("ses_1", [Draft(EventType.SESSION_CREATED, 5)], 1 << 32)
    assert append.session is None
    assert append.runs == ()
    assert append.expect is None


def test_the_fields_stand_in_their_promised_order():
    assert Draft._fields == (
        "type",
        "timestamp_us",
        "run_id",
        "data",
        "metadata",
        "provider",
        "correlation_id",
        "id",
    )
    assert Append._fields == ("session_id", "drafts", "base_id", "session", "runs", "expect")
    assert Appended._fields == ("first_sequence", "first_position", "count")
    assert Appended(1, 7, 3).count == 3


def test_the_shared_empty_map_is_empty():
    assert EMPTY == {}
