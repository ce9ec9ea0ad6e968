from __future__ import annotations

import json

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.normalization.provider_error import ProviderErrorKind
from asm_actors.providers.anthropic_stream import StreamReader, said, truncated
from asm_actors.providers.items import (
    MessageDone,
    TextDelta,
    ThinkingDelta,
    ToolCallEnded,
    ToolCallStarted,
    TurnDone,
    TurnStarted,
    Usage,
)
from asm_actors.testing.provider_contract import violations


def read(events, tools=()):
    reader = StreamReader(tools=tools)
    return [item for event in events for item in reader.feed(event)], reader


def json_deltas(*parts):
    return [{"type": "input_json_delta", "partial_json": part} for part in parts]


def tool_start(call="c1", name="get", **more):
    return {"type": "tool_use", "id": call, "name": name, "input": {}} | more


def last(items, kind):
    return [item for item in items if isinstance(item, kind)][-1]


def test_text_is_streamed_and_completed(wire):
    items, reader = read(
        [wire.message_start(), *wire.text_block(0, "Hel", "lo"), *wire.message_end()], ("get",)
    )
    assert items == [
        TurnStarted("claude-test", None, ("get",)),
        Usage(11, 1),
        TextDelta("Hel"),
        TextDelta("lo"),
        Usage(11, 7),
        MessageDone("Hello", ({"type": "text", "text": "Hello"},)),
        TurnDone(
            "end_turn",
            {"content": "Hello", "stop_reason": "end_turn", "tool_calls": []},
            None,
            {"message_id": "msg_1"},
        ),
    ]
    assert reader.done
    assert violations(items) == ()


def test_cache_tokens_are_counted(wire):
    start = wire.message_start(cache_read_input_tokens=300, cache_creation_input_tokens=40)
    items, _ = read([start, *wire.text_block(0, "x"), *wire.message_end()])
    assert last(items, Usage) == Usage(11, 7, 300, 40)


def test_totals_at_the_end_replace_those_of_the_start(wire):
    items, _ = read([wire.message_start(), *wire.message_end(input_tokens=50, output_tokens=9)])
    assert [item for item in items if isinstance(item, Usage)] == [Usage(11, 1), Usage(50, 9)]


def test_thinking_is_streamed_and_kept_with_its_signature(wire):
    thinking = wire.block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "Let me "},
        {"type": "thinking_delta", "thinking": "see"},
        {"type": "signature_delta", "signature": "sig"},
    )
    hidden = wire.block(1, {"type": "redacted_thinking", "data": "opaque"})
    items, _ = read([wire.message_start(), *thinking, *hidden, *wire.text_block(2, "4"), *wire.message_end()])
    assert [item.text for item in items if isinstance(item, ThinkingDelta)] == ["Let me ", "see"]
    message = last(items, MessageDone)
    assert message.content == "4"
    assert message.blocks == (
        {"type": "thinking", "thinking": "Let me see", "signature": "sig"},
        {"type": "redacted_thinking", "data": "opaque"},
        {"type": "text", "text": "4"},
    )


def test_a_tool_call_is_yielded_when_its_input_is_complete(wire):
    call = wire.block(1, tool_start(), *json_deltas("", '{"city": "O', 'slo"}'))
    items, _ = read(
        [wire.message_start(), *wire.text_block(0, "I look. "), *call, *wire.message_end("tool_use")]
    )
    assert last(items, ToolCallStarted) == ToolCallStarted("c1", "get", {"city": "Oslo"})
    done = last(items, TurnDone)
    assert done.stop_reason == "tool_use"
    assert done.output["tool_calls"] == [{"id": "c1", "name": "get", "input": {"city": "Oslo"}}]
    assert last(items, MessageDone).blocks[1] == tool_start(input={"city": "Oslo"})
    assert violations(items) == ()


def test_several_tool_calls_keep_their_order_and_their_inputs(wire):
    first = wire.block(0, tool_start("a"), *json_deltas('{"n": 1}'))
    second = wire.block(1, tool_start("b"), *json_deltas(""))
    third = wire.block(2, tool_start("c"), *json_deltas('{"n": 3}'))
    items, _ = read([wire.message_start(), *first, *second, *third, *wire.message_end("tool_use")])
    calls = [(item.id, item.input) for item in items if isinstance(item, ToolCallStarted)]
    assert calls == [("a", {"n": 1}), ("b", {}), ("c", {"n": 3})]
    assert [block["id"] for block in last(items, MessageDone).blocks] == ["a", "b", "c"]


def test_a_call_without_arguments_at_the_end_is_yielded(wire):
    items, _ = read([wire.message_start(), *wire.block(0, tool_start()), *wire.message_end("tool_use")])
    assert last(items, ToolCallStarted) == ToolCallStarted("c1", "get", {})
    assert violations(items) == ()


