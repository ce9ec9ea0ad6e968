"""What every kind of workspace offers, and what they share."""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from attrs import frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.maintenance.artifact import ArtifactStore
from asm_actors.workspace.config import WorkspaceConfig
from asm_actors.workspace.snapshot import Diff, Rollback, Snapshot, displayed
from asm_actors.workspace.watching import Stop

__all__ = ["MAX_ARTIFACT_PATCH_BYTES", "Context", "Workspace", "storage_errors"]

MAX_ARTIFACT_PATCH_BYTES = 64 << 20
"""The longest patch that is handed to an artifact store, which takes it in one piece."""


def _now_us() -> int:
    return time.time_ns() // 1000


@frozen(kw_only=True)
class Context:
    """What a workspace works with.

    Attributes:
        config: what is asked for.
        artifacts: takes patches, or None.
        stop: cancels what is under way, or None.
        now: gives the time in microseconds since the epoch.
        new_name: gives 32 hex digits that nobody has had before.
    """

    config: WorkspaceConfig
    artifacts: ArtifactStore | None = None
    stop: Stop | None = None
    now: Callable[[], int] = _now_us
    new_name: Callable[[], str] = lambda: secrets.token_hex(16)

    def check_going(self) -> None:
        """Raise ``cancelled`` if it was asked to stop."""
        if self.stop is not None and self.stop.is_set:
            raise AsmError(ErrorCode.CANCELLED, "the workspace was told to stop")


class Workspace(ABC):
    """A directory whose state can be kept, compared and brought back.

    All methods block, some for long: an actor calls them on a thread of its pool. A workspace belongs to one thread
    at a time. Any number of workspaces of one directory may be open, also in several processes; a rollback that
    races with others' writing ends in a mixture.

    Attributes:
        path: the directory, absolute, without links.
        config: what was asked for.
    """

    backend: ClassVar[str]
    path: str

    def __init__(self, context: Context) -> None:
        self.config = context.config
        self._context = context

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    @abstractmethod
    def snapshot(self, label: str = "snapshot") -> Snapshot:
        """Keep the present state. Nothing that anybody sees is changed by it.

        Args:
            label: What it is for, such as ``before``, ``after`` and ``after_failure``.

        Raises:
            AsmError: ``storage_read_failed``: a file may not be read; ``storage_write_failed``; ``command_failed``,
                ``command_timeout``, ``cancelled``.
        """

    @abstractmethod
    def diff(self, before: Snapshot, after: Snapshot) -> Diff:
        """Tell what changed between two states.

        Raises:
            AsmError: ``validation_error``: they are not both of this workspace; ``not_found``: one was released; the
                artifact store's errors.
        """

    @abstractmethod
    def rollback(self, snapshot: Snapshot) -> Rollback:
        """Bring a state back exactly; what came later is removed. Again does nothing more.

        Raises:
            AsmError: ``validation_error``: it is not of this workspace; ``not_found``: it was released;
                ``invalid_operation``: git is at work there; ``storage_write_failed``, ``storage_read_failed``: only a
                part was done, call it again.
        """

    @abstractmethod
    def release(self, snapshot: Snapshot) -> None:
        """Keep a state no longer; again does nothing.

        Raises:
            AsmError: ``validation_error``: it is not of this workspace.
        """

    @abstractmethod
    def find(self, snapshot_id: str) -> Snapshot | None:
        """Return a snapshot that is kept, by its id; None if there is none of that id."""

    @abstractmethod
    def snapshots(self) -> list[Snapshot]:
        """Return the states that are kept, oldest first, whoever has taken them."""

    def _check(self, *snapshots: Snapshot) -> None:
        for snapshot in snapshots:
            if snapshot.backend != self.backend or snapshot.path not in (self.path, displayed(self.path)):
                raise AsmError(
                    ErrorCode.VALIDATION_ERROR,
                    f"the snapshot {snapshot.id} is of {snapshot.backend} at {displayed(snapshot.path)}, "
                    f"not of {self.backend} at {displayed(self.path)}",
                    details={"field": "snapshot"},
                )

    def _with_patch(self, diff: Diff, read: Callable[[int], tuple[bytes, int]]) -> Diff:
        """Add the patch to a difference.

        Args:
            diff: The difference.
            read: Given how many bytes are of use, returns the patch, or a part of it, and how long it is.
        """
        if not self.config.capture_patch or not diff.changes:
            return diff
        artifacts = self._context.artifacts
        bound = self.config.max_patch_bytes if artifacts is None else MAX_ARTIFACT_PATCH_BYTES
        patch, size = read(bound)
        if not size:
            return diff
        if size > bound:
            return diff.replace(patch_truncated=True, patch_bytes=size)
        if artifacts is not None:
            key = f"patch_{diff.from_ref}_{diff.to_ref}_{self._context.new_name()}"
            artifacts.put(key, patch)
            return diff.replace(patch_ref=key, patch_bytes=size)
        more: dict[str, Any] = {}
        try:
            text = patch.decode()
        except UnicodeDecodeError:
            text = patch.decode(errors="replace")
            more = {"patch_is_exact": False}
        return diff.replace(patch=text, patch_bytes=size, metadata=diff.metadata | more)


@contextmanager
def storage_errors(code: ErrorCode, what: str) -> Iterator[None]:
    """Turn the file system's errors into ours."""
    try:
        yield
    except OSError as error:
        name = displayed(str(error.filename or ""))
        text = f"{what}: {name}{': ' if name else ''}{error.strerror or error}"
        raise AsmError.wrap(code, error, text) from error
