"""Named subscriptions: at least once, whoever crashes; one consumer at a time; few writes for many acknowledgements."""

from __future__ import annotations

import asyncio
import gc

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal import cursor_keeper
from asm_actors.journal import subscription as machine
from asm_actors.journal.cursor_book import ListCursors
from asm_actors.journal.follow import AsyncSubscription, Subscription
from asm_actors.journal.following import Naming
from asm_actors.journal.query import EventFilter
from asm_actors.journal.subscription import Scope


def named(j, name="n", scope=None, cursor=0, timeout=0.0, **naming):
    return Subscription(j.services, scope or Scope("s"), cursor, timeout, naming=Naming(name, **naming))


def numbers(events):
    return [event.sequence_number for event in events]


def stored(j, name="n"):
    """What a restart of the process would find."""
    cursor = j.store.cursor(name)
    return None if cursor is None else cursor.cursor


def rest(j):
    j.dispatcher.advance(1.0)


def raises(code):
    return pytest.raises(AsmError, match=code)


# --- At least once -------------------------------------------------------------------------------------------------


def test_what_was_not_acknowledged_comes_again_and_what_was_does_not(held):
    held.write("s", 5)
    first = named(held)
    events = first.pull(4)
    first.ack(events[1])
    first.close()
    rest(held)
    second = named(held)
    assert numbers(second.pull()) == [3, 4, 5]
    second.ack()
    rest(held)
    assert stored(held) == 5
    third = named(held)
    assert third.pull(timeout=0) == []
    held.write("s", 1)
    assert numbers(third.pull()) == [6]


def test_several_events_are_acknowledged_at_once_up_to_the_last_of_them(held):
    held.write("s", 5)
    consumer = named(held)
    events = consumer.pull(5)
    consumer.ack(events[:3])
    consumer.ack(events[0])
    consumer.ack([])
    rest(held)
    assert stored(held) == consumer.acknowledged == 3


def test_a_durable_acknowledgement_is_on_the_disk_when_it_returns(held):
    held.write("s", 3)
    consumer = named(held)
    consumer.pull(2)
    consumer.ack(durable=True)
    assert stored(held) == 2
    consumer.ack(durable=True)
    assert stored(held) == 2


def test_a_name_is_durable_before_its_first_event_is_handed_over(held):
    held.write("s", 3)
    consumer = named(held, cursor=2)
    assert stored(held) is None
    assert numbers(consumer.pull(1)) == [3]
    assert stored(held) == 2


def test_what_was_not_handed_over_cannot_be_acknowledged(held):
    held.write("s", 3)
    consumer = named(held)
    consumer.pull(1)
    other = Subscription(held.services, Scope("s"), 0, 0.0)
    with raises("invalid_cursor"):
        consumer.ack(other.pull(3)[2])
    with raises("validation_error"):
        consumer.ack("all")
    with raises("invalid_operation"):
        other.ack()
    rest(held)
    assert stored(held) == 0


def test_with_auto_ack_asking_for_more_acknowledges_what_was_handed_over(held):
    held.write("s", 5)
    consumer = named(held, auto_ack=True)
    consumer.pull(2)
    rest(held)
    assert stored(held) == 0
    consumer.pull(1)
    rest(held)
    assert stored(held) == 2
    for event in consumer:
        if event.sequence_number == 4:
            break
    consumer.close()
    rest(held)
    assert stored(held) == 3, "nobody knows whether the one at which the loop ended was done with"
    held.end("s")
    assert numbers(named(held, auto_ack=True)) == [4, 5, 6]
    rest(held)
    assert stored(held) == 6


def test_a_filter_that_wants_nothing_for_hours_keeps_the_cursor_moving(held, monkeypatch):
    monkeypatch.setattr(machine, "NEWS_AFTER", 10)
    held.write("s", 1)
    consumer = named(held, scope=Scope(None, EventFilter(types="run_failed")))
    dispatcher = held.dispatcher
    for k in range(1, 6):
        dispatcher.call_later(k, lambda: held.tell(held.writer(), held.append("s", 7)))
    dispatcher.call_later(7, lambda: seen.append(stored(held)))
    last = {"types": [EventType.RUN_FAILED]}
    dispatcher.call_later(8, lambda: held.tell(held.writer(), held.append("s", **last)))
    seen = []
    assert [event.type for event in consumer.pull(timeout=None)] == [EventType.RUN_FAILED]
    assert seen[0] >= 29, "it waited all the time, and the durable cursor moved on"
    rest(held)
    assert stored(held) == seen[0], "the one that matched is not acknowledged"


