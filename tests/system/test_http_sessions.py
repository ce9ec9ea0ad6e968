"""Sessions on the real client over real HTTP, against the mock model server: many at once, and every kind of fault."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

import asm_actors as asm
from asm_actors import AsmError, Limits, RetryPolicy, RunStatus, SessionStatus
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.testing.mock_server import answer, failure
from asm_actors.testing.promises import journal_faults

pytestmark = pytest.mark.npm
KEY = "sk-mock-not-a-key"
QUICK = RetryPolicy(max_attempts=3, initial=0.01, maximum=0.02)


@pytest.fixture
def server(mock_model_server):
    mock_model_server.reset()
    yield mock_model_server
    mock_model_server.set_chaos()


@pytest.fixture
def at(opened, tmp_path):
    """A system whose only provider speaks to an address."""

    def make(base_url, **options):
        claude = asm.AnthropicProvider(api_key=KEY, base_url=base_url, model="claude-test")
        options = {"retry": QUICK, "journal": tmp_path / "journal", **options}
        return opened(providers={"claude": claude}, **options)

    return make


def fails_with(o, prompt):
    """Run once, which fails; return the error, the run's record and the types of its events."""
    with pytest.raises(AsmError) as caught:
        o.manager.run_once(prompt)
    (session,) = o.manager.list_sessions(limit=1)
    assert session.status is SessionStatus.FAILED
    (run,) = o.manager.get_session_runs(session.id)
    assert run.status is RunStatus.FAILED
    assert run.error["code"] == caught.value.code.value
    assert journal_faults(o.store) == []
    return caught.value, run, o.types(session.id, run_id=run.id)


def test_a_hundred_sessions_at_once_complete_and_are_read_back_without_a_gap(server, tmp_path):
    server.add(
        answer("question", "An answer that comes in a good number of pieces.", usage=(11, 7), chunkSize=5)
    )
    journal = tmp_path / "journal"
    limits = Limits(max_parallel_sessions=None, max_parallel_runs=None)

    async def main():
        claude = asm.AnthropicProvider(api_key=KEY, base_url=server.base_url, model="claude-test")
        async with asm.AsyncActorSystem.start(journal, {"claude": claude}, limits) as system:
            once = system.sessions.run_once
            return await asyncio.gather(
                *(once(f"question {number}", tags=[f"{number}"]) for number in range(100))
            )

    results = asyncio.run(main())
    store = LmdbStore(journal, readonly=True)
    store.open()
    try:
        assert store.verify().is_sound
        assert journal_faults(store) == []
        for number, result in enumerate(results):
            assert result.output["content"] == "An answer that comes in a good number of pieces."
            assert result.token_usage == {"input_tokens": 11, "output_tokens": 7}
            session = store.session(result.session_id)
            assert (session.status, session.tags) == (SessionStatus.COMPLETED, (f"{number}",))
            events = store.read_session(session.id)
            assert [event.sequence_number for event in events] == list(range(1, len(events) + 1))
            pieces = [event.data["delta"] for event in events if event.type.value == "message_streamed"]
            assert "".join(pieces) == result.output["content"]
            assert len(pieces) >= 5
    finally:
        store.close()


def test_a_rate_limit_is_waited_out_and_the_run_completes(server, at):
    refused = failure("busy", 429, "rate_limit_error", "slow down", retry_after=1, match={"sequenceIndex": 0})
    server.add(refused, answer("busy", "Thank you for waiting."))
    o = at(server.base_url)
    began = time.monotonic()
    result = o.manager.run_once("busy")
    assert time.monotonic() - began >= 1.0, "Retry-After is a lower bound"
    assert result.output["content"] == "Thank you for waiting."
    (retried,) = [event for event in result.events if event.type.value == "error_occurred"]
    assert (retried.data["error_code"], retried.data["attempt"]) == ("provider_rate_limited", 1)
    assert retried.data["retry_in_s"] >= 1.0


def test_a_rate_limit_that_lasts_too_long_fails_the_run_at_once(server, at):
    server.add(failure("quota", 429, "rate_limit_error", "come back tomorrow", retry_after=3600))
    error, _, types = fails_with(at(server.base_url), "quota")
    assert (error.code.value, error.retryable) == ("provider_rate_limited", True)
    assert types[-1] == "run_failed"
    assert "error_occurred" not in types


def test_a_stream_that_is_cut_keeps_what_was_said_and_is_not_repeated(server, at):
    content = "This will be cut off in the middle of it all"
    server.add(answer("cut-me", content, truncateAfterChunks=4, latency=20))
    o = at(server.base_url)
    error, run, types = fails_with(o, "cut-me")
    assert error.code.value == "provider_unavailable"
    assert content.startswith(run.output["content"])
    assert run.output["partial"] is True
    assert types.count("run_started") == 1
    assert types[-1] == "run_failed"
    assert len(server.requests()) == 1, "half an answer is not asked for again"


def test_a_connection_that_drops_before_a_word_is_tried_again(server, at):
    server.add(
        answer("drop-me", "x", chaos={"disconnectRate": 1}, match={"sequenceIndex": 0}),
        answer("drop-me", "Here I am."),
    )
    result = at(server.base_url).manager.run_once("drop-me")
    assert result.output["content"] == "Here I am."
    assert [event.data["error_code"] for event in result.events if event.type.value == "error_occurred"] == [
        "provider_unavailable"
    ]


def test_a_malformed_stream_is_a_provider_error(server, at):
    server.add(answer("garble", "x", chaos={"malformedRate": 1}))
    error, _, types = fails_with(at(server.base_url), "garble")
    assert error.code.value == "provider_error"
    assert types[-1] == "run_failed"


def test_a_refused_connection_is_tried_as_often_as_allowed_and_then_fails(at):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error, _, types = fails_with(at(f"http://127.0.0.1:{port}"), "anybody?")
    assert (error.code.value, error.retryable) == ("provider_unavailable", True)
    assert types.count("error_occurred") == 2
    assert types[-1] == "run_failed"


def test_a_wrong_key_fails_without_another_try(server, at):
    server.add(failure("who", 401, "authentication_error", "invalid x-api-key"))
    error, _, _ = fails_with(at(server.base_url), "who")
    assert error.code.value == "provider_authentication_failed"
    assert len(server.requests()) == 1


def test_without_a_key_nothing_begins(server, opened, monkeypatch, raises):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN", raising=False)
    o = opened(providers={"claude": asm.AnthropicProvider(base_url=server.base_url)})
    with raises("provider_authentication_failed"):
        o.manager.run_once("Hello")
    assert o.manager.list_sessions() == []
    assert server.requests() == []


def test_cancelling_closes_the_connection_and_keeps_what_was_said(server, at):
    server.add(answer("slow-one", "word " * 1000, latency=30))
    o = at(server.base_url)
    run = o.streaming_run(o.session(provider="claude").id, "slow-one")
    final = o.manager.cancel_run(run.id, reason="user")
    assert final.status is RunStatus.CANCELLED
    assert final.output["content"].startswith("word")
    assert o.types(run.session_id, run_id=run.id)[-1] == "run_cancelled"
    deadline = time.monotonic() + 5
    while not (asked := server.requests())[0]["response"].get("interrupted"):
        assert time.monotonic() < deadline, asked
