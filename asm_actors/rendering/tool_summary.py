"""Calls of tools in a few words: while they run, and when they have ended. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import Factory, frozen

from asm_actors.rendering.wording import as_text, number, one_line

__all__ = [
    "SLOW_MS",
    "ToolCall",
    "duration_text",
    "exit_code_of",
    "output_lines",
    "preview_lines",
    "running_text",
    "shorten_path",
    "size_text",
    "summary_text",
]

SLOW_MS: Final = 2000
"""Only what took longer is worth telling how long it took."""
_COMMAND: Final = 60
_PATH: Final = 60


@frozen
class ToolCall:
    """A call of a tool, as far as it is known.

    Attributes:
        name: The tool.
        input: Its arguments.
        output: What it gave: text, or any JSON value; of a command perhaps a map with ``output`` and ``exit_code``.
        exit_code: Of a command.
        duration_ms: How long it took.
        is_failed: Whether it failed.
        error: Why, if that is known apart from the output.
    """

    name: str
    input: Mapping[str, Any] = Factory(dict)
    output: Any = None
    exit_code: int | None = None
    duration_ms: float | None = None
    is_failed: bool = False
    error: str = ""

    @property
    def text(self) -> str:
        """The output as text."""
        if isinstance(self.output, Mapping) and isinstance(self.output.get("output"), str):
            return as_text(self.output["output"])
        return as_text(self.output)

    @property
    def has_failed(self) -> bool:
        """Whether it failed, or its command ended with another code than 0."""
        return self.is_failed or bool(self.exit_code)


def running_text(call: ToolCall) -> str:
    """What goes on: ``Reading lib/a.py``, ``Running: make test``."""
    return _RUNNING.get(_key(call.name), _using)(call)


def summary_text(call: ToolCall) -> str:
    """What was done: ``Read lib/a.py (72 lines)``, ``Ran: make test (exit 0, 156 chars, 3.2s)``."""
    key = _key(call.name)
    if call.has_failed and key != "bash":
        why = one_line(call.error or call.text)
        return f"{_name(call)} failed" + (f": {why}" if why else "")
    return _DONE.get(key, _complete)(call)


def output_lines(call: ToolCall) -> list[str]:
    """The output's lines, without empty ones."""
    return [line for line in call.text.split("\n") if line]


def preview_lines(call: ToolCall, count: int) -> list[str]:
    """The last lines of the output that are not empty, without the blanks around them."""
    return [line.strip() for line in call.text.split("\n") if line.strip()][-count:]


def size_text(characters: int | None) -> str:
    """A length: ``156 chars``, ``1.5k chars``, ``12k chars``; nothing of nothing."""
    if characters is None:
        return ""
    if characters < 1000:
        return f"{characters} chars"
    if characters < 10_000:
        # Cut, not rounded: 9,999 characters are no 10.0k.
        return f"{characters // 100 / 10}k chars"
    return f"{characters // 1000}k chars"


def duration_text(milliseconds: float | None) -> str:
    """How long something took, if that is above `SLOW_MS`: ``3.2s``."""
    return f"{milliseconds / 1000:.1f}s" if milliseconds is not None and milliseconds > SLOW_MS else ""


def shorten_path(path: str) -> str:
    """A long path by its first and its last two parts."""
    parts = PurePosixPath(path).parts
    if len(path) <= _PATH or len(parts) < 4:
        return path
    return str(PurePosixPath(parts[0], "...", *parts[-2:]))


def _key(name: str) -> str:
    return "bash" if name == "Bash" else name


def _given(call: ToolCall, *keys: str) -> str:
    return next((text for key in keys if (text := one_line(call.input.get(key), _COMMAND))), "")


def _path(call: ToolCall) -> str:
    path = as_text(call.input.get("file_path")) or as_text(call.input.get("path")) or "file"
    return shorten_path(path.replace("\n", " "))


def _name(call: ToolCall) -> str:
    return one_line(call.name, _COMMAND) or "tool"


def _lines(text: str) -> int:
    return sum(1 for line in text.split("\n") if line)


def _counted(count: int, what: str, plural: str | None = None) -> str:
    return f"{count} {what if count == 1 else plural or what + 's'}"


def _noted(*notes: str) -> str:
    told = ", ".join(note for note in notes if note)
    return f" ({told})" if told else ""


def _size(call: ToolCall) -> str:
    return size_text(len(call.text) or None)


def _host(call: ToolCall) -> str:
    try:
        host = urlsplit(as_text(call.input.get("url"))).hostname
    except ValueError:
        host = None
    return host or "web resource"


def _using(call: ToolCall) -> str:
    return f"Using {_name(call)}"


def _complete(call: ToolCall) -> str:
    return f"{_name(call)} complete" + _noted(_size(call), duration_text(call.duration_ms))


def _running_bash(call: ToolCall) -> str:
    command = _given(call, "command")
    return f"Running: {command}" if command else "Running bash"


def _done_bash(call: ToolCall) -> str:
    code = call.exit_code
    if code is None:
        code = 1 if call.is_failed else 0
    begin = "Bash failed" if call.has_failed else "Ran"
    notes = _noted(f"exit {code}", _size(call), duration_text(call.duration_ms))
    return f"{begin}: {_given(call, 'command') or 'bash'}{notes}"


_Words = Callable[[ToolCall], str]

_RUNNING: Final[Mapping[str, _Words]] = {
    "bash": _running_bash,
    "Read": lambda call: f"Reading {_path(call)}",
    "Write": lambda call: f"Writing {_path(call)}",
    "Edit": lambda call: f"Editing {_path(call)}",
    "Glob": lambda call: f"Searching for {_given(call, 'pattern') or 'files'}",
    "Grep": lambda call: (
        f'Searching "{_given(call, "pattern") or "pattern"}" in {_given(call, "path") or "."}'
    ),
    "Task": lambda call: f"Running task: {_given(call, 'description') or 'task'}",
    "WebFetch": lambda call: f"Fetching {_host(call)}",
    "WebSearch": lambda call: f'Searching: "{_given(call, "query")}"',
}
_DONE: Final[Mapping[str, _Words]] = {
    "bash": _done_bash,
    "Read": lambda call: f"Read {_path(call)} ({_counted(_lines(call.text), 'line')})",
    "Write": lambda call: (
        f"Wrote {_path(call)} ({_counted(_lines(as_text(call.input.get('content'))), 'line')})"
    ),
    "Edit": lambda call: f"Edited {_path(call)}",
    "Glob": lambda call: (
        f"Found {_counted(_lines(call.text), 'file')} matching {_given(call, 'pattern') or '*'}"
    ),
    "Grep": lambda call: (
        f'Found {_counted(_lines(call.text), "match", "matches")} for "{_given(call, "pattern") or "pattern"}"'
    ),
    "Task": lambda call: (
        f"Task complete: {_given(call, 'description') or 'task'}{_noted(duration_text(call.duration_ms))}"
    ),
    "WebFetch": lambda call: f"Fetched {_host(call)}{_noted(_size(call), duration_text(call.duration_ms))}",
    "WebSearch": lambda call: (
        f'Searched: "{_given(call, "query")}"{_noted(_size(call), duration_text(call.duration_ms))}'
    ),
}


def exit_code_of(data: Mapping[str, Any]) -> int | None:
    """The exit code that a payload tells, in itself or in the tool's output."""
    code = number(data.get("exit_code"))
    output = data.get("tool_output")
    if code is None and isinstance(output, Mapping):
        code = number(output.get("exit_code"))
    return None if code is None else int(code)
