"""What an artifact is, and the port to where its bytes are kept.

An artifact is bytes that are too large, or of the wrong kind, for an event: a patch, a file, an archive. Its bytes
lie in an :class:`ArtifactStore`; the journal keeps its record, an :class:`Artifact`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Protocol, Self, runtime_checkable

from attrs import frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.records import replacer
from asm_actors.serialization import (
    Fields,
    check_id,
    check_integer,
    check_text,
    check_time,
    invalid,
    iso_from_us,
    time_from_us,
)

__all__ = ["ARTIFACT_PREFIX", "Artifact", "ArtifactStats", "ArtifactStore"]

ARTIFACT_PREFIX: Final = "art_"
_DIGEST_LENGTH: Final = 64


@runtime_checkable
class ArtifactStore(Protocol):
    """Keeps bytes under keys. Its methods block, any thread may call them, and a put is durable when it returns.

    Every store passes ``asm_actors.testing.artifact_contract.ArtifactStoreContract``.
    """

    @property
    def backend(self) -> str:
        """The kind of store, for records: ``file``, ``s3``."""
        ...

    def put(self, key: str, data: bytes) -> str:
        """Keep bytes under a key; what was there before is replaced, wholly or not at all.

        Returns:
            Where they are, for records.

        Raises:
            AsmError: ``validation_error``: the key is none, or the data is not bytes; ``storage_error``.
        """
        ...

    def get(self, key: str) -> bytes:
        """Return the bytes under a key.

        Raises:
            AsmError: ``not_found``; ``storage_error``.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove what is under a key; nothing there is no error.

        Raises:
            AsmError: ``storage_error``.
        """
        ...


@frozen
class ArtifactStats:
    """How much is registered for a session.

    Attributes:
        artifact_count: artifacts that are not deleted.
        total_bytes: their bytes.
    """

    artifact_count: int
    total_bytes: int


@frozen
class Artifact:
    """The record of an artifact.

    Attributes:
        id: its name, ``art_`` and 32 hex digits.
        session_id: the session it belongs to.
        key: the key of its bytes; one artifact at a time has it.
        byte_size: how many bytes.
        checksum_sha256: their SHA-256, 64 lower-case hex digits.
        storage_backend: the kind of store that has them.
        storage_ref: where they are in it.
        created_us: when it was registered, in microseconds since the epoch; :attr:`created_at` shows it.
        deleted_us: when it was deleted softly, or None.
    """

    id: str
    session_id: str
    key: str
    byte_size: int
    checksum_sha256: str
    storage_backend: str
    storage_ref: str
    created_us: int
    deleted_us: int | None = None

    @classmethod
    def new(
        cls,
        *,
        id: str,  # noqa: A002 - the field's name is the argument's
        now: int,
        session_id: str | None = None,
        key: str | None = None,
        byte_size: int | None = None,
        checksum_sha256: str | None = None,
        storage_backend: str | None = None,
        storage_ref: str | None = None,
    ) -> Self:
        """Check what a caller gives. Every argument is required: leaving one out is bad input like any other.

        Raises:
            ValidationError: a field is missing or malformed; the message names it.
        """
        if byte_size is None or storage_ref is None or checksum_sha256 is None:
            given = {
                "byte_size": byte_size,
                "storage_ref": storage_ref,
                "checksum_sha256": checksum_sha256,
            }
            name = next(name for name, value in given.items() if value is None)
            raise AsmError(ErrorCode.VALIDATION_ERROR, f"{name} is required", details={"field": name})
        return cls(
            id=check_id(id, "id"),
            session_id=check_id(session_id, "session_id"),
            key=check_id(key, "key"),
            byte_size=check_integer(byte_size, "byte_size", least=0),
            checksum_sha256=_check_digest(checksum_sha256),
            storage_backend=check_id(storage_backend, "storage_backend"),
            storage_ref=check_text(storage_ref, "storage_ref"),
            created_us=check_time(now, "now"),
        )

    @property
    def created_at(self) -> datetime:
        """When it was registered (aware, UTC)."""
        return time_from_us(self.created_us)

    @property
    def deleted_at(self) -> datetime | None:
        """When it was deleted softly (aware, UTC), or None."""
        return None if self.deleted_us is None else time_from_us(self.deleted_us)

    def replace(self, **changes: Any) -> Artifact:
        """Return a copy with some fields changed, unchecked."""
        return _replace(self, changes)

    def to_map(self) -> dict[str, Any]:
        """Return the artifact as a JSON-ready map; times are ISO-8601 text in UTC."""
        return {
            "id": self.id,
            "session_id": self.session_id,
            "key": self.key,
            "byte_size": self.byte_size,
            "checksum_sha256": self.checksum_sha256,
            "storage_backend": self.storage_backend,
            "storage_ref": self.storage_ref,
            "created_at": iso_from_us(self.created_us),
            "deleted_at": None if self.deleted_us is None else iso_from_us(self.deleted_us),
        }

    @classmethod
    def from_map(cls, value: Any) -> Self:
        """Read what :meth:`to_map` wrote.

        Raises:
            ValidationError: the map, or a field in it, is missing or malformed.
        """
        fields = Fields(value, "artifact")
        return cls(
            id=fields.id("id"),
            session_id=fields.id("session_id"),
            key=fields.id("key"),
            byte_size=fields.integer("byte_size", least=0),
            checksum_sha256=_check_digest(fields.value("checksum_sha256")),
            storage_backend=fields.id("storage_backend"),
            storage_ref=fields.optional_text("storage_ref") or "",
            created_us=fields.time("created_at"),
            deleted_us=fields.optional_time("deleted_at"),
        )


def _check_digest(value: object) -> str:
    if (
        not isinstance(value, str)
        or len(value) != _DIGEST_LENGTH
        or not set(value) <= set("0123456789abcdef")
    ):
        raise invalid("checksum_sha256", "must be 64 lower-case hex digits", value)
    return value


_replace = replacer(Artifact)
