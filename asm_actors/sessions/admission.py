"""Part of a session's core: its runs, from admission to their start. Pure; rules in `sessions.state`."""

from __future__ import annotations

from math import inf
from typing import Any

from asm_actors.effects import AcquireSlot, Effect, LoadRun, Reply, SetTimer, Write
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.runs.messages import DeadlineReached
from asm_actors.runs.options import check_options, merged_options
from asm_actors.runs.run import Run, RunStatus
from asm_actors.serialization import check_seconds, invalid, json_map
from asm_actors.sessions import messages as m
from asm_actors.sessions.open_runs import Phase, RunEntry
from asm_actors.sessions.second_run import marks, supersede, taken_places
from asm_actors.sessions.session import SessionStatus
from asm_actors.sessions.session_drafts import creation_data, session_draft
from asm_actors.sessions.state import (
    MAX_OPEN_RUNS,
    SESSIONS_POOL,
    Handler,
    SessionState,
    check_not_deleted,
    check_unborn,
    refusal,
)

__all__ = ["HANDLERS", "begin_once", "check_deadline", "enqueue_again", "keep_deadline"]


def _create_run(state: SessionState, message: m.CreateRun, now: int, reply: Any) -> list[Effect]:
    _check_takes_runs(state)
    _check_new_run(state, message.run)
    _check_few_are_open(state)
    state.open[message.run.id] = RunEntry(message.run, Phase.CREATED)
    return [Write((), None, (message.run,), (Reply(reply, message.run),))]


def _submit(state: SessionState, message: m.SubmitRun, now: int, reply: Any) -> list[Effect]:
    deadline_s = check_deadline(message.deadline_s)
    _check_takes_runs(state, executing=True)
    _check_new_run(state, message.run)
    _check_few_are_open(state)
    others = _check_room(state, message.run)
    run = _submitted(message.run, marks(state, others), deadline_s, now)
    entry = state.open[run.id] = RunEntry(run, Phase.CREATED)
    effects: list[Effect] = [Write((), None, (run,), (Reply(reply, run),))]
    if others:
        effects += supersede(state, run, others, now)
    return effects + _enqueue(state, entry, deadline_s)


def _execute(state: SessionState, message: m.ExecuteRun, now: int, reply: Any) -> list[Effect]:
    deadline_s, more = check_deadline(message.deadline_s), json_map(message.options, "options")
    entry = state.open.get(message.run_id)
    if entry is None:
        return [LoadRun(message.run_id, message, reply)]
    if entry.phase is not Phase.CREATED:
        # It is on its way already: executing it again is waiting for it.
        entry.wait(reply)
        return []
    _check_takes_runs(state, executing=True)
    others = _check_room(state, entry.run)
    entry.run = _submitted(entry.run, {**more, **marks(state, others)} if others else more, deadline_s, now)
    entry.wait(reply)
    if others:
        effects = [Write((), None, (entry.run,)), *supersede(state, entry.run, others, now)]
        return effects + _enqueue(state, entry, deadline_s)
    if _starts_at_once(state):
        entry.is_recorded = False
        return _enqueue(state, entry, deadline_s)
    return [Write((), None, (entry.run,)), *_enqueue(state, entry, deadline_s)]


def _queue(state: SessionState, message: m.QueueRun, now: int, reply: Any) -> list[Effect]:
    deadline_s = check_deadline(message.deadline_s)
    entry = state.open.get(message.run_id)
    if entry is None:
        return [LoadRun(message.run_id, message, reply)]
    if entry.phase is not Phase.CREATED:
        return [Write((), then=(Reply(reply, entry.run),))]
    _check_takes_runs(state, executing=True)
    others = _check_room(state, entry.run)
    entry.run = _submitted(entry.run, marks(state, others), deadline_s, now)
    effects: list[Effect] = [Write((), None, (entry.run,), (Reply(reply, entry.run),))]
    if others:
        effects += supersede(state, entry.run, others, now)
    return effects + _enqueue(state, entry, deadline_s)


def _submitted(run: Run, more: dict[str, Any], deadline_s: float | None, now: int) -> Run:
    """Mark a run as one that is to be executed whatever happens to this process (see `sessions.recovery`)."""
    if deadline_s is not None:
        more = {**more, "deadline_us": now + round(deadline_s * 1_000_000)}
    if not more and run.options.get("submitted"):
        return run
    return run.replace(options={**merged_options(run.options, more), "submitted": True})


def _await(state: SessionState, message: m.AwaitRun, now: int, reply: Any) -> list[Effect]:
    entry = state.open.get(message.run_id)
    if entry is None:
        return [LoadRun(message.run_id, message, reply)]
    entry.wait(reply)
    return []


