"""Thread actors: as supervised as the others, except that a thread that blocks can only be abandoned."""

from __future__ import annotations

import threading

import pykka
import pytest

from supervisors.actor import Actor
from supervisors.errors import DispatcherStopped
from supervisors.exits import ABANDONED, NORMAL, SHUTDOWN, Abandoned, Crashed, Shutdown
from supervisors.loop_dispatcher import LoopDispatcher
from supervisors.notices import ChildExited, Down
from supervisors.testing import settle
from supervisors.thread_actor import ThreadActor

ERROR = ValueError("first")
EXIT = SystemExit(3)


class Thread(ThreadActor):
    def __init__(self, **hooks):
        super().__init__()
        self.hooks = hooks

    def on_start(self):
        self.hooks.get("on_start", lambda: None)()

    def on_receive(self, message):
        return message(self) if callable(message) else message

    def on_stop(self):
        self.hooks.get("on_stop", lambda: None)()

    def on_failure(self, *exc_info):
        self.hooks.get("on_failure", lambda: None)()


class Parent(Actor):
    def __init__(self):
        super().__init__()
        self.notices = []

    def on_receive(self, message):
        if isinstance(message, (ChildExited, Down)):
            self.notices.append(message)
            return None
        return message(self)


@pytest.fixture
def parent(dispatcher):
    return dispatcher.start(Parent)


def start(parent, **hooks):
    return parent.ask(lambda me: me.start_child(Thread, **hooks), timeout=5)


def reasons(parent):
    settle(parent.life.dispatcher)
    return parent.ask(lambda me: [notice.reason for notice in me.notices], timeout=5)


def raising(error):
    def fail(*_):
        raise error

    return fail


