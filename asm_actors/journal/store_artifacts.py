"""Part of the store's port: the records of artifacts. Their bytes lie elsewhere; see `maintenance.artifact`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.maintenance.artifact import Artifact

__all__ = ["StoreArtifacts", "key_is_taken"]


@runtime_checkable
class StoreArtifacts(Protocol):
    """Keeps records of artifacts. A record's session need not be there: it may have been deleted since."""

    def save_artifacts(self, artifacts: Sequence[Artifact]) -> None:
        """Write records, new ones or new versions, in one transaction; durable when it returns.

        The thread that commits calls this.

        Raises:
            AsmError: ``already_exists``: another artifact, not deleted, has the same key; ``storage_write_failed``.
                Nothing was written.
        """
        ...

    def drop_artifacts(self, artifact_ids: Iterable[str]) -> int:
        """Remove records for good; unknown ones are passed over. The thread that commits calls this.

        Returns:
            How many were there.

        Raises:
            StorageError: ``storage_write_failed``: nothing was removed.
        """
        ...

    def artifact(self, artifact_id: str) -> Artifact | None:
        """Return a record, also of one that was deleted softly; None if there is none."""
        ...

    def artifact_by_key(self, key: str) -> Artifact | None:
        """Return the record of the artifact that has a key and is not deleted, or None."""
        ...

    def artifacts(
        self,
        session_id: str | None = None,
        *,
        include_deleted: bool = False,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[Artifact]:
        """Return records: of a session in the order of their creation, of the whole journal in that of their ids.

        Args:
            session_id: only those of this session; it need not exist.
            include_deleted: also those that were deleted softly.
            after: those that follow this id; only without a session.
            limit: at most so many.
        """
        ...


def key_is_taken(artifact: Artifact, by: str) -> AsmError:
    """Make the error for a second artifact under one key."""
    return AsmError(
        ErrorCode.ALREADY_EXISTS,
        f"the artifact {by} has the key {artifact.key!r} already: choose another key, or delete that one first",
        details={"key": artifact.key, "artifact_id": by},
    )
