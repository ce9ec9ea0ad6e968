"""`OpenTelemetryExporter`: spans and metrics into OpenTelemetry. Needs the extra ``otel``.

Only OpenTelemetry's API is used; where the data goes is decided by the providers that the program has set up. Ids
follow from the names of runs and sessions if the tracer provider takes them from here, so that a run which outlives its
process keeps one trace::

    exporter_ids = asm.OpenTelemetryExporter.ids()
    trace.set_tracer_provider(TracerProvider(id_generator=exporter_ids))
    hook = asm.OpenTelemetryExporter(ids=exporter_ids)

With a tracer provider that makes ids of its own, spans of one process hang together all the same; one that ends in
another process than it began stands in a trace of its own, and is found by its attributes.
"""

from __future__ import annotations

import random
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.telemetry.spans import Metric, MetricKind, Span, SpanKind, SpanPhase

__all__ = ["ExporterIds", "OpenTelemetryExporter"]

_SCOPE: Final = "asm_actors"
_MAX_OPEN: Final = 100_000


class ExporterIds:
    """Makes ids for a tracer provider: those of the span that is being exported, else random ones.

    It fits where OpenTelemetry's SDK takes an ``id_generator``.
    """

    def __init__(self) -> None:
        # Programs make spans of their own on other threads.
        self._wanted = threading.local()

    def want(self, trace_id: str | None, span_id: str | None) -> None:
        """Give these ids to the next span that this thread makes; None: random ones again."""
        self._wanted.ids = (
            None if trace_id is None or span_id is None else (int(trace_id, 16), int(span_id, 16))
        )

    def generate_span_id(self) -> int:
        """64 bits, not zero."""
        ids = getattr(self._wanted, "ids", None)
        return random.getrandbits(64) or 1 if ids is None else ids[1]

    def generate_trace_id(self) -> int:
        """128 bits, not zero."""
        ids = getattr(self._wanted, "ids", None)
        return random.getrandbits(128) or 1 if ids is None else ids[0]

    def is_trace_id_random(self) -> bool:
        """Digests of names are as evenly spread as random numbers."""
        return True


class OpenTelemetryExporter:
    """A `TelemetryHook`; see the module.

    Args:
        tracer_provider: Makes spans; by default the global one.
        meter_provider: Makes metrics; by default the global one.
        ids: What the tracer provider takes its ids from, if it takes them from here.

    Raises:
        StorageError: ``dependency_not_available``: OpenTelemetry's API is not installed.
    """

    def __init__(
        self, *, tracer_provider: Any = None, meter_provider: Any = None, ids: ExporterIds | None = None
    ) -> None:
        try:
            from opentelemetry import metrics, trace
        except ImportError as error:
            raise AsmError(
                ErrorCode.DEPENDENCY_NOT_AVAILABLE,
                "OpenTelemetry is not installed; install asm-actors[otel]",
                details={"extra": "otel"},
            ) from error
        self._trace = trace
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        self._meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)
        self._ids = ids
        self._instruments: dict[str, Any] = {}
        # Begun and not ended: the children of a run need its context. The oldest go first, should there be too many.
        self._open: OrderedDict[str, Any] = OrderedDict()

    @staticmethod
    def ids() -> ExporterIds:
        """What a tracer provider may take its ids from; give it to both."""
        return ExporterIds()

    # --- Spans ---------------------------------------------------------------------------------------------------

    def on_span(self, span: Span) -> None:
        """Begin or end a span."""
        if span.phase is SpanPhase.START:
            # A session may be open for months, and nothing hangs below it: its span is made at its end.
            if span.id not in self._open and span.kind is not SpanKind.SESSION:
                self._open[span.id] = self._begun(span)
                while len(self._open) > _MAX_OPEN:
                    self._open.popitem(last=False)
            return
        # One that another process began is made whole here.
        made = self._open.pop(span.id, None) or self._begun(span)
        made.set_attributes(_attributes(span.attributes))
        made.update_name(span.name)
        if span.error is not None:
            made.set_attribute("error.type", span.error.code)
            status = self._trace.Status(self._trace.StatusCode.ERROR, span.error.message or span.error.code)
            made.set_status(status)
        made.end(end_time=(span.end_us or span.start_us) * 1000)

    def _begun(self, span: Span) -> Any:
        trace = self._trace
        if self._ids is not None:
            self._ids.want(span.trace_id, span.id)
        try:
            return self._tracer.start_span(
                span.name,
                context=self._parent(span),
                kind=trace.SpanKind.CLIENT
                if span.kind is SpanKind.PROVIDER_ATTEMPT
                else trace.SpanKind.INTERNAL,
                attributes=_attributes(span.attributes),
                links=[trace.Link(self._context(*link)) for link in span.links],
                start_time=span.start_us * 1000,
            )
        finally:
            if self._ids is not None:
                self._ids.want(None, None)

    def _parent(self, span: Span) -> Any:
        """The context with the span's parent; one of another program's spans is never it."""
        from opentelemetry.context import Context

        trace = self._trace
        if span.parent_id is None:
            return Context()
        parent = self._open.get(span.parent_id)
        if parent is None:
            parent = trace.NonRecordingSpan(self._context(span.trace_id, span.parent_id))
        return trace.set_span_in_context(parent, Context())

    def _context(self, trace_id: str, span_id: str) -> Any:
        trace = self._trace
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
        return trace.SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=flags)

    # --- Metrics -------------------------------------------------------------------------------------------------

    def on_metric(self, metric: Metric) -> None:
        """Add or record a value."""
        tell = self._instruments.get(metric.name)
        if tell is None:
            if metric.kind is MetricKind.COUNTER:
                tell = self._meter.create_counter(metric.name, unit=metric.unit).add
            else:
                tell = self._meter.create_histogram(metric.name, unit=metric.unit).record
            self._instruments[metric.name] = tell
        tell(metric.value, _attributes(metric.attributes))


def _attributes(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, str | bool | int | float | tuple) else str(value)
        for name, value in facts.items()
    }
