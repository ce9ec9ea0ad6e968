"""The slot pool as an actor: granted by message, first come first served, freed by the holder's exit."""

from __future__ import annotations

import random

import pytest

from supervisors.actor import Actor
from supervisors.slot_pool import (
    Acquire,
    GetPoolStatistics,
    HandOver,
    Release,
    Resize,
    SlotGranted,
    SlotPool,
    SlotRefused,
    Ticket,
)
from supervisors.slots import Admission
from supervisors.testing import Probe


class Idle(Actor):
    pass


@pytest.fixture
def pool(stage):
    return stage.start(SlotPool, {"runs": 1})


def counts(pool, key="runs"):
    return pool.ask(GetPoolStatistics(), timeout=5)[key]


def probes(stage, n):
    return [Probe(stage.dispatcher) for _ in range(n)]


def test_a_free_slot_is_granted_by_a_message_to_its_holder(stage, pool):
    [holder] = probes(stage, 1)
    pool.tell(Acquire("runs", holder.ref))
    stage.settle()
    assert holder.messages == [SlotGranted("runs", holder.ref)]


def test_grants_wait_for_exits_and_follow_the_order_of_asking(stage, pool):
    holders = probes(stage, 4)
    for holder in holders:
        pool.tell(Acquire("runs", holder.ref))
    for n, holder in enumerate(holders):
        stage.settle()
        assert [len(probe) for probe in holders] == [1] * (n + 1) + [0] * (3 - n)
        holder.ref.stop(timeout=5)
    stage.settle()
    assert counts(pool).in_use == 0


@pytest.mark.parametrize("end", ["normal", "shutdown", "crash", "killed"])
def test_every_way_to_end_frees_the_slot(stage, pool, ends, end):
    holder = stage.start(stage.Worker, stage, "holder")
    [waiting] = probes(stage, 1)
    pool.tell(Acquire("runs", holder, granted=("exit", None) and ("stay", None)))
    pool.tell(Acquire("runs", waiting.ref))
    stage.settle()
    assert waiting.messages == []
    stage.end(holder, ends[end])
    assert waiting.messages == [SlotGranted("runs", waiting.ref)]


def test_the_asker_chooses_whom_to_tell_and_what(stage, pool):
    owner, holder = probes(stage, 2)
    pool.tell(Acquire("runs", holder.ref, reply_to=owner.ref, granted="yours"))
    stage.settle()
    assert (owner.messages, holder.messages) == (["yours"], [])


def test_an_ask_replies_how_it_stands(stage, pool):
    first, second = probes(stage, 2)
    assert pool.ask(Acquire("runs", first.ref), timeout=5) is Admission.GRANTED
    assert pool.ask(Acquire("runs", second.ref), timeout=5) is Admission.WAITING


def test_asking_twice_holds_one_slot_and_one_place(stage, pool):
    first, second, third = probes(stage, 3)
    for probe in (first, first, second, second, third):
        pool.tell(Acquire("runs", probe.ref))
    stage.settle()
    assert (counts(pool).in_use, counts(pool).waiting) == (1, 2)
    first.ref.stop(timeout=5)
    stage.settle()
    assert (len(second), len(third)) == (1, 0)


def test_a_full_line_refuses_by_message_and_changes_nothing(stage):
    pool = stage.start(SlotPool, {"runs": 1}, max_waiting=1)
    first, second, third = probes(stage, 3)
    for probe in (first, second, third):
        pool.tell(Acquire("runs", probe.ref))
    stage.settle()
    assert third.messages == [SlotRefused("runs", third.ref)]
    assert counts(pool).refused == 1


def test_a_slot_may_be_given_back_and_a_place_in_the_line_too(stage, pool):
    first, second, third = probes(stage, 3)
    for probe in (first, second, third):
        pool.tell(Acquire("runs", probe.ref))
    pool.tell(Release("runs", second.ref))
    pool.tell(Release("runs", first.ref))
    stage.settle()
    assert (len(second), len(third)) == (0, 1)


def test_one_who_ends_while_it_waits_leaves_the_line(stage, pool):
    first, second, third = probes(stage, 3)
    for probe in (first, second, third):
        pool.tell(Acquire("runs", probe.ref))
    stage.settle()
    second.ref.stop(timeout=5)
    first.ref.stop(timeout=5)
    stage.settle()
    assert len(third) == 1
    assert counts(pool).waiting == 0


