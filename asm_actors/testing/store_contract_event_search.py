"""The part of the stores' contract that is about searches over events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from asm_actors.events import Event, EventType
from asm_actors.journal.append import Append, Draft
from asm_actors.journal.search import EventSearch
from asm_actors.journal.store import Store
from asm_actors.testing.store_builders import NOW, block, chunks, more, new_session, put, run_of

__all__ = ["StoreEventSearchContract"]


def _positions(events: Iterable[Event]) -> list[int | None]:
    return [event.position for event in events]


def _events(store: Store, **search: Any) -> list[int | None]:
    found = _positions(store.search_events(EventSearch(**search)).events)
    assert store.count_events(EventSearch(**search)) == len(found)
    return found


class StoreEventSearchContract:
    """What every store finds of events. Each method is a test."""

    def _some_events(self, store: Store) -> None:
        put(store, new_session("a", 2), new_session("b", 1))
        store.settle()
        drafts = [
            Draft(EventType.RUN_STARTED, NOW + 9, "r", provider="p", correlation_id="x"),
            Draft(EventType.RUN_COMPLETED, NOW + 7, "r", provider="q"),
        ]
        put(
            store,
            Append("b", drafts, block(), runs=(run_of("b", "r"),)),
            Append("a", chunks(1, "s", start=8), block(), runs=(run_of("a", "s"),)),
        )

    def test_events_are_searched_by_every_filter(self, store: Store) -> None:
        """Filters add up; settled, half settled or not."""
        self._some_events(store)
        for _ in range(2):
            assert _events(store) == [1, 2, 3, 4, 5, 6]
            assert _events(store, session_ids="a") == [1, 2, 6]
            assert _events(store, session_ids=["a", "b", "nobody"]) == [1, 2, 3, 4, 5, 6]
            assert _events(store, run_ids="r") == [4, 5]
            assert _events(store, run_ids=["r", "s", "?"], session_ids=["a"]) == [6]
            assert _events(store, run_ids=["?"]) == []
            assert _events(store, types="run_started") == [4]
            assert _events(store, types=[EventType.RUN_STARTED, "message_streamed"], providers=["p"]) == [4]
            assert _events(store, providers=["p", "q"]) == [4, 5]
            assert _events(store, correlation_id="x") == [4]
            assert _events(store, since=NOW + 8) == [4, 6]
            assert _events(store, until=NOW + 1) == [1, 2, 3]
            assert _events(store, since=NOW + 1, until=NOW + 7, session_ids=["a", "b"]) == [2, 5]
            store.settle()

    def test_events_come_in_the_order_that_is_asked_for(self, store: Store) -> None:
        """As written, or by time either way; of equal times the later written counts as later."""
        self._some_events(store)
        for _ in range(2):
            for sessions in (None, ["a", "b"]):
                assert _events(store, order_by="timestamp_asc", session_ids=sessions) == [1, 3, 2, 5, 6, 4]
                assert _events(store, order_by="timestamp_desc", session_ids=sessions) == [4, 6, 5, 2, 3, 1]
                assert _events(store, order_by="?", session_ids=sessions) == [1, 2, 3, 4, 5, 6]
            store.settle()

    def test_pages_give_each_event_once_while_new_ones_come(self, store: Store) -> None:
        """In every order, in the journal and in a session."""
        put(store, new_session("a", 7), new_session("b", 6))
        store.settle()
        heads = {"a": 7, "b": 6}
        for order in ("sequence_asc", "timestamp_asc", "timestamp_desc"):
            for sessions in (None, "a"):
                last = store.last_position()
                seen: list[int | None] = []
                page = store.search_events(EventSearch(order_by=order, limit=4, session_ids=sessions))
                while page.cursor is not None:
                    seen += _positions(page.events)
                    if len(seen) <= 8:
                        put(store, more("a", 1, heads["a"]))
                        heads["a"] += 1
                    page = store.search_events(
                        EventSearch(order_by=order, limit=4, session_ids=sessions, cursor=page.cursor)
                    )
                assert page.events == ()
                old = [position for position in seen if position is not None and position <= last]
                assert len(seen) == len(set(seen))
                assert sorted(old) == [
                    event.position
                    for event in store.read_all(limit=99).events
                    if (event.position or 0) <= last and sessions in (None, event.session_id)
                ]
