"""The files of a run: what is looked at before it, and done after it. Blocks: its shell calls this on a thread.

1. Before the first turn the state of the files is kept (``before``); after the last one it is kept again (``after``, or
   ``after_failure`` for a run that did not complete), and compared. If a run did not complete, however it ended, and
   `rollback_on_failure` is asked for, the first state is brought back.
2. A step that is done twice, for its process ended in between, finds what it did the first time: a snapshot is named
   after its run.
3. A snapshot is given back when the run's end is on record, unless something would be lost with it. Kept until somebody
   releases them (`Workspace.release`) are: ``before`` of a run that did not complete and was not rolled back, the way
   back to what there was; ``after_failure`` of one that was, if no whole patch of what it did is kept; both, if
   something could not be done about the files, or if `keep_snapshots` asks for it.
4. Runs that work in one directory at the same time see each other's changes, and a rollback takes all of them back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

from attrs import define, field, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.maintenance.artifact import ArtifactStore
from asm_actors.runs.messages import ROLLED_BACK
from asm_actors.runs.notices import Finished
from asm_actors.runs.run import Run
from asm_actors.workspace.backend import Workspace
from asm_actors.workspace.config import WorkspaceConfig
from asm_actors.workspace.snapshot import Diff, Rollback, Snapshot
from asm_actors.workspace.watching import Stop
from asm_actors.workspace.workspace import open_workspace

__all__ = ["MAX_PATHS", "Files", "Noting", "has_files"]

MAX_PATHS: Final = 1_000
"""Paths of one kind that a run's record lists; the counts are of all."""


def has_files(run: Run) -> bool:
    """Whether a run asks for its files to be looked after."""
    config = run.options.get("workspace")
    return isinstance(config, Mapping) and bool(config.get("enabled"))


class Noting:
    """An artifact store that notes what is put into it.

    Attributes:
        puts: of each artifact its ``key byte_size checksum_sha256 storage_backend storage_ref``.
    """

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self.puts: list[dict[str, Any]] = []

    @property
    def backend(self) -> str:
        """The kind of store."""
        return self._store.backend

    def put(self, key: str, data: bytes) -> str:
        """Keep bytes under a key; see `ArtifactStore.put`."""
        ref = self._store.put(key, data)
        self.puts.append(
            {
                "key": key,
                "byte_size": len(data),
                "checksum_sha256": sha256(data).hexdigest(),
                "storage_backend": self._store.backend,
                "storage_ref": ref,
            }
        )
        return ref

    def get(self, key: str) -> bytes:
        """Return the bytes under a key; see `ArtifactStore.get`."""
        return self._store.get(key)

    def delete(self, key: str) -> None:
        """Remove what is under a key; see `ArtifactStore.delete`."""
        self._store.delete(key)


