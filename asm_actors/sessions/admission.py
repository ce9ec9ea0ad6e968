"""Half of a session's core: its runs, from admission to their ends. Pure; rules in `sessions.state`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asm_actors.effects import (
    AcquireSlot,
    CancelTimer,
    Effect,
    LoadRun,
    Note,
    Refuse,
    Reply,
    SetTimer,
    Then,
    ToRun,
    Write,
)
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import EMPTY, Draft
from asm_actors.runs.messages import CancelRun, DeadlineReached, Durable, RunAppends, RunEnded
from asm_actors.runs.result import RunResult, error_of_run
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions import messages as m
from asm_actors.sessions.open_runs import DurableFor, Ended, Phase, RunCrashed, RunEntry, run_draft
from asm_actors.sessions.session import Session, SessionStatus
from asm_actors.sessions.session_drafts import creation_data, reason_data, session_draft
from asm_actors.sessions.state import MAX_OPEN_RUNS, SESSIONS_POOL, SessionState, refusal

__all__ = ["HANDLERS", "begin_once", "cancel_entry"]


# --- Admitted, started ------------------------------------------------------------------------------------------


def _create_run(state: SessionState, message: m.CreateRun, now: int, reply: Any) -> list[Effect]:
    _check_takes_runs(state)
    _check_new_run(state, message.run)
    if len(state.open) >= MAX_OPEN_RUNS:
        raise AsmError(
            ErrorCode.MAX_RUNS_EXCEEDED,
            f"{len(state.open)} runs of session {state.session.id} are open; execute or cancel some first",
        )
    state.open[message.run.id] = RunEntry(message.run, Phase.CREATED)
    return [Write((), None, (message.run,), (Reply(reply, message.run),))]


def _submit(state: SessionState, message: m.SubmitRun, now: int, reply: Any) -> list[Effect]:
    _check_takes_runs(state, executing=True)
    _check_new_run(state, message.run)
    _check_room(state)
    run = message.run
    if not run.options.get("submitted"):
        run = run.replace(options={**run.options, "submitted": True})
    entry = state.open[run.id] = RunEntry(run, Phase.CREATED)
    effects: list[Effect] = [Write((), None, (run,), (Reply(reply, run),))]
    effects += _enqueue(state, entry, message.deadline_s)
    return effects


def _execute(state: SessionState, message: m.ExecuteRun, now: int, reply: Any) -> list[Effect]:
    entry = state.open.get(message.run_id)
    if entry is None:
        return [LoadRun(message.run_id, message, reply)]
    if entry.phase is not Phase.CREATED:
        # It is on its way already: executing it again is waiting for it.
        entry.wait(reply)
        return []
    _check_takes_runs(state, executing=True)
    _check_room(state)
    options = {**entry.run.options, **(message.options or {}), "submitted": True}
    entry.run = entry.run.replace(options=options)
    entry.wait(reply)
    effects: list[Effect] = []
    if not _starts_at_once(state):
        effects.append(Write((), None, (entry.run,)))
    return effects + _enqueue(state, entry, message.deadline_s)


def _await(state: SessionState, message: m.AwaitRun, now: int, reply: Any) -> list[Effect]:
    entry = state.open.get(message.run_id)
    if entry is None:
        return [LoadRun(message.run_id, message, reply)]
    entry.wait(reply)
    return []


def _run_loaded(state: SessionState, message: m.RunLoaded, now: int, reply: Any) -> list[Effect]:
    """Answer for a run that is over: all others are in `open`."""
    asked, run = message.message, message.run
    if run is None or run.session_id != state.session.id:
        error = AsmError(
            ErrorCode.RUN_NOT_FOUND,
            f"session {state.session.id} has no run {asked.run_id}",
            context={"session_id": state.session.id, "run_id": asked.run_id},
        )
        return [Refuse(message.reply, error)]
    if type(asked) is CancelRun:
        return [Reply(message.reply, run)]
    if type(asked) is m.ExecuteRun:
        error = AsmError(
            ErrorCode.INVALID_OPERATION,
            f"run {run.id} is over ({run.status.value}) and cannot be executed again; start a new run",
            context={"session_id": run.session_id, "run_id": run.id},
        )
        return [Refuse(message.reply, error)]
    return [_outcome(message.reply, run, None)]


def _run_once(state: SessionState, message: m.RunOnce, now: int, reply: Any) -> list[Effect]:
    state.session = message.session
    state.once = (message.run, message.deadline_s, reply)
    return [AcquireSlot(SESSIONS_POOL)]


def begin_once(state: SessionState, now: int) -> list[Effect]:
    assert state.once is not None
    run, deadline_s, reply = state.once
    state.once = None
    created = session_draft(state.session, EventType.SESSION_CREATED, now, creation_data(state.session))
    started = session_draft(state.session, EventType.SESSION_STARTED, now)
    state.session = state.session.with_status(SessionStatus.ACTIVE, now)
    state.completes_after = run.id
    entry = state.open[run.id] = RunEntry(run, Phase.CREATED, waiters=None if reply is None else [reply])
    return [Write((created, started), state.session, (run,)), *_enqueue(state, entry, deadline_s)]


def _enqueue(state: SessionState, entry: RunEntry, deadline_s: float | None) -> list[Effect]:
    effects: list[Effect] = []
    run_id = entry.run.id
    if deadline_s is not None:
        entry.has_deadline = True
        effects.append(SetTimer(run_id, deadline_s, DeadlineReached(run_id)))
    if _starts_at_once(state):
        return [*effects, state.start(entry)]
    entry.phase = Phase.QUEUED
    state.queue.enqueue_anyway(run_id)
    return effects


# --- Under way, cancelled, over ---------------------------------------------------------------------------------


def _run_appends(state: SessionState, message: RunAppends, now: int, reply: Any) -> list[Effect]:
    entry = state.open.get(message.run_id)
    if entry is None:
        return []
    runs: tuple[Run, ...] = ()
    if message.run is not None:
        entry.run = message.run
        runs = (message.run,)
    then = (Note(DurableFor(message.run_id, message.acknowledge)),) if message.acknowledge else ()
    return [Write(message.drafts, None, runs, then)]


def _durable_for(state: SessionState, message: DurableFor, now: int, reply: Any) -> list[Effect]:
    return [ToRun(message.run_id, Durable(message.count))] if message.run_id in state.open else []


def _run_ended(state: SessionState, message: RunEnded, now: int, reply: Any) -> list[Effect]:
    entry = state.open.get(message.run_id)
    if entry is None:
        return []
    session = _remember_provider(state, message)
    return _over(state, entry, message.run, message.drafts, message.error, now, session)


def _run_crashed(state: SessionState, message: RunCrashed, now: int, reply: Any) -> list[Effect]:
    """A run whose actor died without a word fails here: no run is left open by a crash."""
    entry = state.open.get(message.run_id)
    if entry is None:
        return []
    run = entry.run.with_error(message.error, now)
    draft = run_draft(state.session, run, EventType.RUN_FAILED, now, message.error.to_payload())
    return _over(state, entry, run, (draft,), message.error, now, None)


def _cancel_run(state: SessionState, message: CancelRun, now: int, reply: Any) -> list[Effect]:
    run_id = message.run_id or ""
    entry = state.open.get(run_id)
    if entry is None:
        return [LoadRun(run_id, message, reply)]
    entry.wait_for_end(reply)
    return cancel_entry(state, run_id, entry, message.reason, now)


def cancel_entry(
    state: SessionState, run_id: str, entry: RunEntry, reason: str | None, now: int
) -> list[Effect]:
    if entry.phase is Phase.STARTED:
        return [ToRun(run_id, CancelRun(reason, run_id))]
    return _end_waiting(state, entry, RunStatus.CANCELLED, EventType.RUN_CANCELLED, reason_data(reason), now)


def _deadline(state: SessionState, message: DeadlineReached, now: int, reply: Any) -> list[Effect]:
    entry = state.open.get(message.run_id)
    if entry is None:
        return []
    if entry.phase is Phase.STARTED:
        return [ToRun(message.run_id, message)]
    return _end_waiting(state, entry, RunStatus.TIMEOUT, EventType.RUN_TIMEOUT, {"phase": "queued"}, now)


def _end_waiting(
    state: SessionState, entry: RunEntry, status: RunStatus, kind: EventType, data: dict[str, Any], now: int
) -> list[Effect]:
    code = ErrorCode.CANCELLED if status is RunStatus.CANCELLED else ErrorCode.TIMEOUT
    error = AsmError(code, f"run {entry.run.id} was {status.value} before it started", details=data)
    run = entry.run.with_error(error, now, status)
    draft = run_draft(state.session, run, kind, now, {**data, **error.to_payload()})
    return _over(state, entry, run, (draft,), error, now, None)


def _over(
    state: SessionState,
    entry: RunEntry,
    run: Run,
    drafts: Any,
    error: AsmError | None,
    now: int,
    session: Session | None,
) -> list[Effect]:
    del state.open[run.id]
    effects: list[Effect] = []
    if entry.phase is Phase.STARTED:
        state.n_started -= 1
    elif entry.phase is Phase.QUEUED:
        state.queue.remove(run.id)
    if entry.has_deadline:
        effects.append(CancelTimer(run.id))
    then: list[Then] = [_outcome(waiter, run, error) for waiter in entry.waiters or ()]
    then += [Reply(asker, run) for asker in entry.cancels or ()]
    if state.completes_after == run.id and state.closing is None:
        # One append for the run's end and the session's: `RunOnce` costs no further commit.
        state.completes_after = None
        drafts = (*drafts, _end_after_run(state, run, error, now))
        session = state.session
        then.append(Note(Ended()))
        return [*effects, Write(drafts, session, (run,), then), *state.release_slot()]
    effects.append(Write(drafts, session, (run,), then))
    effects += state.start_next()
    return effects


def _end_after_run(state: SessionState, run: Run, error: AsmError | None, now: int) -> Draft:
    if error is None:
        status, kind, data = SessionStatus.COMPLETED, EventType.SESSION_COMPLETED, EMPTY
    elif run.status is RunStatus.CANCELLED:
        status, kind, data = (
            SessionStatus.CANCELLED,
            EventType.SESSION_CANCELLED,
            reason_data("run_cancelled"),
        )
    else:
        status, kind, data = SessionStatus.FAILED, EventType.SESSION_FAILED, error.to_payload()
    state.session = state.session.with_status(status, now)
    return session_draft(state.session, kind, now, data)


def _remember_provider(state: SessionState, message: RunEnded) -> Session | None:
    """Keep the provider's own session id and model with the session, for native continuation."""
    facts = {key: value for key, value in message.facts.items() if value is not None}
    if "provider_session_id" not in facts:
        return None
    session = state.session
    name = message.run.provider or session.provider or ""
    known = session.metadata.get("provider_sessions") or {}
    if known.get(name) == facts:
        return None
    metadata = {**session.metadata, "provider_sessions": {**known, name: facts}}
    state.session = session.replace(metadata=metadata)
    return state.session


