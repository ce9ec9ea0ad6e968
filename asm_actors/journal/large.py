"""Payloads that do not stand in their block: taken out where they are encoded, fetched where they are read.

A block is read as a whole, and a journal's blocks lie side by side. One answer of a megabyte among streamed pieces of
fifty bytes would make all of them dear to pass over. So the payload of an event, or a field of a record, that is
larger than a bound is stored by itself, compressed, under the digest of its content; what is said twice, as a run's
result is by its event and by its record, is there once.

Nothing is looked at while a whole append or record is below the bound, which costs one comparison of lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final
from zlib import compress, decompress
from zlib import error as ZlibError  # noqa: N812

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.packing import (
    PACKERS,
    Buffer,
    pack_reference,
    payload_of,
    seal,
    unreadable,
)

__all__ = [
    "DIGEST_SIZE",
    "EMPTY_VALUE",
    "LARGE_FROM",
    "MAX_BYTES",
    "LargeValues",
    "digest_of",
    "pack_large",
    "thin_data",
    "thin_fields",
    "unpack_large",
]

LARGE_FROM: Final = 32 * 1024
"""Encoded bytes above which a payload is taken out. Eight pages: below that, an entry of its own saves nothing."""

MAX_BYTES: Final = 256 << 20
"""Encoded bytes of one payload above which it is refused. It has to fit memory several times while it is written."""

DIGEST_SIZE: Final = 20

EMPTY_VALUE: Final = b"\x80"
"""An empty map, encoded: for whoever reads records without caring about large fields."""

# Text of models: level 1 leaves 45 % at 115 MB/s, level 6 leaves 41 % at 62 MB/s, and reading costs the same.
_LEVEL: Final = 1

_COMPRESSED: Final = b"z"
_PLAIN: Final = b"p"

LargeValues = dict[bytes, bytes]
"""Encoded payloads by their digest."""


def digest_of(value: bytes) -> bytes:
    """Return the name under which an encoded payload is stored."""
    return blake2b(value, digest_size=DIGEST_SIZE).digest()


def _taken_out(value: Any, large: LargeValues) -> bytes | None:
    """Encode one payload, and take it up if it is large; returns its digest then.

    Raises:
        ValidationError: it is larger than any store takes.
    """
    packed = PACKERS.pack(value)
    if len(packed) <= LARGE_FROM:
        return None
    if len(packed) > MAX_BYTES:
        raise AsmError(
            ErrorCode.VALIDATION_ERROR,
            f"a payload of {len(packed)} bytes is too large to be stored: the most is {MAX_BYTES}; keep it "
            "elsewhere, as an artifact for example, and store where it is",
            details={"bytes": len(packed), "limit": MAX_BYTES},
        )
    digest = digest_of(packed)
    large[digest] = packed
    return digest


def thin_data(data: Sequence[Any], large: LargeValues) -> tuple[list[Any], dict[int, bytes]]:
    """Take the large ones out of a column of payloads.

    Returns:
        The column with empty maps in their places, and their digests by place.
    """
    places: dict[int, bytes] = {}
    rest: list[Any] = []
    for k, value in enumerate(data):
        digest = _taken_out(value, large)
        if digest is not None:
            places[k] = digest
        rest.append(value if digest is None else {})
    return rest, places


def thin_fields(values: Sequence[Any], large: LargeValues) -> list[Any]:
    """Put references in the place of a record's large maps."""
    thin: list[Any] = []
    for value in values:
        digest = _taken_out(value, large) if isinstance(value, dict) else None
        thin.append(value if digest is None else pack_reference(digest))
    return thin


def pack_large(value: bytes) -> bytes:
    """Make the stored form of an encoded payload: compressed if that helps."""
    smaller = compress(value, _LEVEL)
    return seal(_COMPRESSED + smaller if len(smaller) < len(value) else _PLAIN + value)


def unpack_large(blob: Buffer, table: str, key: object) -> Buffer:
    """Read what :func:`pack_large` made.

    Raises:
        StorageError: ``storage_read_failed`` or ``migration_required``, naming ``table`` and ``key``.
    """
    payload = payload_of(blob, table, key)
    if bytes(payload[:1]) == _PLAIN:
        return payload[1:]
    try:
        return decompress(payload[1:])
    except ZlibError as error:
        raise unreadable(table, key, str(error)) from error
