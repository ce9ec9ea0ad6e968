"""What can be set right while a system runs: remains that nothing leads to, and runs that nobody would end.

Damaged bytes and indexes are another matter: setting these right needs the journal for itself (`Store.repair`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from asm_actors.errors import AsmError
from asm_actors.journal.store import Store
from asm_actors.journal.store_maintenance import RepairReport
from asm_actors.maintenance.cleaning import clean_cursors
from asm_actors.maintenance.lines import UNFINISHED
from asm_actors.maintenance.live import Live
from asm_actors.sessions.session import Session

__all__ = ["mend"]

_PAGE = 1_000
_ELSEWHERE = "stop the system and use asm journal repair"


def mend(hands: Live, wake: Callable[[str], object], *, dry_run: bool) -> RepairReport:
    """Set right what can be, and say what cannot. Blocks; it also reads and checks the whole journal.

    Args:
        hands: Reach the journal.
        wake: Begins the life of a session, which ends runs that its own end has left open.
        dry_run: Only tell.
    """
    store = hands.store
    mended: list[str] = []
    unmended: list[str] = []
    for session in list(_unfinished(store)):
        try:
            if not dry_run:
                hands.at_rest(session.id, lambda session=session: store.erase_sessions([session.id]))  # type: ignore[misc]
            mended.append(f"the import of session {session.id}, left unfinished, is cleared away")
        except AsmError as error:
            unmended.append(f"the import of session {session.id}, left unfinished, stays: {error.message}")
    for session_id in dict.fromkeys(
        run.session_id for run in store.open_runs() if _is_left(store, run.session_id)
    ):
        try:
            if not dry_run:
                wake(session_id)
            mended.append(f"the open runs of session {session_id}, which is over, are ended")
        except AsmError as error:
            unmended.append(f"the open runs of session {session_id} stay: {error.message}")
    count = clean_cursors(hands, is_dry_run=dry_run)
    if count:
        mended.append(f"{count} cursors of subscriptions to sessions that are gone are removed")
    unmended += [f"{problem}: {_ELSEWHERE}" for problem in store.verify().problems]
    return RepairReport(tuple(mended), tuple(unmended), dry_run=dry_run)


def _unfinished(store: Store) -> Iterator[Session]:
    after: str | None = None
    while page := store.sessions(include_deleted=True, limit=_PAGE, after=after):
        after = page[-1].id
        yield from (session for session in page if UNFINISHED in session.metadata)


def _is_left(store: Store, session_id: str) -> bool:
    return store.has_session(session_id) and store.session(session_id).is_terminal
