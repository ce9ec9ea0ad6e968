"""Named cursors in an LMDB journal: a small table of its own, written in transactions of its own."""

from __future__ import annotations

from collections.abc import Mapping
from threading import RLock

from asm_actors.journal.codec import pack_cursor, unpack_cursor
from asm_actors.journal.cursors import NamedCursor
from asm_actors.journal.lmdb_env import Environment, Transaction
from asm_actors.journal.lmdb_layout import CURSORS
from asm_actors.journal.lmdb_view import LmdbView

__all__ = ["LmdbCursors"]


class LmdbCursors(LmdbView):
    """The questions about cursors. :class:`asm_actors.journal.store_cursors.CursorStore` tells what each does."""

    # One thing at a time changes the journal; maintenance may hold it back from another thread.
    _writing: RLock

    def _writable(self) -> Environment:
        raise NotImplementedError

    def save_cursors(self, cursors: Mapping[str, NamedCursor | None]) -> None:
        """Write cursors by their names in one transaction."""
        packed = [
            (name.encode(), None if cursor is None else pack_cursor(cursor))
            for name, cursor in cursors.items()
        ]
        with self._writing:
            environment = self._writable()
            if packed:
                _write(environment, packed)

    def cursor(self, name: str) -> NamedCursor | None:
        """Return the cursor of that name, or None."""
        with self._view(lambda _, __: None) as (_, tables):
            record = tables.get(CURSORS, name.encode())
            return None if record is None else unpack_cursor(record, CURSORS, name)

    def cursors(self) -> list[NamedCursor]:
        """Return all cursors in the order of their names."""
        with self._view(lambda _, __: None) as (_, tables):
            return [
                unpack_cursor(record, CURSORS, bytes(key).decode()) for key, record in tables.cursor(CURSORS)
            ]


def _write(environment: Environment, packed: list[tuple[bytes, bytes | None]]) -> None:
    table = environment.tables[CURSORS]

    def work(txn: Transaction) -> None:
        for key, record in packed:
            if record is None:
                txn.delete(key, db=table)
            else:
                txn.put(key, record, db=table)

    environment.write(work)
