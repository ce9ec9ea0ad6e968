"""Mailboxes: bounded ones refuse, except what must get through; nothing that is asked stays without an answer."""

from __future__ import annotations

import contextlib
import threading

import pykka
import pytest

from supervisors.actor import Actor
from supervisors.errors import Overloaded
from supervisors.loop_dispatcher import LoopDispatcher
from supervisors.notices import ChildExited, Down
from supervisors.testing import settle
from supervisors.thread_actor import ThreadActor


class Small(Actor):
    mailbox_capacity = 2

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_receive(self, message):
        self.seen.append(message)
        return message


@pytest.fixture
def full(simulation):
    dispatcher = simulation()
    ref = dispatcher.start(Small)
    dispatcher.run_until_idle()
    ref.tell(1)
    ref.tell(2)
    return ref


def test_a_full_mailbox_refuses_what_is_told(full):
    with pytest.raises(Overloaded, match="2 messages"):
        full.tell(3)
    assert len(full.life.queue) == 2


def test_a_full_mailbox_refuses_what_is_posted(full):
    with pytest.raises(Overloaded):
        full.post(3)


def test_a_full_mailbox_refuses_what_is_asked_where_the_answer_is_looked_for(full):
    future = full.ask(3, block=False)
    with pytest.raises(Overloaded):
        future.get()


def test_a_full_mailbox_can_still_be_stopped(full):
    actor = full._actor_weakref()
    assert full.stop() is True
    assert actor.seen == [1, 2]


def test_an_actor_with_a_full_mailbox_can_stop_itself(full):
    full._actor_weakref().stop()
    full.life.dispatcher.run_until_idle()
    assert not full.is_alive()


def test_room_that_is_made_is_used(full):
    full.life.dispatcher.run_until_idle()
    full.tell(3)
    assert full.ask(4) == 4


def test_notices_are_never_refused(simulation):
    dispatcher = simulation()
    seen = []

    class Parent(Small):
        mailbox_capacity = 0

        def on_start(self):
            self.child = self.start_child(Small)
            self.monitor(self.child)

        def on_receive(self, message):
            seen.append(type(message))

    ref = dispatcher.start(Parent)
    dispatcher.run_until_idle()
    with pytest.raises(Overloaded):
        ref.tell(1)
    ref._actor_weakref().child.kill()
    dispatcher.run_until_idle()
    assert sorted(seen, key=repr) == [ChildExited, Down]


def test_a_thread_actors_mailbox_is_bounded_in_the_same_way(dispatcher):
    entered, leave = threading.Event(), threading.Event()

    class Blocked(ThreadActor):
        mailbox_capacity = 1

        def on_receive(self, message):
            entered.set()
            leave.wait(5)

    ref = dispatcher.start(Blocked)
    ref.tell("in hand")
    assert entered.wait(5)
    ref.tell("waits")
    with pytest.raises(Overloaded):
        ref.tell("refused")
    with pytest.raises(Overloaded):
        ref.ask("refused", timeout=5)
    stopped = ref.stop(block=False)
    leave.set()
    assert stopped.get(timeout=5) is True


def test_a_dead_actor_refuses_by_pykkas_error(dispatcher):
    ref = dispatcher.start(Small)
    ref.stop()
    with pytest.raises(pykka.ActorDeadError):
        ref.tell(1)
    with pytest.raises(pykka.ActorDeadError):
        ref.ask(1)


def test_what_slips_into_a_dead_actors_mailbox_is_answered(dispatcher):
    ref = dispatcher.start(Small)
    ref.stop()
    late, stop = ref.actor_class._create_future(), ref.actor_class._create_future()
    # As by a sender that looked at the stop flag just before it was set.
    ref.life.put(pykka._envelope.Envelope(1, late))
    ref.life.put(pykka._envelope.Envelope(pykka.messages._ActorStop(), stop))
    with pytest.raises(pykka.ActorDeadError, match=f"{ref.actor_urn}.* stopped before handling"):
        late.get(timeout=5)
    assert stop.get(timeout=5) is None


def test_what_slips_into_a_mailbox_whose_dispatcher_is_gone_is_answered():
    with LoopDispatcher("gone") as dispatcher:
        ref = dispatcher.start(Small)
        settle(dispatcher)
    late = ref.actor_class._create_future()
    ref.life.put(pykka._envelope.Envelope(1, late))
    with pytest.raises(pykka.ActorDeadError):
        late.get(timeout=5)


@pytest.mark.parametrize("round_", range(20))
def test_every_ask_is_answered_whatever_races_with_it(round_):
    dispatcher = LoopDispatcher("race").open()
    ref = dispatcher.start(Small if round_ % 2 else Actor)
    barrier = threading.Barrier(4)
    futures = []

    def ask():
        barrier.wait()
        futures.extend(ref.ask(n, block=False) for n in range(50))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    barrier.wait()
    if round_ % 4 < 2:
        ref.kill()
    else:
        dispatcher.close()
    for thread in threads:
        thread.join(5)
    for future in futures:
        with contextlib.suppress(pykka.ActorDeadError, Overloaded):
            future.get(timeout=5)
    assert len(futures) == 150
    assert dispatcher.close()


def test_signals_from_many_threads_all_arrive(dispatcher):
    seen = []

    class Counting(Actor):
        def on_exit_request(self, reason):
            seen.append(reason.detail)
            return True

    from supervisors.exits import Shutdown

    ref = dispatcher.start(Counting)
    barrier = threading.Barrier(4)

    def shut_down(which):
        barrier.wait()
        for n in range(500):
            ref.shutdown(Shutdown((which, n)))

    threads = [threading.Thread(target=shut_down, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    settle(dispatcher)
    assert len(seen) == len(set(seen)) == 2000
    assert [n for which, n in seen if which == 0] == list(range(500))
