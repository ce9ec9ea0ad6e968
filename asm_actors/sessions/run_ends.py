"""Part of a session's core: runs under way, cancelled, over. Pure; rules in `sessions.state`.

A run ends in `end_run` and nowhere else: it leaves `open`, whoever waits gets the answer behind the durable end, the
next one in the queue starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asm_actors.effects import CancelTimer, Effect, LoadRun, Note, Refuse, Reply, Then, ToRun, Write
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import EMPTY, Draft
from asm_actors.runs.messages import (
    ROLLED_BACK,
    CancelRun,
    DeadlineReached,
    Durable,
    InterruptRun,
    RunAppends,
    RunBarrier,
    RunEnded,
    RunWaits,
    SupersedeRun,
)
from asm_actors.runs.result import RunResult, error_of_run
from asm_actors.runs.run import Run, RunStatus
from asm_actors.runs.unfinished import ENDING, must_finish, put_off
from asm_actors.sessions.open_runs import SUPERSEDED, Closing, DurableFor, Ended, Phase, RunEntry, run_draft
from asm_actors.sessions.questions import timers_off, with_question
from asm_actors.sessions.session import Session, SessionStatus
from asm_actors.sessions.session_drafts import reason_data, session_draft, told_data
from asm_actors.sessions.state import ROLLS_BACK, SUPERSEDES, Handler, SessionState
from asm_actors.transcripts.summing import compacted_data

__all__ = [
    "HANDLERS",
    "cancel_run",
    "end_as_told",
    "end_crashed",
    "end_run",
    "outcome",
    "refuse_input",
    "withdraw",
]


# --- Under way -------------------------------------------------------------------------------------------------


def _run_appends(state: SessionState, message: RunAppends, now: int, reply: Any) -> list[Effect]:
    entry = state.open.get(message.run_id)
    if entry is None:
        return []
    runs: tuple[Run, ...] = ()
    if message.run is not None:
        is_plain = entry.pausing is None and entry.superseded is None
        entry.run = message.run if is_plain else entry.noted(message.run)
        entry.is_recorded = True
        runs = (entry.run,)
    count = message.acknowledge
    then = (Note(DurableFor(message.run_id, count, entry.life)),) if count else ()
    return [Write(message.drafts, None, runs, then)]


def _durable_for(state: SessionState, message: DurableFor, now: int, reply: Any) -> list[Effect]:
    entry = state.open.get(message.run_id)
    is_meant = entry is not None and entry.life == message.life and entry.phase is Phase.STARTED
    return [ToRun(message.run_id, Durable(message.count))] if is_meant else []


def _barrier(state: SessionState, message: RunBarrier, now: int, reply: Any) -> list[Effect]:
    entry = state.open.get(message.run_id)
    return [] if entry is None else [Write((), then=(Note(DurableFor(message.run_id, 0, entry.life)),))]


def _run_waits(state: SessionState, message: RunWaits, now: int, reply: Any) -> list[Effect]:
    """Most runs start at once, and their start is their record; one that waits must not be forgotten in a crash."""
    entry = state.open.get(message.run_id)
    if entry is None or entry.is_recorded:
        return []
    entry.is_recorded = True
    return [Write((), None, (entry.run,))]


def _run_ended(state: SessionState, message: RunEnded, now: int, reply: Any) -> list[Effect]:
    entry = state.open.get(message.run_id)
    if entry is None:
        return []
    if message.run.options.get("purpose"):
        drafts = _with_summary(state, message, now)
        return end_run(state, entry, message.run, drafts, message.error, now)
    session = _remember_provider(state, message)
    return end_run(state, entry, message.run, message.drafts, message.error, now, session)


def _with_summary(state: SessionState, message: RunEnded, now: int) -> Sequence[Draft]:
    """The last events of a run that is no part of the conversation: its summary of that comes before its end."""
    data = compacted_data(message.run)
    if data is None:
        return message.drafts
    draft = run_draft(state.session, message.run, EventType.TRANSCRIPT_COMPACTED, now, data)
    return (*message.drafts[:-1], draft, message.drafts[-1])


# --- Cancelled, out of time --------------------------------------------------------------------------------------


def cancel_run(state: SessionState, message: CancelRun | InterruptRun, now: int, reply: Any) -> list[Effect]:
    """Handle `CancelRun` and `InterruptRun`."""
    run_id = message.run_id or ""
    told_data(message.reason, message.by)
    entry = state.open.get(run_id)
    if entry is None:
        return [LoadRun(run_id, message, reply)]
    entry.wait_for_end(reply)
    return withdraw(state, entry, message, now)


def withdraw(
    state: SessionState, entry: RunEntry, message: CancelRun | InterruptRun | SupersedeRun, now: int
) -> list[Effect]:
    """Cancel or interrupt an open run, or have another one take its place.

    It ends at once if it waits in its session, else by its own actor.
    """
    if entry.phase is Phase.STARTED or _may_have_a_stream(entry):
        return _tell_to_end(state, entry, message)
    return _end_waiting(state, entry, RunStatus.CANCELLED, EventType.RUN_CANCELLED, message.told, now)


def _deadline(state: SessionState, message: DeadlineReached, now: int, reply: Any) -> list[Effect]:
    entry = state.open.get(message.run_id)
    if entry is None:
        return []
    if entry.phase is Phase.STARTED or _may_have_a_stream(entry):
        return _tell_to_end(state, entry, message)
    data = {"phase": "queued" if entry.phase is Phase.QUEUED else entry.phase.value}
    return _end_waiting(state, entry, RunStatus.TIMEOUT, EventType.RUN_TIMEOUT, data, now)


def _may_have_a_stream(entry: RunEntry) -> bool:
    """Whether it is taken up again and waits to go on: the stream of its earlier life may be open for a moment yet."""
    if entry.phase is Phase.HELD:
        return entry.is_cut and entry.run.status is RunStatus.PAUSED
    return entry.run.status is RunStatus.RUNNING and entry.phase in (Phase.QUEUED, Phase.RECOVERING)


def _tell_to_end(state: SessionState, entry: RunEntry, message: Any) -> list[Effect]:
    """Have a run ended by its own actor, which closes its stream first; one without an actor gets one for that."""
    entry.stopping = message
    effects: list[Effect] = []
    if entry.phase is not Phase.STARTED:
        state.queue.remove(entry.run.id)
        if entry.phase is Phase.RECOVERING:
            state.n_started -= 1  # counted again as it starts
        run = entry.run
        if run.status is RunStatus.PAUSED:
            # For its actor it goes on, and is stopped at once; on record it stands still until it is over.
            entry.run = run.replace(status=RunStatus.RUNNING)
        effects.append(state.start(entry))
        entry.run = run
    return [*effects, ToRun(entry.run.id, message)]


def end_crashed(state: SessionState, entry: RunEntry, now: int) -> list[Effect]:
    """End a run whose actor crashed when it was told to end: by another actor, and if that crashes too without one."""
    if entry.has_crashed_stopping:
        return end_as_told(state, entry, now)
    entry.has_crashed_stopping, entry.phase = True, Phase.RECOVERING
    return _tell_to_end(state, entry, entry.stopping)


def end_as_told(state: SessionState, entry: RunEntry, now: int) -> list[Effect]:
    """End a run without an actor, as that one was told to end it: it crashed, or had left already (`holding`)."""
    message = entry.stopping
    if type(message) is not DeadlineReached:
        return _end_waiting(state, entry, RunStatus.CANCELLED, EventType.RUN_CANCELLED, message.told, now)
    return _end_waiting(state, entry, RunStatus.TIMEOUT, EventType.RUN_TIMEOUT, {"phase": "stopping"}, now)


def _end_waiting(
    state: SessionState, entry: RunEntry, status: RunStatus, kind: EventType, data: dict[str, Any], now: int
) -> list[Effect]:
    code = ErrorCode.CANCELLED if status is RunStatus.CANCELLED else ErrorCode.TIMEOUT
    what = "was cancelled" if status is RunStatus.CANCELLED else "reached its deadline"
    when = "before it started" if entry.run.status is RunStatus.PENDING else "while it waited to go on"
    error = AsmError(code, f"run {entry.run.id} {what} {when}", details=data)
    run = entry.run.with_error(error, now, status)
    if ROLLED_BACK in data:
        run = run.replace(details={**run.details, ROLLED_BACK: True})
    draft = run_draft(state.session, run, kind, now, {**data, **error.to_payload()})
    return end_run(state, entry, run, (draft,), error, now)


# --- Over ------------------------------------------------------------------------------------------------------


def end_run(
    state: SessionState,
    entry: RunEntry,
    run: Run,
    drafts: Sequence[Draft],
    error: AsmError | None,
    now: int,
    session: Session | None = None,
) -> list[Effect]:
    """End an open run.

    Args:
        state: Changed in place.
        entry: The run's place in the session.
        run: Its final record.
        drafts: Its last events; the last of them is the terminal one.
        error: What those who wait for the result get raised; None if it completed.
        now: Microseconds since the epoch.
        session: The session's new record, if it changed.
    """
    if must_finish(run) and ENDING not in entry.run.details and not state.session.is_terminal:
        return _finish_first(state, entry, run, drafts, session)
    del state.open[run.id]
    run = _final(run)
    effects: list[Effect] = []
    runs: tuple[Run, ...] = (run,)
    if entry.phase is Phase.STARTED or entry.phase is Phase.RECOVERING:
        state.n_started -= 1
    elif entry.phase is Phase.QUEUED:
        state.queue.remove(run.id)
        if SUPERSEDES in run.options:
            runs = (run, *_left_superseded(state, run))
    if entry.has_deadline:
        effects.append(CancelTimer(run.id))
    if entry.book is not None:
        effects += timers_off(entry)
    if entry.approval is not None:
        drafts = with_question(state.session, entry, run, drafts, now)
    then: list[Then] = [outcome(waiter, run, error) for waiter in entry.waiters or ()]
    then += [Reply(asker, run) for asker in entry.cancels or ()]
    if entry.steering:
        then += refuse_input(entry, f"run {run.id} ended before its provider took the input")
    if state.completes_after != run.id or state.closing is not None:
        effects.append(Write(drafts, session, runs, then))
        if run.options.get("purpose"):
            effects += state.start_after_compaction(run.id)
        return effects + state.start_next()
    state.completes_after = None
    status, kind, data = _end_of_session(run, error)
    if state.open:
        # Somebody else put more runs into this session: they go first.
        effects.append(Write(drafts, session, runs, then))
        state.closing = Closing(status, kind, data, [])
        return effects
    # One append for the run's end and the session's: `RunOnce` costs no further commit.
    state.session = state.session.with_status(status, now)
    last = session_draft(state.session, kind, now, data)
    then.append(Note(Ended()))
    return [*effects, Write((*drafts, last), state.session, (run,), then), *state.release_slot()]


def _finish_first(
    state: SessionState, entry: RunEntry, run: Run, drafts: Sequence[Draft], session: Session | None
) -> list[Effect]:
    """Have what is left to be done about a run's files done by an actor of its own, which then ends it.

    How it is to end is on record from now on. If the actor does not come to its end, the run ends without that.
    """
    entry.run = put_off(run, drafts[-1])
    entry.is_recorded = True
    effects: list[Effect] = [Write(drafts[:-1], session, (entry.run,))]
    if entry.phase is Phase.STARTED or entry.phase is Phase.RECOVERING:
        state.n_started -= 1  # counted again as it starts
    elif entry.phase is Phase.QUEUED:
        state.queue.remove(run.id)
    return [*effects, state.start(entry)]


def _left_superseded(state: SessionState, run: Run) -> list[Run]:
    """A run is over for which others were told to end that are open yet: have their records say so, as its own did."""
    found: list[Run] = []
    for other in run.options[SUPERSEDES]:
        entry = state.open.get(other)
        if entry is not None:
            entry.superseded = {"by": run.id, "rolls_back": bool(run.options.get(ROLLS_BACK))}
            entry.run = entry.noted(entry.run)
            found.append(entry.run)
    return found


def _final(run: Run) -> Run:
    """The record without what it said of its end to come."""
    if not run.details or not (ENDING in run.details or SUPERSEDED in run.details):
        return run
    details = {key: value for key, value in run.details.items() if key not in (ENDING, SUPERSEDED)}
    return run.replace(details=details)


def _end_of_session(run: Run, error: AsmError | None) -> tuple[SessionStatus, EventType, dict[str, Any]]:
    """How a session ends that was made for one run."""
    if error is None:
        return SessionStatus.COMPLETED, EventType.SESSION_COMPLETED, EMPTY
    if run.status is RunStatus.CANCELLED:
        return SessionStatus.CANCELLED, EventType.SESSION_CANCELLED, reason_data("run_cancelled")
    return SessionStatus.FAILED, EventType.SESSION_FAILED, error.to_payload()


def refuse_input(entry: RunEntry, why: str, code: ErrorCode = ErrorCode.INVALID_OPERATION) -> list[Then]:
    """Answer those whose input into the run's turn is on its way, and will not arrive."""
    steering, entry.steering = entry.steering or {}, None
    context = {"session_id": entry.run.session_id, "run_id": entry.run.id}
    return [Refuse(asker, AsmError(code, why, context=context)) for asker in steering.values()]


def outcome(to: Any, run: Run, error: AsmError | None) -> Reply | Refuse:
    """The answer for somebody who waited for the result of a run that is over."""
    if run.status is RunStatus.COMPLETED:
        return Reply(to, RunResult.of(run))
    return Refuse(to, error_of_run(run, error))


def _remember_provider(state: SessionState, message: RunEnded) -> Session | None:
    """Keep the provider's own session id and model with the session, for native continuation."""
    facts = {key: value for key, value in message.facts.items() if value is not None}
    if "provider_session_id" not in facts:
        return None
    session = state.session
    name = message.run.provider or session.provider or ""
    known = session.metadata.get("provider_sessions")
    known = known if isinstance(known, dict) else {}
    if known.get(name) == facts:
        return None
    metadata = {**session.metadata, "provider_sessions": {**known, name: facts}}
    state.session = session.replace(metadata=metadata)
    return state.session


HANDLERS: dict[type, Handler] = {
    CancelRun: cancel_run,
    InterruptRun: cancel_run,
    DeadlineReached: _deadline,
    RunAppends: _run_appends,
    RunBarrier: _barrier,
    RunWaits: _run_waits,
    RunEnded: _run_ended,
    DurableFor: _durable_for,
}
"""Message type -> its handler."""