# --- Small things ----------------------------------------------------------------------------------------------


def _outcome(to: Any, run: Run, error: AsmError | None) -> Reply | Refuse:
    if run.status is RunStatus.COMPLETED:
        return Reply(to, RunResult.of(run))
    return Refuse(to, error or error_of_run(run))


def _check_takes_runs(state: SessionState, *, executing: bool = False) -> None:
    status = state.session.status
    if state.session.is_terminal or state.closing is not None:
        raise refusal(state, "start a run in it: it is over; start a new session")
    if executing and status is SessionStatus.PENDING:
        raise refusal(state, "execute a run in it before it is active; call activate_session first")


def _check_new_run(state: SessionState, run: Run) -> None:
    if run.id in state.open:
        raise AsmError(
            ErrorCode.ALREADY_EXISTS,
            f"session {state.session.id} has a run {run.id} already; choose another id",
            context={"session_id": state.session.id, "run_id": run.id},
        )


def _check_room(state: SessionState) -> None:
    if not _starts_at_once(state) and state.queue.is_full:
        state.queue.enqueue("")  # raises, and says what to do


def _starts_at_once(state: SessionState) -> bool:
    return state.may_start and not state.queue


HANDLERS = {
    m.CreateRun: _create_run,
    m.SubmitRun: _submit,
    m.ExecuteRun: _execute,
    m.AwaitRun: _await,
    m.RunOnce: _run_once,
    m.RunLoaded: _run_loaded,
    CancelRun: _cancel_run,
    DeadlineReached: _deadline,
    RunAppends: _run_appends,
    RunEnded: _run_ended,
    RunCrashed: _run_crashed,
    DurableFor: _durable_for,
}
"""Message type -> its handler `(state, message, now, reply) -> effects`."""
