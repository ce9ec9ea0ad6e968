"""What the steps of a repair share: the transaction they work in, and what they tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import Factory, define

from asm_actors.errors import AsmError
from asm_actors.journal.codec import unpack_session
from asm_actors.journal.large import EMPTY_VALUE
from asm_actors.journal.lmdb_env import Transaction
from asm_actors.journal.lmdb_layout import ERASED, NAMES, SESSION_ID, SESSIONS, number_key, number_of
from asm_actors.journal.lmdb_tables import Tables
from asm_actors.journal.packing import Buffer, finding
from asm_actors.journal.quarantine import Damaged
from asm_actors.journal.store_maintenance import LostEvents

__all__ = ["Mending"]

_MOST: Final = 1000


@define
class Mending:
    """A repair under way.

    Attributes:
        txn: its one write transaction.
        handles: the handles of the tables.
        mended: what was set right, one sentence each.
        unmended: what could not be.
        lost: events that are lost.
        damaged: bytes to be set aside before the transaction is committed.
    """

    txn: Transaction
    handles: Mapping[str, Any]
    mended: list[str] = Factory(list)
    unmended: list[str] = Factory(list)
    lost: list[LostEvents] = Factory(list)
    damaged: list[Damaged] = Factory(list)

    @property
    def tables(self) -> Tables:
        """What the transaction sees."""
        return Tables(self.txn, self.handles)

    def get(self, table: str, key: bytes) -> bytes | None:
        """Copy a value."""
        value = self.txn.get(key, db=self.handles[table])
        return None if value is None else bytes(value)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Write a value."""
        self.txn.put(key, value, db=self.handles[table])

    def delete(self, table: str, key: bytes) -> None:
        """Remove a key."""
        self.txn.delete(key, db=self.handles[table])

    def keys(self, table: str) -> list[bytes]:
        """Copy all keys of a table."""
        return [bytes(key) for key in self.txn.cursor(self.handles[table]).iternext(values=False)]

    def erased(self) -> set[int]:
        """Return the numbers of erased sessions of which something may still stand in the log."""
        return {number_of(key) for key in self.keys(ERASED) if len(key) == len(number_key(0))}

    def tell(self, sentence: str) -> None:
        """Note that something was set right."""
        if len(self.mended) < _MOST:
            self.mended.append(sentence)

    def give_up(self, sentence: str) -> None:
        """Note that something cannot be set right."""
        if len(self.unmended) < _MOST:
            self.unmended.append(sentence)

    def set_aside(self, table: str, key: bytes, reason: str, value: bytes) -> None:
        """Have bytes kept."""
        self.damaged.append(Damaged(table, key, reason, value))

    def lose(self, number: int | None, first: int, last: int, reason: str) -> None:
        """Note that events are lost."""
        self.lost.append(LostEvents(None if number is None else self.name_of(number), first, last, reason))

    def name_of(self, number: int) -> str:
        """Return a session's id, or its number if nothing tells the id."""
        stored = self.get(SESSIONS, number_key(number))
        if stored is not None:
            try:
                name: str = readable(unpack_session, stored, SESSIONS, number).id
            except AsmError:
                pass
            else:
                return name
        return self.named(SESSION_ID, number) or f"session number {number}"

    def shared_by(self, number: int) -> int:
        """Return up to which sequence number a session shares its history with its parent, as its record says."""
        stored = self.get(SESSIONS, number_key(number))
        try:
            return 0 if stored is None else readable(unpack_session, stored, SESSIONS, number).forked_at or 0
        except AsmError:
            return 0

    def named(self, kind: bytes, number: int) -> str | None:
        """Find the name that leads to a number, if the table has it whole."""
        wanted = number_key(number)
        for key, value in self.txn.cursor(self.handles[NAMES]):
            if bytes(key[:1]) == kind and bytes(value[:8]) == wanted and len(key) < _WHOLE_NAME:
                return bytes(key[1:]).decode(errors="replace")
        return None


# A longer name is stored with a digest at its end.
_WHOLE_NAME: Final = 369


def readable(unpack: Callable[[Buffer, str, object], Any], blob: Buffer, table: str, key: object) -> Any:
    """Decode a record; its large fields may be missing.

    Raises:
        StorageError: ``storage_read_failed``.
    """
    with finding(lambda _: EMPTY_VALUE):
        return unpack(blob, table, key)
