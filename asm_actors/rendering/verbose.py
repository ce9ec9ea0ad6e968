"""`VerboseRenderer`: each event a line of its own, ``[what] name=value …``; text as it streams. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import evolve, frozen

from asm_actors.events import Event, EventType
from asm_actors.rendering.ansi import Paint
from asm_actors.rendering.wording import (
    PREVIEW,
    RESULT_PREVIEW,
    as_text,
    cost_of,
    error_text,
    number,
    pieces_of,
    shorten,
    tokens_of,
)

__all__ = ["VerboseRenderer", "VerboseState"]


@frozen
class VerboseState:
    """What a `VerboseRenderer` remembers.

    Attributes:
        events: How many there were.
        tools: How many calls of tools.
        stream: Kind and run of the text at whose end the cursor stands; None: it stands at a line's begin.
    """

    events: int = 0
    tools: int = 0
    stream: tuple[str, str | None] | None = None


@frozen
class VerboseRenderer:
    """See the module.

    Attributes:
        color: Whether to colour.
    """

    color: bool = True

    def init(self) -> VerboseState:
        """Nothing is written yet."""
        return VerboseState()

    def render_event(self, event: Event, state: VerboseState) -> tuple[str, VerboseState]:
        """See `Renderer`."""
        state = evolve(
            state,
            events=state.events + 1,
            tools=state.tools + (event.type is EventType.TOOL_CALL_STARTED),
        )
        paint = Paint(self.color)
        if event.type is EventType.MESSAGE_STREAMED:
            return _streamed(event, state, paint)
        tag, style = _TAGS.get(event.type, (event.type.value, "dim"))
        fields = " ".join(f"{name}={value}" for name, value in _fields(event))
        line = f"{paint(style, f'[{tag}]')} {fields}".rstrip()
        return ("\n" if state.stream else "") + line + "\n", evolve(state, stream=None)

    def finish(self, state: VerboseState) -> tuple[str, VerboseState]:
        """Counts, on a line of their own."""
        line = Paint(self.color)("dim", f"--- {state.events} events, {state.tools} tools ---")
        return ("\n" if state.stream else "") + line + "\n", evolve(state, stream=None)


def _streamed(event: Event, state: VerboseState, paint: Paint) -> tuple[str, VerboseState]:
    kind, text = pieces_of(event)
    if not text:
        return "", state
    stream = (kind, event.run_id)
    before = "\n" if state.stream not in (None, stream) else ""
    if kind == "thinking":
        if state.stream != stream:
            before += paint("dim", "[thinking]") + " "
        text = paint("dim", text)
    return before + text, evolve(state, stream=stream)


# What a line begins with, and its colour, where that is not the type's name in grey.
_TAGS: Final[Mapping[str, tuple[str, str]]] = {
    "session_failed": ("session_failed", "red"),
    "session_cancelled": ("session_cancelled", "red"),
    "run_started": ("run_started", "blue"),
    "run_completed": ("run_completed", "blue"),
    "run_failed": ("run_failed", "red"),
    "run_cancelled": ("run_cancelled", "red"),
    "run_timeout": ("run_timeout", "red"),
    "run_paused": ("run_paused", "yellow"),
    "run_resumed": ("run_resumed", "blue"),
    "run_recovered": ("run_recovered", "yellow"),
    "run_interrupted": ("run_interrupted", "yellow"),
    "message_sent": ("message_sent", "blue"),
    "message_received": ("message_received", "blue"),
    "tool_call_started": ("tool_call_started", "green"),
    "tool_call_completed": ("tool_call_completed", "green"),
    "tool_call_failed": ("tool_call_failed", "red"),
    "error_occurred": ("error", "red"),
    "error_recovered": ("error_recovered", "green"),
    "token_usage_updated": ("token_usage", "dim"),
    "policy_violation": ("policy_violation", "red"),
    "tool_approval_requested": ("tool_approval_requested", "yellow"),
    "tool_approval_granted": ("tool_approval_granted", "green"),
    "tool_approval_denied": ("tool_approval_denied", "red"),
}

# Label and key of what a line tells; types that are absent tell all of their payload.
_SHOWN: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "message_sent": (("role", "role"), ("content", "content")),
    "message_received": (("role", "role"), ("content", "content")),
    "tool_call_started": (("name", "tool_name"), ("id", "tool_call_id"), ("input", "tool_input")),
    "tool_call_completed": (("name", "tool_name"), ("output", "tool_output")),
    "turn_completed": (("turn", "turn"), ("stop_reason", "stop_reason")),
    "policy_violation": (
        ("policy", "policy"),
        ("kind", "kind"),
        ("action", "action"),
        ("details", "details"),
    ),
    "tool_approval_requested": (
        ("name", "tool_name"),
        ("id", "tool_call_id"),
        ("input", "tool_input"),
        ("policy", "policy_name"),
        ("kind", "violation_kind"),
        ("reason", "reason"),
    ),
    "workspace_diff_computed": (
        ("files", "files_changed"),
        ("insertions", "insertions"),
        ("deletions", "deletions"),
        ("patch", "has_patch"),
    ),
}
_LONG: Final = frozenset({"content", "output", "error_message"})
_FAILURES: Final = frozenset({"run_failed", "session_failed", "error_occurred"})


def _fields(event: Event) -> Iterable[tuple[str, str]]:
    kind, data = event.type.value, event.data
    if kind == "run_started":
        return _run_started(event)
    if kind == "run_completed":
        return _run_completed(data)
    if kind == "token_usage_updated":
        return _usage(data)
    if kind == "tool_call_failed":
        output = error_text(data, as_text(data.get("tool_output")) or "failed")
        return _written(
            (("name", data.get("tool_name")), ("id", data.get("tool_call_id")), ("error", output))
        )
    if kind in _FAILURES:
        return _written(
            (("error_code", data.get("error_code") or "unknown"), ("error_message", error_text(data)))
        )
    shown = _SHOWN.get(kind)
    if shown is None:
        return _written(data.items())
    return _written((label, data.get(key)) for label, key in shown)


def _written(fields: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, str]]:
    """The fields that say something, each on one line: line ends in values are escaped."""
    for name, value in fields:
        text = as_text(value)
        if text and value not in ({}, []):
            limit = RESULT_PREVIEW if name in _LONG else PREVIEW
            yield name, shorten(text, limit).replace("\n", "\\n")


def _run_started(event: Event) -> Iterable[tuple[str, str]]:
    data = event.data
    yield "model", as_text(data.get("model")) or "unknown"
    yield "session_id", as_text(event.session_id)
    yield from _written((("run_id", event.run_id), ("provider", data.get("provider") or event.provider)))


def _run_completed(data: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    yield "stop_reason", as_text(data.get("stop_reason")) or "end_turn"
    if isinstance(data.get("token_usage"), Mapping):
        tokens_in, tokens_out = tokens_of(data["token_usage"])
        yield "tokens", f"{tokens_in}/{tokens_out}"
    turns = number(data.get("num_turns"))
    if turns:
        yield "turns", str(turns)
    yield from _cost(data)


def _usage(data: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    tokens_in, tokens_out = tokens_of(data)
    yield "input", str(tokens_in)
    yield "output", str(tokens_out)
    for name, key in (("cache_read", "cache_read_tokens"), ("cache_creation", "cache_creation_tokens")):
        if number(data.get(key)):
            yield name, str(data[key])
    yield from _cost(data)


def _cost(data: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    cost = cost_of(data, 6)
    if cost is not None:
        yield "cost", cost
