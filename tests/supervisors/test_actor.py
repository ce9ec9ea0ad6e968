"""What an actor can do beyond Pykka's: own children, answer later, leave, and be refused politely."""

from __future__ import annotations

import threading

import pykka
import pytest

from supervisors.actor import Actor
from supervisors.dispatcher import Dispatcher
from supervisors.errors import DispatcherStopped, StartFailed, WouldDeadlock
from supervisors.exits import NORMAL, SHUTDOWN
from supervisors.loop_dispatcher import LoopDispatcher
from supervisors.notices import ChildExited


class Doing(Actor):
    """Calls the messages it gets, with itself."""

    def on_receive(self, message):
        return message(self) if callable(message) else None


@pytest.fixture
def ref(dispatcher):
    return dispatcher.start(Doing)


def test_an_actor_is_a_pykka_actor_with_a_pykka_ref(ref):
    assert isinstance(ref, pykka.ActorRef)
    assert issubclass(ref.actor_class, pykka.Actor)
    assert ref in pykka.ActorRegistry.get_all()


def test_all_its_code_but_init_runs_on_the_dispatchers_thread(dispatcher):
    threads = {}

    class Watching(Actor):
        def __init__(self):
            super().__init__()
            threads["init"] = threading.get_ident()

        def on_start(self):
            threads["start"] = threading.get_ident()

        def on_receive(self, message):
            threads["receive"] = threading.get_ident()

        def on_stop(self):
            threads["stop"] = threading.get_ident()

    ref = dispatcher.start(Watching)
    ref.ask(1)
    ref.stop()
    here, there = threading.get_ident(), dispatcher.thread_id
    assert threads == {"init": here, "start": there, "receive": there, "stop": there}


def test_messages_that_an_actor_sends_itself_while_it_is_made_are_handled_after_its_start(dispatcher):
    class Eager(Actor):
        def __init__(self):
            super().__init__()
            self.seen = []
            self.actor_ref.tell("from init")

        def on_start(self):
            self.seen.append("start")

        def on_receive(self, message):
            self.seen.append(message)
            return self.seen

    assert dispatcher.start(Eager).ask("asked", timeout=5) == ["start", "from init", "asked"]


def test_forgetting_to_call_super_init_is_told_at_once(dispatcher):
    class Forgetful(Actor):
        def __init__(self):
            pass

    with pytest.raises((AssertionError, AttributeError)):
        dispatcher.start(Forgetful)


def test_parent_and_children_know_each_other(dispatcher, settle):
    ref = dispatcher.start(Doing)
    children = [ref.ask(lambda me: me.start_child(Doing)) for _ in range(3)]
    assert ref.ask(lambda me: me.children) == children
    assert children[0].ask(lambda me: me.parent) is ref
    assert ref.ask(lambda me: me.parent) is None
    children[1].stop()
    settle(dispatcher)
    assert ref.ask(lambda me: me.children) == [children[0], children[2]]


def test_a_child_is_started_when_start_child_returns(ref):
    seen = []

    class Child(Actor):
        def on_start(self):
            seen.append("child")

    ref.ask(lambda me: (me.start_child(Child), seen.append("parent")))
    assert seen == ["child", "parent"]


def test_a_child_is_on_its_parents_dispatcher_whatever_is_current(dispatcher, ref):
    other = LoopDispatcher("other")

    def start(me):
        with other.activate():
            me.start_child(Doing)

    with other, pytest.raises(StartFailed, match="its parent is on"):
        ref.ask(start)
    assert pykka.ActorRegistry.get_all() == [ref]


def test_a_child_cannot_be_started_from_another_thread(dispatcher, ref):
    actor = ref._actor_weakref()
    with pytest.raises(StartFailed, match="takes no child here and now"):
        actor.start_child(Doing)
    assert pykka.ActorRegistry.get_all() == [ref]


def test_nor_before_the_actor_itself_is_started(dispatcher):
    class Hasty(Actor):
        def __init__(self):
            super().__init__()
            self.start_child(Doing)

    with pytest.raises(StartFailed):
        dispatcher.start(Hasty)
    assert pykka.ActorRegistry.get_all() == []


