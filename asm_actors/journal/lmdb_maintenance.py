"""What an LMDB journal does to itself. :class:`~asm_actors.journal.store_maintenance.StoreMaintenance` tells what."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import RLock
from typing import Final, TypeVar

from attrs import evolve

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lmdb_backup import back_up, compact
from asm_actors.journal.lmdb_env import Environment, Transaction
from asm_actors.journal.lmdb_erase import (
    hide_sessions,
    pending_sessions,
    places_by_block,
    prune_blocks,
    scrub,
)
from asm_actors.journal.lmdb_events import LmdbEvents
from asm_actors.journal.lmdb_layout import META, TOTALS_KEY
from asm_actors.journal.lmdb_orphans import find_orphans
from asm_actors.journal.lmdb_presence import check_directory
from asm_actors.journal.lmdb_records import LmdbRecords
from asm_actors.journal.lmdb_repair import repair
from asm_actors.journal.lmdb_rewrite import totals_of
from asm_actors.journal.lmdb_verify import verify
from asm_actors.journal.replay_check import replay_problems
from asm_actors.journal.store_maintenance import (
    BackupReport,
    CompactReport,
    Erased,
    Progress,
    RepairReport,
    VerifyReport,
)
from asm_actors.journal.store_refusals import forks_first, refuse_shared, refuse_shared_events

__all__ = ["LmdbMaintenance"]

_T = TypeVar("_T")

# Sessions of one transaction: a few thousand entries of tables, mostly.
_CHUNK: Final = 256


class LmdbMaintenance(LmdbEvents, LmdbRecords):
    """Part of the LMDB store.

    Attributes:
        path: the journal's directory.
    """

    path: Path
    # One thing at a time changes the journal: a commit, or one step of these.
    _writing: RLock
    _durability: str

    def _writable(self) -> Environment:
        raise NotImplementedError

    def settle(self, limit: int | None = None) -> int:
        raise NotImplementedError

    def open(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    # --- Erasing

    def erase_sessions(self, ids: Collection[str]) -> Erased:
        """Erase sessions for good."""
        self._writable()
        wanted = forks_first(ids, self.forks_of)
        refuse_shared(wanted, self.forks_of)
        erased = self._finish_erasing()
        names = iter(wanted)
        while chunk := list(islice(names, _CHUNK)):
            with self._writing:
                # Meanwhile somebody may have forked one.
                refuse_shared(wanted, self.forks_of)
                erased = _sum(erased, self._hide(chunk))
            erased = _sum(erased, self._finish_erasing())
        return erased

    def _hide(self, ids: Sequence[str]) -> Erased:
        environment = self._writable()
        with environment.room.for_erasing():
            return self._hide_in(environment, ids)

    def _hide_in(self, environment: Environment, ids: Sequence[str]) -> Erased:
        self.settle()
        spots = [spot for spot in map(self.spot, ids) if spot is not None]
        numbers = sorted(spot.number for spot in spots)
        if not numbers:
            return Erased()
        with self._forgetting(numbers):
            return environment.write(lambda txn: hide_sessions(txn, environment.tables, numbers))

    @contextmanager
    def _forgetting(self, numbers: Collection[int] = ()) -> Iterator[None]:
        """Forget copies of what is about to go; readers find the rest in the tables."""
        with self._lock.as_writer():
            self._gone.update(numbers)
            self._forget_erased()
        try:
            yield
        except BaseException:  # whatever it is goes on up; these sessions are still there
            self._gone.difference_update(numbers)
            raise

    def _finish_erasing(self) -> Erased:
        """Remove from the log what is listed as erased, also by a process that was killed over it."""
        environment = self._writable()
        with self._view(lambda _, __: None) as (_, tables):
            pending = pending_sessions(tables)
        erased, is_unfinished = Erased(), bool(pending)
        with self._lock.as_writer():
            self._gone |= pending
        while is_unfinished:
            with self._writing, self._forgetting(), environment.room.for_erasing():
                done, is_unfinished = environment.write(lambda txn: scrub(txn, environment.tables))
            erased = _sum(erased, done)
        self._gone = set()
        return erased

    def prune_events(self, session_id: str, sequences: Collection[int]) -> int:
        """Erase single events of a session for good."""
        with self._writing, self._writable().room.for_erasing():
            environment = self._writable()
            number = self.known_spot(session_id).number
            refuse_shared_events(session_id, sequences, self.forks_of, self.session)
            self.settle()
            with self._view(lambda _, __: None) as (_, tables):
                found = places_by_block(tables.locators(number), number, sequences)

            def write(work: Callable[[Transaction], _T]) -> _T:
                with self._forgetting():
                    return environment.write(work)

            return prune_blocks(write, environment.tables, found)

    def _erased_totals(self) -> tuple[int, int, int]:
        with self._view(lambda _, __: None) as (_, tables):
            return totals_of(tables.get(META, TOTALS_KEY))

    # --- Copies

    def backup(
        self, path: str | os.PathLike[str], progress: Progress | None = None, *, compact: bool = True
    ) -> BackupReport:
        """Write a copy of the journal while commits go on."""
        target = check_directory(path, "path")
        return back_up(self._opened(), target, progress, compact=compact, reopen=self._reopened_at)

    def _reopened_at(self, path: Path) -> tuple[int, int, int]:
        """Open a copy, and return its last position, its sessions and its runs."""
        copy = type(self)(path, readonly=True)  # type: ignore[call-arg,arg-type]  # the store's own signature
        copy.open()
        try:
            sessions, runs, _ = copy._erased_totals()
            found = copy.statistics()  # type: ignore[attr-defined]  # likewise
            return found.events, found.sessions - sessions, found.runs - runs
        finally:
            copy.close()

    def compact(self, progress: Progress | None = None) -> CompactReport:
        """Rewrite the journal into its smallest form."""
        with self._writing, self._writable().room.for_erasing():
            environment = self._writable()
            self._finish_erasing()
            self.settle()
            return compact(environment, self.path, progress)

    # --- Checks

    def verify(self, progress: Progress | None = None, *, replay: bool = True) -> VerifyReport:
        """Read everything and check it."""
        report = verify(self._view, self.last_position(), progress, follows=self._follows)
        if not replay:
            return report
        return evolve(report, problems=(*report.problems, *replay_problems(self)))

    def repair(self, progress: Progress | None = None, *, dry_run: bool = False) -> RepairReport:
        """Set right what can be set right, and say what cannot."""
        was_open = self._environment is not None
        with self._writing:
            try:
                # What waits to be settled is no damage.
                self.open()
            except AsmError as error:
                if error.code is not ErrorCode.STORAGE_READ_FAILED:
                    raise
            else:
                self._writable()
            self.close()
            try:
                return repair(self.path, progress, dry_run=dry_run)
            finally:
                if was_open:
                    self.open()

    def orphans(self) -> tuple[str, ...]:
        """Return what nothing leads to."""
        return tuple(find_orphans(self._view))


def _sum(one: Erased, other: Erased) -> Erased:
    return Erased(
        one.sessions + other.sessions,
        one.runs + other.runs,
        one.events + other.events,
        one.bytes + other.bytes,
    )
