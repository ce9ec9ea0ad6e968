"""Long-polls, and named and chosen subscriptions of whole systems; on both surfaces and both stores."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

import asm_actors as asm
from asm_actors import EventType
from asm_actors.services import CURSORS, JOURNAL, SUBSCRIPTIONS
from asm_actors.testing.system import SimulatedSystem


@pytest.fixture(params=["memory", "lmdb"])
def store(request, tmp_path):
    if request.param == "memory":
        return asm.MemoryStore()
    return asm.LmdbStore(tmp_path / "journal", durability="none")


@pytest.fixture
def o(opened, surface, store):
    return opened(surface, journal=store)


def numbers(events):
    return [event.sequence_number for event in events]


class Consumer:
    """A subscription of either surface, blocking."""

    def __init__(self, o, *args, **options):
        self.o = o
        self.subscription = o.manager.subscribe(*args, **options)

    def _call(self, name, *args, **options):
        made = getattr(self.subscription, name)(*args, **options)
        return made if self.o.surface == "blocking" else self.o.wait(made)

    def pull(self, *args, timeout=0, **options):
        return self._call("pull", *args, timeout=timeout, **options)

    def ack(self, *args, **options):
        return self._call("ack", *args, **options)

    def statistics(self):
        return self._call("statistics")

    def close(self):
        self.subscription.close()


# --- Long-poll -----------------------------------------------------------------------------------------------------


def test_a_long_poll_that_finds_something_answers_at_once(o):
    session = o.session()
    o.manager.execute_run(o.manager.start_run(session.id, "one").id)
    poll = lambda **wanted: numbers(
        o.manager.get_session_events(session.id, wait_timeout_ms=30_000, **wanted)
    )
    assert poll() == list(range(1, 10))
    assert poll(limit=2) == [1, 2]
    assert poll(after=7) == [8, 9]
    assert poll(type=["run_started", EventType.RUN_COMPLETED]) == [4, 9]
    assert poll(before=3) == [1, 2]
    assert poll(limit=0) == []
    assert poll(after=4, before=5) == [], "nothing can come there any more"


def test_a_long_poll_answers_with_the_first_event_that_matches(o):
    run = o.streaming_run()
    poll = lambda: o.manager.get_session_events(
        run.session_id, type=["run_completed"], run_id=[run.id, "another"], wait_timeout_ms=30_000
    )
    threading.Timer(0.05, o.gate.open).start()
    assert [event.type for event in poll()] == [EventType.RUN_COMPLETED]


def test_a_long_poll_without_a_match_is_empty_when_the_time_is_over(o):
    session = o.session()
    before = time.monotonic()
    assert o.manager.get_session_events(session.id, after=2, wait_timeout_ms=60) == []
    assert time.monotonic() - before >= 0.05
    for at_once in (0, None):
        assert o.manager.get_session_events(session.id, after=2, wait_timeout_ms=at_once) == []


def test_a_long_poll_on_a_session_that_is_over_does_not_wait(o):
    result = o.manager.run_once("Hello", provider="mock")
    assert o.manager.get_session_events(result.session_id, after=10, wait_timeout_ms=60_000) == []


def test_filters_mean_the_same_with_and_without_waiting(o):
    session = o.session()
    o.manager.execute_run(o.manager.start_run(session.id, "one").id)
    events = o.manager.get_session_events(session.id)
    middle = events[4]
    wanted = [
        {"after": 3, "before": 7},
        {"since": middle.timestamp},
        {"since": middle.timestamp_us},
        {"run_id": middle.run_id, "limit": 3},
        {"type": "message_streamed"},
    ]
    for one in wanted:
        plain = o.manager.get_session_events(session.id, **one)
        assert plain == o.manager.get_session_events(session.id, wait_timeout_ms=10_000, **one)
        assert plain == o.stream(session.id, wait_timeout_ms=0, **one)
    assert middle in o.manager.get_session_events(session.id, since=middle.timestamp)
    late = datetime.now(UTC) + timedelta(hours=1)
    assert o.manager.get_session_events(session.id, since=late, wait_timeout_ms=5) == []


def test_a_long_poll_is_refused_like_any_reading(o, raises):
    with raises("session_not_found"):
        o.manager.get_session_events("nobody", wait_timeout_ms=1000)
    session = o.session()
    for wrong in (-1, True, "soon", float("nan"), float("inf")):
        with raises("validation_error"):
            o.manager.get_session_events(session.id, wait_timeout_ms=wrong)
    with raises("invalid_event_type"):
        o.manager.get_session_events(session.id, type="nonsense", wait_timeout_ms=1000)


def test_stopping_the_system_answers_long_polls_with_nothing(opened):
    o = opened("asyncio")
    session = o.session()

    async def main():
        polls = [
            asyncio.ensure_future(
                o.system.sessions.get_session_events(session.id, after=2, wait_timeout_ms=60_000)
            )
            for _ in range(50)
        ]
        while (await o.system.sessions.status())["subscriptions"]["open"] < 50:  # noqa: ASYNC110 - it asks
            await asyncio.sleep(0)
        assert threading.active_count() < 40, "no thread waits for them"
        await o.system.stop()
        return await asyncio.gather(*polls)

    assert o.wait(main()) == [[]] * 50


# --- Chosen sessions -----------------------------------------------------------------------------------------------


def test_events_are_followed_by_agent_tag_run_and_type(o):
    red = o.session(agent_id="x", tags=["red"])
    o.session(agent_id="y", tags=["red", "round"])
    run = o.manager.execute_run(o.manager.start_run(red.id, "Hello").id)
    end = o.store.last_position()

    def found(**scope):
        consumer = Consumer(o, **scope)
        events = consumer.pull(1000)
        assert consumer.subscription.cursor == end
        consumer.close()
        return events

    assert {event.session_id for event in found(agent_id="x")} == {red.id}
    assert len(found(tags="red")) == end
    assert len(found(tags=["red", "round"])) == 2
    assert len(found(agent_id=["x", "y"], type="session_started")) == 2
    assert [event.run_id for event in found(run_id=run.run_id)] == [run.run_id] * 7
    assert found(agent_id="nobody") == []


def test_now_is_where_it_was_opened(o):
    session = o.session()
    consumer = Consumer(o, session.id, after="now")
    if o.surface == "asyncio":
        o.wait(consumer.subscription.__aenter__())
    o.manager.complete_session(session.id)
    assert [event.type for event in consumer.pull()] == [EventType.SESSION_COMPLETED]
    consumer.close()


def test_options_that_do_not_fit_are_refused(o, raises):
    session = o.session()
    for wrong in (
        {"after": "yesterday"},
        {"after": -1},
        {"overflow": "explode"},
        {"max_lag": 5},
        {"overflow": "drop", "max_lag": 0},
        {"auto_ack": True},
        {"name": ""},
        {"agent_id": ""},
    ):
        with raises("validation_error"):
            o.manager.subscribe(**wrong)
    with raises("validation_error"):
        o.manager.subscribe(session.id, tags="red")
    with raises("invalid_operation"):
        o.manager.subscribe(name="n", overflow="drop")


# --- Named ---------------------------------------------------------------------------------------------------------


def test_a_named_subscription_goes_on_after_a_restart_of_the_system(opened, surface, store):
    o = opened(surface, journal=store)
    session = o.session()
    consumer = Consumer(o, session.id, name="billing")
    events = consumer.pull()
    assert numbers(events) == [1, 2]
    consumer.ack(events[0])
    o.stop()
    again = opened(surface, journal=store)
    again.manager.complete_session(session.id)
    consumer = Consumer(again, session.id, name="billing", after=99)
    assert numbers(consumer.pull()) == [2, 3]
    consumer.ack(durable=True)
    assert store.cursor("billing").cursor == 3
    consumer.close()


def test_named_subscriptions_are_listed_with_their_lag_and_can_be_forgotten(o, raises):
    session = o.session()
    assert o.manager.subscriptions() == []
    one, everything = Consumer(o, session.id, name="one"), Consumer(o, name="all", type="session_started")
    one.pull(1)
    one.ack()
    everything.pull()
    found = {info.name: info for info in o.manager.subscriptions()}
    assert list(found) == ["all", "one"]
    assert (found["one"].cursor.cursor, found["one"].lag, found["one"].is_open) == (1, 1, True)
    assert found["one"].cursor.scope == {"session_id": session.id}
    assert found["all"].to_map()["scope"] == {"types": ["session_started"]}
    assert o.manager.status()["subscriptions"]["lags"] == {"all": found["all"].lag, "one": None}
    assert one.statistics().lag == 1
    one.close()
    assert not {info.name: info for info in o.manager.subscriptions()}["one"].is_open
    assert o.manager.unsubscribe("all")
    assert not o.manager.unsubscribe("all")
    with raises("stream_closed"):
        everything.pull()
    assert [info.name for info in o.manager.subscriptions()] == ["one"]
    assert o.store.cursor("all") is None
    again = Consumer(o, name="all")
    assert len(again.pull()) == 2
    again.close()


def test_the_lag_of_a_subscription_to_a_session_that_is_gone_is_none(o, monkeypatch):
    session = o.session()
    consumer = Consumer(o, session.id, name="one")
    consumer.pull(1)
    consumer.close()

    def gone(session_id):
        raise asm.AsmError(asm.ErrorCode.SESSION_NOT_FOUND, "gone")

    monkeypatch.setattr(o.store, "head", gone)
    assert [info.lag for info in o.manager.subscriptions()] == [0]


def test_what_maintenance_erased_is_passed_over_without_a_word(o):
    watching = Consumer(o)  # so that the newest events are kept at hand
    watching.pull()
    gone, kept = (o.manager.run_once("Hello", provider="mock").session_id for _ in range(2))
    consumer = Consumer(o, name="n")
    consumer.ack(consumer.pull(3))
    later = o.manager.run_once("Hello", provider="mock").session_id
    erased = o.system.maintenance.delete_for_good(gone)
    assert (erased if o.surface == "blocking" else o.wait(erased)).sessions == 1
    consumer.close()
    consumer = Consumer(o, name="n")
    events = consumer.pull(1000)
    assert [event.session_id for event in events] == [kept] * 10 + [later] * 10
    consumer.ack(durable=True)
    assert [info.lag for info in o.manager.subscriptions()] == [0]
    assert {event.session_id for event in watching.pull(1000)} == {kept, later}
    consumer.close()
    watching.close()


def test_a_second_consumer_takes_over_or_is_refused(o, raises):
    session = o.session()
    first, second = Consumer(o, session.id, name="n"), None
    first.pull(1)
    with raises("invalid_operation"):
        Consumer(o, session.id, name="n", takeover=False).pull()
    second = Consumer(o, session.id, name="n")
    assert numbers(second.pull()) == [1, 2]
    with raises("stream_closed"):
        first.pull()
    with raises("invalid_operation"):
        Consumer(o, name="n").pull()
    second.close()


def test_a_restart_of_the_journal_is_not_seen_by_subscribers(o):
    session = o.session()
    plain, named = Consumer(o, session.id), Consumer(o, session.id, name="n")
    assert numbers(plain.pull()) == numbers(named.pull()) == [1, 2]
    named.ack()
    for name in (JOURNAL, SUBSCRIPTIONS, CURSORS):
        o.system.services.whereis(name).kill()
        o.manager.execute_run(_start_run(o, session.id).id)
        expected = numbers(o.manager.get_session_events(session.id, after=plain.subscription.cursor))
        assert numbers(plain.pull()) == numbers(named.pull()) == expected
        named.ack(durable=True)
    plain.close()
    named.close()


def _start_run(o, session_id):
    while True:
        try:
            return o.manager.start_run(session_id, "Hello")
        except asm.AsmError as error:
            assert error.retryable or error.code is asm.ErrorCode.INVALID_OPERATION
            time.sleep(0)


# --- In simulations ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_consumers_of_all_kinds_miss_nothing_whatever_crashes(seed):
    """Stalled, slow, closing and crashing consumers, while journal and keeper crash: once at least, in order."""
    rng = random.Random(seed)
    with SimulatedSystem(seed, script=None) as sim:
        sessions = [sim.active_session(agent_id="xy"[k % 2], tags=["t"] * (k % 3 == 0)).id for k in range(4)]
        scopes = [{}, {"agent_id": "x"}, {"tags": "t"}, {"type": "run_completed"}]
        consumers = [_Simulated(sim, rng, f"c{k}", scope) for k, scope in enumerate(scopes)]
        stalled = [sim.manager.subscribe(session) for session in sessions for _ in range(5)]
        for one in stalled:
            one.pull(1)
        # The root gives up after three restarts in a minute.
        for round_ in range(25):
            for session in sessions:
                if rng.random() < 0.4:
                    sim.manager.execute_run(sim.manager.start_run(session, f"round {round_}").id)
            for consumer in consumers:
                consumer.work()
            if round_ % 6 == 5:
                name = rng.choice([JOURNAL, SUBSCRIPTIONS, CURSORS])
                sim.services.whereis(name).kill()
                sim.advance(61.0)
        if seed % 3:
            sim.restart() if seed % 3 == 1 else sim.kill()
            for consumer in consumers:
                consumer.reopen()
        for consumer in consumers:
            consumer.finish()
            consumer.check()
        assert {one.cursor for one in stalled} == {1}
        for one in stalled:
            one.close()
        sim.check_journal()


class _Simulated:
    """A durable consumer that forgets everything now and then, but for what it acknowledged."""

    def __init__(self, sim, rng, name, scope):
        self.sim, self.rng, self.name, self.scope = sim, rng, name, scope
        self.done = []
        self.reopen()

    def reopen(self):
        self.subscription = self.sim.manager.subscribe(name=self.name, **self.scope)

    def work(self):
        kind = self.rng.choice(["stall", "read", "read", "read", "crash", "close"])
        if kind == "stall":
            return
        events = self.subscription.pull(self.rng.randint(1, 20), timeout=0)
        if kind == "crash":
            # What it had read and not acknowledged is lost with it.
            self.reopen()
        elif kind == "close":
            self._take(events[: len(events) // 2])
            self.subscription.close()
            self.reopen()
        else:
            self._take(events)

    def _take(self, events):
        if events:
            self.done += events
            self.subscription.ack(events, durable=self.rng.random() < 0.5)

    def finish(self):
        while events := self.subscription.pull(7, timeout=0):
            self._take(events)

    def check(self):
        read = self.sim.store.read_all(limit=100_000).events
        session = {one.id: one for one in self.sim.store.sessions()}
        wanted = [
            event
            for event in read
            if self.scope.get("agent_id") in (None, session[event.session_id].agent_id)
            and self.scope.get("tags") in (None, *session[event.session_id].tags)
            and self.scope.get("type") in (None, event.type.value)
        ]
        positions = [event.position for event in self.done]
        assert list(dict.fromkeys(sorted(positions))) == [event.position for event in wanted]
        first_seen = list(dict.fromkeys(positions))
        assert first_seen == sorted(first_seen), "in order, but for what comes again"


def test_a_thousand_subscribers_cost_the_journal_nothing_while_they_stall(opened):
    o = opened()
    session = o.session()
    subscriptions = [o.manager.subscribe(session.id) for _ in range(1000)]
    try:
        for one in subscriptions:
            assert len(one.pull()) == 2
        for k in range(5):
            o.manager.execute_run(o.manager.start_run(session.id, f"{k}").id)

        def held():
            actors = [one._ref.life.actor for one in subscriptions]
            return [
                (actor._state.pull, actor._state.is_reading, len(actor.actor_ref.life.queue))
                for actor in actors
            ]

        assert set(o.on_dispatcher(held)) == {(None, False, 0)}, "nothing is kept for who does not ask"
        assert o.on_dispatcher(lambda: len(o.journal()._sleepers)) == 0
        expected = numbers(o.manager.get_session_events(session.id, after=2))
        for one in subscriptions[::100]:
            assert numbers(one.pull()) == expected
    finally:
        for one in subscriptions:
            one.close()
