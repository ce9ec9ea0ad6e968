"""Spans and metrics as values. Pure.

A span is told when it begins and again when it ends; both times it has the same ids, which follow from the names of
what it is about. So whoever is told the same span twice can see that, and whoever was not there at the begin can make
it from what the end says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from attrs import Factory, frozen

from asm_actors.telemetry import semconv as names

__all__ = ["Metric", "MetricKind", "Span", "SpanError", "SpanKind", "SpanPhase", "id_of", "trace_of"]


class SpanKind(StrEnum):
    """What a span is about."""

    SESSION = "session"
    RUN = "run"
    PROVIDER_ATTEMPT = "provider_attempt"
    TOOL_CALL = "tool_call"


class SpanPhase(StrEnum):
    """What is told of a span."""

    START = "start"
    STOP = "stop"
    """It ended well."""
    EXCEPTION = "exception"
    """It ended otherwise: it failed, was cancelled, or took too long."""


class MetricKind(StrEnum):
    """How values of a metric add up."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"


@frozen
class SpanError:
    """Why a span did not end well: a code, and a sentence."""

    code: str
    message: str = ""


@frozen
class Span:
    """One stretch of work.

    Attributes:
        kind: What it is about.
        phase: What is told of it now.
        id: 16 hex digits.
        trace_id: 32 hex digits, the same for a run and all in it. A session has a trace of its own, for it may last for
            months; its runs name it in `links`.
        parent_id: The span it is part of; None: it is the first of its trace.
        start_us: When it began, in microseconds since the epoch.
        end_us: When it ended; None with ``start``.
        attributes: Facts by their names in `telemetry.semconv`: text, numbers, and tuples of text.
        error: Why, with ``exception``.
        links: Trace and id of spans it belongs to otherwise.
        event_id: The event that told it.
    """

    kind: SpanKind
    phase: SpanPhase
    id: str
    trace_id: str
    parent_id: str | None
    start_us: int
    end_us: int | None = None
    attributes: Mapping[str, Any] = Factory(dict)
    error: SpanError | None = None
    links: tuple[tuple[str, str], ...] = ()
    event_id: str = ""

    def __hash__(self) -> int:
        return hash((self.id, self.phase))

    @property
    def name(self) -> str:
        """Operation and object, as the conventions have it: ``execute_tool search``."""
        operation, key = _NAMES[self.kind]
        about = self.attributes.get(key)
        return f"{operation} {about}" if about else operation

    @property
    def duration_ms(self) -> float | None:
        """How long it took; None with ``start``."""
        return None if self.end_us is None else (self.end_us - self.start_us) / 1000


_NAMES: Final[Mapping[SpanKind, tuple[str, str]]] = {
    SpanKind.SESSION: ("session", names.AGENT_ID),
    SpanKind.RUN: (names.OP_AGENT, names.AGENT_ID),
    SpanKind.PROVIDER_ATTEMPT: (names.OP_CHAT, names.REQUEST_MODEL),
    SpanKind.TOOL_CALL: (names.OP_TOOL, names.TOOL_NAME),
}


@frozen
class Metric:
    """One value of a metric.

    Attributes:
        name: Of `telemetry.semconv`.
        kind: How its values add up.
        value: The value.
        unit: ``s``, ``{token}``, ``USD``, ``{run}``, ….
        time_us: When, in microseconds since the epoch.
        attributes: What it is told apart by: few different values each, no ids.
        event_id: The event that told it.
    """

    name: str
    kind: MetricKind
    value: float
    unit: str
    time_us: int
    attributes: Mapping[str, Any] = Factory(dict)
    event_id: str = ""

    def __hash__(self) -> int:
        return hash((self.name, self.event_id))


def id_of(*parts: object) -> str:
    """The id of the span that is about what these parts name: always the same, never only zeros."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "replace")).hexdigest()
    return digest[:16].replace("0" * 16, "1" * 16)


def trace_of(*parts: object) -> str:
    """The id of the trace that is about what these parts name."""
    digest = hashlib.sha256("\x1f".join(("trace", *map(str, parts))).encode("utf-8", "replace")).hexdigest()
    return digest[:32].replace("0" * 32, "1" * 32)
