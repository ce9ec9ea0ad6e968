"""Whatever a caller hands in wrong is an `AsmError` with a code, on either surface, and nothing has changed."""

from __future__ import annotations

import asyncio
import math

import pytest

import asm_actors as asm
from asm_actors import messages
from asm_actors.jsonable import shown

NESTED = []
for _ in range(3_000):
    NESTED = [NESTED]


class Named(str):
    """Text of a class of its own, that cannot be a key."""

    __slots__ = ()
    __hash__ = None


# What is no text, no number, no list and no map; what cannot be hashed, compared, printed in full or kept.
STRANGE = [5, -1, 1.5, math.nan, True, b"x", [[]], {"a": 1}, {1}, object(), int, "\ud800", "a\x00b", NESTED]
SECONDS = ["x", "", b"1", [1], {"a": 1}, object(), True, 1j, -1, -0.5, math.nan, math.inf, -math.inf]
LIMITS = [-1, 1.5, math.nan, "5", b"5", True, [1], object(), 1 << 64, NESTED]


def code_of(call, *args, **kwargs):
    with pytest.raises(asm.AsmError) as caught:
        call(*args, **kwargs)
    return str(caught.value.code)


def waited(o, method):
    """A method of the system or of what it gives, as one that blocks."""
    return method if o.surface == "blocking" else lambda *args, **kwargs: o.wait(method(*args, **kwargs))


@pytest.mark.parametrize("value", STRANGE, ids=shown)
@pytest.mark.parametrize("name", ["agent_id", "provider", "after", "parent_session_id"])
def test_a_list_of_sessions_by_what_is_no_name_is_refused(o, name, value):
    assert code_of(o.manager.list_sessions, **{name: value}) == "validation_error"


@pytest.mark.parametrize(
    "value", [5, 1.5, True, b"x", [5], [[]], {"a": 1}, object(), "\ud800", NESTED], ids=shown
)
def test_a_list_of_sessions_by_what_are_no_tags_is_refused(o, value):
    assert code_of(o.manager.list_sessions, tags=value) == "validation_error"


@pytest.mark.parametrize("value", [5, math.nan, True, b"x", object(), [5], "asleep", NESTED], ids=shown)
def test_what_is_no_status_is_an_invalid_status_wherever_it_is_asked_for(o, value):
    session, queries = o.session(), o.system.queries
    assert code_of(o.manager.list_sessions, status=value) == "invalid_status"
    assert code_of(o.manager.get_session_runs, session.id, status=value) == "invalid_status"
    for search in (queries.search_sessions, queries.search_runs):
        assert code_of(waited(o, search), status=value) == "invalid_status"


@pytest.mark.parametrize("value", LIMITS, ids=shown)
def test_what_is_no_count_is_no_limit(o, value):
    session = o.session()
    assert code_of(o.manager.list_sessions, limit=value) == "validation_error"
    assert code_of(o.manager.get_session_runs, session.id, limit=value) == "validation_error"
    assert code_of(waited(o, o.system.tree), value) == "validation_error"


