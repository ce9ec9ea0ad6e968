"""The session manager: each operation, on both surfaces."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pykka
import pytest

import asm_actors as asm
from asm_actors import AsmError, EventType, Limits, RunStatus, SessionStatus
from asm_actors.providers.script import Script, crash, fail, text, wait
from asm_actors.sessions.manager import AsyncSessionManager, SessionManager
from supervisors.testing import Gate, settle

ONLY_RUN = [
    "message_sent",
    "run_started",
    "message_streamed",
    "message_streamed",
    "message_received",
    "token_usage_updated",
    "run_completed",
]


# --- Both surfaces are one ---------------------------------------------------------------------------------------


def operations(manager):
    return {name for name, _ in inspect.getmembers(manager, callable) if not name.startswith("_")}


def test_both_surfaces_have_the_same_operations():
    assert operations(SessionManager) == operations(AsyncSessionManager)


@pytest.mark.parametrize("name", sorted(operations(SessionManager)))
def test_an_operation_takes_the_same_on_both_surfaces(name):
    blocking = inspect.signature(getattr(SessionManager, name))
    awaited = inspect.signature(getattr(AsyncSessionManager, name))
    assert list(blocking.parameters.values()) == list(awaited.parameters.values())


@pytest.mark.parametrize("name", sorted(operations(SessionManager) - {"subscribe", "stream_session_events"}))
def test_an_operation_is_a_coroutine_function_on_the_asyncio_surface_and_documented(name):
    assert inspect.iscoroutinefunction(getattr(AsyncSessionManager, name))
    for manager in (SessionManager, AsyncSessionManager):
        assert getattr(manager, name).__doc__
        assert getattr(manager, name).__name__ == name
        assert "Future" not in str(inspect.signature(getattr(manager, name)).return_annotation)


# --- Sessions ----------------------------------------------------------------------------------------------------


def test_a_session_goes_from_pending_over_active_and_paused_to_completed(o):
    session = o.manager.start_session(
        agent_id="my-agent",
        provider="mock",
        context={"system_prompt": "Be brief."},
        metadata={"correlation_id": "c-1", "who": "me"},
        tags=["demo"],
    )
    assert (session.status, session.agent_id, session.tags) == (SessionStatus.PENDING, "my-agent", ("demo",))
    assert o.manager.get_session(session.id).to_map() == session.to_map()
    assert o.manager.activate_session(session.id).status is SessionStatus.ACTIVE
    assert o.manager.pause_session(session.id, reason="lunch").status is SessionStatus.PAUSED
    assert o.manager.resume_session(session.id).status is SessionStatus.ACTIVE
    done = o.manager.complete_session(session.id)
    assert done.status is SessionStatus.COMPLETED
    assert o.manager.get_session(session.id) == done
    events = o.manager.get_session_events(session.id)
    assert [event.type.value for event in events] == [
        "session_created",
        "session_started",
        "session_paused",
        "session_resumed",
        "session_completed",
    ]
    assert [event.sequence_number for event in events] == [1, 2, 3, 4, 5]
    assert {event.correlation_id for event in events} == {"c-1"}


def test_a_session_can_fail_or_be_cancelled(o):
    failed = o.manager.fail_session(o.session().id, "no money left")
    assert failed.status is SessionStatus.FAILED
    by_error = o.manager.fail_session(o.session().id, AsmError("provider_quota_exceeded", "no more"))
    assert o.manager.get_session_events(by_error.id)[-1].data["error_code"] == "provider_quota_exceeded"
    cancelled = o.manager.cancel_session(o.session().id, reason="user")
    assert cancelled.status is SessionStatus.CANCELLED
    assert o.manager.get_session_events(cancelled.id)[-1].data["reason"] == "user"


def test_asking_for_the_state_one_is_in_changes_nothing(o):
    session = o.session()
    assert o.manager.activate_session(session.id).to_map() == session.to_map()
    done = o.manager.complete_session(session.id)
    assert o.manager.complete_session(session.id).to_map() == done.to_map()
    assert len(o.types(session.id)) == 3


def test_an_illegal_change_raises_and_changes_nothing(o, raises):
    session = o.manager.start_session(agent_id="a")
    for change in (o.manager.pause_session, o.manager.complete_session):
        with raises("invalid_transition"):
            change(session.id)
    with raises("invalid_operation"):
        o.manager.resume_session(session.id)
    o.manager.cancel_session(session.id)
    with raises("invalid_transition"):
        o.manager.activate_session(session.id)
    assert o.types(session.id) == ["session_created", "session_cancelled"]


def test_what_is_missing_or_malformed_is_a_validation_error(o, raises):
    for arguments in (
        {},
        {"agent_id": ""},
        {"agent_id": "a", "tags": 1},
        {"agent_id": "a", "provider": "nobody"},
    ):
        with raises("validation_error"):
            o.manager.start_session(**arguments)
    with raises("validation_error"):
        o.manager.get_session("")
    assert o.manager.list_sessions() == []


def test_an_unknown_session_is_not_found(o, raises):
    calls = [
        lambda: o.manager.get_session("ses_x"),
        lambda: o.manager.activate_session("ses_x"),
        lambda: o.manager.start_run("ses_x", "Hello", provider="mock"),
        lambda: o.manager.start_run("ses_x", "Hello", provider="mock", idempotency_key="k"),
        lambda: o.manager.get_session_events("ses_x"),
        lambda: o.manager.get_session_runs("ses_x"),
        lambda: o.stream("ses_x"),
        lambda: o.manager.status("ses_x"),
    ]
    for call in calls:
        with raises("session_not_found"):
            call()


def test_sessions_are_listed_newest_first_by_status_agent_tag_and_provider(o, raises):
    first = o.manager.start_session(agent_id="a", tags=["x"], provider="mock")
    second = o.session(agent_id="b", tags=["x", "y"], provider="gated")
    third = o.session(agent_id="b")
    ids = lambda **wanted: [session.id for session in o.manager.list_sessions(**wanted)]
    assert ids() == [third.id, second.id, first.id]
    assert ids(newest_first=False, limit=2) == [first.id, second.id]
    assert ids(status="active") == [third.id, second.id]
    assert ids(agent_id="a") == [first.id]
    assert ids(tags=["x"], provider="gated") == [second.id]
    assert ids(after=third.id) == [second.id, first.id]
    with raises("invalid_status"):
        ids(status="sleepy")
    with raises("invalid_cursor"):
        ids(after="ses_x")


# --- Ids and keys that the caller chooses ------------------------------------------------------------------------


def test_a_chosen_id_is_taken_once(o, raises):
    session = o.manager.start_session(agent_id="a", id="mine")
    assert session.id == "mine"
    with raises("already_exists"):
        o.manager.start_session(agent_id="a", id="mine")
    o.manager.cancel_session("mine")
    with raises("already_exists"):
        o.manager.start_session(agent_id="a", id="mine")
    assert o.types("mine") == ["session_created", "session_cancelled"]


def test_a_repeated_start_with_one_key_gives_the_same_session(o):
    first = o.manager.start_session(agent_id="a", idempotency_key="k")
    assert o.manager.start_session(agent_id="other", idempotency_key="k").to_map() == first.to_map()
    assert len(o.manager.list_sessions()) == 1


def test_racing_starts_with_one_key_give_one_session(o):
    with ThreadPoolExecutor(16) as pool:
        made = list(
            pool.map(lambda _: o.manager.start_session(agent_id="a", idempotency_key="k").id, range(64))
        )
    assert len(set(made)) == 1
    assert len(o.manager.list_sessions()) == 1


def test_racing_starts_with_one_id_make_it_once(o):
    def start(_):
        try:
            return o.manager.start_session(agent_id="a", id="mine").id
        except AsmError as error:
            return error.code.value

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(start, range(32)))
    assert sorted(outcomes) == ["already_exists"] * 31 + ["mine"]


def test_a_run_with_a_chosen_id_is_made_once_and_a_finished_one_is_never_overwritten(o, raises):
    session = o.session()
    run = o.manager.start_run(session.id, "Hello", id="run-1")
    with raises("already_exists"):
        o.manager.start_run(session.id, "again", id="run-1")
    o.manager.execute_run(run.id)
    for other in (session, o.session()):
        with raises("already_exists"):
            o.manager.start_run(other.id, "again", id="run-1")
    assert o.manager.get_run("run-1").status is RunStatus.COMPLETED
    assert o.manager.status()["sessions_live"] == 2, "nobody crashed"


def test_a_repeated_run_with_one_key_is_the_same_run_open_or_over(o):
    session = o.session()
    run = o.manager.submit_run(session.id, "Hello", idempotency_key="k")
    assert o.manager.submit_run(session.id, "Hello", idempotency_key="k").id == run.id
    o.manager.await_run(run.id)
    assert o.manager.start_run(session.id, "Hello", idempotency_key="k").status is RunStatus.COMPLETED
    assert o.manager.start_run(o.session().id, "Hello", idempotency_key="k").id != run.id
    with ThreadPoolExecutor(8) as pool:
        made = set(
            pool.map(lambda _: o.manager.start_run(session.id, "x", idempotency_key="other").id, range(32))
        )
    assert len(made) == 1


# --- Runs --------------------------------------------------------------------------------------------------------


def test_a_run_is_created_then_executed(o):
    session = o.session()
    run = o.manager.start_run(session.id, {"messages": [{"role": "user", "content": "Hello"}]})
    assert (run.status, run.session_id) == (RunStatus.PENDING, session.id)
    assert o.manager.get_run(run.id).to_map() == run.to_map()
    result = o.manager.execute_run(run.id)
    assert (result.run_id, result.session_id, result.status) == (run.id, session.id, RunStatus.COMPLETED)
    assert result.output["content"] == "Mock response"
    assert result.token_usage == {"input_tokens": 10, "output_tokens": 20}
    assert [event.type.value for event in result.events] == ONLY_RUN
    assert result.to_map()["status"] == "completed"
    assert o.manager.await_run(run.id).events == result.events
    assert [one.id for one in o.manager.get_session_runs(session.id, status="completed")] == [run.id]


def test_a_submitted_run_is_awaited_by_many(o):
    o.gate.open()
    run = o.manager.submit_run(o.session(provider="gated").id, "Hello")
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: o.manager.await_run(run.id), range(16)))
    assert {result.output["content"] for result in results} == {"so far and more"}


def test_waiting_for_a_run_has_a_time_and_the_run_goes_on(o):
    run = o.streaming_run()
    with pytest.raises((pykka.Timeout, TimeoutError)):
        o.manager.await_run(run.id, timeout=0.02)
    o.gate.open()
    assert o.manager.await_run(run.id, timeout=20).status is RunStatus.COMPLETED


def test_run_once_is_a_whole_session(o):
    result = o.manager.run_once(
        {"prompt": "Hello"},
        provider="mock",
        context={"system_prompt": "Be brief."},
        tags=["one"],
        metadata={"who": "me"},
    )
    session = o.manager.get_session(result.session_id)
    assert (session.status, session.agent_id, session.tags) == (SessionStatus.COMPLETED, "mock", ("one",))
    assert o.types(session.id) == ["session_created", "session_started", *ONLY_RUN, "session_completed"]
    assert o.mock.requests[-1].system_prompt == "Be brief."


def test_run_once_fails_its_session_with_the_run(opened, surface, raises):
    provider = asm.ScriptedProvider(Script(fail("provider_quota_exceeded", "no more")))
    o = opened(surface, providers={"mock": provider})
    with raises("provider_quota_exceeded"):
        o.manager.run_once("Hello")
    (session,) = o.manager.list_sessions()
    assert session.status is SessionStatus.FAILED


def test_a_failed_run_raises_its_own_error_now_and_later(opened, surface, raises):
    o = opened(
        surface, providers={"mock": asm.ScriptedProvider(Script(text("Hal"), fail("provider_error", "gone")))}
    )
    session = o.session()
    run = o.manager.start_run(session.id, "Hello")
    for call in (o.manager.execute_run, o.manager.await_run):
        with raises("provider_error") as caught:
            call(run.id)
        assert caught.value.message == "gone"
    assert o.manager.get_run(run.id).output == {"content": "Hal", "partial": True}
    with raises("invalid_operation"):
        o.manager.execute_run(run.id)


def test_cancelling_a_streaming_run_keeps_what_was_said_and_closes_the_stream(o, raises):
    run = o.streaming_run()
    assert o.gated.open_streams == 1
    final = o.manager.cancel_run(run.id, reason="user")
    assert (final.status, final.output["content"]) == (RunStatus.CANCELLED, "so far ")
    assert o.gated.open_streams == 0
    assert o.manager.status()["active_runs"] == 0
    assert o.types(run.session_id, run_id=run.id)[-1] == "run_cancelled"
    assert o.manager.cancel_run(run.id).to_map() == final.to_map(), "a finished run stays as it is"
    with raises("cancelled"):
        o.manager.await_run(run.id)


def test_an_unknown_run_is_not_found(o, raises):
    for call in (o.manager.get_run, o.manager.execute_run, o.manager.await_run, o.manager.cancel_run):
        with raises("run_not_found"):
            call("run_x")


def test_runs_on_a_session_that_cannot_have_them_are_refused(o, raises):
    pending = o.manager.start_session(agent_id="a", provider="mock")
    run = o.manager.start_run(pending.id, "Hello")
    with raises("invalid_operation"):
        o.manager.execute_run(run.id)
    over = o.manager.complete_session(o.session().id)
    for make in (o.manager.start_run, o.manager.submit_run):
        with raises("invalid_operation"):
            make(over.id, "Hello")


def test_a_full_queue_refuses_the_next_run(opened, surface, raises):
    o = opened(surface, limits=Limits(max_queued_runs=1))
    session = o.session(provider="gated")
    o.streaming_run(session.id)
    queued = o.manager.submit_run(session.id, "second")
    with raises("max_runs_exceeded"):
        o.manager.submit_run(session.id, "third")
    status = o.manager.status(session.id)
    assert (status["in_flight_count"], status["queued_runs"]) == (1, [queued.id])
    o.gate.open()
    o.manager.await_run(queued.id)


def test_too_many_active_sessions_are_refused_and_the_message_names_the_limit(opened, surface, raises):
    o = opened(surface, limits=Limits(max_parallel_sessions=1))
    first = o.session()
    second = o.manager.start_session(agent_id="a")
    with raises("max_sessions_exceeded") as caught:
        o.manager.activate_session(second.id)
    assert "max_parallel_sessions" in caught.value.message
    o.manager.pause_session(first.id)
    assert o.manager.activate_session(second.id).status is SessionStatus.ACTIVE


def test_a_deadline_ends_a_run_as_timeout(o, raises):
    run = o.manager.start_run(o.session(provider="gated").id, "Hello")
    with raises("timeout"):
        o.manager.execute_run(run.id, deadline=0.05)
    assert o.manager.get_run(run.id).status is RunStatus.TIMEOUT


@pytest.mark.parametrize("deadline", [0, -1, "soon", float("inf"), True])
def test_a_deadline_is_checked_before_anything_happens(o, raises, deadline):
    with raises("validation_error"):
        o.manager.run_once("Hello", provider="mock", deadline=deadline)
    assert o.manager.list_sessions() == []


# --- Providers are checked at the door ---------------------------------------------------------------------------


class Keyless(asm.ScriptedProvider):
    def check(self):
        raise AsmError("provider_authentication_failed", "there is no key")


def test_a_provider_that_cannot_work_is_refused_before_the_run_exists(opened, surface, raises):
    o = opened(surface, providers={"mock": asm.ScriptedProvider(), "keyless": Keyless()})
    by_session = o.session(provider="keyless")
    for call in (
        lambda: o.manager.start_run(by_session.id, "Hello"),
        lambda: o.manager.submit_run(by_session.id, "Hello"),
        lambda: o.manager.start_run(o.session().id, "Hello", provider="keyless"),
        lambda: o.manager.run_once("Hello", provider="keyless"),
    ):
        with raises("provider_authentication_failed"):
            call()
    assert o.manager.get_session_runs(by_session.id) == []


def test_without_a_provider_to_choose_a_run_is_refused(o, raises):
    session = o.manager.start_session(agent_id="a")
    with raises("validation_error") as caught:
        o.manager.start_run(session.id, "Hello")
    assert "gated, mock" in caught.value.message
    with raises("validation_error"):
        o.manager.run_once("Hello")


def test_required_capabilities_are_those_of_the_sessions_provider(opened, surface, raises):
    o = opened(
        surface,
        providers={
            "plain": asm.ScriptedProvider(capabilities=[("chat", "sampling")]),
            "rich": asm.ScriptedProvider(capabilities=[("chat", "sampling"), ("files", "file_access")]),
        },
    )
    plain, rich = o.session(provider="plain"), o.session(provider="rich")
    for make in (o.manager.start_run, o.manager.submit_run):
        with raises("missing_required_capability"):
            make(plain.id, "Hello", required_capabilities=["file_access"])
    run = o.manager.start_run(
        rich.id, "Hello", required_capabilities=["file_access"], optional_capabilities=["tool"]
    )
    assert run.options["capabilities"]["status"] == "degraded"
    with raises("missing_required_capability"):
        o.manager.run_once("Hello", provider="plain", required_capabilities=["file_access"])
    with raises("invalid_capability_type"):
        o.manager.start_run(rich.id, "Hello", required_capabilities=["flying"])


# --- Events ------------------------------------------------------------------------------------------------------


def test_events_are_read_by_cursor_run_type_and_time(o, raises):
    session = o.session()
    first = o.manager.execute_run(o.manager.start_run(session.id, "one").id)
    o.manager.execute_run(o.manager.start_run(session.id, "two").id)
    everything = o.manager.get_session_events(session.id)
    numbers = lambda **wanted: [e.sequence_number for e in o.manager.get_session_events(session.id, **wanted)]
    assert numbers() == list(range(1, 17))
    assert numbers(after=14) == [15, 16]
    assert numbers(before=3) == [1, 2]
    assert numbers(after=3, limit=2) == [4, 5]
    assert numbers(run_id=first.run_id) == list(range(3, 10))
    assert numbers(type="run_completed") == [9, 16]
    assert numbers(type=[EventType.RUN_STARTED, "session_created"]) == [1, 4, 11]
    assert numbers(since=everything[0].timestamp) == numbers()
    assert numbers(since=datetime.now(UTC) + timedelta(hours=1)) == []
    with raises("invalid_event_type"):
        numbers(type="nonsense")
    for wrong in ({"after": -1}, {"limit": "all"}, {"since": datetime(2026, 1, 1)}):  # noqa: DTZ001
        with raises("validation_error"):
            numbers(**wrong)


def test_a_stream_gives_history_then_what_comes_and_ends_with_the_session(o):
    session = o.session()
    o.manager.execute_run(o.manager.start_run(session.id, "one").id)
    threading.Timer(0.05, lambda: o.manager.complete_session(session.id)).start()
    events = o.stream(session.id)
    assert [event.sequence_number for event in events] == list(range(1, 11))
    assert events[-1].type is EventType.SESSION_COMPLETED


def test_a_stream_of_a_session_that_is_over_ends(o):
    result = o.manager.run_once("Hello", provider="mock")
    assert len(o.stream(result.session_id, after=0)) == 10
    assert o.stream(result.session_id, after=10) == []


def test_a_stream_has_bounds_and_filters(o, raises):
    session = o.session()
    run = o.manager.execute_run(o.manager.start_run(session.id, "one").id)
    numbers = lambda **wanted: [e.sequence_number for e in o.stream(session.id, **wanted)]
    assert numbers(limit=3) == [1, 2, 3]
    assert numbers(limit=0) == []
    assert numbers(after=2, before=5) == [3, 4]
    assert numbers(run_id=run.run_id, limit=2) == [3, 4]
    assert numbers(type="run_completed", wait_timeout_ms=0) == [9]
    assert numbers(wait_timeout_ms=20) == list(range(1, 10))
    for wrong in ({"limit": -1}, {"after": -1}, {"wait_timeout_ms": -5}, {"before": "x"}):
        with raises("validation_error"):
            o.stream(session.id, **wrong)


# --- Event callbacks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["execute_run", "run_once"])
def test_a_callback_is_told_every_event_of_the_run_in_order_once_it_is_durable(o, operation):
    seen = []

    def note(event):
        assert event.sequence_number <= o.store.head(event.session_id)
        seen.append(event)

    if operation == "run_once":
        result = o.manager.run_once("Hello", provider="mock", event_callback=note)
    else:
        session = o.session()
        o.manager.run_once("another", provider="mock")
        o.manager.execute_run(o.manager.start_run(session.id, "before").id)
        result = o.manager.execute_run(o.manager.start_run(session.id, "Hello").id, event_callback=note)
    assert seen == result.events
    assert [event.type.value for event in seen] == ONLY_RUN
    assert result.callback_failures == 0


def test_a_callback_on_a_run_under_way_is_told_what_it_missed(o):
    run = o.streaming_run()
    seen = []

    def note(event):
        seen.append(event.type.value)
        o.gate.open()

    o.manager.execute_run(run.id, event_callback=note)
    assert seen == o.types(run.session_id, run_id=run.id)


def test_a_callback_that_raises_is_logged_once_and_counted_and_the_run_goes_on(o, caplog):
    def bad(event):
        raise ZeroDivisionError("mine")

    with caplog.at_level(logging.ERROR, "asm_actors.callbacks"):
        result = o.manager.run_once("Hello", provider="mock", event_callback=bad)
    assert result.callback_failures == len(ONLY_RUN)
    records = [record for record in caplog.records if record.name == "asm_actors.callbacks"]
    assert len(records) == 1
    assert result.run_id in records[0].getMessage()
    assert records[0].exc_info is not None


def test_a_failed_runs_events_are_told_before_its_error_is_raised(opened, surface, raises):
    o = opened(surface, providers={"mock": asm.ScriptedProvider(Script(text("Hal"), fail("provider_error")))})
    seen = []
    with raises("provider_error"):
        o.manager.run_once("Hello", event_callback=lambda event: seen.append(event.type.value))
    assert seen[-1] == "run_failed"


def test_a_refused_run_tells_the_callback_nothing(o, raises):
    seen = []
    with raises("validation_error"):
        o.manager.run_once("Hello", provider="nobody", event_callback=seen.append)
    with raises("validation_error"):
        o.manager.run_once("Hello", provider="mock", event_callback="not callable")
    with raises("run_not_found"):
        o.manager.execute_run("run_x", event_callback=seen.append)
    assert seen == []


def test_run_once_with_a_callback_is_refused_when_no_session_is_free(opened, surface, raises):
    o = opened(surface, limits=Limits(max_parallel_sessions=1))
    o.session()
    with raises("max_sessions_exceeded"):
        o.manager.run_once("Hello", provider="mock", event_callback=print)


def test_an_asyncio_callback_may_be_a_coroutine_function(opened):
    o = opened("asyncio")
    seen = []

    async def note(event):
        await asyncio.sleep(0)
        if event.type is EventType.MESSAGE_STREAMED:
            raise ValueError("mine")
        seen.append(event.type.value)

    result = o.manager.run_once("Hello", provider="mock", event_callback=note)
    assert result.callback_failures == 2
    assert seen == [kind for kind in ONLY_RUN if kind != "message_streamed"]


def test_cancelling_the_task_that_waits_does_not_cancel_the_run(opened):
    o = opened("asyncio")
    manager = o.system.sessions

    async def main(**options):
        session = await manager.start_session(agent_id="a", provider="gated")
        task = asyncio.ensure_future(manager.run_once("Hello", provider="gated", **options))
        async for event in manager.subscribe(after=o.store.last_position()):
            if event.type is EventType.MESSAGE_STREAMED:
                break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert session
        return event

    events = [o.wait(main()), o.wait(main(event_callback=lambda _: None))]
    o.gate.open()
    for event in events:
        assert o.manager.await_run(event.run_id).status is RunStatus.COMPLETED
        o.stream(event.session_id)
        assert o.manager.get_session(event.session_id).status is SessionStatus.COMPLETED


def test_the_asyncio_surface_never_waits_for_the_store_on_the_callers_loop(opened):
    o = opened("asyncio")
    store, here = o.store, []
    loop_thread = o._thread.ident
    finished = o.manager.run_once("Hello", provider="mock")

    def watch(name):
        method = getattr(store, name)

        def watched(*args, **kwargs):
            if threading.get_ident() == loop_thread:
                here.append(name)
            return method(*args, **kwargs)

        setattr(store, name, watched)

    for name in [
        "session",
        "run",
        "runs",
        "sessions",
        "head",
        "has_session",
        "has_run",
        "session_by_key",
        "run_by_key",
        "read_session",
        "read_all",
        "open_runs",
        "statistics",
        "last_position",
    ]:
        watch(name)
    m = o.manager
    session = m.start_session(agent_id="a", provider="mock", idempotency_key="k", id="mine")
    m.activate_session("mine")
    run = m.start_run(session.id, "Hello", idempotency_key="k", id="run-1")
    m.execute_run(run.id, event_callback=lambda _: None)
    m.run_once("Hello", provider="mock", event_callback=lambda _: None)
    for operation in (m.get_run, m.await_run, m.cancel_run):
        operation(finished.run_id)
    m.list_sessions()
    m.get_session(session.id)
    m.get_session_runs(session.id)
    m.get_session_events(session.id)
    m.status()
    m.status(session.id)
    o.stream(session.id, limit=1)

    async def told():
        o.system.run(finished.run_id).tell(asm.messages.CancelRun(reason="late"))
        return await o.system.run(finished.run_id).ask(asm.messages.CancelRun(), block=False)

    assert o.wait(told()).status is RunStatus.COMPLETED
    assert here == []


# --- The whole ---------------------------------------------------------------------------------------------------


def test_status_tells_what_runs_and_what_is_free(o):
    run = o.streaming_run()
    status = o.manager.status()
    assert status["active_runs"] == status["open_runs"] == status["active_sessions"] == 1
    assert status["available_run_slots"] == 49
    assert status["providers"] == {"mock": 0, "gated": 1}
    assert status["events"] == o.store.last_position()
    assert status["lost_providers"] == []
    assert not status["is_draining"]
    one = o.manager.status(run.session_id)
    assert one["in_flight_runs"] == [run.id]


def test_drain_waits_for_what_is_under_way_and_admits_nothing_new(o, raises):
    session = o.session(provider="gated")
    idle = o.manager.start_run(o.session().id, "nobody executes this")
    run = o.streaming_run(session.id)
    report = o.manager.drain(timeout=0.05)
    assert report.orphans == (run.id,)
    for call in (
        lambda: o.manager.start_session(agent_id="a"),
        lambda: o.manager.run_once("Hello", provider="mock"),
        lambda: o.manager.start_run(session.id, "Hello"),
        lambda: o.manager.submit_run(session.id, "Hello"),
        lambda: o.manager.execute_run(idle.id),
    ):
        with raises("invalid_operation") as caught:
            call()
        assert "draining" in caught.value.message
    o.gate.open()
    report = o.manager.drain(timeout=None)
    assert report.is_clean
    assert o.manager.await_run(run.id).status is RunStatus.COMPLETED
    with raises("validation_error"):
        o.manager.drain(timeout=-1)


def test_a_crashing_provider_fails_the_run_that_had_begun_and_the_system_goes_on(opened, surface, raises):
    gate = Gate()
    scripts = [Script(text("Half a"), wait(gate), crash()), Script(text("whole"))]
    o = opened(surface, providers={"mock": asm.ScriptedProvider(scripts)})
    run = o.streaming_run(o.session().id)
    gate.open()
    with raises("provider_unavailable"):
        o.manager.await_run(run.id)
    assert o.manager.run_once("Hello").output["content"] == "whole"


# --- Handles -----------------------------------------------------------------------------------------------------


def test_handles_speak_to_sessions_and_runs_by_name(opened, raises):
    o = opened("blocking")
    run = o.streaming_run()
    handle = o.system.run(run.id)
    assert handle.ref().is_alive()
    assert o.system.session(run.session_id).ref().is_alive()
    assert o.system.session(run.session_id).ask(asm.messages.GetSession()).status is SessionStatus.ACTIVE
    final = handle.ask(asm.messages.CancelRun(reason="user"))
    assert final.status is RunStatus.CANCELLED
    assert o.system.run(run.id).ref() is None
    with raises("validation_error"):
        handle.tell(asm.messages.GetSession())
    o.system.session(run.session_id).tell(asm.messages.CompleteSession())
    assert o.stream(run.session_id)[-1].type is EventType.SESSION_COMPLETED


def test_telling_a_run_that_is_not_there_is_only_logged(opened, caplog):
    o = opened("blocking")
    o.system.run("run_x").tell(asm.messages.CancelRun())
    with pytest.raises(AsmError):
        o.manager.get_run("run_x")
    settle(o.system.dispatcher)
    assert any("run_x" in record.getMessage() for record in caplog.records)
