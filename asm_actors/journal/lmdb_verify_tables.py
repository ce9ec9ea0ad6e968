"""The part of a full check that compares an LMDB journal's tables with each other and with the log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, Final

from attrs import Factory, define

from asm_actors.errors import AsmError
from asm_actors.journal.codec import Buffer, unpack_run, unpack_session
from asm_actors.journal.lmdb_columns import changed_column, column_key, values_of_run, values_of_session
from asm_actors.journal.lmdb_layout import (
    CHUNK,
    COLUMNS,
    LOG,
    LOOSE,
    MARKS,
    MEMBERS,
    NAMES,
    OPEN,
    RUN_ID,
    RUN_KEY,
    RUNS,
    SEGMENTS,
    SESSION_ID,
    SESSION_KEY,
    SESSIONS,
    facets_by_run,
    facets_of_run,
    facets_of_session,
    mark_key,
    name_key,
    number_of,
    pair_key,
    pair_of,
)
from asm_actors.journal.lmdb_recent import Recent
from asm_actors.journal.lmdb_tables import Tables

__all__ = ["TableCheck", "View"]

View = Callable[[Callable[[Recent, Tables], Any]], AbstractContextManager[tuple[Any, Tables]]]

_Marks = defaultdict[bytes, int]
"""The bits that the records ask for, by key."""

_MAX_PROBLEMS: Final = 1000


@define
class TableCheck:
    """What the log told, and what was found wrong."""

    resume: bytes = b""
    """The first block that need not be settled."""
    heads: dict[int, int] = Factory(dict)
    shared: dict[int, int] = Factory(dict)
    """Of forks: the last sequence number of which the event is their parent's."""
    sessions: set[int] = Factory(set)
    runs: set[int] = Factory(set)
    loose: set[bytes] = Factory(set)
    """Blocks that hold records of a session, but no events of it, as the table has them."""
    problems: list[str] = Factory(list)

    def note(self, problem: object) -> None:
        """Add a fault; a wreck needs no full list."""
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(str(problem))

    def check_tables(
        self,
        tables: Tables,
        sessions: set[int],
        runs: set[int],
        heads: Mapping[int, int],
        *,
        follows: bool,
    ) -> None:
        """Check the tables against what the log told.

        Args:
            tables: a snapshot.
            sessions: the numbers of sessions that wait in memory.
            runs: those of runs.
            heads: the first sequence number of a session that waits in memory, by its number.
            follows: whether memory replays what another process wrote.
        """
        marks: _Marks = defaultdict(int)
        settled_sessions = self._check_sessions(tables, marks)
        settled_runs = self._check_runs(tables, marks)
        self._check_marks(tables, marks)
        self._check_entries(tables, settled_sessions, settled_runs)
        self._check_segments(tables, heads, follows=follows)
        for number in sorted(self.sessions - sessions - settled_sessions):
            self.note(f"{SESSIONS}: the record {number} is missing")
        for number in sorted(self.runs - runs - settled_runs):
            self.note(f"{RUNS}: the record {number} is missing")

    def _records(
        self, tables: Tables, table: str, unpack: Callable[[Buffer, str, object], Any], seen: set[int]
    ) -> Iterator[tuple[int, Any]]:
        for key, blob in tables.cursor(table):
            number = number_of(key)
            seen.add(number)
            try:
                yield number, unpack(blob, table, number)
            except AsmError as error:
                self.note(error.message)

    def _check_sessions(self, tables: Tables, marks: _Marks) -> set[int]:
        columns, seen = _Columns(self, tables), set[int]()
        for number, session in self._records(tables, SESSIONS, unpack_session, seen):
            if tables.number_of_name(name_key(SESSION_ID, session.id)) != number:
                self.note(f"{NAMES}: {session.id} does not lead to the session record {number}")
            key = session.idempotency_key
            if key is not None and tables.number_of_name(name_key(SESSION_KEY, key)) != number:
                self.note(f"{NAMES}: the key of {session.id} does not lead to the session record {number}")
            _expect(marks, number, facets_of_session(session))
            columns.expect(number, values_of_session(session))
        columns.compare()
        return seen

    def _check_runs(self, tables: Tables, marks: _Marks) -> set[int]:
        columns, seen = _Columns(self, tables), set[int]()
        for number, run in self._records(tables, RUNS, unpack_run, seen):
            named = tables.get(NAMES, name_key(RUN_ID, run.id))
            owner = None
            if named is None or len(named) != len(pair_key(0, 0)) or pair_of(named)[0] != number:
                self.note(f"{NAMES}: {run.id} does not lead to the run record {number}")
                owner = tables.session_number(run.session_id)
            else:
                owner = pair_of(named)[1]
            _expect(marks, number, facets_of_run(run))
            columns.expect(number, values_of_run(run))
            if owner is None:
                continue
            key = run.idempotency_key
            if key is not None and tables.number_of_name(name_key(RUN_KEY, key, owner)) != number:
                self.note(f"{NAMES}: the key of {run.id} does not lead to the run record {number}")
            if tables.get(MEMBERS, pair_key(owner, number)) is None:
                self.note(f"{MEMBERS}: the run record {number} is missing in its session {owner}")
            if (tables.get(OPEN, pair_key(owner, number)) is None) is not run.is_terminal:
                self.note(f"{OPEN}: the run record {number} is {run.status}, and this table says otherwise")
            _expect(marks, owner, facets_by_run(run))
        columns.compare()
        return seen

    def _check_marks(self, tables: Tables, marks: _Marks) -> None:
        for key, value in tables.cursor(MARKS):
            expected = marks.pop(bytes(key), 0)
            found = int.from_bytes(value, "little")
            if found != expected:
                self.note(
                    f"{MARKS}: {bytes(key).hex()} differs from the records in {(found ^ expected).bit_count()} "
                    "marks"
                )
        for key in marks:
            self.note(f"{MARKS}: {key.hex()} is missing")

    def _check_entries(self, tables: Tables, sessions: set[int], runs: set[int]) -> None:
        """Look for entries that lead to nothing."""
        for key, value in tables.cursor(NAMES):
            known = sessions if bytes(key[:1]) in (SESSION_ID, SESSION_KEY) else runs
            if number_of(value[:8]) not in known:
                self.note(
                    f"{NAMES}: {bytes(key).hex()} leads to the record {number_of(value[:8])}, which is missing"
                )
        for table in (MEMBERS, OPEN):
            for key in tables.cursor(table).iternext(values=False):
                if pair_of(key)[1] not in runs:
                    self.note(f"{table}: {bytes(key).hex()} names a run record that is missing")
        found = {bytes(key) for key in tables.cursor(LOOSE).iternext(values=False)}
        for key in sorted(self.loose - found):
            self.note(f"{LOOSE}: {key.hex()} is missing")
        for key in sorted(found - self.loose):
            if key[8:] < self.resume:
                self.note(f"{LOOSE}: {key.hex()} names a block that has nothing of the kind")

    def _check_segments(self, tables: Tables, waiting: Mapping[int, int], *, follows: bool) -> None:
        for number, head in self.heads.items():
            expected = self.shared.get(number, 0) + 1
            try:
                for locator in tables.locators(number):
                    if locator.first_sequence != expected:
                        self.note(
                            f"{SEGMENTS}: session {number} goes on at {locator.first_sequence}, not at {expected}"
                        )
                    expected = locator.first_sequence + locator.n_events
                    if tables.get(LOG, locator.block) is None:
                        self.note(f"{SEGMENTS}: session {number} names a block that is not there")
            except AsmError as error:
                self.note(error.message)
            begin = waiting.get(number, head + 1)
            if expected <= head and (begin > expected or (begin < expected and not follows)):
                self.note(
                    f"{SEGMENTS}: session {number} ends before {expected}, and its last event is {head}"
                )
        cursor = tables.cursor(SEGMENTS)
        lost = {pair_of(key)[0] for key in cursor.iternext(values=False)} - self.heads.keys()
        for number in sorted(lost):
            # What came after the log was read is not meant.
            if any(locator.block < self.resume for locator in islice(tables.locators(number), 1)):
                self.note(f"{SEGMENTS}: session {number} is there, and the log has none of its events")


class _Columns:
    """Compares columns chunk by chunk, as the records come in the order of their numbers."""

    def __init__(self, check: TableCheck, tables: Tables) -> None:
        self._check = check
        self._tables = tables
        self._chunk = 0
        self._values: defaultdict[bytes, dict[int, int | None]] = defaultdict(dict)

    def expect(self, number: int, values: Mapping[bytes, int]) -> None:
        """Note what a record is sorted by."""
        chunk, place = divmod(number, CHUNK)
        if chunk != self._chunk:
            self.compare()
            self._chunk = chunk
        for what, value in values.items():
            self._values[what][place] = value

    def compare(self) -> None:
        """Compare the chunk that is complete."""
        for what, values in self._values.items():
            key = column_key(what, self._chunk)
            stored = self._tables.get(COLUMNS, key)
            if stored is None or bytes(stored) != changed_column(None, values):
                self._check.note(f"{COLUMNS}: {key.hex()} differs from the records")
        self._values.clear()


def _expect(marks: _Marks, number: int, facets: frozenset[bytes]) -> None:
    chunk, bit = divmod(number, CHUNK)
    for facet in facets:
        marks[mark_key(facet, chunk)] |= 1 << bit
