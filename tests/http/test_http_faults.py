"""What a run makes of a model server that refuses, breaks off, talks nonsense or falls silent, over real HTTP."""

from __future__ import annotations

import asyncio
import socket

import pytest

import asm_actors as asm
from asm_actors import ErrorCode, RunStatus
from asm_actors.testing.mock_server import answer, failure

TWO_RETRIES = ["message_sent", "run_started", "error_occurred", "error_occurred"]


def codes_of(told):
    return [data["error_code"] for data in told.data("error_occurred")]


@pytest.fixture
def mock(mock_model_server, serve):
    """Adds fixtures to the mock model server, and starts a system that asks it."""

    def start(*fixtures):
        mock_model_server.add(*fixtures)
        return serve(mock_model_server.base_url)

    return start


def limited(text, retry_after, **more):
    return failure(text, 429, "rate_limit_error", "slow down", retry_after=retry_after, **more)


# Before anything was said: tried again ---------------------------------------------------------------------------


@pytest.mark.npm
def test_a_rate_limit_is_waited_out_and_told(mock, told, asked):
    first = limited("http-limited-once", 0.05, match={"sequenceIndex": 0})
    then = answer("http-limited-once", "Now you may.", usage=(3, 4), match={"sequenceIndex": 1})
    served = mock(first, then)
    run = served.submit("http-limited-once")
    assert served.outcome(run) is None
    story = told(served, run)
    assert story.run.output["content"] == story.streamed == "Now you may."
    assert (story.run.status, story.run.attempt) == (RunStatus.COMPLETED, 1)
    assert story.run.token_usage == {"input_tokens": 3, "output_tokens": 4}
    [error] = story.data("error_occurred")
    assert (error["error_code"], error["attempt"]) == ("provider_rate_limited", 1)
    assert error["retry_in_s"] == 0.05
    assert story.types.index("error_occurred") < story.types.index("message_streamed")
    assert asked("http-limited-once") == 2


@pytest.mark.npm
def test_a_rate_limit_without_end_fails_the_run_when_the_tries_are_spent(mock, told, asked):
    served = mock(limited("http-limited-always", 0.01))
    run = served.submit("http-limited-always")
    assert served.outcome(run).code is ErrorCode.PROVIDER_RATE_LIMITED
    story = told(served, run)
    assert story.types == [*TWO_RETRIES, "run_failed"]
    assert codes_of(story) == ["provider_rate_limited"] * 2
    assert story.data("run_failed")[0]["error_code"] == "provider_rate_limited"
    assert (story.run.status, story.run.attempt) == (RunStatus.FAILED, 2)
    assert story.run.error["code"] == "provider_rate_limited"
    assert asked("http-limited-always") == 3


@pytest.mark.npm
def test_a_rate_limit_that_asks_for_an_hour_fails_the_run_at_once(mock, told, asked):
    served = mock(limited("http-limited-hour", 3600))
    run = served.submit("http-limited-hour")
    assert served.outcome(run).code is ErrorCode.PROVIDER_RATE_LIMITED
    assert told(served, run).types == ["message_sent", "run_started", "run_failed"]
    assert asked("http-limited-hour") == 1


@pytest.mark.npm
def test_a_connection_that_breaks_before_the_answer_is_tried_again(mock, told, asked):
    broken = answer("http-drop-once", "x", chaos={"disconnectRate": 1}, match={"sequenceIndex": 0})
    served = mock(broken, answer("http-drop-once", "Here I am.", match={"sequenceIndex": 1}))
    run = served.submit("http-drop-once")
    assert served.outcome(run) is None
    story = told(served, run)
    assert (story.streamed, codes_of(story)) == ("Here I am.", ["provider_unavailable"])
    assert (story.types[-1], len(story.ends), story.run.attempt) == ("run_completed", 1, 1)


def test_an_answer_that_breaks_before_its_first_word_is_tried_again(loopback, wire, serve, told):
    url = loopback.plan("no-word", wire.head() + wire.sse(wire.message_start()))
    loopback.then("no-word", wire.whole("Here ", "I am."))
    served = serve(url)
    run = served.submit("Hello")
    assert served.outcome(run) is None
    story = told(served, run)
    assert (story.streamed, codes_of(story)) == ("Here I am.", ["provider_unavailable"])
    # What the broken try had counted does not count.
    assert story.run.token_usage == {"input_tokens": 11, "output_tokens": 7}


def test_a_refused_connection_fails_the_run_when_the_tries_are_spent(serve, told):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = serve(f"http://127.0.0.1:{port}")
    run = served.submit("Hello")
    error = served.outcome(run)
    assert error.code is ErrorCode.PROVIDER_UNAVAILABLE
    assert "cannot be reached" in error.message
    story = told(served, run)
    assert story.types == [*TWO_RETRIES, "run_failed"]
    assert codes_of(story) == ["provider_unavailable"] * 2
    assert story.run.attempt == 2


# In the middle of the answer: it cannot be continued -------------------------------------------------------------


@pytest.mark.npm
def test_an_answer_that_breaks_off_fails_the_run_and_keeps_what_was_said(mock, told, asked):
    content = "This will break off somewhere in the middle of it all, and nobody knows where."
    served = mock(answer("http-cut", content, usage=(21, 34), truncateAfterChunks=5, latency=5))
    run = served.submit("http-cut")
    assert served.outcome(run).code is ErrorCode.PROVIDER_UNAVAILABLE
    story = told(served, run)
    assert story.streamed
    assert content.startswith(story.streamed)
    assert story.streamed != content
    assert story.run.output == {"content": story.streamed, "partial": True}
    assert story.run.token_usage["input_tokens"] == 21
    assert story.data("token_usage_updated") == [story.run.token_usage]
    assert (story.types[-1], len(story.ends)) == ("run_failed", 1)
    assert (codes_of(story), story.run.attempt) == ([], 0)
    assert asked("http-cut") == 1


