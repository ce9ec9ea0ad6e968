"""The part of the stores' contract that is about searches and sums."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

from asm_actors.errors import ErrorCode
from asm_actors.journal.append import Append
from asm_actors.journal.pricing import ModelCost, PricingTable, ProviderCost
from asm_actors.journal.search import EventSearch, RunSearch, SessionSearch
from asm_actors.journal.store import Store
from asm_actors.journal.usage import ProviderUsage, RunSelection
from asm_actors.runs.run import RunStatus
from asm_actors.sessions.session import Session, SessionStatus
from asm_actors.testing.store_builders import (
    NOW,
    block,
    more,
    names,
    new_session,
    put,
    raises,
    run_of,
)
from asm_actors.testing.store_contract_event_search import StoreEventSearchContract

__all__ = ["StoreSearchContract"]


def _session(name: str, at: int = 0, updated: int | None = None, **fields: Any) -> Append:
    """Make the append of a session that was made, and changed, so many microseconds after the begin."""
    fields = {"agent_id": "agent", **fields}
    record = Session(
        name, created_us=NOW + at, updated_us=NOW + (at if updated is None else updated), **fields
    )
    return Append(name, (), block(), record)


def _run(session_id: str, name: str, **fields: Any) -> Append:
    return Append(session_id, (), block(), runs=(run_of(session_id, name, **fields),))


def _found(store: Store, **search: Any) -> list[str]:
    page = store.search_sessions(SessionSearch(**search))
    assert page.total_count == len(page.sessions)
    return names(page.sessions)


def _runs(store: Store, **search: Any) -> list[str]:
    return names(store.search_runs(RunSearch(**search)).runs)


class StoreSearchContract(StoreEventSearchContract):
    """What every store finds. Each method is a test."""

    # --- sessions

    def test_sessions_are_searched_by_every_filter(self, store: Store) -> None:
        """Filters add up; settled, half settled or not."""
        put(
            store,
            _session("a", 1, tags=("red", "big"), provider="p"),
            _session("b", 2, tags=("red",), agent_id="other", status=SessionStatus.ACTIVE),
        )
        store.settle()
        put(
            store,
            _session("c", 3, status=SessionStatus.COMPLETED, deleted_us=NOW),
            _run("b", "r", provider="p"),
        )
        for _ in range(2):
            assert _found(store) == ["b", "a"]
            assert _found(store, include_deleted=True) == ["c", "b", "a"]
            assert _found(store, agent_id="other") == ["b"]
            assert _found(store, status="pending") == ["a"]
            assert _found(store, status=["active", SessionStatus.COMPLETED], include_deleted=True) == [
                "c",
                "b",
            ]
            assert _found(store, tags="red") == ["b", "a"]
            assert _found(store, tags=["big", "red"], agent_id="agent") == ["a"]
            assert _found(store, provider="p") == ["b", "a"]
            assert _found(store, provider="p", agent_id="other") == ["b"]
            assert _found(store, provider="q") == []
            store.settle()

    def test_bounds_of_creation_are_inclusive(self, store: Store) -> None:
        """As microseconds or as aware times."""
        for at in range(5):
            put(store, _session(f"s{at}", at * 1_000_000))
        second = datetime.fromtimestamp(NOW // 1_000_000 + 2, UTC)
        for _ in range(2):
            assert _found(store, created_after=second) == ["s4", "s3", "s2"]
            assert _found(store, created_before=second) == ["s2", "s1", "s0"]
            assert _found(store, created_after=second, created_before=NOW + 3_000_000) == ["s3", "s2"]
            assert _found(store, created_after=NOW + 9_000_000) == []
            store.settle()

    def test_a_provider_finds_sessions_through_their_runs_as_long_as_they_have_them(
        self, store: Store
    ) -> None:
        """A run that changes hands takes its session along, unless another one stays."""
        put(store, _session("a"), _run("a", "r", provider="p"), _session("b"), _run("b", "x", provider="p"))
        put(store, _run("b", "y", provider="p"))
        store.settle()
        put(store, _run("a", "r", provider="q"), _run("b", "x", provider="q"))
        for _ in range(2):
            assert _found(store, provider="p") == ["b"]
            assert _found(store, provider="q") == ["b", "a"]
            store.settle()

    def test_sessions_come_in_the_order_that_is_asked_for(self, store: Store) -> None:
        """Of equal ones the later made counts as later; an unknown order is the default."""
        put(store, _session("a", 5, 9), _session("b", 3, 7), _session("c", 3, 9), _session("d", 1, 1))
        store.settle()
        put(store, _session("d", 1, 8))
        for _ in range(2):
            assert _found(store) == ["c", "a", "d", "b"]
            assert _found(store, order_by="sideways") == ["c", "a", "d", "b"]
            assert _found(store, order_by="created_at_asc") == ["d", "b", "c", "a"]
            assert _found(store, order_by="created_at_desc") == ["a", "c", "b", "d"]
            store.settle()

    def test_pages_give_each_session_once_while_new_ones_come(self, store: Store) -> None:
        """The count is of all pages; the cursor of the last page leads to an empty one, which has none."""
        put(store, *(_session(f"s{n}", n // 3) for n in range(10)))
        store.settle()
        search = SessionSearch(order_by="created_at_desc", limit=3)
        seen: list[str] = []
        total = 10
        while True:
            page = store.search_sessions(search)
            assert page.total_count == total
            seen += names(page.sessions)
            if page.cursor is None:
                break
            search = SessionSearch(order_by="created_at_desc", limit=3, cursor=page.cursor)
            put(store, _session(f"new{total}", 99))
            total += 1
        assert page.sessions == ()
        assert seen == [f"s{n}" for n in reversed(range(10))]

    def test_a_found_session_tells_its_last_sequence_number(self, store: Store) -> None:
        """As every reading of a session does."""
        put(store, new_session("a", 2), more("a", 3, 2))
        assert [one.last_sequence for one in store.search_sessions(SessionSearch()).sessions] == [5]

    def test_what_is_erased_is_found_by_no_search(self, store: Store) -> None:
        """Neither the session nor its runs and events, by any order or filter."""
        for name in "ab":
            append = new_session(name, 2, tags=("t",), provider="p")
            put(store, append._replace(runs=(run_of(name, f"r-{name}", provider="q"),)))
        store.settle()
        store.erase_sessions(["a"])
        for _ in range(2):
            for order in ("updated_at_desc", "created_at_asc", "created_at_desc"):
                assert _found(store, order_by=order) == ["b"]
            assert _found(store, tags="t") == _found(store, provider="q") == ["b"]
            for order in ("started_at_desc", "token_usage_desc"):
                assert _runs(store, order_by=order) == ["r-b"]
            assert _runs(store, provider="q", min_tokens=0) == ["r-b"]
            assert store.usage_summary(RunSelection()).run_count == 1
            for order in ("sequence_asc", "timestamp_asc", "timestamp_desc"):
                found = store.search_events(EventSearch(order_by=order)).events
                assert {event.session_id for event in found} == {"b"}
            assert store.search_events(EventSearch(session_ids="a")).events == ()
            assert store.search_events(EventSearch(run_ids="r-a")).events == ()
            assert store.count_events(EventSearch()) == 2
            put(store, more("b", 0, 2))
            store.settle()

    # --- runs

    def test_runs_are_searched_by_every_filter(self, store: Store) -> None:
        """Filters add up; settled, half settled or not."""
        put(
            store,
            _session("a"),
            _run("a", "r", provider="p", started_us=NOW + 1, token_usage={"input_tokens": 5}),
        )
        put(store, _run("a", "s", provider="q", started_us=NOW + 2, status=RunStatus.RUNNING))
        store.settle()
        usage = {"input_tokens": 3, "output_tokens": 4, "cost": "free"}
        put(store, _session("b"), _run("b", "t", provider="p", started_us=NOW + 3, token_usage=usage))
        for _ in range(2):
            assert _runs(store) == ["t", "s", "r"]
            assert _runs(store, session_id="a") == ["s", "r"]
            assert _runs(store, session_id="nobody") == []
            assert _runs(store, provider="p") == ["t", "r"]
            assert _runs(store, provider="p", session_id="a") == ["r"]
            assert _runs(store, status="running") == ["s"]
            assert _runs(store, status=["running", RunStatus.PENDING], session_id="b") == ["t"]
            assert _runs(store, started_after=NOW + 2) == ["t", "s"]
            assert _runs(store, started_before=NOW + 2) == ["s", "r"]
            assert _runs(store, min_tokens=5) == ["t", "r"]
            assert _runs(store, min_tokens=6) == ["t"]
            assert _runs(store, min_tokens=0, order_by="started_at_asc") == ["r", "s", "t"]
            assert _runs(store, order_by="token_usage_desc") == ["t", "r", "s"]
            store.settle()

    def test_a_run_that_has_not_started_counts_by_when_it_was_asked_for(self, store: Store) -> None:
        """And by its start from then on."""
        put(store, _session("a"), _run("a", "r"), _run("a", "s", started_us=NOW + 5))
        store.settle()
        assert _runs(store, started_before=NOW) == ["r"]
        put(store, _run("a", "r", started_us=NOW + 9))
        for _ in range(2):
            assert _runs(store, started_before=NOW) == []
            assert _runs(store) == ["r", "s"]
            store.settle()

    def test_runs_are_paged_by_start_and_not_by_tokens(self, store: Store) -> None:
        """A page by tokens has no cursor, and takes none."""
        put(store, _session("a"), *(_run("a", f"r{n}", started_us=NOW + n % 2) for n in range(5)))
        first = store.search_runs(RunSearch(order_by="started_at_asc", limit=3))
        second = store.search_runs(RunSearch(order_by="started_at_asc", limit=3, cursor=first.cursor))
        assert names((*first.runs, *second.runs)) == ["r0", "r2", "r4", "r1", "r3"]
        last = store.search_runs(RunSearch(order_by="started_at_asc", cursor=second.cursor))
        assert (last.runs, last.cursor) == ((), None)
        assert store.search_runs(RunSearch(order_by="token_usage_desc", limit=2)).cursor is None
        with raises(ErrorCode.INVALID_CURSOR):
            RunSearch(order_by="token_usage_desc", cursor=first.cursor)

    # --- cursors and bounds

    def test_a_cursor_serves_its_own_kind_and_order_only(self, store: Store) -> None:
        """Anything else is refused before a store is asked."""
        put(store, new_session("a", 1), _run("a", "r"))
        session = store.search_sessions(SessionSearch()).cursor
        run = store.search_runs(RunSearch()).cursor
        event = store.search_events(EventSearch()).cursor
        assert session is not None
        assert run is not None
        assert event is not None
        forged = base64.urlsafe_b64encode(b'["events","sequence_asc",1,true]').decode()
        for search in (
            lambda: SessionSearch(cursor=run),
            lambda: SessionSearch(cursor=session, order_by="created_at_asc"),
            lambda: RunSearch(cursor=event),
            lambda: EventSearch(cursor=event, order_by="timestamp_asc"),
            lambda: EventSearch(cursor=event[:-3]),
            lambda: EventSearch(cursor=forged),
            lambda: EventSearch(cursor=""),
            lambda: EventSearch(cursor="grüße"),
            lambda: EventSearch(cursor=7),  # type: ignore[arg-type]
        ):
            with raises(ErrorCode.INVALID_CURSOR):
                search()

    def test_what_cannot_be_asked_is_refused(self, store: Store) -> None:
        """With an error that names the fault."""
        kinds: tuple[Any, ...] = (SessionSearch, RunSearch, EventSearch)
        for kind in kinds:
            for limit in (0, 1001, -1, True, 1.5, None, "9"):
                with raises(ErrorCode.VALIDATION_ERROR):
                    kind(limit=limit)
            kind(limit=1000)
        for min_tokens in (-1, 0.5, True, "9"):
            with raises(ErrorCode.QUERY_ERROR):
                RunSearch(min_tokens=min_tokens)
        with raises(ErrorCode.INVALID_STATUS):
            SessionSearch(status="sleeping")
        with raises(ErrorCode.INVALID_STATUS):
            RunSearch(status=["running", "sleeping"])
        with raises(ErrorCode.INVALID_EVENT_TYPE):
            EventSearch(types=["nothing"])
        with raises(ErrorCode.VALIDATION_ERROR):
            SessionSearch(created_after=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the fault
        with raises(ErrorCode.VALIDATION_ERROR):
            EventSearch(session_ids=[""])

    def test_an_empty_store_has_empty_pages(self, store: Store) -> None:
        """Without cursors."""
        sessions = store.search_sessions(SessionSearch())
        assert (sessions.sessions, sessions.cursor, sessions.total_count) == ((), None, 0)
        assert store.search_runs(RunSearch()).cursor is None
        for order in ("sequence_asc", "timestamp_desc"):
            assert store.search_events(EventSearch(order_by=order)).cursor is None
        assert store.count_events(EventSearch()) == 0

    # --- sums

    def test_a_session_is_summed_up(self, store: Store) -> None:
        """Events, runs, tokens, providers, times."""
        put(store, new_session("a", 2), new_session("b", 1), more("a", 1, 2))
        usage = {"input_tokens": 3, "output_tokens": 4}
        put(store, _run("a", "r", provider="q", token_usage=usage, status=RunStatus.COMPLETED))
        put(store, _run("a", "s", provider="p", token_usage={"total_tokens": 5}), _run("a", "t"))
        for _ in range(2):
            stats = store.session_stats("a")
            assert (stats.event_count, stats.run_count, stats.token_totals) == (3, 3, (3, 4, 12))
            assert stats.providers_used == ("p", "q")
            assert (stats.first_event_us, stats.last_event_us) == (NOW, NOW + 2)
            assert stats.status_counts == {"completed": 1, "pending": 2}
            store.settle()
        put(store, new_session("c"))
        assert store.session_stats("c").first_event_at is None
        with raises(ErrorCode.SESSION_NOT_FOUND):
            store.session_stats("nobody")

    def _some_runs(self, store: Store) -> None:
        usage = {"input_tokens": 10, "output_tokens": 2}
        put(store, _session("a"), _session("b", agent_id="other"))
        put(store, _run("a", "r", provider="p", token_usage=usage, provider_metadata={"model": "big-2"}))
        store.settle()
        put(store, _run("a", "s", token_usage=usage, started_us=NOW + 5, cost_usd=0.5))
        put(store, _run("b", "t", provider="p", token_usage={"input_tokens": 1}, started_us=NOW + 6))

    def test_usage_is_summed_up_by_every_filter(self, store: Store) -> None:
        """In all and by provider."""
        self._some_runs(store)
        for _ in range(2):
            found = store.usage_summary(RunSelection())
            assert (found.input_tokens, found.output_tokens, found.total_tokens, found.run_count) == (
                21,
                4,
                25,
                3,
            )
            assert found.by_provider == {
                "p": ProviderUsage(11, 2, 13, 2),
                "unknown": ProviderUsage(10, 2, 12, 1),
            }
            for selection, count in (
                (RunSelection(session_id="a"), 2),
                (RunSelection(session_id="nobody"), 0),
                (RunSelection(provider="p"), 2),
                (RunSelection(since=NOW + 5), 2),
                (RunSelection(until=NOW + 5), 2),
                (RunSelection(session_id="a", provider="p", until=NOW), 1),
            ):
                assert store.usage_summary(selection).run_count == count, selection
            store.settle()

    def test_costs_are_those_recorded_or_those_of_the_table(self, store: Store) -> None:
        """By provider and by model; runs without either are counted."""
        self._some_runs(store)
        rates = {"p": {"big": {"input": 0.25, "output": 1.0}}}
        for _ in range(2):
            found = store.cost_summary(RunSelection(), PricingTable.of(rates))
            assert (found.total_cost_usd, found.run_count, found.unmapped_runs) == (5.0, 3, 1)
            assert found.by_provider == {"p": ProviderCost(4.5, 2), "unknown": ProviderCost(0.5, 1)}
            assert found.by_model == {"big-2": ModelCost(4.5, 12), "unknown": ModelCost(0.5, 13)}
            bare = store.cost_summary(RunSelection(), PricingTable.of(None))
            assert (bare.total_cost_usd, bare.unmapped_runs) == (0.5, 2)
            flat = PricingTable.of({"p": {"input": 1, "output": 0}})
            assert store.cost_summary(RunSelection(agent_id="other"), flat).total_cost_usd == 1.0
            assert store.cost_summary(RunSelection(agent_id="nobody"), flat).run_count == 0
            assert store.cost_summary(RunSelection(agent_id="agent", session_id="b"), flat).run_count == 0
            store.settle()
