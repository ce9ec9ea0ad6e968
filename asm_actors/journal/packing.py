"""Between plain values and bytes, with a version and a checksum. The only file that knows MessagePack.

::

    record    = version (1 byte) · CRC-32 of the payload (4 bytes) · payload (MessagePack)

Nothing is decoded before its checksum is right.

A value that is stored elsewhere because it is large (``large``) stands in a payload as a reference, and comes back as
the value itself: whoever opens a snapshot of the store says in :data:`SOURCES` where such values are found.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import local
from typing import Any, Final, NoReturn
from zlib import crc32

import msgpack

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.store import RECORD_VERSION

# fmt: off
__all__ = [
    "PACKERS", "SOURCES", "UNPACKING_ERRORS", "Buffer", "NotAtHandError", "fetch_value", "finding",
    "pack_reference", "pack_values", "payload_of", "refuse_version", "seal", "unpack_record", "unpack_values",
    "unreadable", "value_reader",
]
# fmt: on

Buffer = bytes | memoryview
"""Stored bytes, or a view of them that is valid while its transaction is."""

_PREFIX: Final = struct.Struct(">BI")

UNPACKING_ERRORS: Final = (ValueError, TypeError, msgpack.UnpackException)
"""What a :func:`value_reader` raises for bytes that are not as they should be."""


class _Packers(local):
    """One packer per thread: making one costs more than packing a small record, and it must not be shared."""

    def __init__(self) -> None:
        self.pack: Callable[[Any], bytes] = msgpack.Packer().pack


PACKERS: Final = _Packers()
"""``PACKERS.pack`` encodes one value."""


class NotAtHandError(LookupError):
    """A large value was met where nobody said where to find it. The digest is its argument."""


class _Sources(local):
    """Where this thread finds large values: by their digest to their encoded form; None while no snapshot is open."""

    fetch: Callable[[bytes], Buffer] | None = None


SOURCES: Final = _Sources()
"""Set by whoever opens a snapshot, and set back when it is closed."""


@contextmanager
def finding(fetch: Callable[[bytes], Buffer]) -> Iterator[None]:
    """Find large values in this way inside the block."""
    before, SOURCES.fetch = SOURCES.fetch, fetch
    try:
        yield
    finally:
        SOURCES.fetch = before


_REFERENCE: Final = 1


def pack_reference(digest: bytes) -> Any:
    """Make what stands in a payload for a large value."""
    return msgpack.ExtType(_REFERENCE, digest)


def fetch_value(digest: bytes) -> Any:
    """Return a large value.

    Raises:
        NotAtHandError: no snapshot is open on this thread.
        StorageError: ``storage_read_failed``: it is damaged or missing.
    """
    if SOURCES.fetch is None:
        raise NotAtHandError(digest)
    return unpack_values(SOURCES.fetch(digest), "blobs", digest)


def _follow(kind: int, data: bytes) -> Any:
    if kind != _REFERENCE:
        raise ValueError(f"there is no value of the kind {kind}")
    return fetch_value(data)


def seal(payload: bytes) -> bytes:
    """Put version and checksum before a payload."""
    return _PREFIX.pack(RECORD_VERSION, crc32(payload)) + payload


def payload_of(blob: Buffer, table: str, key: object) -> memoryview:
    """Check what :func:`seal` made, and return its payload.

    Raises:
        StorageError: ``storage_read_failed`` or ``migration_required``, naming ``table`` and ``key``.
    """
    if len(blob) <= _PREFIX.size:
        raise unreadable(table, key, "it is cut short")
    version, checksum = _PREFIX.unpack_from(blob)
    if version != RECORD_VERSION:
        refuse_version(version, table, key)
    payload = memoryview(blob)[_PREFIX.size :]
    if crc32(payload) != checksum:
        raise unreadable(table, key, "its checksum is wrong")
    return payload


def unpack_record(blob: Buffer, table: str, key: object) -> Any:
    """Check a record's version and checksum, and return its values.

    Raises:
        StorageError: ``storage_read_failed`` or ``migration_required``, naming ``table`` and ``key``.
    """
    return unpack_values(payload_of(blob, table, key), table, key)


def pack_values(values: Any) -> bytes:
    """Encode plain values, without version or checksum."""
    return PACKERS.pack(values)


def unpack_values(payload: Buffer, table: str, key: object) -> Any:
    """Decode what :func:`pack_values` made.

    Raises:
        StorageError: ``storage_read_failed``, naming ``table`` and ``key``.
    """
    try:
        return msgpack.unpackb(payload, strict_map_key=False, ext_hook=_follow)
    except (ValueError, msgpack.UnpackException) as error:
        raise unreadable(table, key, str(error)) from error


def value_reader() -> Any:
    """Make a reader of values one by one.

    Its methods are ``feed(bytes)``, ``unpack()``, ``skip()``, ``read_array_header()``, ``read_map_header()``; they
    raise :data:`UNPACKING_ERRORS`.
    """
    return msgpack.Unpacker(strict_map_key=False, max_buffer_size=0)


def refuse_version(version: int, table: str, key: object) -> NoReturn:
    """Raise for a record of another version: ``migration_required`` if it is a later one."""
    if version > RECORD_VERSION:
        raise AsmError(
            ErrorCode.MIGRATION_REQUIRED,
            f"the record {_shown(key)} in {table} has version {version}, and this release reads up to "
            f"{RECORD_VERSION}: use the release that wrote it, or a later one",
            details={"table": table, "key": _shown(key), "version": version},
        )
    raise unreadable(table, key, f"there is no version {version}")


def unreadable(table: str, key: object, why: str) -> AsmError:
    """Make the error for a record that cannot be read."""
    return AsmError(
        ErrorCode.STORAGE_READ_FAILED,
        f"the record {_shown(key)} in {table} cannot be read: {why}",
        details={"table": table, "key": _shown(key), "reason": why},
    )


def _shown(key: object) -> str:
    return bytes(key).hex() if isinstance(key, bytes | memoryview) else str(key)
