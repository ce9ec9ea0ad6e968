"""Subscriptions that choose sessions by agent or tags, and those that drop what they are too slow for."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal import session_facts
from asm_actors.journal import subscriber as module
from asm_actors.journal import subscription as machine
from asm_actors.journal.follow import Subscription
from asm_actors.journal.query import EventFilter
from asm_actors.journal.subscription import Scope, SubscriptionPhase
from asm_actors.sessions.session import Session
from supervisors import SimulationDispatcher

DONE = EventType.RUN_COMPLETED


def make(j, session_id, agent_id="agent", tags=(), n_events=1):
    """Make a session with its first events."""
    append = j.append(session_id, n_events)
    j.tell(j.writer(), append._replace(session=Session(id=session_id, agent_id=agent_id, tags=tags)))
    j.flush()


def sessions(page):
    return [event.session_id for event in page.events]


@pytest.fixture
def counted(monkeypatch):
    """Count how often each session's record is read for a subscription."""
    reads = []
    wanted = session_facts.SessionFacts._is_wanted

    def count(self, store, session_id):
        reads.append(session_id)
        return wanted(self, store, session_id)

    monkeypatch.setattr(session_facts.SessionFacts, "_is_wanted", count)
    return reads


@pytest.mark.parametrize("is_live", [False, True], ids=["from the store", "from the tail"])
@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({"agents": "x"}, ["a", "c"]),
        ({"agents": ["x", "y"]}, ["a", "b", "c"]),
        ({"tags": "red"}, ["a", "b"]),
        ({"tags": ["red", "round"]}, ["b"]),
        ({"agents": "x", "tags": "red"}, ["a"]),
        ({"agents": "nobody"}, []),
    ],
)
def test_agent_and_tags_choose_sessions(journal, is_live, scope, expected):
    j = journal()
    ref = j.subscribe(None, **scope)
    if is_live:
        assert j.pull(ref).get().events == []
    make(j, "a", "x", ("red",))
    make(j, "b", "y", ("red", "round"))
    make(j, "c", "x")
    make(j, "d", "z")
    if not is_live:
        ref = j.subscribe(None, **scope)
        j.actor.tail._forget(j.actor.tail.position)
    page = j.pull(ref).get()
    assert sessions(page) == expected
    assert page.cursor == 4, "what is not wanted is passed"


def test_each_sessions_record_is_read_once(journal, counted):
    j = journal()
    ref = j.subscribe(None, agents="x")
    for name in "abc":
        make(j, name, "x")
    waiting = j.pull(ref, timeout=None)
    assert len(waiting.get().events) == 3
    for _ in range(4):
        for name in "cab":
            j.write(name, 2)
    assert len(j.pull(ref).get().events) == 24
    assert counted == ["a", "b", "c"]


def test_what_is_remembered_has_a_bound_and_what_was_forgotten_is_read_again(journal, counted, monkeypatch):
    monkeypatch.setattr(session_facts, "MOST_KNOWN", 8)
    monkeypatch.setattr(module, "MOST_SCANNED", 4)
    j = journal()
    ref = j.subscribe(None, agents="x")
    seen = []
    for round_ in range(3):
        for k in range(20):
            make(j, f"s{k}", "x" if k % 2 else "y") if not round_ else j.write(f"s{k}", 1)
        while events := j.pull(ref, 7).get().events:
            seen += sessions(j_page(events))
        assert len(ref.life.actor._facts) <= 8
    assert seen == [f"s{k}" for k in range(20) if k % 2] * 3
    assert len(counted) > 20


def j_page(events):
    return machine.Page(events, 0, False)


def test_events_that_the_filter_does_not_want_need_no_record(journal, counted):
    j = journal()
    ref = j.subscribe(None, agents="x", filter=EventFilter(types=DONE))
    make(j, "a", "x", n_events=50)
    assert j.pull(ref).get().events == []
    j.write("a", types=[DONE])
    assert len(j.pull(ref).get().events) == 1
    assert counted == ["a"]


