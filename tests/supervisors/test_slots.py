"""The slot table: grants, lines, exits, resizing; any history against a slow, plain model."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from supervisors.slots import Admission, Grant, PoolStatistics, SlotTable

GRANTED, WAITING, REFUSED = Admission.GRANTED, Admission.WAITING, Admission.REFUSED


def test_a_slot_is_granted_while_there_is_one_then_callers_wait():
    table = SlotTable({"runs": 2})
    assert [table.acquire("runs", h) for h in "abc"] == [GRANTED, GRANTED, WAITING]
    assert table.pool_statistics("runs") == PoolStatistics(
        limit=2, in_use=2, waiting=1, peak=2, granted=2, refused=0
    )


def test_the_exit_of_a_holder_passes_its_slot_to_the_first_in_line():
    table = SlotTable({"runs": 1})
    for holder in "abc":
        table.acquire("runs", holder)
    assert table.exited("a") == (Grant("runs", "b"),)
    assert table.exited("a") == ()
    assert table.exited("b") == (Grant("runs", "c"),)
    assert table.exited("c") == ()
    assert table.pool_statistics("runs").in_use == 0


def test_asking_again_changes_nothing_whether_held_or_waiting():
    table = SlotTable({"runs": 1})
    assert [table.acquire("runs", "a") for _ in range(3)] == [GRANTED] * 3
    assert [table.acquire("runs", "b") for _ in range(3)] == [WAITING] * 3
    assert table.exited("a") == (Grant("runs", "b"),)
    assert table.exited("b") == ()


def test_one_who_withdraws_loses_its_place_and_nobody_else_does():
    table = SlotTable({"runs": 1})
    for holder in "abcd":
        table.acquire("runs", holder)
    assert table.withdraw("runs", "c")
    assert not table.withdraw("runs", "c")
    assert not table.withdraw("runs", "a")  # it holds; a slot is not withdrawn
    assert table.exited("a") == (Grant("runs", "b"),)
    assert table.exited("b") == (Grant("runs", "d"),)


def test_an_exit_takes_a_waiter_out_of_every_line():
    table = SlotTable({"x": 1, "y": 1})
    for key in "xy":
        table.acquire(key, "holder")
        table.acquire(key, "leaver")
        table.acquire(key, "next")
    assert table.exited("leaver") == ()
    assert table.exited("holder") == (Grant("x", "next"), Grant("y", "next"))
    assert not table.knows("leaver")


def test_the_line_is_bounded_and_the_refused_leave_no_trace():
    table = SlotTable({"runs": 1}, max_waiting=1)
    assert [table.acquire("runs", h) for h in "abcc"] == [GRANTED, WAITING, REFUSED, REFUSED]
    assert table.pool_statistics("runs").refused == 2
    assert not table.knows("c")
    assert table.exited("a") == (Grant("runs", "b"),)
    assert table.acquire("runs", "c") is WAITING


def test_without_a_limit_everybody_is_granted():
    table = SlotTable({"runs": None})
    assert {table.acquire("runs", n) for n in range(1000)} == {GRANTED}


def test_a_pool_of_no_slots_grants_nothing_until_it_is_resized():
    table = SlotTable({"runs": 0})
    assert table.acquire("runs", "a") is WAITING
    assert table.resize("runs", 1) == (Grant("runs", "a"),)


def test_raising_a_limit_grants_the_line_in_its_order():
    table = SlotTable({"runs": 1})
    for holder in "abcd":
        table.acquire("runs", holder)
    assert table.resize("runs", 3) == (Grant("runs", "b"), Grant("runs", "c"))
    assert table.resize("runs", None) == (Grant("runs", "d"),)


def test_lowering_a_limit_takes_no_slot_away_and_grants_none_until_enough_left():
    table = SlotTable({"runs": 3})
    for holder in "abcd":
        table.acquire("runs", holder)
    assert table.resize("runs", 1) == ()
    assert table.pool_statistics("runs").in_use == 3
    assert table.exited("a") == table.exited("b") == ()
    assert table.exited("c") == (Grant("runs", "d"),)


def test_a_holder_may_give_a_slot_back_and_live_on():
    table = SlotTable({"runs": 1})
    table.acquire("runs", "a")
    table.acquire("runs", "b")
    assert table.release("runs", "a") == (Grant("runs", "b"),)
    assert table.release("runs", "a") == ()
    assert table.acquire("runs", "a") is WAITING


def test_unknown_keys_take_the_default_limit_and_are_forgotten_when_idle():
    table = SlotTable(default_limit=1)
    for tenant in range(50):
        assert table.acquire(("tenant", tenant), "a") is GRANTED
        assert table.acquire(("tenant", tenant), "b") is WAITING
    table.exited("b")
    assert table.exited("a") == ()
    assert table.statistics() == {}


def test_a_named_pool_keeps_its_counts_while_idle():
    table = SlotTable({"runs": 1})
    table.acquire("runs", "a")
    table.exited("a")
    assert table.statistics()["runs"].granted == 1


def test_a_stranger_may_exit():
    assert SlotTable({"runs": 1}).exited("nobody") == ()


@pytest.mark.parametrize(
    "make",
    [
        lambda: SlotTable({"runs": -1}),
        lambda: SlotTable(default_limit=-1),
        lambda: SlotTable(max_waiting=-1),
        lambda: SlotTable({"runs": 1.5}),
        lambda: SlotTable({"runs": 1}).resize("runs", -1),
    ],
)
def test_a_number_that_is_no_count_is_refused(make):
    with pytest.raises(ValueError, match="0 or more"):
        make()


def test_a_refused_resize_changes_nothing():
    table = SlotTable({"runs": 1})
    with pytest.raises(ValueError, match="0 or more"):
        table.resize("runs", -1)
    assert table.pool_statistics("runs").limit == 1


def test_the_cost_of_an_operation_does_not_grow_with_the_number_of_holders():
    def cost(size: int) -> float:
        table = SlotTable({"runs": size}, max_waiting=None)
        for n in range(2 * size):
            table.acquire("runs", n)
        best = float("inf")
        for batch in range(5):
            began = time.perf_counter()
            for n in range(batch * 200, batch * 200 + 200):
                assert table.exited(n) == (Grant("runs", size + n),)
            best = min(best, time.perf_counter() - began)
        return best

    # Each of the 1,000 exits would scan up to 100,000 places if the line were a list or a plain dict.
    assert cost(100_000) < 20 * cost(2_000)


class SlotHistory(RuleBasedStateMachine):
    """Any sequence of operations on the table and on lists that are searched from the front."""

    KEYS = ("x", "y", "tenant")
    HOLDERS = range(6)

    def __init__(self):
        super().__init__()
        self.table = SlotTable({"x": 1, "y": 2}, default_limit=1, max_waiting=2)
        self.limits = {"x": 1, "y": 2, "tenant": 1}
        self.held = {key: [] for key in self.KEYS}
        self.line = {key: [] for key in self.KEYS}

    def fill(self, key):
        grants = []
        while self.line[key] and (self.limits[key] is None or len(self.held[key]) < self.limits[key]):
            holder = self.line[key].pop(0)
            self.held[key].append(holder)
            grants.append(Grant(key, holder))
        return grants

    @rule(key=st.sampled_from(KEYS), holder=st.sampled_from(HOLDERS))
    def acquire(self, key, holder):
        if holder in self.held[key]:
            expected = GRANTED
        elif holder in self.line[key]:
            expected = WAITING
        elif self.limits[key] is None or len(self.held[key]) < self.limits[key]:
            self.held[key].append(holder)
            expected = GRANTED
        elif len(self.line[key]) < 2:
            self.line[key].append(holder)
            expected = WAITING
        else:
            expected = REFUSED
        assert self.table.acquire(key, holder) is expected

    @rule(key=st.sampled_from(KEYS), holder=st.sampled_from(HOLDERS))
    def withdraw(self, key, holder):
        waited = holder in self.line[key]
        if waited:
            self.line[key].remove(holder)
        assert self.table.withdraw(key, holder) is waited

    @rule(key=st.sampled_from(KEYS), holder=st.sampled_from(HOLDERS))
    def release(self, key, holder):
        expected = []
        if holder in self.held[key]:
            self.held[key].remove(holder)
            expected = self.fill(key)
        assert list(self.table.release(key, holder)) == expected

    @rule(holder=st.sampled_from(HOLDERS))
    def exits(self, holder):
        expected = []
        for key in self.KEYS:
            if holder in self.line[key]:
                self.line[key].remove(holder)
        for key in self.KEYS:
            if holder in self.held[key]:
                self.held[key].remove(holder)
                expected += self.fill(key)
        assert sorted(self.table.exited(holder)) == sorted(expected)
        assert not self.table.knows(holder)

    @rule(key=st.sampled_from(KEYS), limit=st.one_of(st.none(), st.integers(0, 4)))
    def resize(self, key, limit):
        self.limits[key] = limit
        assert list(self.table.resize(key, limit)) == self.fill(key)

    @invariant()
    def the_counts_agree(self):
        for key in self.KEYS:
            counts = self.table.pool_statistics(key)
            assert (counts.in_use, counts.waiting) == (len(self.held[key]), len(self.line[key]))
            for holder in self.HOLDERS:
                assert self.table.holds(key, holder) is (holder in self.held[key])
                assert self.table.is_waiting(key, holder) is (holder in self.line[key])

    @invariant()
    def nobody_waits_while_a_slot_is_free(self):
        for counts in self.table.statistics().values():
            assert not counts.waiting or (counts.limit is not None and counts.in_use >= counts.limit)


TestSlotHistory = SlotHistory.TestCase
TestSlotHistory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.integers(0, 30), unique=True, min_size=1), st.integers(1, 4))
def test_slots_are_given_in_the_order_of_asking(holders, limit):
    table = SlotTable({"runs": limit})
    served = [holder for holder in holders if table.acquire("runs", holder) is GRANTED]
    for holder in served:  # grows while it is walked: who is served leaves, and makes room for the next
        served += [grant.holder for grant in table.exited(holder)]
    assert served == holders
