"""What is not as it should be in a journal, told in sentences. Reads records, not events: `verify` reads all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.store import Store
from asm_actors.maintenance.cleaning import orphaned_artifacts
from asm_actors.maintenance.lines import UNFINISHED
from asm_actors.runs.run import Run
from asm_actors.serialization import iso_from_us
from asm_actors.sessions.session import Session

__all__ = ["FORGOTTEN_AFTER_S", "health_of"]

FORGOTTEN_AFTER_S: Final = 86_400.0
"""Seconds after which an open run that nobody works on counts as forgotten."""

_PAGE: Final = 1_000


def health_of(
    store: Store, now: int, *, works_on: Callable[[Run], bool] = lambda _: False, deep: bool = False
) -> list[str]:
    """Look a journal over.

    Args:
        store: Open.
        now: Microseconds since the epoch.
        works_on: Whether an open run is under way, as far as this process knows.
        deep: Also read and check all events and indexes, which takes a while.

    Returns:
        One sentence per thing that is not as it should be, with what to do; empty when all is well.
    """
    found: list[str] = []
    for look in (_orphans, _sessions, _runs, _remains):
        try:
            found += look(store)
        except AsmError as error:
            found.append(f"{error.message}; see: asm journal verify")
    try:
        found += _open_runs(store, now, works_on)
    except AsmError as error:
        found.append(f"open runs cannot be read: {error.message}; see: asm journal verify")
    if deep:
        found += store.verify().problems
    return list(dict.fromkeys(found))


def _orphans(store: Store) -> Iterator[str]:
    yield from store.orphans()


def _sessions(store: Store) -> Iterator[str]:
    """Read every session's record, and compare its counter with its last event."""
    after: str | None = None
    while page := store.sessions(include_deleted=True, limit=_PAGE, after=after):
        after = page[-1].id
        for session in page:
            yield from _counter(store, session)
            if UNFINISHED in session.metadata:
                yield f"the import of session {session.id} did not come to its end: repeat it, or delete the session"


def _counter(store: Store, session: Session) -> Iterator[str]:
    head = store.head(session.id)
    if head < session.last_sequence:
        yield f"session {session.id} counts {session.last_sequence} events, and its last one is {head}"


def _runs(store: Store) -> Iterator[str]:
    """Read every run's record."""
    for session_id in {run.session_id for run in store.runs()}:
        if not store.has_session(session_id):
            yield f"runs belong to session {session_id}, which is not there"


def _open_runs(store: Store, now: int, works_on: Callable[[Run], bool]) -> Iterator[str]:
    for run in store.open_runs():
        try:
            session = store.session(run.session_id)
        except AsmError as error:
            if error.code is not ErrorCode.SESSION_NOT_FOUND:
                raise
            yield f"run {run.id} is open, and its session {run.session_id} is not there"
            continue
        if session.is_terminal or session.deleted_us is not None:
            state = session.status if session.deleted_us is None else "deleted"
            yield f"run {run.id} is open, and its session {run.session_id} is {state}: cancel the run"
            continue
        since = run.started_us or run.created_us
        if not works_on(run) and now - since > FORGOTTEN_AFTER_S * 1_000_000:
            yield (
                f"run {run.id} is {run.status} since {iso_from_us(since)} and nobody works on it: "
                "cancel it, or execute it"
            )


def _remains(store: Store) -> Iterator[str]:
    count = orphaned_artifacts(store)
    if count:
        yield f"{count} artifacts belong to sessions that are gone: clean them with clean_orphaned_artifacts"
    for cursor in store.cursors():
        if cursor.session_id is not None and not store.has_session(cursor.session_id):
            yield f"the cursor of subscription {cursor.name} follows session {cursor.session_id}, which is gone"
