"""However an actor ends, its parent and whoever monitors it hear of it exactly once, with the right reason."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pykka
import pytest

from supervisors.actor import Actor
from supervisors.errors import StartFailed
from supervisors.exits import KILLED, NORMAL, SHUTDOWN, Crashed, Killed, Normal, Shutdown
from supervisors.loop_dispatcher import LoopDispatcher
from supervisors.notices import ChildExited, Down
from supervisors.simulation import SimulationDispatcher
from supervisors.testing import settle


class Boom(Exception):  # noqa: N818 - short, since every test says it
    pass


async def for_ever():
    await asyncio.get_running_loop().create_future()


async def fail(error):
    raise error


class Child(Actor):
    """Does what a message, which is a function of the actor, says; has its hooks given."""

    def __init__(self, **hooks):
        super().__init__()
        self.hooks = hooks
        self.called = hooks.get("called", [])

    def hook(self, name, *args):
        self.called.append(name)
        return self.hooks[name](self, *args) if name in self.hooks else None

    def on_start(self):
        self.hook("on_start")

    def on_receive(self, message):
        return message(self)

    def on_exit_request(self, reason):
        return bool(self.hook("on_exit_request", reason))

    def on_stop(self):
        self.hook("on_stop")

    def on_failure(self, *exc_info):
        self.hook("on_failure", *exc_info)


class Parent(Actor):
    def __init__(self, notices):
        super().__init__()
        self.notices = notices

    def on_receive(self, message):
        if isinstance(message, (ChildExited, Down)):
            self.notices.append(message)
            return None
        return message(self)


class Home:
    """A parent and a stranger who watches; `reasons` are all the reports of the child that came to each."""

    def __init__(self, dispatcher):
        self.dispatcher = dispatcher
        self.to_parent, self.to_stranger = [], []
        self.parent = dispatcher.start(Parent, self.to_parent)
        self.stranger = dispatcher.start(Parent, self.to_stranger)

    def child(self, **hooks):
        child = self.parent.ask(lambda parent: parent.start_child(Child, **hooks), timeout=5)
        self.watch(child)
        return child

    def watch(self, child):
        self.stranger.ask(lambda stranger: stranger.monitor(child), timeout=5)

    def settle(self):
        settle(self.dispatcher)

    @property
    def reasons(self):
        self.settle()
        parents = [notice.reason for notice in self.to_parent if isinstance(notice, ChildExited)]
        strangers = [notice.reason for notice in self.to_stranger]
        return parents, strangers


@pytest.fixture(params=["loop", "simulation"])
def home(request):
    with LoopDispatcher("home") if request.param == "loop" else SimulationDispatcher(7) as dispatcher:
        yield Home(dispatcher)


def raising(error):
    def hook(actor, *args):
        raise error

    return hook


ERROR = Boom("first")
EXIT = SystemExit(3)

# name: (hooks, what is done to the child's ref, its one exit reason)
WAYS = {
    "exit": ({}, lambda ref: ref.tell(lambda actor: actor.exit()), NORMAL),
    "exit_with_reason": ({}, lambda ref: ref.tell(lambda actor: actor.exit(Shutdown("x"))), Shutdown("x")),
    "exit_twice": ({}, lambda ref: ref.tell(lambda actor: (actor.exit(SHUTDOWN), actor.exit())), SHUTDOWN),
    "stop_itself": ({}, lambda ref: ref.tell(lambda actor: actor.stop()), NORMAL),
    "stopped": ({}, lambda ref: ref.stop(block=False), NORMAL),
    "stopped_twice": ({}, lambda ref: (ref.stop(block=False), ref.stop(block=False)), NORMAL),
    "shutdown": ({}, lambda ref: ref.shutdown(), SHUTDOWN),
    "shutdown_with_detail": ({}, lambda ref: ref.shutdown(Shutdown("drained")), Shutdown("drained")),
    "kill": ({}, lambda ref: ref.kill(), KILLED),
    "kill_twice": ({}, lambda ref: (ref.kill(), ref.kill()), KILLED),
    "shutdown_then_kill": ({}, lambda ref: (ref.shutdown(), ref.kill()), SHUTDOWN),
    "tell_raises": ({}, lambda ref: ref.tell(raising(ERROR)), Crashed(ERROR)),
    "tell_and_failure_hook_raise": (
        {"on_failure": raising(Boom("second"))},
        lambda ref: ref.tell(raising(ERROR)),
        Crashed(ERROR),
    ),
    "stop_hook_raises": ({"on_stop": raising(ERROR)}, lambda ref: ref.stop(block=False), Crashed(ERROR)),
    "stop_hook_exits_the_process": ({"on_stop": raising(EXIT)}, lambda ref: ref.shutdown(), Crashed(EXIT)),
    "exit_request_hook_raises": (
        {"on_exit_request": raising(ERROR)},
        lambda ref: ref.shutdown(),
        Crashed(ERROR),
    ),
    "tell_raises_system_exit": ({}, lambda ref: ref.tell(raising(EXIT)), Crashed(EXIT)),
    "ask_raises_system_exit": ({}, lambda ref: ref.ask(raising(EXIT), block=False), Crashed(EXIT)),
    "system_exit_and_its_stop_hook_raise": (
        {"on_stop": raising(ERROR)},
        lambda ref: ref.tell(raising(EXIT)),
        Crashed(EXIT),
    ),
    "task_crashes": ({}, lambda ref: ref.tell(lambda actor: actor.spawn(fail(ERROR))), Crashed(ERROR)),
    "task_raises_system_exit": (
        {},
        lambda ref: ref.tell(lambda actor: actor.spawn(fail(EXIT))),
        Crashed(EXIT),
    ),
    "two_tasks_crash": (
        {},
        lambda ref: ref.tell(lambda actor: (actor.spawn(fail(ERROR)), actor.spawn(fail(Boom("late"))))),
        Crashed(ERROR),
    ),
    "exit_deferred": (
        {"on_exit_request": lambda actor, reason: actor.actor_ref.tell(lambda me: me.exit(reason)) or True},
        lambda ref: ref.shutdown(),
        SHUTDOWN,
    ),
    "exit_within_the_exit_request": (
        {"on_exit_request": lambda actor, reason: actor.exit(Shutdown("own"))},
        lambda ref: ref.shutdown(),
        Shutdown("own"),
    ),
    "with_tasks_and_timers": (
        {"on_start": lambda actor: (actor.spawn(for_ever()), actor.send_after(60.0, print))},
        lambda ref: ref.shutdown(),
        SHUTDOWN,
    ),
    "with_children": (
        {"on_start": lambda actor: [actor.start_child(Child) for _ in range(3)]},
        lambda ref: ref.stop(block=False),
        NORMAL,
    ),
    "killed_with_children": (
        {"on_start": lambda actor: [actor.start_child(Child) for _ in range(3)]},
        lambda ref: ref.kill(),
        KILLED,
    ),
    "stops_by_hand_and_raises": (
        {},
        lambda ref: ref.tell(lambda actor: (actor._stop(), raising(ERROR)(actor))),
        NORMAL,
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_end_makes_exactly_one_report(home, way):
    hooks, act, reason = WAYS[way]
    child = home.child(**hooks)
    act(child)
    assert home.reasons == ([reason], [reason])
    assert child.exit_reason == reason
    assert not child.is_alive()
    assert child not in pykka.ActorRegistry.get_all()
    assert child.life not in home.dispatcher.lives


def test_a_task_that_calls_exit_ends_its_owner_before_the_next_message(home):
    handled = []

    async def leave(actor):
        for _ in range(20):
            actor.actor_ref.tell(lambda _: handled.append(1))
        actor.exit(Shutdown("enough"))

    home.child().tell(lambda actor: actor.spawn(leave(actor)))
    assert home.reasons == ([Shutdown("enough")], [Shutdown("enough")])
    assert handled == []


def test_an_exit_called_while_a_spurious_wake_up_is_under_way_is_not_lost(home):
    child = home.child()

    async def leave(actor):
        actor.dispatcher.schedule(actor._life)  # as a message does that was taken before its notice came
        actor.exit()

    child.tell(lambda actor: actor.spawn(leave(actor)))
    assert home.reasons == ([NORMAL], [NORMAL])


def test_an_exception_while_an_ask_is_handled_is_the_askers_and_the_actor_lives(home):
    child = home.child()
    with pytest.raises(Boom):
        child.ask(raising(ERROR), timeout=5)
    assert home.reasons == ([], [])
    assert child.is_alive()


def test_an_asker_gets_the_system_exit_that_ends_the_actor(home):
    child = home.child()
    with pytest.raises(SystemExit):
        child.ask(raising(EXIT), timeout=5)
    assert home.reasons == ([Crashed(EXIT)], [Crashed(EXIT)])


def test_a_failed_start_is_no_exit_and_leaves_nothing(home):
    made = []

    def on_start(actor):
        made.extend([actor.actor_ref, actor.start_child(Child)])
        actor.dispatcher.names.register("early", actor.actor_ref)
        actor.spawn(for_ever())
        actor.send_after(60.0, "never")
        raise ERROR

    with pytest.raises(StartFailed) as caught:
        home.child(on_start=on_start)
    assert caught.value.__cause__ is ERROR
    assert home.reasons == ([], [])
    assert [ref.life.phase for ref in made] == [3, 3]
    assert home.dispatcher.names.whereis("early") is None
    assert home.dispatcher.statistics().actors == 2
    assert len(pykka.ActorRegistry.get_all()) == 2


@pytest.mark.parametrize("error", [ERROR, EXIT, asyncio.CancelledError()], ids=repr)
@pytest.mark.parametrize("where", ["__init__", "on_start"])
def test_whatever_a_start_raises_is_a_failed_start_and_the_parent_lives(home, error, where):
    called = []

    class Fails(Child):
        def __init__(self):
            super().__init__(called=called)
            if where == "__init__":
                raise error

        def on_start(self):
            raise error

    with pytest.raises(StartFailed) as caught:
        home.parent.ask(lambda parent: parent.start_child(Fails), timeout=5)
    assert caught.value.__cause__ is error
    assert called == []  # no hook of an actor that never started
    assert home.reasons == ([], [])
    assert home.parent.is_alive()


def test_an_actor_without_parent_that_fails_to_start_ends_as_crashed(home):
    ref = home.dispatcher.start(Child, on_start=raising(ERROR))
    home.watch(ref)
    assert home.reasons == ([], [Crashed(ERROR)])


def test_a_child_that_leaves_within_its_start_is_started_and_then_reported(home):
    seen = []

    def start(parent):
        child = parent.start_child(Child, on_start=lambda actor: actor.exit(Shutdown("at once")))
        seen.append(list(parent.notices))
        return child

    child = home.parent.ask(start, timeout=5)
    home.watch(child)
    assert seen == [[]]
    assert home.reasons == ([Shutdown("at once")], [Shutdown("at once")])


def test_hooks_run_once_and_in_order(home):
    called = []
    child = home.child(called=called)
    child.stop(timeout=5)
    assert called == ["on_start", "on_exit_request", "on_stop"]


def test_a_crash_runs_the_failure_hook_and_not_the_stop_hook(home):
    called = []
    home.child(called=called).tell(raising(ERROR))
    home.settle()
    assert called == ["on_start", "on_failure"]


def test_a_kill_runs_no_hook(home):
    called = []
    home.child(called=called).kill()
    home.settle()
    assert called == ["on_start"]


def test_stop_returns_when_the_life_is_over_and_not_before(home):
    ended = []

    async def slow():
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0)
            ended.append("task")

    child = home.child(on_start=lambda actor: actor.spawn(slow()))
    home.settle()
    assert child.stop(timeout=5) is True
    assert ended == ["task"]
    assert child.stop(timeout=5) is False


def test_all_who_asked_a_deferring_actor_to_stop_are_answered_at_its_end(home):
    child = home.child(on_exit_request=lambda *_: True)
    asked = [child.stop(block=False) for _ in range(3)]
    home.settle()
    assert not any(future.is_done for future in asked)
    child.tell(lambda actor: actor.exit())
    assert [future.get(timeout=5) for future in asked] == [True, True, True]
    assert home.reasons == ([NORMAL], [NORMAL])


def test_who_asked_to_stop_is_answered_when_a_kill_comes_first(home):
    child = home.child(on_exit_request=lambda *_: True)
    asked = child.stop(block=False)
    child.kill()
    assert asked.get(timeout=5) is True


def test_the_parents_end_tells_the_children_to_end_the_last_one_first(home):
    order = []
    for name in "abc":
        home.child(on_stop=lambda _, name=name: order.append(name))
    home.parent.stop(timeout=5)
    assert home.reasons[1] == [SHUTDOWN] * 3
    if isinstance(home.dispatcher, LoopDispatcher):
        assert order == ["c", "b", "a"]  # a simulation lets them act on it in any order
    else:
        assert sorted(order) == ["a", "b", "c"]


def test_a_parent_is_over_only_when_its_childrens_tasks_are(home):
    release = asyncio.Event()

    async def stubborn():
        try:
            await for_ever()
        except asyncio.CancelledError:
            await release.wait()

    child = home.child(on_start=lambda actor: actor.spawn(stubborn()))
    home.settle()
    stopped = home.parent.stop(block=False)
    home.settle()
    assert not stopped.is_done
    assert home.reasons == ([], [])
    home.dispatcher.call_from_outside(release.set)
    assert stopped.get(timeout=5)
    assert child.exit_reason == SHUTDOWN


def test_a_killed_parent_takes_everybody_below_along(home):
    below = []

    def grow(actor, depth):
        below.append(actor.actor_ref)
        if depth:
            actor.start_child(Child, on_start=lambda child: grow(child, depth - 1))

    child = home.child(on_start=lambda actor: grow(actor, 4))
    for ref in below[1:]:
        home.watch(ref)
    home.parent.kill()
    parents, strangers = home.reasons
    assert parents == []
    assert strangers == [KILLED] * 5
    assert child.exit_reason == KILLED


def test_a_kill_while_stopping_ends_the_waiting_and_is_the_reason(home):
    async def refuses():
        while True:
            try:
                await for_ever()
            except asyncio.CancelledError:
                if child.exit_reason == KILLED:
                    raise

    child = home.child(on_start=lambda actor: actor.spawn(refuses()))
    home.settle()
    child.shutdown()
    assert home.reasons == ([], [])
    assert not child.is_alive()
    child.kill()
    assert home.reasons == ([KILLED], [KILLED])


def test_a_shutdown_before_the_start_was_run_is_not_lost(simulation):
    called = []
    dispatcher = simulation()
    ref = dispatcher.start(Child, called=called)
    ref.life.signals.insert(0, ("exit", SHUTDOWN))
    dispatcher.run_until_idle()
    assert called == ["on_start", "on_stop"]
    assert ref.exit_reason == SHUTDOWN


def test_a_kill_before_the_start_was_run_means_that_it_never_runs(simulation):
    called = []
    dispatcher = simulation()
    ref = dispatcher.start(Child, called=called)
    ref.life.signals.insert(0, ("kill", None))
    dispatcher.run_until_idle()
    assert called == []
    assert ref.exit_reason == KILLED
    assert dispatcher.statistics().actors == 0


def test_no_child_is_started_by_an_actor_that_is_ending(home):
    caught = []

    def on_stop(actor):
        try:
            actor.start_child(Child)
        except StartFailed as error:
            caught.append(error)

    home.child(on_stop=on_stop).stop(timeout=5)
    assert len(caught) == 1
    assert home.reasons == ([NORMAL], [NORMAL])


def test_a_task_that_starts_a_child_while_it_is_cancelled_cannot_keep_its_owner(home):
    async def late(actor):
        try:
            await for_ever()
        finally:
            actor.start_child(Child)

    child = home.child(on_start=lambda actor: actor.spawn(late(actor)))
    home.settle()
    child.shutdown()
    [[reason], _] = home.reasons
    assert isinstance(reason.error, StartFailed)


def test_a_tree_deeper_than_the_interpreters_stack_ends_in_order(home):
    refs = []

    def dig(actor):
        refs.append(actor.actor_ref)
        if len(refs) < 1500:
            actor.start_child(Child).tell(dig)

    child = home.child()
    child.tell(dig)
    home.settle()
    child.stop(timeout=20)
    assert {ref.exit_reason for ref in refs[1:]} == {SHUTDOWN}
    assert home.reasons == ([NORMAL], [NORMAL])


def test_a_tree_deeper_than_the_interpreters_stack_can_be_killed(home):
    refs = []

    def dig(actor):
        refs.append(actor.actor_ref)
        if len(refs) < 1500:
            actor.start_child(Child).tell(dig)

    child = home.child()
    child.tell(dig)
    home.settle()
    child.kill()
    assert home.reasons == ([KILLED], [KILLED])
    assert {ref.exit_reason for ref in refs} == {KILLED}


def test_an_actor_whose_text_cannot_be_made_still_ends_properly(home, caplog):
    class Unspeakable(Child):
        def __str__(self):
            raise Boom("no text")

    child = home.parent.ask(lambda parent: parent.start_child(Unspeakable), timeout=5)
    child.tell(raising(ERROR))
    assert home.reasons[0] == [Crashed(ERROR)]
    assert child not in pykka.ActorRegistry.get_all()
    assert "Unhandled exception in Unspeakable" in caplog.text


def test_a_failure_after_the_end_began_is_logged_and_makes_an_orderly_end_a_crash(home, caplog):
    async def fails_when_cancelled():
        try:
            await for_ever()
        finally:
            raise ERROR

    child = home.child(on_start=lambda actor: actor.spawn(fails_when_cancelled()))
    home.settle()
    child.shutdown()
    assert home.reasons == ([Crashed(ERROR)], [Crashed(ERROR)])
    assert caplog.text.count("failed while it was being stopped") == 1


def test_the_crash_of_a_killed_actors_task_is_logged_and_changes_nothing(home, caplog):
    async def fails_when_cancelled():
        try:
            await for_ever()
        finally:
            raise ERROR

    child = home.child(on_start=lambda actor: actor.spawn(fails_when_cancelled()))
    home.settle()
    child.kill()
    assert home.reasons == ([KILLED], [KILLED])
    assert caplog.text.count("failed while it was being stopped") == 1


@pytest.mark.parametrize(
    "way", ["exit", "stopped", "shutdown", "kill", "with_tasks_and_timers", "with_children"]
)
def test_a_dead_actor_and_its_life_go_without_the_collector(simulation, way):
    hooks, act, _ = WAYS[way]
    dispatcher = simulation()
    home = Home(dispatcher)
    gc.collect()
    gc.disable()
    try:
        child = home.child(**hooks)
        actor, life, ref = weakref.ref(child._actor_weakref()), weakref.ref(child.life), weakref.ref(child)
        act(child)
        home.settle()
        assert actor() is None
        assert child.exit_reason is not None
        home.to_parent.clear()
        home.to_stranger.clear()
        del child
        assert (ref(), life()) == (None, None)
    finally:
        gc.enable()


def test_the_answer_of_a_failed_ask_keeps_neither_itself_nor_the_future(home):
    child = home.child()
    gc.collect()
    gc.disable()
    try:
        future = child.ask(lambda _: 1 / 0, block=False)
        gone = weakref.ref(future)
        with pytest.raises(ZeroDivisionError):
            future.get(timeout=5)
        home.settle()
        del future
        assert gone() is None
    finally:
        gc.enable()


def test_reasons_are_values_that_tests_can_compare():
    assert (Normal(), Killed(), Shutdown("a")) == (NORMAL, KILLED, Shutdown("a"))
