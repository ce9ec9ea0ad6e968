"""Where records contradict what their events tell, by the folds of `journal.replay`. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from asm_actors.events import Event
from asm_actors.journal.replay import BEGINNINGS, RUN_ENDS, STATUS_AFTER, fold_run, fold_session
from asm_actors.runs.run import TERMINAL_RUN_STATUSES, Run, RunStatus
from asm_actors.sessions.session import TERMINAL_SESSION_STATUSES, Session

__all__ = ["disagreements", "run_faults", "session_faults"]


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
    if own[0].type not in BEGINNINGS:
        return [f"session {session.id} begins with {own[0].type}"]
    told = fold_session(own, session)
    ends = [event.type for event in own if STATUS_AFTER.get(event.type) in TERMINAL_SESSION_STATUSES]
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
