"""From events to spans and metrics: a fold. Pure.

1. `step` takes the committed events in their order, and returns what each of them tells. Time is that of the events.
2. What is remembered is what is open, and no more than `TelemetryState.capacity` sessions and as many runs: whoever was
   forgotten, or began before the first event that was taken, is remembered again: a session by its record
   (`remember`), a run by its earlier events (`prime`). So a state can be made anew anywhere in the journal.
3. No word of a conversation goes into a span: names, counts, codes and what went wrong, all of them redacted in the
   journal.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from attrs import define, field

from asm_actors.events import EVENT_GROUPS, Event, EventGroup, EventType
from asm_actors.sessions.session import Session
from asm_actors.telemetry import semconv as names
from asm_actors.telemetry.run_trace import RunTrace, Signal, count, error_of, measure, number, present
from asm_actors.telemetry.spans import Span, SpanError, SpanKind, SpanPhase, id_of, trace_of

__all__ = [
    "TELEMETRY_TYPES",
    "SessionTrace",
    "TelemetryState",
    "prime",
    "remember",
    "step",
    "wants_run",
    "wants_session",
]

TELEMETRY_TYPES: Final = frozenset(
    kind
    for group, kinds in EVENT_GROUPS.items()
    if group not in (EventGroup.MESSAGE, EventGroup.WORKSPACE)
    for kind in kinds
)
"""The types that tell something here; what is said is none of telemetry's business."""

T = TypeVar("T")

_BIRTHS: Final = (EventType.SESSION_CREATED, EventType.SESSION_FORKED)


@define
class SessionTrace:
    """What is known of a session: its agent, its provider, when it began, whose child it is."""

    agent_id: str | None = None
    provider: str | None = None
    start_us: int | None = None
    parent_session_id: str | None = None


@define
class TelemetryState:
    """What is open.

    Attributes:
        capacity: How many sessions, and how many runs, are remembered at most.
        sessions: By id, the least recently heard of first.
        runs: Likewise.
    """

    capacity: int = 10_000
    sessions: OrderedDict[str, SessionTrace] = field(factory=OrderedDict)
    runs: OrderedDict[str, RunTrace] = field(factory=OrderedDict)

    def session(self, session_id: str) -> SessionTrace:
        """What is known of a session; nothing, if it is new."""
        return _kept(self.sessions, session_id, self.capacity, SessionTrace)

    def end_session(self, session_id: str) -> None:
        """Forget a session."""
        self.sessions.pop(session_id, None)

    def begin_run(self, event: Event) -> RunTrace:
        """Remember a run, from this event on."""
        session = self.session(event.session_id)
        run_id = event.run_id or ""
        return _kept(
            self.runs,
            run_id,
            self.capacity,
            lambda: RunTrace(
                run_id,
                event.session_id,
                session.agent_id,
                event.provider or session.provider,
                event.timestamp_us,
                event.correlation_id,
            ),
        )


def _kept(kept: OrderedDict[str, T], name: str, capacity: int, make: Callable[[], T]) -> T:
    found = kept.get(name)
    if found is None:
        found = kept[name] = make()
        while len(kept) > capacity:
            kept.popitem(last=False)
    else:
        kept.move_to_end(name)
    return found


def wants_session(state: TelemetryState, event: Event) -> bool:
    """Whether the event's session is not remembered, though it began before."""
    return event.session_id not in state.sessions and event.type not in _BIRTHS


def wants_run(state: TelemetryState, event: Event) -> bool:
    """Whether the event's run is not remembered, though it may have begun before."""
    return (
        event.run_id is not None
        and event.run_id not in state.runs
        and event.type is not EventType.RUN_STARTED
        and (event.type in _RUN_STEPS or event.type in _ENDS)
    )


def remember(state: TelemetryState, session: Session) -> None:
    """Remember a session that began before."""
    found = state.session(session.id)
    found.agent_id, found.provider = session.agent_id, session.provider
    found.start_us, found.parent_session_id = session.created_us, session.parent_session_id


def prime(state: TelemetryState, events: Iterable[Event]) -> None:
    """Remember what earlier events tell, and tell nobody."""
    for event in events:
        step(state, event)


