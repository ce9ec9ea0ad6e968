"""The real SDK over real HTTP: against the npm mock model server, and a scripted server for what that cannot do."""

from __future__ import annotations

import asyncio
import socket
from contextlib import aclosing

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.anthropic import AnthropicProvider
from asm_actors.providers.base import TurnRequest
from asm_actors.providers.items import (
    MessageDone,
    TextDelta,
    ThinkingDelta,
    ToolCallStarted,
    TurnDone,
    TurnStarted,
    Usage,
)
from asm_actors.testing.mock_server import answer, failure, tool_calls
from asm_actors.testing.provider_contract import ProviderContract, violations

KEY = "sk-mock-not-a-key"


def ask(text, **fields):
    return TurnRequest("ses", "run", messages=({"role": "user", "content": text},), **fields)


async def collect(provider, request):
    """All items and the error that ended them, if one did."""
    items = []
    await provider.open()
    try:
        async with aclosing(provider.stream(request)) as stream:
            while True:
                items.append(await anext(stream))
    except StopAsyncIteration:
        return items, None
    except AsmError as error:
        return items, error
    finally:
        await provider.aclose()


def turn(base_url, text="hi", **fields):
    provider = AnthropicProvider(api_key=KEY, base_url=base_url, model="claude-test")
    return asyncio.run(collect(provider, ask(text, **fields)))


def said(items):
    return "".join(item.text for item in items if isinstance(item, TextDelta))


def last(items, kind):
    return [item for item in items if isinstance(item, kind)][-1]


# The npm mock model server ------------------------------------------------------------------------------------


