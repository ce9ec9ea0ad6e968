"""Futures: Pykka's semantics, awaitable from any loop, and never a deadlock on a dispatcher's thread."""

from __future__ import annotations

import asyncio
import queue
import threading

import pykka
import pytest

from supervisors.actor import Actor
from supervisors.errors import WouldDeadlock
from supervisors.future import Future


class Doing(Actor):
    def on_receive(self, message):
        return message(self) if callable(message) else message


def done(value):
    future = Future()
    future.set(value)
    return future


def failed(error):
    future = Future()
    future.set_error(error)
    return future


def later(act, *args):
    """Do something on another thread, once this one is likely to wait."""
    threading.Timer(0.001, act, args).start()


def test_a_value_can_be_had_as_often_as_one_likes():
    future = done([1])
    assert future.get() is future.get()
    assert future.is_done


def test_a_value_that_comes_later_wakes_who_waits():
    future = Future()
    later(future.set, 5)
    assert future.get(timeout=5) == 5


@pytest.mark.parametrize("timeout", [0, 0.001])
def test_waiting_ends_after_the_timeout(timeout):
    with pytest.raises(pykka.Timeout, match=f"{timeout} seconds"):
        Future().get(timeout=timeout)


def test_an_exception_is_raised_each_time_with_its_own_traceback_only():
    future = failed(ValueError("x"))
    depths = []
    for _ in range(3):
        with pytest.raises(ValueError, match="x") as caught:
            future.get()
        depths.append(len(caught.traceback))
    assert len(set(depths)) == 1


def test_set_exception_without_arguments_takes_the_one_being_handled():
    future = Future()
    try:
        raise KeyError("k")
    except KeyError:
        future.set_exception()
    with pytest.raises(KeyError):
        future.get()


def test_set_exception_makes_an_exception_of_a_bare_class():
    future = Future()
    future.set_exception((ValueError, None, None))
    with pytest.raises(ValueError):
        future.get()


@pytest.mark.parametrize("first", ["set", "set_error", "set_get_hook"])
@pytest.mark.parametrize("second", ["set", "set_error", "set_get_hook"])
def test_it_can_be_set_once(first, second):
    argument = {"set": 1, "set_error": ValueError(), "set_get_hook": lambda timeout: 2}
    future = Future()
    getattr(future, first)(argument[first])
    if first == second == "set_get_hook":
        future.set_get_hook(argument[second])  # Pykka allows this one
        return
    with pytest.raises(queue.Full):
        getattr(future, second)(argument[second])


def test_a_get_hook_makes_the_value_once_from_the_timeout():
    calls = []
    future = Future()
    future.set_get_hook(lambda timeout: calls.append(timeout) or "made")
    assert (future.get(timeout=3), future.get(timeout=4)) == ("made", "made")
    assert calls == [3]


def test_a_get_hook_that_comes_later_wakes_who_waits():
    future = Future()
    later(future.set_get_hook, lambda timeout: "hooked")
    assert future.get(timeout=5) == "hooked"


def test_map_filter_join_and_reduce():
    numbers = done([1, 2, 3])
    assert numbers.map(sum).get() == 6
    assert numbers.filter(lambda n: n > 1).get() == [2, 3]
    assert numbers.reduce(lambda a, b: a + b).get() == 6
    assert numbers.reduce(lambda a, b: a + b, 10).get() == 16
    assert done(1).join(done(2), done(3)).get() == [1, 2, 3]
    with pytest.raises(TypeError):
        done(5).filter(bool).get()


def test_they_work_with_pykkas_own_futures():
    theirs = pykka.ThreadingFuture()
    theirs.set(2)
    assert done(1).join(theirs).get() == [1, 2]
    assert theirs.join(done(1)).get() == [2, 1]
    assert list(pykka.get_all([theirs, done(1)])) == [2, 1]


def test_callbacks_are_called_once_with_the_future():
    calls = []
    future = Future()
    future.add_done_callback(calls.append)
    assert calls == []
    future.set(1)
    future.add_done_callback(calls.append)
    assert calls == [future, future]


def test_a_callback_that_was_taken_back_is_not_called():
    calls = []
    future = Future()
    future.add_done_callback(calls.append)
    future.remove_done_callback(calls.append)
    future.remove_done_callback(calls.append)
    future.set(1)
    assert calls == []


def test_a_callback_that_fails_harms_neither_the_setter_nor_the_others(dispatcher, caplog):
    calls = []
    ref = dispatcher.start(Doing)
    gate = threading.Event()
    future = ref.ask(lambda me: gate.wait(5), block=False)
    future.add_done_callback(lambda _: 1 / 0)
    future.add_done_callback(calls.append)
    gate.set()
    assert future.get(timeout=5) is True
    assert ref.ask(1) == 1
    assert calls == [future]
    assert "failed when" in caplog.text