@pytest.mark.npm
def test_an_answer_that_is_no_stream_fails_the_run_without_a_retry(mock, told, asked):
    served = mock(answer("http-garbled", "x", chaos={"malformedRate": 1}))
    run = served.submit("http-garbled")
    assert served.outcome(run).code is ErrorCode.PROVIDER_ERROR
    story = told(served, run)
    assert story.types == ["message_sent", "run_started", "run_failed"]
    assert story.data("run_failed")[0]["error_code"] == "provider_error"
    assert asked("http-garbled") == 1


@pytest.mark.parametrize("said", ["", "Hel"])
def test_a_malformed_stream_fails_the_run_without_a_retry(loopback, wire, serve, told, said):
    scenario = f"malformed-{said}"
    events = wire.sse(wire.message_start(), *(wire.text_block(0, said) if said else ()))
    url = loopback.plan(scenario, wire.head() + events + b"event: message_delta\ndata: {not json}\n\n")
    served = serve(url)
    run = served.submit("Hello")
    assert served.outcome(run).code is ErrorCode.PROVIDER_ERROR
    story = told(served, run)
    assert story.streamed == said
    assert (story.types[-1], len(story.ends), codes_of(story)) == ("run_failed", 1, [])
    assert story.run.token_usage == {"input_tokens": 11, "output_tokens": 1}
    assert sum(request["path"].startswith(f"/{scenario}/") for request in loopback.requests) == 1


# The key ---------------------------------------------------------------------------------------------------------


@pytest.mark.npm
def test_a_key_that_is_refused_fails_the_run_without_a_retry(mock, told, asked):
    served = mock(failure("http-401", 401, "authentication_error", "invalid x-api-key"))
    run = served.submit("http-401")
    error = served.outcome(run)
    assert error.code is ErrorCode.PROVIDER_AUTHENTICATION_FAILED
    assert "invalid x-api-key" in error.message
    story = told(served, run)
    assert story.types == ["message_sent", "run_started", "run_failed"]
    assert story.run.error["code"] == "provider_authentication_failed"
    assert asked("http-401") == 1


def test_without_a_key_no_run_begins_and_the_error_says_what_to_do(loopback, wire, serve, reopen):
    served = serve(loopback.plan("no-key", wire.whole("x")), key=None)
    session = served.session()
    run_id = "run_" + "0" * 32
    for refused in (
        lambda: served.sessions.submit_run(session.id, "Hello", id=run_id),
        lambda: served.sessions.start_run(session.id, "Hello", id=run_id),
        lambda: served.sessions.run_once("Hello"),
    ):
        with pytest.raises(asm.AsmError, match="set the environment variable ANTHROPIC_API_KEY") as caught:
            refused()
        assert caught.value.code is ErrorCode.PROVIDER_AUTHENTICATION_FAILED
    served.system.stop()
    store = reopen()
    assert [stored.id for stored in store.sessions()] == [session.id]
    assert store.runs() == []
    events = store.read_session(session.id)
    assert [event.type.value for event in events] == ["session_created", "session_started"]
    assert not [request for request in loopback.requests if request["path"].startswith("/no-key/")]


# Cancel, deadline ------------------------------------------------------------------------------------------------


@pytest.fixture
def half(loopback, wire):
    """``half(scenario)``: the base URL of a server that says half a sentence and then nothing, without end."""

    def plan(scenario):
        events = wire.sse(wire.message_start(), *wire.text_block(0, "Half a ", "sentence"))
        return loopback.plan(scenario, wire.head() + events, loopback.Hold())

    return plan


HALF = {"content": "Half a sentence", "partial": True}


def test_a_cancel_in_mid_stream_closes_the_connection_and_keeps_what_was_said(
    half, loopback, wire, serve, told
):
    served = serve(half("cancelled"), limits=asm.Limits(max_parallel_runs=1))
    run = served.speaking("Hello")
    final = served.sessions.cancel_run(run.id, reason="enough")
    assert asyncio.run(loopback.client_went_away("cancelled"))
    assert final.status is RunStatus.CANCELLED
    assert served.outcome(run).code is ErrorCode.CANCELLED
    # Its slot is free: the only one there is.
    loopback.plan("cancelled", wire.whole("Another answer"))
    assert served.outcome(served.submit("Again")) is None
    story = told(served, run)
    assert story.run == final
    assert (story.streamed, story.run.output) == ("Half a sentence", HALF)
    assert story.run.token_usage == {"input_tokens": 11, "output_tokens": 1}
    [ending] = story.ends
    assert (ending.type.value, story.types[-1]) == ("run_cancelled", "run_cancelled")
    assert (ending.data["reason"], ending.data["partial_content"]) == ("enough", True)


def test_a_deadline_in_mid_stream_closes_the_connection_and_ends_the_run_as_timeout(
    half, loopback, wire, serve, told
):
    # The first answer opens the client, which takes a while, so that the deadline falls into the second.
    url = loopback.plan("deadline", wire.whole("First"))
    served = serve(url)
    assert served.outcome(served.submit("Hello")) is None
    half("deadline")
    run = served.speaking("Hello", deadline=0.5)
    error = served.outcome(run)
    assert (error.code, error.context["status"]) == (ErrorCode.TIMEOUT, "timeout")
    assert asyncio.run(loopback.client_went_away("deadline"))
    story = told(served, run)
    assert story.run.status is RunStatus.TIMEOUT
    assert (story.streamed, story.run.output) == ("Half a sentence", HALF)
    assert story.run.token_usage == {"input_tokens": 11, "output_tokens": 1}
    assert (story.types[-1], len(story.ends)) == ("run_timeout", 1)