def _run_once(state: SessionState, message: m.RunOnce, now: int, reply: Any) -> list[Effect]:
    check_unborn(state)
    check_deadline(message.deadline_s)
    state.adopt(message.session)
    state.once = (message.run, message.deadline_s, reply)
    return [AcquireSlot(SESSIONS_POOL)]


def begin_once(state: SessionState, now: int) -> list[Effect]:
    """The slot for `RunOnce` is there: make session and run durable, and start."""
    assert state.once is not None
    run, deadline_s, reply = state.once
    state.once = None
    run = _submitted(run, {}, deadline_s, now)
    created = session_draft(state.session, EventType.SESSION_CREATED, now, creation_data(state.session))
    started = session_draft(state.session, EventType.SESSION_STARTED, now)
    state.session = state.session.with_status(SessionStatus.ACTIVE, now)
    state.completes_after = run.id
    entry = state.open[run.id] = RunEntry(run, Phase.CREATED, waiters=None if reply is None else [reply])
    entry.is_recorded = False
    state.prelude = Write((created, started), state.session)
    return _enqueue(state, entry, deadline_s)


def enqueue_again(state: SessionState, entry: RunEntry, now: int) -> list[Effect]:
    """Put a run in line that the journal knows, with what is left of its time."""
    effects: list[Effect] = [] if entry.has_deadline else keep_deadline(entry, now)
    return effects + _enqueue(state, entry, None)


def keep_deadline(entry: RunEntry, now: int) -> list[Effect]:
    """Have the deadline of a run from the journal count on."""
    deadline_us = entry.run.options.get("deadline_us")
    if deadline_us is None:
        return []
    return [_time(entry, max(0.0, (deadline_us - now) / 1_000_000))]


def _time(entry: RunEntry, deadline_s: float) -> Effect:
    entry.has_deadline = True
    return SetTimer(entry.run.id, deadline_s, DeadlineReached(entry.run.id))


def _enqueue(state: SessionState, entry: RunEntry, deadline_s: float | None) -> list[Effect]:
    effects: list[Effect] = [] if deadline_s is None else [_time(entry, deadline_s)]
    if _starts_at_once(state) and not (state.second_run is not None and state.waits_for_others(entry.run)):
        return [*effects, state.start(entry)]
    entry.phase = Phase.QUEUED
    state.queue.enqueue_anyway(entry.run.id, state.priority_of(entry.run))
    return effects


# --- Checks: they come before the first change -------------------------------------------------------------------


def _check_takes_runs(state: SessionState, *, executing: bool = False) -> None:
    status = state.session.status
    check_not_deleted(state, "start a run in it; start a new session")
    if state.session.is_terminal or state.closing is not None:
        raise refusal(state, "start a run in it: it is over; start a new session")
    if executing and status is SessionStatus.PENDING:
        raise refusal(state, "execute a run in it before it is active; call activate_session first")


def _check_new_run(state: SessionState, run: Any) -> None:
    if not isinstance(run, Run) or run.status is not RunStatus.PENDING:
        raise invalid("run", "must be a pending Run", run)
    check_options(run.options)
    context = {"session_id": state.session.id, "run_id": run.id}
    if run.session_id != state.session.id:
        raise AsmError(
            ErrorCode.SESSION_MISMATCH, f"run {run.id} belongs to {run.session_id}", context=context
        )
    if run.id in state.open:
        raise AsmError(
            ErrorCode.ALREADY_EXISTS,
            f"session {state.session.id} has a run {run.id} already; choose another id",
            context=context,
        )


def _check_few_are_open(state: SessionState) -> None:
    if len(state.open) >= MAX_OPEN_RUNS:
        raise AsmError(
            ErrorCode.MAX_RUNS_EXCEEDED,
            f"{len(state.open)} runs of session {state.session.id} are open; execute or cancel some first",
        )


def _check_room(state: SessionState, run: Run) -> tuple[str, ...]:
    """Refuse a run that can neither start nor wait; return whose place it takes."""
    others = () if state.second_run is None else taken_places(state, run)
    if not others and not _starts_at_once(state):
        state.queue.check_room(state.places_to_come)
    return others


def check_deadline(seconds: Any) -> float | None:
    """Return a deadline in seconds as it was given.

    Raises:
        ValidationError: It is no number greater than 0.
    """
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < inf:
        raise invalid("deadline", "must be seconds greater than 0, or None", seconds)
    return check_seconds(seconds, "deadline")


def _starts_at_once(state: SessionState) -> bool:
    return state.may_start and not state.queue


HANDLERS: dict[type, Handler] = {
    m.CreateRun: _create_run,
    m.SubmitRun: _submit,
    m.ExecuteRun: _execute,
    m.AwaitRun: _await,
    m.QueueRun: _queue,
    m.RunOnce: _run_once,
}
"""Message type -> its handler."""
