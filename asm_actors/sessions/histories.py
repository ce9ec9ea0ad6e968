"""Reading how far runs had come, for those that are taken up again. Blocks; for threads that may."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from asm_actors.effects import LoadRun
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.query import EventFilter
from asm_actors.journal.store import Store
from asm_actors.policies.evaluator import Evaluator
from asm_actors.policies.facts import TELLING
from asm_actors.policies.state import fold
from asm_actors.runs.resumption import READ, Progress, must_be_read, progress_of
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.messages import ProgressLoaded, RecoverRun, RunLoaded

__all__ = ["read_progress", "read_run"]

_PIECES = frozenset({EventType.MESSAGE_STREAMED, EventType.TOKEN_USAGE_UPDATED})


def read_progress(store: Store, run: Run, evaluator: Evaluator | None = None) -> Progress | None:
    """Read how far an open run had come; None if its record says it all: no turn completed, no tool called, no policy.

    Only the events that tell it are read, and the pieces of the one turn that was cut.

    Args:
        store: The journal's.
        run: The run's record.
        evaluator: What looks at the run for its policy; None: it has none.

    Raises:
        StorageError: ``storage_read_failed``.
    """
    if not must_be_read(run) and (evaluator is None or run.status is RunStatus.PENDING):
        return None
    since = run.from_sequence or None
    events = store.read_session(run.session_id, EventFilter(run_ids=run.id, types=READ, after=since))
    progress = progress_of(run, events)
    pieces = store.read_session(
        run.session_id, EventFilter(run_ids=run.id, types=_PIECES, after=progress.after or None)
    )
    if pieces:
        progress = progress_of(run, events, len(pieces))
    if evaluator is None:
        return progress
    told = store.read_session(run.session_id, EventFilter(run_ids=run.id, types=TELLING, after=since))
    return evolve(progress, policed=fold(told, evaluator.pricing, evaluator.provider))


def read_run(
    store: Store, effect: LoadRun, evaluator_of: Callable[[Run], Evaluator | None]
) -> RunLoaded | ProgressLoaded:
    """Carry out a `LoadRun`.

    Args:
        store: The journal's.
        effect: What is asked for.
        evaluator_of: Gives what looks at a run for its policy.

    Raises:
        AsmError: ``storage_read_failed``; a run that is not there is told in the answer.
    """
    try:
        run = store.run(effect.run_id)
    except AsmError as error:
        if error.code is not ErrorCode.RUN_NOT_FOUND:
            raise
        return RunLoaded(None, effect.message, effect.reply)
    if type(effect.message) is RecoverRun:
        return ProgressLoaded(
            run.id, read_progress(store, run, evaluator_of(run)) or Progress(), effect.message.cause
        )
    return RunLoaded(run, effect.message, effect.reply)
