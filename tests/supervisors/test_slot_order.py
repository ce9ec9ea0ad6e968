"""The order of a line, and rates: against plain models."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisors.rates import Rate, TokenBucket
from supervisors.slot_order import AGEING, PriorityLine, rank_of


def drained(line):
    return [line.pop() for _ in range(len(line))]


def test_equal_priorities_go_first_come_first_served():
    line = PriorityLine()
    for place, name in enumerate("abc", 1):
        line.add(name, rank_of(place))
    assert list(line) == drained(line) == ["a", "b", "c"]


def test_a_higher_priority_goes_first_and_of_equal_ones_the_older():
    line = PriorityLine()
    for place, (name, priority) in enumerate([("a", 0), ("b", 2), ("c", 1), ("d", 2), ("e", -1)], 1):
        line.add(name, rank_of(place, priority))
    assert list(line) == drained(line) == ["b", "d", "c", "a", "e"]


def test_nobody_is_passed_over_for_ever():
    """Of a stream of more important ones at most `AGEING` go before one that waits."""
    line = PriorityLine()
    line.add("patient", rank_of(1))
    for place in range(2, AGEING + 10):
        line.add(place, rank_of(place, 1))
    assert drained(line).index("patient") == AGEING - 1


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(-3, 3)),
            st.tuples(st.just("pop"), st.none()),
            st.tuples(st.just("remove"), st.integers(0, 40)),
        ),
        max_size=120,
    )
)
def test_any_history_agrees_with_a_sorted_list(history):
    line, model, place = PriorityLine(), [], 0
    for what, value in history:
        if what == "add":
            place += 1
            rank = rank_of(place, value)
            line.add(place, rank)
            model.append((rank, place))
            model.sort()
        elif what == "pop" and model:
            assert line.first_rank() == model[0][0]
            assert line.first() == model[0][1]
            assert line.pop() == model.pop(0)[1]
        elif what == "remove":
            there = [entry for entry in model if entry[1] == value]
            assert line.remove(value) is bool(there)
            model = [entry for entry in model if entry[1] != value]
        assert len(line) == len(model)
        assert list(line) == [item for _, item in model]
        assert all(item in line for _, item in model)


def test_what_was_removed_out_of_order_does_not_pile_up():
    line = PriorityLine()
    line.add("first", rank_of(1))
    for place in range(2, 5_000):
        line.add(place, rank_of(place, 5))
        line.remove(place)
    assert len(line._early) < 50


# --- Rates ---------------------------------------------------------------------------------------------------------


def test_a_full_bucket_gives_its_burst_at_once_and_then_one_for_each_step():
    bucket = TokenBucket(Rate(2.0, 3))
    taken = []
    now = 100.0
    for _ in range(6):
        now = max(now, bucket.ready_at())
        assert bucket.has(now)
        bucket.take(now)
        taken.append(now)
    assert taken == [100.0, 100.0, 100.0, 100.5, 101.0, 101.5]
    assert not bucket.has(101.5)
    assert bucket.level(101.5) == 0
    assert bucket.level(102.5) == 2
    assert bucket.level(200.0) == 3
    assert not bucket.is_full(102.0)
    assert bucket.is_full(103.0)


def test_more_than_the_burst_is_never_there():
    bucket = TokenBucket(Rate(2.0, 3))
    assert bucket.has(0.0, 3)
    assert not bucket.has(1_000.0, 4)


@settings(max_examples=100, deadline=None)
@given(
    st.floats(0.1, 50),
    st.integers(1, 5),
    st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_in_any_stretch_of_time_there_are_no_more_than_the_rate_and_the_burst(per_second, burst, pauses):
    bucket, now, taken = TokenBucket(Rate(per_second, burst)), 0.0, []
    for pause in pauses:
        now += pause
        while bucket.has(now):
            assert bucket.level(now) >= 1
            bucket.take(now)
            taken.append(now)
        assert bucket.level(now) == 0
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            allowed = burst + (taken[last] - taken[first]) * per_second
            assert last - first + 1 <= allowed + 1e-6


@pytest.mark.parametrize(
    "fields",
    [(0,), (-1,), (float("inf"),), (True,), ("1",), (5e-324,), (10**400,), (1, 0), (1, 1.5), (1, True)],
)
def test_what_is_no_rate_is_refused(fields):
    with pytest.raises(ValueError, match="must be"):
        Rate(*fields)
