"""Calls of tools in a few words."""

from __future__ import annotations

import pytest

from asm_actors.rendering.tool_summary import (
    ToolCall,
    duration_text,
    output_lines,
    preview_lines,
    running_text,
    shorten_path,
    size_text,
    summary_text,
)

RUNNING = [
    ("bash", {"command": "make test"}, "Running: make test"),
    ("Bash", {"command": "x" * 70}, "Running: " + "x" * 60 + "..."),
    ("bash", {}, "Running bash"),
    ("Read", {"file_path": "a.py"}, "Reading a.py"),
    ("Read", {"path": "b.py"}, "Reading b.py"),
    ("Write", {}, "Writing file"),
    ("Edit", {"file_path": "a.py"}, "Editing a.py"),
    ("Glob", {"pattern": "*.py"}, "Searching for *.py"),
    ("Glob", {}, "Searching for files"),
    ("Grep", {"pattern": "def", "path": "lib"}, 'Searching "def" in lib'),
    ("Grep", {}, 'Searching "pattern" in .'),
    ("Task", {"description": "look"}, "Running task: look"),
    ("WebFetch", {"url": "https://example.org/a?b"}, "Fetching example.org"),
    ("WebFetch", {"url": "http://[broken"}, "Fetching web resource"),
    ("WebSearch", {"query": "actors"}, 'Searching: "actors"'),
    ("my_tool", {"a": 1}, "Using my_tool"),
]


@pytest.mark.parametrize(("name", "given", "text"), RUNNING)
def test_what_goes_on(name, given, text):
    assert running_text(ToolCall(name, given)) == text


DONE = [
    (ToolCall("bash", {"command": "ls"}, "a\nb"), "Ran: ls (exit 0, 3 chars)"),
    (
        ToolCall("bash", {"command": "ls"}, {"output": "abc", "exit_code": 2}, exit_code=2),
        "Bash failed: ls (exit 2, 3 chars)",
    ),
    (ToolCall("bash", {}, None, is_failed=True), "Bash failed: bash (exit 1)"),
    (ToolCall("bash", {"command": "ls"}, "", duration_ms=3200), "Ran: ls (exit 0, 3.2s)"),
    (ToolCall("Read", {"file_path": "a.py"}, "1\n2\n3\n"), "Read a.py (3 lines)"),
    (ToolCall("Read", {"file_path": "a.py"}, "1"), "Read a.py (1 line)"),
    (ToolCall("Write", {"file_path": "a.py", "content": "1\n2"}, "ok"), "Wrote a.py (2 lines)"),
    (ToolCall("Edit", {"file_path": "a.py"}, "ok"), "Edited a.py"),
    (ToolCall("Glob", {"pattern": "*.py"}, "a.py\nb.py"), "Found 2 files matching *.py"),
    (ToolCall("Grep", {"pattern": "def"}, "a:1\nb:2"), 'Found 2 matches for "def"'),
    (ToolCall("Grep", {"pattern": "def"}, "a:1"), 'Found 1 match for "def"'),
    (ToolCall("Task", {"description": "look"}, "…", duration_ms=2500), "Task complete: look (2.5s)"),
    (ToolCall("WebFetch", {"url": "https://example.org/"}, "x" * 1500), "Fetched example.org (1.5k chars)"),
    (ToolCall("WebSearch", {"query": "q"}, "x"), 'Searched: "q" (1 chars)'),
    (ToolCall("my_tool", {}, {"a": 1}), "my_tool complete (8 chars)"),
    (ToolCall("my_tool", {}, None), "my_tool complete"),
    (
        ToolCall("Read", {"file_path": "a.py"}, is_failed=True, error="no such file"),
        "Read failed: no such file",
    ),
    (ToolCall("my_tool", {}, "bad\nthing", is_failed=True), "my_tool failed: bad thing"),
]


@pytest.mark.parametrize(("call", "text"), DONE)
def test_what_was_done(call, text):
    assert summary_text(call) == text


@pytest.mark.parametrize(
    ("characters", "text"),
    [
        (None, ""),
        (0, "0 chars"),
        (999, "999 chars"),
        (1000, "1.0k chars"),
        (9999, "9.9k chars"),
        (12_345, "12k chars"),
    ],
)
def test_sizes(characters, text):
    assert size_text(characters) == text


@pytest.mark.parametrize(("ms", "text"), [(None, ""), (2000, ""), (2001, "2.0s"), (61_240, "61.2s")])
def test_only_what_took_longer_than_two_seconds_says_how_long(ms, text):
    assert duration_text(ms) == text


def test_a_long_path_is_told_by_its_ends():
    long = "/home/somebody/projects/" + "deep/" * 10 + "file.py"
    assert shorten_path(long) == "/.../deep/file.py"
    assert shorten_path("short/path.py") == "short/path.py"
    assert shorten_path("x" * 80) == "x" * 80


def test_output_by_lines():
    call = ToolCall("f", {}, " a \n\nb\nc\n  \nd\n")
    assert output_lines(call) == [" a ", "b", "c", "  ", "d"]
    assert preview_lines(call, 3) == ["b", "c", "d"]
    assert preview_lines(ToolCall("f"), 3) == []
