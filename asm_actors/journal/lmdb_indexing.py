"""Keeping the indexes of sessions and runs: marks and columns.

Whoever writes, changes or erases a record tells an :class:`Indexing` what it was and what it is now, and has it
write everything at the end, inside the same write transaction. Changes of one chunk are written together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from asm_actors.errors import AsmError
from asm_actors.journal.codec import unpack_run
from asm_actors.journal.lmdb_columns import (
    Column,
    changed_column,
    column_key,
    values_of_run,
    values_of_session,
)
from asm_actors.journal.lmdb_env import Transaction
from asm_actors.journal.lmdb_layout import (
    CHUNK,
    COLUMNS,
    MARKS,
    MEMBERS,
    RUNS,
    facets_by_run,
    facets_of_run,
    facets_of_session,
    mark_key,
    number_key,
    pair_key,
    pair_of,
)
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = ["Indexing", "index_run", "index_session", "unindex_run", "unindex_session"]

_MARK_BYTES: Final = CHUNK // 8
_NONE: Final[frozenset[bytes]] = frozenset()


class Indexing:
    """Changes of indexes, gathered.

    Args:
        txn: a write transaction.
        tables: the handles of the tables.
    """

    def __init__(self, txn: Transaction, tables: Mapping[str, Any]) -> None:
        self._txn = txn
        self._tables = tables
        self._set: defaultdict[tuple[bytes, int], int] = defaultdict(int)
        self._clear: defaultdict[tuple[bytes, int], int] = defaultdict(int)
        self._columns: defaultdict[tuple[bytes, int], dict[int, int | None]] = defaultdict(dict)
        self._gone: set[int] = set()
        # Sessions that lost a run with a provider: whether another run has it, too, is looked up at the end.
        self._doubtful: set[tuple[int, bytes]] = set()

    def session(self, number: int, before: Session | None, after: Session | None) -> None:
        """Note that a session's record changes.

        Args:
            number: the session's number.
            before: what it was; None: it was not there, or cannot be read any more.
            after: what it is now; None: it is erased.
        """
        self._mark(
            number,
            _NONE if before is None else facets_of_session(before),
            _NONE if after is None else facets_of_session(after),
        )
        self._sort(
            number,
            {} if before is None else values_of_session(before),
            {} if after is None else values_of_session(after),
        )

    def run(self, number: int, owner: int, before: Run | None, after: Run | None) -> None:
        """Note that a run's record changes; see :meth:`session`.

        Args:
            number: the run's number.
            owner: its session's number.
            before: what it was, or None.
            after: what it is now, or None.
        """
        self._mark(
            number,
            _NONE if before is None else facets_of_run(before),
            _NONE if after is None else facets_of_run(after),
        )
        self._sort(
            number,
            {} if before is None else values_of_run(before),
            {} if after is None else values_of_run(after),
        )
        via_before = _NONE if before is None else facets_by_run(before)
        via_after = _NONE if after is None else facets_by_run(after)
        self._mark(owner, _NONE, via_after - via_before)
        self._doubtful.update((owner, facet) for facet in via_before - via_after)
        if after is None:
            self._gone.add(number)

    def _mark(self, number: int, before: frozenset[bytes], after: frozenset[bytes]) -> None:
        chunk, place = divmod(number, CHUNK)
        bit = 1 << place
        for facet in after - before:
            self._set[facet, chunk] |= bit
            if (facet, chunk) in self._clear:
                self._clear[facet, chunk] &= ~bit
        for facet in before - after:
            self._clear[facet, chunk] |= bit
            if (facet, chunk) in self._set:
                self._set[facet, chunk] &= ~bit

    def _sort(self, number: int, before: Mapping[bytes, int], after: Mapping[bytes, int]) -> None:
        chunk, place = divmod(number, CHUNK)
        for what, value in after.items():
            if before.get(what) != value:
                self._columns[what, chunk][place] = value
        for what in before.keys() - after.keys():
            self._columns[what, chunk][place] = None

    def write(self) -> None:
        """Bring the changes into the tables. The records themselves must be written by now."""
        for owner, facet in sorted(self._doubtful):
            if not self._is_used(owner, facet):
                self._mark(owner, frozenset((facet,)), _NONE)
        self._write_marks()
        self._write_columns()

    def _is_used(self, owner: int, facet: bytes) -> bool:
        """Tell whether one of a session's runs, of those that stay, marks it so."""
        cursor = self._txn.cursor(self._tables[MEMBERS])
        found = cursor.set_range(pair_key(owner, 0))
        while found:
            session, number = pair_of(cursor.key())
            if session != owner:
                return False
            if number not in self._gone:
                blob = self._txn.get(number_key(number), db=self._tables[RUNS])
                try:
                    if blob is not None and facet in facets_by_run(unpack_run(blob, RUNS, number)):
                        return True
                except AsmError:
                    pass  # a damaged record is an error for whoever asks for it, and marks nothing
            found = cursor.next()
        return False

    def _write_marks(self) -> None:
        txn, table = self._txn, self._tables[MARKS]
        for facet, chunk in sorted(self._set.keys() | self._clear.keys()):
            key = mark_key(facet, chunk)
            stored = txn.get(key, db=table)
            before = 0 if stored is None else int.from_bytes(stored, "little")
            bits = (before & ~self._clear.get((facet, chunk), 0)) | self._set.get((facet, chunk), 0)
            if bits == before:
                continue
            if bits:
                txn.put(key, bits.to_bytes(_MARK_BYTES, "little"), db=table)
            else:  # a chunk without marks leaves the table
                txn.delete(key, db=table)

    def _write_columns(self) -> None:
        txn, table = self._txn, self._tables[COLUMNS]
        for (what, chunk), changes in sorted(self._columns.items()):
            key = column_key(what, chunk)
            stored = txn.get(key, db=table)
            value = changed_column(None if stored is None else Column(stored, key), changes)
            if value is not None:
                txn.put(key, value, db=table)
            elif stored is not None:
                txn.delete(key, db=table)


def index_session(txn: Transaction, tables: Mapping[str, Any], number: int, session: Session) -> None:
    """Have a session found by every search. For many at once share one :class:`Indexing`."""
    indexing = Indexing(txn, tables)
    indexing.session(number, None, session)
    indexing.write()


def unindex_session(txn: Transaction, tables: Mapping[str, Any], number: int, session: Session) -> None:
    """Have a session found by no search any more, before or after its record is erased.

    Args:
        txn: a write transaction.
        tables: the handles of the tables.
        number: the session's number.
        session: its record as it is settled; what waits in memory is in no index.
    """
    indexing = Indexing(txn, tables)
    indexing.session(number, session, None)
    indexing.write()


def index_run(txn: Transaction, tables: Mapping[str, Any], number: int, owner: int, run: Run) -> None:
    """Have a run found by every search."""
    indexing = Indexing(txn, tables)
    indexing.run(number, owner, None, run)
    indexing.write()


def unindex_run(txn: Transaction, tables: Mapping[str, Any], number: int, owner: int, run: Run) -> None:
    """Have a run found by no search any more, before or after its record is erased; see :func:`unindex_session`.

    Args:
        txn: a write transaction.
        tables: the handles of the tables.
        number: the run's number.
        owner: its session's number.
        run: its record as it is settled.
    """
    indexing = Indexing(txn, tables)
    indexing.run(number, owner, run, None)
    indexing.write()