def test_what_is_passed_is_not_acknowledged_over_the_head_of_what_was_handed_over(held):
    held.write("s", types=[EventType.RUN_FAILED, EventType.MESSAGE_STREAMED])
    consumer = named(held, scope=Scope("s", EventFilter(types="run_failed")))
    assert len(consumer.pull(1)) == 1
    held.write("s", 3)
    assert consumer.pull(timeout=0) == []
    rest(held)
    assert stored(held) == 0
    consumer.ack()
    rest(held)
    assert stored(held) == 5


# --- One consumer at a time ----------------------------------------------------------------------------------------


def test_a_second_consumer_takes_over_and_the_first_one_is_closed(held):
    held.write("s", 2)
    first, second = named(held), named(held)
    first.pull(1)
    assert numbers(second.pull(1)) == [1]
    with raises("stream_closed.*took it over"):
        first.pull()
    with raises("stream_closed"):
        first.ack()
    with raises("stream_closed"):
        list(first)
    first.close()
    assert numbers(second.pull()) == [2]


def test_one_that_waits_is_closed_when_another_takes_over(held):
    held.write("s", 2)
    first, second = named(held), named(held)
    first.pull()
    held.dispatcher.call_later(1.0, lambda: second._keeper().tell(claim_of(second)))
    with raises("stream_closed.*took it over"):
        first.pull(timeout=None)


def claim_of(subscription):
    from asm_actors.journal.cursor_book import Claim

    return Claim(subscription._holder, 0, True, None)


def test_a_second_consumer_that_shall_not_take_over_is_refused(held):
    held.write("s", 2)
    first, second = named(held), named(held, takeover=False)
    first.pull(1)
    with raises("invalid_operation.*takeover"):
        second.pull()
    assert numbers(first.pull(1)) == [2]
    first.close()
    assert numbers(second.pull()) == [1, 2]


def test_a_consumer_that_was_left_behind_holds_nothing(held):
    held.write("s", 2)
    named(held).pull(1)
    gc.collect()
    assert numbers(named(held, takeover=False).pull()) == [1, 2]


def test_the_same_name_for_something_else_is_refused(held):
    held.write("s", 2)
    named(held).pull()
    with raises(r"invalid_operation.*unsubscribe"):
        named(held, scope=Scope(None)).pull()


# --- Crashes -------------------------------------------------------------------------------------------------------


def restart_keeper(j, how):
    getattr(j.keeper, how)()
    j.dispatcher.run_until_idle()
    j.start_keeper()


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_restart_of_the_keeper_loses_no_acknowledgement_that_is_followed_by_another(held, how):
    held.write("s", 6)
    consumer = named(held)
    consumer.pull(2)
    consumer.ack()
    restart_keeper(held, how)
    assert stored(held) == (0 if how == "kill" else 2), "in good order it writes first"
    assert numbers(consumer.pull(2)) == [3, 4]
    consumer.ack(durable=True)
    assert stored(held) == 4


def test_while_the_keeper_is_away_a_consumer_waits_for_it(held):
    held.write("s", 2)
    held.keeper.stop()
    held.dispatcher.call_later(2.0, held.start_keeper)
    consumer = named(held)
    assert numbers(consumer.pull()) == [1, 2]
    held.keeper.kill()
    held.dispatcher.call_later(2.0, held.start_keeper)
    consumer.ack(durable=True)
    assert stored(held) == 2


def test_after_a_crash_of_everything_the_acknowledgements_are_told_again(held):
    held.write("s", 3)
    consumer = named(held)
    consumer.pull(2)
    consumer.ack()
    held.keeper.kill()
    consumer._ref.kill()
    held.dispatcher.run_until_idle()
    held.start_keeper()
    assert numbers(consumer.pull()) == [3]
    rest(held)
    assert stored(held) == 2


def test_after_a_restart_another_consumer_may_have_come_first(held):
    held.write("s", 3)
    first, second = named(held), named(held)
    first.pull(1)
    held.keeper.kill()
    held.dispatcher.run_until_idle()
    held.start_keeper()
    assert numbers(second.pull(1)) == [1]
    first._ref.kill()
    with raises("stream_closed.*another consumer"):
        first.pull()
    assert numbers(second.pull(1)) == [2]


