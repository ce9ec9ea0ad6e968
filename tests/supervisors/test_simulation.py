"""The simulation: one seed, one schedule; all of asyncio that actors need; Ctrl-C; a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pykka
import pytest

from supervisors.actor import Actor
from supervisors.errors import DispatcherStopped
from supervisors.exits import KILLED, Crashed
from supervisors.manual_clock import ManualClock
from supervisors.simulation import SimulationDispatcher


class Doing(Actor):
    def on_receive(self, message):
        return message(self) if callable(message) else message


def story(seed):
    """Actors that talk, own tasks, wait, block and time out, as one list of what happened."""
    log = []

    class Talker(Actor):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def on_start(self):
            self.spawn(self.work())
            self.send_after(random.Random(self.name).random(), "timer")

        async def work(self):
            async def part(n):
                await asyncio.sleep(n / 10)
                log.append((self.name, "part", n))

            async with asyncio.TaskGroup() as group:
                for n in range(3):
                    group.create_task(part(n))
            log.append((self.name, await self.blocking(str.upper, self.name)))
            try:
                async with asyncio.timeout(1.0), asyncio.TaskGroup() as group:
                    for n in range(3):
                        group.create_task(self.wait_long(n))
            except TimeoutError:
                log.append((self.name, "timeout", self.now()))

        async def wait_long(self, n):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                log.append((self.name, "cancelled", n))
                raise

        def on_receive(self, message):
            log.append((self.name, message))
            if message == "timer":
                for peer in peers:
                    peer.tell(f"from {self.name}")

    with SimulationDispatcher(seed) as dispatcher:
        peers = [dispatcher.start(Talker, name) for name in "abcd"]
        dispatcher.advance(5.0)
        return log, dispatcher.steps


def test_one_seed_is_one_schedule():
    assert story(5) == story(5)


def test_different_seeds_are_different_schedules_of_the_same_story():
    stories = [story(seed)[0] for seed in range(8)]
    assert len({tuple(each) for each in stories}) == 8
    assert len({tuple(sorted(each, key=repr)) for each in stories}) == 1


def test_messages_of_one_sender_keep_their_order_under_every_seed(simulation):
    for seed in range(20):
        seen = []
        dispatcher = simulation(seed)
        ref = dispatcher.start(Doing)
        for n in range(10):
            ref.tell(lambda _, n=n, seen=seen: seen.append(n))
        dispatcher.run_until_idle()
        assert seen == list(range(10))


def test_nothing_happens_by_itself(simulation):
    seen = []
    dispatcher = simulation()
    dispatcher.start(Doing).tell(lambda _: seen.append(1))
    assert seen == []
    dispatcher.run_until_idle()
    assert seen == [1]


def test_a_blocking_ask_drives_and_jumps_to_the_next_timer(simulation):
    dispatcher = simulation()

    class Slow(Actor):
        def on_receive(self, message):
            if message == "due":
                return self.answer.set(self.now())
            self.answer = self.reply_later()
            self.send_after(30.0, "due")
            return None

    assert dispatcher.start(Slow).ask("question", timeout=60) == 30.0
    assert dispatcher.clock.monotonic() == 30.0


def test_a_blocking_ask_times_out_on_the_manual_clock(simulation):
    dispatcher = simulation()
    ref = dispatcher.start(Doing)
    with pytest.raises(pykka.Timeout):
        ref.ask(lambda me: me.reply_later(), timeout=7.0)
    assert dispatcher.clock.monotonic() == 7.0


def test_a_timer_after_the_timeout_is_not_waited_for(simulation):
    dispatcher = simulation()
    ref = dispatcher.start(Doing)
    with pytest.raises(pykka.Timeout):
        ref.ask(lambda me: me.send_after(9.0, lambda _: None) and me.reply_later(), timeout=7.0)
    assert dispatcher.clock.monotonic() == 7.0


def test_an_ask_that_nobody_will_answer_says_so_instead_of_hanging(simulation):
    ref = simulation().start(Doing)
    with pytest.raises(pykka.Timeout, match="nobody is left"):
        ref.ask(lambda me: me.reply_later())


def test_advance_lets_each_timer_fire_at_its_own_time_with_all_it_causes(simulation):
    dispatcher = simulation()
    seen = []

    def tick(me):
        seen.append(me.now())
        me.send_after(1.0, tick)

    dispatcher.start(Doing).tell(tick)
    dispatcher.advance(3.5)
    assert seen == [0.0, 1.0, 2.0, 3.0]
    assert dispatcher.clock.monotonic() == 3.5


def test_an_injected_crash_is_a_crash(simulation):
    dispatcher = simulation()
    ref = dispatcher.start(Doing)
    error = RuntimeError("injected")
    dispatcher.crash(ref, error)
    ref.tell(lambda _: pytest.fail("was handled after the crash"))
    dispatcher.run_until_idle()
    assert ref.exit_reason == Crashed(error)


def test_crashes_can_be_injected_at_any_step(simulation):
    ends = set()
    for at in range(1, 12):
        refs = []

        def crash(dispatcher, at=at, refs=refs):
            if dispatcher.steps == at:
                dispatcher.crash(refs[0], RuntimeError("injected"))

        dispatcher = simulation(on_step=crash)
        refs.append(dispatcher.start(Doing))
        for _ in range(8):
            refs[0].tell(lambda _: None)
        dispatcher.run_until_idle()
        ends.add((at, refs[0].is_alive()))
    assert {at for at, is_alive in ends if not is_alive} == set(
        range(1, 9)
    )  # the start is done with the first message


def test_an_endless_conversation_is_an_error(simulation):
    dispatcher = simulation(max_steps=100)

    class Endless(Actor):
        def on_receive(self, message):
            self.actor_ref.tell(message)

    ref = dispatcher.start(Endless)
    ref.tell("again")
    with pytest.raises(RuntimeError, match="not idle after 100 steps"):
        dispatcher.run_until_idle()
    with pytest.raises(RuntimeError, match="not idle after 100 steps"):
        dispatcher.start(Doing).ask(lambda me: me.reply_later())


# --- asyncio -------------------------------------------------------------------------------------------------


def run_task(dispatcher, work):
    """Run a coroutine function as an owned task; return the list into which it writes."""
    log = []
    ref = dispatcher.start(Doing)
    ref.tell(lambda me: me.spawn(work(me, log)))
    dispatcher.advance(100.0)
    assert ref.is_alive(), ref.exit_reason
    return log


def test_sleep_timeout_gather_wait_and_queue(simulation):
    async def work(me, log):
        async def value(n):
            await asyncio.sleep(n)
            return n

        log.append(await asyncio.gather(*(value(n) for n in (3, 1, 2))))
        log.append(me.now())
        try:
            async with asyncio.timeout(2.0):
                await asyncio.sleep(60)
        except TimeoutError:
            log.append(me.now())
        done, pending = await asyncio.wait([asyncio.ensure_future(value(n)) for n in (1, 50)], timeout=5)
        log.append((len(done), len(pending)))
        for task in pending:
            task.cancel()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(value(9), 1)
        queue = asyncio.Queue(1)
        producer = asyncio.ensure_future(queue.put(1))
        log.append(await queue.get())
        await producer
        log.append(await asyncio.to_thread(lambda: "thread"))
        log.append(asyncio.get_running_loop() is me.dispatcher.loop)

    assert run_task(simulation(), work) == [[3, 1, 2], 3.0, 5.0, (1, 1), 1, "thread", True]


def test_async_generators_are_closed_when_they_are_dropped(simulation):
    async def work(me, log):
        async def numbers():
            try:
                for n in range(10):
                    yield n
            finally:
                await asyncio.sleep(0)
                log.append("closed")

        async for n in numbers():
            if n == 3:
                break

    assert run_task(simulation(), work) == ["closed"]


def test_async_generators_that_hang_are_closed_at_the_end(simulation):
    log = []
    kept = []

    async def work():
        async def numbers():
            try:
                yield 1
            finally:
                await asyncio.sleep(0)
                log.append("closed")

        generator = numbers()
        kept.append(generator)
        await anext(generator)

    dispatcher = simulation()
    dispatcher.start(Doing).tell(lambda me: me.spawn(work()))
    dispatcher.run_until_idle()
    assert log == []
    assert dispatcher.close()
    assert log == ["closed"]


def test_calls_of_one_blocking_thread_keep_their_order_under_every_seed(simulation):
    for seed in range(10):
        order = []
        dispatcher = simulation(seed)

        async def work(me, log, dispatcher=dispatcher, order=order):
            await asyncio.gather(
                *(
                    dispatcher.run_blocking(order.append, (name, n), thread=name)
                    for n in range(5)
                    for name in "ab"
                )
            )

        run_task(dispatcher, work)
        for name in "ab":
            assert [n for which, n in order if which == name] == list(range(5))


def test_a_callback_of_nobody_that_fails_is_kept_and_logged(caplog):
    dispatcher = SimulationDispatcher()
    dispatcher.call_from_outside(lambda: 1 / 0)
    dispatcher.run_until_idle()
    assert [type(context["exception"]) for context in dispatcher.failures] == [ZeroDivisionError]
    assert dispatcher.close()


# --- Ctrl-C and the end --------------------------------------------------------------------------------------


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("where", ["handler", "start", "stop", "task", "child", "blocking"])
def test_ctrl_c_reaches_the_user_once_and_the_simulation_can_still_be_closed(simulation, where):
    class Host(Doing):
        def on_start(self):
            if where == "start":
                interrupt()

        def on_stop(self):
            if where == "stop":
                interrupt()

        async def work(self):
            interrupt()

        async def block(self):
            await self.blocking(interrupt)

    class Child(Actor):
        def on_start(self):
            interrupt()

    dispatcher = simulation()
    bystander = dispatcher.start(Doing)
    ref = dispatcher.start(Host)
    acts = {
        "handler": interrupt,
        "stop": lambda me: me.exit(),
        "task": lambda me: me.spawn(me.work()),
        "child": lambda me: me.start_child(Child),
        "blocking": lambda me: me.spawn(me.block()),
    }
    if where in acts:
        ref.tell(acts[where])
    with pytest.raises(KeyboardInterrupt):
        dispatcher.run_until_idle()
    dispatcher.run_until_idle()
    assert not ref.is_alive()
    assert bystander.ask(5) == 5


def test_system_exit_of_a_task_does_not_end_the_test_run(simulation):
    dispatcher = simulation()
    ref = dispatcher.start(Doing)

    async def exits():
        raise SystemExit(3)

    ref.tell(lambda me: me.spawn(exits()))
    dispatcher.run_until_idle()
    assert isinstance(ref.exit_reason.error, SystemExit)


def test_closing_kills_what_runs_and_lets_its_tasks_come_to_their_end(simulation):
    log = []

    async def careful():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            log.append("done")

    dispatcher = simulation()
    ref = dispatcher.start(Doing)
    ref.tell(lambda me: (me.spawn(careful()), me.start_child(Doing)))
    dispatcher.run_until_idle()
    assert dispatcher.close()
    assert dispatcher.close()
    assert log == ["done"]
    assert ref.exit_reason == KILLED
    assert dispatcher.statistics().actors == dispatcher.statistics().blocking == 0
    with pytest.raises(DispatcherStopped):
        dispatcher.start(Doing)
    assert pykka.ActorRegistry.get_all() == []


def test_a_task_that_refuses_to_be_cancelled_is_told_of_at_the_end(caplog):
    dispatcher = SimulationDispatcher()

    async def refuses():
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

    dispatcher.start(Doing).tell(lambda me: me.spawn(refuses(), name="mule"))
    dispatcher.run_until_idle()
    assert dispatcher.close() is False
    assert "mule" in caplog.text


def test_blocking_calls_that_have_not_begun_do_not_begin_at_the_end(simulation):
    seen = []
    dispatcher = simulation()
    dispatcher.start(Doing)
    dispatcher.run_until_idle()
    dispatcher.run_blocking(seen.append, 1)
    assert dispatcher.close()
    assert seen == []


def test_a_message_to_a_closed_simulation_is_refused(simulation):
    dispatcher = simulation()
    ref = dispatcher.start(Doing)
    dispatcher.close()
    with pytest.raises(pykka.ActorDeadError):
        ref.ask(1)


def test_the_clock_is_manual_and_does_not_go_back():
    clock = ManualClock(start_us=1_000_000)
    clock.advance(2.5)
    assert (clock.monotonic(), clock.time_us()) == (2.5, 3_500_000)
    with pytest.raises(ValueError, match="time does not go back"):
        clock.move_to(1.0)
