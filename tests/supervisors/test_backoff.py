"""Back-off: bounds, growth, injected randomness, and the reset after a stable life."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.backoff import Backoff


def test_without_jitter_the_pause_doubles_up_to_the_maximum():
    backoff = Backoff(initial=0.5, maximum=3.0, jitter=0)
    assert [backoff.delay(n) for n in range(1, 6)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_factor_of_one_gives_a_constant_pause():
    assert {Backoff(initial=2, maximum=9, factor=1, jitter=0).delay(n) for n in range(1, 50)} == {2}


@pytest.mark.parametrize(("drawn", "share"), [(0.0, 1.0), (0.5, 0.75), (1.0, 0.5)])
def test_jitter_takes_the_drawn_part_off(drawn, share):
    backoff = Backoff(initial=1, maximum=8, jitter=0.5, random=lambda: drawn)
    assert [backoff.delay(n) for n in (1, 2, 3, 4, 5)] == [p * share for p in (1, 2, 4, 8, 8)]


def test_no_initial_pause_is_no_pause_ever():
    assert [Backoff(initial=0).delay(n) for n in (1, 10, 1000)] == [0, 0, 0]


def test_a_huge_attempt_number_does_not_overflow():
    assert Backoff(initial=0.1, maximum=30, jitter=0).delay(10**6) == 30


def test_the_same_seed_gives_the_same_pauses():
    pauses = [[Backoff(random=random.Random(7).random).delay(n) for n in range(1, 9)] for _ in range(2)]
    assert pauses[0] == pauses[1]


@given(
    st.floats(0, 10),
    st.floats(0, 100),
    st.floats(1, 10),
    st.floats(0, 1),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 2000),
)
def test_every_pause_lies_between_its_least_share_and_the_maximum(
    initial, more, factor, jitter, drawn, attempt
):
    backoff = Backoff(initial, initial + more, factor, jitter, random=lambda: drawn)
    full = Backoff(initial, initial + more, factor, 0).delay(attempt)
    assert initial <= full <= initial + more
    assert full * (1 - jitter) * (1 - 1e-9) <= backoff.delay(attempt) <= full


@pytest.mark.parametrize(
    ("previous", "lived", "attempt"),
    [(0, 0.0, 1), (3, 0.0, 4), (3, 59.9, 4), (3, 60.0, 1), (3, 1e9, 1)],
)
def test_a_stable_life_makes_the_next_restart_a_first_one(previous, lived, attempt):
    assert Backoff(stable_after=60.0).next_attempt(previous, lived) == attempt


@pytest.mark.parametrize(
    "wrong",
    [
        {"initial": -1},
        {"initial": True},
        {"initial": "1"},
        {"initial": float("inf")},
        {"initial": 2, "maximum": 1},
        {"maximum": float("inf")},
        {"factor": 0.9},
        {"factor": float("nan")},
        {"jitter": -0.1},
        {"jitter": 1.1},
        {"stable_after": -1},
    ],
)
def test_a_number_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=r"must"):
        Backoff(**wrong)


def test_attempts_count_from_one():
    with pytest.raises(ValueError, match="from 1"):
        Backoff().delay(0)
