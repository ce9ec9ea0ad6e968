"""Records rebuilt from events: what a session or a run was as of any sequence number. Pure.

1. What an event tells is taken from it: statuses, the times of their changes, errors, outputs, turns, tokens, costs.
2. What no event tells stays as the record that is given has it, or as a new one would: of a session ``context``,
   ``tags``, ``metadata`` and ``idempotency_key``; of a run ``input``, ``options``, ``metadata``, ``created_us``,
   ``from_sequence``, ``idempotency_key`` and ``provider_metadata``. All but the last never change. A run makes no
   event before it starts, so when it was asked for is one of these. The output of a run that is over is the record's
   too, for a provider may have made one up.
3. Without a record, ``created_us`` is the time of the session's first event, which may be a little later than that.

The same fold checks records against their events (:func:`disagreements`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EVENT_GROUPS, Event, EventGroup, EventType
from asm_actors.runs.run import TERMINAL_RUN_STATUSES, Run, RunStatus
from asm_actors.sessions.session import TERMINAL_SESSION_STATUSES, Session, SessionStatus

__all__ = [
    "RUN_ENDS",
    "SESSION_EVENTS",
    "RunFold",
    "disagreements",
    "fold_run",
    "fold_session",
    "run_faults",
    "session_faults",
]

SESSION_EVENTS: Final = frozenset(EVENT_GROUPS[EventGroup.SESSION])
"""The types that tell of a session itself: all that :func:`fold_session` looks at."""

_BEGINNINGS: Final = frozenset({EventType.SESSION_CREATED, EventType.SESSION_FORKED})
_STATUS_AFTER: Final[Mapping[EventType, SessionStatus]] = {
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
        if kind in _BEGINNINGS:
            session = _begun(event, known)
        elif session is None:  # its first events were pruned
            continue
        elif kind is EventType.SESSION_DELETED:
            session = session.replace(deleted_us=event.timestamp_us, updated_us=event.timestamp_us)
        else:
            session = session.replace(status=_STATUS_AFTER[kind], updated_us=event.timestamp_us)
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
        self._undecided: set[Any] = set()

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

    def _recovered(self, run: Run, event: Event) -> Run:
        self._forget_turn()
        data = event.data
        changes: dict[str, Any] = {"recoveries": data.get("recovery", run.recoveries + 1)}
        if run.status is not RunStatus.PENDING:
            changes["status"] = RunStatus.RUNNING
        if data.get("decision") == "retry":
            changes["attempt"] = run.attempt + 1
        return run.replace(**changes)

    def _usage(self, run: Run, event: Event) -> Run:
        return run.with_token_usage(event.data)

    def _turn_completed(self, run: Run, event: Event) -> Run:
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
        if "attempt" in data:
            return run  # by the host, between two turns
        self._calls.append(
            {"id": data.get("tool_call_id"), "name": data.get("tool_name"), "input": data.get("tool_input")}
        )
        return run

    def _call_ended(self, run: Run, event: Event) -> Run:
        for call in self._calls:
            if call["id"] == event.data.get("tool_call_id"):
                call["output"] = event.data.get("tool_output")
        return run

    def _approval_requested(self, run: Run, event: Event) -> Run:
        self._undecided.add(event.data.get("tool_call_id"))
        return run.replace(status=RunStatus.AWAITING_APPROVAL)

    def _decided(self, run: Run, event: Event) -> Run:
        self._undecided.discard(event.data.get("tool_call_id"))
        return run if self._undecided else run.replace(status=RunStatus.RUNNING)

    def _begun_again(self, run: Run, event: Event) -> Run:
        if not _is_new_attempt(event):
            return run
        self._forget_turn()
        return run.replace(attempt=run.attempt + 1)

    def _ended(self, run: Run, event: Event) -> Run:
        data = event.data
        changes: dict[str, Any] = {"status": RUN_ENDS[event.type], "ended_us": event.timestamp_us}
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
            changes["cost_usd"] = data.get("total_cost_usd", run.cost_usd)
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


# --- Checking --------------------------------------------------------------------------------------------------


def disagreements(session: Session, runs: Iterable[Run], events: Iterable[Event]) -> list[str]:
    """Tell where the records of a session and its runs contradict their events.

    Compared is what events tell for certain: how everything stands and when it changed. If some events were pruned
    (their sequence numbers have a gap), the last sequence number alone is.

    Args:
        session: its record, with ``last_sequence`` up to date.
        runs: the records of all its runs.
        events: its own events, all of them, in order; of a fork those from ``forked_at + 1`` on.

    Returns:
        One sentence per contradiction; empty when records and events agree.
    """
    own = [event for event in events if event.session_id == session.id]
    last = (own[-1].sequence_number or 0) if own else session.forked_at or 0
    if last != session.last_sequence:
        return [f"session {session.id} ends at {session.last_sequence}, and its last event is {last}"]
    if len(own) != last - (session.forked_at or 0):
        return []
    if not own:
        return [f"session {session.id} has no events"]
    found = session_faults(session, own)
    of_run: dict[str, list[Event]] = {}
    for event in own:
        if event.run_id is not None:
            of_run.setdefault(event.run_id, []).append(event)
    for run in runs:
        told = of_run.pop(run.id, [])
        found += run_faults(run, fold_run(told, run), sum(event.type in RUN_ENDS for event in told))
    found += [f"run {run_id} has events and no record" for run_id in of_run]
    return found


def session_faults(session: Session, own: list[Event]) -> list[str]:
    """Tell where the record of a session contradicts its events; only those about the session itself matter."""
    if own[0].type not in _BEGINNINGS:
        return [f"session {session.id} begins with {own[0].type}"]
    told = fold_session(own, session)
    ends = [event.type for event in own if _STATUS_AFTER.get(event.type) in TERMINAL_SESSION_STATUSES]
    found = [f"session {session.id} ended {len(ends)} times"] if len(ends) > 1 else []
    return found + _differences("session", session, told, ("status", "updated_us", "deleted_us", "forked_at"))


_UNDER_WAY: Final = frozenset(RunStatus) - TERMINAL_RUN_STATUSES - {RunStatus.PENDING}


def run_faults(run: Run, told: Run, n_ends: int) -> list[str]:
    """Tell where the record of a run contradicts the one that its events give, ``n_ends`` of which ended it."""
    found = [f"run {run.id} ended {n_ends} times"] if n_ends > 1 else []
    if run.status is not told.status and not {run.status, told.status} <= _UNDER_WAY:
        # Waiting in between is told by other records than events; being under way at all is not.
        found.append(f"run {run.id} is {run.status}, and {told.status} by its events")
    found += _differences("run", run, told, ("started_us", "ended_us"))
    if run.is_terminal and told.is_terminal and _code(run) != _code(told):
        found.append(f"run {run.id} ended with {_code(run)}, and with {_code(told)} by its events")
    return found


def _code(run: Run) -> Any:
    return None if run.error is None else run.error.get("code")


def _differences(what: str, record: Any, told: Any, names: Iterable[str]) -> list[str]:
    return [
        f"{what} {record.id}: {name} is {getattr(record, name)}, and {getattr(told, name)} by its events"
        for name in names
        if getattr(record, name) != getattr(told, name)
    ]
