"""From events to spans and metrics: the fold."""

from __future__ import annotations

import pytest

from asm_actors.events import EventGroup, EventType, group_of
from asm_actors.telemetry import semconv as names
from asm_actors.telemetry.folding import (
    TELEMETRY_TYPES,
    TelemetryState,
    prime,
    remember,
    step,
    wants_run,
    wants_session,
)
from asm_actors.telemetry.spans import Span, SpanKind, SpanPhase, id_of, trace_of

RUN, ATTEMPT, TOOL, SESSION = (
    SpanKind.RUN,
    SpanKind.PROVIDER_ATTEMPT,
    SpanKind.TOOL_CALL,
    SpanKind.SESSION,
)


def short(told):
    """What was told: kind and phase of spans; names of metrics."""
    return [
        f"{one.kind} {one.phase}" if isinstance(one, Span) else f"{one.name}={one.value:g}" for one in told
    ]


def with_tool(fold):
    """A run of two turns with one call between."""
    fold("session_created", run=None, agent_id="agent")
    fold("run_started", provider="mock", model="m-1", turn=1)
    fold("token_usage_updated", after_ms=1000, input_tokens=10, output_tokens=5)
    fold(
        "turn_completed",
        turn=1,
        stop_reason="tool_use",
        model="m-1",
        pending_tool_calls=[{"id": "c1", "name": "f", "input": {}}],
    )
    fold("tool_call_started", after_ms=10, tool_call_id="c1", tool_name="f", attempt=1)
    fold("tool_call_completed", after_ms=500, tool_call_id="c1", tool_name="f", tool_output="secret words")
    fold("token_usage_updated", after_ms=2000, input_tokens=20, output_tokens=7)
    fold(
        "run_completed",
        stop_reason="end_turn",
        num_turns=2,
        token_usage={"input_tokens": 30, "output_tokens": 12},
        total_cost_usd=0.25,
    )
    return fold("session_completed", run=None, after_ms=5)


def test_a_run_is_a_tree_of_spans(fold):
    with_tool(fold)
    spans = fold.shown().spans
    assert [(span.kind, span.phase) for span in spans] == [
        (SESSION, "start"),
        (RUN, "start"),
        (ATTEMPT, "start"),
        (ATTEMPT, "stop"),
        (TOOL, "start"),
        (TOOL, "stop"),
        (ATTEMPT, "start"),
        (ATTEMPT, "stop"),
        (RUN, "stop"),
        (SESSION, "stop"),
    ]
    assert [span.duration_ms for span in spans if span.phase is SpanPhase.STOP] == [
        1000,
        500,
        2000,
        3510,
        3515,
    ]
    run = id_of("run", "run_1")
    assert {span.parent_id for span in spans if span.kind in (ATTEMPT, TOOL)} == {run}
    assert {span.trace_id for span in spans if span.kind is not SESSION} == {trace_of("run", "run_1")}
    assert {span.attributes[names.CONVERSATION_ID] for span in spans} == {"ses_1"}
    assert next(span for span in spans if span.kind is RUN).links == (
        (trace_of("session", "ses_1"), id_of("session", "ses_1")),
    )


def test_spans_carry_the_names_of_the_conventions(fold):
    with_tool(fold)
    recorder = fold.shown()
    first, second = recorder.ended(ATTEMPT)
    assert first.name == "chat m-1"
    assert first.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": "ses_1",
        "asm.run.id": "run_1",
        "gen_ai.agent.id": "agent",
        "gen_ai.provider.name": "mock",
        "gen_ai.request.model": "m-1",
        "gen_ai.response.model": "m-1",
        "asm.turn": 1,
        "asm.attempt": 1,
        "gen_ai.response.finish_reasons": ("tool_use",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
    }
    assert (second.attributes["asm.turn"], second.attributes["gen_ai.usage.input_tokens"]) == (2, 20)
    [run] = recorder.ended(RUN)
    assert run.name == "invoke_agent agent"
    assert run.attributes["gen_ai.usage.input_tokens"] == 30
    assert run.attributes["asm.cost_usd"] == 0.25
    [tool] = recorder.ended(TOOL)
    assert tool.name == "execute_tool f"
    assert (tool.attributes["gen_ai.tool.name"], tool.attributes["gen_ai.tool.call.id"]) == ("f", "c1")
    assert recorder.ended(SESSION)[0].name == "session agent"


def test_no_word_of_a_conversation_is_told(fold):
    with_tool(fold)
    assert "secret words" not in repr(fold.told)
    assert not [kind for kind in TELEMETRY_TYPES if group_of(kind) is EventGroup.MESSAGE]


