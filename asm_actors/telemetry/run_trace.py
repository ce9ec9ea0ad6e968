"""What is known of a run while its spans are open, and the spans that its events open and close. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from attrs import define, field

from asm_actors.events import Event
from asm_actors.telemetry import semconv as names
from asm_actors.telemetry.spans import (
    Metric,
    MetricKind,
    Span,
    SpanError,
    SpanKind,
    SpanPhase,
    id_of,
    trace_of,
)

__all__ = ["RunTrace", "Signal", "count", "error_of", "measure", "number", "present"]

Signal: TypeAlias = Span | Metric
"""What telemetry tells."""

_TOKENS: Final = (
    ("input_tokens", names.INPUT_TOKENS),
    ("output_tokens", names.OUTPUT_TOKENS),
    ("cache_read_tokens", names.CACHE_READ_TOKENS),
    ("cache_creation_tokens", names.CACHE_CREATION_TOKENS),
)


def number(value: Any) -> float | None:
    """The value if it is a number."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def present(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that are known."""
    return {name: value for name, value in facts.items() if value is not None}


def error_of(event: Event, default: str) -> SpanError:
    """What an event says of an error."""
    data = event.data
    inner = data.get("error")
    error = inner if isinstance(inner, dict) else {}
    code = data.get("error_code") or error.get("code") or default
    message = data.get("error_message") or error.get("message") or data.get("reason") or ""
    return SpanError(str(code), str(message))


def count(event: Event, name: str, unit: str, attributes: Mapping[str, Any]) -> Metric:
    """One more of something."""
    return Metric(name, MetricKind.COUNTER, 1, unit, event.timestamp_us, present(attributes), event.id)


def measure(event: Event, name: str, value: float, unit: str, attributes: Mapping[str, Any]) -> Metric:
    """One value of many."""
    return Metric(name, MetricKind.HISTOGRAM, value, unit, event.timestamp_us, present(attributes), event.id)


@define
class _Open:
    """A span that is open: its id, its begin, what is known of it."""

    id: str
    start_us: int
    attributes: dict[str, Any]
    parent_id: str


