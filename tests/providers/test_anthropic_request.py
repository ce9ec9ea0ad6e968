from __future__ import annotations

import json

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.anthropic_request import OPTIONS, api_messages, api_tool, build_body
from asm_actors.providers.base import TurnRequest


def request(*messages, **fields):
    return TurnRequest("ses", "run", messages=messages or ({"role": "user", "content": "hi"},), **fields)


def body(*messages, model="m", max_tokens=100, thinking=None, **fields):
    return build_body(request(*messages, **fields), model=model, max_tokens=max_tokens, thinking=thinking)


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def use(call, name="t", **arguments):
    return {"type": "tool_use", "id": call, "name": name, "input": arguments}


def result(call, content, **more):
    return {"type": "tool_result", "tool_use_id": call, "content": content, **more}


# The body -----------------------------------------------------------------------------------------------------


def test_the_smallest_body():
    assert body() == {"model": "m", "max_tokens": 100, "stream": True, "messages": [user("hi")]}


def test_without_messages_the_input_is_read():
    turn = TurnRequest("ses", "run", input={"prompt": "from the input"})
    assert build_body(turn, model="m", max_tokens=1)["messages"] == [user("from the input")]


def test_options_of_the_call_win_over_the_provider():
    options = {
        "model": "other",
        "max_tokens": 7,
        "temperature": 0.5,
        "stop_sequences": ("END",),
        "metadata": {"user_id": "u"},
        "tool_choice": "any",
        "system_prompt": "Be brief.",
    }
    found = body(options=options, system_prompt="Be long.")
    assert found == {
        "model": "other",
        "max_tokens": 7,
        "stream": True,
        "messages": [user("hi")],
        "temperature": 0.5,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u"},
        "tool_choice": {"type": "any"},
        "system": "Be brief.",
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("get_weather", {"type": "tool", "name": "get_weather"}),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"type": "auto", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_a_tool_choice_is_a_word_a_tool_or_a_map(given, expected):
    assert body(options={"tool_choice": given})["tool_choice"] == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("adaptive", {"type": "adaptive"}),
        (2048, {"type": "enabled", "budget_tokens": 2048}),
        ({"type": "enabled", "budget_tokens": 1}, {"type": "enabled", "budget_tokens": 1}),
    ],
)
def test_thinking_is_a_word_a_budget_or_a_map(given, expected):
    assert body(max_tokens=4096, thinking=given)["thinking"] == expected
    assert body(max_tokens=4096, options={"thinking": given})["thinking"] == expected


def test_a_call_may_switch_thinking_off():
    assert "thinking" not in body(max_tokens=4096, thinking="adaptive", options={"thinking": False})


@pytest.mark.parametrize("name", ["modell", "max_token", "Temperature", "tool", "stop_sequence"])
def test_an_unknown_option_is_refused_with_the_nearest_known_one(name):
    with pytest.raises(AsmError, match="did you mean '") as caught:
        body(options={name: 1})
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert caught.value.details == {"option": name}


def test_an_option_like_no_other_is_refused_with_all_of_them():
    with pytest.raises(AsmError) as caught:
        body(options={"zzz": 1})
    assert all(name in caught.value.message for name in OPTIONS)


@pytest.mark.parametrize(
    "options",
    [
        {"model": ""},
        {"model": 3},
        {"max_tokens": 0},
        {"max_tokens": True},
        {"max_tokens": "9"},
        {"temperature": 1.5},
        {"temperature": True},
        {"temperature": float("nan")},
        {"thinking": 10},
        {"thinking": 100},
        {"thinking": "much"},
        {"stop_sequences": "END"},
        {"stop_sequences": [1]},
        {"metadata": "u"},
        {"tool_choice": 1},
        {"tool_choice": ""},
        {"system_prompt": 5},
        {"tools": [{"description": "nameless"}]},
        {"tools": [3]},
    ],
)
def test_an_option_out_of_range_is_refused(options):
    with pytest.raises(AsmError) as caught:
        body(options=options)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


def test_a_turn_without_messages_of_the_user_is_refused():
    with pytest.raises(AsmError, match="at least one message") as caught:
        body({"role": "system", "content": "only me"})
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


# System prompt and tools --------------------------------------------------------------------------------------


def test_system_messages_join_the_system_prompt():
    found = body(
        {"role": "system", "content": "B"}, user("hi"), {"role": "system", "content": "C"}, system_prompt="A"
    )
    assert found["system"] == "A\n\nB\n\nC"
    assert found["messages"] == [user("hi")]


def test_a_system_prompt_may_be_blocks():
    cached = [{"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}]
    found = body({"role": "system", "content": "B"}, user("hi"), options={"system_prompt": cached})
    assert found["system"] == [*cached, {"type": "text", "text": "B"}]


class Tool:
    name = "add"
    description = "Adds"
    input_schema = {"type": "object", "properties": {"a": {"type": "integer"}}}


ADD = {"name": "add", "description": "Adds", "input_schema": Tool.input_schema}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Tool(), ADD),
        (ADD, ADD),
        (
            {"name": "add", "parameters": {"type": "object"}},
            {"name": "add", "input_schema": {"type": "object"}},
        ),
        ({"name": "add"}, {"name": "add", "input_schema": {"type": "object", "properties": {}}}),
        (
            {"type": "web_search_20250305", "name": "web_search"},
            {"type": "web_search_20250305", "name": "web_search"},
        ),
    ],
)
def test_tools_take_the_form_of_the_api(given, expected):
    assert api_tool(given) == expected


