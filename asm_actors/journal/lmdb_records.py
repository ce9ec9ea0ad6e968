"""Finding the records of sessions and runs in an LMDB journal; any thread may call this."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lmdb_layout import (
    AGENT,
    DELETED,
    LISTED,
    NAMES,
    PARENT,
    PROVIDER,
    RUN_ID,
    RUN_KEY,
    RUN_STATUS,
    SESSION_KEY,
    STATUS,
    TAG,
    end_of_locators,
    mark_prefix,
    name_key,
    pair_of,
)
from asm_actors.journal.lmdb_query import overlaid
from asm_actors.journal.lmdb_recent import Entry, Recent
from asm_actors.journal.lmdb_tables import Tables
from asm_actors.journal.lmdb_view import LmdbView, found_session, spot_of
from asm_actors.journal.placing import Spot
from asm_actors.journal.query import SessionQuery, statuses_of
from asm_actors.journal.store import RunStatuses, Statuses
from asm_actors.runs.run import TERMINAL_RUN_STATUSES, Run, RunStatus
from asm_actors.sessions.session import TERMINAL_SESSION_STATUSES, Session, SessionStatus

__all__ = ["LmdbRecords"]

OPEN_SESSION_STATUSES: Final = frozenset(SessionStatus) - TERMINAL_SESSION_STATUSES
OPEN_RUN_STATUSES: Final = frozenset(RunStatus) - TERMINAL_RUN_STATUSES


class LmdbRecords(LmdbView):
    """The questions about records. :class:`asm_actors.journal.store.Store` tells what each answers."""

    def run_spot(self, run_id: str) -> tuple[int, int] | None:
        """Return a run's number and its session's number, or None if it is unknown."""

        def pick(recent: Recent, _: Tables) -> tuple[int, int] | None:
            number = recent.run_numbers.get(run_id)
            return None if number is None else (number, recent.runs[number].owner)

        with self._view(pick) as (found, tables):
            value = tables.get(NAMES, name_key(RUN_ID, run_id)) if found is None else None
            return found if value is None else pair_of(value)

    def head(self, session_id: str) -> int:
        """Return the sequence number of the session's last event."""
        return self.known_spot(session_id).head

    def has_session(self, session_id: str) -> bool:
        """Tell whether there is such a session."""
        return self.spot(session_id) is not None

    def has_run(self, run_id: str) -> bool:
        """Tell whether there is such a run."""
        return self.run_spot(run_id) is not None

    def session_by_key(self, idempotency_key: str) -> str | None:
        """Return the id of the session with this idempotency key."""
        with self._view(lambda recent, _: recent.session_keys.get(idempotency_key)) as (found, tables):
            if found is not None:
                return found
            number = tables.number_of_name(name_key(SESSION_KEY, idempotency_key))
            return None if number is None else tables.session(number).id

    def run_by_key(self, session_id: str, idempotency_key: str) -> str | None:
        """Return the id of the session's run with this idempotency key."""
        spot = self.spot(session_id)
        if spot is None:
            return None
        number = spot.number
        with self._view(lambda recent, _: recent.run_keys.get((number, idempotency_key))) as (found, tables):
            if found is not None:
                return found
            run = tables.number_of_name(name_key(RUN_KEY, idempotency_key, number))
            return None if run is None else tables.run(run).id

    def session(self, session_id: str) -> Session:
        """Return the record of a session."""

        def pick(recent: Recent, tables: Tables) -> tuple[Spot, Session | None]:
            spot = found_session(spot_of(recent, tables, session_id), session_id)
            entry = recent.sessions.get(spot.number)
            return spot, None if entry is None else entry.record

        with self._view(pick) as ((spot, record), tables):
            return _with_head(record or tables.session(spot.number), spot.head)

    def run(self, run_id: str) -> Run:
        """Return the record of a run."""

        def pick(recent: Recent, _: Tables) -> Run | None:
            number = recent.run_numbers.get(run_id)
            return None if number is None else recent.runs[number].record

        with self._view(pick) as (found, tables):
            if found is not None:
                return found
            number = tables.number_of_name(name_key(RUN_ID, run_id))
            if number is None:
                raise AsmError(
                    ErrorCode.RUN_NOT_FOUND, f"there is no run {run_id}", context={"run_id": run_id}
                )
            return tables.run(number)

    def sessions(
        self,
        *,
        status: Statuses | None = None,
        agent_id: str | None = None,
        tags: Iterable[str] | None = None,
        provider: str | None = None,
        include_deleted: bool = False,
        limit: int | None = None,
        after: str | None = None,
        newest_first: bool = False,
        parent_session_id: str | None = None,
    ) -> list[Session]:
        """Return records of sessions in the order of their creation."""
        query = SessionQuery.of(
            status,
            agent_id,
            tags,
            provider,
            include_deleted=include_deleted,
            parent_session_id=parent_session_id,
        )
        start = None if after is None else self._cursor(after)
        any_of = [mark_prefix(STATUS, name) for name in query.statuses or ()] or [mark_prefix(LISTED)]
        all_of = [mark_prefix(TAG, tag) for tag in sorted(query.tags)]
        all_of += [] if agent_id is None else [mark_prefix(AGENT, agent_id)]
        all_of += [] if provider is None else [mark_prefix(PROVIDER, provider)]
        all_of += [] if parent_session_id is None else [mark_prefix(PARENT, parent_session_id)]
        none_of = [] if include_deleted else [mark_prefix(DELETED)]

        def pick(recent: Recent, _: Tables) -> dict[int, Entry[Session]]:
            if parent_session_id is None:
                return dict(recent.sessions)
            return {number: recent.sessions[number] for number in recent.children.get(parent_session_id, ())}

        with self._view(pick) as (entries, tables):
            found = overlaid(
                {number: entry.record for number, entry in entries.items()},
                tables.marked(any_of, all_of, none_of, after=start, newest_first=newest_first),
                tables.session,
                query.matches,
                after=start,
                newest_first=newest_first,
            )
            picked = dict(islice(found, limit))
        return self._with_heads(picked)

    def _cursor(self, session_id: str) -> int:
        spot = self.spot(session_id)
        if spot is None:
            raise AsmError(
                ErrorCode.INVALID_CURSOR, f"no session is called {session_id}: list from the start"
            )
        return spot.number

    def _with_heads(self, records: Mapping[int, Session]) -> list[Session]:
        def pick(recent: Recent, _: Tables) -> dict[int, int]:
            return {n: end_of_locators(recent.segments[n]) for n in records if n in recent.segments}

        with self._view(pick) as (heads, tables):
            return [
                _with_head(
                    record, heads[number] if number in heads else tables.head(number) or record.forked_at or 0
                )
                for number, record in records.items()
            ]

    def open_sessions(self) -> list[Session]:
        """Return the sessions that are not over."""
        return self.sessions(status=OPEN_SESSION_STATUSES)

    def forks_of(self, session_id: str) -> list[str]:
        """Return the ids of the sessions that were forked from a session."""
        found = self.sessions(parent_session_id=session_id, include_deleted=True)
        return [session.id for session in found if session.forked_at is not None]

    def runs(
        self, session_id: str | None = None, *, status: RunStatuses | None = None, limit: int | None = None
    ) -> list[Run]:
        """Return records of runs in the order of their creation."""
        statuses = statuses_of(RunStatus, status)
        owner = None if session_id is None else self.known_spot(session_id).number

        def pick(recent: Recent, _: Tables) -> dict[int, Run]:
            numbers: Collection[int] = recent.runs if owner is None else recent.runs_of.get(owner, ())
            return {number: recent.runs[number].record for number in numbers}

        with self._view(pick) as (records, tables):
            settled: Iterator[int]
            if owner is not None:
                settled = tables.members(owner)
            elif statuses is not None:
                any_of = [mark_prefix(RUN_STATUS, name) for name in statuses]
                settled = tables.marked(any_of, (), (), after=None, newest_first=False)
            else:
                settled = tables.all_runs()
            found = overlaid(
                records, settled, tables.run, lambda run: statuses is None or run.status in statuses
            )
            return [run for _, run in islice(found, limit)]

    def open_runs(self, session_id: str | None = None) -> list[Run]:
        """Return the runs that are not over, of the whole journal or of one session."""
        if session_id is None:
            return self.runs(status=OPEN_RUN_STATUSES)
        owner = self.known_spot(session_id).number

        def pick(recent: Recent, tables: Tables) -> tuple[dict[int, Run], list[int]]:
            mine = {number: recent.runs[number].record for number in recent.open_of.get(owner, ())}
            # Those that memory has are in `mine`, or over.
            return mine, [n for n in tables.members(owner, is_open=True) if n not in recent.runs]

        with self._view(pick) as ((records, settled), tables):
            return [run for _, run in overlaid(records, iter(settled), tables.run, _is_open)]


def _is_open(run: Run) -> bool:
    return not run.is_terminal


def _with_head(session: Session, head: int) -> Session:
    return session if session.last_sequence == head else session.replace(last_sequence=head)