@define
class RunTrace:
    """The open spans of a run; its methods return what is to be told.

    Args:
        run_id: Which run.
        session_id: Its session.
        agent_id: Its session's agent, if that is known.
        provider: Who executes it.
        start_us: When it began.
        correlation_id: Its correlation id.
    """

    run_id: str
    session_id: str
    agent_id: str | None
    provider: str | None
    start_us: int
    correlation_id: str | None = None
    model: str | None = None
    turn: int = 1
    n_attempts: int = 0
    attempt: _Open | None = None
    calls: dict[str, _Open] = field(factory=dict)
    pending: set[str] = field(factory=set)
    """Calls of the last turn without an end: the next turn is asked for when there are none."""
    asked: dict[str, int] = field(factory=dict)
    """When an approval was asked for, by call."""
    usage: dict[str, float] = field(factory=dict)
    """Tokens of the run."""
    turn_usage: dict[str, float] = field(factory=dict)
    """Tokens of the present attempt."""
    is_paused: bool = False

    @property
    def span_id(self) -> str:
        """The id of the run's span."""
        return id_of("run", self.run_id)

    @property
    def trace_id(self) -> str:
        """The id of the run's trace."""
        return trace_of("run", self.run_id)

    def labels(self) -> dict[str, Any]:
        """What its metrics are told apart by."""
        return {names.AGENT_ID: self.agent_id, names.PROVIDER: self.provider}

    def _facts(self) -> dict[str, Any]:
        return {
            names.CONVERSATION_ID: self.session_id,
            names.RUN_ID: self.run_id,
            names.AGENT_ID: self.agent_id,
            names.PROVIDER: self.provider,
            names.CORRELATION_ID: self.correlation_id,
        }

    # --- The run -------------------------------------------------------------------------------------------------

    def begin(self, event: Event) -> list[Signal]:
        """The run starts."""
        return [self._run_span(event, SpanPhase.START), *self.begin_attempt(event)]

    def end(self, event: Event, status: str) -> list[Signal]:
        """The run ends, and everything in it that is open."""
        data = event.data
        error = None if status == "completed" else error_of(event, status)
        told = self.end_attempt(event, error, data.get("stop_reason"))
        for call_id in tuple(self.calls):
            told += self.end_call(event, call_id, error or SpanError("unknown_error", "it has no end"))
        given = data.get("token_usage")
        usage = given if isinstance(given, dict) and given else self.usage
        cost = number(data.get("total_cost_usd"))
        cost = number(data.get("cost_usd")) if cost is None else cost
        facts = {
            names.STATUS: status,
            names.TURNS: number(data.get("num_turns")),
            names.COST_USD: cost,
            names.REQUEST_MODEL: self.model,
            names.FINISH_REASONS: _reasons(data.get("stop_reason")),
            **{name: number(usage.get(key)) for key, name in _TOKENS},
        }
        phase = SpanPhase.STOP if error is None else SpanPhase.EXCEPTION
        span = self._run_span(event, phase, facts, error)
        labels = {**self.labels(), names.STATUS: status, names.ERROR_TYPE: error.code if error else None}
        told += [span, count(event, names.M_RUNS, "{run}", labels)]
        told.append(measure(event, names.M_RUN_DURATION, (span.duration_ms or 0) / 1000, "s", labels))
        if cost is not None:
            told.append(
                measure(
                    event, names.M_RUN_COST, cost, "USD", {**self.labels(), names.REQUEST_MODEL: self.model}
                )
            )
        return told

    def _run_span(
        self,
        event: Event,
        phase: SpanPhase,
        facts: Mapping[str, Any] | None = None,
        error: SpanError | None = None,
    ) -> Span:
        is_start = phase is SpanPhase.START
        return Span(
            SpanKind.RUN,
            phase,
            self.span_id,
            self.trace_id,
            None,
            self.start_us,
            None if is_start else max(self.start_us, event.timestamp_us),
            present({names.OPERATION: names.OP_AGENT, **self._facts(), **(facts or {})}),
            error,
            ((trace_of("session", self.session_id), id_of("session", self.session_id)),),
            event.id,
        )

    # --- Attempts of the provider --------------------------------------------------------------------------------

    def begin_attempt(self, event: Event, delay_s: float = 0.0) -> list[Signal]:
        """A turn is asked for, now or after a pause."""
        if self.attempt is not None:
            return []
        self.n_attempts += 1
        self.turn_usage = {}
        facts = {
            names.OPERATION: names.OP_CHAT,
            **self._facts(),
            names.REQUEST_MODEL: self.model,
            names.TURN: self.turn,
            names.ATTEMPT: self.n_attempts,
        }
        start = event.timestamp_us + round(delay_s * 1_000_000)
        attempt_id = id_of("attempt", self.run_id, self.n_attempts)
        self.attempt = _Open(attempt_id, start, present(facts), self.span_id)
        return [self._span(event, SpanKind.PROVIDER_ATTEMPT, self.attempt)]

    def end_attempt(self, event: Event, error: SpanError | None, reason: Any = None) -> list[Signal]:
        """A turn ended, or broke off."""
        attempt, self.attempt = self.attempt, None
        if attempt is None:
            return []
        model = event.data.get("model") or self.model
        attempt.attributes |= present(
            {
                names.RESPONSE_MODEL: model,
                names.FINISH_REASONS: _reasons(reason),
                **{name: self.turn_usage.get(key) for key, name in _TOKENS},
            }
        )
        labels = {
            names.OPERATION: names.OP_CHAT,
            names.PROVIDER: self.provider,
            names.REQUEST_MODEL: model,
            names.ERROR_TYPE: error.code if error else None,
        }
        span = self._span(event, SpanKind.PROVIDER_ATTEMPT, attempt, error, is_end=True)
        told: list[Signal] = [span]
        told.append(measure(event, names.M_OPERATION_DURATION, (span.duration_ms or 0) / 1000, "s", labels))
        for key, kind in (("input_tokens", "input"), ("output_tokens", "output")):
            if key in self.turn_usage:
                tokens = self.turn_usage[key]
                labels = {**labels, names.TOKEN_TYPE: kind, names.ERROR_TYPE: None}
                told.append(measure(event, names.M_TOKEN_USAGE, tokens, "{token}", labels))
        self.turn_usage = {}
        return told

    def use(self, event: Event) -> None:
        """Tokens were used."""
        for key, _ in _TOKENS:
            used = number(event.data.get(key))
            if used is not None:
                self.usage[key] = self.usage.get(key, 0) + used
                self.turn_usage[key] = self.turn_usage.get(key, 0) + used

    # --- Calls of tools ------------------------------------------------------------------------------------------

    def begin_call(self, event: Event) -> list[Signal]:
        """A tool is called; perhaps once more, after a crash."""
        data = event.data
        call_id, name = str(data.get("tool_call_id")), str(data.get("tool_name"))
        told = self.end_call(event, call_id, SpanError("interrupted", "it was begun again"))
        attempt = number(data.get("attempt"))
        facts = {
            names.OPERATION: names.OP_TOOL,
            **self._facts(),
            names.TOOL_NAME: name,
            names.TOOL_CALL_ID: call_id,
            names.TOOL_TYPE: "function",
            names.ATTEMPT: attempt,
        }
        parent = self.span_id if self.attempt is None else self.attempt.id
        # Its event makes it unlike those of the same call before it: a crash may have come between.
        span_id = id_of("call", self.run_id, call_id, event.id)
        self.calls[call_id] = _Open(span_id, event.timestamp_us, present(facts), parent)
        told.append(self._span(event, SpanKind.TOOL_CALL, self.calls[call_id]))
        return told

    def end_call(self, event: Event, call_id: str, error: SpanError | None) -> list[Signal]:
        """A call ended."""
        call = self.calls.pop(call_id, None)
        if call is None:
            return []
        span = self._span(event, SpanKind.TOOL_CALL, call, error, is_end=True)
        labels = {
            names.TOOL_NAME: call.attributes.get(names.TOOL_NAME),
            names.AGENT_ID: self.agent_id,
            names.ERROR_TYPE: error.code if error else None,
        }
        return [
            span,
            count(event, names.M_TOOL_CALLS, "{call}", labels),
            measure(event, names.M_TOOL_DURATION, (span.duration_ms or 0) / 1000, "s", labels),
        ]

    def _span(
        self,
        event: Event,
        kind: SpanKind,
        one: _Open,
        error: SpanError | None = None,
        *,
        is_end: bool = False,
    ) -> Span:
        phase = (SpanPhase.EXCEPTION if error else SpanPhase.STOP) if is_end else SpanPhase.START
        # An attempt that was to begin after a pause may be over before: then it took no time.
        end = max(one.start_us, event.timestamp_us) if is_end else None
        return Span(
            kind,
            phase,
            one.id,
            self.trace_id,
            one.parent_id,
            one.start_us,
            end,
            dict(one.attributes),
            error,
            (),
            event.id,
        )


def _reasons(reason: Any) -> tuple[str, ...] | None:
    return (str(reason),) if reason else None
