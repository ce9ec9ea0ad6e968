"""Records rebuilt from events: what a session or a run was as of any sequence number. Pure.

1. What an event tells is taken from it: statuses, the times of their changes, errors, outputs, turns, tokens, costs.
2. What no event tells stays as the record that is given has it, or as a new one would: of a session ``context``,
   ``tags``, ``metadata`` and ``idempotency_key``; of a run ``input``, ``options``, ``metadata``, ``created_us``,
   ``from_sequence``, ``idempotency_key`` and ``provider_metadata``. All but the last never change. A run makes no
   event before it starts, so when it was asked for is one of these. The output of a run that is over is the record's
   too, for a provider may have made one up.
3. Without a record, ``created_us`` is the time of the session's first event, which may be a little later than that.

The same fold checks records against their events (`journal.replay_faults`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EVENT_GROUPS, Event, EventGroup, EventType
from asm_actors.runs.run import TERMINAL_RUN_STATUSES, Run, RunStatus
from asm_actors.sessions.session import Session, SessionStatus

__all__ = [
    "BEGINNINGS",
    "RUN_ENDS",
    "SESSION_EVENTS",
    "STATUS_AFTER",
    "RunFold",
    "fold_run",
    "fold_session",
]

SESSION_EVENTS: Final = frozenset(EVENT_GROUPS[EventGroup.SESSION]) - {EventType.TRANSCRIPT_COMPACTED}
"""The types that tell of a session itself: all that :func:`fold_session` looks at."""

BEGINNINGS: Final = frozenset({EventType.SESSION_CREATED, EventType.SESSION_FORKED})
"""The types with which a session begins."""
STATUS_AFTER: Final[Mapping[EventType, SessionStatus]] = {
    EventType.SESSION_STARTED: SessionStatus.ACTIVE,
    EventType.SESSION_RESUMED: SessionStatus.ACTIVE,
    EventType.SESSION_PAUSED: SessionStatus.PAUSED,
    EventType.SESSION_COMPLETED: SessionStatus.COMPLETED,
    EventType.SESSION_FAILED: SessionStatus.FAILED,
    EventType.SESSION_CANCELLED: SessionStatus.CANCELLED,
}

RUN_ENDS: Final[Mapping[EventType, RunStatus]] = {
    EventType.RUN_COMPLETED: RunStatus.COMPLETED,
    EventType.RUN_FAILED: RunStatus.FAILED,
    EventType.RUN_CANCELLED: RunStatus.CANCELLED,
    EventType.RUN_TIMEOUT: RunStatus.TIMEOUT,
}
"""The types that end a run, and how."""


# --- Sessions --------------------------------------------------------------------------------------------------


def fold_session(events: Iterable[Event], known: Session | None = None) -> Session:
    """Rebuild a session's record as of the last of some events.

    Args:
        events: all events of the session up to some sequence number, in order; those that are not about the session
            itself only count. Of a fork this is its whole history: up to ``forked_at`` that gives the record of the
            session which it was forked from, and from there on its own.
        known: the session's record at any time, for what no event tells; see the module. With it the first events may
            be missing, because they were pruned.

    Returns:
        The record; its ``last_sequence`` is that of the last event.

    Raises:
        ValidationError: no session begins in them, and there is no record.
    """
    session = None if known is None else _as_new(known)
    last = 0
    for event in events:
        last = event.sequence_number or last
        kind = event.type
        if kind not in SESSION_EVENTS:
            continue
        if kind in BEGINNINGS:
            session = _begun(event, known)
        elif session is None:  # its first events were pruned
            continue
        elif kind is EventType.SESSION_DELETED:
            session = session.replace(deleted_us=event.timestamp_us, updated_us=event.timestamp_us)
        else:
            session = session.replace(status=STATUS_AFTER[kind], updated_us=event.timestamp_us)
    if session is None:
        raise AsmError(
            ErrorCode.VALIDATION_ERROR, "no session begins in these events: give the first ones too"
        )
    return session.replace(last_sequence=last)


def _begun(event: Event, known: Session | None) -> Session:
    data = event.data
    at = data.get("at") if event.type is EventType.SESSION_FORKED else None
    if known is not None and known.id == event.session_id:
        return _as_new(known).replace(forked_at=at)
    return Session(
        id=event.session_id,
        agent_id=data.get("agent_id", ""),
        parent_session_id=data.get("parent_session_id"),
        created_us=event.timestamp_us,
        updated_us=event.timestamp_us,
        provider=data.get("provider"),
        forked_at=at,
    )


def _as_new(session: Session) -> Session:
    """The record as it was when the session was made."""
    return session.replace(status=SessionStatus.PENDING, updated_us=session.created_us, deleted_us=None)


# --- Runs ------------------------------------------------------------------------------------------------------


def fold_run(events: Iterable[Event], known: Run | None = None) -> Run:
    """Rebuild a run's record as of the last of some events.

    Args:
        events: all events of the run up to some sequence number, in order. None of them means that it is pending.
        known: the run's record at any time, for what no event tells; see the module.

    Returns:
        The record.

    Raises:
        ValidationError: there are no events and no record.
    """
    fold = RunFold(known)
    for event in events:
        fold.take(event)
    if fold.run is None:
        raise AsmError(ErrorCode.VALIDATION_ERROR, "a run without events cannot be told from them alone")
    return fold.run


class RunFold:
    """A run's record, event by event; see :func:`fold_run`.

    Attributes:
        run: the record so far; None before the first event, if none was known.
    """

    def __init__(self, known: Run | None) -> None:
        self.run: Run | None = None if known is None else _unbegun(known)
        self._known = known
        self._text: list[str] = []
        self._message: str | None = None
        self._calls: list[dict[str, Any]] = []
        # Why it waits, or does not: calls that somebody is asked about, calls that go on meanwhile, a pause.
        self._undecided: set[Any] = set()
        self._begun: set[Any] = set()
        self._is_paused = False

    def take(self, event: Event) -> None:
        """Take the run's next event."""
        if self.run is None:
            self.run = Run(id=event.run_id or "", session_id=event.session_id, created_us=event.timestamp_us)
        if self.run.status in TERMINAL_RUN_STATUSES:
            return
        handler = _RUN_HANDLERS.get(event.type)
        if handler is not None:
            self.run = handler(self, self.run, event)

    def _started(self, run: Run, event: Event) -> Run:
        started = event.timestamp_us if run.started_us is None else run.started_us
        return run.replace(status=RunStatus.RUNNING, started_us=started)

    def _waiting(self, run: Run) -> Run:
        """The record with the status that follows from why it waits."""
        if self._is_paused:
            return run.replace(status=RunStatus.PAUSED)
        waits = self._undecided and not self._begun
        return run.replace(status=RunStatus.AWAITING_APPROVAL if waits else RunStatus.RUNNING)

    def _paused(self, run: Run, event: Event) -> Run:
        self._is_paused = True
        return self._waiting(run)

    def _resumed(self, run: Run, event: Event) -> Run:
        self._is_paused = "waits_for" in event.data  # its session is paused, too
        return self._waiting(run)

    def _recovered(self, run: Run, event: Event) -> Run:
        self._forget_turn()
        self._begun.clear()
        self._is_paused = False
        data = event.data
        changes: dict[str, Any] = {"recoveries": data.get("recovery", run.recoveries + 1)}
        if run.status is not RunStatus.PENDING:
            changes["status"] = RunStatus.RUNNING
        if data.get("decision") == "retry":
            changes["attempt"] = run.attempt + 1
            self._undecided.clear()
        return run.replace(**changes)

    def _usage(self, run: Run, event: Event) -> Run:
        return run.with_token_usage(event.data)

    def _turn_completed(self, run: Run, event: Event) -> Run:
        if not event.data.get("is_last"):
            self._forget_turn()
        cost = event.data.get("cost_usd")
        return run.replace(
            turn_count=run.turn_count + 1,
            cost_usd=run.cost_usd if cost is None else cost + (run.cost_usd or 0),
        )

    def _forget_turn(self) -> None:
        self._text, self._message, self._calls = [], None, []

    def _streamed(self, run: Run, event: Event) -> Run:
        delta = event.data.get("delta") or event.data.get("content")
        if isinstance(delta, str):
            self._text.append(delta)
        return run

    def _received(self, run: Run, event: Event) -> Run:
        content = event.data.get("content")
        if isinstance(content, str):
            self._message = content
        return run

    def _call_started(self, run: Run, event: Event) -> Run:
        data = event.data
        if "attempt" in data:  # by the host, between two turns
            self._begun.add(data.get("tool_call_id"))
            return self._waiting(run) if self._undecided else run
        self._calls.append(
            {"id": data.get("tool_call_id"), "name": data.get("tool_name"), "input": data.get("tool_input")}
        )
        return run

    def _call_ended(self, run: Run, event: Event) -> Run:
        call_id = event.data.get("tool_call_id")
        if "attempt" in event.data:
            self._begun.discard(call_id)
            return self._waiting(run) if self._undecided else run
        for call in self._calls:
            if call["id"] == call_id:
                call["output"] = event.data.get("tool_output")
        return run

    def _approval_requested(self, run: Run, event: Event) -> Run:
        call_id = event.data.get("tool_call_id")
        self._begun.discard(call_id)  # its outcome is unknown: it does not go on
        self._undecided.add(call_id)
        return self._waiting(run)

    def _decided(self, run: Run, event: Event) -> Run:
        # One that was decided is about to go on, and so the run does, whatever else somebody is asked about.
        call_id = event.data.get("tool_call_id")
        self._undecided.discard(call_id)
        self._begun.add(call_id)
        return self._waiting(run)

    def _begun_again(self, run: Run, event: Event) -> Run:
        if not _is_new_attempt(event):
            return run
        self._forget_turn()
        return run.replace(attempt=run.attempt + 1)

    def _ended(self, run: Run, event: Event) -> Run:
        data = event.data
        changes: dict[str, Any] = {
            "status": RUN_ENDS[event.type],
            "ended_us": event.timestamp_us,
            "cost_usd": data.get("total_cost_usd", run.cost_usd),
        }
        content = "".join(self._text) if self._message is None else self._message
        if event.type is EventType.RUN_COMPLETED:
            changes["output"] = {
                "content": content,
                "stop_reason": data.get("stop_reason"),
                "tool_calls": self._calls,
            }
            changes["turn_count"] = data.get("num_turns", run.turn_count)
            if data.get("token_usage") is not None:
                changes["token_usage"] = dict(data["token_usage"])
        else:
            changes["error"] = _error_record(data)
            if self._text:
                changes["output"] = {"content": content, "partial": True}
        known = self._known
        if known is not None and known.is_terminal:
            changes["output"], changes["provider_metadata"] = known.output, known.provider_metadata
        return run.replace(**changes)


