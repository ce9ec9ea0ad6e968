"""What is stored can be read again; what cannot be read is an error that names it."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.ids import event_id
from asm_actors.journal import codec
from asm_actors.journal.append import Draft
from asm_actors.journal.codec import (
    columns_of,
    event_ids_of,
    events_of,
    pack_run,
    pack_segment,
    pack_session,
    unpack_run,
    unpack_segment,
    unpack_session,
)
from asm_actors.journal.query import EventFilter
from asm_actors.journal.record_codec import record_codec
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.session import Session, SessionStatus

ALL = EventFilter()
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)
json_maps = st.dictionaries(st.text("abc"), json_values, max_size=3)
labels = st.none() | st.sampled_from(["x", "y"])
drafts = st.builds(
    Draft,
    type=st.sampled_from(list(EventType)),
    timestamp_us=st.integers(-(2**50), 2**60),
    run_id=labels,
    data=json_maps,
    metadata=json_maps,
    provider=labels,
    correlation_id=labels,
    id=st.none() | st.uuids().map(str),
)


def segment_of(some, number=7, first=3, base=5 << 32):
    return pack_segment(number, first, base, columns_of(some))


def facts(event):
    return (
        event.type, event.timestamp_us, event.run_id, event.data, event.metadata, event.provider, event.correlation_id
    )  # fmt: skip


@given(st.lists(drafts, min_size=1, max_size=6))
def test_drafts_become_the_same_events(some):
    segment = unpack_segment(segment_of(some), "log", 1)
    events = events_of(segment, "ses", 100, (0, len(some)), ALL)
    assert [facts(event) for event in events] == [draft[:7] for draft in some]
    assert [event.id for event in events] == [
        draft.id or event_id(5 << 32, k) for k, draft in enumerate(some)
    ]
    assert [event.id for event in events] == event_ids_of(segment)
    assert [event.sequence_number for event in events] == list(range(3, 3 + len(some)))
    assert [event.position for event in events] == list(range(100, 100 + len(some)))
    assert {event.session_id for event in events} == {"ses"}


@given(st.lists(drafts, min_size=1, max_size=5), st.integers(-2, 6), st.integers(-2, 8))
def test_a_part_of_a_segment_is_that_part_of_its_events(some, begin, end):
    segment = unpack_segment(segment_of(some), "log", 1)
    whole = events_of(segment, "ses", 1, (0, len(some)), ALL)
    assert events_of(segment, "ses", 1, (begin, end), ALL) == whole[max(begin, 0) : max(end, 0)]


def test_event_ids_wrap_at_128_bits():
    segment = unpack_segment(segment_of([Draft(EventType.RUN_STARTED, 1)] * 2, base=2**128 - 1), "log", 1)
    assert event_ids_of(segment) == ["evt_" + "f" * 32, "evt_" + "0" * 32]


def test_equal_columns_are_stored_once_and_absent_ones_not_at_all():
    draft = Draft(EventType.MESSAGE_STREAMED, 1, "run_" + "a" * 32, {}, {}, "provider")
    one, twenty = len(segment_of([draft])), len(segment_of([draft] * 20))
    assert twenty - one < 20 * 5


@given(json_maps, json_maps)
def test_records_become_the_same_records(first, second):
    session = Session(
        "s", "agent", SessionStatus.PAUSED, None, first, second, ("a", "b"), 1, 2, 3, "p", "k", 9
    )
    assert unpack_session(pack_session(session), "sessions", 1) == session
    run = Run(id="r", session_id="s", status=RunStatus.TIMEOUT, input=first, output=second, cost_usd=0.25)
    assert unpack_run(pack_run(run), "runs", 1) == run


@pytest.mark.parametrize(("names", "kind"), [(codec._SESSION_FIELDS, Session), (codec._RUN_FIELDS, Run)])
def test_no_field_of_a_record_is_forgotten(names, kind):
    """Whoever adds a field adds its name to the end of the stored order."""
    assert set(names) == {field.name for field in attrs.fields(kind)}
    assert len(set(names)) == len(names)


def test_a_record_of_fewer_fields_gets_the_defaults_of_the_others(monkeypatch):
    session = Session("s", "agent", idempotency_key="k", last_sequence=4)
    pack, _ = record_codec(codec._SESSION_FIELDS[:-4], codec._session)
    assert unpack_session(pack(session), "sessions", 1) == session.replace(
        idempotency_key=None, last_sequence=0
    )


def test_the_numbers_of_event_types_never_change():
    assert [codec._TYPES.index(EventType(name)) for name in ("session_created", "message_streamed")] == [
        0,
        14,
    ]
    assert codec._TYPES[27] == "tool_approval_denied"


def test_an_event_type_without_a_number_is_stored_by_its_name(monkeypatch):
    monkeypatch.delitem(codec._CODES, EventType.RUN_FAILED)
    some = [Draft(EventType.RUN_STARTED, 1), Draft(EventType.RUN_FAILED, 2)]
    segment = unpack_segment(segment_of(some), "log", 1)
    assert [event.type for event in events_of(segment, "s", 1, (0, 2), ALL)] == [d.type for d in some]


@pytest.mark.parametrize(
    "bad",
    [
        Draft(EventType.RUN_STARTED, 1, None, {"x": object()}),
        Draft(EventType.RUN_STARTED, 1, None, {"x": 2**64}),
        Draft(EventType.RUN_STARTED, 1, None, {"x": "\ud800"}),
        Draft(EventType.RUN_STARTED, "now"),
        Draft("no_such_type", 1),
        ("too", "short"),
        None,
    ],
)
def test_what_cannot_be_stored_is_a_validation_error(bad):
    with pytest.raises(AsmError) as caught:
        segment_of([Draft(EventType.RUN_STARTED, 1), bad])
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    # The encoder is reused, so a failure must leave nothing in it.
    assert unpack_session(pack_session(Session("s", "agent")), "sessions", 1) == Session("s", "agent")


def test_a_circle_is_a_validation_error():
    circle = {}
    circle["x"] = circle
    with pytest.raises(AsmError, match="cannot be stored"):
        pack_session(Session("s", "agent", metadata=circle))


@given(st.data())
def test_any_changed_byte_is_noticed(data):
    blob = bytearray(segment_of([Draft(EventType.RUN_STARTED, 1, "r", {"text": "hello"})] * 2))
    place = data.draw(st.integers(0, len(blob) - 1))
    blob[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(AsmError) as caught:
        unpack_segment(bytes(blob), "log", b"\x01\x02")
    assert caught.value.details["table"] == "log"
    assert caught.value.details["key"] == "0102"


@pytest.mark.parametrize("length", [0, 4, 5, 20])
def test_a_cut_record_is_noticed(length):
    with pytest.raises(AsmError, match="7 in sessions cannot be read") as caught:
        unpack_session(pack_session(Session("s", "agent"))[:length], "sessions", 7)
    assert caught.value.code is ErrorCode.STORAGE_READ_FAILED


def test_a_record_of_a_later_version_asks_for_migration():
    blob = b"\x02" + pack_session(Session("s", "agent"))[1:]
    with pytest.raises(AsmError) as caught:
        unpack_session(blob, "sessions", 7)
    assert (caught.value.code, caught.value.details["version"]) == (ErrorCode.MIGRATION_REQUIRED, 2)


def test_a_record_with_unknown_fields_is_unreadable():
    with pytest.raises(AsmError) as caught:
        unpack_session(pack_run(Run(id="r", session_id="s")), "sessions", 7)
    assert caught.value.code is ErrorCode.STORAGE_READ_FAILED
    with pytest.raises(AsmError):
        unpack_segment(pack_session(Session("s", "agent")), "log", 7)