@pytest.mark.parametrize("limit", [0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_a_limit_may_be_larger_than_any_list(o, limit):
    session = o.session()
    assert len(o.manager.list_sessions(limit=limit)) == min(limit, 1)
    assert o.manager.get_session_runs(session.id, limit=limit) == []
    streamed = o.manager.stream_session_events(session.id, limit=limit, wait_timeout_ms=1)
    assert len(list(streamed)) == min(limit, 2)


@pytest.mark.parametrize("value", [None, 5, "yes", 1 << 63, object()], ids=shown)
@pytest.mark.parametrize("name", ["newest_first", "include_deleted"])
def test_what_is_neither_true_nor_false_says_nothing_about_the_order(o, name, value):
    assert code_of(o.manager.list_sessions, **{name: value}) == "validation_error"


@pytest.mark.parametrize("value", STRANGE, ids=shown)
def test_what_is_no_name_of_a_provider_makes_no_session_no_run_and_no_fork(o, value):
    session = o.session()
    before = o.types(session.id)
    assert code_of(o.manager.start_session, agent_id="a", provider=value) == "validation_error"
    for make in (o.manager.start_run, o.manager.submit_run):
        assert code_of(make, session.id, "x", provider=value) == "validation_error"
    assert code_of(o.manager.fork_session, session.id, provider=value) == "validation_error"
    assert code_of(o.manager.run_once, "x", provider=value) == "validation_error"
    handle = o.system.session(session.id)
    assert code_of(handle.ask, messages.ForkSession(provider=value), block=False) == "validation_error"
    assert o.types(session.id) == before
    assert len(o.manager.list_sessions()) == 1
    assert o.manager.get_session_runs(session.id) == []


@pytest.mark.parametrize(
    "value", [5, 0, "x", "", [], [("a", 1)], [1], object(), True, {1: 2}, {"a": NESTED}], ids=shown
)
def test_options_for_the_provider_are_a_map_or_refused(o, value):
    session = o.session()
    for make in (o.manager.start_run, o.manager.submit_run):
        assert code_of(make, session.id, "x", adapter_opts=value) == "validation_error"
    run = o.manager.start_run(session.id, "x")
    assert code_of(o.manager.execute_run, run.id, adapter_opts=value) == "validation_error"
    assert [known.id for known in o.manager.get_session_runs(session.id)] == [run.id]
    assert o.manager.get_run(run.id).status == "pending"


@pytest.mark.parametrize("value", ["5", 1.5, -1, object(), NESTED], ids=shown)
def test_a_search_by_what_is_no_number_of_tokens_is_refused(o, value):
    assert code_of(waited(o, o.system.queries.search_runs), min_tokens=value) == "query_error"


def test_text_of_another_class_names_what_plain_text_names(o):
    run = o.manager.run_once("x", provider=Named("mock"))
    assert o.manager.get_run(Named(run.run_id)).id == run.run_id
    assert o.manager.get_session(Named(run.session_id)).status == "completed"
    assert o.manager.await_run(Named(run.run_id)).run_id == run.run_id
    assert len(o.manager.list_sessions(status=Named("completed"), provider=Named("mock"))) == 1
    assert o.manager.start_session(agent_id="a", id=Named("mine"), idempotency_key=Named("k")).id == "mine"
    assert o.manager.status(Named("mine"))["session_id"] == "mine"


# --- Timeouts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", SECONDS, ids=shown)
def test_what_is_no_time_to_wait_is_refused_wherever_one_is_taken(o, value):
    session = o.session()
    run = o.manager.submit_run(session.id, "x", provider="gated")
    system = o.system
    subscription = system.sessions.subscribe(session.id)
    for call in (
        lambda: o.manager.await_run(run.id, timeout=value),
        lambda: o.manager.drain(timeout=value),
        lambda: o.manager.subscribe(session.id, timeout=value),
        lambda: waited(o, subscription.pull)(timeout=value),
        lambda: o.manager.get_session_events(session.id, wait_timeout_ms=value),
        lambda: list(o.manager.stream_session_events(session.id, wait_timeout_ms=value)),
        lambda: o.manager.submit_run(session.id, "y", deadline=value),
        lambda: system.session(session.id).ask(messages.GetSession(), timeout=value),
        lambda: system.session(session.id).ask(messages.PauseSession(), timeout=value, block=False),
        lambda: system.run(run.id).ask(messages.CancelRun(), timeout=value),
        lambda: waited(o, system.stop)(timeout=value),
        lambda: waited(o, system.run_until_signal)(timeout=value),
    ):
        assert code_of(call) == "validation_error"
    subscription.close()
    assert system.is_running
    assert o.manager.get_session(session.id).status == "active"
    assert o.manager.start_session(agent_id="not drained").id
    o.gate.open()
    assert o.manager.await_run(run.id).output["content"] == "so far and more"


@pytest.mark.parametrize("value", [1e12, 1e300, 1 << 63, 10**400], ids=["1e12", "1e300", "2**63", "10**400"])
def test_a_time_longer_than_any_clock_is_as_long_as_can_be(o, value):
    session = o.session()
    run = o.manager.submit_run(session.id, "x", provider="gated", deadline=value)
    events = o.manager.get_session_events(session.id, type="run_started", wait_timeout_ms=value)
    assert [event.run_id for event in events] == [run.id]
    o.gate.open()
    assert o.manager.await_run(run.id, timeout=value).output["content"] == "so far and more"
    assert (
        waited(o, o.system.session(session.id).ask)(messages.GetSession(), timeout=value).status == "active"
    )
    assert o.manager.drain(timeout=value).orphans == ()


def test_what_is_no_event_cannot_be_acknowledged():
    with asm.ActorSystem.start(asm.MemoryStore(), {"mock": asm.ScriptedProvider()}) as system:
        session = system.sessions.start_session(agent_id="a")
        with system.sessions.subscribe(session.id, name="n") as subscription:
            assert len(subscription.pull(1)) == 1
            for wrong in (10**9, 1.5, "x", [1], object(), True):
                assert code_of(subscription.ack, wrong) == "validation_error"
            assert subscription.acknowledged == 0
            subscription.ack()
            assert subscription.acknowledged == 1


# --- Not running ---------------------------------------------------------------------------------------------------


def test_a_system_that_was_stopped_has_no_tree():
    system = asm.ActorSystem.start(asm.MemoryStore())
    assert "sessions" in system.tree()
    system.stop()
    assert code_of(system.tree) == "invalid_operation"


def test_an_awaited_system_has_a_tree_only_between_start_and_stop():
    async def go():
        system = asm.AsyncActorSystem.start(asm.MemoryStore())
        for _ in range(2):
            with pytest.raises(asm.AsmError) as caught:
                await system.tree()
            assert caught.value.code == "invalid_operation"
            if system._stopped is None:
                async with system:
                    assert "sessions" in await system.tree()

    asyncio.run(go())