@pytest.mark.npm
class TestMock:
    @pytest.fixture(autouse=True)
    def _server(self, mock_model_server):
        self.server = mock_model_server

    def turn(self, *fixtures, text, **fields):
        self.server.add(*fixtures)
        return turn(self.server.base_url, text, **fields)

    def test_text_is_streamed_in_pieces_with_usage(self):
        content = "A rather long answer, so that it comes in several chunks."
        items, error = self.turn(answer("stream-text", content, usage=(11, 13)), text="stream-text")
        assert error is None
        assert violations(items) == ()
        assert items[0] == TurnStarted("claude-test", None, ())
        assert said(items) == content
        assert len([item for item in items if isinstance(item, TextDelta)]) == 3
        assert last(items, Usage) == Usage(11, 13)
        assert last(items, MessageDone).content == content
        assert last(items, TurnDone).stop_reason == "end_turn"

    def test_thinking_is_streamed_apart_from_text(self):
        items, error = self.turn(answer("think", "4", reasoning="Two and two."), text="think")
        assert error is None
        assert [item.text for item in items if isinstance(item, ThinkingDelta)] == ["Two and two."]
        assert said(items) == "4"
        assert last(items, MessageDone).blocks[0]["signature"]

    def test_a_tool_call_and_its_result_make_two_turns(self):
        question = {"role": "user", "content": "use-the-tool"}
        weather = {"name": "get_weather", "description": "Weather", "input_schema": {"type": "object"}}
        self.server.add(
            tool_calls("use-the-tool", ("get_weather", {"city": "Oslo"})),
            answer("use-the-tool", "12 degrees.", match={"hasToolResult": True}),
        )
        items, error = turn(self.server.base_url, "use-the-tool", tools=(weather,))
        assert error is None
        assert items[0].tools == ("get_weather",)
        assert last(items, TurnDone).stop_reason == "tool_use"
        call = last(items, ToolCallStarted)
        assert (call.name, call.input) == ("get_weather", {"city": "Oslo"})
        conversation = (
            question,
            {"role": "assistant", "content": list(last(items, MessageDone).blocks)},
            {"role": "tool", "tool_call_id": call.id, "tool_output": {"degrees": 12}},
        )
        request = TurnRequest("ses", "run", turn=2, messages=conversation, tools=(weather,))
        provider = AnthropicProvider(api_key=KEY, base_url=self.server.base_url)
        items, error = asyncio.run(collect(provider, request))
        assert (error, said(items)) == (None, "12 degrees.")

    def test_a_rate_limit_says_how_long_to_wait(self):
        fixture = failure("too-many", 429, "rate_limit_error", "slow down", retry_after=7)
        items, error = self.turn(fixture, text="too-many")
        assert items == []
        assert (error.code, error.retry_after) == (ErrorCode.PROVIDER_RATE_LIMITED, 7.0)
        assert "slow down" in error.message

    @pytest.mark.parametrize(
        ("status", "kind", "code"),
        [
            (400, "invalid_request_error", ErrorCode.PROVIDER_ERROR),
            (401, "authentication_error", ErrorCode.PROVIDER_AUTHENTICATION_FAILED),
            (403, "permission_error", ErrorCode.PROVIDER_AUTHENTICATION_FAILED),
            (404, "not_found_error", ErrorCode.PROVIDER_ERROR),
            (500, "api_error", ErrorCode.PROVIDER_UNAVAILABLE),
            (529, "overloaded_error", ErrorCode.PROVIDER_UNAVAILABLE),
        ],
    )
    def test_refusals_have_their_codes(self, status, kind, code):
        items, error = self.turn(failure(f"refuse-{status}", status, kind, "no"), text=f"refuse-{status}")
        assert (items, error.code) == ([], code)

    def test_the_sdk_itself_does_not_retry(self):
        self.turn(failure("fail-once", 500, "api_error", "no"), text="fail-once")
        asked = [r for r in self.server.requests() if r["body"]["messages"][-1]["content"] == "fail-once"]
        assert len(asked) == 1

    def test_an_answer_cut_in_mid_stream_is_retryable_and_keeps_what_was_said(self):
        content = "This will be cut off in the middle of it all"
        fixture = answer("cut-me", content, truncateAfterChunks=4, latency=5)
        items, error = self.turn(fixture, text="cut-me")
        assert (error.code, error.retryable) == (ErrorCode.PROVIDER_UNAVAILABLE, True)
        assert content.startswith(said(items))
        assert said(items)
        assert not any(isinstance(item, TurnDone) for item in items)

    def test_a_malformed_answer_is_a_provider_error(self):
        items, error = self.turn(answer("garble", "x", chaos={"malformedRate": 1}), text="garble")
        assert (items, error.code) == ([], ErrorCode.PROVIDER_ERROR)

    def test_a_dropped_connection_is_unavailable(self):
        items, error = self.turn(answer("drop-me", "x", chaos={"disconnectRate": 1}), text="drop-me")
        assert (items, error.code, error.retryable) == ([], ErrorCode.PROVIDER_UNAVAILABLE, True)

    def test_a_slow_answer_may_be_given_up_in_the_middle(self):
        self.server.add(answer("slow-one", "word " * 1000, latency=50))

        async def body():
            provider = AnthropicProvider(api_key=KEY, base_url=self.server.base_url)
            stream = provider.stream(ask("slow-one"))
            async with asyncio.timeout(2):  # the whole answer would take twelve seconds
                async for item in stream:
                    if isinstance(item, TextDelta):
                        break
                await stream.aclose()
                await provider.aclose()

        asyncio.run(body())


@pytest.mark.npm
class TestMockKeepsTheContract(ProviderContract):
    @pytest.fixture(autouse=True)
    def _server(self, mock_model_server):
        self.server = mock_model_server
        self.server.add(
            answer("Hello", "Hello to you, whoever you are.", usage=(3, 9), match={"model": "m-fine"}),
            answer("Hello", "word " * 500, latency=50, match={"model": "m-slow"}),
            failure("Hello", 529, "overloaded_error", "busy", match={"model": "m-busy"}),
        )

    def provider(self, model):
        return AnthropicProvider(model, api_key=KEY, base_url=self.server.base_url)

    def make_provider(self):
        return self.provider("m-fine")

    def make_slow_provider(self):
        return self.provider("m-slow")

    def make_failing_provider(self):
        return self.provider("m-busy")


