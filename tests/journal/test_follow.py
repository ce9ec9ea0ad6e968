"""What a subscriber holds: pulling, iterating, going on after a restart, on both surfaces."""

from __future__ import annotations

import asyncio
import threading

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.follow import AsyncSubscription, Subscription
from asm_actors.journal.query import EventFilter
from asm_actors.journal.subscription import Scope
from asm_actors.services import SUBSCRIPTIONS

ENDED = EventType.SESSION_COMPLETED


def texts(events):
    return [event.data["content"] for event in events]


# --- What a subscriber holds ---------------------------------------------------------------------------------------


def test_pulling_moves_the_cursor_and_iterating_goes_on_from_it(held):
    held.write("s", 5)
    with Subscription(held.services, Scope("s"), 0, 0.0) as subscription:
        assert [event.sequence_number for event in subscription.pull(2)] == [1, 2]
        assert subscription.cursor == 2
        assert [event.sequence_number for event in subscription] == [3, 4, 5]
        assert subscription.cursor == 5
        assert subscription.pull(timeout=0) == []


def test_a_loop_that_was_broken_off_is_gone_on_with_by_the_next(held):
    held.write("s", 5)
    subscription = Subscription(held.services, Scope("s"), 0, 0.0)
    for event in subscription:
        if event.sequence_number == 2:
            break
    assert subscription.cursor == 2
    assert [event.sequence_number for event in subscription.pull(1)] == [3]
    assert [event.sequence_number for event in subscription] == [4, 5]
    subscription.close()


def test_a_reader_that_comes_back_with_its_cursor_misses_nothing(held):
    held.write("s", 3)
    with Subscription(held.services, Scope("s"), 0, 0.0) as subscription:
        seen = texts(subscription)
    held.write("s", 3)
    with Subscription(held.services, Scope("s"), subscription.cursor, 0.0) as subscription:
        seen += texts(subscription)
    assert seen == [f"s-{k}" for k in range(1, 7)]


def test_iterating_ends_when_the_session_is_over(held):
    held.write("s", 2)
    held.end("s")
    subscription = Subscription(held.services, Scope("s"), 0)
    assert [event.sequence_number for event in subscription] == [1, 2, 3]
    assert subscription.is_over
    assert subscription.pull() == []
    subscription.close()


def test_iterating_ends_when_no_event_comes_in_time(held):
    held.write("s", 1)
    subscription = Subscription(held.services, Scope("s"), 0, 3.0)
    before = held.dispatcher.clock.monotonic()
    assert len(list(subscription)) == 1
    assert held.dispatcher.clock.monotonic() - before == pytest.approx(3.0)
    subscription.close()


def test_what_was_passed_as_not_wanted_counts_for_the_cursor(held):
    held.write("s", 5)
    scope = Scope("s", EventFilter(types="run_completed"))
    subscription = Subscription(held.services, scope, 0)
    assert subscription.pull(timeout=0) == []
    assert subscription.cursor == 5
    subscription.close()


def test_after_close_a_pull_is_refused_and_iterating_is_over(held):
    held.write("s", 3)
    subscription = Subscription(held.services, Scope("s"), 0)
    next(iter(subscription))
    subscription.close()
    subscription.close()
    held.dispatcher.run_until_idle()
    assert list(subscription) == []
    with pytest.raises(AsmError) as caught:
        subscription.pull()
    assert caught.value.code is ErrorCode.STREAM_CLOSED
    assert held.actor.statistics().followers == 0


def test_closing_one_that_was_never_used_costs_nothing(held):
    Subscription(held.services, Scope("s"), 0).close()


@pytest.mark.parametrize(
    "arguments",
    [
        {"limit": 0},
        {"limit": True},
        {"limit": 1.5},
        {"timeout": -1},
        {"timeout": "soon"},
        {"timeout": float("nan")},
    ],
)
def test_bad_arguments_of_a_pull_are_refused(held, arguments):
    held.write("s")
    subscription = Subscription(held.services, Scope("s"), 0)
    with pytest.raises(AsmError) as caught:
        subscription.pull(**arguments)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert len(subscription.pull(timeout=0)) == 1
    subscription.close()