def test_tools_come_from_the_request_unless_the_call_names_its_own():
    assert [tool["name"] for tool in body(tools=(Tool(),))["tools"]] == ["add"]
    assert [tool["name"] for tool in body(tools=(Tool(),), options={"tools": [{"name": "x"}]})["tools"]] == [
        "x"
    ]
    assert "tools" not in body(tools=(Tool(),), options={"tools": []})


# Messages -----------------------------------------------------------------------------------------------------


def test_plain_messages_pass_as_they_are():
    messages = [user("a"), assistant("b"), user("c")]
    assert api_messages(messages) == messages


def test_neighbours_of_one_role_are_merged():
    assert api_messages([user("a"), user("b"), assistant("c"), assistant("d")]) == [
        user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
        assistant([{"type": "text", "text": "c"}, {"type": "text", "text": "d"}]),
    ]


def test_empty_texts_are_left_out():
    assert api_messages([user("a"), assistant(""), user([{"type": "text", "text": ""}])]) == [user("a")]


def test_a_conversation_that_begins_with_the_assistant_gets_a_user_first():
    [first, second] = api_messages([assistant("b")])
    assert first["role"] == "user"
    assert first["content"]
    assert second == assistant("b")


def test_blocks_of_an_earlier_turn_go_back_unchanged():
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "s"}, use("c1")]
    assert api_messages([user("a"), assistant(blocks), user([result("c1", "ok")])]) == [
        user("a"),
        assistant(blocks),
        user([result("c1", "ok")]),
    ]


def test_a_transcript_of_calls_takes_the_form_of_the_api():
    transcript = [
        user("weather?"),
        assistant("I look."),
        assistant("", tool_call_id="c1", tool_name="get", tool_input={"city": "Oslo"}),
        {
            "role": "tool",
            "tool_call_id": "c1",
            "tool_name": "get",
            "tool_output": {"degrees": 12},
            "content": "",
        },
        assistant("12 degrees."),
    ]
    assert api_messages(transcript) == [
        user("weather?"),
        assistant([{"type": "text", "text": "I look."}, use("c1", "get", city="Oslo")]),
        user([result("c1", '{"degrees": 12}')]),
        assistant("12 degrees."),
    ]


def test_results_of_parallel_calls_stand_together_in_the_order_of_the_calls():
    transcript = [
        user("go"),
        assistant("", tool_call_id="a", tool_name="t"),
        assistant("", tool_call_id="b", tool_name="t"),
        {"role": "tool", "tool_call_id": "b", "tool_output": "B"},
        {"role": "tool", "tool_call_id": "a", "tool_output": "A", "is_error": True},
        user("and?"),
    ]
    assert api_messages(transcript)[1:] == [
        assistant([use("a"), use("b")]),
        user([result("a", "A", is_error=True), result("b", "B"), {"type": "text", "text": "and?"}]),
    ]


def test_a_call_whose_result_was_lost_gets_one_that_says_so():
    found = api_messages([user("go"), assistant("", tool_call_id="a", tool_name="t"), user("still there?")])
    [lost, question] = found[2]["content"]
    assert (lost["tool_use_id"], lost["is_error"]) == ("a", True)
    assert "not known" in lost["content"]
    assert question == {"type": "text", "text": "still there?"}


def test_a_call_at_the_very_end_is_answered_too():
    found = api_messages([user("go"), assistant([use("a")])])
    assert found[-1]["role"] == "user"
    assert found[-1]["content"][0]["tool_use_id"] == "a"


def test_a_result_whose_call_was_cut_away_becomes_text():
    found = api_messages([{"role": "tool", "tool_call_id": "gone", "tool_output": "12"}, user("so?")])
    assert found == [
        user(
            [{"type": "text", "text": "[Result of an earlier tool call] 12"}, {"type": "text", "text": "so?"}]
        )
    ]


def test_a_result_may_hold_blocks():
    image = [{"type": "image", "source": {"type": "url", "url": "x"}}]
    found = api_messages(
        [user("go"), assistant([use("a")]), {"role": "tool", "tool_call_id": "a", "tool_output": image}]
    )
    assert found[-1] == user([result("a", image)])


def test_a_result_without_output_takes_its_content():
    found = api_messages(
        [user("go"), assistant([use("a")]), {"role": "tool", "tool_call_id": "a", "content": "text"}]
    )
    assert found[-1] == user([result("a", "text")])


def test_what_a_command_said_is_shown_as_the_users():
    assert api_messages([user("ls"), {"role": "tool", "content": "a.txt"}]) == [
        user([{"type": "text", "text": "ls"}, {"type": "text", "text": "a.txt"}])
    ]


def test_the_callers_messages_are_not_changed():
    messages = [user([{"type": "text", "text": "a"}]), user("b"), assistant([use("c")])]
    before = json.dumps(messages)
    api_messages(messages)
    assert json.dumps(messages) == before


def test_a_conversation_in_the_form_of_the_api_is_a_fixed_point():
    transcript = [
        assistant("early"),
        {"role": "tool", "tool_call_id": "gone", "tool_output": "x"},
        assistant("", tool_call_id="a", tool_name="t"),
        user("and?"),
    ]
    once = api_messages(transcript)
    assert api_messages(once) == once
