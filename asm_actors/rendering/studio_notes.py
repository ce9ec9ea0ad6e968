"""What `StudioRenderer` says of events that are neither text, nor calls of tools, nor ends of runs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from asm_actors.events import Event
from asm_actors.rendering.wording import as_text, error_text, number, one_line

__all__ = ["Note", "note_of"]

Note = tuple[str, str, str]
"""Colour, symbol, text."""

# Told by other lines, or of no interest to whoever watches.
_SILENT: Final = frozenset(
    {
        "session_created",
        "session_started",
        "session_completed",
        "session_deleted",
        "turn_completed",
        "workspace_snapshot_taken",
    }
)


def note_of(event: Event) -> Note | None:
    """Return how an event is told, or None if it is not."""
    kind = event.type.value
    if kind in _SILENT:
        return None
    tell = _NOTES.get(kind)
    return ("dim", "?", kind) if tell is None else tell(event.data)


def _because(text: str, value: Any) -> str:
    reason = one_line(value)
    return f"{text}: {reason}" if reason else text


def _tool(data: Mapping[str, Any]) -> str:
    return one_line(data.get("tool_name")) or "tool"


def _asked(data: Mapping[str, Any]) -> Note:
    asked = as_text(data.get("tool_input"))
    text = f"Approval needed: {_tool(data)}" + (f" {one_line(asked)}" if asked not in ("", "{}") else "")
    return "yellow", "?", _because(text, data.get("reason") or data.get("violation_kind"))


def _decided(style: str, mark: str, word: str) -> Callable[[Mapping[str, Any]], Note]:
    def tell(data: Mapping[str, Any]) -> Note:
        by = one_line(data.get("by"))
        text = f"Approval {word}: {_tool(data)}" + (f" by {by}" if by else "")
        return style, mark, _because(text, data.get("reason"))

    return tell


def _stated(style: str, mark: str, text: str) -> Callable[[Mapping[str, Any]], Note]:
    return lambda data: (style, mark, _because(text, data.get("reason")))


def _violation(data: Mapping[str, Any]) -> Note:
    policy, kind = one_line(data.get("policy")), one_line(data.get("kind"))
    return "red", "✗", f"Policy {policy or 'default'} violated: {kind or 'unknown'}"


def _difference(data: Mapping[str, Any]) -> Note:
    files, more, less = (
        int(number(data.get(key)) or 0) for key in ("files_changed", "insertions", "deletions")
    )
    return "blue", "●", f"Changed {files} file{'' if files == 1 else 's'} (+{more} -{less})"


_NOTES: Final[Mapping[str, Callable[[Mapping[str, Any]], Note]]] = {
    "message_sent": lambda data: ("cyan", "»", one_line(data.get("content"))),
    "session_failed": lambda data: ("red", "✗", f"Session failed: {error_text(data)}"),
    "session_cancelled": _stated("red", "✗", "Session cancelled"),
    "session_paused": _stated("yellow", "●", "Session paused"),
    "session_resumed": _stated("blue", "●", "Session resumed"),
    "session_forked": lambda data: (
        "blue",
        "●",
        f"Forked from {one_line(data.get('parent_session_id')) or 'another session'}",
    ),
    "run_paused": _stated("yellow", "●", "Paused"),
    "run_resumed": _stated("blue", "●", "Resumed"),
    "run_recovered": _stated("yellow", "●", "Recovered after a crash"),
    "run_interrupted": _stated("yellow", "●", "Interrupted"),
    "error_recovered": _stated("green", "✓", "Recovered"),
    "policy_violation": _violation,
    "workspace_diff_computed": _difference,
    "tool_approval_requested": _asked,
    "tool_approval_granted": _decided("green", "✓", "granted"),
    "tool_approval_denied": _decided("red", "✗", "denied"),
    "transcript_compacted": _stated("dim", "●", "Transcript compacted"),
}