def _is_new_attempt(event: Event) -> bool:
    """Tell whether an error is one after which the turn is asked for once more."""
    data = event.data
    return data.get("source") != "provider" and ("retry_in_s" in data or data.get("will_retry") is True)


def _error_record(data: Mapping[str, Any]) -> dict[str, Any]:
    error = {"code": data.get("error_code"), "message": data.get("error_message")}
    error.update((key, data[key]) for key in ("provider_error", "details") if key in data)
    return error


def _unbegun(run: Run) -> Run:
    """The record as it was before the run began."""
    return run.replace(
        status=RunStatus.PENDING,
        output=None,
        error=None,
        turn_count=0,
        token_usage={},
        cost_usd=None,
        started_us=None,
        ended_us=None,
        provider_metadata={},
        attempt=0,
        recoveries=0,
    )


_RUN_HANDLERS: Final[Mapping[EventType, Callable[[RunFold, Run, Event], Run]]] = {
    EventType.RUN_STARTED: RunFold._started,
    EventType.RUN_PAUSED: RunFold._paused,
    EventType.RUN_RESUMED: RunFold._resumed,
    EventType.RUN_RECOVERED: RunFold._recovered,
    EventType.TURN_COMPLETED: RunFold._turn_completed,
    EventType.TOKEN_USAGE_UPDATED: RunFold._usage,
    EventType.MESSAGE_STREAMED: RunFold._streamed,
    EventType.MESSAGE_RECEIVED: RunFold._received,
    EventType.TOOL_CALL_STARTED: RunFold._call_started,
    EventType.TOOL_CALL_COMPLETED: RunFold._call_ended,
    EventType.TOOL_CALL_FAILED: RunFold._call_ended,
    EventType.TOOL_APPROVAL_REQUESTED: RunFold._approval_requested,
    EventType.TOOL_APPROVAL_GRANTED: RunFold._decided,
    EventType.TOOL_APPROVAL_DENIED: RunFold._decided,
    EventType.ERROR_OCCURRED: RunFold._begun_again,
    **dict.fromkeys(RUN_ENDS, RunFold._ended),
}
