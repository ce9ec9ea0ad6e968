"""The restart window against OTP's rule: at most `intensity` restarts within `period`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.intensity import RestartWindow


@pytest.mark.parametrize(
    ("intensity", "period", "instants", "exceeded"),
    [
        (0, 5, [0], [True]),
        (1, 5, [0, 1], [False, True]),
        (1, 5, [0, 6, 12], [False, False, False]),
        (1, 5, [0, 5], [False, True]),  # both ends of the period count
        (1, 5, [0, 5.001], [False, False]),
        (2, 10, [0, 0, 0], [False, False, True]),
        (2, 10, [0, 4, 8, 11], [False, False, True, True]),
        (2, 10, [0, 4, 10.5, 14.5], [False, False, False, False]),
    ],
)
def test_the_restart_that_is_one_too_many_within_the_period_exceeds(intensity, period, instants, exceeded):
    window = RestartWindow(intensity, period)
    assert [window.record(now) for now in instants] == exceeded


def test_counting_forgets_what_is_older_than_the_period():
    window = RestartWindow(10, 5)
    for now in (0, 1, 2):
        window.record(now)
    assert [window.count(now) for now in (2, 5, 6.5, 8)] == [3, 3, 1, 0]


@given(
    st.integers(0, 5),
    st.integers(1, 20),
    st.lists(st.integers(0, 8), max_size=40),
)
def test_any_history_agrees_with_counting_all_restarts_from_scratch(intensity, period, gaps):
    window = RestartWindow(intensity, period)
    now = 0
    history: list[int] = []
    for gap in gaps:
        now += gap
        history.append(now)
        within = sum(1 for instant in history if instant >= now - period)
        assert window.record(now) is (within > intensity)
        assert window.count(now) == within
