"""Between a record and its stored bytes: its fields in a fixed order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.large import LARGE_FROM, LargeValues, thin_fields
from asm_actors.journal.packing import PACKERS, Buffer, seal, unpack_record, unreadable

__all__ = ["record_codec", "unstorable"]


def record_codec(
    names: Sequence[str], build: Callable[[dict[str, Any]], Any]
) -> tuple[Callable[..., bytes], Callable[[Buffer, str, object], Any]]:
    """Make the pair of functions that encode and decode one kind of record.

    The first takes the record and, if large fields shall not stand in it, what takes them up.
    """
    read = attrgetter(*names)

    def pack(record: Any, large: LargeValues | None = None) -> bytes:
        try:
            payload = PACKERS.pack(read(record))
            if len(payload) > LARGE_FROM and large is not None:
                payload = PACKERS.pack(thin_fields(read(record), large))
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise unstorable(f"the record of {getattr(record, 'id', record)!r:.80}", error) from error
        return seal(payload)

    def unpack(blob: Buffer, table: str, key: object) -> Any:
        values = unpack_record(blob, table, key)
        if len(values) > len(names):
            raise unreadable(table, key, f"it has {len(values)} fields, and this release knows {len(names)}")
        try:
            # A record of an earlier version has fewer fields: the class gives the others their defaults.
            return build(dict(zip(names, values, strict=False)))
        except (TypeError, ValueError, KeyError) as error:
            raise unreadable(table, key, str(error)) from error

    return pack, unpack


def unstorable(what: str, error: Exception) -> AsmError:
    """Make the error for what cannot be encoded."""
    return AsmError(
        ErrorCode.VALIDATION_ERROR,
        f"{what} cannot be stored: {error}",
        details={"original_exception": type(error).__name__},
    )
