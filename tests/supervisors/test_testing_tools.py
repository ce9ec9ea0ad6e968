"""The shipped test tools test themselves: what they say can be relied on."""

from __future__ import annotations

import asyncio
import threading

import pykka
import pytest

from supervisors.actor import Actor
from supervisors.loop_dispatcher import LoopDispatcher
from supervisors.simulation import SimulationDispatcher
from supervisors.testing import Gate, Probe, leaked, settle
from supervisors.thread_actor import ThreadActor


class Relay(Actor):
    def __init__(self, log, peer=None):
        super().__init__()
        self.log = log
        self.peer = peer

    def on_receive(self, message):
        if message > 0:
            (self.peer or self.actor_ref).tell(message - 1)
        else:
            self.log.append(message)


class Doing(Actor):
    def on_receive(self, message):
        return message(self) if callable(message) else message


@pytest.fixture(params=["loop", "simulation"])
def host(request):
    with LoopDispatcher("tools") if request.param == "loop" else SimulationDispatcher() as dispatcher:
        yield dispatcher


def test_settle_is_right_in_two_thousand_rounds(dispatcher):
    log = []
    first = dispatcher.start(Relay, log)
    second = dispatcher.start(Relay, log, first)
    for n in range(1, 2001):
        second.tell(n % 40)
        settle(dispatcher)
        assert len(log) == n


def test_settle_waits_for_what_a_task_on_its_way_will_tell(dispatcher):
    log = []

    async def work(me):
        for _ in range(4):
            await asyncio.sleep(0)
        me.actor_ref.tell(lambda _: log.append(1))

    ref = dispatcher.start(Doing)
    for n in range(1, 101):
        ref.tell(lambda me: me.spawn(work(me)))
        settle(dispatcher)
        assert len(log) == n


def test_settle_waits_for_blocking_calls_and_what_follows_from_them(dispatcher):
    log = []

    async def work(me):
        await me.blocking(threading.Event().wait, 0.002)
        me.actor_ref.tell(lambda _: log.append(1))

    dispatcher.start(Doing).tell(lambda me: me.spawn(work(me)))
    settle(dispatcher)
    assert log == [1]


def test_settle_waits_for_actors_with_a_thread_of_their_own(dispatcher):
    log = []

    class Slow(ThreadActor):
        def on_receive(self, message):
            threading.Event().wait(0.001)
            log.append(message)

    ref = dispatcher.start(Slow)
    for n in range(5):
        ref.tell(n)
    settle(dispatcher)
    assert log == [0, 1, 2, 3, 4]


def test_settle_does_not_wait_for_tasks_that_wait(host):
    gate = Gate(host)
    host.start(Doing).tell(lambda me: me.spawn(gate.wait()))
    settle(host)
    assert gate.n_arrived == 1


def test_settle_gives_up_on_an_endless_conversation(dispatcher):
    stop = threading.Event()

    class Endless(Actor):
        def on_receive(self, message):
            if not stop.is_set():
                self.actor_ref.tell(message)

    dispatcher.start(Endless).tell("again")
    with pytest.raises(pykka.Timeout, match="not at rest"):
        settle(dispatcher, timeout=0.02)
    stop.set()
    settle(dispatcher)


def test_settle_leaves_a_sleeping_dispatcher_asleep():
    dispatcher = LoopDispatcher("asleep", auto_stop=True)
    settle(dispatcher)
    assert dispatcher.is_asleep


def test_a_probe_keeps_what_it_gets_and_answers(host):
    probe = Probe(host, reply=lambda message: message * 2)
    assert probe.ref.ask(4) == 8
    probe.ref.tell("x")
    assert probe.take(str) == "x"
    assert probe.messages == [4, "x"]
    assert len(probe) == 2


def test_a_probe_gives_messages_in_order_and_passes_over_other_kinds(host):
    probe = Probe(host)
    for message in (1, "a", 2, "b"):
        probe.ref.tell(message)
    assert [probe.take(), probe.take(int), probe.take()] == [1, 2, "b"]


def test_a_probe_says_what_did_not_come(host):
    probe = Probe(host)
    with pytest.raises(pykka.Timeout, match="no int"):
        probe.take(int, timeout=0.001)


def test_a_gate_parks_tasks_until_it_is_opened(host):
    gate, log = Gate(host), []

    async def work(name):
        await gate.wait()
        log.append(name)

    ref = host.start(Doing)
    ref.tell(lambda me: [me.spawn(work(name)) for name in "ab"] and None)
    gate.await_arrival(timeout=5)
    settle(host)
    assert (log, gate.n_arrived, gate.is_open) == ([], 2, False)
    gate.open()
    gate.open()
    settle(host)
    assert sorted(log) == ["a", "b"]
    ref.tell(lambda me: me.spawn(work("late")))
    settle(host)
    assert log[-1] == "late"


def test_a_gate_parks_threads(dispatcher):
    gate = Gate()
    future = dispatcher.start(Doing).ask(
        lambda me: me.blocking(gate.wait_blocking) and "went on", block=False
    )
    gate.await_arrival(timeout=5)
    assert future.get(timeout=5) == "went on"
    gate.open()
    settle(dispatcher)


def test_a_gate_where_nobody_comes_says_so(host):
    with pytest.raises(pykka.Timeout):
        Gate(host).await_arrival(timeout=0.001)


def test_leaked_names_actors_and_threads_that_stay(monkeypatch):
    monkeypatch.setattr("supervisors.testing._THREADS_GRACE_S", 0.01)
    before = threading.enumerate()
    with LoopDispatcher("leaky") as dispatcher:
        ref = dispatcher.start(Doing)
        assert leaked(before)[0] == f"actor {ref}"
        assert "thread leaky" in leaked(before)
    assert leaked(before) == []
