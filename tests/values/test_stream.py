"""The in-memory stream of one run's events."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.normalization.normalized_event import NormalizedEvent
from asm_actors.normalization.stream import EventStream, StreamStatus


def event(id_="e", sequence=None, type_=EventType.RUN_STARTED, session_id="s", run_id="r"):
    return NormalizedEvent(
        id=id_, type=type_, timestamp_us=0, session_id=session_id, run_id=run_id, sequence_number=sequence
    )


def stream(*sequences, **options):
    return EventStream.new("s", "r", **options).push_batch([event(f"e{n}", n) for n in sequences])


def numbers(events):
    return [e.sequence_number for e in events]


def code_of(action):
    with pytest.raises(AsmError) as caught:
        action()
    return caught.value.code


def test_a_new_stream_is_open_and_empty():
    fresh = EventStream.new("s", "r")
    assert (fresh.count, fresh.remaining, fresh.cursor, fresh.next_sequence) == (0, 0, 0, 0)
    assert fresh.buffer_size == 1000
    assert fresh.status is StreamStatus.OPEN
    assert not fresh.is_closed


@pytest.mark.parametrize(
    "arguments",
    [
        {"session_id": None},
        {"session_id": ""},
        {"run_id": None},
        {"buffer_size": 0},
        {"buffer_size": True},
        {"buffer_size": "9"},
    ],
)
def test_a_stream_needs_names_and_a_size(arguments):
    fields = {"session_id": "s", "run_id": "r", **arguments}
    assert code_of(lambda: EventStream.new(**fields)) is ErrorCode.VALIDATION_ERROR


def test_pushing_numbers_from_zero_and_returns_a_new_stream():
    empty = EventStream.new("s", "r")
    two = empty.push(event("a")).push(event("b"))
    assert numbers(two.events) == [0, 1]
    assert two.next_sequence == 2
    assert empty.count == 0


@pytest.mark.parametrize(
    ("pushed", "kept", "following"),
    [
        ([None, None], [0, 1], 2),
        ([5, None], [5, 6], 7),
        ([5, 2, None], [2, 5, 6], 7),
        ([0, 0], [0, 0], 1),
        ([3], [3], 4),
    ],
)
def test_numbers_count_on_from_the_highest(pushed, kept, following):
    one_by_one = EventStream.new("s", "r")
    for n in pushed:
        one_by_one = one_by_one.push(event(sequence=n))
    at_once = EventStream.new("s", "r").push_batch([event(sequence=n) for n in pushed])
    assert numbers(one_by_one.events) == kept
    assert one_by_one.next_sequence == following
    assert at_once == one_by_one


@given(pushed=st.lists(st.one_of(st.none(), st.integers(0, 12)), max_size=20), size=st.integers(1, 6))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_a_full_stream_keeps_the_highest_numbers_either_way(pushed, size):
    one_by_one = EventStream.new("s", "r", buffer_size=size)
    for n in pushed:
        one_by_one = one_by_one.push(event(sequence=n))
    at_once = EventStream.new("s", "r", buffer_size=size).push_batch([event(sequence=n) for n in pushed])
    assert numbers(at_once.events) == numbers(one_by_one.events)
    assert at_once.count == min(size, len(pushed))
    assert numbers(at_once.events) == sorted(numbers(at_once.events))


@pytest.mark.parametrize(
    ("stranger", "code"),
    [
        (event(session_id="other"), ErrorCode.SESSION_MISMATCH),
        (event(run_id="other"), ErrorCode.RUN_MISMATCH),
        (event(session_id="other", run_id="other"), ErrorCode.SESSION_MISMATCH),
    ],
)
def test_events_of_others_are_refused(stranger, code):
    assert code_of(lambda: stream(0).push(stranger)) is code


def test_a_batch_is_taken_wholly_or_not_at_all():
    before = stream(0)
    mixed = [event("a", 1), event("b", 2, run_id="other")]
    with pytest.raises(AsmError, match="1 of 2") as caught:
        before.push_batch(mixed)
    assert caught.value.code is ErrorCode.CONTEXT_MISMATCH
    assert caught.value.details == {"event_ids": ["b"]}
    assert before == stream(0)


def test_a_closed_stream_takes_nothing_and_is_still_read():
    closed = stream(0, 1, 2).close()
    assert closed.is_closed
    assert closed.cursor == 3
    assert closed.remaining == 0
    assert code_of(lambda: closed.push(event())) is ErrorCode.STREAM_CLOSED
    assert code_of(lambda: closed.push_batch([])) is ErrorCode.STREAM_CLOSED
    assert numbers(closed.get_events()) == [0, 1, 2]
    assert closed.close() == closed


def test_reading_filters_and_limits():
    mixed = stream(0, 1, 2, 3).push(event("f", 4, EventType.RUN_FAILED))
    assert numbers(mixed.get_events()) == [0, 1, 2, 3, 4]
    assert numbers(mixed.get_events(from_cursor=2)) == [2, 3, 4]
    assert numbers(mixed.get_events(type_="run_failed")) == [4]
    assert numbers(mixed.get_events(from_cursor=1, type_="run_started", limit=2)) == [1, 2]
    assert mixed.get_events(limit=0) == ()
    assert code_of(lambda: mixed.get_events(type_="nonsense")) is ErrorCode.INVALID_EVENT_TYPE
    assert code_of(lambda: mixed.get_events(limit=-1)) is ErrorCode.VALIDATION_ERROR
    assert code_of(lambda: mixed.get_events(from_cursor=-1)) is ErrorCode.INVALID_CURSOR


def test_the_cursor_moves_forward_only():
    moved = stream(0, 1, 2).advance_cursor(2)
    assert moved.cursor == 2
    assert moved.remaining == 1
    assert moved.advance_cursor(2) == moved
    assert code_of(lambda: moved.advance_cursor(1)) is ErrorCode.INVALID_CURSOR
    for wrong in ("3", None, True, 2.0, -1):
        assert code_of(lambda wrong=wrong: moved.advance_cursor(wrong)) is ErrorCode.INVALID_CURSOR


def test_peeking_leaves_events_unread_and_taking_does_not():
    before = stream(0, 2, 5)
    assert numbers(before.peek()) == [0]
    assert numbers(before.peek(2)) == [0, 2]
    taken, after = before.take(2)
    assert numbers(taken) == [0, 2]
    assert after.cursor == 3
    assert numbers(after) == [5]
    assert after.take(0) == ((), after)
    rest, empty = after.take(9)
    assert numbers(rest) == [5]
    assert empty.take() == ((), empty)
    assert code_of(lambda: before.take(-1)) is ErrorCode.VALIDATION_ERROR


def test_iterating_goes_over_what_is_unread():
    assert numbers(stream(0, 1, 2).advance_cursor(1)) == [1, 2]
