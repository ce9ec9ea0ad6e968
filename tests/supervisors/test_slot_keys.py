"""Slots of several pools at once: all or none, by rank, nobody overlooked, nobody starved; rates."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from supervisors.rates import Rate
from supervisors.slots import Admission, Grant, Keys, SlotTable

GRANTED, WAITING, REFUSED = Admission.GRANTED, Admission.WAITING, Admission.REFUSED


def test_all_slots_are_granted_at_once_or_none():
    table = SlotTable({"all": 2, "a": 1})
    both = Keys("all", "a")
    assert table.acquire(both, 1) is GRANTED
    assert table.acquire(both, 2) is WAITING
    assert table.pool_statistics("all").in_use == 1  # who waits holds nothing
    assert table.acquire("all", 3) is GRANTED
    assert table.exited(1) == (Grant(both, 2),)
    assert table.holds(both, 2)
    assert table.pool_statistics("all").in_use == 2


def test_a_full_key_keeps_nobody_of_another_key_waiting():
    table = SlotTable({"all": 3, "a": 1, "b": 1})
    assert table.acquire(Keys("all", "a"), 1) is GRANTED
    assert [table.acquire(Keys("all", "a"), n) for n in (2, 3, 4)] == [WAITING] * 3
    assert table.acquire(Keys("all", "b"), 5) is GRANTED


def test_what_several_pools_free_at_once_goes_to_who_came_first():
    table = SlotTable({"all": 1, "a": 1})
    first, second, third = Keys("all", "a"), Keys("all", "a"), "all"
    assert table.acquire(first, 1) is GRANTED
    assert table.acquire(second, 2) is WAITING  # stands in the line of all
    assert table.acquire(third, 3) is WAITING
    assert table.exited(1) == (Grant(second, 2),)
    table = SlotTable({"all": 2, "a": 1})
    table.acquire(Keys("all", "a"), 1)
    table.acquire(Keys("all", "a"), 2)  # stands in the line of a
    table.acquire("all", 3)
    table.acquire("all", 4)  # stands in the line of all, behind that one
    assert table.exited(1) == (Grant(Keys("all", "a"), 2),)


def test_one_whose_turn_comes_while_another_pool_is_full_keeps_its_place_there():
    table = SlotTable({"a": 1, "b": 1})
    table.acquire("a", 1)
    table.acquire("b", 2)
    assert table.acquire(Keys("a", "b"), 3) is WAITING
    assert table.acquire("b", 4) is WAITING
    assert table.exited(1) == ()  # b is full: it goes to the line of b, before 4
    assert table.exited(2) == (Grant(Keys("a", "b"), 3),)


def test_a_holder_asks_only_for_what_it_lacks():
    table = SlotTable({"a": 1, "b": 1})
    table.acquire("a", 1)
    assert table.acquire(Keys("a", "b"), 1) is GRANTED
    assert table.acquire(Keys("a", "b"), 1) is GRANTED
    assert table.pool_statistics("a").in_use == 1
    assert table.release(Keys("a", "b"), 1) == ()
    assert not table.knows(1)


def test_one_who_withdraws_is_forgotten_in_all_pools():
    table = SlotTable({"a": 1}, default_limit=1)
    both = Keys("a", ("tenant", 1))
    table.acquire(both, 1)
    assert table.acquire(both, 2) is WAITING
    assert table.pool_statistics(("tenant", 1)).waiting == 1
    assert table.withdraw(both, 2)
    assert table.n_waiting == 0
    table.exited(1)
    assert list(table.statistics()) == ["a"]


def test_the_line_of_each_pool_is_bounded():
    table = SlotTable({"all": 1, "a": 5}, max_waiting=1)
    table.acquire(Keys("all", "a"), 1)
    assert table.acquire(Keys("all", "a"), 2) is WAITING
    assert table.acquire(Keys("all", "b"), 3) is REFUSED
    assert not table.knows(3)
    assert table.pool_statistics("all").refused == 1
    assert table.full(Keys("b", "all")) == "all"


def test_slots_that_are_handed_over_may_be_what_the_new_holder_waited_for():
    table = SlotTable({"a": 1, "b": 1})
    table.acquire("a", "old")
    assert table.acquire(Keys("a", "b"), "new") is WAITING
    assert table.hand_over("old", "new") == ()
    assert table.holds(Keys("a", "b"), "new")
    assert table.n_waiting == 0


def test_the_limits_of_keys_may_be_told_by_a_function():
    table = SlotTable({"all": 9}, default_limit=lambda key: 2 if key == "big" else 1)
    assert [table.acquire("big", n) for n in range(3)] == [GRANTED, GRANTED, WAITING]
    assert [table.acquire("small", n) for n in range(3, 5)] == [GRANTED, WAITING]


def test_priorities_decide_who_is_next():
    table = SlotTable({"a": 1})
    table.acquire("a", "holder")
    for holder, priority in (("low", -1), ("first", 0), ("second", 0), ("high", 1)):
        table.acquire("a", holder, priority)
    served, holder = [], "holder"
    for _ in range(4):
        [grant] = table.exited(holder)
        holder = grant.holder
        served.append(holder)
    assert served == ["high", "first", "second", "low"]


def test_keys_are_a_set_in_order_and_not_empty():
    assert Keys("a", "b", "a") == Keys("a", "b")
    assert hash(Keys("a")) == hash(Keys("a"))
    assert Keys("a", "b") != ("a", "b")
    assert repr(Keys("a")) == "Keys('a')"
    with pytest.raises(ValueError, match="at least one"):
        Keys()


@pytest.mark.parametrize("seed", range(5))
def test_one_that_wants_two_busy_pools_is_not_starved(seed):
    """Others keep both pools busy for ever, each with ends of its own: who wants both gets them all the same."""
    choose = random.Random(seed)
    table = SlotTable({"all": 6, "a": 1, "b": 1})
    holders, number = [], 0

    def come():
        nonlocal number
        number += 1
        table.acquire(Keys("all", choose.choice("ab")), number)

    for _ in range(30):
        come()
    table.acquire(Keys("all", "a", "b"), "both")
    for _ in range(400):
        come()
        holders = [n for n in range(1, number + 1) if table.holds("all", n)]
        table.exited(choose.choice(holders))
        assert table.overlooked() == ()
        if table.holds("all", "both"):
            break
    else:
        pytest.fail("it was passed over for ever")
    kept = [pool for pool in table._pools.values() if pool.reserved_for is not None]
    assert not kept


def test_what_was_kept_for_one_that_leaves_goes_to_others():
    table = SlotTable({"a": 1, "b": 1})
    table.acquire("a", "x")
    table.acquire("b", "y")
    table.acquire(Keys("a", "b"), "both")
    has, number, is_kept = {"a": "x", "b": "y"}, 0, False
    while not is_kept:  # others have a and b in turn, until the next slot of one is kept
        for key in "ab":
            number += 1
            assert table.acquire(key, number) is WAITING
            grants = table.exited(has[key])
            is_kept = is_kept or not grants
            if grants:
                assert grants == (Grant(key, number),)
                has[key] = number
            else:
                waiting = (key, number)
                break
        assert number < 100
    assert table.pool_statistics(waiting[0]).in_use == 0
    assert table.overlooked() == ()
    assert table.withdraw(Keys("a", "b"), "both")
    assert table.settle() == (Grant(*waiting),)


# --- Rates ---------------------------------------------------------------------------------------------------------


def test_a_rate_lets_the_line_go_on_with_time_and_not_before():
    table = SlotTable({"all": None}, rate=lambda key: Rate(2.0, 2))
    table.refill(10.0)
    assert [table.acquire("all", n) for n in range(4)] == [GRANTED, GRANTED, WAITING, WAITING]
    assert table.next_refill() == 10.5
    assert table.exited(0) == ()  # a free slot is not enough
    assert table.refill(10.5) == (Grant("all", 2),)
    assert table.next_refill() == 11.0
    assert table.refill(11.0) == (Grant("all", 3),)
    assert table.next_refill() is None


def test_who_waits_for_the_rate_is_not_passed_by_a_newcomer():
    table = SlotTable({"all": None}, rate=lambda key: Rate(1.0))
    table.refill(0.0)
    table.acquire("all", "a")
    table.acquire("all", "b")
    assert table.refill(1.0) == (Grant("all", "b"),)
    assert table.acquire("all", "c") is WAITING


def test_a_rate_of_one_key_keeps_nobody_of_another_key_waiting():
    table = SlotTable({"all": 9}, rate=lambda key: Rate(1.0) if key == "a" else None)
    table.refill(0.0)
    assert table.acquire(Keys("all", "a"), 1) is GRANTED
    assert table.acquire(Keys("all", "a"), 2) is WAITING
    assert table.acquire(Keys("all", "b"), 3) is GRANTED
    assert table.ready("a") == 0
    assert table.ready("all") == 7


def test_a_key_that_comes_back_at_once_has_no_full_bucket_again():
    table = SlotTable(default_limit=None, rate=lambda key: Rate(1.0))
    table.refill(0.0)
    assert table.acquire("a", 1) is GRANTED
    table.exited(1)
    assert table.acquire("a", 2) is WAITING
    table.exited(2)
    for n in range(20):
        table.refill(100.0 + n)
        table.acquire(("other", n), n)
        table.exited(n)
    assert len(table._pools) < 5


# --- Any history ---------------------------------------------------------------------------------------------------


class KeyedHistory(RuleBasedStateMachine):
    """Any requests, exits, withdrawals, resizes and times; what must hold, holds after each."""

    SETS = ("all", Keys("all", "a"), Keys("all", "b"), Keys("all", "a", "b"), Keys("a", "b"), "b")
    HOLDERS = range(8)

    def __init__(self):
        super().__init__()
        self.limits = {"all": 3, "a": 1, "b": 2}
        self.table = SlotTable(
            dict(self.limits), max_waiting=6, rate=lambda key: Rate(1.0, 2) if key == "b" else None
        )
        self.now = 0.0
        self.granted = {}  # holder -> what it was told it has
        self.waiting = {}

    def told(self, grants):
        for grant in grants:
            assert self.waiting[grant.holder] == grant.key
            del self.waiting[grant.holder]
            self.granted[grant.holder] = grant.key

    @rule(key=st.sampled_from(SETS), holder=st.sampled_from(HOLDERS), priority=st.integers(-1, 2))
    def acquire(self, key, holder, priority):
        if holder in self.granted or holder in self.waiting:
            return
        self.told(self.table.refill(self.now))
        admission = self.table.acquire(key, holder, priority)
        if admission is GRANTED:
            self.granted[holder] = key
        elif admission is WAITING:
            self.waiting[holder] = key
        else:
            assert not self.table.knows(holder)

    @rule(holder=st.sampled_from(HOLDERS))
    def exits(self, holder):
        self.granted.pop(holder, None)
        self.waiting.pop(holder, None)
        self.told(self.table.exited(holder))

    @rule(holder=st.sampled_from(HOLDERS))
    def withdraw(self, holder):
        if holder in self.waiting:
            assert self.table.withdraw(self.waiting.pop(holder), holder)
            self.told(self.table.settle())

    @rule(key=st.sampled_from(("all", "a", "b")), limit=st.integers(0, 4))
    def resize(self, key, limit):
        self.limits[key] = limit
        self.told(self.table.resize(key, limit))

    @rule(seconds=st.floats(0.1, 3))
    def wait(self, seconds):
        self.now += seconds
        self.told(self.table.refill(self.now))

    @invariant()
    def the_books_agree(self):
        for key in self.limits:
            used = sum(
                key in (held.keys if isinstance(held, Keys) else (held,)) for held in self.granted.values()
            )
            wanted = sum(
                key in (held.keys if isinstance(held, Keys) else (held,)) for held in self.waiting.values()
            )
            counts = self.table.pool_statistics(key)
            assert (counts.in_use, counts.waiting) == (used, wanted)
        for holder, key in self.granted.items():
            assert self.table.holds(key, holder)
        assert self.table.n_waiting == len(self.waiting)

    @invariant()
    def nobody_is_overlooked(self):
        assert self.table.overlooked() == ()

    @invariant()
    def whoever_waits_for_time_alone_has_a_timer(self):
        due = self.table.next_refill()
        assert due is None or due > self.now - 1e-6


TestKeyedHistory = KeyedHistory.TestCase
TestKeyedHistory.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)
