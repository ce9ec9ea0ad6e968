"""Searching sessions and runs in an LMDB journal, and summing up runs; any thread may call this.

A search goes to memory and to the tables of the same instant. In the tables bit sets say which numbers match, and
columns which of them come first; a record is read only if it is on the page. What memory has replaces what the
tables say of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from asm_actors.journal.lmdb_columns import (
    CREATED,
    STARTED,
    TOKENS,
    UPDATED,
    Chunks,
    Column,
    column_key,
    first_places,
    narrowed,
    numbers_in,
)
from asm_actors.journal.lmdb_layout import (
    AGENT,
    CHUNK,
    COLUMNS,
    DELETED,
    LISTED,
    PROVIDER,
    RUN_LISTED,
    RUN_PROVIDER,
    RUN_STATUS,
    STATUS,
    TAG,
    VIA,
    mark_prefix,
)
from asm_actors.journal.lmdb_recent import Entry, Recent
from asm_actors.journal.lmdb_records import LmdbRecords
from asm_actors.journal.lmdb_tables import Tables
from asm_actors.journal.pages import Place, cursor_of
from asm_actors.journal.pricing import CostSummary, PricingTable, cost_summary_of
from asm_actors.journal.search import RunSearch, RunsFound, SessionSearch, SessionsFound
from asm_actors.journal.usage import RunSelection, UsageSummary, usage_summary_of
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = ["LmdbSearch"]

_SLICE: Final = 1024
"""Records of a summary that are read in one snapshot, for a snapshot holds up a map that must grow."""

_Conditions = list[list[bytes]]


class _Memory(NamedTuple):
    """What a search copies of what is not settled."""

    sessions: dict[int, Entry[Session]]
    runs: dict[int, Entry[Run]]


def _copy_sessions(recent: Recent, _: Tables) -> _Memory:
    return _Memory(dict(recent.sessions), {})


def _copy_runs(recent: Recent, _: Tables) -> _Memory:
    return _Memory({}, dict(recent.runs))


def _copy_both(recent: Recent, _: Tables) -> _Memory:
    return _Memory(dict(recent.sessions), dict(recent.runs))


class LmdbSearch(LmdbRecords):
    """The searches over records. :class:`asm_actors.journal.store_search.StoreSearch` tells what each answers."""

    def search_sessions(self, search: SessionSearch) -> SessionsFound:
        """Return a page of sessions."""
        with self._view(_copy_sessions if search.provider is None else _copy_both) as (memory, tables):
            via = _Via(tables, memory, search.provider)
            chunks = dict(tables.marked_chunks(_session_conditions(search), _hidden(search)))
            via.correct(chunks, _session_conditions(search), _hidden(search))
            _clear(chunks, memory.sessions)
            chunks = _bounded(tables, chunks, CREATED, search.created_after, search.created_before)
            mine = {
                number: entry.record
                for number, entry in memory.sessions.items()
                if search.matches(entry.record, lambda number=number: via.has(number))  # type: ignore[misc]
            }
            places = first_places(
                chunks,
                _column(tables, UPDATED if search.order_by == "updated_at_desc" else CREATED),
                (Place(search.value_of(session), number) for number, session in mine.items()),
                limit=search.limit,
                after=search.place,
                descending=search.is_descending,
            )
            found = {place.number: mine.get(place.number) or tables.session(place.number) for place in places}
            # Of a record that was damaged once a mark may be left behind.
            picked = {n: one for n, one in found.items() if n in mine or search.matches(one, lambda: True)}
        cursor = cursor_of("sessions", search.order_by, places[-1]) if places else None
        return SessionsFound(tuple(self._with_heads(picked)), cursor, _count(chunks) + len(mine))

    def search_runs(self, search: RunSearch) -> RunsFound:
        """Return a page of runs."""
        owner = None if search.session_id is None else self.spot(search.session_id)
        if search.session_id is not None and owner is None:
            return RunsFound((), None)
        with self._view(_copy_runs) as (memory, tables):
            conditions = [[mark_prefix(RUN_STATUS, name) for name in search.status or ()] or _ALL_RUNS]
            if search.provider is not None:
                conditions.insert(0, [mark_prefix(RUN_PROVIDER, search.provider)])
            if owner is None:
                chunks = dict(tables.marked_chunks(conditions, ()))
            else:
                chunks = _of_conditions(tables, _as_chunks(tables.members(owner.number)), conditions)
            _clear(chunks, memory.runs)
            chunks = _bounded(tables, chunks, STARTED, search.started_after, search.started_before)
            chunks = _bounded(tables, chunks, TOKENS, search.min_tokens, None)
            mine = {n: entry.record for n, entry in memory.runs.items() if search.matches(entry.record)}
            places = first_places(
                chunks,
                _column(tables, TOKENS if search.by_tokens else STARTED),
                (Place(search.value_of(run), number) for number, run in mine.items()),
                limit=search.limit,
                after=search.place,
                descending=search.is_descending,
            )
            found = (mine.get(place.number) or tables.run(place.number) for place in places)
            runs = tuple(run for run in found if search.matches(run))
        has_pages = bool(places) and not search.by_tokens
        return RunsFound(runs, cursor_of("runs", search.order_by, places[-1]) if has_pages else None)

    def usage_summary(self, selection: RunSelection) -> UsageSummary:
        """Sum up what runs used."""
        return usage_summary_of(self._selected(selection))

    def cost_summary(self, selection: RunSelection, pricing: PricingTable) -> CostSummary:
        """Sum up what runs cost."""
        return cost_summary_of(self._selected(selection), pricing)

    def _selected(self, selection: RunSelection) -> Iterator[Run]:
        """Yield the runs that a summary is about."""
        spot = None if selection.session_id is None else self.spot(selection.session_id)
        if selection.session_id is not None and spot is None:
            return
        with self._view(_copy_both) as (memory, tables):
            conditions = [_ALL_RUNS]
            if selection.provider is not None:
                conditions.insert(0, [mark_prefix(RUN_PROVIDER, selection.provider)])
            owners = None if spot is None else {spot.number}
            if selection.agent_id is not None:
                talking = _talking_to(tables, memory, selection.agent_id)
                owners = talking if owners is None else owners & talking
            if owners is None:
                chunks = dict(tables.marked_chunks(conditions, ()))
            else:
                members = (number for owner in sorted(owners) for number in tables.members(owner))
                chunks = _of_conditions(tables, _as_chunks(members), conditions)
            chunks = _bounded(tables, chunks, STARTED, selection.since, selection.until)
            for number, entry in memory.runs.items():
                if owners is None or entry.owner in owners:
                    chunk, place = divmod(number, CHUNK)
                    chunks[chunk] = chunks.get(chunk, 0) | 1 << place
        for chunk, bits in sorted(chunks.items()):
            yield from self._runs_of_chunk(chunk, bits, selection)

    def _runs_of_chunk(self, chunk: int, bits: int, selection: RunSelection) -> list[Run]:
        numbers = list(numbers_in(chunk, bits))

        def pick(recent: Recent, _: Tables) -> dict[int, Run]:
            return {number: recent.runs[number].record for number in numbers if number in recent.runs}

        with self._view(pick) as (mine, tables):
            # One may have been erased since its number was found.
            runs = [
                mine[number] if number in mine else tables.run(number)
                for number in numbers
                if number in mine or tables.has_run(number)
            ]
        return [run for run in runs if selection.takes(run)]


_ALL_SESSIONS: Final = [mark_prefix(LISTED)]
_ALL_RUNS: Final = [mark_prefix(RUN_LISTED)]


class _Via:
    """Which sessions use a provider through one of their runs.

    The marks tell it of settled runs; runs in memory may add to that and, if they changed hands, take from it.
    """

    def __init__(self, tables: Tables, memory: _Memory, provider: str | None) -> None:
        self._tables = tables
        self._marks = [] if provider is None else [mark_prefix(VIA, provider)]
        self._own = [] if provider is None else [mark_prefix(PROVIDER, provider)]
        self._chunks: Chunks = {}
        self._memory = memory
        self._provider = provider
        self._added = {e.owner for e in memory.runs.values() if e.record.provider == provider}
        self._removed = {
            owner
            for owner in {e.owner for e in memory.runs.values() if e.record.provider != provider}
            if owner not in self._added and self._is_marked(owner) and not self._still_uses(owner)
        }

    def _is_marked(self, owner: int) -> bool:
        chunk, place = divmod(owner, CHUNK)
        if chunk not in self._chunks:
            self._chunks[chunk] = self._tables.bits(self._marks, chunk)
        return bool(self._chunks[chunk] >> place & 1)

    def _still_uses(self, owner: int) -> bool:
        runs, tables = self._memory.runs, self._tables
        return any(
            tables.run(number).provider == self._provider
            for number in tables.members(owner)
            if number not in runs
        )

    def has(self, number: int) -> bool:
        """Tell whether a session has such a run."""
        return number in self._added or (number not in self._removed and self._is_marked(number))

    def correct(self, chunks: Chunks, conditions: _Conditions, none_of: Collection[bytes]) -> None:
        """Bring numbers that were chosen by marks in line with memory."""
        if self._provider is None:
            return
        others = [condition for condition in conditions if self._marks[0] not in condition]
        more = _of_conditions(self._tables, _as_chunks(self._added), others or [_ALL_SESSIONS])
        for chunk, bits in more.items():
            wanted = bits & ~self._tables.bits(none_of, chunk)
            if wanted:
                chunks[chunk] = chunks.get(chunk, 0) | wanted
        gone = [n for n in self._removed if not self._tables.bits(self._own, n // CHUNK) >> n % CHUNK & 1]
        _clear(chunks, gone)


def _session_conditions(search: SessionSearch) -> _Conditions:
    """Return the marks that a session must have; what is mostly the rarest comes first."""
    conditions = [[mark_prefix(TAG, tag)] for tag in sorted(search.tags)]
    if search.agent_id is not None:
        conditions.append([mark_prefix(AGENT, search.agent_id)])
    if search.provider is not None:
        conditions.append([mark_prefix(PROVIDER, search.provider), mark_prefix(VIA, search.provider)])
    if search.status is not None:
        conditions.append([mark_prefix(STATUS, name) for name in sorted(search.status)])
    return conditions or [_ALL_SESSIONS]


def _hidden(search: SessionSearch) -> list[bytes]:
    return [] if search.include_deleted else [mark_prefix(DELETED)]


def _talking_to(tables: Tables, memory: _Memory, agent_id: str) -> set[int]:
    """Return the numbers of the sessions with an agent."""
    chunks = dict(tables.marked_chunks([[mark_prefix(AGENT, agent_id)]], ()))
    _clear(chunks, memory.sessions)
    found = {number for chunk, bits in chunks.items() for number in numbers_in(chunk, bits)}
    return found | {n for n, entry in memory.sessions.items() if entry.record.agent_id == agent_id}


def _column(tables: Tables, what: bytes) -> Callable[[int], Column | None]:
    def column(chunk: int) -> Column | None:
        key = column_key(what, chunk)
        value = tables.get(COLUMNS, key)
        return None if value is None else Column(value, key)

    return column


def _bounded(tables: Tables, chunks: Chunks, what: bytes, least: int | None, most: int | None) -> Chunks:
    if least is None and most is None:
        return chunks
    return narrowed(chunks, _column(tables, what), least, most)


def _as_chunks(numbers: Iterable[int]) -> Chunks:
    chunks: Chunks = {}
    for number in numbers:
        chunk, place = divmod(number, CHUNK)
        chunks[chunk] = chunks.get(chunk, 0) | 1 << place
    return chunks


def _of_conditions(tables: Tables, chunks: Mapping[int, int], conditions: _Conditions) -> Chunks:
    """Return those numbers that fulfil all conditions."""
    kept: Chunks = {}
    for chunk, bits in chunks.items():
        left = bits
        for alternatives in conditions:
            left &= tables.bits(alternatives, chunk)
        if left:
            kept[chunk] = left
    return kept


def _clear(chunks: Chunks, numbers: Iterable[int]) -> None:
    """Take numbers out."""
    for number in numbers:
        chunk, place = divmod(number, CHUNK)
        if chunk in chunks:
            chunks[chunk] &= ~(1 << place)


def _count(chunks: Chunks) -> int:
    return sum(bits.bit_count() for bits in chunks.values())
