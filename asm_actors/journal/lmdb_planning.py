"""What the plan of a commit asks of an LMDB journal. Only the committing thread does this.

Nearly every question is answered from memory: sessions that were written to of late have their place there, and a new
id is known to be new by a filter. The tables are opened when the first question needs them, once for the whole plan.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol

from asm_actors.errors import AsmError
from asm_actors.events import Event
from asm_actors.journal.lmdb_known import KnownIds
from asm_actors.journal.lmdb_layout import (
    KNOWN_KEY,
    META,
    NAMES,
    RUN_ID,
    end_of_locators,
    name_key,
    number_key,
    pair_of,
)
from asm_actors.journal.lmdb_recent import Recent
from asm_actors.journal.lmdb_tables import Tables
from asm_actors.journal.lmdb_view import Spots, spot_of
from asm_actors.journal.placing import Counters, Group, Spot

__all__ = ["Planner", "known_layer_key", "load_known", "save_known", "take_new_ids"]


class _Store(Protocol):
    """What a planner uses of the store."""

    _recent: Recent
    _spots: Spots

    def _view(
        self, pick: Callable[[Recent, Tables], None]
    ) -> AbstractContextManager[tuple[None, Tables]]: ...

    def session_by_key(self, idempotency_key: str) -> str | None: ...

    def run_by_key(self, session_id: str, idempotency_key: str) -> str | None: ...

    def known_events(self, session_id: str, ids: Collection[str]) -> dict[str, Event]: ...


class Planner:
    """Answers the questions of one plan.

    Args:
        store: the store that commits.
        known: the ids it has, nearly.
        opened: closes the tables after the plan, if they were needed.
    """

    def __init__(self, store: _Store, known: KnownIds, opened: ExitStack) -> None:
        self._store = store
        self._known = known
        self._opened = opened
        self._tables: Tables | None = None

    def _look(self) -> Tables:
        if self._tables is None:
            _, self._tables = self._opened.enter_context(self._store._view(lambda _, __: None))
        return self._tables

    def spot(self, session_id: str) -> Spot | None:
        """Return where a session stands, or None if it is unknown."""
        found = self._store._spots.get(session_id)
        if found is not None:
            return found
        recent = self._store._recent
        number = recent.session_numbers.get(session_id)
        waiting = None if number is None else recent.segments.get(number)
        if number is not None and waiting is not None:
            return Spot(number, end_of_locators(waiting))
        if number is None and not self._known.may_hold(session_id):
            return None
        return spot_of(recent, self._look(), session_id)

    def run_spot(self, run_id: str) -> tuple[int, int] | None:
        """Return a run's number and its session's number, or None if it is unknown."""
        recent = self._store._recent
        number = recent.run_numbers.get(run_id)
        if number is not None:
            return number, recent.runs[number].owner
        if not self._known.may_hold(run_id):
            return None
        value = self._look().get(NAMES, name_key(RUN_ID, run_id))
        return None if value is None else pair_of(value)

    def session_by_key(self, idempotency_key: str) -> str | None:
        """Return the id of the session with this idempotency key."""
        return self._store.session_by_key(idempotency_key)

    def run_by_key(self, session_id: str, idempotency_key: str) -> str | None:
        """Return the id of the session's run with this idempotency key."""
        return self._store.run_by_key(session_id, idempotency_key)

    def known_events(self, session_id: str, ids: Collection[str]) -> Mapping[str, Event]:
        """Return those events of a session that have one of these ids."""
        return self._store.known_events(session_id, ids)


def take_new_ids(known: KnownIds, group: Group) -> None:
    """Add the ids of a committed group to the filter."""
    for session, is_new in group.sessions.values():
        if is_new:
            known.add(session.id)
    for run, _, is_new in group.runs.values():
        if is_new:
            known.add(run.id)


def save_known(txn: Any, table: Any, known: KnownIds, counters: Counters) -> None:
    """Store what changed in the filter.

    Args:
        txn: a write transaction.
        table: the handle of the table for it.
        known: the filter.
        counters: the next numbers after everything that it holds.
    """
    for index, value in known.save(counters.session, counters.run):
        txn.put(known_layer_key(index), value, db=table)


def known_layer_key(index: int) -> bytes:
    """Make the key of one stored layer of the filter."""
    return KNOWN_KEY + number_key(index)


def load_known(tables: Tables, recent: Recent) -> KnownIds:
    """Read the filter back, and add the ids that came after it was stored."""
    known = KnownIds()
    index = 0
    value = tables.get(META, known_layer_key(index))
    while value is not None:
        known.load(index, value)
        index += 1
        value = tables.get(META, known_layer_key(index))
    try:
        for name in tables.ids_from(known.next_session, known.next_run):
            known.add(name)
    except AsmError:
        # A damaged record is an error for whoever asks for it, and no reason to refuse the whole journal.
        known.give_up()
    for session in recent.session_numbers:
        known.add(session)
    for run in recent.run_numbers:
        known.add(run)
    return known
