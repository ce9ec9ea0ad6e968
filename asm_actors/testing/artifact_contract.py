"""The contract that every artifact store keeps, as a test suite.

Subclass :class:`ArtifactStoreContract` in a pytest module and give it a fixture ``artifacts`` that returns an empty
store.
"""

from __future__ import annotations

from asm_actors.errors import ErrorCode
from asm_actors.maintenance.artifact import ArtifactStore
from asm_actors.testing.store_builders import raises

__all__ = ["ArtifactStoreContract"]


class ArtifactStoreContract:
    """What every artifact store does. Each method is a test."""

    def test_it_has_the_shape_of_an_artifact_store(self, artifacts: ArtifactStore) -> None:
        """And names its kind."""
        assert isinstance(artifacts, ArtifactStore)
        assert artifacts.backend

    def test_what_was_put_is_got(self, artifacts: ArtifactStore) -> None:
        """Whatever bytes it is, under whatever key, each by itself."""
        content = {"a": b"", "b/c.txt": bytes(range(256)) * 64, "grüße 🎉": b"x", "../../etc": b"y"}
        refs = {key: artifacts.put(key, data) for key, data in content.items()}
        assert {key: artifacts.get(key) for key in content} == content
        assert len(set(refs.values())) == len(content)

    def test_a_second_put_replaces_the_first(self, artifacts: ArtifactStore) -> None:
        """At the same place."""
        first = artifacts.put("key", b"long before")
        assert artifacts.put("key", b"now") == first
        assert artifacts.get("key") == b"now"

    def test_an_absent_key_is_not_found(self, artifacts: ArtifactStore) -> None:
        """Before it is put, and after it was deleted."""
        with raises(ErrorCode.NOT_FOUND):
            artifacts.get("key")
        artifacts.put("key", b"x")
        artifacts.delete("key")
        with raises(ErrorCode.NOT_FOUND):
            artifacts.get("key")

    def test_deleting_is_idempotent(self, artifacts: ArtifactStore) -> None:
        """And touches nothing else."""
        artifacts.put("other", b"x")
        artifacts.delete("key")
        artifacts.put("key", b"x")
        artifacts.delete("key")
        artifacts.delete("key")
        assert artifacts.get("other") == b"x"

    def test_bad_input_is_refused(self, artifacts: ArtifactStore) -> None:
        """An empty key, one with control characters, data that is no bytes."""
        for key in ("", "a\nb"):
            with raises(ErrorCode.VALIDATION_ERROR):
                artifacts.put(key, b"x")
            with raises(ErrorCode.VALIDATION_ERROR):
                artifacts.get(key)
        with raises(ErrorCode.VALIDATION_ERROR):
            artifacts.put("key", "text")  # type: ignore[arg-type]
        with raises(ErrorCode.NOT_FOUND):
            artifacts.get("key")
