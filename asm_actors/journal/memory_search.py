"""Searching a journal in memory: by looking at everything, one after the other.

So it also says, for tests, what the indexes of other stores must find.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from asm_actors.events import Event
from asm_actors.journal.pages import Place, cursor_of
from asm_actors.journal.pricing import CostSummary, PricingTable, cost_summary_of
from asm_actors.journal.query import EventFilter, EventPage
from asm_actors.journal.search import (
    EventSearch,
    EventsFound,
    RunSearch,
    RunsFound,
    SessionSearch,
    SessionsFound,
)
from asm_actors.journal.usage import (
    RunSelection,
    SessionStats,
    UsageSummary,
    session_stats_of,
    usage_summary_of,
)
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

if TYPE_CHECKING:
    from asm_actors.journal.placing import Spot

__all__ = ["MemorySearch"]

_WHOLE: Final = 1 << 62


class MemorySearch:
    """The searches. :class:`asm_actors.journal.store_search.StoreSearch` tells what each answers."""

    if TYPE_CHECKING:
        # What it uses of the store.
        def spot(self, session_id: str) -> Spot | None: ...
        def run_spot(self, run_id: str) -> tuple[int, int] | None: ...
        def head(self, session_id: str) -> int: ...
        def sessions(self, *, include_deleted: bool = False) -> list[Session]: ...
        def runs(self, session_id: str | None = None) -> list[Run]: ...
        def read_all(
            self,
            *,
            after: int = 0,
            limit: int = 1000,
            filter: EventFilter | None = None,  # noqa: A002
            session_id: str | None = None,
            scan_limit: int = 10_000,
        ) -> EventPage: ...

    def search_sessions(self, search: SessionSearch) -> SessionsFound:
        """Return a page of sessions."""
        users = {run.session_id for run in self.runs() if run.provider == search.provider}
        found = {
            Place(search.value_of(session), spot.number): session
            for session in self.sessions(include_deleted=True)
            if search.matches(session, lambda name=session.id: name in users)  # type: ignore[misc]
            and (spot := self.spot(session.id)) is not None
        }
        places = _page(found, search.place, search.limit, descending=search.is_descending)
        cursor = cursor_of("sessions", search.order_by, places[-1]) if places else None
        return SessionsFound(tuple(found[place] for place in places), cursor, len(found))

    def search_runs(self, search: RunSearch) -> RunsFound:
        """Return a page of runs."""
        found = {
            Place(search.value_of(run), spot[0]): run
            for run in self.runs()
            if search.matches(run) and (spot := self.run_spot(run.id)) is not None
        }
        places = _page(found, search.place, search.limit, descending=search.is_descending)
        has_pages = bool(places) and not search.by_tokens
        cursor = cursor_of("runs", search.order_by, places[-1]) if has_pages else None
        return RunsFound(tuple(found[place] for place in places), cursor)

    def search_events(self, search: EventSearch) -> EventsFound:
        """Return a page of events."""
        found = {search.place_of(event): event for event in self._matching(search)}
        places = _page(found, search.place, search.limit, descending=search.is_descending)
        cursor = cursor_of("events", search.order_by, places[-1]) if places else None
        return EventsFound(tuple(found[place] for place in places), cursor)

    def count_events(self, search: EventSearch) -> int:
        """Return how many events a search is about."""
        return sum(1 for _ in self._matching(search))

    def _matching(self, search: EventSearch) -> Iterator[Event]:
        names = search.session_ids
        if search.run_ids is not None:
            owners = {run.session_id for run in self.runs() if run.id in search.run_ids}
            names = frozenset(owners) if names is None else names & owners
        for event in self.read_all(limit=_WHOLE, filter=search.filter, scan_limit=_WHOLE).events:
            if names is None or event.session_id in names:
                yield event

    def session_stats(self, session_id: str) -> SessionStats:
        """Sum up one session."""
        events = self.read_all(session_id=session_id, limit=_WHOLE, scan_limit=_WHOLE).events
        first, last = (events[0], events[-1]) if events else (None, None)
        return session_stats_of(
            len(events),
            None if first is None else first.timestamp_us,
            None if last is None else last.timestamp_us,
            self.runs(session_id),
        )

    def usage_summary(self, selection: RunSelection) -> UsageSummary:
        """Sum up what runs used."""
        return usage_summary_of(self._selected(selection))

    def cost_summary(self, selection: RunSelection, pricing: PricingTable) -> CostSummary:
        """Sum up what runs cost."""
        return cost_summary_of(self._selected(selection), pricing)

    def _selected(self, selection: RunSelection) -> Iterator[Run]:
        talking = {
            session.id
            for session in self.sessions(include_deleted=True)
            if selection.agent_id in (None, session.agent_id)
        }
        return (run for run in self.runs() if run.session_id in talking and selection.takes(run))


def _page(places: Iterable[Place], after: Place | None, limit: int, *, descending: bool) -> list[Place]:
    if after is not None:
        places = [place for place in places if (place < after if descending else place > after)]
    return sorted(places, reverse=descending)[:limit]