def test_a_holder_that_is_dead_already_keeps_no_slot(stage, pool):
    holder = stage.start(Idle)
    holder.stop(timeout=5)
    pool.tell(Acquire("runs", holder))
    stage.settle()
    assert counts(pool).in_use == 0


def test_a_raised_limit_serves_the_line(stage, pool):
    holders = probes(stage, 3)
    for probe in holders:
        pool.tell(Acquire("runs", probe.ref))
    pool.tell(Resize("runs", None))
    stage.settle()
    assert [len(probe) for probe in holders] == [1, 1, 1]


def test_a_ticket_holds_a_slot_for_an_actor_that_does_not_exist_yet(stage, pool):
    owner, waiting = probes(stage, 2)
    ticket = Ticket(owner.ref)
    pool.tell(Acquire("runs", ticket))
    pool.tell(Acquire("runs", waiting.ref))
    stage.settle()
    assert owner.messages == [SlotGranted("runs", ticket)]
    child = stage.start(Idle)
    pool.tell(HandOver(ticket, child))
    stage.settle()
    owner.ref.stop(timeout=5)  # it holds nothing any more
    stage.settle()
    assert len(waiting) == 0
    child.stop(timeout=5)
    stage.settle()
    assert len(waiting) == 1


def test_the_exit_of_their_owner_voids_all_its_tickets(stage, pool):
    owner, waiting = probes(stage, 2)
    for _ in range(3):
        pool.tell(Acquire("runs", Ticket(owner.ref)))
    pool.tell(Acquire("runs", waiting.ref))
    stage.settle()
    owner.ref.kill()
    stage.settle()
    assert len(waiting) == 1
    assert (counts(pool).in_use, counts(pool).waiting) == (1, 0)


def test_a_ticket_handed_to_a_dead_actor_frees_its_slot(stage, pool):
    [owner] = probes(stage, 1)
    ticket = Ticket(owner.ref)
    child = stage.start(Idle)
    child.stop(timeout=5)
    pool.tell(Acquire("runs", ticket))
    pool.tell(HandOver(ticket, child))
    stage.settle()
    assert counts(pool).in_use == 0


def test_nothing_is_watched_that_neither_holds_nor_waits(sim):
    pool = sim.start(SlotPool, {"runs": 1})
    owner, holder = Probe(sim.dispatcher), Probe(sim.dispatcher)
    ticket = Ticket(owner.ref)
    pool.tell(Acquire("runs", holder.ref))
    pool.tell(Acquire("runs", ticket))
    sim.settle()
    pool.tell(Release("runs", ticket))
    pool.tell(Release("runs", holder.ref))
    sim.settle()
    assert not pool.life.monitoring


@pytest.mark.parametrize("seed", range(8))
def test_slots_never_leak_whatever_ends_when(sim, seed):
    """Random requests, releases and deaths; at the end every slot is free and nobody waits."""
    choose = random.Random(seed)
    pool = sim.start(SlotPool, {"x": 2, "y": 1}, default_limit=1, max_waiting=5)
    holders = [Probe(sim.dispatcher) for _ in range(12)]
    alive = list(holders)
    for _ in range(120):
        probe = choose.choice(alive)
        key = choose.choice(["x", "y", "z"])
        action = choose.random()
        if action < 0.6:
            holder = probe.ref if choose.random() < 0.7 else Ticket(probe.ref)
            pool.tell(Acquire(key, holder))
        elif action < 0.8:
            pool.tell(Release(key, probe.ref))
        elif action < 0.85:
            pool.tell(Resize("x", choose.choice([1, 2, 3])))
        elif len(alive) > 2:
            alive.remove(probe)
            choose.choice([probe.ref.kill, probe.ref.shutdown])()
        for _ in range(choose.randrange(4)):
            sim.dispatcher.step()
        limits = pool.life.actor.statistics()
        assert all(n.in_use <= max(3, n.limit) for n in limits.values())
    for probe in alive:
        probe.ref.shutdown()
    sim.settle()
    statistics = pool.ask(GetPoolStatistics())
    assert {key: (n.in_use, n.waiting) for key, n in statistics.items()} == {"x": (0, 0), "y": (0, 0)}
    assert not pool.life.monitoring
