"""`OpenTelemetryExporter`, with the exporters that OpenTelemetry's SDK keeps in memory."""

from __future__ import annotations

import sys

import pytest

import asm_actors as asm
from asm_actors.telemetry.spans import id_of, trace_of

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Sdk:
    """An exporter, and what comes out of the SDK behind it."""

    def __init__(self, *, own_ids=True):
        self.ids = asm.OpenTelemetryExporter.ids() if own_ids else None
        self.spans, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider(id_generator=self.ids, shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.hook = self.another()

    def another(self):
        return asm.OpenTelemetryExporter(
            tracer_provider=self.tracers, meter_provider=self.meters, ids=self.ids
        )

    def finished(self):
        return {span.name.split(" ")[0]: span for span in self.spans.get_finished_spans()}

    def metrics(self):
        data = self.reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def close(self):
        self.tracers.shutdown()
        self.meters.shutdown()


@pytest.fixture
def sdk():
    made = []

    def make(**options):
        made.append(Sdk(**options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def feed(fold, *hooks):
    for signal in fold.told:
        for hook in hooks:
            (hook.on_span if hasattr(signal, "phase") else hook.on_metric)(signal)
    fold.told = []


def begin(fold):
    fold("session_created", run=None, agent_id="agent")
    fold("run_started", provider="mock", model="m-1")
    fold("turn_completed", after_ms=10, turn=1, pending_tool_calls=[{"id": "c1"}])
    fold("tool_call_started", tool_call_id="c1", tool_name="f")


def end(fold):
    fold(
        "tool_call_failed",
        after_ms=5,
        tool_call_id="c1",
        tool_name="f",
        error={"code": "tool_error", "message": "oh"},
    )
    fold("token_usage_updated", after_ms=5, input_tokens=3, output_tokens=4)
    fold("run_completed", stop_reason="end_turn", token_usage={"input_tokens": 3, "output_tokens": 4})
    fold("session_completed", run=None)


@pytest.mark.parametrize("own_ids", [True, False])
def test_a_run_becomes_a_trace(sdk, fold, own_ids):
    out = sdk(own_ids=own_ids)
    begin(fold)
    end(fold)
    feed(fold, out.hook)
    spans = out.finished()
    assert set(spans) == {"session", "invoke_agent", "chat", "execute_tool"}
    run, tool = spans["invoke_agent"], spans["execute_tool"]
    assert tool.parent.span_id == spans["chat"].parent.span_id == run.context.span_id
    assert tool.context.trace_id == run.context.trace_id != spans["session"].context.trace_id
    assert run.parent is None
    assert run.attributes["gen_ai.conversation.id"] == "ses_1"
    assert run.attributes["gen_ai.usage.input_tokens"] == 3
    assert (run.start_time, run.end_time) == (fold.events[1].timestamp_us * 1000, fold.now * 1000)
    assert run.status.is_unset
    assert (tool.status.status_code, tool.status.description) == (trace.StatusCode.ERROR, "oh")
    assert tool.attributes["error.type"] == "tool_error"
    assert spans["chat"].kind is trace.SpanKind.CLIENT
    assert run.links[0].context.span_id == int(id_of("session", "ses_1"), 16)


def test_a_run_that_outlives_its_process_keeps_one_trace(sdk, fold):
    out = sdk()
    begin(fold)
    feed(fold, out.hook)
    end(fold)
    feed(fold, out.another())
    spans = out.finished()
    run, tool = spans["invoke_agent"], spans["execute_tool"]
    assert run.context.trace_id == int(trace_of("run", "run_1"), 16)
    assert tool.parent.span_id == run.context.span_id == int(id_of("run", "run_1"), 16)
    assert run.start_time == fold.events[1].timestamp_us * 1000


def test_spans_of_other_programs_are_no_parents_and_get_ids_of_their_own(sdk, fold):
    out = sdk()
    tracer = out.tracers.get_tracer("theirs")
    with tracer.start_as_current_span("theirs") as theirs:
        begin(fold)
        end(fold)
        feed(fold, out.hook)
    assert out.finished()["invoke_agent"].parent is None
    assert theirs.get_span_context().span_id != int(id_of("run", "run_1"), 16)


def test_the_same_begin_told_twice_is_one_span(sdk, fold):
    out = sdk()
    fold("run_started", provider="mock")
    signals = list(fold.told)
    feed(fold, out.hook)
    fold.told = signals
    fold("run_completed")
    feed(fold, out.hook)
    assert sorted(span.name for span in out.spans.get_finished_spans()) == ["chat", "invoke_agent"]


def test_metrics_come_out(sdk, fold):
    out = sdk()
    begin(fold)
    end(fold)
    feed(fold, out.hook)
    metrics = out.metrics()
    assert {"asm.runs", "asm.run.duration", "gen_ai.client.token.usage", "asm.tool.calls"} <= set(metrics)
    [runs] = metrics["asm.runs"].data.data_points
    assert (runs.value, runs.attributes["asm.status"]) == (1, "completed")
    tokens = {
        point.attributes["gen_ai.token.type"]: point.sum
        for point in metrics["gen_ai.client.token.usage"].data.data_points
    }
    assert tokens == {"input": 3, "output": 4}
    assert metrics["gen_ai.client.token.usage"].unit == "{token}"


def test_a_whole_system_is_exported(sdk):
    out = sdk()
    with asm.ActorSystem.start(asm.MemoryStore(), {"mock": asm.ScriptedProvider()}) as system:
        with asm.Telemetry(system, [out.hook]):
            result = system.sessions.run_once({"prompt": "Hi"}, provider="mock")
        run = out.finished()["invoke_agent"]
    assert run.attributes["gen_ai.conversation.id"] == result.session_id
    assert run.attributes["gen_ai.usage.output_tokens"] == result.token_usage["output_tokens"]


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(asm.StorageError, match=r"asm-actors\[otel\]") as caught:
        asm.OpenTelemetryExporter()
    assert caught.value.code == "dependency_not_available"
