"""What providers keep to of what a request wishes: tools, tokens, the shape of the answer."""

from __future__ import annotations

import asyncio
import json

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.json_schema import compile_schema
from asm_actors.policies.hints import compile_hints, honoured_hints, with_hints
from asm_actors.policies.policy import Policy
from asm_actors.providers.anthropic import AnthropicProvider
from asm_actors.providers.anthropic_request import build_body
from asm_actors.providers.base import BaseProvider, TurnRequest
from asm_actors.providers.items import MessageDone, TextDelta, ToolCallStarted, TurnDone, Usage
from asm_actors.providers.script import Script, fail, stall, text, tool_call, tool_result
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.providers.scripted_wishes import restrained, sample_of
from asm_actors.routing.merging import merged_manifest
from asm_actors.testing.provider_contract import violations

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "minLength": 3}, "level": {"type": "integer", "minimum": 4}},
    "required": ["city", "level"],
    "additionalProperties": False,
}
TOOLS = ({"name": "read"}, {"name": "write"}, {"type": "web_search_20250305", "name": "web_search"})


def request(**options):
    return TurnRequest(
        "ses", "run", messages=({"role": "user", "content": "x"},), tools=TOOLS, options=options
    )


def body(asked, **options):
    return build_body(asked, model="m", max_tokens=100, **options)


def played(provider, asked):
    async def play():
        return [item async for item in provider.stream(asked)]

    return asyncio.run(play())


# --- Anthropic ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, ["read", "write", "web_search"]),
        ({"allowed_tools": ["write", "unknown"]}, ["write"]),
        ({"denied_tools": ["write", "web_search"]}, ["read"]),
        ({"allowed_tools": ["read", "write"], "denied_tools": ["read"]}, ["write"]),
        ({"allowed_tools": []}, None),
        ({"denied_tools": []}, ["read", "write", "web_search"]),
    ],
)
def test_the_api_is_told_of_no_tool_that_is_not_allowed(options, left):
    made = body(request(**options))
    assert [tool["name"] for tool in made["tools"]] == left if left else "tools" not in made
    assert not {"allowed_tools", "denied_tools"} & set(made)


@pytest.mark.parametrize(
    ("options", "choice"),
    [
        ({"tool_choice": "read"}, {"type": "tool", "name": "read"}),
        ({"tool_choice": "read", "denied_tools": ["read"]}, None),
        ({"tool_choice": "write", "denied_tools": ["read"]}, {"type": "tool", "name": "write"}),
        ({"tool_choice": "any", "denied_tools": ["read"]}, {"type": "any"}),
        ({"tool_choice": "any", "allowed_tools": []}, None),
    ],
)
def test_a_choice_of_a_tool_that_is_left_out_is_left_out(options, choice):
    assert body(request(**options)).get("tool_choice") == choice


def test_a_malformed_list_of_tools_is_refused():
    with pytest.raises(AsmError, match="allowed_tools"):
        body(request(allowed_tools="read"))


@pytest.mark.parametrize(
    ("given", "limit", "sent"),
    [(None, 50, 50), (None, 1_000_000, 4096), (9000, 8000, 8000), (9000, 100_000, 9000)],
)
def test_a_bound_on_the_run_tightens_the_bound_on_an_answer_and_never_loosens_it(given, limit, sent):
    provider = AnthropicProvider(api_key="x")
    manifest = provider.capabilities()
    hints, unknown = honoured_hints(
        compile_hints(Policy(limits={"max_total_tokens": limit, "max_turns": 3})), manifest
    )
    options = with_hints({} if given is None else {"max_tokens": given}, hints, manifest.config)
    assert build_body(request(**options), model="m", max_tokens=4096)["max_tokens"] == sent
    assert unknown == ("max_turns",)


def test_an_answers_shape_is_told_in_words_or_by_the_apis_own_means():
    asked = request()._replace(output_schema=SCHEMA, system_prompt="Be brief.")
    told = body(asked)
    assert told["system"].startswith("Be brief.\n\nAnswer with one JSON value")
    assert json.loads(told["system"].partition("fence.")[2]) == SCHEMA
    assert "output_config" not in told
    meant = body(asked, output_format={"type": "json_schema", "schema": SCHEMA})
    assert meant["system"] == "Be brief."
    assert meant["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert body(asked._replace(system_prompt=None))["system"].startswith("Answer with")
    blocks = body(asked._replace(system_prompt=[{"type": "text", "text": "a"}]))["system"]
    assert [block["text"][:6] for block in blocks] == ["a", "Answer"]


@pytest.mark.parametrize(
    ("schema", "options", "is_told"),
    [
        (SCHEMA, {}, True),
        (SCHEMA, {"structured_output": False}, False),
        ({"properties": {}}, {}, False),  # of no type: the API takes none such
        (None, {}, False),
    ],
)
def test_the_api_is_told_the_part_of_the_schema_that_it_knows(schema, options, is_told):
    found = AnthropicProvider(api_key="x", **options)._output_format(schema)
    assert (found is not None) is is_told
    if found is not None:
        assert found["type"] == "json_schema"
        assert found["schema"]["required"] == ["city", "level"]
        assert "minimum" not in found["schema"]["properties"]["level"]


# --- Manifests ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "honours"),
    [
        (BaseProvider(), None),
        (ScriptedProvider(), None),
        (ScriptedProvider(honours=["max_tokens"]), ["max_tokens"]),
        (AnthropicProvider(api_key="x"), ["allowed_tools", "denied_tools", "max_tokens"]),
    ],
)
def test_a_manifest_says_which_hints_are_kept_to(provider, honours):
    assert provider.capabilities().config.get("honours") == honours


