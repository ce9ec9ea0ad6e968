"""Monitors: one `Down` per call, whatever the watched actor is and however it ends."""

from __future__ import annotations

import threading

import pykka
import pytest

from supervisors.actor import Actor
from supervisors.errors import SupervisionError
from supervisors.exits import KILLED, NORMAL, SHUTDOWN
from supervisors.loop_dispatcher import LoopDispatcher
from supervisors.notices import Down
from supervisors.thread_actor import ThreadActor


class Doing(Actor):
    def __init__(self):
        super().__init__()
        self.downs = []

    def on_receive(self, message):
        if isinstance(message, Down):
            self.downs.append(message)
            return None
        return message(self)


@pytest.fixture
def sim(simulation):
    return simulation(11)


@pytest.fixture
def watcher(sim):
    return sim.start(Doing)


def downs(watcher):
    return watcher.ask(lambda me: list(me.downs))


def test_one_down_per_call_with_its_token(sim, watcher):
    target = sim.start(Doing)
    monitors = [watcher.ask(lambda me: me.monitor(target)) for _ in range(2)]
    assert monitors[0] != monitors[1]
    target.shutdown()
    sim.run_until_idle()
    assert downs(watcher) == [Down(target, SHUTDOWN, monitor) for monitor in monitors]
    assert watcher.life.monitoring == set()


def test_a_dead_actor_is_reported_at_once_with_the_reason_it_had(sim, watcher):
    target = sim.start(Doing)
    target.kill()
    sim.run_until_idle()
    monitor = watcher.ask(lambda me: me.monitor(target))
    assert downs(watcher) == [Down(target, KILLED, monitor)]


def test_a_monitor_taken_back_is_silent(sim, watcher):
    target = sim.start(Doing)
    monitor = watcher.ask(lambda me: me.monitor(target))
    watcher.ask(lambda me: me.demonitor(monitor))
    watcher.ask(lambda me: me.demonitor(monitor))
    assert target.life.monitors == {}
    target.stop()
    assert downs(watcher) == []


def test_taking_a_monitor_back_after_the_end_changes_nothing(sim, watcher):
    target = sim.start(Doing)
    monitor = watcher.ask(lambda me: me.monitor(target))
    target.stop()
    sim.run_until_idle()
    watcher.ask(lambda me: me.demonitor(monitor))
    assert len(downs(watcher)) == 1


def test_an_ended_watcher_leaves_nothing_with_those_it_watched(sim, watcher):
    target = sim.start(Doing)
    watcher.ask(lambda me: me.monitor(target))
    watcher.stop()
    assert target.life.monitors == {}
    assert target.stop() is True


def test_an_actor_that_monitors_itself_hears_nothing_and_ends(sim, watcher):
    watcher.ask(lambda me: me.monitor(me.actor_ref))
    assert watcher.stop() is True
    assert watcher.exit_reason == NORMAL


def test_two_that_monitor_each_other_can_end_at_once(sim, watcher):
    other = sim.start(Doing)
    watcher.ask(lambda me: me.monitor(other))
    other.ask(lambda me: me.monitor(watcher))
    watcher.kill()
    other.kill()
    sim.run_until_idle()
    assert (watcher.exit_reason, other.exit_reason) == (KILLED, KILLED)


def test_a_thread_actor_is_monitored_like_any_other(dispatcher, settle):
    watcher = dispatcher.start(Doing)
    target = dispatcher.start(ThreadActor)
    monitor = watcher.ask(lambda me: me.monitor(target))
    target.stop()
    settle(dispatcher)
    assert downs(watcher) == [Down(target, NORMAL, monitor)]


def test_an_actor_of_another_dispatcher_cannot_be_monitored(dispatcher):
    watcher = dispatcher.start(Doing)
    with LoopDispatcher("other") as other:
        target = other.start(Doing)
        with pytest.raises(SupervisionError, match="it runs on"):
            watcher.ask(lambda me: me.monitor(target))
        assert target.life.monitors is None


def test_a_foreign_actor_cannot_be_monitored(dispatcher):
    watcher = dispatcher.start(Doing)
    target = pykka.ThreadingActor.start()
    try:
        with pytest.raises(TypeError, match="no actor of this package"):
            watcher.ask(lambda me: me.monitor(target))
    finally:
        target.stop()


def test_downs_are_exactly_once_under_a_race_of_kills(dispatcher, settle):
    watcher = dispatcher.start(Doing)
    targets = [dispatcher.start(Doing) for _ in range(200)]
    watcher.ask(lambda me: [me.monitor(target) for target in targets])
    barrier = threading.Barrier(2)

    def kill():
        barrier.wait()
        for target in targets:
            target.kill()

    threads = [threading.Thread(target=kill) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settle(dispatcher)
    assert sorted(down.ref.actor_urn for down in downs(watcher)) == sorted(
        target.actor_urn for target in targets
    )
