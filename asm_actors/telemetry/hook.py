"""Who is told of spans and metrics; and one that keeps them."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from asm_actors.telemetry.spans import Metric, Span, SpanKind, SpanPhase

__all__ = ["TelemetryHook", "TelemetryRecorder"]


@runtime_checkable
class TelemetryHook(Protocol):
    """What `Telemetry` tells. One that raises is logged once, counted, and told the next one all the same.

    It is told at least once: what it was told just before a crash may come again, with the same ids.
    """

    def on_span(self, span: Span) -> Any:
        """A span began, or ended."""
        ...

    def on_metric(self, metric: Metric) -> Any:
        """A metric has another value."""
        ...


class TelemetryRecorder:
    """Keeps in memory what it is told: for tests, and for looking.

    Attributes:
        spans: Begins and ends, in the order in which they were told.
        metrics: Likewise.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.metrics: list[Metric] = []

    def on_span(self, span: Span) -> None:
        """Keep it."""
        self.spans.append(span)

    def on_metric(self, metric: Metric) -> None:
        """Keep it."""
        self.metrics.append(metric)

    def ended(self, kind: SpanKind | str | None = None) -> list[Span]:
        """Spans that ended, all or those of one kind."""
        return [
            span
            for span in self.spans
            if span.phase is not SpanPhase.START and (kind is None or span.kind == kind)
        ]

    def values(self, name: str) -> list[float]:
        """The values of a metric."""
        return [metric.value for metric in self.metrics if metric.name == name]