def test_a_session_that_was_erased_is_not_wanted(journal, monkeypatch):
    j = journal()
    ref = j.subscribe(None, agents="x")
    make(j, "a", "x")
    make(j, "b", "x")
    read = j.store.session

    def erased(session_id):
        if session_id == "a":
            raise AsmError(ErrorCode.SESSION_NOT_FOUND, "gone")
        return read(session_id)

    monkeypatch.setattr(j.store, "session", erased)
    page = j.pull(ref).get()
    assert sessions(page) == ["b"]
    assert page.cursor == 2


@pytest.mark.parametrize("is_live", [False, True])
def test_a_record_that_cannot_be_read_is_told_and_the_next_pull_may_succeed(journal, monkeypatch, is_live):
    j = journal()
    if is_live:
        ref = j.subscribe(None, agents="x")
        assert j.pull(ref).get().events == []
    make(j, "a", "x")
    if not is_live:
        ref = j.subscribe(None, agents="x")
        j.actor.tail._forget(j.actor.tail.position)

    def broken(_):
        raise AsmError(ErrorCode.STORAGE_READ_FAILED, "record 1 is unreadable")

    with monkeypatch.context() as patch:
        patch.setattr(j.store, "session", broken)
        with pytest.raises(AsmError, match="unreadable"):
            j.pull(ref).get()
    assert sessions(j.pull(ref).get()) == ["a"]


def test_agent_and_tags_are_for_the_whole_journal():
    for wrong in ({"agents": "x"}, {"tags": "x"}):
        with pytest.raises(AsmError, match="validation_error"):
            Scope("s", **wrong)
    with pytest.raises(AsmError, match="validation_error"):
        Scope(agents=5)
    with pytest.raises(AsmError, match="validation_error"):
        Scope(tags=[""])


def test_a_scope_is_a_map_that_is_the_same_for_the_same_scope():
    scope = Scope(None, EventFilter(types=["run_failed", "run_completed"], run_ids="r"), agents=["b", "a"])
    again = Scope(None, EventFilter(types=["run_completed", "run_failed"], run_ids=["r"]), agents=["a", "b"])
    assert scope.to_map() == again.to_map()
    assert scope.to_map() == {
        "agents": ["a", "b"],
        "run_ids": ["r"],
        "types": ["run_completed", "run_failed"],
    }
    assert Scope("s").to_map() == {"session_id": "s"}


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    seed=st.integers(0, 1_000),
    steps=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 4), st.integers(0, 9)), max_size=30),
)
def test_under_any_schedule_the_chosen_sessions_come_whole(journal_class, seed, steps):
    with pytest.MonkeyPatch.context() as patch, SimulationDispatcher(seed) as dispatcher:
        patch.setattr(session_facts, "MOST_KNOWN", 3)
        patch.setattr(module, "MOST_SCANNED", 2)
        patch.setattr(module, "SCAN", 2)
        j = journal_class(dispatcher)
        for k, name in enumerate("abcdefgh"):
            make(j, name, "xyz"[k % 3], n_events=0)
        ref, cursor, got = j.subscribe(None, agents=["x", "y"]), 0, []
        for name, count, n_steps in steps:
            j.tell(j.writer(), j.append(name, count))
            waiting = ref.ask(machine.Pull(3, 0.0, cursor), block=False)
            for _ in range(n_steps):
                dispatcher.step()
            if waiting.is_done:
                page = waiting.get()
                got += page.events
                cursor = page.cursor
        dispatcher.run_until_idle()
        while True:
            page = j.pull(ref, 5, after=cursor).get()
            if not page.events:
                break
            got += page.events
            cursor = page.cursor
        assert [e.id for e in got] == [e.id for e in j.stored() if e.session_id in "abdegh"]
        ref.stop()
        j.ref.stop()


# --- Dropping ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("session_id", ["s", None])
@pytest.mark.parametrize("is_live", [False, True])
def test_who_drops_is_moved_on_and_told_how_much_was_skipped(journal, session_id, is_live):
    j = journal()
    if is_live:
        j.subscribe(None)
    j.write("s", 50)
    ref = j.subscribe(session_id)
    page = j.pull(ref, 3, max_lag=10).get()
    assert [event.sequence_number for event in page.events] == [41, 42, 43]
    assert page.skipped == 40
    page = j.pull(ref, 100, max_lag=10).get()
    assert [event.sequence_number for event in page.events] == list(range(44, 51))
    assert page.skipped == 0
    assert ref.life.actor.statistics().skipped == 40