WAYS = {
    "exit": ({}, lambda ref: ref.tell(lambda me: me.exit(Shutdown("x"))), Shutdown("x")),
    "stopped": ({}, lambda ref: ref.stop(block=False), NORMAL),
    "stops_itself": ({}, lambda ref: ref.tell(lambda me: me.stop()), NORMAL),
    "stops_by_hand": ({}, lambda ref: ref.tell(lambda me: me._stop()), NORMAL),
    "shutdown": ({}, lambda ref: ref.shutdown(), SHUTDOWN),
    "kill": ({}, lambda ref: ref.kill(), ABANDONED),
    "kill_twice": ({}, lambda ref: (ref.kill(), ref.kill()), ABANDONED),
    "tell_raises": ({}, lambda ref: ref.tell(raising(ERROR)), Crashed(ERROR)),
    "tell_and_hook_raise": (
        {"on_failure": raising(EXIT)},
        lambda ref: ref.tell(raising(ERROR)),
        Crashed(ERROR),
    ),
    "tell_raises_system_exit": ({}, lambda ref: ref.tell(raising(EXIT)), Crashed(EXIT)),
    "ask_raises_system_exit": ({}, lambda ref: ref.ask(raising(EXIT), block=False), Crashed(EXIT)),
    "stop_hook_raises": ({"on_stop": raising(ERROR)}, lambda ref: ref.stop(block=False), Crashed(ERROR)),
    "stop_hook_exits": ({"on_stop": raising(EXIT)}, lambda ref: ref.shutdown(), Crashed(EXIT)),
    "start_hook_raises": ({"on_start": raising(ERROR)}, lambda ref: None, Crashed(ERROR)),
    "start_hook_exits": ({"on_start": raising(EXIT)}, lambda ref: None, Crashed(EXIT)),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_end_makes_exactly_one_report(parent, way):
    hooks, act, reason = WAYS[way]
    ref = start(parent, **hooks)
    act(ref)
    assert reasons(parent) == [reason]
    assert ref.exit_reason == reason
    assert not ref.is_alive()
    assert pykka.ActorRegistry.get_all() == [parent]


def test_it_runs_on_a_thread_of_its_own(parent):
    ref = start(parent)
    assert ref.ask(lambda me: threading.get_ident()) not in (
        threading.get_ident(),
        parent.life.dispatcher.thread_id,
    )
    assert ref.ask(lambda me: threading.current_thread().daemon) is True


def test_it_may_block_without_holding_anybody(parent):
    release = threading.Event()
    ref = start(parent)
    future = ref.ask(lambda me: release.wait(5), block=False)
    assert parent.ask(lambda me: 5, timeout=5) == 5
    release.set()
    assert future.get(timeout=5) is True


def test_an_exception_while_an_ask_is_handled_is_the_askers(parent):
    ref = start(parent)
    with pytest.raises(ValueError):
        ref.ask(raising(ERROR), timeout=5)
    assert ref.ask(5) == 5


def test_stop_returns_when_the_life_is_over(parent):
    ref = start(parent)
    assert ref.stop(timeout=5) is True
    assert ref.life.phase == 3
    assert ref.stop(timeout=5) is False


def test_a_shutdown_overtakes_messages(parent):
    handled = []
    entered, release = threading.Event(), threading.Event()
    ref = start(parent)
    ref.tell(lambda me: (entered.set(), release.wait(5)))
    assert entered.wait(5)
    waiting = ref.ask(handled.append, block=False)
    ref.shutdown()
    release.set()
    with pytest.raises(pykka.ActorDeadError):
        waiting.get(timeout=5)
    assert reasons(parent) == [SHUTDOWN]
    assert handled == []


def test_a_killed_thread_that_blocks_is_abandoned_and_everybody_is_told_at_once(parent):
    entered, release = threading.Event(), threading.Event()
    ref = start(parent)
    in_hand = ref.ask(lambda me: (entered.set(), release.wait(10)), block=False)
    assert entered.wait(5)
    waiting, stopping = ref.ask(1, block=False), ref.stop(block=False)
    ref.kill()
    for future in (in_hand, waiting):
        with pytest.raises(pykka.ActorDeadError):
            future.get(timeout=5)
    assert stopping.get(timeout=5) is True
    assert reasons(parent) == [ABANDONED]
    assert pykka.ActorRegistry.get_all() == [parent]
    release.set()  # the thread comes back, finds itself abandoned and ends; its late answer harms nobody
    ref.life.thread.join(5)
    assert reasons(parent) == [ABANDONED]


def test_a_killed_thread_that_waits_for_messages_goes_home(parent):
    ref = start(parent)
    settle(parent.life.dispatcher)
    ref.kill()
    ref.life.thread.join(5)
    assert not ref.life.thread.is_alive()


def test_the_parents_end_ends_it(dispatcher, parent):
    ref = start(parent)
    assert parent.stop(timeout=5) is True
    assert ref.exit_reason == SHUTDOWN


def test_a_killed_parent_abandons_it(dispatcher, parent):
    ref = start(parent)
    parent.kill()
    settle(dispatcher)
    assert isinstance(ref.exit_reason, Abandoned)
    assert pykka.ActorRegistry.get_all() == []


def test_closing_the_dispatcher_ends_it(parent):
    ref = start(parent)
    assert parent.life.dispatcher.close()
    assert not ref.is_alive()
    assert not ref.life.thread.is_alive()
    ref.kill()  # too late, and harmless


def test_a_thread_that_outlives_its_dispatcher_answers_who_asked():
    dispatcher = LoopDispatcher("brief").open()
    entered, release = threading.Event(), threading.Event()
    ref = dispatcher.start(Thread)
    in_hand = ref.ask(lambda me: (entered.set(), release.wait(10)), block=False)
    assert entered.wait(5)
    assert dispatcher.close(timeout=0.05) is False
    with pytest.raises(pykka.ActorDeadError):
        in_hand.get(timeout=5)
    release.set()


def test_it_cannot_be_started_on_a_dispatcher_that_was_stopped():
    dispatcher = LoopDispatcher("gone").open()
    dispatcher.close()
    with pytest.raises(DispatcherStopped):
        dispatcher.start(Thread)
    assert pykka.ActorRegistry.get_all() == []


def test_on_the_default_dispatcher_it_needs_nothing_else():
    ref = Thread.start()
    assert ref.ask(5, timeout=5) == 5
    assert ref.post(6) is True
    assert ref.stop(timeout=5) is True
    assert ref.post(7) is False
