"""Sessions, runs and events as lines for people. Pure: it returns text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import click

from asm_actors.events import Event, EventType
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = ["details", "event_line", "printable", "run_line", "session_line", "stamp"]

_WIDTH: Final = 100
_COLORS: Final[Mapping[str, str]] = {
    "active": "cyan",
    "running": "cyan",
    "completed": "green",
    "failed": "red",
    "timeout": "red",
    "cancelled": "yellow",
}
# The part of each payload that tells most; others are shown whole.
_TELLING: Final[Mapping[EventType, tuple[str, ...]]] = {
    EventType.MESSAGE_SENT: ("role", "content"),
    EventType.MESSAGE_RECEIVED: ("content",),
    EventType.MESSAGE_STREAMED: ("content", "thinking"),
    EventType.SESSION_FORKED: ("parent_session_id", "at"),
    EventType.RUN_FAILED: ("error_code", "error_message"),
    EventType.RUN_CANCELLED: ("reason",),
    EventType.RUN_COMPLETED: ("stop_reason",),
    EventType.ERROR_OCCURRED: ("error_code", "error_message", "will_retry"),
}


def printable(text: str) -> str:
    """Take out what would command a terminal: a model's words are not to be trusted with it."""
    return "".join(char for char in text if char.isprintable() or char in "\n\t")


def stamp(when: datetime | None) -> str:
    """Show a time in UTC, to the millisecond."""
    return "-" if when is None else when.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"


def session_line(session: Session) -> str:
    """One session as a line of columns."""
    tags = f"  [{', '.join(session.tags)}]" if session.tags else ""
    return (
        f"{session.id}  {_status(session.status)}  {stamp(session.created_at)}"
        f"  {session.last_sequence:>6,} events  {printable(session.agent_id)}{printable(tags)}"
    )


def run_line(run: Run) -> str:
    """One run as a line of columns."""
    why = f"  {run.error.get('code')}" if run.error else ""
    tokens = sum(count for count in run.token_usage.values() if isinstance(count, int))
    return f"{run.id}  {_status(run.status)}  {stamp(run.created_at)}  {tokens:>7,} tokens{why}  {run.session_id}"


def event_line(event: Event, *, with_session: bool) -> str:
    """One event as a line: its place, when, what, whose, and what it tells."""
    place = event.position if with_session else event.sequence_number
    whose = event.run_id or ""
    if with_session:
        whose = f"{event.session_id} #{event.sequence_number}"
    kind = click.style(f"{event.type.value:<20}", fg="red" if "fail" in event.type else None, bold=True)
    return f"{place:>7}  {stamp(event.timestamp)}  {kind}  {click.style(whose, dim=True)}  {_told(event)}".rstrip()


def details(value: Mapping[str, Any]) -> str:
    """A record as `name: value` lines; what is empty is left out."""
    shown = {name: field for name, field in value.items() if field not in (None, {}, [], "")}
    width = max((len(name) for name in shown), default=0)
    return "\n".join(f"{name:>{width}}  {_plain(field)}" for name, field in shown.items())


def _status(status: str) -> str:
    return click.style(f"{status:<9}", fg=_COLORS.get(status))


def _told(event: Event) -> str:
    keys = _TELLING.get(event.type)
    if keys is None:
        return _short(_plain(event.data)) if event.data else ""
    found = [_plain(event.data[key], quote=True) for key in keys if event.data.get(key) not in (None, "")]
    return _short(" ".join(found))


def _plain(value: Any, *, quote: bool = False) -> str:
    if isinstance(value, str) and not quote:
        return printable(value)
    return printable(json.dumps(value, ensure_ascii=False))


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
