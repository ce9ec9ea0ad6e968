"""Searching events in an LMDB journal; any thread may call this.

A search in named sessions or runs reads these sessions. Any other one asks the zones (``lmdb_zones``) where in the
journal a match may be, and reads there; in an order by time the zone that promises most is read first, until no other
one can better the page. What has no zones yet is read in any case.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush, merge, nsmallest
from typing import Final, NamedTuple

from attrs import evolve

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.journal.lmdb_events import LmdbEvents
from asm_actors.journal.lmdb_records import LmdbRecords
from asm_actors.journal.lmdb_zones import Wish, zone_chunks, zoned_position, zones_in
from asm_actors.journal.pages import cursor_of
from asm_actors.journal.query import EventFilter
from asm_actors.journal.search import EventSearch, EventsFound
from asm_actors.journal.usage import INT64_MAX, INT64_MIN, SessionStats, session_stats_of

__all__ = ["LmdbEventSearch"]

_CHUNKS_AT_ONCE: Final = 64
_PAGE: Final = 1000
_WHOLE: Final = 1 << 62


class _Span(NamedTuple):
    """A stretch of the journal that may hold matches."""

    first: int
    last: int
    least_us: int = INT64_MIN
    most_us: int = INT64_MAX
    zones: bytes | None = None
    """The zones in it, if it is a chunk of them."""


class LmdbEventSearch(LmdbEvents, LmdbRecords):
    """The searches over events. :class:`asm_actors.journal.store_search.StoreSearch` tells what each answers."""

    def search_events(self, search: EventSearch) -> EventsFound:
        """Return a page of events."""
        sessions = self._sessions_of(search)
        if sessions is not None:
            events = self._in_sessions(search, sessions)
        elif search.by_time:
            events = self._by_time(search)
        else:
            events = self._by_position(search)
        cursor = cursor_of("events", search.order_by, search.place_of(events[-1])) if events else None
        return EventsFound(tuple(events), cursor)

    def count_events(self, search: EventSearch) -> int:
        """Return how many events a search is about."""
        sessions = self._sessions_of(search)
        if sessions is not None:
            return sum(1 for name in sessions for _ in self._of_session(name, search.filter, 0))
        wish = Wish(search.filter)
        return sum(len(self._read(span, search.filter)) for span in _flat(self._spans(wish, 0), wish))

    def session_stats(self, session_id: str) -> SessionStats:
        """Sum up one session."""
        count, first, last = 0, None, None
        self.head(session_id)  # raises session_not_found
        for event in self._of_session(session_id, EventFilter(), 0):
            count, first, last = count + 1, first if count else event.timestamp_us, event.timestamp_us
        return session_stats_of(count, first, last, self.runs(session_id))

    def _sessions_of(self, search: EventSearch) -> list[str] | None:
        """Return the sessions that a search is about, None for all; a run's events are in its session."""
        names = search.session_ids
        if search.run_ids is not None:
            owners = set()
            for run_id in search.run_ids:
                try:
                    owners.add(self.run(run_id).session_id)
                except AsmError as error:
                    if error.code is not ErrorCode.RUN_NOT_FOUND:
                        raise
            names = frozenset(owners) if names is None else names & owners
        return None if names is None else sorted(names)

    def _of_session(self, session_id: str, wanted: EventFilter, after: int) -> Iterator[Event]:
        """Yield the wanted events of one session after a position; none of an unknown one."""
        last = self.last_position()
        while after < last:
            try:
                page = self.read_all(
                    after=after, limit=_PAGE, filter=wanted, session_id=session_id, scan_limit=10 * _PAGE
                )
            except AsmError as error:
                if error.code is not ErrorCode.SESSION_NOT_FOUND:
                    raise
                return
            yield from page.events
            after = page.position

    def _in_sessions(self, search: EventSearch, sessions: list[str]) -> list[Event]:
        if not search.by_time:
            after = 0 if search.place is None else search.place.number
            streams = [self._of_session(name, search.filter, after) for name in sessions]
            found = merge(*streams, key=lambda event: event.position or 0)
            return [event for event, _ in zip(found, range(search.limit), strict=False)]
        events = (event for name in sessions for event in self._of_session(name, search.filter, 0))
        return _first(search, events)

    def _by_position(self, search: EventSearch) -> list[Event]:
        wish = Wish(search.filter)
        after = 0 if search.place is None else search.place.number
        events: list[Event] = []
        for span in _flat(self._spans(wish, after), wish):
            if span.last > after:
                left = search.limit - len(events)
                wanted = evolve(search.filter, after=after)
                events += self._read(span, wanted, left)
                if len(events) >= search.limit:
                    break
        return events

    def _by_time(self, search: EventSearch) -> list[Event]:
        """Read the spans that promise most until no other one can better the page."""
        sign = -1 if search.is_descending else 1
        wish, passed = Wish(search.filter), search.place

        def promise(span: _Span) -> int:
            return -span.most_us if search.is_descending else span.least_us

        def is_passed(span: _Span) -> bool:
            if passed is None:
                return False
            return span.least_us > passed.value if search.is_descending else span.most_us < passed.value

        waiting = [(promise(span), span.first, span) for span in self._spans(wish, 0) if not is_passed(span)]
        heapify(waiting)
        best: list[Event] = []
        while waiting:
            bound, _, span = heappop(waiting)
            if len(best) == search.limit and sign * search.place_of(best[-1]).value < bound:
                break
            if span.zones is None:
                best = _first(search, [*best, *self._read(span, search.filter)])
                continue
            for zone in _zones_of(span, wish):
                if not is_passed(zone):
                    heappush(waiting, (promise(zone), zone.first, zone))
        return best

    def _read(self, span: _Span, wanted: EventFilter, limit: int = _WHOLE) -> list[Event]:
        """Read the wanted events of a span, whole."""
        after = max(span.first - 1, wanted.after or 0)
        page = self.read_all(
            after=after,
            limit=limit,
            filter=evolve(wanted, after=after, before=span.last + 1),
            scan_limit=_WHOLE,
        )
        return page.events

    def _spans(self, wish: Wish, after: int) -> Iterator[_Span]:
        """Yield the chunks of zones in which a match after a position may be, and what has no zones yet."""
        begin, last = after + 1, self.last_position()
        zoned = begin
        while begin <= last:
            with self._view(lambda _, __: None) as (_, tables):
                zoned = max(zoned_position(tables), after + 1)
                found = zone_chunks(tables, begin, _CHUNKS_AT_ONCE)
                # The views of the snapshot end with it.
                picked = [
                    _Span(whole.first_position, end - 1, whole.least_us, whole.most_us, bytes(value))
                    for whole, value, end in found
                    if wish.may_be_in(whole)
                ]
            yield from picked
            if len(found) < _CHUNKS_AT_ONCE:
                break
            begin = found[-1][2]
        if zoned <= last:
            yield _Span(zoned, last)