# --- Writing -------------------------------------------------------------------------------------------------------


class Saves:
    """Counts what a store is told to save, and fails as told."""

    def __init__(self, store, monkeypatch):
        self.batches, self.failing = [], []
        save = store.save_cursors

        def counted(batch):
            if self.failing:
                raise self.failing.pop(0)
            self.batches.append(dict(batch))
            save(batch)

        monkeypatch.setattr(store, "save_cursors", counted)


@pytest.fixture
def saves(held, monkeypatch):
    return Saves(held.store, monkeypatch)


def test_a_thousand_acknowledgements_cost_a_few_commits(held, saves):
    held.write("s", 1000)
    consumer = named(held)
    for event in consumer.pull(1000):
        consumer.ack(event)
    rest(held)
    assert stored(held) == 1000
    assert len(saves.batches) <= 3


def test_what_could_not_be_saved_is_tried_again_and_a_durable_acknowledgement_is_told(held, saves):
    held.write("s", 4)
    consumer = named(held)
    consumer.pull(2)
    full = AsmError(ErrorCode.STORAGE_WRITE_FAILED, "the disk is full")
    saves.failing = [full, full]
    with raises("storage_write_failed"):
        consumer.ack(durable=True)
    assert stored(held) == 0
    held.dispatcher.advance(3 * cursor_keeper.RETRY_S)
    assert stored(held) == 2
    assert numbers(consumer.pull()) == [3, 4]


def test_a_new_name_that_cannot_be_saved_is_refused(held, saves):
    held.write("s", 1)
    saves.failing = [AsmError(ErrorCode.STORAGE_WRITE_FAILED, "the disk is full")]
    consumer = named(held)
    with raises("storage_write_failed"):
        consumer.pull()
    assert numbers(consumer.pull()) == [1]


def test_cursors_that_cannot_be_read_are_told_to_whoever_asks_and_the_next_one_has_it_tried_again(
    held, monkeypatch
):
    def unreadable():
        raise AsmError(ErrorCode.STORAGE_READ_FAILED, "the record n in cursors cannot be read")

    held.write("s", 1)
    with monkeypatch.context() as patch:
        patch.setattr(held.store, "cursors", unreadable)
        with raises("storage_read_failed"):
            named(held).pull()
    assert numbers(named(held).pull()) == [1]


def test_the_keeper_leaves_when_the_disk_fails_and_tells_who_waits(held, saves):
    held.write("s", 2)
    consumer = named(held)
    consumer.pull(1)
    consumer.ack()
    saves.failing = [AsmError(ErrorCode.STORAGE_WRITE_FAILED, "the disk is full")] * 9
    assert held.keeper.stop()
    assert stored(held) == 0


def test_lags_are_told_of_those_that_follow_the_journal(held):
    held.write("s", 4)
    consumer = named(held, "all", scope=Scope(None))
    consumer.pull(3)
    consumer.ack()
    named(held, "one").pull(1)
    held.dispatcher.run_until_idle()
    assert held.keeper.life.actor.lags(4) == {"all": 1, "one": None}
    entries = held.keeper.ask(ListCursors())
    assert [(cursor.name, cursor.cursor) for cursor, _ in entries] == [("all", 3), ("one", 0)]


def test_an_odd_message_is_none_of_the_keepers_business(held):
    held.keeper.tell("what?")
    held.dispatcher.run_until_idle()
    assert held.keeper.is_alive()


# --- On the asyncio surface ----------------------------------------------------------------------------------------


def test_asyncio_consumers_do_the_same(live):
    async def main():
        live.write("s", 4)
        naming = Naming("n")
        async with AsyncSubscription(live.services, Scope("s"), 0, 0.0, naming=naming) as consumer:
            assert consumer.acknowledged == 0
            events = await consumer.pull(2)
            await consumer.ack(events[0], durable=True)
            assert (await consumer.statistics()).lag == 2
        async with AsyncSubscription(live.services, Scope("s"), None, 0.0, naming=naming) as consumer:
            assert numbers([event async for event in consumer]) == [2, 3, 4]
            await consumer.ack(durable=True)
        assert stored(live) == 4

    asyncio.run(main())
