"""The part of the store's port that searches and sums up."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from asm_actors.journal.pricing import CostSummary, PricingTable
from asm_actors.journal.search import (
    EventSearch,
    EventsFound,
    RunSearch,
    RunsFound,
    SessionSearch,
    SessionsFound,
)
from asm_actors.journal.usage import RunSelection, SessionStats, UsageSummary

__all__ = ["StoreSearch"]


@runtime_checkable
class StoreSearch(Protocol):
    """Questions that are answered by indexes: what a search costs depends on what it finds, not on what there is.

    The searches are checked when they are made, so these methods raise what :class:`Store` says of every method, and
    nothing else unless told.
    """

    def search_sessions(self, search: SessionSearch) -> SessionsFound:
        """Return a page of sessions; their ``last_sequence`` is up to date."""
        ...

    def search_runs(self, search: RunSearch) -> RunsFound:
        """Return a page of runs; none for an unknown session."""
        ...

    def search_events(self, search: EventSearch) -> EventsFound:
        """Return a page of events; none for unknown sessions and runs."""
        ...

    def count_events(self, search: EventSearch) -> int:
        """Return how many events a search is about; its order, limit and cursor do not matter."""
        ...

    def session_stats(self, session_id: str) -> SessionStats:
        """Sum up one session.

        Raises:
            ResourceError: ``session_not_found``.
        """
        ...

    def usage_summary(self, selection: RunSelection) -> UsageSummary:
        """Sum up what runs used."""
        ...

    def cost_summary(self, selection: RunSelection, pricing: PricingTable) -> CostSummary:
        """Sum up what runs cost; what was recorded goes before what the table says."""
        ...
