"""Removing what belongs to sessions that are gone: artifacts with their bytes, cursors of subscriptions."""

from __future__ import annotations

from typing import Final

from asm_actors.journal.store import Store
from asm_actors.maintenance.artifact import Artifact, ArtifactStore
from asm_actors.maintenance.hands import Hands
from asm_actors.maintenance.work import told

__all__ = ["clean_artifacts", "clean_cursors", "orphaned_artifacts"]

_AT_ONCE: Final = 200


def clean_artifacts(
    hands: Hands,
    artifact_store: ArtifactStore,
    errors: list[str],
    *,
    deleted_before: int | None = None,
    is_dry_run: bool = False,
) -> int:
    """Remove the artifacts of sessions that are gone: their bytes first, then their records.

    Args:
        hands: Reach the journal.
        artifact_store: Has the bytes. Artifacts in stores of another kind are left alone.
        errors: Gets a sentence for each artifact that could not be removed.
        deleted_before: Also those that were deleted softly before this time, in microseconds since the epoch.
        is_dry_run: Only count.

    Returns:
        How many were removed.
    """
    store, count = hands.store, 0
    after: str | None = None
    while True:
        page = store.artifacts(include_deleted=True, after=after, limit=_AT_ONCE)
        if not page:
            return count
        after = page[-1].id
        gone: list[str] = []
        for artifact in page:
            is_ours = artifact.storage_backend == artifact_store.backend
            if not is_ours or not _is_due(store, artifact, deleted_before):
                continue
            if is_dry_run or _remove_bytes(store, artifact_store, artifact, errors):
                gone.append(artifact.id)
        count += len(gone)
        if gone and not is_dry_run:
            hands.write(lambda gone=gone: store.drop_artifacts(gone))  # type: ignore[misc]


def orphaned_artifacts(store: Store) -> int:
    """Count the artifacts of sessions that are gone."""
    count, after = 0, None
    while page := store.artifacts(include_deleted=True, after=after, limit=_AT_ONCE):
        after = page[-1].id
        count += sum(not store.has_session(artifact.session_id) for artifact in page)
    return count


def _is_due(store: Store, artifact: Artifact, deleted_before: int | None) -> bool:
    if not store.has_session(artifact.session_id):
        return True
    return (
        deleted_before is not None
        and artifact.deleted_us is not None
        and artifact.deleted_us < deleted_before
    )


def _remove_bytes(store: Store, artifact_store: ArtifactStore, artifact: Artifact, errors: list[str]) -> bool:
    owner = store.artifact_by_key(artifact.key)
    if owner is not None and owner.id != artifact.id:
        return True  # the key was given to another one since, and the bytes are that one's
    try:
        artifact_store.delete(artifact.key)
    except Exception as error:  # a store may be anybody's, and raise whatever it likes
        errors.append(f"artifact {artifact.id}: {told(error)}")
        return False
    return True


def clean_cursors(hands: Hands, *, is_dry_run: bool = False) -> int:
    """Remove the named cursors of subscriptions to sessions that are gone.

    Returns:
        How many there were.
    """
    store = hands.store
    gone = [
        cursor.name
        for cursor in store.cursors()
        if cursor.session_id is not None and not store.has_session(cursor.session_id)
    ]
    if gone and not is_dry_run:
        hands.write(lambda: store.save_cursors(dict.fromkeys(gone)))
    return len(gone)
