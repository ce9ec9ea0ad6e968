"""The session manager: events, callbacks, status, drain and handles; on both surfaces."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest

import asm_actors as asm
from asm_actors import AsmError, EventType, Limits, RunStatus, SessionStatus
from asm_actors.providers.script import Script, crash, fail, text, wait
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


# --- Events --------------------------------------------------------------------------------------------------------


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


# --- Event callbacks -----------------------------------------------------------------------------------------------


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


# --- The whole -----------------------------------------------------------------------------------------------------


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


# --- Handles -------------------------------------------------------------------------------------------------------


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