def test_when_its_actor_dies_the_next_pull_begins_anew_at_the_cursor(held):
    held.write("s", 4)
    subscription = Subscription(held.services, Scope("s"), 0, 0.0)
    assert len(subscription.pull(2)) == 2
    subscription._ref.kill()
    held.write("s", 2)
    assert [event.sequence_number for event in subscription] == [3, 4, 5, 6]
    subscription.close()


def test_when_the_journal_dies_while_it_waits_it_begins_anew(held):
    held.write("s", 1)
    subscription = Subscription(held.services, Scope("s"), 1)
    dispatcher, killed = held.dispatcher, []

    def restart_the_journal():
        held.ref.kill()
        dispatcher.names.forget(held.ref)
        subscription._ref.shutdown()
        killed.append(held.ref)
        held.ref = dispatcher.start(type(held.actor) if held.actor else killed[0].actor_class, held.services)
        dispatcher.names.register("journal", held.ref)

    dispatcher.call_later(1.0, restart_the_journal)
    dispatcher.call_later(2.0, lambda: held.tell(held.writer(), held.append("s")))
    assert [event.sequence_number for event in subscription.pull()] == [2]
    assert killed
    subscription.close()


def test_while_a_part_is_restarted_it_waits_for_it_but_not_for_ever(held):
    held.write("s", 1)
    subscription = Subscription(held.services, Scope("s"), 0)
    held.dispatcher.names.forget(held.supervisor)
    with pytest.raises(AsmError) as caught:
        subscription.pull()
    assert caught.value.code is ErrorCode.STREAM_CLOSED
    held.dispatcher.call_later(5.0, lambda: held.dispatcher.names.register(SUBSCRIPTIONS, held.supervisor))
    assert len(subscription.pull()) == 1
    subscription.close()


def test_when_the_system_has_stopped_iterating_ends_and_pulling_says_so(held):
    held.write("s", 1)
    subscription = Subscription(held.services, Scope("s"), 1)
    held.services.directory.is_stopping = True
    held.supervisor.stop()
    assert list(subscription) == []
    with pytest.raises(AsmError, match="stream_closed"):
        subscription.pull()


def test_two_threads_do_not_pull_from_one_subscription(held):
    held.write("s", 1)
    subscription = Subscription(held.services, Scope("s"), 1)
    with subscription._pulling, pytest.raises(AsmError) as caught:
        subscription.pull()
    assert caught.value.code is ErrorCode.INVALID_OPERATION
    subscription.close()


def test_a_pull_that_is_interrupted_gives_its_events_to_the_next(held, monkeypatch):
    held.write("s", 3)
    subscription = Subscription(held.services, Scope("s"), 0)
    subscription.pull(1)
    drive = held.dispatcher.drive

    def interrupted(future, timeout):
        drive(future, timeout)
        monkeypatch.setattr(held.dispatcher, "drive", drive)
        raise KeyboardInterrupt

    monkeypatch.setattr(held.dispatcher, "drive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        subscription.pull()
    assert [event.sequence_number for event in subscription.pull()] == [2, 3]
    subscription.close()


# --- On the asyncio surface, with the production dispatcher --------------------------------------------------------


def test_asyncio_readers_get_what_comes_and_cancelling_a_pull_loses_nothing(live):
    async def main():
        live.write("s", 1)
        async with AsyncSubscription(live.services, Scope("s"), 0) as subscription:
            assert len(await subscription.pull()) == 1
            task = asyncio.ensure_future(subscription.pull())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            live.write("s", 2)
            seen = await subscription.pull()
            while len(seen) < 2:
                seen += await subscription.pull()
            assert [event.sequence_number for event in seen] == [2, 3]
            live.write("s", types=[EventType.MESSAGE_STREAMED, ENDED])
            assert [event.sequence_number async for event in subscription] == [4, 5]

    asyncio.run(main())


def test_closing_from_another_thread_ends_a_blocking_reader(live):
    live.write("s", 1)
    subscription = Subscription(live.services, Scope("s"), 1)
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(subscription))
    reader.start()
    while subscription._ref is None or subscription._ref.life.actor._state.pull is None:
        assert reader.is_alive()
    subscription.close()
    reader.join(5)
    assert not reader.is_alive()
    assert seen == []
