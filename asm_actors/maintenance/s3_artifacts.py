"""Artifacts as objects of a bucket, through whatever client the caller has: this package needs no library for it."""

from __future__ import annotations

from typing import Any, Final, Protocol

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.maintenance.file_artifacts import checked_data
from asm_actors.serialization import check_id, check_text, invalid

__all__ = ["S3ArtifactStore", "S3Client"]

# What servers and clients call an absent key.
_ABSENT: Final = frozenset({"NoSuchKey", "NotFound", "404"})
_METHODS: Final = ("put_object", "get_object", "delete_object")


class S3Client(Protocol):
    """What is needed of a client; that of ``boto3.client("s3")`` has these methods. Any thread may call them."""

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> Any:  # noqa: N803 - the client's names
        """Store an object."""
        ...

    def get_object(self, *, Bucket: str, Key: str) -> Any:  # noqa: N803
        """Return a map with the object under ``Body``: bytes, or something with ``read()``."""
        ...

    def delete_object(self, *, Bucket: str, Key: str) -> Any:  # noqa: N803
        """Remove an object; none there is no error."""
        ...


class S3ArtifactStore:
    """Keeps each artifact as an object of a bucket.

    Args:
        bucket: Its name.
        prefix: Put before every key, as it is: ``"asm/"``.
        client: Talks to the service; credentials, region and retries are its business.

    Raises:
        ValidationError: An argument is malformed.
    """

    backend: Final = "s3"

    def __init__(self, bucket: str, prefix: str = "", *, client: S3Client) -> None:
        self.bucket = check_id(bucket, "bucket")
        self.prefix = check_text(prefix, "prefix")
        if not all(callable(getattr(client, name, None)) for name in _METHODS):
            raise invalid("client", f"must have the methods {', '.join(_METHODS)}", client)
        self._client = client

    def __repr__(self) -> str:
        return f"S3ArtifactStore({self.bucket!r}, {self.prefix!r})"

    def put(self, key: str, data: bytes) -> str:
        """Keep bytes under a key; see `ArtifactStore.put`."""
        name, content = self._name(key), checked_data(data)
        try:
            self._client.put_object(Bucket=self.bucket, Key=name, Body=content)
        except Exception as error:  # whatever client it is, its errors end here
            raise self._failed("written", key, error) from error
        return f"s3://{self.bucket}/{name}"

    def get(self, key: str) -> bytes:
        """Return the bytes under a key; see `ArtifactStore.get`."""
        try:
            body = self._client.get_object(Bucket=self.bucket, Key=self._name(key))["Body"]
            return bytes(body.read() if hasattr(body, "read") else body)
        except AsmError:
            raise
        except Exception as error:  # as above
            if _code_of(error) in _ABSENT:
                raise AsmError(ErrorCode.NOT_FOUND, f"there is no artifact {key}") from error
            raise self._failed("read", key, error) from error

    def delete(self, key: str) -> None:
        """Remove what is under a key; see `ArtifactStore.delete`."""
        name = self._name(key)
        try:
            self._client.delete_object(Bucket=self.bucket, Key=name)
        except Exception as error:  # as above
            if _code_of(error) not in _ABSENT:
                raise self._failed("removed", key, error) from error

    def _name(self, key: str) -> str:
        return self.prefix + check_id(key, "key")

    def _failed(self, what: str, key: str, error: Exception) -> AsmError:
        return AsmError.wrap(
            ErrorCode.STORAGE_ERROR,
            error,
            f"the artifact {key} could not be {what} in {self.bucket}: {error}",
        )


def _code_of(error: Exception) -> str:
    """Return the code of a client's error: of its response if it has one, else the name of its class."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        found = response.get("Error")
        if isinstance(found, dict):
            return str(found.get("Code"))
    return type(error).__name__