def test_metrics_of_a_run(fold):
    with_tool(fold)
    recorder = fold.shown()
    values = {
        name: recorder.values(name)
        for name in (
            names.M_RUNS,
            names.M_RUN_DURATION,
            names.M_RUN_COST,
            names.M_TOKEN_USAGE,
            names.M_OPERATION_DURATION,
            names.M_TOOL_CALLS,
            names.M_TOOL_DURATION,
            names.M_SESSIONS,
        )
    }
    assert values == {
        "asm.runs": [1],
        "asm.run.duration": [3.51],
        "asm.run.cost": [0.25],
        "gen_ai.client.token.usage": [10, 5, 20, 7],
        "gen_ai.client.operation.duration": [1.0, 2.0],
        "asm.tool.calls": [1],
        "asm.tool.duration": [0.5],
        "asm.sessions": [1],
    }
    labels = next(metric.attributes for metric in recorder.metrics if metric.name == names.M_RUNS)
    assert labels == {"gen_ai.agent.id": "agent", "gen_ai.provider.name": "mock", "asm.status": "completed"}


ENDS = [
    ("run_failed", {"error_code": "provider_timeout", "error_message": "late"}, "failed", "provider_timeout"),
    ("run_cancelled", {"reason": "user"}, "cancelled", "cancelled"),
    ("run_timeout", {"error_code": "timeout"}, "timeout", "timeout"),
]


@pytest.mark.parametrize(("kind", "data", "status", "code"), ENDS)
def test_a_run_that_does_not_complete_ends_by_an_exception(fold, kind, data, status, code):
    fold("run_started")
    fold("tool_call_started", tool_call_id="c1", tool_name="f")
    told = fold(kind, after_ms=7, **data)
    spans = [one for one in told if isinstance(one, Span)]
    assert [(span.kind, span.phase, span.error.code) for span in spans] == [
        (ATTEMPT, "exception", code),
        (TOOL, "exception", code),
        (RUN, "exception", code),
    ]
    assert spans[-1].duration_ms == 7
    runs = next(one for one in told if one.name == names.M_RUNS)
    assert (runs.attributes[names.STATUS], runs.attributes[names.ERROR_TYPE]) == (status, code)
    assert fold.state.runs == {}


def test_a_run_that_never_started_has_a_span_without_length(fold):
    told = fold("run_cancelled", reason="user")
    assert short(told)[0] == "run exception"
    assert told[0].duration_ms == 0


def test_a_retry_is_another_attempt_after_its_pause(fold):
    fold("run_started")
    told = fold("error_occurred", after_ms=100, error_code="provider_rate_limited", retry_in_s=2.0, attempt=1)
    assert short(told)[:2] == ["asm.errors=1", "provider_attempt exception"]
    again = told[-1]
    assert (again.kind, again.phase) == (ATTEMPT, "start")
    assert again.attributes[names.ATTEMPT] == 2
    assert again.start_us - told[1].end_us == 2_000_000
    told = fold("run_cancelled", after_ms=50)
    assert told[0].duration_ms == 0


def test_an_error_that_harmed_nothing_ends_no_attempt(fold):
    fold("run_started")
    assert short(fold("error_occurred", error_message="warning", source="provider")) == ["asm.errors=1"]


def test_the_next_turn_begins_when_all_calls_have_ended(fold):
    fold("run_started")
    fold("turn_completed", turn=1, pending_tool_calls=[{"id": "c1"}, {"id": "c2"}])
    fold("tool_call_started", tool_call_id="c1", tool_name="f")
    fold("tool_call_started", tool_call_id="c2", tool_name="g")
    assert "provider_attempt start" not in short(
        fold("tool_call_completed", tool_call_id="c2", tool_name="g")
    )
    told = fold(
        "tool_call_failed", tool_call_id="c1", tool_name="f", error={"code": "tool_error", "message": "oh"}
    )
    assert short(told) == [
        "tool_call exception",
        "asm.tool.calls=1",
        "asm.tool.duration=0",
        "provider_attempt start",
    ]
    assert told[0].error.code == "tool_error"


def test_a_paused_run_asks_nobody_until_it_is_resumed(fold):
    fold("run_started")
    fold("turn_completed", turn=1, pending_tool_calls=[{"id": "c1"}])
    fold("tool_call_started", tool_call_id="c1", tool_name="f")
    fold("run_paused", reason="user")
    assert "provider_attempt start" not in short(
        fold("tool_call_completed", tool_call_id="c1", tool_name="f")
    )
    assert short(fold("run_resumed")) == ["provider_attempt start"]


def test_an_approval_is_counted_and_its_wait_measured(fold):
    fold("run_started")
    asked = fold("tool_approval_requested", tool_call_id="c1", tool_name="rm")
    granted = fold("tool_approval_granted", after_ms=1500, tool_call_id="c1", tool_name="rm")
    denied = fold("tool_approval_denied", tool_call_id="c2", tool_name="rm")
    assert short(asked) == ["asm.approvals=1"]
    assert short(granted) == ["asm.approvals=1", "asm.approval.wait=1.5"]
    assert short(denied) == ["asm.approvals=1"]
    assert granted[0].attributes[names.DECISION] == "granted"