def test_an_answer_can_be_given_later_by_somebody_else(dispatcher):
    class Later(Actor):
        def on_start(self):
            self.waiting = []

        def on_receive(self, message):
            if message == "ask":
                self.waiting.append(self.reply_later())
                return "ignored"
            for future in self.waiting:
                future.set(message)
            return len(self.waiting)

    ref = dispatcher.start(Later)
    futures = [ref.ask("ask", block=False) for _ in range(3)]
    assert ref.ask("now") == 3
    assert [future.get(timeout=5) for future in futures] == ["now"] * 3


def test_reply_later_is_none_when_nobody_asked(dispatcher, settle):
    taken = []
    dispatcher.start(Doing).tell(lambda me: taken.append(me.reply_later()))
    settle(dispatcher)
    assert taken == [None]


@pytest.mark.parametrize("end", ["stop", "kill", "crash"])
def test_whoever_waits_for_a_later_answer_is_told_when_the_actor_ends(dispatcher, end):
    ref = dispatcher.start(Doing)
    future = ref.ask(lambda me: me.reply_later(), block=False)
    ref.ask(lambda me: None)
    if end == "crash":
        ref.tell(lambda me: 1 / 0)
    else:
        getattr(ref, end)()
    with pytest.raises(pykka.ActorDeadError):
        future.get(timeout=5)


def test_an_answer_that_was_given_is_not_kept_for_the_end(ref):
    ref.ask(lambda me: me.reply_later().set(1))
    assert not ref.life.promised


def test_an_error_after_the_answer_was_taken_over_still_reaches_the_asker(ref):
    def take_and_fail(me):
        me.reply_later()
        raise ValueError("after all")

    with pytest.raises(ValueError, match="after all"):
        ref.ask(take_and_fail, timeout=5)
    assert ref.is_alive()


def test_an_error_after_the_answer_was_given_is_the_actors_crash(dispatcher, ref, settle):
    def answer_and_fail(me):
        me.reply_later().set("given")
        raise ValueError("too late")

    assert ref.ask(answer_and_fail, timeout=5) == "given"
    settle(dispatcher)
    assert isinstance(ref.exit_reason.error, ValueError)


def test_an_unexpected_message_is_logged_and_dropped(dispatcher, settle, caplog):
    class Plain(Actor):
        pass

    ref = dispatcher.start(Plain)
    ref.tell("what?")
    settle(dispatcher)
    assert f"Unexpected message received by {ref}: what?" in caplog.text
    assert ref.is_alive()


def test_now_is_the_dispatchers_clock(simulation):
    dispatcher = simulation()
    ref = dispatcher.start(Doing)
    dispatcher.advance(12.5)
    assert ref.ask(lambda me: me.now()) == 12.5


def test_stopping_an_actor_handles_what_was_sent_before_and_refuses_what_came_after(simulation):
    dispatcher = simulation()
    handled = []
    ref = dispatcher.start(Doing)
    before = ref.ask(lambda me: handled.append(1), block=False)
    stopped = ref.stop(block=False)
    after = ref.ask(lambda me: handled.append(2), block=False)
    dispatcher.run_until_idle()
    assert (before.get(), stopped.get()) == (None, True)
    with pytest.raises(pykka.ActorDeadError, match="stopped before handling the message"):
        after.get()
    assert handled == [1]


def test_a_shutdown_overtakes_messages(simulation):
    dispatcher = simulation()
    handled = []
    ref = dispatcher.start(Doing)
    ref.tell(lambda me: handled.append(1))
    ref.shutdown()
    dispatcher.run_until_idle()
    assert handled == []


def test_signals_to_a_dead_actor_are_no_error_and_do_nothing(dispatcher, ref, settle):
    ref.stop()
    ref.shutdown()
    ref.kill()
    settle(dispatcher)
    assert ref.exit_reason == NORMAL
    assert ref.post("anything") is False


