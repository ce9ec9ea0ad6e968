"""The part of a store's port that keeps a journal in order over years: erasing, backups, checks, repairs.

1. What is erased is gone from the disk, but its place is not given to anything else: sequence numbers, positions and
   the numbers of sessions and runs are never used again. A reader passes over such a *hole* and goes on.
2. Each operation may be killed at any instruction: the journal is then as it was before or as it is afterwards, or,
   for one that takes many steps, some steps are done and the same call finishes the rest.
3. Damaged bytes are set aside before anything in their place is changed.

All methods block, some of them for minutes; any thread may call them. Commits wait for erasing, pruning, compacting
and repairing, and go on during a backup and a check.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from os import PathLike

__all__ = [
    "BackupReport",
    "CompactReport",
    "Erased",
    "LostEvents",
    "MigrateReport",
    "Progress",
    "RepairReport",
    "StoreMaintenance",
    "VerifyReport",
]

Progress = Callable[[int, int], None]
"""Called now and then with what is done and what there is to do, in the same unit; on the caller's thread."""


@frozen
class Erased:
    """What was erased for good.

    Attributes:
        sessions: session records.
        runs: run records.
        events: events, those that were pruned before not counted again.
        bytes: bytes of stored events, records and large payloads. The file gives them to later commits; only
            compacting makes it smaller.
    """

    sessions: int = 0
    runs: int = 0
    events: int = 0
    bytes: int = 0


@frozen
class BackupReport:
    """A backup that was taken.

    Attributes:
        path: the directory that holds it, a journal like any other.
        bytes: its size.
        last_position: the position of the last event in it.
        sessions: session records in it.
        runs: run records in it.
    """

    path: str
    bytes: int
    last_position: int
    sessions: int
    runs: int


@frozen
class CompactReport:
    """What compacting did.

    Attributes:
        bytes_before: the size of the journal before.
        bytes_after: its size now.
    """

    bytes_before: int
    bytes_after: int

    @property
    def bytes_freed(self) -> int:
        """How much smaller it is."""
        return self.bytes_before - self.bytes_after


@frozen
class VerifyReport:
    """What a full check found.

    Attributes:
        events: events read and checked.
        sessions: session records read and checked.
        runs: run records read and checked.
        problems: one sentence per fault, naming the table and the key; empty when all is well.
        holes: places in the journal whose events were erased, or lost and set aside by a repair. They are no fault.
        blobs: large payloads that are kept beside the log, read and checked.
    """

    events: int
    sessions: int
    runs: int
    problems: tuple[str, ...] = ()
    holes: int = 0
    blobs: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether no fault was found."""
        return not self.problems


@frozen
class MigrateReport:
    """What migrating a journal did.

    Attributes:
        path: the journal.
        before: the layout that it had.
        after: the layout that it has.
        sessions: session records in it that are settled.
        runs: run records in it that are settled.
    """

    path: str
    before: int
    after: int
    sessions: int
    runs: int


@frozen
class LostEvents:
    """Events that no repair can bring back.

    Attributes:
        session_id: whose events they were, or None if even that is lost.
        first_sequence: the first lost sequence number, 0 if unknown.
        last_sequence: the last lost one, 0 if unknown.
        reason: why they cannot be read.
    """

    session_id: str | None
    first_sequence: int
    last_sequence: int
    reason: str


@frozen
class RepairReport:
    """What a repair did, or would do.

    Attributes:
        mended: one sentence for each thing that was set right.
        unmended: one sentence for each thing that could not be, with what is lost and what to do.
        lost: the events that are lost; they are known holes now.
        quarantine: the directory that holds the damaged bytes, or None if there were none.
        dry_run: whether nothing was changed.
    """

    mended: tuple[str, ...] = ()
    unmended: tuple[str, ...] = ()
    lost: tuple[LostEvents, ...] = ()
    quarantine: str | None = None
    dry_run: bool = False


class StoreMaintenance(Protocol):
    """What a store does to itself. :class:`asm_actors.journal.store.Store` has all of it."""

    def erase_sessions(self, ids: Collection[str]) -> Erased:
        """Erase sessions for good: records, runs, events, names, keys and every index.

        Ids that are unknown are passed over, so a call that was interrupted can be repeated. Sessions go in groups of
        some hundred; each group is erased in one transaction. Nothing checks whether they are still in use: whoever
        calls this makes sure of that.

        Raises:
            AsmError: ``invalid_operation`` if forks that are not in the same call share the history of one of them:
                ``details["forks"]`` names them. Nothing is erased then. ``storage_write_failed``: the groups before
                are erased, the rest is not.
        """
        ...

    def prune_events(self, session_id: str, sequences: Collection[int]) -> int:
        """Erase single events of a session for good; each becomes a hole, and the others keep their numbers.

        Args:
            session_id: whose events.
            sequences: their sequence numbers; those that are not there, or no longer, are passed over. A fork's
                shared history is its parent's.

        Returns:
            How many were erased.

        Raises:
            AsmError: ``session_not_found``; ``invalid_operation`` if a fork shares one of them, see
                :meth:`erase_sessions`.
        """
        ...

    def backup(
        self, path: str | PathLike[str], progress: Progress | None = None, *, compact: bool = True
    ) -> BackupReport:
        """Write a copy of the journal as it is at this moment, while commits go on, and open it to see that it is good.

        Args:
            path: a directory that does not exist yet, or is empty. After a crash it still is.
            progress: called with bytes written and bytes there are, about.
            compact: leave free pages out.

        Raises:
            AsmError: ``already_exists`` if there is something at ``path``; ``storage_write_failed``.
        """
        ...

    def compact(self, progress: Progress | None = None) -> CompactReport:
        """Rewrite the journal into its smallest form and put that in its place. Commits and readers wait meanwhile.

        Raises:
            AsmError: ``invalid_operation`` if another process has the journal open; ``storage_write_failed`` if there
                is no room for the second copy. The journal is as before then.
        """
        ...

    def verify(self, progress: Progress | None = None, *, replay: bool = True) -> VerifyReport:
        """Read everything and check it: checksums, gaps, records, names, indexes, large payloads.

        Args:
            progress: called with the events checked so far and the events there are.
            replay: also check the records of sessions and runs against what follows from their events.
        """
        ...

    def repair(self, progress: Progress | None = None, *, dry_run: bool = False) -> RepairReport:
        """Set right what can be set right, and say what cannot.

        Indexes are built anew from records, records from earlier versions and events; what cannot be read is set
        aside and its place becomes a hole. A store that cannot be opened can be repaired while it is closed; an open
        one is closed for the time and opened again, so nothing else may use it.

        Args:
            progress: called with the steps done and the steps there are.
            dry_run: only tell what would be done.

        Raises:
            AsmError: as for ``open``, but for damage that it can mend.
        """
        ...

    def orphans(self) -> tuple[str, ...]:
        """Return one sentence for each thing that nothing leads to.

        Runs of sessions that are not there, events of such runs and sessions, counters behind what they count, open
        runs of sessions that are over.
        """
        ...
