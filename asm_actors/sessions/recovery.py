"""What a session's core does with what the journal holds of it, after a restart of the process or of its actor. Pure.

A run that was created waits to be executed; one that was submitted is queued again, in order; one that was under way
is ended as failed with `interrupted`, which says that it may be tried again.
"""

from __future__ import annotations

from asm_actors.effects import AcquireSlot, Effect, Note, Write
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.messages import SessionLoaded
from asm_actors.sessions.open_runs import Ended, Phase, RunEntry, run_draft
from asm_actors.sessions.session_drafts import session_draft
from asm_actors.sessions.state import SESSIONS_POOL, SessionState
from asm_actors.sessions.session import SessionStatus

__all__ = ["restore"]


def restore(state: SessionState, loaded: SessionLoaded, now: int) -> list[Effect]:
    """Take the records into a fresh state.

    Args:
        state: Just made; changed in place.
        loaded: What the journal holds.
        now: Microseconds since the epoch.

    Returns:
        What is to be done: ends of interrupted runs, and the slot of a session that was active.
    """
    state.session = loaded.session
    effects: list[Effect] = []
    for run in loaded.runs:
        if run.status is not RunStatus.PENDING:
            effects.append(_interrupted(state, run, now))
        elif run.options.get("submitted"):
            state.open[run.id] = RunEntry(run, Phase.QUEUED)
            state.queue.enqueue_anyway(run.id)
            if run.options.get("once"):
                state.completes_after = run.id
        else:
            state.open[run.id] = RunEntry(run, Phase.CREATED)
    if state.session.status is SessionStatus.ACTIVE:
        # It waits for its slot if the system has fewer now; its runs wait with it.
        effects.append(AcquireSlot(SESSIONS_POOL, wait=True))
    return effects


def _interrupted(state: SessionState, run: Run, now: int) -> Effect:
    error = AsmError(
        ErrorCode.INTERRUPTED,
        f"run {run.id} was {run.status.value} when its process ended",
        context={"session_id": run.session_id, "run_id": run.id},
    )
    ended = run.with_error(error, now)
    drafts = [run_draft(state.session, ended, EventType.RUN_FAILED, now, error.to_payload())]
    if not run.options.get("once"):
        return Write(drafts, None, (ended,))
    # The session was made for this one run: it ends with it.
    state.session = state.session.with_status(SessionStatus.FAILED, now)
    drafts.append(session_draft(state.session, EventType.SESSION_FAILED, now, error.to_payload()))
    return Write(drafts, state.session, (ended,), (Note(Ended()),))