# The scripted server ------------------------------------------------------------------------------------------


def test_the_request_is_what_the_api_wants(loopback, wire):
    url = loopback.plan("request", wire.whole("ok"))
    provider = AnthropicProvider(
        "claude-x", api_key=KEY, base_url=url, max_tokens=50, default_headers={"x-extra": "yes"}
    )
    asyncio.run(collect(provider, ask("hi", system_prompt="Be brief.", options={"temperature": 0.5})))
    [seen] = [request for request in loopback.requests if request["path"] == "/request/v1/messages"]
    assert seen["body"] == {
        "model": "claude-x",
        "max_tokens": 50,
        "stream": True,
        "messages": [{"role": "user", "content": "hi"}],
        "system": "Be brief.",
        "temperature": 0.5,
    }
    sent = seen["headers"]
    assert sent["x-extra"] == "yes"
    assert sent["anthropic-version"]
    assert KEY in (sent.get("x-api-key") or sent["authorization"])


def test_a_given_client_is_used_and_left_open(loopback, wire):
    import anthropic

    url = loopback.plan("given", wire.whole("ok"))

    async def body():
        async with anthropic.AsyncAnthropic(api_key=KEY, base_url=url) as client:
            items, error = await collect(AnthropicProvider(client=client), ask("hi"))
            assert (error, said(items)) == (None, "ok")
            assert not client.is_closed()

    asyncio.run(body())


def test_cache_tokens_are_reported(loopback, wire):
    start = wire.message_start(cache_read_input_tokens=30, cache_creation_input_tokens=4)
    events = wire.sse(start, *wire.text_block(0, "x"), *wire.message_end())
    items, _ = turn(loopback.plan("cached", wire.head() + events))
    assert last(items, Usage) == Usage(11, 7, 30, 4)


def test_an_error_in_mid_stream_has_the_code_of_its_type(loopback, wire):
    broken = (
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    )
    url = loopback.plan(
        "mid", wire.head() + wire.sse(wire.message_start(), *wire.text_block(0, "Hel")) + broken
    )
    items, error = turn(url)
    assert said(items) == "Hel"
    assert (error.code, error.message) == (ErrorCode.PROVIDER_UNAVAILABLE, "the provider failed: Overloaded")
    assert error.provider_error["kind"] == "overloaded"
    assert error.details["request_id"] == "req_test"


@pytest.mark.parametrize(
    ("tail", "code"),
    [
        (b"event: message_delta\ndata: {not json}\n\n", ErrorCode.PROVIDER_ERROR),
        (b"event: message_delta\ndata: \xff\xfe\n\n", ErrorCode.PROVIDER_ERROR),
        (b'event: message_delta\ndata: {"type": "message_delta"}\n\n', ErrorCode.PROVIDER_ERROR),
        (b"event: error\ndata: not json either\n\n", ErrorCode.PROVIDER_ERROR),
        (b"", ErrorCode.PROVIDER_UNAVAILABLE),
    ],
)
def test_garbage_in_the_stream_is_a_typed_error(loopback, wire, tail, code):
    url = loopback.plan(
        "garbage", wire.head() + wire.sse(wire.message_start(), *wire.text_block(0, "Hel")) + tail
    )
    items, error = turn(url)
    assert (said(items), error.code) == ("Hel", code)


def test_an_answer_without_any_event_is_retryable(loopback, wire):
    items, error = turn(loopback.plan("empty", wire.head()))
    assert (items, error.code) == ([], ErrorCode.PROVIDER_UNAVAILABLE)
    assert "before it began" in error.message


def test_an_answer_of_another_type_is_no_stream(loopback, wire):
    items, error = turn(loopback.plan("html", wire.response(200, b"<html>Log in</html>", "text/html")))
    assert (items, error.code) == ([], ErrorCode.PROVIDER_ERROR)
    assert "text/html" in error.message