def test_a_violation_is_counted_by_its_kind(fold):
    fold("run_started")
    [metric] = fold("policy_violation", policy="p", kind="tool_denied")
    assert (metric.name, metric.attributes[names.KIND]) == (names.M_POLICY_VIOLATIONS, "tool_denied")


@pytest.mark.parametrize(
    ("decision", "told"),
    [
        (
            "resume",
            [
                "provider_attempt exception",
                "gen_ai.client.operation.duration=0",
                "asm.run.recoveries=1",
                "provider_attempt start",
            ],
        ),
        (
            "retry",
            [
                "provider_attempt exception",
                "gen_ai.client.operation.duration=0",
                "asm.run.recoveries=1",
                "provider_attempt start",
            ],
        ),
    ],
)
def test_a_recovered_run_keeps_its_span_and_has_another_attempt(fold, decision, told):
    fold("run_started")
    assert short(fold("run_recovered", decision=decision, from_turn=1)) == told
    assert short(fold("run_completed"))[-3:] == ["run stop", "asm.runs=1", "asm.run.duration=0"]


def test_a_run_that_is_recovered_between_calls_first_has_them_answered(fold):
    fold("run_started")
    fold("turn_completed", turn=1, pending_tool_calls=[{"id": "c1"}])
    fold("tool_call_started", tool_call_id="c1", tool_name="f")
    assert short(fold("run_recovered", decision="resume", from_turn=2)) == ["asm.run.recoveries=1"]
    again = fold("tool_call_started", tool_call_id="c1", tool_name="f", attempt=2)
    assert short(again) == [
        "tool_call exception",
        "asm.tool.calls=1",
        "asm.tool.duration=0",
        "tool_call start",
    ]
    assert again[0].id != again[-1].id


def test_a_run_that_begins_again_leaves_its_calls(fold):
    fold("run_started")
    fold("turn_completed", turn=1, pending_tool_calls=[{"id": "c1"}])
    fold("tool_call_started", tool_call_id="c1", tool_name="f")
    assert short(fold("run_recovered", decision="retry", from_turn=1)) == [
        "asm.run.recoveries=1",
        "tool_call exception",
        "asm.tool.calls=1",
        "asm.tool.duration=0",
        "provider_attempt start",
    ]


def test_what_is_forgotten_is_made_anew_from_the_journal(fold):
    with_tool(fold)
    whole = {(span.id, span.phase): span for span in fold.shown().spans}
    for cut in range(2, len(fold.events)):
        state, told = TelemetryState(), []
        for event in fold.events[cut:]:
            if wants_session(state, event):
                state.session("ses_1").agent_id = "agent"
                state.session("ses_1").start_us = fold.events[0].timestamp_us
            if wants_run(state, event):
                prime(
                    state,
                    [
                        one
                        for one in fold.events
                        if one.run_id and one.sequence_number < event.sequence_number
                    ],
                )
            told += step(state, event)
        for span in (one for one in told if isinstance(one, Span) and one.kind is not SESSION):
            assert span == whole[span.id, span.phase], cut


def test_only_so_many_are_remembered(fold):
    fold.state.capacity = 2
    for number in range(5):
        fold("run_started", run=f"run_{number}", session=f"ses_{number}")
    assert list(fold.state.runs) == ["run_3", "run_4"]
    assert list(fold.state.sessions) == ["ses_3", "ses_4"]
    assert fold("tool_call_started", run="run_0", tool_call_id="c", tool_name="f") == []
    assert wants_run(fold.state, fold.make("tool_call_started", run="run_0"))
    assert not wants_run(fold.state, fold.make("run_started", run="run_9"))
    assert not wants_session(fold.state, fold.make("session_created", run=None, session="ses_9"))


def test_a_session_is_remembered_by_its_record(fold):
    from asm_actors.sessions.session import Session

    remember(fold.state, Session.new(id="ses_1", now=5, agent_id="agent", parent_session_id="ses_0"))
    span, *_ = fold("session_failed", run=None, error_code="internal_error", error_message="m")
    assert (span.start_us, span.phase, span.error.code) == (5, "exception", "internal_error")
    assert span.attributes[names.PARENT_SESSION_ID] == "ses_0"


def test_every_type_is_taken_alone_and_after_a_start(fold):
    for kind in EventType:
        fold(kind.value)
        fold(kind.value, run=None)
    fold("run_started")
    for kind in EventType:
        if not kind.startswith("run_"):
            fold(kind.value)


def test_ids_follow_from_names():
    assert id_of("run", "run_1") == id_of("run", "run_1") != id_of("run", "run_2")
    assert (len(id_of("a")), len(trace_of("a"))) == (16, 32)