def step(state: TelemetryState, event: Event) -> list[Signal]:
    """Take one event; return what it tells."""
    if event.run_id is None:
        handler = _SESSION_STEPS.get(event.type)
        return [] if handler is None else handler(state, event)
    if event.type is EventType.RUN_STARTED:
        return _started(state, event)
    status = _ENDS.get(event.type)
    if status is not None:
        run = state.runs.pop(event.run_id, None)
        if run is None:
            # It never started: its span has no length.
            run = state.begin_run(event)
            state.runs.pop(event.run_id)
        return run.end(event, status)
    run = state.runs.get(event.run_id)
    if run is None:
        return []
    state.runs.move_to_end(event.run_id)
    step_of = _RUN_STEPS.get(event.type)
    return [] if step_of is None else step_of(run, event)


# --- Sessions ----------------------------------------------------------------------------------------------------


def _created(state: TelemetryState, event: Event) -> list[Signal]:
    session = state.session(event.session_id)
    data = event.data
    session.agent_id = data.get("agent_id")
    session.provider = data.get("provider") or event.provider
    session.parent_session_id = data.get("parent_session_id")
    session.start_us = event.timestamp_us
    return [_session_span(session, event, SpanPhase.START)]


def _session_ended(status: str) -> Callable[[TelemetryState, Event], list[Signal]]:
    def handle(state: TelemetryState, event: Event) -> list[Signal]:
        session = state.session(event.session_id)
        error = None if status == "completed" else error_of(event, status)
        phase = SpanPhase.STOP if error is None else SpanPhase.EXCEPTION
        span = _session_span(session, event, phase, status, error)
        labels = {
            names.AGENT_ID: session.agent_id,
            names.STATUS: status,
            names.ERROR_TYPE: error.code if error else None,
        }
        state.end_session(event.session_id)
        return [
            span,
            count(event, names.M_SESSIONS, "{session}", labels),
            measure(event, names.M_SESSION_DURATION, (span.duration_ms or 0) / 1000, "s", labels),
        ]

    return handle


def _session_span(
    session: SessionTrace,
    event: Event,
    phase: SpanPhase,
    status: str | None = None,
    error: SpanError | None = None,
) -> Span:
    start = event.timestamp_us if session.start_us is None else session.start_us
    facts = {
        names.CONVERSATION_ID: event.session_id,
        names.AGENT_ID: session.agent_id,
        names.PROVIDER: session.provider,
        names.PARENT_SESSION_ID: session.parent_session_id,
        names.CORRELATION_ID: event.correlation_id,
        names.STATUS: status,
    }
    end = None if phase is SpanPhase.START else max(start, event.timestamp_us)
    return Span(
        SpanKind.SESSION,
        phase,
        id_of("session", event.session_id),
        trace_of("session", event.session_id),
        None,
        start,
        end,
        present(facts),
        error,
        (),
        event.id,
    )


_SESSION_STEPS: Final[Mapping[EventType, Callable[[TelemetryState, Event], list[Signal]]]] = {
    EventType.SESSION_CREATED: _created,
    EventType.SESSION_FORKED: _created,
    EventType.SESSION_COMPLETED: _session_ended("completed"),
    EventType.SESSION_FAILED: _session_ended("failed"),
    EventType.SESSION_CANCELLED: _session_ended("cancelled"),
}


# --- Runs --------------------------------------------------------------------------------------------------------


def _started(state: TelemetryState, event: Event) -> list[Signal]:
    is_known = event.run_id in state.runs
    run = state.begin_run(event)
    run.model = event.data.get("model") or run.model
    run.provider = event.data.get("provider") or run.provider
    return run.begin_attempt(event) if is_known else run.begin(event)


def _error(run: RunTrace, event: Event) -> list[Signal]:
    """A turn broke off and is asked for again; or something went wrong that harmed nothing."""
    error = error_of(event, "unknown_error")
    told: list[Signal] = [
        count(event, names.M_ERRORS, "{error}", {**run.labels(), names.ERROR_TYPE: error.code})
    ]
    delay = number(event.data.get("retry_in_s"))
    if delay is not None or event.data.get("will_retry"):
        told += run.end_attempt(event, error)
        told += run.begin_attempt(event, delay or 0.0)
    return told


def _turn_completed(run: RunTrace, event: Event) -> list[Signal]:
    data = event.data
    run.model = run.model or data.get("model")
    told = run.end_attempt(event, None, data.get("stop_reason"))
    turn = number(data.get("turn"))
    run.turn = int(run.turn if turn is None else turn) + 1
    pending = data.get("pending_tool_calls")
    run.pending = {str(call.get("id")) for call in pending or () if isinstance(call, dict)}
    return told if run.pending else told + run.begin_attempt(event)


