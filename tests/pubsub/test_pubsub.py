"""Topics of a system in its own process: each subscriber is a cursor on the journal."""

from __future__ import annotations

import asyncio

import pytest

import asm_actors as asm
from asm_actors import EventType, PubSub


@pytest.fixture
def session(manager):
    made = manager.start_session(agent_id="a", id="s:1")
    return manager.activate_session(made.id)


@pytest.fixture
def pubsub(manager):
    return PubSub(manager)


def run(manager, session):
    return manager.execute_run(manager.start_run(session.id, "Hello").id)


def test_a_subscriber_gets_what_comes_from_then_on_in_order(manager, pubsub, session):
    with pubsub.subscribe(session.id, timeout=0) as events:
        result = run(manager, session)
        assert list(events) == result.events
    with pubsub.subscribe(session.id, after=0, timeout=0) as events:
        assert [event.sequence_number for event in events] == list(range(1, 10))


def test_topics_of_runs_and_types_give_their_events_only(manager, pubsub, session):
    first = run(manager, session)
    second = run(manager, session)
    named = {
        "run": pubsub.subscribe(session.id, second.run_id, after=0, timeout=0),
        "topic": pubsub.subscribe(str(pubsub.topic(session.id, first.run_id)), after=0, timeout=0),
        "type": pubsub.subscribe(pubsub.topic(session.id, type="run_completed"), after=0, timeout=0),
    }
    assert {event.run_id for event in named["run"]} == {second.run_id}
    assert list(named["topic"]) == first.events
    assert [event.type for event in named["type"]] == [EventType.RUN_COMPLETED] * 2
    for subscription in named.values():
        subscription.close()


def test_a_prefix_is_part_of_its_topics(manager, session):
    pubsub = PubSub(manager, prefix="app")
    assert str(pubsub.topic(session.id)) == "app:session:s%3A1"
    with pubsub.subscribe("app:session:s%3A1", after=0, timeout=0) as events:
        assert len(list(events)) == 2
    with pytest.raises(asm.AsmError, match="session_not_found"):
        pubsub.subscribe("asm:session:s%3A1")


def test_who_lags_reads_on_unless_it_chose_to_drop(manager, pubsub, session):
    lagging = pubsub.subscribe(session.id, timeout=0)
    dropping = pubsub.subscribe(session.id, timeout=0, overflow="drop", max_lag=5)
    for _ in range(3):
        run(manager, session)
    assert [event.sequence_number for event in lagging] == list(range(3, 24))
    assert [event.sequence_number for event in dropping] == list(range(19, 24))
    assert (lagging.skipped, dropping.skipped) == (0, 16)
    lagging.close()
    dropping.close()


def test_a_durable_one_has_a_name(manager, pubsub, session):
    with pubsub.subscribe(session.id, name="n", timeout=0) as events:
        run(manager, session)
        events.ack(events.pull(2))
    with pubsub.subscribe(session.id, name="n", timeout=0) as events:
        assert events.pull(1)[0].sequence_number == 5


def test_it_fits_where_a_broker_is_expected_and_nobody_is_told_twice(manager, pubsub, session):
    sink = asm.PubSubSink(pubsub)
    with pubsub.subscribe(session.id, timeout=0) as events:
        result = manager.execute_run(manager.start_run(session.id, "Hello").id, event_callback=sink)
        assert list(events) == result.events
    assert (sink.broadcast_count, sink.error_count) == (7, 0)


def test_it_carries_the_journal_and_nothing_else(manager, pubsub, session):
    for message in ("hello", ("asm_event", "s", None), asm.Event("e", EventType.RUN_STARTED, 0, "s"), ()):
        with pytest.raises(asm.AsmError, match="validation_error"):
            pubsub.broadcast("asm:session:s", message)
    with pytest.raises(asm.AsmError, match="validation_error"):
        pubsub.broadcast("", manager.get_session_events(session.id)[0])


def test_what_does_not_fit_is_refused(manager, pubsub, session):
    with pytest.raises(asm.AsmError, match="validation_error"):
        PubSub(object())
    with pytest.raises(asm.AsmError, match="validation_error"):
        pubsub.subscribe(pubsub.topic(session.id, "r"), "q")
    with pytest.raises(asm.AsmError, match="session_not_found"):
        pubsub.subscribe("nobody")


def test_on_the_asyncio_surface_now_is_when_it_is_entered():
    async def main():
        async with asm.AsyncActorSystem.start(asm.MemoryStore(), {"mock": asm.ScriptedProvider()}) as system:
            manager = system.sessions
            session = await manager.start_session(agent_id="a")
            await manager.activate_session(session.id)
            async with PubSub(manager).subscribe(session.id, timeout=0) as events:
                created = await manager.start_run(session.id, "Hello")
                result = await manager.execute_run(created.id)
                assert [event async for event in events] == await asyncio.to_thread(lambda: result.events)

    asyncio.run(main())