def test_a_subscriber_that_drops_counts_what_it_missed_and_keeps_the_order(held):
    held.write("s", 20)
    with Subscription(held.services, Scope("s"), 0, 0.0, max_lag=5) as subscription:
        seen = [event.sequence_number for event in subscription.pull(2)]
        held.write("s", 30)
        seen += [event.sequence_number for event in subscription]
        assert seen == [16, 17, *range(46, 51)]
        assert subscription.skipped == 15 + 28
        assert subscription.statistics().skipped == 43


# --- News and numbers ----------------------------------------------------------------------------------------------


def test_a_pull_that_waits_is_told_how_far_it_came(journal, monkeypatch):
    monkeypatch.setattr(machine, "NEWS_AFTER", 20)
    j = journal()
    ref = j.subscribe(None, filter=EventFilter(types=DONE))
    waiting = j.pull(ref, timeout=None)
    for _ in range(3):
        j.write("s", 6)
    assert not waiting.is_done
    j.write("s", 6)
    assert (waiting.get().events, waiting.get().cursor, waiting.get().is_over) == ([], 24, False)


def test_a_pull_that_waits_long_is_told_of_little_too(journal):
    j = journal()
    ref = j.subscribe(None, filter=EventFilter(types=DONE))
    waiting = j.pull(ref, timeout=None)
    j.dispatcher.advance(2 * machine.NEWS_AFTER_S)
    assert not waiting.is_done, "nothing came, so there is nothing to tell"
    j.write("s", 1)
    assert waiting.get().cursor == 1


def test_a_subscriber_does_not_see_such_news(held, monkeypatch):
    monkeypatch.setattr(machine, "NEWS_AFTER", 3)
    held.write("s", 1)
    scope = Scope(None, EventFilter(types=DONE))
    with Subscription(held.services, scope, 0) as subscription:
        for k in range(1, 5):
            held.dispatcher.call_later(k, lambda: held.tell(held.writer(), held.append("s", 5)))
        held.dispatcher.call_later(9, lambda: held.tell(held.writer(), held.append("s", types=[DONE])))
        assert [event.position for event in subscription.pull()] == [22]
        before = held.dispatcher.clock.monotonic()
        held.dispatcher.call_later(1, lambda: held.tell(held.writer(), held.append("s", 5)))
        assert subscription.pull(timeout=4.0) == []
        assert held.dispatcher.clock.monotonic() - before == pytest.approx(4.0)
        assert subscription.cursor == 27


def test_the_end_can_be_where_it_begins(held):
    held.write("s", 4)
    with Subscription(held.services, Scope("s"), None, 0.0) as subscription:
        held.write("s", 2)
        assert [event.sequence_number for event in subscription] == [5, 6]
    with Subscription(held.services, Scope(None), None, 0.0) as subscription:
        held.write("t", 1)
        assert [event.position for event in subscription] == [7]
    with Subscription(held.services, Scope("later", may_come=True), None, 0.0) as subscription:
        held.write("later", 1)
        assert len(list(subscription)) == 1


def test_its_numbers_tell_where_a_subscriber_stands(held):
    held.write("s", 4)
    subscription = Subscription(held.services, Scope("s"), 0, 0.0)
    assert subscription.statistics().phase is SubscriptionPhase.CATCHING_UP
    subscription.pull(3)
    numbers = subscription.statistics()
    assert (numbers.cursor, numbers.delivered, numbers.lag, numbers.acknowledged) == (3, 3, 1, None)
    subscription.pull()
    assert subscription.statistics().phase is SubscriptionPhase.LIVE
    held.end("s")
    list(subscription)
    assert subscription.statistics().phase is SubscriptionPhase.OVER
    subscription.close()
    assert subscription.statistics().phase is SubscriptionPhase.CLOSED