def test_blocking_on_a_dispatchers_thread_raises_and_says_what_to_do(dispatcher):
    ref = dispatcher.start(Doing)
    for wait in (Future().get, Future().map(str).get, Future().join(Future()).get):
        with pytest.raises(WouldDeadlock, match="await the future in a task"):
            ref.ask(lambda me, wait=wait: wait(), timeout=5)


def test_a_value_that_is_there_can_be_had_on_a_dispatchers_thread(dispatcher):
    ref = dispatcher.start(Doing)
    assert ref.ask(lambda me: done(5).map(str).get(), timeout=5) == "5"


def test_within_a_step_of_a_simulation_the_same_rule_holds(simulation):
    dispatcher = simulation()
    ref, other = dispatcher.start(Doing), dispatcher.start(Doing)
    for wait in (Future().get, lambda: other.ask(1)):
        with pytest.raises(WouldDeadlock):
            ref.ask(lambda me, wait=wait: wait())


def test_another_thread_may_wait_for_a_simulation_that_is_driven_here(simulation):
    dispatcher = simulation()
    ref = dispatcher.start(Doing)
    got = []
    asked = threading.Event()

    def ask():
        future = ref.ask(5, block=False)
        asked.set()
        got.append(future.get(timeout=5))

    thread = threading.Thread(target=ask)
    thread.start()
    assert asked.wait(5)
    dispatcher.run_until_idle()
    thread.join(5)
    assert got == [5]


# --- Awaiting ------------------------------------------------------------------------------------------------


def test_awaiting_does_not_block_the_loop():
    async def main():
        future = Future()
        asyncio.get_running_loop().call_soon(lambda: later(future.set, 5))
        return await future

    assert asyncio.run(main()) == 5


def test_awaiting_what_is_there_returns_at_once():
    async def main():
        with pytest.raises(ValueError):
            await failed(ValueError("x"))
        return await done(1)

    assert asyncio.run(main()) == 1


def test_a_future_of_an_actor_can_be_awaited_on_the_users_loop(dispatcher):
    ref = dispatcher.start(Doing)

    async def main():
        return await asyncio.gather(*(ref.ask(n, block=False) for n in range(1000)))

    assert asyncio.run(main()) == list(range(1000))


def test_awaiting_what_was_made_of_others_needs_no_thread():
    async def main():
        first, second = Future(), Future()
        before = threading.active_count()
        waiting = asyncio.ensure_future(_await(first.join(second.map(lambda n: n + 1))))
        await asyncio.sleep(0)
        assert threading.active_count() == before
        first.set(1)
        second.set(2)
        return await waiting

    assert asyncio.run(main()) == [1, 3]


async def _await(future):
    return await future


def test_awaiting_what_was_made_of_a_failure_raises_it():
    async def main():
        with pytest.raises(ValueError):
            await failed(ValueError("x")).map(str)
        with pytest.raises(ZeroDivisionError):
            await done(0).map(lambda n: 1 // n)

    asyncio.run(main())


def test_awaiting_a_hook_of_ones_own_blocks_a_thread_and_not_the_loop():
    release = threading.Event()

    async def main():
        future = Future()
        future.set_get_hook(lambda timeout: release.wait(5))
        waiting = asyncio.ensure_future(_await(future))
        await asyncio.sleep(0)
        release.set()
        return await waiting

    assert asyncio.run(main()) is True


def test_awaiting_a_hook_that_comes_later():
    async def main():
        future = Future()
        waiting = asyncio.ensure_future(_await(future))
        await asyncio.sleep(0)
        future.set_get_hook(lambda timeout: "hooked")
        return await waiting

    assert asyncio.run(main()) == "hooked"


def test_an_awaiting_task_that_is_cancelled_leaves_nothing_in_the_future():
    async def main():
        future = Future()
        for _ in range(10):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(_await(future), 0.0001)
        assert future._callbacks == []
        future.set(1)
        return await future

    assert asyncio.run(main()) == 1


def test_several_can_await_one_future_on_several_loops():
    future = Future()
    got = []
    started = threading.Barrier(4)

    async def main():
        waiting = [asyncio.ensure_future(_await(future)) for _ in range(3)]
        await asyncio.sleep(0)
        started.wait()
        got.extend(await asyncio.gather(*waiting))

    threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(3)]
    for thread in threads:
        thread.start()
    started.wait()
    future.set("x")
    for thread in threads:
        thread.join(5)
    assert got == ["x"] * 9


def test_a_result_for_a_loop_that_is_closed_meanwhile_harms_nobody():
    future = Future()

    async def main():
        task = asyncio.ensure_future(_await(future))
        await asyncio.sleep(0)
        return task

    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(main())
    loop.close()
    future.set(1)
    assert not task.done()
    task._log_destroy_pending = False
