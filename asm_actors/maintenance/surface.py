"""`system.maintenance`: keep the journal of a running system small and sound.

The operations are defined once; the two surfaces get them blocking and awaited. Each of them may take long, and does
its work on the caller's thread (of an awaiting caller: on one of its loop's executor): what writes is handed in small
parts to the journal's actor, so that the system goes on serving. An export or a backup reads, and holds up nobody.
"""

from __future__ import annotations

import os
from typing import IO, Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.faces import awaited, blocking
from asm_actors.journal.store_maintenance import (
    BackupReport,
    CompactReport,
    Erased,
    Progress,
    RepairReport,
    VerifyReport,
)
from asm_actors.journal.store_refusals import refuse_shared
from asm_actors.maintenance.arguments import check_callable, check_path, check_source, check_target
from asm_actors.maintenance.artifact import ArtifactStore
from asm_actors.maintenance.cleaning import clean_artifacts
from asm_actors.maintenance.execution import Execution
from asm_actors.maintenance.export import ExportReport, export_to
from asm_actors.maintenance.health import health_of
from asm_actors.maintenance.imports import ImportReport, OnConflict, import_from
from asm_actors.maintenance.live import Live, SystemSurroundings
from asm_actors.maintenance.mending import mend
from asm_actors.maintenance.policy import RetentionPolicy
from asm_actors.maintenance.report import MaintenanceReport, OnProgress
from asm_actors.serialization import check_id, check_optional_id, invalid
from asm_actors.services import Services
from asm_actors.sessions.carrying import Carrying
from asm_actors.sessions.delivery import not_running
from asm_actors.sessions.messages import GetStatus
from supervisors import Future

__all__ = ["AsyncMaintenance", "Maintenance"]


