"""Part of the contract that every store keeps: the records of artifacts."""

from __future__ import annotations

from typing import Any

from asm_actors.errors import ErrorCode
from asm_actors.journal.store import Store
from asm_actors.maintenance.artifact import Artifact
from asm_actors.testing.store_builders import NOW, raises

__all__ = ["StoreArtifactsContract"]


def _artifact(number: int, **fields: Any) -> Artifact:
    given: dict[str, Any] = {
        "session_id": "a",
        "key": f"key-{number}",
        "byte_size": number,
        "checksum_sha256": f"{number:064x}",
        "storage_backend": "file",
        "storage_ref": f"/somewhere/{number}",
        **fields,
    }
    return Artifact.new(id=f"art_{number:04d}", now=NOW - number, **given)


class StoreArtifactsContract:
    """What every store does with the records of artifacts. Each method is a test."""

    def test_an_artifact_is_found_by_id_by_key_and_by_session(self, store: Store) -> None:
        """Of a session in the order of creation, of the journal in that of the ids."""
        first, second, other = _artifact(1), _artifact(2), _artifact(3, session_id="ab")
        store.save_artifacts([first, second, other])
        assert store.artifact("art_0001") == first
        assert store.artifact("art_9999") is None
        assert store.artifact_by_key("key-2") == second
        assert store.artifact_by_key("key-9") is None
        assert store.artifacts("a") == [second, first]
        assert store.artifacts("ab") == [other]
        assert store.artifacts("nobody") == []
        assert store.artifacts() == [first, second, other]
        assert store.artifacts(after="art_0001", limit=1) == [second]
        assert store.artifacts("a", limit=1) == [second]

    def test_an_artifact_that_was_deleted_is_hidden_and_its_key_is_free(self, store: Store) -> None:
        """Its record can still be read, and lists show it when asked."""
        first = _artifact(1, key="key")
        store.save_artifacts([first])
        gone = first.replace(deleted_us=NOW)
        store.save_artifacts([gone])
        assert (store.artifact_by_key("key"), store.artifacts("a"), store.artifacts()) == (None, [], [])
        assert store.artifact("art_0001") == gone
        assert store.artifacts("a", include_deleted=True) == [gone] == store.artifacts(include_deleted=True)
        successor = _artifact(2, key="key")
        store.save_artifacts([successor])
        assert store.artifact_by_key("key") == successor

    def test_a_key_has_one_artifact_and_a_refusal_changes_nothing(self, store: Store) -> None:
        """The whole call is refused."""
        store.save_artifacts([_artifact(1, key="key")])
        with raises(ErrorCode.ALREADY_EXISTS):
            store.save_artifacts([_artifact(2), _artifact(3, key="key")])
        assert [artifact.id for artifact in store.artifacts()] == ["art_0001"]
        assert store.artifact_by_key("key-2") is None
        store.save_artifacts([_artifact(1, key="key")])

    def test_dropped_artifacts_leave_nothing_behind(self, store: Store) -> None:
        """Unknown ones are passed over."""
        store.save_artifacts([_artifact(1), _artifact(2)])
        assert store.drop_artifacts(["art_0001", "art_9999"]) == 1
        assert store.drop_artifacts(["art_0001"]) == 0
        assert store.artifact("art_0001") is None
        assert store.artifact_by_key("key-1") is None
        assert store.artifacts("a", include_deleted=True) == [_artifact(2)]

    def test_artifacts_survive_closing(self, store: Store) -> None:
        """And a closed store refuses."""
        store.save_artifacts([_artifact(1)])
        store.close()
        for ask in (store.artifacts, lambda: store.artifact("art_0001"), lambda: store.drop_artifacts([])):
            with raises(ErrorCode.STORAGE_CONNECTION_FAILED):
                ask()
        store.open()
        assert store.artifacts() == [_artifact(1)]

    def test_sessions_and_events_are_not_touched(self, store: Store) -> None:
        """Artifacts take no position."""
        store.save_artifacts([_artifact(1)])
        assert (store.last_position(), store.sessions()) == (0, [])
        assert store.verify().is_sound
