"""Timers are messages: in order, cancellable, gone with their actor, on the dispatcher's clock."""

from __future__ import annotations

import pytest

from supervisors.actor import Actor
from supervisors.testing import Probe


class Doing(Actor):
    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def on_receive(self, message):
        if callable(message):
            return message(self)
        self.seen.append((self.now(), message))
        return None


@pytest.fixture
def seen():
    return []


@pytest.fixture
def sim(simulation):
    return simulation()


@pytest.fixture
def ref(sim, seen):
    return sim.start(Doing, seen)


def test_a_timer_delivers_its_message_at_its_time(sim, ref, seen):
    ref.ask(lambda me: me.send_after(5.0, "due") and None)
    sim.advance(4.999)
    assert seen == []
    sim.advance(0.001)
    assert seen == [(5.0, "due")]


def test_timers_fire_in_the_order_of_their_times(sim, ref, seen):
    ref.ask(lambda me: [me.send_after(delay, delay) for delay in (3.0, 1.0, 2.0)] and None)
    sim.advance(10.0)
    assert seen == [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]


def test_timers_of_the_same_time_fire_in_the_order_in_which_they_were_set(sim, ref, seen):
    ref.ask(lambda me: [me.send_after(1.0, n) for n in range(5)] and None)
    sim.advance(1.0)
    assert [message for _, message in seen] == [0, 1, 2, 3, 4]


def test_a_delay_that_is_over_already_is_now(sim, ref, seen):
    ref.ask(lambda me: me.send_after(-3.0, "now") and None)
    sim.run_until_idle()
    assert seen == [(0.0, "now")]


def test_a_cancelled_timer_is_silent_and_cancelling_again_is_harmless(sim, ref, seen):
    timer = ref.ask(lambda me: me.send_after(1.0, "never"))
    assert timer.is_pending
    timer.cancel()
    timer.cancel()
    assert not timer.is_pending
    sim.advance(10.0)
    assert seen == []
    assert ref.life.timers == set()


def test_a_timer_that_fired_is_not_pending_and_can_be_cancelled(sim, ref, seen):
    timer = ref.ask(lambda me: me.send_after(1.0, "x"))
    sim.advance(1.0)
    assert not timer.is_pending
    timer.cancel()
    assert seen == [(1.0, "x")]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_timers_go_with_their_actor(sim, ref, seen, end):
    timer = ref.ask(lambda me: me.send_after(1.0, "never"))
    getattr(ref, end)()
    sim.run_until_idle()
    assert not timer.is_pending
    assert sim.next_timer() is None
    sim.advance(10.0)
    assert seen == []


def test_an_ending_actor_gets_a_timer_that_never_fires(sim):
    timers = []

    class Late(Actor):
        def on_stop(self):
            timers.append(self.send_after(1.0, "never"))

    sim.start(Late).stop()
    assert [timer.is_pending for timer in timers] == [False]
    assert sim.next_timer() is None


@pytest.mark.parametrize("where", ["init", "elsewhere"])
def test_a_timer_cannot_be_set_before_the_start_or_from_another_thread(dispatcher, where):
    class Hasty(Actor):
        def __init__(self):
            super().__init__()
            if where == "init":
                self.send_after(1.0, "x")

    with pytest.raises(RuntimeError, match="from on_start on"):
        dispatcher.start(Hasty)._actor_weakref().send_after(1.0, "x")


def test_timers_work_on_the_production_dispatcher(dispatcher):
    probe = Probe(dispatcher)
    actor = probe.ref._actor_weakref()
    dispatcher.call_from_outside(actor.send_after, 0.001, "due")
    assert probe.take() == "due"


def test_a_full_mailbox_takes_a_timers_message_all_the_same(simulation, seen):
    class Small(Doing):
        mailbox_capacity = 1

    sim = simulation()
    ref = sim.start(Small, seen)
    ref.ask(lambda me: me.send_after(0.0, "due") and None)
    ref.tell("first")
    sim.advance(0.0)
    assert sorted(message for _, message in seen) == ["due", "first"]


def test_cancelled_timers_do_not_pile_up_until_they_are_due(sim, ref):
    ref.ask(lambda me: [me.send_after(3600.0, n).cancel() for n in range(10_000)] and None)
    assert len(sim.loop._timers) < 1_000
