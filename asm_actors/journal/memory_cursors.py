"""Named cursors of a journal in memory."""

from __future__ import annotations

from collections.abc import Mapping

from asm_actors.journal.codec import pack_cursor, unpack_cursor
from asm_actors.journal.cursors import NamedCursor

__all__ = ["MemoryCursors"]

_TABLE = "cursors"


class MemoryCursors:
    """The questions about cursors. :class:`asm_actors.journal.store_cursors.CursorStore` tells what each does."""

    def __init__(self) -> None:
        super().__init__()
        self._cursors: dict[str, bytes] = {}

    def _check_open(self) -> None:
        raise NotImplementedError

    def save_cursors(self, cursors: Mapping[str, NamedCursor | None]) -> None:
        """Take cursors over by their names in one step."""
        self._check_open()
        packed = {name: None if cursor is None else pack_cursor(cursor) for name, cursor in cursors.items()}
        kept = dict(self._cursors)
        for name, record in packed.items():
            if record is None:
                kept.pop(name, None)
            else:
                kept[name] = record
        # One assignment, so that readers see all of it or nothing.
        self._cursors = kept

    def cursor(self, name: str) -> NamedCursor | None:
        """Return the cursor of that name, or None."""
        self._check_open()
        record = self._cursors.get(name)
        return None if record is None else unpack_cursor(record, _TABLE, name)

    def cursors(self) -> list[NamedCursor]:
        """Return all cursors in the order of their names."""
        self._check_open()
        found = self._cursors
        return [unpack_cursor(found[name], _TABLE, name) for name in sorted(found, key=str.encode)]
