"""The circuit breaker: a table of its steps, and a machine that holds it to its rules."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from asm_actors.errors import AsmError, ErrorCode, ValidationError
from asm_actors.routing.breaker import Breaker, BreakerState, CircuitBreaker

CLOSED, OPEN, HALF_OPEN = BreakerState
RULES = CircuitBreaker(failure_threshold=2, cooldown=10.0, half_open_max_probes=1)


def after(*steps, rules=RULES):
    """A breaker after steps: ``(name, now)``, or ``(name, now, began_at)``."""
    breaker = Breaker(rules)
    for name, now, *rest in steps:
        breaker = getattr(breaker, name)(now, *rest)
    return breaker


OPENED = (("failed", 1.0), ("failed", 2.0))


@pytest.mark.parametrize(
    ("steps", "now", "state", "allows"),
    [
        ((), 0.0, CLOSED, True),
        ((("failed", 1.0),), 1.0, CLOSED, True),
        (OPENED, 2.0, OPEN, False),
        ((("failed", 1.0), ("succeeded", 2.0, 0.0), ("failed", 3.0)), 3.0, CLOSED, True),
        (OPENED, 11.9, OPEN, False),
        (OPENED, 12.0, HALF_OPEN, True),
        ((*OPENED, ("failed", 5.0)), 14.9, OPEN, False),
        ((*OPENED, ("failed", 5.0)), 15.0, HALF_OPEN, True),
        ((*OPENED, ("succeeded", 5.0, 0.0)), 5.0, OPEN, False),
        ((*OPENED, ("began", 12.0)), 12.0, HALF_OPEN, False),
        ((*OPENED, ("began", 12.0), ("given_up", 13.0, 12.0)), 13.0, HALF_OPEN, True),
        ((*OPENED, ("began", 12.0)), 21.9, HALF_OPEN, False),
        ((*OPENED, ("began", 12.0)), 22.0, HALF_OPEN, True),
        ((*OPENED, ("began", 12.0), ("succeeded", 13.0, 12.0)), 13.0, CLOSED, True),
        ((*OPENED, ("began", 12.0), ("succeeded", 13.0, 0.5)), 13.0, HALF_OPEN, False),
        ((*OPENED, ("began", 12.0), ("failed", 13.0)), 13.0, OPEN, False),
        ((*OPENED, ("began", 12.0), ("failed", 13.0)), 23.0, HALF_OPEN, True),
        ((*OPENED, ("began", 12.0), ("failed", 13.0), ("succeeded", 24.0, 12.0)), 24.0, HALF_OPEN, True),
        ((*OPENED, ("given_up", 12.0, 0.5)), 12.0, HALF_OPEN, True),
    ],
)
def test_the_steps_of_a_breaker(steps, now, state, allows):
    breaker = after(*steps)
    assert (breaker.at(now).state, breaker.allows(now)) == (state, allows)


def test_it_tells_when_it_may_let_something_through():
    breaker = after(*OPENED)
    assert [breaker.ready_in(now) for now in (2.0, 9.0, 12.0, 13.0)] == [10.0, 3.0, 0.0, 0.0]
    assert after(*OPENED, ("began", 12.0)).ready_in(15.0) == 7.0


def test_so_many_probes_at_a_time():
    rules = CircuitBreaker(failure_threshold=1, cooldown=10.0, half_open_max_probes=2)
    breaker = after(("failed", 0.0), ("began", 10.0), rules=rules)
    assert breaker.allows(10.0)
    breaker = breaker.began(10.0)
    assert not breaker.allows(10.0)
    assert breaker.given_up(11.0, 10.0).allows(11.0)


def test_a_closed_breaker_forgets_its_failures_and_its_probes():
    assert after(*OPENED, ("began", 12.0), ("succeeded", 13.0, 12.0)) == Breaker(RULES)


@pytest.mark.parametrize("now", [2.0, 12.0])
def test_what_it_refuses_cannot_begin(now):
    breaker = after(*OPENED) if now < 12 else after(*OPENED, ("began", 12.0))
    with pytest.raises(AsmError) as caught:
        breaker.began(now)
    assert caught.value.code is ErrorCode.INVALID_OPERATION


@pytest.mark.parametrize(
    "fields",
    [{"failure_threshold": 0}, {"half_open_max_probes": True}, {"cooldown": -1}, {"cooldown": float("nan")}],
)
def test_rules_out_of_range_are_refused(fields):
    with pytest.raises(ValidationError):
        CircuitBreaker(**fields)


def test_the_promised_defaults():
    assert CircuitBreaker() == CircuitBreaker(failure_threshold=5, cooldown=30.0, half_open_max_probes=1)


class BreakerMachine(RuleBasedStateMachine):
    """Requests that begin and end at any time, in any order."""

    def __init__(self):
        super().__init__()
        self.rules = CircuitBreaker(failure_threshold=3, cooldown=10.0, half_open_max_probes=2)
        self.breaker = Breaker(self.rules)
        self.now = 0.0
        self.under_way = []
        self.in_a_row = 0
        self.last_failure = None

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 9.5, 10.0, 25.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.breaker.allows(self.now))
    @rule()
    def begins(self):
        self.breaker = self.breaker.began(self.now)
        self.under_way.append(self.now)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def succeeds(self, data):
        began = self._taken(data)
        before = self.breaker.at(self.now)
        self.breaker = self.breaker.succeeded(self.now, began)
        if before.state is not HALF_OPEN:
            assert self.breaker.state is before.state
        if self.breaker.state is CLOSED:
            self.in_a_row = 0

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def fails(self, data):
        self._taken(data)
        before = self.breaker.at(self.now).state
        self.breaker = self.breaker.failed(self.now)
        self.in_a_row += 1
        self.last_failure = self.now
        if before is not CLOSED or self.in_a_row >= 3:
            assert self.breaker.state is OPEN

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def is_given_up(self, data):
        before = self.breaker.at(self.now)
        self.breaker = self.breaker.given_up(self.now, self._taken(data))
        assert self.breaker.state is before.state
        assert self.breaker.failures == before.failures

    def _taken(self, data):
        return self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))

    @invariant()
    def failures_in_a_row_open_it(self):
        current = self.breaker.at(self.now)
        assert (current.state is CLOSED) == (current.failures < 3)
        assert current.failures == self.in_a_row

    @invariant()
    def open_means_a_failure_within_the_cooldown(self):
        is_open = self.breaker.at(self.now).state is OPEN
        recent = self.last_failure is not None and self.now < self.last_failure + 10.0
        assert not is_open or recent
        assert is_open or self.in_a_row < 3 or not recent

    @invariant()
    def probes_are_bounded_and_under_way(self):
        current = self.breaker.at(self.now)
        assert len(current.probes) <= 2
        assert all(probe in self.under_way for probe in current.probes)

    @invariant()
    def it_lets_something_through_again_when_it_said_so(self):
        wait = self.breaker.ready_in(self.now)
        assert 0 <= wait <= 10.0
        assert self.breaker.allows(self.now) == (wait == 0)
        assert self.breaker.allows(self.now + wait + 1e-6)

    @invariant()
    def asking_changes_nothing(self):
        assert self.breaker.at(self.now).at(self.now) == self.breaker.at(self.now)


TestBreakerMachine = BreakerMachine.TestCase