def test_a_connection_that_breaks_in_mid_stream_is_retryable(loopback, wire):
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 99999\r\n\r\n"
    url = loopback.plan("break", head + wire.sse(wire.message_start(), *wire.text_block(0, "Hel")))
    items, error = turn(url)
    assert said(items) == "Hel"
    assert (error.code, error.retryable) == (ErrorCode.PROVIDER_UNAVAILABLE, True)


def test_a_connection_that_is_cut_before_the_answer_is_retryable(loopback):
    items, error = turn(loopback.plan("cut", loopback.Cut()))
    assert (items, error.code, error.retryable) == ([], ErrorCode.PROVIDER_UNAVAILABLE, True)


def test_a_refused_connection_is_retryable_and_says_so():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    items, error = turn(f"http://127.0.0.1:{port}")
    assert (items, error.code, error.retryable) == ([], ErrorCode.PROVIDER_UNAVAILABLE, True)
    assert "cannot be reached" in error.message


def test_retry_after_may_be_a_date_relative_to_the_servers_clock(loopback, wire):
    refused = wire.response(
        503,
        b"{}",
        date="Fri, 20 Nov 2026 12:00:00 GMT",
        retry_after="Fri, 20 Nov 2026 12:00:09 GMT",
    )
    _, error = turn(loopback.plan("date", refused))
    assert (error.code, error.retry_after) == (ErrorCode.PROVIDER_UNAVAILABLE, 9.0)


def test_silence_beyond_the_idle_timeout_is_a_timeout(loopback, wire):
    url = loopback.plan("silent", wire.head() + wire.sse(wire.message_start()), loopback.Hold())
    provider = AnthropicProvider(api_key=KEY, base_url=url, idle_timeout=0.05)
    items, error = asyncio.run(collect(provider, ask("hi")))
    assert (error.code, error.retryable) == (ErrorCode.PROVIDER_TIMEOUT, True)
    assert isinstance(items[0], TurnStarted)


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_giving_up_a_stream_closes_its_connection(loopback, wire, how):
    name = f"give-up-{how}"
    url = loopback.plan(
        name, wire.head() + wire.sse(wire.message_start(), *wire.text_block(0, "x")), loopback.Hold()
    )

    async def body():
        provider = AnthropicProvider(api_key=KEY, base_url=url)
        await provider.open()
        stream = provider.stream(ask("hi"))
        async for item in stream:
            if isinstance(item, TextDelta):
                break
        if how == "cancel":
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        else:
            await stream.aclose()
        assert await loopback.client_went_away(name)
        await provider.aclose()

    asyncio.run(body())


def test_a_request_that_waits_for_its_answer_can_be_cancelled(loopback, wire):
    url = loopback.plan("no-answer", loopback.Hold())

    async def body():
        provider = AnthropicProvider(api_key=KEY, base_url=url)
        task = asyncio.create_task(collect(provider, ask("hi")))
        assert await loopback.was_asked("no-answer")
        task.cancel()
        assert await loopback.client_went_away("no-answer")
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(body())


def test_nothing_is_sent_for_a_malformed_request(loopback, wire):
    url = loopback.plan("never", wire.whole("x"))
    _, error = turn(url, options={"modle": "x"})
    assert error.code is ErrorCode.VALIDATION_ERROR
    assert "did you mean 'model'?" in error.message
    assert not [request for request in loopback.requests if request["path"].startswith("/never")]


def test_the_stream_ends_with_the_message_even_if_the_connection_stays_open(loopback, wire):
    url = loopback.plan("stays", wire.whole("done"), loopback.Hold())
    items, error = turn(url)
    assert (error, said(items)) == (None, "done")
    assert violations(items) == ()


def test_two_streams_that_open_the_provider_at_once_share_one_client(loopback, wire):
    url = loopback.plan("both", wire.whole("x"))

    async def body():
        provider = AnthropicProvider(api_key=KEY, base_url=url)

        async def one():
            return [item async for item in provider.stream(ask("hi"))]

        first, second = await asyncio.gather(one(), one())
        assert violations(first) == violations(second) == ()
        await provider.aclose()

    asyncio.run(body())
