from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asm_actors.errors import RETRYABLE, AsmError, ErrorCode
from asm_actors.providers.retry import RetryPolicy

UNAVAILABLE = AsmError(ErrorCode.PROVIDER_UNAVAILABLE)


class Fixed:
    def __init__(self, value):
        self.value = value
        self.draws = 0

    def random(self):
        self.draws += 1
        return self.value


def limited(seconds):
    return AsmError(ErrorCode.PROVIDER_RATE_LIMITED, retry_after=seconds)


def test_the_wait_doubles_up_to_its_maximum():
    policy = RetryPolicy(max_attempts=10, initial=0.5, maximum=3.0, jitter=0)
    assert [policy.delay(attempt, UNAVAILABLE, Fixed(0)) for attempt in range(1, 6)] == [
        0.5,
        1.0,
        2.0,
        3.0,
        3.0,
    ]


def test_the_multiplier_is_the_callers():
    policy = RetryPolicy(max_attempts=9, initial=1, maximum=100, multiplier=3, jitter=0)
    assert [policy.delay(attempt, UNAVAILABLE, Fixed(0)) for attempt in (1, 2, 3)] == [1, 3, 9]


def test_a_multiplier_of_one_waits_evenly():
    policy = RetryPolicy(max_attempts=50, initial=2, maximum=100, multiplier=1, jitter=0)
    assert [policy.delay(attempt, UNAVAILABLE, Fixed(0)) for attempt in (1, 2, 40)] == [2, 2, 2]


def test_the_last_attempt_is_not_retried():
    policy = RetryPolicy(max_attempts=3)
    assert policy.delay(2, UNAVAILABLE, Fixed(0)) is not None
    assert policy.delay(3, UNAVAILABLE, Fixed(0)) is None
    assert policy.delay(4, UNAVAILABLE, Fixed(0)) is None


def test_one_attempt_never_retries():
    assert RetryPolicy(max_attempts=1).delay(1, UNAVAILABLE, Fixed(0)) is None


@pytest.mark.parametrize("code", ErrorCode)
def test_exactly_the_retryable_codes_are_retried(code):
    assert (RetryPolicy().delay(1, AsmError(code), Fixed(0)) is not None) == (code in RETRYABLE)


def test_an_error_may_say_that_it_is_not_retryable_after_all():
    error = AsmError(ErrorCode.PROVIDER_UNAVAILABLE, retryable=False)
    assert RetryPolicy().delay(1, error, Fixed(0)) is None


@pytest.mark.parametrize("error", [RuntimeError("defect"), KeyboardInterrupt(), TimeoutError()])
def test_a_defect_is_not_retried(error):
    assert RetryPolicy().delay(1, error, Fixed(0)) is None


def test_retry_after_is_a_lower_bound():
    policy = RetryPolicy(initial=0.5, jitter=0)
    assert policy.delay(1, limited(7.0), Fixed(0)) == 7.0
    assert policy.delay(1, limited(0.1), Fixed(0)) == 0.5


def test_jitter_only_adds():
    policy = RetryPolicy(initial=1.0, jitter=0.5)
    assert policy.delay(1, limited(10.0), Fixed(0.0)) == 10.0
    assert policy.delay(1, limited(10.0), Fixed(1.0)) == 15.0
    assert policy.delay(1, UNAVAILABLE, Fixed(1.0)) == 1.5


def test_a_retry_after_beyond_the_bound_gives_up():
    policy = RetryPolicy(max_retry_after=60)
    assert policy.delay(1, limited(60.0), Fixed(0)) == 60.0
    assert policy.delay(1, limited(60.1), Fixed(0)) is None


def test_nothing_is_drawn_when_it_gives_up():
    source = Fixed(0)
    assert RetryPolicy().delay(9, UNAVAILABLE, source) is None
    assert source.draws == 0


def test_the_same_seed_gives_the_same_waits():
    policy = RetryPolicy(max_attempts=20)

    def waits(seed):
        source = random.Random(seed)
        return [policy.delay(attempt, UNAVAILABLE, source) for attempt in range(1, 10)]

    assert waits(7) == waits(7)
    assert waits(7) != waits(8)


def test_the_module_random_is_a_source_too():
    assert RetryPolicy().delay(1, UNAVAILABLE, random) >= 0.5


@given(
    attempt=st.integers(1, 5000),
    initial=st.floats(0, 100),
    growth=st.floats(1, 10),
    asked=st.none() | st.floats(0, 120),
    drawn=st.floats(0, 1, exclude_max=True),
)
def test_any_wait_lies_between_what_was_asked_and_the_bounds(attempt, initial, growth, asked, drawn):
    policy = RetryPolicy(max_attempts=10_000, initial=initial, maximum=100, multiplier=growth, jitter=0.25)
    wait = policy.delay(attempt, limited(asked), Fixed(drawn))
    assert max(asked or 0, min(initial, 100)) <= wait <= max(asked or 0, 100) * 1.25


@pytest.mark.parametrize(
    "fields",
    [
        {"max_attempts": 0},
        {"max_attempts": True},
        {"max_attempts": 1.5},
        {"initial": -1},
        {"initial": "1"},
        {"maximum": float("inf")},
        {"maximum": 0.1},
        {"multiplier": 0.5},
        {"multiplier": float("nan")},
        {"jitter": -0.1},
        {"max_retry_after": -1},
        {"max_retry_after": 10**400},
        {"initial": 10**5000},
        {"max_attempts": -(10**5000)},
    ],
)
def test_fields_out_of_range_are_refused(fields):
    with pytest.raises(AsmError) as caught:
        RetryPolicy(**fields)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


def test_a_policy_is_a_value():
    assert RetryPolicy() == RetryPolicy()
    with pytest.raises(AttributeError):
        RetryPolicy().initial = 3