def _call_ended(run: RunTrace, event: Event) -> list[Signal]:
    call_id = str(event.data.get("tool_call_id"))
    is_failed = event.type is EventType.TOOL_CALL_FAILED
    told = run.end_call(event, call_id, error_of(event, "tool_error") if is_failed else None)
    if call_id in run.pending:
        run.pending.discard(call_id)
        if not run.pending and not run.is_paused:
            told += run.begin_attempt(event)
    return told


def _used(run: RunTrace, event: Event) -> list[Signal]:
    run.use(event)
    return []


def _paused(run: RunTrace, event: Event) -> list[Signal]:
    run.is_paused = True
    return run.end_attempt(event, None)


def _resumed(run: RunTrace, event: Event) -> list[Signal]:
    run.is_paused = False
    return [] if run.pending else run.begin_attempt(event)


def _recovered(run: RunTrace, event: Event) -> list[Signal]:
    """Its process is another one: what was asked of the provider is asked again, after the calls that are open."""
    told = run.end_attempt(event, SpanError("interrupted", "the process ended"))
    told.append(count(event, names.M_RECOVERIES, "{recovery}", run.labels()))
    if event.data.get("decision") == "retry":
        run.pending = set()
        for call_id in tuple(run.calls):
            told += run.end_call(event, call_id, SpanError("interrupted", "the run began again"))
    run.turn = int(number(event.data.get("from_turn")) or run.turn)
    return told if run.pending or run.is_paused else told + run.begin_attempt(event)


def _interrupted(run: RunTrace, event: Event) -> list[Signal]:
    return run.end_attempt(event, SpanError("interrupted", "the system stopped"))


def _violated(run: RunTrace, event: Event) -> list[Signal]:
    labels = {**run.labels(), names.KIND: event.data.get("kind")}
    return [count(event, names.M_POLICY_VIOLATIONS, "{violation}", labels)]


def _asked(run: RunTrace, event: Event) -> list[Signal]:
    run.asked[str(event.data.get("tool_call_id"))] = event.timestamp_us
    return _decision(run, event, "requested")


def _granted(run: RunTrace, event: Event) -> list[Signal]:
    return _decision(run, event, "granted")


def _denied(run: RunTrace, event: Event) -> list[Signal]:
    return _decision(run, event, "denied")


def _decision(run: RunTrace, event: Event, decision: str) -> list[Signal]:
    labels = {
        **run.labels(),
        names.TOOL_NAME: event.data.get("tool_name"),
        names.DECISION: decision,
    }
    told: list[Signal] = [count(event, names.M_APPROVALS, "{approval}", labels)]
    if decision != "requested":
        since = run.asked.pop(str(event.data.get("tool_call_id")), None)
        if since is not None:
            waited = max(0, event.timestamp_us - since) / 1_000_000
            told.append(measure(event, names.M_APPROVAL_WAIT, waited, "s", labels))
    return told


_ENDS: Final[Mapping[EventType, str]] = {
    EventType.RUN_COMPLETED: "completed",
    EventType.RUN_FAILED: "failed",
    EventType.RUN_CANCELLED: "cancelled",
    EventType.RUN_TIMEOUT: "timeout",
}


_RUN_STEPS: Final[Mapping[EventType, Callable[[RunTrace, Event], list[Signal]]]] = {
    EventType.ERROR_OCCURRED: _error,
    EventType.TURN_COMPLETED: _turn_completed,
    EventType.TOKEN_USAGE_UPDATED: _used,
    EventType.TOOL_CALL_STARTED: lambda run, event: run.begin_call(event),
    EventType.TOOL_CALL_COMPLETED: _call_ended,
    EventType.TOOL_CALL_FAILED: _call_ended,
    EventType.RUN_PAUSED: _paused,
    EventType.RUN_RESUMED: _resumed,
    EventType.RUN_RECOVERED: _recovered,
    EventType.RUN_INTERRUPTED: _interrupted,
    EventType.POLICY_VIOLATION: _violated,
    EventType.TOOL_APPROVAL_REQUESTED: _asked,
    EventType.TOOL_APPROVAL_GRANTED: _granted,
    EventType.TOOL_APPROVAL_DENIED: _denied,
}
