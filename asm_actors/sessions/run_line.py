"""How many runs wait for their slots over all sessions, and the bound of that (`Limits.max_waiting_runs`).

The pool of the slots knows who stands in its line. A run that was started a moment ago is still on its way there; it is
counted here until the pool knows it, so that a burst of runs is refused at the right one, and at once. All of this
happens on the dispatcher's thread. A system without that limit keeps nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable
from typing import Any

from asm_actors.runs.request import provider_of
from asm_actors.runs.run import Run
from asm_actors.services import RUN_SLOTS, Services
from asm_actors.sessions.second_run import taken_places
from asm_actors.sessions.session import Session
from asm_actors.sessions.state import SessionState
from asm_actors.slot_keys import runs_exceeded
from supervisors.slot_counts import Keys
from supervisors.slots import SlotTable

__all__ = ["RunLine"]


class RunLine:
    """Runs on their way to the line.

    Args:
        services: The system's.
    """

    __slots__ = ("_arriving", "_n_to_wait", "_services", "_taken")

    def __init__(self, services: Services) -> None:
        self._services = services
        # In the order of their start, which is that in which the pool hears of them; with the keys of those that get
        # their slots at once.
        self._arriving: deque[tuple[Any, tuple[Hashable, ...] | None]] = deque()
        self._taken: Counter[Hashable] = Counter()
        self._n_to_wait = 0

    def began(self, ref: Any, session: Session, run: Run) -> None:
        """Count a run that was just started.

        Args:
            ref: Of its actor.
            session: Its session.
            run: Its record.
        """
        table = self._table()
        if table is None:
            return
        self._forget_arrived(table)
        keys = self._keys(session, run)
        if self._full(table, keys) is None:
            self._taken.update(keys)
            self._arriving.append((ref, keys))
        else:
            self._n_to_wait += 1
            self._arriving.append((ref, None))

    def check(self, session: Session, run: Run, state: SessionState | None = None) -> None:
        """Refuse a run that would have to wait while as many wait as may.

        Args:
            session: Its session.
            run: Its record.
            state: The session's, if it lives: a run that waits for its turn there waits too.

        Raises:
            ConcurrencyError: ``max_runs_exceeded``.
        """
        limit, table = self._services.limits.max_waiting_runs, self._table()
        if limit is None or table is None:
            return
        self._forget_arrived(table)
        waiting = table.n_waiting + self._n_to_wait
        if waiting < limit:
            return
        keys = self._keys(session, run)
        full = self._full(table, keys)
        if full is None:
            if (
                state is None
                or (state.may_start and not state.queue)
                or len(state.queue) < state.places_to_come
            ):
                return
            full = keys[0]
        if state is not None and state.second_run != "reject" and taken_places(state, run):
            return  # it takes the place of others
        raise runs_exceeded(session.id, waiting, limit, table.pool_statistics(full), full)

    def _full(self, table: SlotTable, keys: tuple[Hashable, ...]) -> Hashable | None:
        for key in keys:
            ready = table.ready(key)
            if ready is not None and ready <= self._taken[key]:
                return key
        return None

    def _forget_arrived(self, table: SlotTable) -> None:
        arriving = self._arriving
        while arriving and (table.knows(arriving[0][0]) or not arriving[0][0].is_alive()):
            _, keys = arriving.popleft()
            if keys is None:
                self._n_to_wait -= 1
            else:
                self._taken.subtract(keys)

    def _keys(self, session: Session, run: Run) -> tuple[Hashable, ...]:
        services = self._services
        provider = provider_of(session, run, services.default_provider)
        key = services.slot_keys.of_run(session, provider)
        return key.keys if type(key) is Keys else (key,)

    def _table(self) -> SlotTable | None:
        pool = self._services.whereis(RUN_SLOTS)
        actor = None if pool is None else pool.life.actor
        table: SlotTable | None = None if actor is None else actor.table
        return table
