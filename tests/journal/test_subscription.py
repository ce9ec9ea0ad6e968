"""The cursor machine of a subscription, without actors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asm_actors.events import Event, EventType
from asm_actors.journal.query import EventFilter
from asm_actors.journal.subscription import (
    LAG_LIMIT,
    Pull,
    Scope,
    SubscriptionPhase,
    SubscriptionState,
    matches,
)


def event(place, **fields):
    values = {
        "id": f"evt_{place:032x}",
        "type": EventType.MESSAGE_STREAMED,
        "timestamp_us": 1_000 * place,
        "session_id": "s",
        "run_id": None,
        "sequence_number": place,
        "data": {},
        "metadata": {},
        "provider": None,
        "correlation_id": None,
        "position": place,
    }
    return Event(**{**values, **fields})


def state(cursor=0, **scope):
    return SubscriptionState(Scope("s", **scope), cursor)


def asked(machine, limit=100, after=None, token="token"):
    machine.asked(Pull(limit, None, after), token)
    return machine


def test_what_was_found_is_handed_over_and_moves_the_cursor():
    machine = asked(state())
    page = machine.found([event(1), event(2)], 2, 2)
    assert [one.sequence_number for one in page.events] == [1, 2]
    assert (page.cursor, page.is_over, machine.cursor, machine.n_delivered) == (2, False, 2, 2)


def test_nothing_found_means_waiting_and_is_live():
    machine = asked(state(5))
    assert machine.found([], 5, 9) is None
    assert machine.phase is SubscriptionPhase.LIVE


def test_what_is_not_wanted_is_passed():
    machine = asked(state(5))
    assert machine.found([], 8, 9) is None
    assert machine.cursor == 8


def test_more_than_was_asked_for_stays_beyond_the_cursor():
    machine = asked(state(), limit=2)
    page = machine.found([event(1), event(4), event(6)], 9, 9, is_over=True)
    assert [one.sequence_number for one in page.events] == [1, 4]
    assert (page.cursor, page.is_over) == (4, False)


def test_a_pull_that_restates_an_earlier_cursor_goes_back_to_it():
    machine = asked(state())
    machine.found([event(1), event(2)], 2, 2)
    asked(machine, after=0)
    assert machine.cursor == 0
    asked(machine, after=0)
    assert machine.cursor == 0


def test_a_new_pull_takes_the_place_of_one_that_waits():
    machine = state()
    assert machine.asked(Pull(), "first") is None
    assert machine.asked(Pull(), "second") == "first"
    assert machine.pull[1] == "second"


def test_a_session_that_is_over_ends_the_subscription_with_its_last_event():
    machine = asked(state())
    page = machine.found([event(1)], 1, 1, is_over=True)
    assert page.is_over
    assert machine.phase is SubscriptionPhase.OVER
    page = asked(machine, after=1).found([], 1, 1, is_over=True)
    assert (page.events, page.is_over) == ([], True)


def test_going_back_from_the_end_is_not_the_end():
    machine = asked(state())
    machine.found([event(1)], 1, 1, is_over=True)
    asked(machine, after=0)
    assert not machine.is_over


def test_before_is_exclusive_and_ends_the_subscription():
    machine = asked(state(filter=EventFilter(before=3)))
    page = machine.found([event(1), event(2), event(3), event(4)], 4, 4)
    assert [one.sequence_number for one in page.events] == [1, 2]
    assert page.is_over


def test_before_ends_the_subscription_even_if_nothing_up_to_it_is_wanted():
    machine = asked(state(filter=EventFilter(before=3)))
    assert machine.found([], 1, 9) is None
    assert machine.found([], 2, 9).is_over


def test_a_subscription_far_behind_says_that_it_lags():
    machine = asked(state())
    machine.found([event(1)], 1, LAG_LIMIT + 2)
    assert machine.phase is SubscriptionPhase.LAGGING
    machine.found([event(2)], 2, 3)
    assert machine.phase is SubscriptionPhase.CATCHING_UP


def test_the_whole_journal_is_followed_by_position():
    machine = SubscriptionState(Scope(), 0)
    asked(machine)
    page = machine.found([event(1, sequence_number=7, position=40)], 40, 40)
    assert page.cursor == 40


@pytest.mark.parametrize(
    ("wanted", "fields", "expected"),
    [
        ({}, {}, True),
        ({"run_ids": "r"}, {"run_id": "r"}, True),
        ({"run_ids": "r"}, {}, False),
        ({"types": "run_completed"}, {"type": EventType.RUN_COMPLETED}, True),
        ({"types": "run_completed"}, {}, False),
        ({"since": 5_000}, {}, True),
        ({"since": 5_001}, {}, False),
        ({"until": 5_000}, {}, True),
        ({"until": 4_999}, {}, False),
        ({"providers": ["p", "q"]}, {"provider": "q"}, True),
        ({"providers": "p"}, {"provider": "q"}, False),
        ({"correlation_id": "c"}, {"correlation_id": "c"}, True),
        ({"correlation_id": "c"}, {}, False),
        ({"after": 100, "before": 1}, {}, True),
    ],
)
def test_a_filter_wants_an_event_or_not(wanted, fields, expected):
    assert matches(event(5, **fields), EventFilter(**wanted)) is expected


@given(
    wanted=st.sets(st.integers(1, 30)),
    n_events=st.integers(0, 30),
    reads=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 7), st.booleans()), max_size=40),
)
def test_whatever_the_pages_and_whatever_answers_get_lost_each_wanted_event_comes_once_in_order(
    wanted, n_events, reads
):
    machine, cursor, got = state(), 0, []
    journal = [event(place) for place in range(1, n_events + 1)]
    for limit, scan, arrives in [*reads, *[(5, 7, True)] * 40]:
        asked(machine, limit, after=cursor)
        page = None
        while page is None and machine.cursor < n_events:
            scanned = min(machine.cursor + scan, n_events)
            found = [one for one in journal[machine.cursor : scanned] if one.sequence_number in wanted]
            page = machine.found(found, scanned, n_events)
        if page is not None and arrives:
            got += [one.sequence_number for one in page.events]
            cursor = page.cursor
    assert got == sorted(place for place in wanted if place <= n_events)