def test_post_tells_whether_the_receiver_was_alive(ref):
    assert ref.post("anything") is True


def test_an_actor_cannot_be_started_on_a_dispatcher_that_was_stopped():
    dispatcher = LoopDispatcher("gone").open()
    dispatcher.close()
    with pytest.raises(DispatcherStopped):
        dispatcher.start(Doing)
    assert pykka.ActorRegistry.get_all() == []
    assert not dispatcher.lives


def test_who_asked_an_actor_that_was_never_started_is_told():
    dispatcher = LoopDispatcher("gone").open()
    dispatcher.close()
    asked = []

    class Asks(Actor):
        def __init__(self):
            super().__init__()
            asked.append(self.actor_ref.ask("me", block=False))

    with pytest.raises(DispatcherStopped):
        dispatcher.start(Asks)
    with pytest.raises(pykka.ActorDeadError):
        asked[0].get(timeout=5)


def test_without_a_dispatcher_an_actor_runs_on_the_process_default_which_sleeps_when_it_has_none():
    default = Dispatcher.current()
    for _ in range(3):
        ref = Doing.start()
        assert ref.life.dispatcher is default
        assert ref.ask(lambda me: 5, timeout=5) == 5
        assert ref.stop() is True
    for thread in threading.enumerate():
        if thread.name.startswith("supervisors-default"):
            thread.join(5)
    assert default.is_asleep


def test_an_actor_started_by_an_actor_runs_on_the_same_dispatcher(dispatcher, ref):
    started = ref.ask(lambda me: Doing.start())
    assert started.life.dispatcher is dispatcher
    assert started.ask(lambda me: me.parent) is None


def test_children_that_end_are_told_in_the_order_of_their_ends(dispatcher, settle):
    notices = []

    class Parent(Doing):
        def on_receive(self, message):
            if isinstance(message, ChildExited):
                notices.append(message)
                return None
            return super().on_receive(message)

    ref = dispatcher.start(Parent)
    first, second = [ref.ask(lambda me: me.start_child(Doing)) for _ in range(2)]
    second.shutdown()
    settle(dispatcher)
    first.stop()
    settle(dispatcher)
    assert notices == [ChildExited(second, SHUTDOWN), ChildExited(first, NORMAL)]


def test_waiting_for_the_stop_flag_is_waiting_for_the_end(ref):
    waiters = [threading.Thread(target=ref.actor_stopped.wait, args=(5,)) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    assert ref.actor_stopped.wait(0) is False
    ref.stop()
    for waiter in waiters:
        waiter.join(5)
    assert ref.actor_stopped.wait(0) is True
    assert not any(waiter.is_alive() for waiter in waiters)


def test_a_urn_is_made_once_however_many_ask_first(ref):
    barrier = threading.Barrier(4)
    urns = []

    def ask():
        barrier.wait()
        urns.append(ref.actor_urn)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(urns)) == 1
    assert pykka.ActorRegistry.get_by_urn(urns[0]) is ref


@pytest.mark.parametrize("what", ["ask", "stop"])
def test_blocking_on_the_dispatchers_thread_is_refused_and_kills_nobody(dispatcher, ref, what):
    other = dispatcher.start(Doing)

    def block(me):
        return other.ask(lambda _: 1) if what == "ask" else other.stop()

    with pytest.raises(WouldDeadlock):
        ref.ask(block, timeout=5)
    assert ref.is_alive()


def test_start_and_stop_cost_the_same_number_of_steps_however_many_actors_there_are(dispatcher, ref):
    import sys

    def calls(me, n_others):
        others = [me.start_child(Doing) for _ in range(n_others)]
        count = 0

        def profile(frame, event, arg):
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(profile)
        child = me.start_child(Doing)
        child.life._die_at_once(NORMAL)
        sys.setprofile(None)
        for other in others:
            other.life._die_at_once(NORMAL)
        return count

    ref.ask(lambda me: calls(me, 1))  # the first pays for imports and caches
    assert ref.ask(lambda me: calls(me, 10)) == ref.ask(lambda me: calls(me, 3000))
