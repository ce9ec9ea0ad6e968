"""What a subscriber is promised: each event once, in order, without gaps, whatever happens between two pulls."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal import subscriber as module
from asm_actors.journal import tail as tail_module
from asm_actors.journal.messages import Wake
from asm_actors.journal.query import EventFilter
from asm_actors.journal.subscriber import SubscriptionActor
from asm_actors.journal.subscription import Hurry, Pull, Scope, SubscriptionPhase
from supervisors import SimulationDispatcher

ENDED = EventType.SESSION_COMPLETED


def numbers(page):
    return [event.sequence_number for event in page.events]


# --- One subscription's actor --------------------------------------------------------------------------------------


def test_history_and_what_comes_later_are_one_path(journal):
    j = journal()
    j.write("s", 3)
    ref = j.subscribe("s")
    assert numbers(j.pull(ref).get()) == [1, 2, 3]
    waiting = j.pull(ref, timeout=None)
    assert not waiting.is_done
    j.write("s", 2)
    assert numbers(waiting.get()) == [4, 5]


def test_the_whole_journal_comes_by_position(journal):
    j = journal()
    j.write("a", 2)
    ref = j.subscribe(None, 1)
    waiting = j.pull(ref, timeout=None)
    assert [event.position for event in waiting.get().events] == [2]
    waiting = j.pull(ref, timeout=None)
    j.write("b", 2)
    assert [(event.session_id, event.position) for event in waiting.get().events] == [("b", 3), ("b", 4)]


def test_nothing_is_read_that_nobody_asked_for(journal, monkeypatch):
    j = journal()
    j.write("s")
    ref = j.subscribe("s")
    monkeypatch.setattr(j.store, "read_session", None)
    j.write("s", 5)
    ref.tell(Wake(6))
    j.dispatcher.run_until_idle()
    assert ref.life.actor.statistics().cursor == 0


def test_a_pull_that_waits_gets_nothing_when_its_time_is_over(journal):
    j = journal()
    j.write("s")
    ref = j.subscribe("s", 1)
    waiting = j.pull(ref, timeout=2.0)
    j.dispatcher.advance(1.9)
    assert not waiting.is_done
    j.dispatcher.advance(0.2)
    assert waiting.get().events == []
    j.write("s")
    assert numbers(j.pull(ref).get()) == [2]


def test_time_that_runs_out_while_the_store_is_read_loses_nothing(journal_class):
    n_reading = 0
    for seed in range(60):
        with SimulationDispatcher(seed) as dispatcher:
            j = journal_class(dispatcher)
            j.write("s", 3)
            ref = dispatcher.start(SubscriptionActor, j.services, Scope("s"), 0)
            first = ref.ask(Pull(100, 0.001), block=False)
            for _ in range(seed % 17):
                dispatcher.step()
            is_reading = ref.life.actor._state.is_reading
            dispatcher.manual_clock.move_to(dispatcher.clock.monotonic() + 0.002)
            dispatcher.run_until_idle()
            page = first.get()
            if is_reading:
                n_reading += 1
                assert numbers(page) == [1, 2, 3], "what was there already is not held back for the next pull"
            second = ref.ask(Pull(2, 0.0, page.cursor), block=False).get()
            third = ref.ask(Pull(100, 0.0, second.cursor), block=False).get()
            assert numbers(page) + numbers(second) + numbers(third) == [1, 2, 3]
            assert len(second.events) <= 2, (
                "a later pull's own limit holds for what an earlier one had begun to read"
            )
            j.ref.stop()
            ref.stop()
    assert n_reading > 5


def test_an_answer_that_never_arrived_is_given_again(journal):
    j = journal()
    j.write("s", 3)
    ref = j.subscribe("s")
    assert numbers(j.pull(ref, after=0).get()) == [1, 2, 3]
    assert numbers(j.pull(ref, after=0).get()) == [1, 2, 3]
    assert numbers(j.pull(ref, after=2).get()) == [3]
    assert numbers(j.pull(ref, after=3).get()) == []


def test_a_new_pull_takes_the_place_of_the_one_that_waits(journal):
    j = journal()
    j.write("s")
    ref = j.subscribe("s", 1)
    first, second = j.pull(ref, timeout=None), j.pull(ref, timeout=None)
    assert first.get().events == []
    j.write("s")
    assert numbers(second.get()) == [2]


def test_going_back_while_the_store_is_read_does_not_mix_the_two(journal):
    for seed in range(40):
        j = journal(seed)
        j.write("s", 6)
        ref = j.dispatcher.start(SubscriptionActor, j.services, Scope("s"), 0)
        ref.ask(Pull(100, None, 4), block=False)
        for _ in range(seed % 9):
            j.dispatcher.step()
        assert numbers(ref.ask(Pull(100, 0.0, 1), block=False).get()) == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("limit", [1, 100])
def test_a_filter_that_wants_little_of_much_is_patient_and_lets_others_have_their_turn(
    journal, monkeypatch, limit
):
    monkeypatch.setattr(module, "SCAN", 8)
    j = journal()
    ref = j.subscribe("s", filter=EventFilter(types="run_completed"), may_come=True)
    waiting = j.pull(ref, limit, timeout=None)
    j.write("s", 500)
    assert not waiting.is_done
    j.write("s", types=[EventType.RUN_COMPLETED])
    page = waiting.get()
    assert numbers(page) == [501]
    assert page.cursor == 501


def test_a_filter_does_not_make_it_read_the_same_history_again_and_again(journal, monkeypatch):
    j = journal()
    j.write("s", 50)
    ref = j.subscribe("s", filter=EventFilter(run_ids="run_x"))
    asked = []
    read = j.store.read_session
    monkeypatch.setattr(
        j.store, "read_session", lambda name, wanted: asked.append(wanted.after) or read(name, wanted)
    )
    waiting = j.pull(ref, timeout=None)
    for _ in range(5):
        j.write("s", 2)
    assert not waiting.is_done
    assert asked == [0]
    assert ref.life.actor.statistics().cursor == 60


def test_of_a_session_that_is_not_there_nothing_can_be_read(journal):
    j = journal()
    ref = j.subscribe("nobody")
    with pytest.raises(AsmError) as caught:
        j.pull(ref).get()
    assert caught.value.code is ErrorCode.SESSION_NOT_FOUND
    assert ref.is_alive()


def test_a_session_that_may_come_is_waited_for(journal):
    j = journal()
    ref = j.subscribe("later", may_come=True)
    waiting = j.pull(ref, timeout=None)
    j.write("other")
    assert not waiting.is_done
    j.write("later", 2)
    assert numbers(waiting.get()) == [1, 2]


@pytest.mark.parametrize("when", ["before", "while it waits", "live"])
def test_a_session_that_is_over_ends_the_subscription_after_its_last_event(journal, when):
    j = journal()
    j.write("s", 2)
    ref = j.subscribe("s")
    end = {"types": [EventType.MESSAGE_STREAMED, ENDED]}
    if when == "before":
        j.end("s")
        assert numbers(j.pull(ref).get()) == [1, 2, 3]
    elif when == "live":
        j.pull(ref).get()
        j.write("s", **end)
        assert numbers(j.pull(ref, timeout=None).get()) == [3, 4]
    else:
        j.pull(ref).get()
        waiting = j.pull(ref, timeout=None)
        j.write("s", **end)
        page = waiting.get()
        assert numbers(page) == [3, 4]
        assert page.is_over
    page = j.pull(ref, timeout=None).get()
    assert (page.events, page.is_over) == ([], True)
    assert ref.life.actor.statistics().phase is SubscriptionPhase.OVER


def test_a_subscription_opened_at_the_end_of_a_session_that_is_over_is_over(journal):
    for follower in (False, True):
        j = journal()
        if follower:
            j.subscribe("s", may_come=True)
        j.write("s", 2)
        j.end("s")
        ref = j.subscribe("s", 3)
        page = j.pull(ref, timeout=None).get()
        assert (page.events, page.is_over) == ([], True)


def test_the_end_is_seen_even_if_the_filter_does_not_want_its_event(journal):
    j = journal()
    j.write("s", 2)
    ref = j.subscribe("s", filter=EventFilter(types="run_failed"))
    waiting = j.pull(ref, timeout=None)
    j.end("s")
    page = waiting.get()
    assert (page.events, page.is_over, page.cursor) == ([], True, 3)


@pytest.mark.parametrize("session_id", ["s", None])
def test_before_ends_it_without_waiting_for_a_later_event(journal, session_id):
    j = journal()
    j.write("s", 3)
    ref = j.subscribe(session_id, filter=EventFilter(before=4))
    page = j.pull(ref, timeout=None).get()
    assert numbers(page) == [1, 2, 3]
    assert page.is_over
    ref = j.subscribe(session_id, 3, filter=EventFilter(before=6))
    waiting = j.pull(ref, timeout=None)
    j.write("s", 4)
    page = waiting.get()
    assert numbers(page) == [4, 5]
    assert page.is_over


def test_hurry_ends_the_wait_and_all_later_ones(journal):
    j = journal()
    j.write("s")
    ref = j.subscribe("s", 1)
    waiting = j.pull(ref, timeout=None)
    ref.tell(Hurry())
    j.dispatcher.run_until_idle()
    assert waiting.get().events == []
    j.write("s")
    assert numbers(j.pull(ref, timeout=None).get()) == [2]
    assert j.pull(ref, timeout=None).get().events == []


def test_a_store_that_cannot_be_read_is_told_to_the_subscriber_and_the_next_pull_may_succeed(
    journal, monkeypatch
):
    j = journal()
    j.write("s", 2)
    ref = j.subscribe("s")
    broken = AsmError(ErrorCode.STORAGE_READ_FAILED, "event 1 is unreadable")
    with monkeypatch.context() as patch:
        patch.setattr(j.store, "read_session", raiser(broken))
        with pytest.raises(AsmError, match="unreadable"):
            j.pull(ref).get()
    assert numbers(j.pull(ref).get()) == [1, 2]


def test_a_crash_of_it_is_told_to_the_subscriber(journal, monkeypatch):
    j = journal()
    j.write("s", 2)
    ref = j.subscribe("s")
    monkeypatch.setattr(j.store, "read_session", raiser(ZeroDivisionError("a defect")))
    with pytest.raises(AsmError) as caught:
        j.pull(ref).get()
    assert caught.value.code is ErrorCode.INTERNAL_ERROR
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_stopping_it_is_told_to_whoever_waits(journal):
    j = journal()
    j.write("s")
    ref = j.subscribe("s", 1)
    waiting = j.pull(ref, timeout=None)
    ref.stop()
    with pytest.raises(AsmError) as caught:
        waiting.get()
    assert caught.value.code is ErrorCode.STREAM_CLOSED


def test_its_numbers_tell_where_it_stands(journal):
    j = journal()
    j.write("s", 5)
    ref = j.subscribe(None)
    assert ref.life.actor.statistics().lag == 5
    j.pull(ref, 2).get()
    numbers_now = ref.life.actor.statistics()
    assert (numbers_now.cursor, numbers_now.delivered, numbers_now.lag) == (2, 2, 3)
    assert j.subscribe("s").life.actor.statistics().lag is None


def test_an_odd_message_is_none_of_its_business(journal):
    j = journal()
    j.write("s")
    ref = j.subscribe("s")
    ref.tell("what?")
    j.dispatcher.run_until_idle()
    assert ref.is_alive()


# --- Against a list, under random schedules ------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from("ab"), st.integers(0, 4)),
        st.tuples(st.just("pull"), st.integers(1, 6), st.sampled_from([0.0, 0.5, None])),
        st.tuples(st.just("lose"), st.integers(1, 6), st.none()),
        st.tuples(st.just("time"), st.sampled_from([0.1, 1.0]), st.none()),
        st.tuples(st.just("run"), st.integers(1, 12), st.none()),
        st.tuples(st.just("reopen"), st.none(), st.none()),
        st.tuples(st.just("forget"), st.none(), st.none()),
    ),
    max_size=60,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    seed=st.integers(0, 1_000),
    session_id=st.sampled_from(["a", None]),
    bound=st.sampled_from([3, 20_000]),
    steps=STEPS,
)
def test_under_any_schedule_the_deliveries_are_the_journal(journal_class, seed, session_id, bound, steps):
    """Writes, pulls, lost answers, timeouts, new actors and a tail that forgets, in any order: no gap, no double."""
    with pytest.MonkeyPatch.context() as patch, SimulationDispatcher(seed) as dispatcher:
        patch.setattr(tail_module, "MAX_EVENTS", bound)
        j = journal_class(dispatcher)
        j.write("a", 2)
        cursor, got, waiting = 0, [], None
        ref = j.subscribe(session_id, cursor)

        def take(future):
            nonlocal cursor
            if future.is_done:
                page = future.get()
                got.extend(page.events)
                cursor = page.cursor
                return None
            return future

        for kind, first, second in steps:
            if kind == "write":
                j.tell(j.writer(), j.append(first, second))
            elif kind == "pull" and waiting is None:
                waiting = ref.ask(Pull(first, second, cursor), block=False)
            elif kind == "lose" and waiting is None:
                ref.ask(Pull(first, None, cursor), block=False)
            elif kind == "time":
                dispatcher.advance(first)
            elif kind == "run":
                for _ in range(first):
                    dispatcher.step()
            elif kind == "reopen":
                waiting = None if waiting is None else take(waiting)
                ref.kill()
                waiting = None
                ref = dispatcher.start(SubscriptionActor, j.services, Scope(session_id), cursor)
            elif kind == "forget":
                dispatcher.run_until_idle()
                j.actor.tail._forget(j.actor.tail.position)
            if waiting is not None:
                waiting = take(waiting)
        dispatcher.advance(1.0)
        for _ in range(len(j.stored(session_id)) + 2):
            waiting = take(waiting or ref.ask(Pull(5, 0.0, cursor), block=False))
            dispatcher.advance(1.0)
        assert [event.id for event in got] == [event.id for event in j.stored(session_id)]
        ref.stop()
        j.ref.stop()


# --- Tools ---------------------------------------------------------------------------------------------------------


def raiser(error):
    def raise_it(*_args, **_kwargs):
        raise error

    return raise_it
