"""The pool as an actor: several keys at once, priorities, rates on the dispatcher's clock, what is told."""

from __future__ import annotations

from supervisors.rates import Rate
from supervisors.slot_pool import (
    Acquire,
    GetPoolStatistics,
    Keys,
    Release,
    Resize,
    SlotGranted,
    SlotPool,
    Ticket,
)
from supervisors.testing import Probe


def probes(stage, n):
    return [Probe(stage.dispatcher) for _ in range(n)]


def counts(pool):
    return pool.ask(GetPoolStatistics(), timeout=5)


def test_a_grant_of_several_keys_is_one_message_and_an_exit_frees_all(stage):
    pool = stage.start(SlotPool, {"all": 2, "a": 1})
    both = Keys("all", "a")
    first, second = probes(stage, 2)
    pool.tell(Acquire(both, first.ref))
    pool.tell(Acquire(both, second.ref))
    stage.settle()
    assert (first.messages, second.messages) == ([SlotGranted(both, first.ref)], [])
    assert (counts(pool)["all"].in_use, counts(pool)["all"].waiting) == (1, 1)
    first.ref.stop(timeout=5)
    stage.settle()
    assert second.messages == [SlotGranted(both, second.ref)]
    second.ref.stop(timeout=5)
    stage.settle()
    assert {key: count.in_use for key, count in counts(pool).items()} == {"all": 0, "a": 0}


def test_several_keys_are_given_back_by_one_message(stage):
    pool = stage.start(SlotPool, {"all": 1, "a": 1})
    first, second = probes(stage, 2)
    for probe in (first, second):
        pool.tell(Acquire(Keys("all", "a"), probe.ref))
    pool.tell(Release(Keys("all", "a"), first.ref))
    stage.settle()
    assert len(second) == 1


def test_the_highest_priority_in_the_line_goes_first(stage):
    pool = stage.start(SlotPool, {"runs": 1})
    holder, low, high = probes(stage, 3)
    pool.tell(Acquire("runs", holder.ref))
    pool.tell(Acquire("runs", low.ref))
    pool.tell(Acquire("runs", high.ref, priority=5))
    holder.ref.stop(timeout=5)
    stage.settle()
    assert (len(low), len(high)) == (0, 1)


def test_one_that_does_not_want_to_wait_is_told_which_pool_is_full(stage):
    pool = stage.start(SlotPool, {"all": 5}, default_limit=1)
    first, second = probes(stage, 2)
    key = Keys("all", ("agent", "x"))
    pool.tell(Acquire(key, first.ref))
    pool.tell(
        Acquire(
            key,
            second.ref,
            wait=False,
            refused=lambda full, counts: (full, counts.in_use, counts.limit),
        )
    )
    stage.settle()
    assert second.messages == [(("agent", "x"), 1, 1)]
    assert counts(pool)["agent", "x"].refused == 1
    assert counts(pool)["all"].available == 4


def test_a_ticket_may_be_for_several_keys(stage):
    pool = stage.start(SlotPool, {"all": 1, "a": 1})
    owner, waiting = probes(stage, 2)
    pool.tell(Acquire(Keys("all", "a"), Ticket(owner.ref)))
    pool.tell(Acquire("a", waiting.ref))
    stage.settle()
    owner.ref.stop(timeout=5)
    stage.settle()
    assert len(waiting) == 1


def test_a_rate_lets_one_after_another_go_by_timers_alone(sim):
    pool = sim.start(SlotPool, {"runs": None}, rate=lambda key: Rate(2.0, 1))
    holders = probes(sim, 4)
    for probe in holders:
        pool.tell(Acquire("runs", probe.ref))
    seen = []
    for _ in range(4):
        sim.settle()
        seen.append(sum(map(len, holders)))
        sim.advance(0.5)
    assert seen == [1, 2, 3, 4]
    assert pool.life.actor._timer is None


def test_a_full_pool_with_a_rate_has_no_timer_until_a_slot_is_free(sim):
    pool = sim.start(SlotPool, {"runs": 1}, rate=lambda key: Rate(1.0, 5))
    first, second = probes(sim, 2)
    pool.tell(Acquire("runs", first.ref))
    pool.tell(Acquire("runs", second.ref))
    sim.settle()
    assert pool.life.actor._timer is None
    first.ref.stop(timeout=5)
    sim.settle()
    assert len(second) == 1


def test_a_higher_priority_goes_first_when_the_rate_allows_the_next(sim):
    pool = sim.start(SlotPool, {"runs": None}, rate=lambda key: Rate(1.0))
    first, low, high = probes(sim, 3)
    pool.tell(Acquire("runs", first.ref))
    sim.settle()
    pool.tell(Acquire("runs", low.ref))
    pool.tell(Acquire("runs", high.ref, priority=1))
    sim.settle()
    sim.advance(1.0)
    sim.settle()
    assert (len(low), len(high)) == (0, 1)


def test_the_longest_wait_is_told_of_each_pool_that_is_wanted(sim):
    pool = sim.start(SlotPool, {"all": 1, "a": 5})
    first, second = probes(sim, 2)
    pool.tell(Acquire("all", first.ref))
    sim.settle()
    pool.tell(Acquire(Keys("all", "a"), second.ref))
    sim.settle()
    sim.advance(3.0)
    found = pool.ask(GetPoolStatistics())
    assert (found["all"].longest_wait, found["a"].longest_wait) == (3.0, 3.0)
    pool.tell(Resize("all", 2))
    sim.settle()
    assert pool.ask(GetPoolStatistics())["all"].longest_wait == 0.0
