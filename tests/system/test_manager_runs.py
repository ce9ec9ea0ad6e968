"""The session manager: runs, and what is refused before one exists; on both surfaces."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pykka
import pytest

import asm_actors as asm
from asm_actors import AsmError, Limits, RunStatus, SessionStatus
from asm_actors.providers.script import Script, fail, text

ONLY_RUN = [
    "message_sent",
    "run_started",
    "message_streamed",
    "message_streamed",
    "message_received",
    "token_usage_updated",
    "run_completed",
]


# --- Runs ----------------------------------------------------------------------------------------------------------


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


# --- Providers are checked at the door -----------------------------------------------------------------------------


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
    assert run.details["capabilities"]["status"] == "degraded"
    with raises("missing_required_capability"):
        o.manager.run_once("Hello", provider="plain", required_capabilities=["file_access"])
    with raises("invalid_capability_type"):
        o.manager.start_run(rich.id, "Hello", required_capabilities=["flying"])
