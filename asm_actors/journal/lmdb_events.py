"""Reading the events of an LMDB journal; any thread may call this.

Whoever follows a journal reads its end, which is in memory. So both kinds of reading try that first, and open a
snapshot of the tables only for what is older.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import chain
from typing import Final

from asm_actors.events import Event
from asm_actors.journal.codec import Buffer, event_ids_of, unpack_segment, unreadable
from asm_actors.journal.lineage import Origin, origin_of, read_lineage
from asm_actors.journal.lmdb_layout import LOG, Locator, locators_after, number_of, unpack_locators
from asm_actors.journal.lmdb_query import read_segments, scan_blocks, scan_segments
from asm_actors.journal.lmdb_recent import Recent
from asm_actors.journal.lmdb_tables import Tables
from asm_actors.journal.lmdb_view import LmdbView, end_of, found_session, spot_of
from asm_actors.journal.packing import NotAtHandError
from asm_actors.journal.placing import Spot
from asm_actors.journal.query import EventFilter, EventPage
from asm_actors.sessions.session import Session

__all__ = ["LmdbEvents"]

_EVERYTHING: Final = EventFilter()
_TAIL_SLICE: Final = 256
_NAMES: Final = 65_536
_INDEXED_SESSIONS: Final = 16


class _NamelessError(LookupError):
    """A session's record was settled after the reader's snapshot, and is no longer in memory."""


class LmdbEvents(LmdbView):
    """The questions about events. :class:`asm_actors.journal.store.Store` tells what each answers."""

    def _forget(self) -> None:
        super()._forget()
        self._names: dict[int, str] = {}
        self._event_numbers: dict[int, tuple[int, dict[str, int]]] = {}

    def _forget_erased(self) -> None:
        super()._forget_erased()
        self._names = {}
        self._event_numbers = {}

    def last_position(self) -> int:
        """Return the position of the journal's last event."""
        self._opened()
        if self._follows:
            with self._view(lambda _, __: None):
                pass
        return self._counters.position - 1

    def read_session(self, session_id: str, filter: EventFilter | None = None) -> list[Event]:  # noqa: A002
        """Return events of one session in the order of their sequence numbers."""
        wanted = filter or _EVERYTHING
        spot = self.known_spot(session_id)
        if (wanted.after or 0) >= spot.head:
            return []
        found = self._read_tail(session_id, spot.number, wanted)
        if found is None:
            found = self._read_own(session_id, wanted, spot.number, (wanted.after or 0) + 1)
        if found is None:
            # Its own events begin later than the reader does: what comes before is its parent's, if it is a fork.
            found = read_lineage(session_id, wanted, self._origin, self._read_part)
        return found

    def _read_own(
        self, session_id: str, wanted: EventFilter, number: int, first: int | None
    ) -> list[Event] | None:
        """Read what a session has itself; return None if it has nothing as early as ``first``."""
        with self._view(lambda recent, _: bytes(recent.segments.get(number, b""))) as (waiting, tables):
            locators = _settled_then_waiting(tables.locators(number, wanted.after or 0), waiting)
            if first is not None:
                locator = next(locators, None)
                if locator is None or locator.first_sequence > first:
                    return None
                locators = chain((locator,), locators)
            return read_segments(locators, self._blocks(tables), session_id, number, wanted)

    def _read_part(self, session_id: str, wanted: EventFilter) -> list[Event]:
        return self._read_own(session_id, wanted, self.known_spot(session_id).number, None) or []

    def _origin(self, session_id: str) -> Origin | None:
        def pick(recent: Recent, tables: Tables) -> Session:
            number = found_session(spot_of(recent, tables, session_id), session_id).number
            entry = recent.sessions.get(number)
            return tables.session(number) if entry is None else entry.record

        with self._view(pick) as (record, _):
            return origin_of(record)

    def _read_tail(self, session_id: str, number: int, wanted: EventFilter) -> list[Event] | None:
        """Answer from memory, or return None if something older is wanted too."""
        if self._follows:
            return None
        after = wanted.after or 0
        with self._lock:
            waiting = self._recent.segments.get(number)
            if waiting is None or number_of(waiting[:8]) > after + 1:
                return None
            locators = list(
                unpack_locators(locators_after(waiting, after, wanted.limit if wanted.takes_all else None))
            )
            tail = self._recent.tail
            blocks = {locator.block: tail.get(locator.block) for locator in locators}

        def block_of(key: bytes) -> Buffer:
            block = blocks[key]
            assert block is not None
            return block

        if None in blocks.values():
            return None
        try:
            return read_segments(locators, block_of, session_id, number, wanted)
        except NotAtHandError:
            return None

    def _blocks(self, tables: Tables) -> Callable[[bytes], Buffer]:
        tail = self._recent.tail

        def block_of(key: bytes) -> Buffer:
            block = tail.get(key) or tables.get(LOG, key)
            if block is None:
                raise unreadable(LOG, key, "it is missing")
            return block

        return block_of

    def read_all(
        self,
        *,
        after: int = 0,
        limit: int = 1000,
        filter: EventFilter | None = None,  # noqa: A002
        session_id: str | None = None,
        scan_limit: int = 10_000,
    ) -> EventPage:
        """Return events of the whole journal, or of one session, in the order of their positions."""
        wanted = filter or _EVERYTHING
        spot = None if session_id is None else self.known_spot(session_id)
        after = max(after, wanted.after or 0)
        last = self.last_position()
        last = last if wanted.before is None else min(last, wanted.before - 1)
        limit = limit if wanted.limit is None else min(limit, wanted.limit)
        if limit <= 0 or after >= last:
            return EventPage([], after)
        if session_id is not None and spot is not None:
            return self._scan_session(
                spot, wanted, session_id=session_id, within=(after, last), limits=(limit, scan_limit)
            )
        last = min(last, after + max(scan_limit, 1))
        events: list[Event] = []
        while after < last and len(events) < limit:
            found, after = self._scan_once(wanted, after, last, limit - len(events))
            events += found
        return EventPage(events, after)

    def _scan_once(self, wanted: EventFilter, after: int, last: int, limit: int) -> EventPage:
        """Read on from ``after``: from memory if that gets further, else from the log."""
        with self._lock:
            tail = None if self._follows else self._recent.tail.following(after + 1, _TAIL_SLICE)
        if tail:
            try:
                page = scan_blocks(tail, self._namer(None), wanted, after=after, last=last, limit=limit)
            except (_NamelessError, NotAtHandError):
                pass
            else:
                if page.position > after:
                    return page
        while True:
            try:
                with self._view(lambda _, __: None) as (_, tables):
                    blocks = tables.blocks(after + 1)
                    page = scan_blocks(
                        blocks, self._namer(tables), wanted, after=after, last=last, limit=limit
                    )
            except _NamelessError:
                continue
            if page.position == after:
                raise unreadable(LOG, after + 1, "the event at this position is missing")
            return page

    def _namer(self, tables: Tables | None) -> Callable[[int], str | None]:
        """Make the function that gives a session's id by its number; None for one that was erased."""
        names, sessions = self._names, self._recent.sessions

        gone = self._gone

        def name_of(number: int) -> str | None:
            if number in gone:
                return None
            name = names.get(number)
            if name is None:
                entry = sessions.get(number)
                if entry is not None:
                    name = entry.record.id
                elif tables is not None and tables.has_session(number):
                    name = tables.session(number).id
                elif tables is not None and tables.is_erased(number):
                    return None
                else:
                    raise _NamelessError(number)
                if len(names) >= _NAMES:
                    names.clear()
                names[number] = name
            return name

        return name_of

    def _scan_session(
        self,
        spot: Spot,
        wanted: EventFilter,
        *,
        session_id: str,
        within: tuple[int, int],
        limits: tuple[int, int],
    ) -> EventPage:
        after, last = within
        with self._view(lambda recent, _: bytes(recent.segments.get(spot.number, b""))) as (waiting, tables):
            begin = tables.sequence_at(spot.number, spot.head, after)
            locators = _settled_then_waiting(tables.locators(spot.number, begin), waiting)
            return scan_segments(
                locators,
                self._blocks(tables),
                session_id,
                wanted,
                after=after,
                last=last,
                limit=limits[0],
                scan_limit=limits[1],
            )

    def known_events(self, session_id: str, ids: Collection[str]) -> dict[str, Event]:
        """Return those events of a session that have one of these ids. Only the committer asks this.

        The ids of the sessions that were asked for last are remembered; what came since is read each time.
        """
        spot = self.known_spot(session_id)
        read, numbers = self._event_numbers.pop(spot.number, (0, {}))

        def pick(recent: Recent, _: Tables) -> bytes:
            return bytes(recent.segments.get(spot.number, b""))

        with self._view(pick) as (waiting, tables):
            block_of = self._blocks(tables)
            for locator in _settled_then_waiting(tables.locators(spot.number, read), waiting):
                if end_of(locator) > read:
                    block = block_of(locator.block)[locator.offset : locator.offset + locator.length]
                    stored = event_ids_of(unpack_segment(block, LOG, locator.block))
                    numbers.update(
                        zip(stored, range(locator.first_sequence, end_of(locator) + 1), strict=True)
                    )
        while len(self._event_numbers) >= _INDEXED_SESSIONS:
            del self._event_numbers[next(iter(self._event_numbers))]
        self._event_numbers[spot.number] = (spot.head, numbers)
        found = {}
        for own in ids:
            number = numbers.get(own)
            if number is not None:
                (found[own],) = self.read_session(session_id, EventFilter(after=number - 1, limit=1))
        return found


def _settled_then_waiting(settled: Iterator[Locator], waiting: bytes) -> Iterator[Locator]:
    """Yield the locators of the tables, then those of memory which the tables do not have yet."""
    end = 0
    for locator in settled:
        end = end_of(locator)
        yield locator
    yield from unpack_locators(locators_after(waiting, end, None))
