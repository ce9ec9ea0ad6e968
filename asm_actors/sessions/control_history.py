"""What was done to a run from outside, read from its own events. Pure.

There is no second record: each operation that had an effect is an event, which says when, who and why. What was refused
changed nothing, and is not recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from asm_actors.events import Event, EventType
from asm_actors.runs.calls import STEERED
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.open_runs import PAUSE

__all__ = ["CONTROL_EVENTS", "operations_of", "state_of", "status_of"]

_OPERATIONS: Final[Mapping[EventType, str]] = {
    EventType.MESSAGE_SENT: "steer",
    EventType.RUN_PAUSED: "pause",
    EventType.RUN_RESUMED: "resume",
    EventType.RUN_CANCELLED: "cancel",
    EventType.TOOL_APPROVAL_GRANTED: "grant_approval",
    EventType.TOOL_APPROVAL_DENIED: "deny_approval",
}
CONTROL_EVENTS: Final = frozenset(_OPERATIONS)
"""The types of the events that tell of operations; of `message_sent` only those of input into a turn."""

_FACTS: Final = ("by", "reason", "note", "scope", "waits_for", "tool_call_id")


def operations_of(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Return the operations that events of one run tell of, in order.

    Args:
        events: The run's, of the types in `CONTROL_EVENTS` at least, in order.

    Returns:
        Maps, JSON-ready: ``operation`` (``pause resume cancel interrupt steer grant_approval deny_approval``),
        ``timestamp`` (ISO-8601, UTC), ``result`` (``ok``), ``by`` and ``reason`` (None if nobody said),
        ``sequence_number``, ``event_id``, and as far as they apply ``note scope waits_for tool_call_id``.
    """
    return [_operation(event) for event in events if _is_operation(event)]


def _is_operation(event: Event) -> bool:
    if event.type is EventType.MESSAGE_SENT:
        return STEERED in event.data
    return event.type in CONTROL_EVENTS


def _operation(event: Event) -> dict[str, Any]:
    data = event.data
    facts = {key: data[key] for key in _FACTS if data.get(key) is not None}
    return {
        "operation": data.get("operation") or _OPERATIONS[event.type],
        "timestamp": event.to_map()["timestamp"],
        "result": "ok",
        "by": None,
        "reason": None,
        "sequence_number": event.sequence_number,
        "event_id": event.id,
        **facts,
    }


def state_of(run: Run, history: list[dict[str, Any]]) -> str:
    """What a run's control has come to: its status, or ``interrupted``, or ``pausing`` while a pause is wished."""
    if run.status is RunStatus.CANCELLED and history and history[-1]["operation"] == "interrupt":
        return "interrupted"
    if PAUSE in run.details and run.status in (RunStatus.RUNNING, RunStatus.AWAITING_APPROVAL):
        return "pausing"
    return run.status.value


def status_of(run: Run, events: Iterable[Event]) -> dict[str, Any]:
    """Return ``last_operation`` (None if there was none), ``state`` and ``history`` of a run."""
    history = operations_of(events)
    last = history[-1]["operation"] if history else None
    return {"last_operation": last, "state": state_of(run, history), "history": history}
