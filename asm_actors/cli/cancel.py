"""`asm cancel`: withdraw a run from outside the process that made it.

A journal has one writer. While a process holds it, its runs are that process's to cancel, and this command says which
process it is. If nobody holds it, its open runs are only records that wait for the next start: then this command
becomes the writer for a moment and ends the run for good, with the same event and record that a live cancel leaves.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from asm_actors.cli.common import Failure, echo_json, hint, json_option, open_for_reading
from asm_actors.cli.locating import journal_option
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.ids import RandomIds
from asm_actors.journal.append import Append
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.store import EventFilter
from asm_actors.redaction.making import redactor_of
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.open_runs import run_draft
from asm_actors.sessions.session import SessionStatus
from asm_actors.sessions.session_drafts import reason_data, session_draft

__all__ = ["cancel"]


@click.command(short_help="Cancel a run that no process works on.")
@click.argument("run_id", metavar="RUN")
@journal_option
@click.option("--reason", metavar="TEXT", help="Why; it is kept with the run.")
@json_option
def cancel(run_id: str, journal: Path, reason: str | None, as_json: bool) -> None:
    """Cancel a run that no process works on any more.

    A run of a process that is alive is cancelled there; this command then names that process.
    """
    with open_for_reading(journal) as store:
        run = store.run(run_id)
    was_open = not run.is_terminal
    if was_open:
        run = _cancel(journal, run_id, reason)
    if as_json:
        echo_json(run.to_map())
    elif was_open:
        click.echo(f"{run.id} is {run.status}; see it with: {hint(f'show {run.id}', journal)}")
    else:
        click.echo(f"{run.id} was over already: {run.status}")


def _cancel(journal: Path, run_id: str, reason: str | None) -> Run:
    store = LmdbStore(journal)
    try:
        store.open()
    except AsmError as error:
        if error.code is ErrorCode.JOURNAL_LOCKED:
            raise _held(error, journal, run_id) from error
        raise
    try:
        run = store.run(run_id)
        return run if run.is_terminal else end_as_cancelled(store, run, reason, time.time_ns() // 1000)
    finally:
        store.close()


def _held(error: AsmError, journal: Path, run_id: str) -> Failure:
    pid = error.details.get("pid")
    who = "another process" if pid is None else f"the process with pid {pid}"
    return Failure(
        f"run {run_id} belongs to {who}, which holds the journal at {journal}: cancel it there with"
        f' system.sessions.cancel_run("{run_id}"), or stop that process and repeat this command'
    )


def end_as_cancelled(store: LmdbStore, run: Run, reason: str | None, now: int) -> Run:
    """End an open run of a journal that this process alone holds; durable when it returns.

    Args:
        store: open for writing.
        run: its record, not over.
        reason: why, if anybody said.
        now: microseconds since the epoch.

    Returns:
        The run's final record.

    Raises:
        AsmError: the journal refused it; nothing was changed.
    """
    redactor = redactor_of(True, (), os.environ)
    if reason is not None and redactor is not None:
        reason = redactor.text(reason)
    session = store.session(run.session_id)
    spoken = EventFilter(run_ids=run.id, types=EventType.MESSAGE_STREAMED, limit=1)
    partial = bool(store.read_session(run.session_id, spoken))
    error = AsmError(
        ErrorCode.CANCELLED,
        f"run {run.id} was cancelled while no process worked on it",
        details=reason_data(reason) or None,
    )
    ended = run.with_error(error, now, RunStatus.CANCELLED)
    data = {**error.to_payload(), **reason_data(reason), "partial_content": partial}
    drafts = [run_draft(session, ended, EventType.RUN_CANCELLED, now, data)]
    changed = None
    if run.options.get("once") and not session.is_terminal:
        # The session was made for this one run: it ends with it.
        changed = session.with_status(SessionStatus.CANCELLED, now)
        drafts.append(session_draft(changed, EventType.SESSION_CANCELLED, now, reason_data("run_cancelled")))
    append = Append(session.id, drafts, RandomIds().block(), changed, (ended,), None)
    answer = store.commit([append])[0]
    if isinstance(answer, AsmError):
        raise answer
    return ended
