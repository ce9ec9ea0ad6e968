"""The port between the journal and whatever keeps it.

A store keeps events, the records of sessions and runs, and the indexes that find them. Its promises:

1. A commit is all or nothing: after a crash at any instruction either everything of a group is there, or
   nothing of it. What a reader has seen once is there for good.
2. ``sequence_number`` counts 1, 2, 3 ... in each session and ``position`` 1, 2, 3 ... over the journal, without
   gaps. What is erased on purpose leaves a hole: its numbers are not given to anything else, and readers go on
   behind it.
3. An append that cannot be taken is answered with an error in its own place, and the others of its group go
   through.
4. A record that cannot be read is an error that names it. It is never skipped, and nothing is made anew in
   its place.

One thread commits, settles and syncs. Any thread reads, at any time, and sees only what was committed. Every
store passes ``asm_actors.testing.store_contract.StoreContract``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol, runtime_checkable

from attrs import frozen

from asm_actors.errors import AsmError
from asm_actors.events import Event
from asm_actors.journal.append import Append, Appended
from asm_actors.journal.query import EventFilter, EventPage
from asm_actors.journal.store_artifacts import StoreArtifacts
from asm_actors.journal.store_cursors import CursorStore
from asm_actors.journal.store_maintenance import StoreMaintenance, VerifyReport
from asm_actors.journal.store_search import StoreSearch
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.session import Session, SessionStatus

__all__ = [
    "RECORD_VERSION",
    "STORE_SCHEMA",
    "EventFilter",
    "EventPage",
    "RunStatuses",
    "Statuses",
    "Store",
    "StoreStatistics",
    "VerifyReport",
]

STORE_SCHEMA: Final = 2
"""The version of the stored layout. A store refuses to touch a journal of another one."""

RECORD_VERSION: Final = 1
"""The version of stored records and events. It changes only if older ones can no longer be read as they are."""


@frozen
class StoreStatistics:
    """What a store holds.

    Attributes:
        description: which store this is.
        sessions: sessions ever recorded, softly deleted ones included.
        runs: runs ever recorded.
        events: events committed; also the last position.
        commits: groups committed since this store was opened.
        bytes_used: bytes of storage that hold data.
        bytes_reserved: bytes that it may use before it has to grow.
        unsettled: records and segments that wait to be moved into the indexes.
        schema: the version of the layout.
    """

    description: str
    sessions: int
    runs: int
    events: int
    commits: int
    bytes_used: int
    bytes_reserved: int
    unsettled: int
    schema: int = STORE_SCHEMA


Statuses = SessionStatus | str | Iterable[SessionStatus | str]
"""One status of sessions or several, by member or by name."""

RunStatuses = RunStatus | str | Iterable[RunStatus | str]
"""One status of runs or several, by member or by name."""


@runtime_checkable
class Store(CursorStore, StoreArtifacts, StoreMaintenance, StoreSearch, Protocol):
    """Keeps a journal. Its methods block; :meth:`open` comes first, and after :meth:`close` it may come again.

    Every method but ``open``, ``close`` and ``description`` raises ``storage_connection_failed`` while the store is
    closed, and ``storage_read_failed`` if what it needs cannot be read.
    """

    @property
    def description(self) -> str:
        """One line for logs and errors: the kind of store and where it is."""
        ...

    def open(self) -> None:
        """Get ready, and recover what the last writer left. An open store stays as it is.

        Raises:
            AsmError: ``journal_locked`` if another writer has it, ``not_found`` if it was to be read only and is not
                there, ``migration_required`` if a later version wrote it, ``storage_read_failed`` or
                ``storage_connection_failed`` if it cannot be opened. Nothing stored is changed by any of these.
        """
        ...

    def close(self) -> None:
        """Make everything durable and let go of it. A closed store stays as it is."""
        ...

    def commit(self, appends: Sequence[Append], *, sync: bool = True) -> list[Appended | AsmError]:
        """Write a group of appends in one transaction.

        Args:
            appends: what to write; later appends of a session see the earlier ones of the same group.
            sync: wait until it would survive a loss of power. A store may be told at construction to do more or
                less than that.

        Returns:
            One answer per append, in order: what became of it, or why it was refused. An append is refused with
            ``session_not_found`` if its session is unknown and it brings no record, ``invalid_operation`` if
            ``expect`` is not the session's last sequence number, ``session_mismatch`` or ``run_mismatch`` if a record
            belongs elsewhere, ``already_exists`` if an event id or an idempotency key that a caller chose is taken
            by something else, ``validation_error`` if it holds what cannot be stored.

        Raises:
            StorageError: ``storage_write_failed``: nothing of the whole group was written.
        """
        ...

    def sync(self) -> None:
        """Make every earlier commit survive a loss of power.

        Raises:
            StorageError: ``storage_write_failed``.
        """
        ...

    def settle(self, limit: int | None = None) -> int:
        """Move recent records into the indexes, and return how many still wait.

        A commit writes one compact block, so that its cost does not depend on the indexes. The block's contents are
        found through memory until they are settled. Commits settle by themselves once too many wait, so calling
        this is never needed; calling it while there is nothing to commit makes later commits cheaper.

        Args:
            limit: at most so many; None settles all of them.

        Raises:
            StorageError: ``storage_write_failed``.
        """
        ...

    def head(self, session_id: str) -> int:
        """Return the sequence number of the session's last event, 0 if it has none; a fork shares its first ones.

        Raises:
            ResourceError: ``session_not_found``.
        """
        ...

    def last_position(self) -> int:
        """Return the position of the journal's last event, 0 if it has none."""
        ...

    def session(self, session_id: str) -> Session:
        """Return the record of a session; its ``last_sequence`` is up to date.

        Raises:
            ResourceError: ``session_not_found``.
        """
        ...

    def run(self, run_id: str) -> Run:
        """Return the record of a run.

        Raises:
            ResourceError: ``run_not_found``.
        """
        ...

    def has_session(self, session_id: str) -> bool:
        """Tell whether there is a session of that id, softly deleted ones included."""
        ...

    def has_run(self, run_id: str) -> bool:
        """Tell whether there is a run of that id."""
        ...

    def session_by_key(self, idempotency_key: str) -> str | None:
        """Return the id of the session which was started with this idempotency key, or None."""
        ...

    def run_by_key(self, session_id: str, idempotency_key: str) -> str | None:
        """Return the id of the session's run which was started with this idempotency key, or None."""
        ...

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
        """Return records of sessions in the order of their creation.

        Args:
            status: one status or several, of which one must hold.
            agent_id: the agent they talk to.
            tags: labels they must all have.
            provider: the provider they use.
            include_deleted: softly deleted ones too.
            limit: at most so many.
            after: the id of a session: those that follow it in the order that is asked for.
            newest_first: turn the order round.
            parent_session_id: the session that they were forked from or belong to.

        Raises:
            StateError: ``invalid_status``, or ``invalid_cursor`` if ``after`` names no session.
        """
        ...

    def forks_of(self, session_id: str) -> list[str]:
        """Return the ids of the sessions that share the history of a session, in the order of their creation.

        Those that were forked from it directly, softly deleted ones included; none for a session that is not there.
        """
        ...

    def open_sessions(self) -> list[Session]:
        """Return the sessions that are not over, in the order of their creation; deleted ones are left out."""
        ...

    def runs(
        self,
        session_id: str | None = None,
        *,
        status: RunStatuses | None = None,
        limit: int | None = None,
    ) -> list[Run]:
        """Return records of runs in the order of their creation.

        Args:
            session_id: only those of this session.
            status: one status or several, of which one must hold.
            limit: at most so many.

        Raises:
            AsmError: ``session_not_found``, ``invalid_status``.
        """
        ...

    def open_runs(self, session_id: str | None = None) -> list[Run]:
        """Return the runs that are not over, in the order of their creation.

        Args:
            session_id: only those of this session; then it costs what these cost, however many runs are over.

        Raises:
            ResourceError: ``session_not_found``.
        """
        ...

    def read_session(self, session_id: str, filter: EventFilter | None = None) -> list[Event]:  # noqa: A002
        """Return events of one session in the order of their sequence numbers.

        A fork begins with the events of its parent up to its ``forked_at``, as they were recorded: their session id,
        run ids and positions are the parent's.

        Raises:
            ResourceError: ``session_not_found``.
        """
        ...

    def read_all(
        self,
        *,
        after: int = 0,
        limit: int = 1000,
        filter: EventFilter | None = None,  # noqa: A002
        session_id: str | None = None,
        scan_limit: int = 10_000,
    ) -> EventPage:
        """Return events of the whole journal, or of one session, in the order of their positions.

        Of a fork these are its own events; what it shares with its parent stands there, once.

        Args:
            after: the position to start after (exclusive).
            limit: at most so many events.
            filter: which events; the tighter of both bounds holds.
            session_id: events of this session only.
            scan_limit: how many events may be looked at, about; a scan that a filter leaves empty-handed ends
                here, and the page's ``position`` tells where to go on.

        Raises:
            ResourceError: ``session_not_found``.
        """
        ...

    def statistics(self) -> StoreStatistics:
        """Return what the store holds."""
        ...
