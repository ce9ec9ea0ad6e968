"""What a journal in memory does to itself. ``store_maintenance.StoreMaintenance`` tells what each method means.

There is no file to compact and nothing to repair; a backup is a journal on disk with the same contents.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection
from functools import partial
from typing import TypeVar

from asm_actors.errors import AsmError
from asm_actors.journal.codec import (
    pack_run,
    pack_session,
    unpack_run,
    unpack_segment,
    unpack_session,
)
from asm_actors.journal.holes import NOBODY, holes_in, whole_segment, without_events
from asm_actors.journal.lmdb_presence import check_directory
from asm_actors.journal.memory_backup import MemoryContents, write_backup
from asm_actors.journal.packing import finding
from asm_actors.journal.placing import Counters, Group, PlacedSegment, Spot
from asm_actors.journal.replay_check import replay_problems
from asm_actors.journal.store import StoreStatistics
from asm_actors.journal.store_maintenance import (
    BackupReport,
    CompactReport,
    Erased,
    Progress,
    RepairReport,
    VerifyReport,
)
from asm_actors.journal.store_refusals import forks_first, refuse_shared, refuse_shared_events
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = ["MemoryMaintenance", "inlined"]

_T = TypeVar("_T")


class MemoryMaintenance:
    """Part of the store in memory."""

    _lock: threading.Lock
    _counters: Counters
    _log: list[PlacedSegment]
    _segments: dict[int, list[PlacedSegment]]
    _spots: dict[str, Spot]
    _names: dict[int, str]
    _sessions: dict[int, bytes]
    _runs: dict[int, bytes]
    _run_spots: dict[str, tuple[int, int]]
    _runs_of: dict[int, list[int]]
    _children: dict[str, list[int]]
    _open_runs: dict[int, dict[int, None]]
    _session_keys: dict[str, str]
    _run_keys: dict[tuple[str, str], str]

    def _check_open(self) -> None:
        raise NotImplementedError

    def _known_spot(self, session_id: str) -> Spot:
        raise NotImplementedError

    def statistics(self) -> StoreStatistics:
        raise NotImplementedError

    def forks_of(self, session_id: str) -> list[str]:
        raise NotImplementedError

    def session(self, session_id: str) -> Session:
        raise NotImplementedError

    # --- Erasing

    def erase_sessions(self, ids: Collection[str]) -> Erased:
        """Erase sessions for good, all in one step."""
        self._check_open()
        wanted = forks_first(ids, self.forks_of)
        refuse_shared(wanted, self.forks_of)
        sessions = runs = size = events = 0
        with self._lock:
            numbers = {self._spots[name].number for name in wanted if name in self._spots}
            for number in numbers:
                run_numbers = self._runs_of.pop(number, [])
                for run_number in run_numbers:
                    size += self._drop_run(number, run_number)
                size += self._drop_session(number)
                sessions += 1
                runs += len(run_numbers)
                self._segments.pop(number, None)
            for place, segment in enumerate(self._log):
                if segment.number in numbers:
                    events += segment.n_events - holes_in(unpack_segment(segment.blob, "log", place))
                    size += len(segment.blob)
                    self._log[place] = segment._replace(number=NOBODY, first_sequence=0, blob=b"")
        return Erased(sessions, runs, events, size)

    def _drop_session(self, number: int) -> int:
        blob = self._sessions.pop(number)
        session: Session = unpack_session(blob, "sessions", number)
        del self._names[number]
        del self._spots[session.id]
        self._open_runs.pop(number, None)
        if session.idempotency_key is not None:
            self._session_keys.pop(session.idempotency_key, None)
        if session.parent_session_id is not None:
            self._children[session.parent_session_id].remove(number)
        return len(blob)

    def _drop_run(self, owner: int, number: int) -> int:
        blob = self._runs.pop(number)
        run: Run = unpack_run(blob, "runs", number)
        del self._run_spots[run.id]
        if run.idempotency_key is not None:
            self._run_keys.pop((run.session_id, run.idempotency_key), None)
        return len(blob)

    def prune_events(self, session_id: str, sequences: Collection[int]) -> int:
        """Erase single events of a session for good."""
        number = self._known_spot(session_id).number
        refuse_shared_events(session_id, sequences, self.forks_of, self.session)
        wanted = frozenset(sequences)
        pruned = 0
        with self._lock:
            changed: dict[int, PlacedSegment] = {}
            mine = self._segments.get(number, [])
            for k, segment in enumerate(mine):
                first = segment.first_sequence
                places = [n - first for n in range(first, first + segment.n_events) if n in wanted]
                if not places:
                    continue
                decoded = unpack_segment(segment.blob, "log", segment.first_position)
                blob = without_events(decoded, places)
                pruned += holes_in(unpack_segment(blob, "log", segment.first_position)) - holes_in(decoded)
                mine[k] = changed[segment.first_position] = segment._replace(blob=blob)
            for place, segment in enumerate(self._log):
                if segment.first_position in changed:
                    self._log[place] = changed[segment.first_position]
        return pruned

    # --- Copies

    def backup(
        self, path: str | os.PathLike[str], progress: Progress | None = None, *, compact: bool = True
    ) -> BackupReport:
        """Write a journal on disk that holds what this one holds now."""
        target = check_directory(path, "path")
        with self._lock:
            self._check_open()
            owners = dict(self._run_spots.values())
            contents = MemoryContents(
                list(self._log),
                dict(self._sessions),
                {number: (owners[number], blob) for number, blob in self._runs.items()},
                self._counters,
            )
        return write_backup(target, contents, self, progress)

    def compact(self, progress: Progress | None = None) -> CompactReport:
        """Do nothing: memory is as small as it can be."""
        used = self.statistics().bytes_used
        if progress is not None:
            progress(used, used)
        return CompactReport(used, used)

    # --- Checks

    def verify(self, progress: Progress | None = None, *, replay: bool = True) -> VerifyReport:
        """Read everything and check it."""
        with self._lock:
            self._check_open()
            log, sessions, runs = list(self._log), dict(self._sessions), dict(self._runs)
        problems: list[str] = []
        heads: dict[int, int] = {}
        position = holes = 0
        for number, blob in sessions.items():
            session = _try(problems, partial(unpack_session, blob, "sessions", number))
            if session is not None and session.forked_at is not None:
                heads[number] = session.forked_at
        for segment in log:
            if segment.first_position != position + 1:
                problems.append(f"log: position {position + 1} is missing")
            position = segment.first_position + segment.n_events - 1
            if segment.number == NOBODY:
                holes += segment.n_events
                continue
            if segment.first_sequence != heads.get(segment.number, 0) + 1:
                problems.append(f"log: session {segment.number} has a gap before {segment.first_sequence}")
            heads[segment.number] = segment.first_sequence + segment.n_events - 1
            decoded = _try(problems, partial(unpack_segment, segment.blob, "log", position))
            holes += 0 if decoded is None else holes_in(decoded)
        for number, blob in runs.items():
            _try(problems, partial(unpack_run, blob, "runs", number))
        if progress is not None:
            progress(position, position)
        if replay:
            problems += replay_problems(self)  # type: ignore[arg-type]  # the store has all of it
        return VerifyReport(position - holes, len(sessions), len(runs), tuple(problems), holes)

    def repair(self, progress: Progress | None = None, *, dry_run: bool = False) -> RepairReport:
        """Tell what is wrong: memory that is damaged is lost."""
        return RepairReport(unmended=self.verify(progress).problems, dry_run=dry_run)

    def orphans(self) -> tuple[str, ...]:
        """Return what nothing leads to."""
        with self._lock:
            self._check_open()
            runs = [
                (unpack_run(blob, "runs", number), self._sessions.get(owner))
                for number, owner in self._run_spots.values()
                if (blob := self._runs.get(number)) is not None
            ]
            ownerless = sum(
                segment.n_events
                for segment in self._log
                if segment.number != NOBODY and segment.number not in self._sessions
            )
        found = [
            f"runs: the run {run.id} belongs to a session that is not there"
            for run, blob in runs
            if blob is None
        ]
        for run, blob in runs:
            session = None if blob is None else unpack_session(blob, "sessions", run.session_id)
            if session is not None and session.is_terminal and not run.is_terminal:
                found.append(
                    f"runs: the run {run.id} is {run.status}, and its session {session.id} is {session.status}"
                )
        if ownerless:
            found.append(f"log: {ownerless} events belong to sessions that are not there")
        return tuple(found)


def inlined(group: Group) -> tuple[list[PlacedSegment], dict[int, bytes], dict[int, bytes]]:
    """Return a planned group's segments and records with their large payloads in them."""
    if not group.large:
        return group.segments, *group.encoded
    with finding(group.large.__getitem__):
        segments = [segment._replace(blob=whole_segment(segment.blob)) for segment in group.segments]
    return (
        segments,
        {number: pack_session(session) for number, (session, _) in group.sessions.items()},
        {number: pack_run(placed.run) for number, placed in group.runs.items()},
    )


def _try(problems: list[str], read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except AsmError as error:
        problems.append(error.message)
        return None
