"""The production dispatcher: fair, woken by anybody, held by nobody, and clean at the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time

import pykka
import pytest

from supervisors import loops
from supervisors.actor import Actor
from supervisors.errors import DispatcherStopped, WouldDeadlock
from supervisors.exits import KILLED
from supervisors.loop_dispatcher import LoopDispatcher


class Doing(Actor):
    def on_receive(self, message):
        return message(self) if callable(message) else message


def hold(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def test_opening_and_closing_are_idempotent():
    dispatcher = LoopDispatcher("twice")
    assert dispatcher.open() is dispatcher.open()
    assert dispatcher.close() is True
    assert dispatcher.close() is True
    assert dispatcher.is_stopped
    with pytest.raises(DispatcherStopped):
        dispatcher.open()


def test_one_that_was_never_opened_can_be_closed():
    assert LoopDispatcher("never").close() is True


def test_it_opens_itself_for_its_first_actor():
    dispatcher = LoopDispatcher("lazy")
    assert dispatcher.is_asleep
    assert dispatcher.start(Doing).ask(5, timeout=5) == 5
    assert dispatcher.close()


def test_it_cannot_be_closed_on_its_own_thread(dispatcher):
    ref = dispatcher.start(Doing)
    with pytest.raises(WouldDeadlock):
        ref.ask(lambda me: dispatcher.close(), timeout=5)
    assert ref.ask(5) == 5


def test_closing_kills_what_runs_children_before_parents(dispatcher):
    ends = []

    class Noting(Doing):
        def on_stop(self):
            ends.append("hook")

    refs = [dispatcher.start(Noting) for _ in range(3)]
    refs.append(refs[0].ask(lambda me: me.start_child(Noting)))
    assert dispatcher.close()
    assert {ref.exit_reason for ref in refs} == {KILLED}
    assert ends == []
    assert pykka.ActorRegistry.get_all() == []


def test_closing_answers_who_waits(dispatcher):
    ref = dispatcher.start(Doing)
    futures = [ref.ask(lambda me: me.reply_later(), block=False) for _ in range(3)]
    dispatcher.close()
    for future in futures:
        with pytest.raises(pykka.ActorDeadError):
            future.get(timeout=5)


def test_a_task_that_refuses_to_be_cancelled_is_named_and_left_behind(monkeypatch, caplog):
    monkeypatch.setattr(loops, "_LAST_GRACE_S", 0.001)
    dispatcher = LoopDispatcher("left")

    async def refuses():
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

    ref = dispatcher.start(Doing)
    ref.ask(lambda me: me.spawn(refuses(), name="mule") and None, timeout=5)
    ref.ask(1)
    assert dispatcher.close() is False
    assert "mule of <LoopDispatcher left> refuses to be cancelled" in caplog.text


def test_a_call_that_blocks_for_ever_does_not_keep_the_dispatcher(settle):
    dispatcher = LoopDispatcher("blocked")
    entered, release = threading.Event(), threading.Event()

    def block():
        entered.set()
        release.wait(10)

    dispatcher.start(Doing).tell(lambda me: me.blocking(block) and None)
    assert entered.wait(5)
    assert dispatcher.close(timeout=0.05) is False
    assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("blocked-pool"))
    release.set()


def test_the_pool_is_bounded_and_named_threads_keep_their_order(dispatcher, settle):
    names, order = set(), []

    async def work(me):
        calls = [me.blocking(lambda: names.add(threading.current_thread().name)) for _ in range(50)]
        calls += [dispatcher.run_blocking(order.append, n, thread="committer") for n in range(50)]
        await asyncio.gather(*calls)

    dispatcher.start(Doing).tell(lambda me: me.spawn(work(me)))
    settle(dispatcher)
    assert len(names) <= 4
    assert order == list(range(50))


def test_an_actor_with_many_messages_does_not_starve_the_others(dispatcher):
    order = []
    gate = threading.Event()
    holder, busy, quiet = [dispatcher.start(Doing) for _ in range(3)]
    for ref in (busy, quiet):
        ref.ask(1)
    holder.tell(lambda me: gate.wait(5))
    for _ in range(1000):
        busy.tell(lambda me: order.append("busy"))
    done = quiet.ask(lambda me: order.append("quiet"), block=False)
    gate.set()
    done.get(timeout=5)
    assert order.index("quiet") <= 2 * dispatcher.slice


def test_a_flood_of_messages_does_not_starve_the_loop():
    with LoopDispatcher("flooded", turn_limit_s=0.001) as dispatcher:
        stop = threading.Event()

        class Endless(Actor):
            def on_receive(self, message):
                if not stop.is_set():
                    self.actor_ref.tell(message)

        dispatcher.start(Endless).tell("again")
        seen = threading.Event()
        dispatcher.call_from_outside(lambda: dispatcher.call_later(0.001, seen.set))
        assert seen.wait(5)
        stop.set()


def hold_until(condition, timeout=5.0):
    until = time.perf_counter() + timeout
    while not condition() and time.perf_counter() < until:
        pass


def test_the_watchdog_names_who_holds_the_thread_with_its_stack_once_per_incident(caplog):
    def reports():
        return [record.getMessage() for record in caplog.records if record.name == "supervisors"]

    with LoopDispatcher("held", hold_limit_s=0.01) as dispatcher:
        ref = dispatcher.start(Doing)
        for n in (1, 2):
            ref.ask(lambda me, n=n: hold_until(lambda: len(reports()) >= n), timeout=10)
            ref.ask(lambda me: None)
            numbers = dispatcher.statistics()
            assert (numbers.held, numbers.held_by) == (n, str(ref))
        assert numbers.longest_s >= 0.01
    assert len(reports()) == 2
    for report in reports():
        assert str(ref) in report
        assert "in hold_until" in report  # where it hung


def test_a_handler_that_was_too_long_between_two_looks_is_counted_when_it_is_over(caplog):
    with LoopDispatcher("held", hold_limit_s=0.1) as dispatcher:
        ref = dispatcher.start(Doing)
        ref.ask(1)
        dispatcher.hold_limit_s = 0.001  # the watchdog's thread goes on looking every 0.1 s only
        ref.ask(lambda me: hold(0.002), timeout=5)
        ref.ask(1)
        assert dispatcher.statistics().held_by == str(ref)
        dispatcher.hold_limit_s = 10.0
    assert f"{ref} held the dispatcher held for 0.00" in caplog.text


def test_the_watchdog_names_an_actor_that_died_of_its_long_handler():
    with LoopDispatcher("held", hold_limit_s=0.005) as dispatcher:
        ref = dispatcher.start(Doing)
        ref.tell(lambda me: (hold(0.02), 1 / 0))
        ref.actor_stopped.wait(5)
        dispatcher.start(Doing).ask(1, timeout=5)
        assert dispatcher.statistics().held_by == str(ref)


def test_the_watchdog_names_the_owner_of_a_task_that_holds_the_thread(caplog):
    with LoopDispatcher("held", hold_limit_s=0.01) as dispatcher:
        ref = dispatcher.start(Doing)

        async def work():
            hold_until(lambda: dispatcher.statistics().held)

        ref.ask(lambda me: me.spawn(work(), name="crunch") and None, timeout=5)
        assert dispatcher.start(Doing).ask(1, timeout=10) == 1
        assert dispatcher.statistics().held_by == f"task crunch of {ref}"
        assert dispatcher.statistics().held == 1
    assert "task crunch of" in caplog.text


def test_a_busy_but_polite_dispatcher_is_no_incident(settle, caplog):
    with LoopDispatcher("polite", hold_limit_s=1.0) as dispatcher:
        ref = dispatcher.start(Doing)

        async def work():
            for _ in range(2000):
                await asyncio.sleep(0)

        ref.tell(lambda me: me.spawn(work()))
        for n in range(2000):
            ref.tell(n)
        settle(dispatcher)
        assert dispatcher.statistics().held == 0
        assert [record for record in caplog.records if record.name == "supervisors"] == []


def test_a_fault_of_the_runtime_costs_one_actor_its_life_and_not_the_others(
    dispatcher, settle, caplog, monkeypatch
):
    victim, other = dispatcher.start(Doing), dispatcher.start(Doing)
    settle(dispatcher)
    from supervisors.life import Life

    run = Life.run

    def broken(life, limit):
        if life is victim.life:
            raise AssertionError("a bug")
        return run(life, limit)

    monkeypatch.setattr(Life, "run", broken)
    waiting = victim.ask(1, block=False)
    assert other.ask(2, timeout=5) == 2
    with pytest.raises(pykka.ActorDeadError):
        waiting.get(timeout=5)
    assert "could not be run on" in caplog.text


def test_a_callback_that_exits_the_process_does_not_end_the_thread(dispatcher, caplog):
    def leave():
        raise SystemExit(3)

    dispatcher.call_from_outside(leave)
    assert dispatcher.start(Doing).ask(5, timeout=5) == 5
    assert dispatcher.close()  # the loop may let it pass only after what else it had to do
    assert "which goes on" in caplog.text


def test_somebody_who_stops_the_loop_does_not_end_the_thread(dispatcher):
    dispatcher.call_from_outside(dispatcher.loop.stop)
    assert dispatcher.start(Doing).ask(5, timeout=5) == 5


@pytest.mark.parametrize("kind", ["uvloop", "asyncio"])
def test_both_kinds_of_loop_do(kind, monkeypatch, settle):
    from supervisors import loop_dispatcher

    if kind == "uvloop":
        pytest.importorskip("uvloop")
    else:
        monkeypatch.setattr(loop_dispatcher, "new_loop", asyncio.new_event_loop)
    seen = []

    async def exits():
        raise SystemExit(3)

    with LoopDispatcher(kind) as dispatcher:
        ref = dispatcher.start(Doing)
        ref.tell(lambda me: me.send_after(0.001, lambda me: seen.append("timer")))
        ref.ask(lambda me: me.spawn(asyncio.sleep(0.002)) and None)
        dispatcher.start(Doing).tell(lambda me: me.spawn(exits()))
        while not seen:
            assert ref.ask(5, timeout=5) == 5
    assert seen == ["timer"]


def test_actors_that_are_started_while_it_closes_are_ended_or_refused():
    for _ in range(20):
        dispatcher = LoopDispatcher("race").open()
        refs, barrier = [], threading.Barrier(3)

        def start(dispatcher=dispatcher, refs=refs, barrier=barrier):
            barrier.wait()
            try:
                while True:
                    refs.append(dispatcher.start(Doing))
            except DispatcherStopped:
                pass

        threads = [threading.Thread(target=start) for _ in range(2)]
        for thread in threads:
            thread.start()
        barrier.wait()
        assert dispatcher.close()
        for thread in threads:
            thread.join(5)
        assert {ref.exit_reason for ref in refs} <= {KILLED}
        assert pykka.ActorRegistry.get_all() == []
        assert not dispatcher.lives


def test_actors_that_are_started_while_it_falls_asleep_live():
    dispatcher = LoopDispatcher("sleepy", auto_stop=True)
    barrier = threading.Barrier(3)
    failures = []

    def live(which):
        barrier.wait()
        for n in range(50):
            ref = dispatcher.start(Doing)
            if ref.ask((which, n), timeout=10) != (which, n) or not ref.stop(timeout=10):
                failures.append((which, n))

    threads = [threading.Thread(target=live, args=(which,)) for which in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert dispatcher.close()


def test_an_actor_that_tells_itself_while_it_is_made_wakes_a_sleeping_dispatcher():
    dispatcher = LoopDispatcher("sleepy", auto_stop=True)

    class Eager(Actor):
        def __init__(self):
            super().__init__()
            self.seen = []
            self.actor_ref.tell("early")

        def on_receive(self, message):
            self.seen.append(message)
            return self.seen

    for _ in range(5):
        ref = dispatcher.start(Eager)
        assert ref.ask("asked", timeout=5) == ["early", "asked"]
        ref.stop(timeout=5)
        for thread in threading.enumerate():
            if thread.name == "sleepy":
                thread.join(5)
    assert dispatcher.close()


def test_call_from_outside_on_a_stopped_dispatcher_is_refused():
    dispatcher = LoopDispatcher("gone").open()
    dispatcher.close()
    with pytest.raises(DispatcherStopped):
        dispatcher.call_from_outside(print)


def test_statistics_count_what_happened(dispatcher, settle):
    refs = [dispatcher.start(Doing) for _ in range(3)]
    for ref in refs:
        ref.ask(1)
    settle(dispatcher)
    numbers = dispatcher.statistics()
    assert (numbers.actors, numbers.ready, numbers.handled, numbers.held, numbers.blocking) == (3, 0, 3, 0, 0)


def test_activate_nests_and_is_undone(dispatcher, simulation):
    from supervisors.dispatcher import Dispatcher

    inner = simulation()
    with dispatcher.activate():
        with inner.activate():
            assert Dispatcher.current() is inner
        assert Dispatcher.current() is dispatcher


def test_logging_at_debug_level_changes_nothing(dispatcher, caplog):
    caplog.set_level(logging.DEBUG, logger="pykka")
    ref = dispatcher.start(Doing)
    assert ref.stop(timeout=5)
    for text in (f"Registered {ref}", f"Starting {ref}", f"Unregistered {ref}", f"Stopped {ref}"):
        assert text in caplog.text
