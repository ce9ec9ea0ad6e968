"""The records of artifacts in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from asm_actors.journal.store_artifacts import key_is_taken
from asm_actors.maintenance.artifact import Artifact

__all__ = ["MemoryArtifacts"]


class MemoryArtifacts:
    """Part of the store in memory; `StoreArtifacts` tells what each method does. Records are values: none is copied."""

    def __init__(self) -> None:
        super().__init__()
        self._artifacts: dict[str, Artifact] = {}
        self._artifact_keys: dict[str, str] = {}

    def _check_open(self) -> None:
        raise NotImplementedError

    def save_artifacts(self, artifacts: Sequence[Artifact]) -> None:
        """Write records."""
        self._check_open()
        records, keys = dict(self._artifacts), dict(self._artifact_keys)
        for artifact in artifacts:
            before = records.get(artifact.id)
            if before is not None and keys.get(before.key) == before.id:
                del keys[before.key]
            if artifact.deleted_us is None:
                taken = keys.setdefault(artifact.key, artifact.id)
                if taken != artifact.id:
                    raise key_is_taken(artifact, taken)
            records[artifact.id] = artifact
        # One assignment each: a reader on another thread sees the records of before or those of now.
        self._artifacts, self._artifact_keys = records, keys

    def drop_artifacts(self, artifact_ids: Iterable[str]) -> int:
        """Remove records."""
        self._check_open()
        records, keys = dict(self._artifacts), dict(self._artifact_keys)
        count = 0
        for artifact_id in artifact_ids:
            gone = records.pop(artifact_id, None)
            if gone is not None:
                count += 1
                if keys.get(gone.key) == gone.id:
                    del keys[gone.key]
        self._artifacts, self._artifact_keys = records, keys
        return count

    def artifact(self, artifact_id: str) -> Artifact | None:
        """Return a record."""
        self._check_open()
        return self._artifacts.get(artifact_id)

    def artifact_by_key(self, key: str) -> Artifact | None:
        """Return the record under a key."""
        self._check_open()
        found = self._artifact_keys.get(key)
        return None if found is None else self._artifacts.get(found)

    def artifacts(
        self,
        session_id: str | None = None,
        *,
        include_deleted: bool = False,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[Artifact]:
        """Return records."""
        self._check_open()
        found = [
            artifact
            for artifact in self._artifacts.values()
            if (include_deleted or artifact.deleted_us is None)
            and (session_id is None or artifact.session_id == session_id)
            and (session_id is not None or after is None or artifact.id > after)
        ]
        if session_id is None:
            found.sort(key=lambda artifact: artifact.id)
        else:
            found.sort(key=lambda artifact: (artifact.created_us, artifact.id))
        return found[:limit]
