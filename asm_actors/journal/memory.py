"""A journal in memory, for tests, examples and work that may be lost with the process.

It means the same as the journal on disk: events and records are encoded as they are there, so what a caller hands
over is copied, what cannot be stored is refused, and lists come back where tuples went in. Its contents outlive
:meth:`MemoryStore.close`, so that a restart can be played in one process.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.journal.append import Append, Appended
from asm_actors.journal.codec import (
    events_of,
    unpack_run,
    unpack_segment,
    unpack_session,
)
from asm_actors.journal.lineage import Origin, origin_of, read_lineage
from asm_actors.journal.memory_artifacts import MemoryArtifacts
from asm_actors.journal.memory_cursors import MemoryCursors
from asm_actors.journal.memory_maintenance import MemoryMaintenance, inlined
from asm_actors.journal.memory_search import MemorySearch
from asm_actors.journal.placing import Counters, Group, PlacedSegment, Spot, known_in_blob
from asm_actors.journal.query import EventFilter, EventPage, SessionQuery, statuses_of
from asm_actors.journal.store import RunStatuses, Statuses, StoreStatistics
from asm_actors.runs.run import TERMINAL_RUN_STATUSES, Run, RunStatus
from asm_actors.sessions.session import TERMINAL_SESSION_STATUSES, Session, SessionStatus

__all__ = ["MemoryStore"]

_EVERYTHING: Final = EventFilter()


class MemoryStore(MemorySearch, MemoryMaintenance, MemoryCursors, MemoryArtifacts):
    """A journal in memory. :class:`asm_actors.journal.store.Store` tells what each method does."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._is_open = False
        self._commits = 0
        self._counters = Counters()
        self._log: list[PlacedSegment] = []
        self._positions: list[int] = []
        self._segments: dict[int, list[PlacedSegment]] = {}
        self._spots: dict[str, Spot] = {}
        self._names: dict[int, str] = {}
        self._sessions: dict[int, bytes] = {}
        self._runs: dict[int, bytes] = {}
        self._run_spots: dict[str, tuple[int, int]] = {}
        self._runs_of: dict[int, list[int]] = {}
        self._children: dict[str, list[int]] = {}
        self._open_runs: dict[int, dict[int, None]] = {}
        self._session_keys: dict[str, str] = {}
        self._run_keys: dict[tuple[str, str], str] = {}

    @property
    def description(self) -> str:
        """What this is."""
        return "journal in memory"

    def open(self) -> None:
        """Get ready; earlier contents are there again."""
        self._is_open = True

    def close(self) -> None:
        """Refuse requests until the next :meth:`open`; the contents stay."""
        self._is_open = False

    def _check_open(self) -> None:
        if not self._is_open:
            raise AsmError(
                ErrorCode.STORAGE_CONNECTION_FAILED, "the store in memory is not open", retryable=False
            )

    def commit(self, appends: Sequence[Append], *, sync: bool = True) -> list[Appended | AsmError]:
        """Take a group of appends over in one step."""
        self._check_open()
        group = Group.plan(self, self._counters, appends)
        segments, session_blobs, run_blobs = inlined(group)
        with self._lock:
            self._commits += not group.is_empty
            self._counters = group.counters
            self._spots.update(group.spots)
            self._sessions.update(session_blobs)
            self._runs.update(run_blobs)
            for segment in segments:
                self._log.append(segment)
                self._positions.append(segment.first_position)
                self._segments.setdefault(segment.number, []).append(segment)
            for number, (session, is_new) in group.sessions.items():
                if is_new:
                    self._names[number] = session.id
                    if session.idempotency_key is not None:
                        self._session_keys[session.idempotency_key] = session.id
                    if session.parent_session_id is not None:
                        self._children.setdefault(session.parent_session_id, []).append(number)
            for number, (run, owner, is_new) in group.runs.items():
                if is_new:
                    self._run_spots[run.id] = (number, owner)
                    self._runs_of.setdefault(owner, []).append(number)
                    if run.idempotency_key is not None:
                        self._run_keys[run.session_id, run.idempotency_key] = run.id
                self._note_open(number, owner, is_open=run.status not in TERMINAL_RUN_STATUSES)
        return group.answers

    def _note_open(self, number: int, owner: int, *, is_open: bool) -> None:
        mine = self._open_runs.get(owner)
        if is_open:
            if mine is None:
                mine = self._open_runs[owner] = {}
            mine[number] = None
        elif mine is not None:
            mine.pop(number, None)
            if not mine:
                del self._open_runs[owner]

    def sync(self) -> None:
        """Do nothing: there is no disk."""
        self._check_open()

    def settle(self, limit: int | None = None) -> int:
        """Do nothing: there is nothing to settle."""
        self._check_open()
        return 0

    def spot(self, session_id: str) -> Spot | None:
        """Return where a session stands, or None if it is unknown."""
        self._check_open()
        return self._spots.get(session_id)

    def _known_spot(self, session_id: str) -> Spot:
        spot = self.spot(session_id)
        if spot is None:
            raise AsmError(
                ErrorCode.SESSION_NOT_FOUND,
                f"there is no session {session_id}",
                context={"session_id": session_id},
            )
        return spot

    def run_spot(self, run_id: str) -> tuple[int, int] | None:
        """Return a run's number and its session's number, or None if it is unknown."""
        self._check_open()
        return self._run_spots.get(run_id)

    def head(self, session_id: str) -> int:
        """Return the sequence number of the session's last event."""
        return self._known_spot(session_id).head

    def last_position(self) -> int:
        """Return the position of the last event."""
        self._check_open()
        return self._counters.position - 1

    def session(self, session_id: str) -> Session:
        """Return the record of a session."""
        with self._lock:
            spot = self._known_spot(session_id)
            blob = self._sessions[spot.number]
        return self._load(spot, blob)

    def _load(self, spot: Spot, blob: bytes) -> Session:
        return unpack_session(blob, "sessions", spot.number).replace(last_sequence=spot.head)

    def run(self, run_id: str) -> Run:
        """Return the record of a run."""
        spot = self.run_spot(run_id)
        if spot is None:
            raise AsmError(ErrorCode.RUN_NOT_FOUND, f"there is no run {run_id}", context={"run_id": run_id})
        return unpack_run(self._runs[spot[0]], "runs", spot[0])

    def has_session(self, session_id: str) -> bool:
        """Tell whether there is such a session."""
        return self.spot(session_id) is not None

    def has_run(self, run_id: str) -> bool:
        """Tell whether there is such a run."""
        return self.run_spot(run_id) is not None

    def session_by_key(self, idempotency_key: str) -> str | None:
        """Return the id of the session with this idempotency key."""
        self._check_open()
        return self._session_keys.get(idempotency_key)

    def run_by_key(self, session_id: str, idempotency_key: str) -> str | None:
        """Return the id of the session's run with this idempotency key."""
        self._check_open()
        return self._run_keys.get((session_id, idempotency_key))

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
        """Return records of sessions in the order of their creation. This store looks at all of them."""
        query = SessionQuery.of(
            status,
            agent_id,
            tags,
            provider,
            include_deleted=include_deleted,
            parent_session_id=parent_session_id,
        )
        start = None if after is None else self.spot(after)
        if after is not None and start is None:
            raise AsmError(ErrorCode.INVALID_CURSOR, f"no session is called {after}: list from the start")
        with self._lock:
            self._check_open()
            numbers: Iterable[int] = self._names
            if parent_session_id is not None:
                numbers = self._children.get(parent_session_id, ())
            found = [(self._spots[self._names[number]], self._sessions[number]) for number in numbers]
        if newest_first:
            found.reverse()
        if start is not None:
            found = [
                (spot, blob)
                for spot, blob in found
                if (spot.number < start.number if newest_first else spot.number > start.number)
            ]
        records = (self._load(spot, blob) for spot, blob in found)
        return list(islice((record for record in records if query.matches(record)), limit))

    def open_sessions(self) -> list[Session]:
        """Return the sessions that are not over."""
        return self.sessions(status=frozenset(SessionStatus) - TERMINAL_SESSION_STATUSES)

    def forks_of(self, session_id: str) -> list[str]:
        """Return the ids of the sessions that were forked from a session."""
        found = self.sessions(parent_session_id=session_id, include_deleted=True)
        return [session.id for session in found if session.forked_at is not None]

    def runs(
        self, session_id: str | None = None, *, status: RunStatuses | None = None, limit: int | None = None
    ) -> list[Run]:
        """Return records of runs in the order of their creation."""
        statuses = statuses_of(RunStatus, status)
        with self._lock:
            self._check_open()
            numbers: Collection[int] = self._runs
            if session_id is not None:
                numbers = self._runs_of.get(self._known_spot(session_id).number, ())
            blobs = [(number, self._runs[number]) for number in numbers]
        records = (unpack_run(blob, "runs", number) for number, blob in blobs)
        return list(islice((run for run in records if statuses is None or run.status in statuses), limit))

    def open_runs(self, session_id: str | None = None) -> list[Run]:
        """Return the runs that are not over, of the whole journal or of one session."""
        with self._lock:
            self._check_open()
            if session_id is None:
                found = sorted(number for mine in self._open_runs.values() for number in mine)
            else:
                found = sorted(self._open_runs.get(self._known_spot(session_id).number, ()))
            blobs = [(number, self._runs[number]) for number in found]
        return [unpack_run(blob, "runs", number) for number, blob in blobs]

    def read_session(self, session_id: str, filter: EventFilter | None = None) -> list[Event]:  # noqa: A002
        """Return events of one session in the order of their sequence numbers."""
        wanted = filter or _EVERYTHING
        own = self._segments.get(self._known_spot(session_id).number)
        if own and own[0].first_sequence <= (wanted.after or 0) + 1:
            return self._read_own(session_id, wanted)
        # What comes before its own first event is its parent's, if it is a fork.
        return read_lineage(session_id, wanted, self._origin, self._read_own)

    def _origin(self, session_id: str) -> Origin | None:
        return origin_of(self.session(session_id))

    def _read_own(self, session_id: str, wanted: EventFilter) -> list[Event]:
        after = wanted.after or 0
        with self._lock:
            segments = self._segments.get(self._known_spot(session_id).number, [])
            segments = segments[bisect_right(segments, after, key=_end_of) :]
        events: list[Event] = []
        for segment in segments:
            if wanted.limit is not None and len(events) >= wanted.limit:
                break
            first = segment.first_sequence
            end = segment.n_events if wanted.before is None else wanted.before - first
            events += _events(segment, session_id, (after + 1 - first, end), wanted)
        return events[: wanted.limit]

    def read_all(
        self,
        *,
        after: int = 0,
        limit: int = 1000,
        filter: EventFilter | None = None,  # noqa: A002
        session_id: str | None = None,
        scan_limit: int = 10_000,
    ) -> EventPage:
        """Return events of the whole journal, or of one session, in the order of their positions."""
        wanted = filter or _EVERYTHING
        after = max(after, wanted.after or 0)
        with self._lock:
            self._check_open()
            last = self._counters.position - 1
            last = last if wanted.before is None else min(last, wanted.before - 1)
            limit = limit if wanted.limit is None else min(limit, wanted.limit)
            if session_id is not None:
                found = self._segments.get(self._known_spot(session_id).number, [])
                segments = found[bisect_right(found, after, key=_last_position_of) :]
            else:
                last = min(last, after + max(scan_limit, 1))
                begin = max(bisect_right(self._positions, after + 1) - 1, 0)
                segments = self._log[begin : bisect_right(self._positions, last)]
        if limit <= 0 or after >= last:
            return EventPage([], after)
        events: list[Event] = []
        scanned = 0
        for segment in segments:
            first = segment.first_position
            if first > last:
                break
            if scanned >= scan_limit:
                return EventPage(events, after)
            name = self._names.get(segment.number)
            if name is not None:  # else it was erased
                events += _events(segment, name, (after + 1 - first, last + 1 - first), wanted)
            if len(events) >= limit:
                return EventPage(events[:limit], events[limit - 1].position or 0)
            scanned += segment.n_events
            after = min(last, _last_position_of(segment))
        return EventPage(events, last)

    def known_events(self, session_id: str, ids: Collection[str]) -> dict[str, Event]:
        """Return those events of a session that have one of these ids."""
        found: dict[str, Event] = {}
        for segment in self._segments.get(self._known_spot(session_id).number, ()):
            found.update(known_in_blob(segment.blob, session_id, segment.first_position, ids))
        return found

    def statistics(self) -> StoreStatistics:
        """Return what the store holds."""
        self._check_open()
        with self._lock:
            used = sum(len(segment.blob) for segment in self._log)
            used += sum(map(len, self._sessions.values())) + sum(map(len, self._runs.values()))
        position, session, run = self._counters
        return StoreStatistics(
            description=self.description,
            sessions=session - 1,
            runs=run - 1,
            events=position - 1,
            commits=self._commits,
            bytes_used=used,
            bytes_reserved=used,
            unsettled=0,
        )


def _end_of(segment: PlacedSegment) -> int:
    return segment.first_sequence + segment.n_events - 1


def _last_position_of(segment: PlacedSegment) -> int:
    return segment.first_position + segment.n_events - 1


def _events(
    segment: PlacedSegment, session_id: str, within: tuple[int, int], wanted: EventFilter
) -> list[Event]:
    decoded = unpack_segment(segment.blob, "log", segment.first_position)
    return events_of(decoded, session_id, segment.first_position, within, wanted)
