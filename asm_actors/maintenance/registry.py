"""`system.artifacts`: the records of artifacts, kept in the journal. Their bytes lie in an `ArtifactStore`."""

from __future__ import annotations

from hashlib import sha256

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.faces import awaited, blocking
from asm_actors.maintenance.artifact import ARTIFACT_PREFIX, Artifact, ArtifactStats, ArtifactStore
from asm_actors.maintenance.file_artifacts import checked_data
from asm_actors.maintenance.live import Live
from asm_actors.redaction.naming import check_artifact
from asm_actors.serialization import check_id, invalid
from asm_actors.services import Services
from asm_actors.sessions.carrying import Carrying
from supervisors import Future

__all__ = ["ArtifactRegistry", "AsyncArtifactRegistry"]


class ArtifactOperations(Carrying):
    """The operations of the registry."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._hands = Live(services)

    def register(
        self,
        *,
        session_id: str | None = None,
        key: str | None = None,
        byte_size: int | None = None,
        checksum_sha256: str | None = None,
        storage_backend: str | None = None,
        storage_ref: str | None = None,
    ) -> Future[Artifact]:
        """Note that a session has an artifact whose bytes are kept somewhere already. All arguments are required.

        Args:
            session_id: The session it belongs to.
            key: The key of its bytes.
            byte_size: How many bytes.
            checksum_sha256: Their SHA-256 in hexadecimal.
            storage_backend: The kind of store that has them.
            storage_ref: Where they are in it.

        Returns:
            The artifact. The same bytes under the same key of the same session are the same artifact again.

        Raises:
            ValidationError: A field is missing or malformed, or holds a secret: all of them are stored as they are.
            ResourceError: ``session_not_found``; ``already_exists``: another artifact has this key.
        """
        services = self._services
        artifact = Artifact.new(
            id=f"{ARTIFACT_PREFIX}{services.ids.block():032x}",
            now=services.now_us(),
            session_id=session_id,
            key=key,
            byte_size=byte_size,
            checksum_sha256=checksum_sha256,
            storage_backend=storage_backend,
            storage_ref=storage_ref,
        )
        self._check_names(artifact.key, artifact.storage_backend, artifact.storage_ref)
        return self._read(lambda: self._hands.write(lambda: self._save(artifact)))

    def _check_names(self, key: str, backend: str, ref: str = "") -> None:
        if self._services.redactor is not None:
            check_artifact(self._services.redactor, key=key, backend=backend, ref=ref)

    def _save(self, artifact: Artifact) -> Artifact:
        store = self._services.store
        store.head(artifact.session_id)  # raises session_not_found
        known = store.artifact_by_key(artifact.key)
        if known is not None and artifact == known.replace(id=artifact.id, created_us=artifact.created_us):
            return known
        store.save_artifacts([artifact])
        return artifact

    def put(self, artifact_store: ArtifactStore, session_id: str, key: str, data: bytes) -> Future[Artifact]:
        """Keep bytes in a store and register them, in this order: what is registered is there.

        Args:
            artifact_store: Where the bytes go.
            session_id: The session they belong to.
            key: Their key; it must be free.
            data: The bytes.

        Raises:
            ValidationError: An argument is malformed, or the key, or where the store says that it is, holds a secret.
            ResourceError: ``session_not_found``; ``already_exists``: an artifact has this key.
            StorageError: ``storage_error``.
        """
        if not isinstance(artifact_store, ArtifactStore):
            raise invalid("artifact_store", "must be an artifact store", artifact_store)
        check_id(session_id, "session_id")
        check_id(key, "key")
        content = checked_data(data)
        self._check_names(key, artifact_store.backend)

        def keep() -> Artifact:
            store = self._services.store
            store.head(session_id)
            known = store.artifact_by_key(key)
            digest = sha256(content).hexdigest()
            if known is not None and (known.session_id, known.checksum_sha256) != (session_id, digest):
                raise AsmError(
                    ErrorCode.ALREADY_EXISTS,
                    f"the artifact {known.id} has the key {key!r} already: choose another one, or delete that first",
                    details={"key": key, "artifact_id": known.id},
                )
            ref = artifact_store.put(key, content)
            return self.register(
                session_id=session_id,
                key=key,
                byte_size=len(content),
                checksum_sha256=digest,
                storage_backend=artifact_store.backend,
                storage_ref=ref,
            ).get()

        return self._read(keep)

    def get_by_key(self, key: str) -> Future[Artifact | None]:
        """Return the artifact that has a key, or None; one that was deleted has none any more."""
        check_id(key, "key")
        return self._read(lambda: self._services.store.artifact_by_key(key))

    def list_by_session(self, session_id: str, *, include_deleted: bool = False) -> Future[list[Artifact]]:
        """Return the artifacts of a session in the order of their creation."""
        check_id(session_id, "session_id")
        return self._read(lambda: self._services.store.artifacts(session_id, include_deleted=include_deleted))

    def session_stats(self, session_id: str) -> Future[ArtifactStats]:
        """Return how many artifacts a session has, and their bytes."""
        check_id(session_id, "session_id")

        def count() -> ArtifactStats:
            found = self._services.store.artifacts(session_id)
            return ArtifactStats(len(found), sum(artifact.byte_size for artifact in found))

        return self._read(count)

    def delete(self, artifact_id: str) -> Future[Artifact]:
        """Delete an artifact softly: its key is free again, its bytes stay until maintenance cleans it.

        One that was deleted already stays as it is.

        Raises:
            ResourceError: ``not_found``.
        """
        check_id(artifact_id, "artifact_id")

        def remove() -> Artifact:
            store = self._services.store
            found = store.artifact(artifact_id)
            if found is None:
                raise AsmError(ErrorCode.NOT_FOUND, f"there is no artifact {artifact_id}")
            if found.deleted_us is None:
                found = found.replace(deleted_us=self._services.now_us())
                store.save_artifacts([found])
            return found

        return self._read(lambda: self._hands.write(remove))


class ArtifactRegistry:
    """The artifacts of a running system's sessions, blocking; `ActorSystem.artifacts` gives it.

    Args:
        services: The system's.
    """

    def __init__(self, services: Services) -> None:
        self._operations = ArtifactOperations(services)

    register = blocking(ArtifactOperations.register)
    put = blocking(ArtifactOperations.put)
    get_by_key = blocking(ArtifactOperations.get_by_key)
    list_by_session = blocking(ArtifactOperations.list_by_session)
    session_stats = blocking(ArtifactOperations.session_stats)
    delete = blocking(ArtifactOperations.delete)


class AsyncArtifactRegistry:
    """The artifacts of a running system's sessions, awaited; `AsyncActorSystem.artifacts` gives it.

    Args:
        services: The system's.
    """

    def __init__(self, services: Services) -> None:
        self._operations = ArtifactOperations(services)

    register = awaited(ArtifactOperations.register)
    put = awaited(ArtifactOperations.put)
    get_by_key = awaited(ArtifactOperations.get_by_key)
    list_by_session = awaited(ArtifactOperations.list_by_session)
    session_stats = awaited(ArtifactOperations.session_stats)
    delete = awaited(ArtifactOperations.delete)