class MaintenanceOperations(Carrying):
    """The operations; see the module."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._hands = Live(services)
        self._around = SystemSurroundings(services)

    def execute(
        self,
        policy: RetentionPolicy | None = None,
        *,
        artifact_store: ArtifactStore | None = None,
        progress: OnProgress | None = None,
        dry_run: bool = False,
    ) -> Future[MaintenanceReport]:
        """Carry a retention policy out.

        Args:
            policy: What is kept; by default as the system is configured (`Config.retention_policy`).
            artifact_store: Where the bytes of artifacts are, so that those of sessions that are gone are removed;
                without it artifacts are left alone.
            progress: Called after every batch.
            dry_run: Only count what would be done.

        Returns:
            What was done; what could not be done is in its `errors`, and is not fatal.

        Raises:
            ValidationError: An argument is malformed.
            ConcurrencyError: ``invalid_operation``: the system does not run.
        """
        if not self._services.directory.is_up:
            raise not_running(self._services)
        execution = self._execution(policy, artifact_store, progress, dry_run=dry_run)
        return self._read(execution.run)

    def delete_for_good(self, session_id: str) -> Future[Erased]:
        """Delete one session for good now, softly deleted before or not: its records, events and every trace.

        Args:
            session_id: Which session.

        Returns:
            How much is gone.

        Raises:
            ResourceError: ``session_not_found``.
            ConcurrencyError: ``invalid_operation``: runs are open, it is in use, or forks share its history
                (``details["forks"]``). Nothing was changed.
        """
        check_id(session_id, "session_id")
        return self._read(lambda: self._delete_for_good(session_id))

    def _delete_for_good(self, session_id: str) -> Erased:
        store = self._services.store

        def check() -> None:
            store.session(session_id)
            if store.open_runs(session_id):
                raise AsmError(
                    ErrorCode.INVALID_OPERATION, f"session {session_id} has open runs: cancel them first"
                )
            refuse_shared([session_id], store.forks_of)

        def erase() -> Erased:
            # Once more where nobody else writes: a run or a fork may have come meanwhile.
            check()
            return store.erase_sessions([session_id])

        check()
        return self._hands.at_rest(session_id, erase)

    def prune_session_events(self, session_id: str, policy: RetentionPolicy) -> Future[int]:
        """Bring one session down to `max_events_per_session` of a policy; see `RetentionPolicy` for what goes first.

        Args:
            session_id: Which session.
            policy: What is kept.

        Returns:
            How many events went.

        Raises:
            ResourceError: ``session_not_found``.
            ConcurrencyError: ``invalid_operation``: runs are open, or it is in use.
            StorageError: It could not be archived.
        """
        check_id(session_id, "session_id")
        execution = self._execution(policy, None, None, dry_run=False)

        def prune() -> int:
            self._hands.at_rest(session_id, lambda: None)
            return execution.prune_one(session_id)

        return self._read(prune)

    def health_check(self, *, deep: bool = False) -> Future[list[str]]:
        """Tell what is not as it should be: remains without a session, counters, forgotten runs, unreadable records.

        Args:
            deep: Also read and check all events and indexes, as `verify` does.

        Returns:
            One sentence each; empty when all is well.
        """

        def look() -> list[str]:
            self._hands.flush()
            services = self._services
            return health_of(services.store, services.now_us(), works_on=self._hands.works_on, deep=deep)

        return self._read(look)

    def verify(self, progress: Progress | None = None, *, replay: bool = True) -> Future[VerifyReport]:
        """Read everything and check it; see `Store.verify`."""
        check_callable(progress, "progress")
        return self._read(lambda: self._services.store.verify(progress, replay=replay))

    def repair(self, *, dry_run: bool = False) -> Future[RepairReport]:
        """Set right what can be while a system runs: unfinished imports, runs and cursors that nothing leads to.

        Damaged bytes and indexes are told in `unmended`; they need the journal for itself: stop the system, and use
        ``asm journal repair`` or `Store.repair`.

        Args:
            dry_run: Only tell.
        """

        def wake(session_id: str) -> Any:
            return self._deliver(session_id, GetStatus()).get()

        def work() -> RepairReport:
            self._hands.flush()
            return mend(self._hands, wake, dry_run=dry_run)

        return self._read(work)

    def backup(
        self, path: str | os.PathLike[str], progress: Progress | None = None, *, compact: bool = True
    ) -> Future[BackupReport]:
        """Copy the journal as it is now to a directory, while the system goes on; see `Store.backup`."""
        check_path(path, "path")
        check_callable(progress, "progress")

        def copy() -> BackupReport:
            self._hands.flush()
            return self._services.store.backup(path, progress, compact=compact)

        return self._read(copy)

    def compact(self, progress: Progress | None = None) -> Future[CompactReport]:
        """Give the space of what was deleted back to the file system; commits wait meanwhile. See `Store.compact`."""
        check_callable(progress, "progress")
        return self._read(lambda: self._hands.write(lambda: self._services.store.compact(progress)))

    def export(
        self,
        target: str | os.PathLike[str] | IO[str],
        *,
        session_id: str | None = None,
        with_parents: bool = False,
        progress: OnProgress | None = None,
    ) -> Future[ExportReport]:
        """Write the journal, or one session, as JSON Lines.

        Args:
            target: A path that is not there yet, compressed if it ends in ``.gz``; or something to write text to.
            session_id: Only this session.
            with_parents: Before it the sessions whose history it shares, so that it can be imported elsewhere.
            progress: Called after every session.

        Raises:
            AsmError: ``validation_error``, ``session_not_found``, ``already_exists``, ``storage_write_failed``.
        """
        check_target(target, "target")
        check_optional_id(session_id, "session_id")
        check_callable(progress, "progress")

        def write() -> ExportReport:
            self._hands.flush()
            return export_to(
                self._services.store,
                target,
                self._services.now_us(),
                session_id=session_id,
                with_parents=with_parents,
                progress=progress,
            )

        return self._read(write)

    def import_(
        self,
        source: str | os.PathLike[str] | IO[str],
        *,
        on_conflict: OnConflict = "error",
        progress: OnProgress | None = None,
    ) -> Future[ImportReport]:
        """Bring an export into the journal: ids, sequence numbers and timestamps stay as they were.

        A session is there wholly or not at all. Open runs stay open, and are taken up at the next start. What comes in
        is redacted as the system redacts, event by event: of a secret that was streamed in pieces, over several
        events, a piece that is none by itself stays.

        Args:
            source: A path, or something to read text from.
            on_conflict: ``error`` ends the import at a session that is there already; ``skip`` leaves it as it is.
            progress: Called after every session.

        Raises:
            AsmError: ``validation_error``, ``already_exists``, ``not_found``, …; the message names the line.
        """
        check_source(source, "source")
        check_callable(progress, "progress")
        return self._read(
            lambda: import_from(
                self._hands,
                source,
                self._around,
                on_conflict=on_conflict,
                progress=progress,
                redactor=self._services.redactor,
            )
        )

    def clean_orphaned_artifacts(self, artifact_store: ArtifactStore) -> Future[int]:
        """Remove the artifacts of sessions that are gone, with their bytes.

        Args:
            artifact_store: Where the bytes are.

        Returns:
            How many were removed.

        Raises:
            StorageError: ``maintenance_error``: some could not be; the others were.
        """
        _check_artifact_store(artifact_store)

        def clean() -> int:
            errors: list[str] = []
            count = clean_artifacts(self._hands, artifact_store, errors)
            if errors:
                raise AsmError(
                    ErrorCode.MAINTENANCE_ERROR,
                    f"{len(errors)} artifacts could not be removed: {errors[0]}",
                    details={"errors": errors, "artifacts_cleaned": count},
                )
            return count

        return self._read(clean)

    def _execution(
        self,
        policy: RetentionPolicy | None,
        artifact_store: ArtifactStore | None,
        progress: OnProgress | None,
        *,
        dry_run: bool,
    ) -> Execution:
        if not isinstance(policy, RetentionPolicy | None):
            raise invalid("policy", "must be a RetentionPolicy", policy)
        check_callable(progress, "progress")
        if artifact_store is not None:
            _check_artifact_store(artifact_store)
        return Execution(
            self._hands,
            policy or self._services.config.retention_policy(),
            self._around,
            artifact_store,
            progress,
            dry_run,
        )


def _check_artifact_store(value: object) -> None:
    if not isinstance(value, ArtifactStore):
        raise invalid("artifact_store", "must be an artifact store", value)


class Maintenance:
    """Maintenance of the journal of a running system, blocking; `ActorSystem.maintenance` gives it.

    Args:
        services: The system's.
    """

    def __init__(self, services: Services) -> None:
        self._operations = MaintenanceOperations(services)

    execute = blocking(MaintenanceOperations.execute)
    delete_for_good = blocking(MaintenanceOperations.delete_for_good)
    prune_session_events = blocking(MaintenanceOperations.prune_session_events)
    health_check = blocking(MaintenanceOperations.health_check)
    verify = blocking(MaintenanceOperations.verify)
    repair = blocking(MaintenanceOperations.repair)
    backup = blocking(MaintenanceOperations.backup)
    compact = blocking(MaintenanceOperations.compact)
    export = blocking(MaintenanceOperations.export)
    import_ = blocking(MaintenanceOperations.import_)
    clean_orphaned_artifacts = blocking(MaintenanceOperations.clean_orphaned_artifacts)


class AsyncMaintenance:
    """Maintenance of the journal of a running system, awaited; `AsyncActorSystem.maintenance` gives it.

    Args:
        services: The system's.
    """

    def __init__(self, services: Services) -> None:
        self._operations = MaintenanceOperations(services)

    execute = awaited(MaintenanceOperations.execute)
    delete_for_good = awaited(MaintenanceOperations.delete_for_good)
    prune_session_events = awaited(MaintenanceOperations.prune_session_events)
    health_check = awaited(MaintenanceOperations.health_check)
    verify = awaited(MaintenanceOperations.verify)
    repair = awaited(MaintenanceOperations.repair)
    backup = awaited(MaintenanceOperations.backup)
    compact = awaited(MaintenanceOperations.compact)
    export = awaited(MaintenanceOperations.export)
    import_ = awaited(MaintenanceOperations.import_)
    clean_orphaned_artifacts = awaited(MaintenanceOperations.clean_orphaned_artifacts)