def _zones_of(span: _Span, wish: Wish) -> Iterator[_Span]:
    """Yield the zones of a chunk in which a match may be."""
    assert span.zones is not None
    zones = zones_in(span.zones)
    ends = [zone.first_position - 1 for zone in zones[1:]]
    for zone, end in zip(zones, [*ends, span.last], strict=True):
        if wish.may_be_in(zone):
            yield _Span(zone.first_position, end, zone.least_us, zone.most_us)


def _flat(spans: Iterator[_Span], wish: Wish) -> Iterator[_Span]:
    """Yield stretches without chunks; neighbours among the zones of a chunk are read together."""
    for span in spans:
        if span.zones is None:
            yield span
            continue
        current: _Span | None = None
        for zone in _zones_of(span, wish):
            if current is not None and current.last + 1 == zone.first:
                current = current._replace(last=zone.last)
                continue
            if current is not None:
                yield current
            current = zone
        if current is not None:
            yield current


def _first(search: EventSearch, events: Iterator[Event] | list[Event]) -> list[Event]:
    """Return the first events of an order by time that come after the search's cursor."""
    sign = -1 if search.is_descending else 1

    def order(event: Event) -> tuple[int, int]:
        place = search.place_of(event)
        return sign * place.value, sign * place.number

    return nsmallest(
        search.limit, (event for event in events if not search.has_passed(search.place_of(event))), key=order
    )
