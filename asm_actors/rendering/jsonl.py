"""Events as short maps, for logs that are read by machines and cost little. Pure.

``{"t": milliseconds since the epoch, "e": {"t": code, …}}`` with one of these codes; other types keep their names:

====  ====================  =========================================
rs    run_started           m model
ms    message_streamed      l length of the piece, in bytes
ts    tool_call_started     n name
tc    tool_call_completed   n name, l length of the output, in bytes
tu    token_usage_updated   i tokens in, o tokens out, $ cost
mr    message_received
rc    run_completed         sr stop reason
rf    run_failed            x error
rx    run_cancelled
er    error_occurred        x error
====  ====================  =========================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from asm_actors.events import Event, EventType
from asm_actors.rendering.wording import as_text, error_text, number, one_line, short_model, short_reason

__all__ = ["CODES", "compact_entry"]

CODES: Final[Mapping[EventType, str]] = {
    EventType.RUN_STARTED: "rs",
    EventType.MESSAGE_STREAMED: "ms",
    EventType.TOOL_CALL_STARTED: "ts",
    EventType.TOOL_CALL_COMPLETED: "tc",
    EventType.TOKEN_USAGE_UPDATED: "tu",
    EventType.MESSAGE_RECEIVED: "mr",
    EventType.RUN_COMPLETED: "rc",
    EventType.RUN_FAILED: "rf",
    EventType.RUN_CANCELLED: "rx",
    EventType.ERROR_OCCURRED: "er",
}
"""The short names of types."""


def compact_entry(event: Event) -> dict[str, Any]:
    """Return an event as a short map; see the module."""
    made: dict[str, Any] = {"t": CODES.get(event.type, event.type.value)}
    fields = _FIELDS.get(event.type)
    if fields is not None:
        made |= {key: value for key, value in fields(event.data).items() if value not in (None, "")}
    return {"t": event.timestamp_us // 1000, "e": made}


def _length(value: Any) -> int | None:
    return None if value is None else len(as_text(value).encode("utf-8", "replace"))


def _error(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"x": one_line(error_text(data))}


_FIELDS: Final[Mapping[EventType, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    EventType.RUN_STARTED: lambda data: {"m": short_model(data.get("model"))},
    EventType.MESSAGE_STREAMED: lambda data: {"l": _length(data.get("delta") or data.get("content") or "")},
    EventType.TOOL_CALL_STARTED: lambda data: {"n": as_text(data.get("tool_name"))},
    EventType.TOOL_CALL_COMPLETED: lambda data: {
        "n": as_text(data.get("tool_name")),
        "l": _length(data.get("tool_output")),
    },
    EventType.TOKEN_USAGE_UPDATED: lambda data: {
        "i": number(data.get("input_tokens")),
        "o": number(data.get("output_tokens")),
        "$": number(data.get("cost_usd")),
    },
    EventType.RUN_COMPLETED: lambda data: {"sr": short_reason(data.get("stop_reason"))},
    EventType.RUN_FAILED: _error,
    EventType.ERROR_OCCURRED: _error,
}