@frozen
class Files:
    """The files of one run.

    Attributes:
        run: its record; ``details["workspace"]`` says what is known of them so far.
        stop: cancels what is under way.
        artifacts: takes patches, or None.
        now: gives the time in microseconds since the epoch.
    """

    run: Run
    stop: Stop
    artifacts: ArtifactStore | None
    now: Callable[[], int]
    _config: WorkspaceConfig = field(init=False)

    @_config.default
    def _read_config(self) -> WorkspaceConfig:
        return WorkspaceConfig.from_map(self.run.options["workspace"])

    # --- Before ------------------------------------------------------------------------------------------------------

    def before(self) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Keep the state before the run, unless that was done.

        Returns:
            What is known of the files, and the snapshot that was taken now, as its event tells it.

        Raises:
            AsmError: The directory cannot be opened, or its state not be kept; see `workspace.backend`. Or patches are
                to go to an artifact store, and the system has none (``validation_error``).
        """
        known = self.run.details.get("workspace")
        if known is not None:
            return known, None
        if self._config.artifacts and self.artifacts is None:
            raise AsmError(
                ErrorCode.VALIDATION_ERROR,
                "the patch of this run is to go to the artifact store, and the system was started without one: "
                "give its start an artifact_store, or leave out the option 'artifacts'",
                details={"field": "workspace.artifacts"},
            )
        workspace = self._open("before", None)
        stale = workspace.find(self._id("before"))
        if stale is not None:
            # Of an earlier try whose end nobody saw; the files may have changed since.
            workspace.release(stale)
        snapshot = workspace.snapshot("before")
        told = {
            "backend": workspace.backend,
            "path": snapshot.to_map()["path"],
            "before_ref": snapshot.ref,
            "before_snapshot": snapshot.to_map(),
        }
        return told, _event_of(snapshot)

    # --- After -------------------------------------------------------------------------------------------------------

    def after(self, *, is_completed: bool) -> Finished:
        """Keep the state after the run, compare, and bring the first one back if that is asked for."""
        label = "after" if is_completed else "after_failure"
        done = _Done(dict(self.run.details["workspace"]))
        before = Snapshot.from_map(done.known["before_snapshot"])
        try:
            workspace = self._open(label, before)
        except AsmError as error:
            return Finished(done.known, error=error)
        done.attempt(lambda: self._compare(workspace, before, label, done))
        is_unwanted = self._config.rollback_on_failure or ROLLED_BACK in self.run.details
        if is_unwanted and (not is_completed or done.error is not None):
            done.attempt(lambda: _roll_back(workspace, before, done))
        done.known["to_release"] = self._unneeded(done, is_completed=is_completed)
        return Finished(done.known, done.taken, done.diff_told, done.error)

    def _compare(self, workspace: Workspace, before: Snapshot, label: str, done: _Done) -> None:
        after = workspace.find(self._id(label)) or workspace.snapshot(label)
        done.taken = _event_of(after)
        done.known |= {"after_ref": after.ref, "after_snapshot": after.to_map()}
        done.diff = workspace.diff(before, after)
        done.diff_told = done.diff.summary()
        done.known["diff"] = _bounded(done.diff.to_map(), "changes", "changed_paths")

    def _unneeded(self, done: _Done, *, is_completed: bool) -> list[str]:
        """Which snapshots nobody needs any more when the run's end is on record; see rule 3 of the module."""
        if self._config.keep_snapshots or done.error is not None or done.diff is None:
            return []
        if is_completed:
            return ["before_snapshot", "after_snapshot"]
        if done.rollback is None:
            return ["after_snapshot"]
        is_whole = not done.diff.changes or (
            done.diff.has_patch and done.diff.metadata.get("patch_is_exact", True)
        )
        return ["before_snapshot", "after_snapshot"] if is_whole else ["before_snapshot"]

    # --- At last -----------------------------------------------------------------------------------------------------

    def release(self) -> Finished:
        """Give back what is not needed any more; what cannot be given back is told, and stays."""
        known = dict(self.run.details["workspace"])
        try:
            snapshots = [Snapshot.from_map(known[name]) for name in known.pop("to_release", ())]
            if snapshots:
                workspace = self._open("release", snapshots[0])
                for snapshot in snapshots:
                    workspace.release(snapshot)
                known["released"] = [snapshot.label for snapshot in snapshots]
        except AsmError as error:
            known["not_released"] = error.to_record()
        return Finished(known)

    # --- Opening -----------------------------------------------------------------------------------------------------

    def _open(self, purpose: str, known: Snapshot | None) -> Workspace:
        config = self._config
        if known is not None:
            # A process that is started elsewhere goes on with the same directory.
            config = WorkspaceConfig.from_map(
                config.to_map() | {"path": known.path, "strategy": known.backend}
            )
        return open_workspace(
            config,
            artifacts=self.artifacts if config.artifacts else None,
            stop=self.stop,
            now=self.now,
            new_name=lambda: self._name(purpose),
        )

    def _id(self, purpose: str) -> str:
        return f"snap_{self._name(purpose)}"

    def _name(self, purpose: str) -> str:
        run = self.run
        text = f"{run.session_id}\0{run.id}\0{run.created_us}\0{purpose}"
        return sha256(text.encode()).hexdigest()[:32]


@define
class _Done:
    """What was done after a run."""

    known: dict[str, Any]
    taken: dict[str, Any] | None = None
    diff: Diff | None = None
    diff_told: dict[str, Any] | None = None
    rollback: Rollback | None = None
    error: AsmError | None = None

    def attempt(self, step: Callable[[], None]) -> None:
        """Do a step; of several that fail the first one's error is told."""
        try:
            step()
        except AsmError as error:
            self.error = self.error or error


def _roll_back(workspace: Workspace, before: Snapshot, done: _Done) -> None:
    done.rollback = workspace.rollback(before)
    done.known["rollback"] = _bounded(done.rollback.to_map(), "restored", "removed", "not_restored")


def _event_of(snapshot: Snapshot) -> dict[str, Any]:
    return {"label": snapshot.label, "backend": snapshot.backend, "ref": snapshot.ref}


def _bounded(told: dict[str, Any], *names: str) -> dict[str, Any]:
    """Cut long lists short; ``omitted`` says how many items of each are missing."""
    omitted = {name: len(told[name]) - MAX_PATHS for name in names if len(told[name]) > MAX_PATHS}
    if not omitted:
        return told
    return {**told, **{name: told[name][:MAX_PATHS] for name in omitted}, "omitted": omitted}
