"""What a session's core does with what the journal holds of it, after a restart of the process or of its actor. Pure.

1. A run that was created waits to be executed; one that was submitted is in line again, in order, with what is left
   of its time.
2. One that was under way is ended as failed: with `interrupted`, which says that it may be tried again, or with what
   brought its session down.
3. A session that was about to end has told nobody yet: it goes on, without the runs that were to end first.
"""

from __future__ import annotations

from typing import Any

from asm_actors.effects import AcquireSlot, Effect
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.admission import requeue
from asm_actors.sessions.messages import SessionLoaded
from asm_actors.sessions.open_runs import Phase, RunEntry, run_draft
from asm_actors.sessions.run_ends import end_run
from asm_actors.sessions.session import SessionStatus
from asm_actors.sessions.state import SESSIONS_POOL, Handler, SessionState

__all__ = ["HANDLERS"]


def _restore(state: SessionState, loaded: SessionLoaded, now: int, reply: Any) -> list[Effect]:
    """Take the records into a state that was just made."""
    state.head = loaded.session.last_sequence
    session = state.session = loaded.session
    effects: list[Effect] = []
    if session.status is SessionStatus.ACTIVE:
        # It waits for its slot if the system has fewer now; its runs wait with it.
        effects.append(AcquireSlot(SESSIONS_POOL, wait=True))
    interrupted: list[Run] = []
    for run in loaded.runs:
        if run.options.get("once") and not session.is_terminal:
            state.completes_after = run.id
        if run.status is not RunStatus.PENDING or session.is_terminal:
            state.open[run.id] = RunEntry(run, Phase.CREATED)
            interrupted.append(run)
        elif run.options.get("submitted"):
            effects += requeue(state, run, now)
        else:
            state.open[run.id] = RunEntry(run, Phase.CREATED)
    # A session that was made for one run ends with it, and takes the others along: that one comes last.
    for run in sorted(interrupted, key=lambda run: run.id == state.completes_after):
        effects += _interrupt(state, run, now, loaded.cause)
    return effects


def _interrupt(state: SessionState, run: Run, now: int, cause: AsmError | None) -> list[Effect]:
    error = cause
    if error is None:
        error = AsmError(
            ErrorCode.INTERRUPTED,
            f"run {run.id} was {run.status.value} when its process ended",
            context={"session_id": run.session_id, "run_id": run.id},
        )
    ended = run.with_error(error, now)
    draft = run_draft(state.session, ended, EventType.RUN_FAILED, now, error.to_payload())
    return end_run(state, state.open[run.id], ended, (draft,), error, now)


HANDLERS: dict[type, Handler] = {SessionLoaded: _restore}
"""Message type -> its handler."""
