"""A sink hands on each durable event by topic, in order, and never stops for a broker that fails."""

from __future__ import annotations

import asyncio
import logging

import pytest

import asm_actors as asm
from asm_actors import PubSubSink, Topic


def events_of(manager, session_id):
    return manager.get_session_events(session_id)


def test_as_a_callback_it_broadcasts_each_event_of_the_run_once_it_is_durable(manager, broker):
    sink = asm.event_callback(broker)
    result = manager.run_once("Hello", event_callback=sink)
    topic = f"asm:session:{result.session_id}"
    assert broker.sent == [(topic, ("asm_event", result.session_id, event)) for event in result.events]
    assert (sink.broadcast_count, sink.error_count) == (7, 0)
    assert result.callback_failures == 0


def test_topics_are_by_session_run_or_type_with_a_prefix_of_ones_own(manager, broker):
    result = manager.run_once("Hello")
    events = events_of(manager, result.session_id)
    for scope in ("session", "run", "type"):
        broker.sent.clear()
        sink = PubSubSink(broker, scope=scope, prefix="app")
        for event in events:
            sink(event)
        assert [topic for topic, _ in broker.sent] == [
            str(asm.topic_of(event, scope, "app")) for event in events
        ]


def test_one_topic_or_a_function_of_the_event_may_be_given(manager, broker):
    event = events_of(manager, manager.run_once("Hello").session_id)[0]
    PubSubSink(broker, topic="all")(event)
    PubSubSink(broker, topic=Topic("s"))(event)
    PubSubSink(broker, topic_fn=lambda event: event.type.value)(event)
    PubSubSink(broker, topic_fn=lambda event: [Topic("a"), "b"])(event)
    PubSubSink(broker, topic_fn=lambda event: [])(event)
    assert [topic for topic, _ in broker.sent] == [
        "all",
        "asm:session:s",
        "session_created",
        "asm:session:a",
        "b",
    ]


def test_the_message_may_be_wrapped_otherwise(manager, broker):
    event = events_of(manager, manager.run_once("Hello").session_id)[0]
    PubSubSink(broker, message_wrapper="mine")(event)
    PubSubSink(broker, message_wrapper=lambda event: event.to_map())(event)
    assert [message for _, message in broker.sent] == [("mine", event.session_id, event), event.to_map()]


@pytest.mark.parametrize(
    "options",
    [
        {"topic": "t", "topic_fn": str},
        {"topic": 5},
        {"topic_fn": "t"},
        {"scope": "galaxy"},
        {"prefix": ""},
        {"message_wrapper": None},
    ],
)
def test_bad_options_are_refused(broker, options):
    with pytest.raises(asm.AsmError, match="validation_error"):
        PubSubSink(broker, **options)


def test_a_broker_without_broadcast_is_refused():
    with pytest.raises(asm.AsmError, match="validation_error"):
        PubSubSink(object())


def test_a_broker_that_fails_is_counted_logged_once_and_stops_nobody(manager, broker, caplog):
    sink = PubSubSink(broker, scope="type")
    session = manager.start_session(agent_id="a", id="s")
    manager.activate_session(session.id)
    broker.failing = {"asm:session:s:type:message_streamed", "asm:session:s:type:run_started"}
    with caplog.at_level(logging.ERROR, "asm_actors.pubsub"):
        result = manager.execute_run(manager.start_run("s", "Hello").id, event_callback=sink)
    assert (sink.broadcast_count, sink.error_count) == (4, 3)
    assert result.callback_failures == 0
    assert len([record for record in caplog.records if record.name == "asm_actors.pubsub"]) == 1


def test_a_topic_or_a_wrapper_that_fails_is_counted_too(manager, broker):
    event = events_of(manager, manager.run_once("Hello").session_id)[0]
    for sink in (
        PubSubSink(broker, topic_fn=lambda event: 1 / 0),
        PubSubSink(broker, topic_fn=lambda event: 5),
        PubSubSink(broker, message_wrapper=lambda event: 1 / 0),
    ):
        assert sink(event) is None
        assert (sink.broadcast_count, sink.error_count) == (0, 1)
    assert broker.sent == []


def test_a_sink_follows_a_named_subscription_and_goes_on_after_a_restart(broker):
    store = asm.MemoryStore()
    sessions = []
    for _ in range(2):
        with asm.ActorSystem.start(store, {"mock": asm.ScriptedProvider()}) as system:
            sessions.append(system.sessions.run_once("Hello").session_id)
            PubSubSink(broker).follow(system.sessions.subscribe(name="to-redis", timeout=0.05))
    positions = [message[-1].position for _, message in broker.sent]
    assert positions == list(range(1, 21))
    assert {topic for topic, _ in broker.sent} == {f"asm:session:{session}" for session in sessions}


def test_following_ends_when_the_subscription_is_closed(manager, broker):
    manager.run_once("Hello")
    subscription = manager.subscribe()
    sink = PubSubSink(broker, topic_fn=lambda event: subscription.close() or "t")
    sink.follow(subscription)
    assert sink.broadcast_count == 10


# --- Brokers that are awaited --------------------------------------------------------------------------------------


class Awaited:
    def __init__(self):
        self.sent, self.failing = [], False

    async def broadcast(self, topic, message):
        await asyncio.sleep(0)
        if self.failing:
            raise ConnectionError("away")
        self.sent.append((topic, message))


def test_a_broker_that_is_awaited_serves_the_asyncio_surface():
    async def main():
        broker = Awaited()
        async with asm.AsyncActorSystem.start(asm.MemoryStore(), {"mock": asm.ScriptedProvider()}) as system:
            sink = PubSubSink(broker, topic_fn=lambda event: ["a", "b"])
            result = await system.sessions.run_once("Hello", event_callback=sink)
            assert len(broker.sent) == sink.broadcast_count == 14
            assert result.callback_failures == 0
            broker.failing = True
            await sink.follow_async(system.sessions.subscribe(result.session_id, name="n"))
            assert sink.error_count == 20
            assert [info.lag for info in await system.sessions.subscriptions()] == [0]
            broker.failing = False
            subscription = system.sessions.subscribe()
            closing = PubSubSink(broker, topic_fn=lambda event: subscription.close() or "t")
            await closing.follow_async(subscription)
            assert closing.broadcast_count == 10

    asyncio.run(main())


def test_a_broker_that_is_awaited_is_refused_on_the_blocking_surface(manager):
    result = manager.run_once("Hello")
    with pytest.raises(asm.AsmError, match="follow_async"):
        PubSubSink(Awaited()).follow(manager.subscribe(result.session_id))