# --- Scripts -----------------------------------------------------------------------------------------------------

CALLING = Script(
    text("Let me see. "),
    tool_call("c1", "read"),
    tool_result("c1", "read", 1),
    tool_call("c2", "write"),
)


def test_by_default_a_script_is_played_whatever_is_wished():
    items = played(ScriptedProvider(CALLING), request(denied_tools=["write"], max_tokens=1))
    assert [item.name for item in items if isinstance(item, ToolCallStarted)] == ["read", "write"]


@pytest.mark.parametrize(
    ("options", "called", "reason"),
    [
        ({"denied_tools": ["write"]}, ["read"], "end_turn"),
        ({"denied_tools": ["read"]}, ["write"], "tool_use"),
        ({"allowed_tools": []}, [], "end_turn"),
        ({"allowed_tools": ["read", "write"]}, ["read", "write"], "tool_use"),
    ],
)
def test_a_script_can_be_made_to_call_only_what_is_allowed(options, called, reason):
    provider = ScriptedProvider(CALLING, honours=["allowed_tools", "denied_tools"])
    items = played(provider, request(**options))
    assert [item.name for item in items if isinstance(item, ToolCallStarted)] == called
    assert items[-1].stop_reason == reason
    assert violations(items) == ()


def test_a_script_can_be_made_to_say_no_more_than_so_many_tokens():
    provider = ScriptedProvider(Script(text("abcdefghij" * 5, size=7)), honours=["max_tokens"])
    items = played(provider, request(max_tokens=3))
    assert "".join(item.text for item in items if isinstance(item, TextDelta)) == "abcdefghijab"
    assert [item.output_tokens for item in items if isinstance(item, Usage)] == [3]
    assert items[-1] == TurnDone("max_tokens")
    assert violations(items) == ()


@pytest.mark.parametrize(
    "script", [Script(text("x"), stall()), Script(fail("provider_error")), Script(text("short"))]
)
def test_a_script_that_keeps_to_all_of_it_is_played_as_it_is(script):
    assert (
        restrained(script, {"max_tokens": 100, "denied_tools": ["read"]}, ["max_tokens", "denied_tools"])
        is script
    )


def test_a_script_honours_no_hint_that_it_does_not_know():
    with pytest.raises(AsmError) as caught:
        ScriptedProvider(honours=["max_turns"])
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


def test_without_a_script_the_answer_fits_the_schema():
    items = played(ScriptedProvider(), request()._replace(output_schema=SCHEMA))
    (message,) = [item for item in items if isinstance(item, MessageDone)]
    assert json.loads(message.content) == {"city": "text", "level": 4}
    assert violations(items) == ()


@pytest.mark.parametrize(
    "schema",
    [
        SCHEMA,
        {"type": "array", "items": SCHEMA, "minItems": 2},
        {"type": "array", "prefixItems": [{"type": "null"}, {"type": "boolean"}], "minItems": 2},
        {"enum": ["a", "b"]},
        {"const": 7},
        {"anyOf": [{"type": "number", "minimum": 2.5}, {"type": "null"}]},
        {"type": ["string", "null"], "format": "date-time"},
        {"type": "integer", "exclusiveMinimum": 9},
        {"type": "integer", "maximum": -3},
        {
            "$ref": "#/$defs/a",
            "$defs": {"a": {"type": "object", "required": ["b"], "properties": {"b": {"const": 1}}}},
        },
        {},
    ],
    ids=str,
)
def test_a_sample_fits_its_schema(schema):
    assert compile_schema(schema).faults(sample_of(schema)) == []


@pytest.mark.parametrize(
    ("targets", "honours"),
    [
        ([], None),
        ([("allowed_tools", "denied_tools", "max_tokens")], ["allowed_tools", "denied_tools"]),
        ([("allowed_tools", "denied_tools"), ("denied_tools",)], ["denied_tools"]),
        ([("allowed_tools",), ()], None),
    ],
)
def test_a_router_keeps_to_what_all_its_targets_keep_to(targets, honours):
    manifests = {
        f"t{n}": ScriptedProvider(honours=given, name=f"t{n}").capabilities()
        for n, given in enumerate(targets)
    }
    assert merged_manifest("router", manifests).config.get("honours") == honours