@pytest.mark.parametrize("parts", [(), ('{"city": "Os',)])
def test_a_call_that_was_cut_off_is_dropped_and_named(wire, parts):
    call = wire.block(1, tool_start(), *json_deltas(*parts))
    items, _ = read([wire.message_start(), *wire.text_block(0, "x"), *call, *wire.message_end("max_tokens")])
    assert not any(isinstance(item, ToolCallStarted) for item in items)
    done = last(items, TurnDone)
    assert (done.stop_reason, done.output["tool_calls"]) == ("max_tokens", [])
    assert done.metadata["unfinished_tool_calls"] == ["get"]
    assert [block["type"] for block in last(items, MessageDone).blocks] == ["text"]


@pytest.mark.parametrize("text", ['{"city": ', "[1]", "17"])
def test_input_that_is_no_object_breaks_the_turn(wire, text):
    call = wire.block(0, tool_start(), *json_deltas(text))
    with pytest.raises(AsmError, match="input of 'get'") as caught:
        read([wire.message_start(), *call, *wire.message_end("tool_use")])
    assert caught.value.code is ErrorCode.PROVIDER_ERROR


def test_tools_that_the_api_runs_itself_are_closed_calls(wire):
    search = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"url": "x"}]}
    events = [*wire.block(0, search, *json_deltas('{"query": "q"}')), *wire.block(1, found)]
    items, _ = read([wire.message_start(), *events, *wire.text_block(2, "so"), *wire.message_end()])
    assert last(items, ToolCallStarted) == ToolCallStarted("s1", "web_search", {"query": "q"})
    assert last(items, ToolCallEnded) == ToolCallEnded("s1", "web_search", [{"url": "x"}], False)
    assert violations(items) == ()


def test_a_failed_tool_of_the_api_is_an_error(wire):
    search = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}}
    failed = {"type": "web_search_tool_result", "tool_use_id": "s1"}
    failed["content"] = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    items, _ = read(
        [wire.message_start(), *wire.block(0, search), *wire.block(1, failed), *wire.message_end()]
    )
    assert last(items, ToolCallEnded).is_error


def test_citations_are_kept_with_their_text(wire):
    cited = wire.block(
        0,
        {"type": "text", "text": ""},
        {"type": "text_delta", "text": "x"},
        {"type": "citations_delta", "citation": {"url": "u"}},
    )
    items, _ = read([wire.message_start(), *cited, *wire.message_end()])
    assert last(items, MessageDone).blocks == ({"type": "text", "text": "x", "citations": [{"url": "u"}]},)


def test_a_refusal_keeps_what_the_api_says_of_it(wire):
    end = wire.message_end("refusal")
    end[0]["delta"]["stop_details"] = {"category": "x"}
    items, _ = read([wire.message_start(), *wire.text_block(0, "No"), *end])
    done = last(items, TurnDone)
    assert (done.stop_reason, done.metadata["stop_details"]) == ("refusal", {"category": "x"})


def test_text_at_the_start_of_a_block_is_not_lost(wire):
    items, _ = read(
        [wire.message_start(), *wire.block(0, {"type": "text", "text": "Hi"}), *wire.message_end()]
    )
    assert last(items, MessageDone).content == "Hi"
    assert last(items, TextDelta) == TextDelta("Hi")


def test_unknown_events_blocks_and_deltas_are_passed_over(wire):
    unknown = [
        {"type": "brand_new"},
        *wire.block(0, {"type": "new_block", "x": 1}, {"type": "new_delta"}),
        {"type": "ping"},
    ]
    items, _ = read([wire.message_start(), *unknown, *wire.text_block(1, "x"), *wire.message_end()])
    assert violations(items) == ()
    assert last(items, MessageDone).blocks[0] == {"type": "new_block", "x": 1}


def test_nothing_follows_the_end(wire):
    _, reader = read([wire.message_start(), *wire.message_end()])
    assert reader.feed(wire.message_start()) == ()


def test_everything_yielded_is_json_ready(wire):
    call = wire.block(1, tool_start(), *json_deltas('{"a": [1]}'))
    items, _ = read([wire.message_start(), *wire.text_block(0, "x"), *call, *wire.message_end("tool_use")])
    for item in items:
        json.dumps(item._asdict())


START = {"type": "message_start", "message": {"usage": {}}}


@pytest.mark.parametrize(
    "events",
    [
        [{"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}],
        [{"type": "message_stop"}],
        [START, START],
        [START, {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}}],
        [START, {"type": "content_block_stop", "index": 0}],
        [START, *[{"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}] * 2],
        [
            START,
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}},
            {"type": "message_stop"},
        ],
        [START, {"type": "content_block_start"}],
        [START, {"type": "message_delta", "delta": None}],
        [START, {"type": ["list"]}],
        [{"type": "message_start"}],
        [{"no": "type"}],
        ["text"],
        [None],
        [17],
    ],
)
def test_a_broken_protocol_is_a_provider_error_that_is_not_retryable(events):
    with pytest.raises(AsmError) as caught:
        read(events)
    error = caught.value
    assert (error.code, error.retryable) == (ErrorCode.PROVIDER_ERROR, False)
    assert error.provider_error["kind"] == "parse_error"


def test_an_answer_that_broke_off_is_retryable():
    error = truncated("why")
    assert (error.code, error.retryable) == (ErrorCode.PROVIDER_UNAVAILABLE, True)
    assert error.provider_error == said(ProviderErrorKind.CONNECTION_ERROR, "why")
