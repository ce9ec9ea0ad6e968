"""The part of the stores' contract that is about records, listings and reading."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from asm_actors.errors import ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import Append, Draft
from asm_actors.journal.query import EventFilter
from asm_actors.journal.store import Store
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.session import Session, SessionStatus
from asm_actors.testing.store_builders import (
    NOW,
    block,
    chunks,
    more,
    names,
    new_session,
    numbers,
    put,
    raises,
    run_of,
)

__all__ = ["StoreQueryContract"]


class StoreQueryContract:
    """What every store answers. Each method is a test."""

    # --- records

    def test_records_come_back_as_they_were_written(self, store: Store) -> None:
        """Every field of a session and of a run."""
        session = Session(
            "a",
            "agent",
            SessionStatus.PAUSED,
            "parent",
            {"m": [1]},
            {"c": {}},
            ("x", "y"),
            1,
            2,
            None,
            "p",
            "k",
            0,
        )
        run = Run(
            id="r",
            session_id="a",
            status=RunStatus.FAILED,
            input={"prompt": "hi"},
            output={"content": "ho"},
            error={"code": "timeout"},
            metadata={"m": 1},
            turn_count=2,
            token_usage={"input_tokens": 3},
            cost_usd=0.5,
            created_us=1,
            started_us=2,
            ended_us=3,
            provider="p",
            provider_metadata={"x": 1},
            idempotency_key="q",
            attempt=1,
            options={"o": 1},
        )
        put(store, Append("a", [], block(), session, (run,), 0))
        assert (store.session("a"), store.run("r")) == (session, run)
        assert (store.sessions(), store.runs()) == ([session], [run])

    def test_the_last_version_of_a_record_counts(self, store: Store) -> None:
        """Within a group and between groups, with or without events."""
        session, run = Session("a", "agent"), run_of("a", "r")
        put(store, Append("a", [], block(), session, (run,), 0), Append("a", [], block(), None, (run,)))
        done = run.replace(status=RunStatus.COMPLETED)
        active = session.replace(status=SessionStatus.ACTIVE)
        put(store, Append("a", chunks(1), block(), active, (run.replace(status=RunStatus.RUNNING), done)))
        assert (store.session("a").status, store.run("r").status) == (
            SessionStatus.ACTIVE,
            RunStatus.COMPLETED,
        )
        assert (names(store.runs("a")), store.open_runs()) == (["r"], [])

    def test_a_sessions_record_tells_its_last_sequence_number(self, store: Store) -> None:
        """Even when events came without a new record."""
        put(store, new_session("a", 2), more("a", 3, 2))
        assert store.session("a").last_sequence == 5 == store.sessions()[0].last_sequence

    def test_what_is_unknown_is_an_error_that_names_it(self, store: Store) -> None:
        """By every way to ask for it."""
        for ask in (store.head, store.session, store.read_session, store.runs):
            with raises(ErrorCode.SESSION_NOT_FOUND):
                ask("nobody")
        with raises(ErrorCode.SESSION_NOT_FOUND):
            store.read_all(session_id="nobody")
        with raises(ErrorCode.RUN_NOT_FOUND):
            store.run("nothing")
        assert not store.has_session("nobody")
        assert not store.has_run("nothing")

    # --- listings

    def test_sessions_are_found_by_what_they_are(self, store: Store) -> None:
        """By status, agent, provider and tags; conditions add up."""
        put(
            store,
            new_session("a", tags=("red", "big"), provider="p"),
            new_session("b", tags=("red",), agent_id="other", status=SessionStatus.ACTIVE),
            new_session("c", tags=("big", "red"), status=SessionStatus.COMPLETED),
        )
        assert names(store.sessions(status="active")) == ["b"]
        assert names(store.sessions(status=[SessionStatus.PENDING, "completed"])) == ["a", "c"]
        assert names(store.sessions(agent_id="agent")) == ["a", "c"]
        assert names(store.sessions(provider="p")) == ["a"]
        assert names(store.sessions(tags=["red"])) == ["a", "b", "c"]
        assert names(store.sessions(tags=["red", "big"], status="completed")) == ["c"]
        assert names(store.sessions(agent_id="nobody")) == []
        assert names(store.open_sessions()) == ["a", "b"]
        with raises(ErrorCode.INVALID_STATUS):
            store.sessions(status="sleeping")

    def test_a_changed_session_leaves_its_old_place_in_the_listings(self, store: Store) -> None:
        """Before and after the indexes caught up."""
        put(store, new_session("a", tags=("old",)), new_session("b"))
        store.settle()
        put(store, Append("a", [], block(), Session("a", "moved", SessionStatus.FAILED, tags=("new",))))
        for _ in range(2):
            assert names(store.sessions(status="pending")) == ["b"]
            assert names(store.sessions(tags=["old"])) == []
            assert names(store.sessions(tags=["new"], agent_id="moved", status="failed")) == ["a"]
            store.settle()

    def test_deleted_sessions_are_hidden_unless_asked_for(self, store: Store) -> None:
        """A soft deletion hides a session from listings and from nothing else."""
        put(store, new_session("a", 1, deleted_us=NOW), new_session("b"))
        assert names(store.sessions()) == ["b"]
        assert names(store.sessions(include_deleted=True)) == ["a", "b"]
        assert names(store.open_sessions()) == ["b"]
        assert store.session("a").is_deleted
        assert len(store.read_session("a")) == 1

    def test_sessions_are_paged_in_the_order_of_their_creation(self, store: Store) -> None:
        """In both directions, from the session that ended the page before."""
        for name in "abcdef":
            put(store, new_session(name))
            if name == "c":
                store.settle()
        put(store, Append("a", [], block(), Session("a", "agent", SessionStatus.ACTIVE)))
        assert names(store.sessions(limit=2)) == ["a", "b"]
        assert names(store.sessions(limit=3, after="b")) == ["c", "d", "e"]
        assert names(store.sessions(newest_first=True, limit=4)) == ["f", "e", "d", "c"]
        assert names(store.sessions(newest_first=True, after="c")) == ["b", "a"]
        assert names(store.sessions(limit=0)) == []
        with raises(ErrorCode.INVALID_CURSOR):
            store.sessions(after="nobody")

    def test_runs_are_listed_by_session_and_status(self, store: Store) -> None:
        """In the order of their creation, over groups."""
        put(store, new_session("a")._replace(runs=(run_of("a", "z"), run_of("a", "y"))))
        store.settle()
        put(store, new_session("b")._replace(runs=(run_of("b", "x", status=RunStatus.RUNNING),)))
        put(
            store,
            Append("a", [], block(), None, (run_of("a", "w"), run_of("a", "z", status=RunStatus.TIMEOUT))),
        )
        for _ in range(2):
            assert names(store.runs()) == ["z", "y", "x", "w"]
            assert names(store.runs("a")) == ["z", "y", "w"]
            assert names(store.runs("a", status="pending", limit=1)) == ["y"]
            assert names(store.runs(status=["running", "timeout"])) == ["z", "x"]
            assert names(store.open_runs()) == ["y", "x", "w"]
            store.settle()
        with raises(ErrorCode.INVALID_STATUS):
            store.runs(status="sleeping")

    # --- reading

    def test_events_are_filtered(self, store: Store) -> None:
        """By type, run, time, provider, correlation, bounds and limit; one session or the whole journal."""
        put(store, new_session("a", 1), new_session("b", 1))
        put(
            store,
            Append("a", chunks(3, "r", start=10, provider="p"), block(), expect=1),
            Append(
                "a", [Draft(EventType.RUN_COMPLETED, NOW + 20, "s", correlation_id="c")], block(), expect=4
            ),
        )
        wanted = [
            (EventFilter(run_ids="r"), [2, 3, 4]),
            (EventFilter(run_ids=["s", "t"]), [5]),
            (EventFilter(types="run_completed"), [5]),
            (EventFilter(types=[EventType.RUN_COMPLETED, "message_streamed"], limit=2), [1, 2]),
            (EventFilter(since=NOW + 11), [3, 4, 5]),
            (EventFilter(since=datetime.fromtimestamp(NOW // 1_000_000, UTC), until=NOW + 10), [1, 2]),
            (EventFilter(after=1, before=4), [2, 3]),
            (EventFilter(after=2, limit=2), [3, 4]),
            (EventFilter(providers="p", after=2), [3, 4]),
            (EventFilter(correlation_id="c"), [5]),
            (EventFilter(limit=0), []),
            (EventFilter(after=99), []),
        ]
        for _ in range(2):
            for wish, found in wanted:
                assert numbers(store.read_session("a", wish)) == found, wish
            assert store.read_all(filter=EventFilter(types="run_completed")).events[0].position == 6
            assert [e.position for e in store.read_all(session_id="a", after=1).events] == [3, 4, 5, 6]
            assert [e.position for e in store.read_all(filter=EventFilter(after=2, before=5)).events] == [
                3,
                4,
            ]
            store.settle()

    def test_the_journal_is_read_page_by_page(self, store: Store) -> None:
        """Each page tells where the next begins, also when nothing matched or the scan was bounded."""
        put(store, new_session("a"), new_session("b"))
        for k in range(10):
            put(store, more("a", 3, 3 * k), more("b", 2, 2 * k))
            if k == 5:
                store.settle()
        for session_id in (None, "a", "b"):
            seen, after = [], 0
            while after < store.last_position():
                page = store.read_all(after=after, limit=4, session_id=session_id)
                assert page.position > after
                seen += page.events
                after = page.position
            expected = [e for e in store.read_all(limit=99).events if session_id in (None, e.session_id)]
            assert seen == expected
        nothing, scanned = store.read_all(filter=EventFilter(types="run_failed"), scan_limit=20)
        assert nothing == []
        assert 20 <= scanned <= 25
        assert store.read_all(after=50) == ([], 50)

    def test_commits_without_events_leave_no_trace_in_the_order(self, store: Store) -> None:
        """Before, between and after those that have some; in memory and from disk."""
        record = Append("a", [], block(), Session("a", "agent"))
        for settled in (False, True):
            for k in range(4):
                head = store.head("a") if store.has_session("a") else 0
                put(store, record)
                put(store, record._replace(drafts=chunks(k, start=head), base_id=block()))
                put(store, record)
            if settled:
                store.close()
                store.open()
            last = store.last_position()
            for after in range(last + 1):
                found = store.read_all(after=after)
                assert [event.position for event in found.events] == list(range(after + 1, last + 1))
                assert found.position == last

    def test_readers_in_other_threads_see_whole_commits_in_order(self, store: Store) -> None:
        """While the writer goes on; settling in between is not seen."""
        put(store, new_session("a"))
        problems: list[object] = []
        done = threading.Event()

        def read() -> None:
            try:
                last = 0
                while not (done.is_set() and last == 200):
                    found = numbers(store.read_session("a", EventFilter(after=last)))
                    if found != list(range(last + 1, last + 1 + len(found))) or len(found) % 4:
                        problems.append(found)
                    last += len(found)
                    if store.session("a").last_sequence < last or store.last_position() < last:
                        problems.append(last)
            except BaseException as error:
                problems.append(error)

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for k in range(50):
            put(store, more("a", 4, 4 * k))
            if k % 7 == 0:
                store.settle(3)
        done.set()
        for thread in threads:
            thread.join()
        assert problems == []
