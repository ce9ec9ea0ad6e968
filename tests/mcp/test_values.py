"""Names, answers and configurations of servers."""

from __future__ import annotations

import pytest

import asm_actors as asm
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.tools.mcp_server import servers_by_name
from asm_actors.tools.mcp_values import ServerAnswer, answer_of, tool_names


def test_names_are_legal_unique_and_say_whose_they_are():
    given = ["read", "a.b/c d", "a_b_c_d", "ü", "", "x" * 80]
    made = tool_names("files", given)
    assert made["read"] == "files__read"
    assert made["a.b/c d"] == "files__a_b_c_d"
    assert made["a_b_c_d"].startswith("files__a_b_c_d_")
    assert len(set(made.values())) == len(given)
    for name in made.values():
        asm.Tool(name=name, description="", input_schema={}, function=print)


def test_names_do_not_depend_on_what_comes_later():
    assert tool_names("s", ["x" * 80])["x" * 80] == tool_names("s", ["x" * 80, "y"])["x" * 80]


TEXT = {"type": "text", "text": "a"}
IMAGE = {"type": "image", "mimeType": "image/png", "data": "AAAA"}
SHOWN = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}


@pytest.mark.parametrize(
    ("blocks", "structured", "is_error", "answer"),
    [
        ([TEXT], None, False, ServerAnswer("a", False)),
        ([TEXT, TEXT], None, False, ServerAnswer("a\na", False)),
        ([], None, False, ServerAnswer("", False)),
        ([TEXT], {"x": 1}, False, ServerAnswer({"x": 1}, False)),
        ([], [1], False, ServerAnswer([1], False)),
        ([TEXT, IMAGE], {"x": 1}, False, ServerAnswer([TEXT, SHOWN], False)),
        ([TEXT], {"x": 1}, True, ServerAnswer("a", True)),
        ([], None, True, ServerAnswer("the tool failed and said nothing", True)),
        (
            [{"type": "resource", "resource": {"uri": "file:///a", "text": "inside"}}],
            None,
            False,
            ServerAnswer("inside", False),
        ),
        (
            [{"type": "resource", "resource": {"uri": "file:///a", "blob": "AA"}}],
            None,
            False,
            ServerAnswer("[file:///a]", False),
        ),
        (
            [
                {"type": "resource_link", "name": "a", "uri": "file:///a"},
                {"type": "audio", "mimeType": "audio/wav"},
            ],
            None,
            False,
            ServerAnswer("a: file:///a\n[audio: audio/wav]", False),
        ),
    ],
)
def test_an_answer_is_what_a_model_can_read(blocks, structured, is_error, answer):
    assert answer_of(blocks, structured, is_error=is_error) == answer


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"command": "x", "url": "http://x"},
        {"command": ""},
        {"command": "a\0b"},
        {"command": 3},
        {"command": "x", "args": "abc"},
        {"command": "x", "args": [3]},
        {"command": "x", "env": {"a": 1}},
        {"command": "x", "env": ["a"]},
        {"command": "x", "headers": {"a": "b"}},
        {"command": "x", "timeout": 0},
        {"command": "x", "start_timeout": None},
        {"command": "x", "tools": "read"},
        {"command": "x", "requires_approval": 1},
        {"url": "ftp://x"},
        {"url": "http://x", "args": ["a"]},
        {"url": "http://x", "env": {"a": "b"}},
    ],
    ids=repr,
)
def test_a_malformed_server_is_refused(fields):
    with pytest.raises(AsmError) as caught:
        asm.McpServer(**fields)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


@pytest.mark.parametrize(
    "given",
    [
        3,
        ["a"],
        {"": asm.McpServer(command="x")},
        {"a b": asm.McpServer(command="x")},
        {"a" * 33: asm.McpServer(command="x")},
        {3: asm.McpServer(command="x")},
        {"a": "x"},
        {"a": {"command": "x", "color": "red"}},
    ],
    ids=repr,
)
def test_what_is_no_map_of_servers_is_refused(given):
    with pytest.raises(AsmError) as caught:
        servers_by_name(given)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


def test_servers_may_be_written_as_maps():
    assert servers_by_name({"a": {"command": "x", "args": ["y"]}}) == {
        "a": asm.McpServer(command="x", args=["y"])
    }
    assert servers_by_name(None) == {}


def test_secrets_of_a_server_are_known_and_not_shown():
    server = asm.McpServer(command="x", env={"API_TOKEN": "hush-hush", "LANG": "C"})
    other = asm.McpServer(url="https://x", headers={"Authorization": "Bearer hush"})
    assert (server.secrets(), other.secrets()) == (("hush-hush",), ("Bearer hush",))
    assert "hush" not in f"{server!r}{other!r}"
