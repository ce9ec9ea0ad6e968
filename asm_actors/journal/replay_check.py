"""Comparing all records of a store with what follows from their events."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final, Protocol

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.journal.query import EventPage
from asm_actors.journal.replay import fold_run
from asm_actors.journal.replay_faults import disagreements
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = ["contradictions", "replay_problems"]

_PAGE: Final = 256
_EVENTS: Final = 4096
_ATTEMPTS: Final = 4

# A session that was not begun by this runtime says of its statuses what it likes.
_BEGINNINGS: Final = (EventType.SESSION_CREATED, EventType.SESSION_FORKED)


class _Store(Protocol):
    """What is asked of a store."""

    def sessions(
        self, *, include_deleted: bool = False, limit: int | None = None, after: str | None = None
    ) -> list[Session]: ...

    def session(self, session_id: str) -> Session: ...

    def runs(self, session_id: str | None = None) -> list[Run]: ...

    def read_all(
        self, *, after: int = 0, limit: int = 1000, session_id: str | None = None, scan_limit: int = 10_000
    ) -> EventPage: ...

    def last_position(self) -> int: ...


def replay_problems(store: _Store) -> Iterator[str]:
    """Yield one sentence for each record that its events contradict.

    Sessions that change while they are looked at are looked at again. What cannot be read is left out: the check of
    the bytes tells that.
    """
    after: str | None = None
    while True:
        try:
            page = store.sessions(include_deleted=True, limit=_PAGE, after=after)
        except AsmError:
            return
        for session in page:
            yield from _of_session(store, session)
        if len(page) < _PAGE:
            return
        after = page[-1].id


def _of_session(store: _Store, session: Session) -> list[str]:
    for _ in range(_ATTEMPTS):
        try:
            runs = store.runs(session.id)
            events = _own_events(store, session.id)
            again = store.session(session.id)
            if again == session and runs == store.runs(session.id):
                if not events or events[0].type not in _BEGINNINGS:
                    return []
                if len(events) != session.last_sequence - (session.forked_at or 0):
                    # Some were erased, and what they told is not told any more.
                    return []
                return [f"records: {problem}" for problem in contradictions(session, runs, events)]
            session = again
        except AsmError as error:
            if error.code in (ErrorCode.STORAGE_READ_FAILED, ErrorCode.SESSION_NOT_FOUND):
                return []
            raise
    return []


def contradictions(session: Session, runs: Collection[Run], events: list[Event]) -> list[str]:
    """Tell where the records of a session and its runs contradict their events, tokens included.

    Args:
        session: its record.
        runs: the records of its runs.
        events: its own events, none of them erased.
    """
    return [*disagreements(session, runs, events), *_miscounted(runs, events)]


def _miscounted(runs: Collection[Run], events: list[Event]) -> Iterator[str]:
    """Compare the tokens that runs used with those that their events tell; only runs that are over are compared."""
    of_run: dict[str, list[Event]] = {run.id: [] for run in runs}
    for event in events:
        if event.run_id in of_run:
            of_run[event.run_id].append(event)
    for run in runs:
        told = fold_run(of_run[run.id], run)
        if run.is_terminal and told.is_terminal and run.token_usage != told.token_usage:
            yield f"run {run.id} used {run.token_usage}, and {told.token_usage} by its events"


def _own_events(store: _Store, session_id: str) -> list[Event]:
    events: list[Event] = []
    after, last = 0, store.last_position()
    while after < last:
        page = store.read_all(after=after, limit=_EVENTS, session_id=session_id, scan_limit=10 * _EVENTS)
        events += page.events
        after = page.position
    return events
