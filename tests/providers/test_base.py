from __future__ import annotations

import asyncio

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.base import (
    BaseProvider,
    Provider,
    TurnRequest,
    messages_from_input,
    prompt_from_input,
    text_of,
)
from asm_actors.providers.items import MessageDone, TextDelta, TurnDone, TurnStarted, Usage


async def drain(stream):
    return [item async for item in stream]


# messages_from_input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("hi", [("user", "hi")]),
        ({"prompt": "hi"}, [("user", "hi")]),
        ({"messages": [{"role": "user", "content": "hi"}]}, [("user", "hi")]),
        ({"messages": [{"content": "hi"}]}, [("user", "hi")]),
        (
            {"messages": [{"role": "ASSISTANT", "content": "yes"}, {"content": "hi"}]},
            [("assistant", "yes"), ("user", "hi")],
        ),
        ({"messages": ({"role": "System", "content": "be brief"},)}, [("system", "be brief")]),
        ({"messages": [{"content": ""}, {"content": "x"}, {"content": None}, {}]}, [("user", "x")]),
        (
            {"messages": [{"content": [{"type": "text", "text": "hi"}]}]},
            [("user", [{"type": "text", "text": "hi"}])],
        ),
        ({"messages": [{"content": "m"}], "prompt": "ignored"}, [("user", "m")]),
    ],
)
def test_inputs_become_messages(value, expected):
    assert [(message["role"], message["content"]) for message in messages_from_input(value)] == expected


def test_keys_of_tool_messages_are_kept_and_others_are_not():
    message = {
        "role": "tool",
        "tool_call_id": "c1",
        "tool_output": {"n": 1},
        "is_error": False,
        "colour": "red",
    }
    assert messages_from_input({"messages": [message]}) == (
        {"role": "tool", "content": "", "tool_call_id": "c1", "tool_output": {"n": 1}, "is_error": False},
    )


@pytest.mark.parametrize(
    "value",
    [
        None,
        17,
        ["hi"],
        {},
        {"mesages": []},
        {"prompt": 3},
        {"messages": "hi"},
        {"messages": {"role": "user"}},
        {"messages": ["hi"]},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": [{"role": 3, "content": "x"}]},
        {"messages": [{"content": 3}]},
        {"messages": [{"content": {"type": "text"}}]},
        {"messages": [{"content": [{"text": "no type"}]}]},
        {"messages": [{"content": ["text"]}]},
        "",
        {"prompt": ""},
        {"messages": []},
        {"messages": [{"content": ""}]},
    ],
)
def test_malformed_and_empty_inputs_are_refused(value):
    with pytest.raises(AsmError) as caught:
        messages_from_input(value)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


@pytest.mark.parametrize("value", [None, {}, {"command": "ls"}, 17, "", {"messages": []}])
def test_a_lenient_reading_finds_no_messages_in_other_shapes(value):
    assert messages_from_input(value, strict=False) == ()


def test_a_lenient_reading_still_refuses_a_malformed_message():
    with pytest.raises(AsmError, match=r"messages\[1\]\.role"):
        messages_from_input({"messages": [{"content": "x"}, {"role": "robot"}]}, strict=False)


def test_the_callers_input_is_copied():
    given = {"type": "text", "text": "hi"}
    messages = messages_from_input({"messages": [{"content": [given]}]})
    messages[0]["content"][0]["text"] = "changed"
    assert given["text"] == "hi"


# prompt_from_input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("hi", "hi"),
        ({"prompt": "hi"}, "hi"),
        ({"messages": [{"content": "a"}, {"role": "assistant", "content": "b"}, {"content": "c"}]}, "a\nc"),
        ({"messages": [{"content": [{"type": "text", "text": "a"}, {"type": "image"}]}]}, "a"),
    ],
)
def test_inputs_become_one_prompt(value, expected):
    assert prompt_from_input(value) == expected


@pytest.mark.parametrize("value", [{"messages": [{"role": "assistant", "content": "b"}]}, {}, None])
def test_an_input_in_which_the_user_says_nothing_is_no_prompt(value):
    with pytest.raises(AsmError) as caught:
        prompt_from_input(value)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


def test_text_of_joins_text_blocks():
    assert text_of([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]) == "ab"
    assert text_of("plain") == "plain"
    assert text_of(None) == ""


# BaseProvider -------------------------------------------------------------------------------------------------


class Echo(BaseProvider):
    name = "echo"

    async def reply(self, request):
        for word in prompt_from_input(request.input).split():
            yield word


class Nothing(BaseProvider):
    pass


REQUEST = TurnRequest("ses", "run", input="hello there")


def test_a_provider_of_text_needs_only_reply():
    assert asyncio.run(drain(Echo().stream(REQUEST))) == [
        TurnStarted(),
        TextDelta("hello"),
        TextDelta("there"),
        MessageDone("hellothere"),
        Usage(0, 0),
        TurnDone(),
    ]


def test_a_provider_that_overrides_nothing_says_so():
    with pytest.raises(AsmError, match="Nothing overrides neither") as caught:
        asyncio.run(drain(Nothing().stream(REQUEST)))
    assert caught.value.code is ErrorCode.CAPABILITY_NOT_SUPPORTED


def test_closing_the_stream_closes_the_reply():
    closed = []

    class Talker(BaseProvider):
        async def reply(self, request):
            try:
                while True:
                    yield "more "
            finally:
                closed.append(True)

    async def body():
        stream = Talker().stream(REQUEST)
        await anext(stream)
        await anext(stream)
        await stream.aclose()

    asyncio.run(body())
    assert closed == [True]


def test_the_base_is_a_provider_with_safe_defaults():
    provider = Nothing()
    assert isinstance(provider, Provider)
    assert not provider.resumable
    assert provider.timeout is None
    assert provider.check() is None
    manifest = provider.capabilities()
    assert (manifest.name, manifest.provider, manifest.version) == ("provider", "provider", "1")
    assert [capability.name for capability in manifest.capabilities] == ["streaming"]


def test_the_manifest_carries_the_name_the_system_gave():
    provider = Echo()
    provider.name = "other"
    assert provider.capabilities().name == "other"


def test_a_request_needs_only_its_ids():
    request = TurnRequest("ses", "run")
    assert (request.turn, request.attempt, request.messages, request.tools) == (1, 1, (), ())
    assert (request.options, request.context, request.system_prompt) == ({}, {}, None)
