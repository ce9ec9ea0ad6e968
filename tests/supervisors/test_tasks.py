"""Owned tasks: they crash their owner, end with it, are awaited before it is over, and cannot stop the others."""

from __future__ import annotations

import asyncio
import sys

import pytest

from supervisors.actor import Actor
from supervisors.exits import KILLED, SHUTDOWN
from supervisors.loop_dispatcher import LoopDispatcher
from supervisors.simulation import SimulationDispatcher
from supervisors.testing import Gate, settle


class Doing(Actor):
    def on_receive(self, message):
        return message(self) if callable(message) else None


@pytest.fixture(params=["loop", "simulation"])
def host(request):
    with LoopDispatcher("tasks") if request.param == "loop" else SimulationDispatcher(3) as dispatcher:
        yield dispatcher


async def for_ever():
    await asyncio.get_running_loop().create_future()


def test_a_task_tells_its_result_to_its_owner(host):
    seen = []

    class Owner(Actor):
        def on_start(self):
            self.spawn(self.work())

        async def work(self):
            await asyncio.sleep(0)
            self.actor_ref.tell(("result", 42))

        def on_receive(self, message):
            seen.append(message)

    host.start(Owner)
    settle(host)
    assert seen == [("result", 42)]


def test_a_finished_task_is_forgotten(host):
    async def quick():
        pass

    ref = host.start(Doing)
    ref.tell(lambda me: me.spawn(quick()))
    settle(host)
    assert ref.life.tasks == {}


def test_a_task_that_cancels_itself_is_no_crash(host):
    async def gives_up():
        raise asyncio.CancelledError

    ref = host.start(Doing)
    ref.tell(lambda me: me.spawn(gives_up()))
    settle(host)
    assert ref.is_alive()


def test_tasks_are_cancelled_and_awaited_before_the_owner_is_over(host):
    log = []

    async def careful(name):
        try:
            await for_ever()
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            log.append(name)

    ref = host.start(Doing)
    for name in "ab":
        ref.ask(lambda me, name=name: me.spawn(careful(name)) and None, timeout=5)
    settle(host)
    assert ref.stop(timeout=5) is True
    assert sorted(log) == ["a", "b"]


def test_a_task_that_swallows_its_cancellation_is_waited_for(host):
    gate = Gate(host)

    async def stubborn():
        try:
            await for_ever()
        except asyncio.CancelledError:
            await gate.wait()

    ref = host.start(Doing)
    ref.tell(lambda me: me.spawn(stubborn()))
    settle(host)
    stopped = ref.stop(block=False)
    settle(host)
    assert not stopped.is_done
    assert ref.exit_reason is not None
    gate.open()
    assert stopped.get(timeout=5) is True


def test_a_killed_owners_tasks_are_cancelled_but_not_awaited(host):
    log = []

    async def careful():
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0)
            log.append("done")

    ref = host.start(Doing)
    ref.tell(lambda me: me.spawn(careful()))
    settle(host)
    ref.kill()
    settle(host)
    assert ref.exit_reason == KILLED
    settle(host)
    assert log == ["done"]


def test_a_task_spawned_by_an_ending_actor_is_cancelled_before_it_begins(host):
    log = []

    async def late():
        log.append("ran")

    class Owner(Doing):
        def on_stop(self):
            self.spawn(late())

    ref = host.start(Owner)
    assert ref.stop(timeout=5) is True
    assert log == []


@pytest.mark.parametrize("where", ["init", "elsewhere"])
def test_a_task_cannot_be_spawned_before_the_start_or_from_another_thread(dispatcher, where):
    class Hasty(Doing):
        def __init__(self):
            super().__init__()
            if where == "init":
                self.spawn(for_ever())

    with pytest.raises(RuntimeError, match="from on_start on"):
        dispatcher.start(Hasty)._actor_weakref().spawn(for_ever())


def test_a_task_that_raises_system_exit_stops_neither_the_dispatcher_nor_the_others(host):
    async def exits():
        sys.exit(3)

    others = [host.start(Doing) for _ in range(3)]
    ref = host.start(Doing)
    ref.tell(lambda me: me.spawn(exits()))
    settle(host)
    assert isinstance(ref.exit_reason.error, SystemExit)
    assert [other.ask(lambda me: 5, timeout=5) for other in others] == [5, 5, 5]


def test_a_task_can_await_another_actor_of_the_same_dispatcher(host):
    other = host.start(Doing)
    seen = []

    async def ask(me):
        seen.append(await other.ask(lambda _: 6 * 7, block=False))
        try:
            await other.ask(lambda _: 1 / 0, block=False)
        except ZeroDivisionError as error:
            seen.append(type(error))

    host.start(Doing).tell(lambda me: me.spawn(ask(me)))
    settle(host)
    assert seen == [42, ZeroDivisionError]


def test_blocking_calls_run_elsewhere_and_are_awaited_in_a_task(host):
    seen = []

    async def work(me):
        seen.append(await me.blocking(lambda a, b: a + b, 1, 2))
        try:
            await me.blocking(lambda: 1 / 0)
        except ZeroDivisionError as error:
            seen.append(type(error))

    host.start(Doing).tell(lambda me: me.spawn(work(me)))
    settle(host)
    assert seen == [3, ZeroDivisionError]
    assert host.statistics().blocking == 0


def test_a_task_has_the_name_it_was_given(host):
    names = []

    async def work():
        names.append(asyncio.current_task().get_name())

    host.start(Doing).tell(lambda me: me.spawn(work(), name="fetch"))
    settle(host)
    assert names == ["fetch"]


def test_the_end_of_one_task_leaves_the_others_alone(host):
    async def quick():
        pass

    ref = host.start(Doing)
    ref.tell(lambda me: (me.spawn(quick()), me.spawn(for_ever())))
    settle(host)
    assert len(ref.life.tasks) == 1
    ref.shutdown()
    settle(host)
    assert ref.exit_reason == SHUTDOWN
