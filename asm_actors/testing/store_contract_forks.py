"""The part of the store contract about forks: shared history; see ``asm_actors.testing.store_contract``."""

from __future__ import annotations

import random
from typing import Any

from asm_actors.errors import ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.journal.append import Append, Draft
from asm_actors.journal.query import EventFilter
from asm_actors.journal.store import Store
from asm_actors.sessions.session import Session
from asm_actors.testing.store_builders import (
    NOW,
    block,
    chunks,
    more,
    names,
    new_session,
    numbers,
    put,
    refusal,
    run_of,
)

__all__ = ["StoreForkContract"]


def fork(session_id: str, parent: str, at: int, n_events: int = 1, **fields: Any) -> Append:
    """Make the append that creates a fork, with so many events of its own."""
    fields.setdefault("agent_id", "agent")
    session = Session(
        id=session_id, parent_session_id=parent, forked_at=at, created_us=NOW, updated_us=NOW, **fields
    )
    drafts = (
        [Draft(EventType.SESSION_FORKED, NOW + at, None, {"at": at}), *chunks(n_events - 1, start=at + 1)]
        if n_events
        else []
    )
    return Append(session_id, drafts, block(), session, (), at)


def _places(events: list[Event]) -> list[tuple[str, int | None]]:
    return [(event.session_id, event.sequence_number) for event in events]


def _reopen(store: Store) -> None:
    store.close()
    store.open()


class StoreForkContract:
    """Sessions that share the beginning of another one."""

    def test_a_fork_begins_with_the_events_of_its_parent_up_to_the_fork(self, store: Store) -> None:
        """As they were recorded; its own go on with the next number, and nothing of the parent's later ones shows."""
        put(store, new_session("a", 4), fork("b", "a", 3, 2), more("a", 2, 4))
        for _ in range(2):
            assert _places(store.read_session("b")) == [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("b", 5)]
            assert [event.position for event in store.read_session("b")] == [1, 2, 3, 5, 6]
            assert store.read_session("b")[:3] == store.read_session("a")[:3]
            assert numbers(store.read_session("a")) == [1, 2, 3, 4, 5, 6]
            assert (store.head("b"), store.session("b").last_sequence) == (5, 5)
            store.settle()
            _reopen(store)
        assert store.verify().is_sound

    def test_a_fork_without_events_of_its_own_stands_where_it_was_forked(self, store: Store) -> None:
        """Before and after it is settled, and for listings too."""
        put(store, new_session("a", 4), fork("b", "a", 3, 0))
        for _ in range(2):
            assert (store.head("b"), store.session("b").last_sequence) == (3, 3)
            assert [session.last_sequence for session in store.sessions()] == [4, 3]
            assert _places(store.read_session("b")) == [("a", 1), ("a", 2), ("a", 3)]
            assert store.read_session("b", EventFilter(after=3)) == []
            store.settle()
            _reopen(store)
        assert store.verify().is_sound
        assert put(store, more("b", 1, 3))[0].first_sequence == 4
        assert _places(store.read_session("b", EventFilter(after=2))) == [("a", 3), ("b", 4)]

    def test_a_fork_goes_on_independently(self, store: Store) -> None:
        """Each writer counts on from its own last number."""
        put(store, new_session("a", 2), fork("b", "a", 2, 1))
        put(store, more("a", 1, 2), more("b", 2, 3), more("a", 1, 3))
        assert _places(store.read_session("a"))[2:] == [("a", 3), ("a", 4)]
        assert _places(store.read_session("b"))[2:] == [("b", 3), ("b", 4), ("b", 5)]
        assert refusal(store, more("b", 1, 2)).code is ErrorCode.INVALID_OPERATION

    def test_bounds_and_limits_hold_across_the_border(self, store: Store) -> None:
        """Wherever a reader begins and ends, the numbers have no gap and no double."""
        put(store, new_session("a", 5), fork("b", "a", 3, 3))
        for _ in range(2):
            for after in range(8):
                for before in (None, *range(1, 9)):
                    for limit in (None, 0, 1, 2, 4, 9):
                        wanted = EventFilter(after=after, before=before, limit=limit)
                        expected = [n for n in range(1, 7) if after < n < (before or 99)][:limit]
                        assert numbers(store.read_session("b", wanted)) == expected, wanted
            store.settle()

    def test_filters_hold_across_the_border(self, store: Store) -> None:
        """By run, by type and by time, with a limit that is filled from both sides."""
        put(store, new_session("a"))
        put(store, Append("a", chunks(2, "x"), block(), None, (run_of("a", "x"),), 0), more("a", 1, 2))
        put(store, fork("b", "a", 3, 1), Append("b", chunks(2, "y", start=4), block(), None, (), 4))
        assert _places(store.read_session("b", EventFilter(run_ids=("x", "y")))) == [
            ("a", 1),
            ("a", 2),
            ("b", 5),
            ("b", 6),
        ]
        streamed = EventFilter(types=EventType.MESSAGE_STREAMED, after=1, limit=3)
        assert numbers(store.read_session("b", streamed)) == [2, 3, 5]
        assert numbers(store.read_session("b", EventFilter(since=NOW + 2))) == [3, 4, 5, 6]

    def test_the_journal_has_each_event_once(self, store: Store) -> None:
        """Read as a whole, and the fork by positions: there it has its own only."""
        put(store, new_session("a", 3), fork("b", "a", 2, 2))
        assert _places(store.read_all().events) == [("a", 1), ("a", 2), ("a", 3), ("b", 3), ("b", 4)]
        assert _places(store.read_all(session_id="b").events) == [("b", 3), ("b", 4)]
        store.settle()
        assert _places(store.read_all(session_id="b", after=4).events) == [("b", 4)]

    def test_a_fork_needs_a_place_in_a_session_that_is_there(self, store: Store) -> None:
        """Refused alone; what was committed before in the same group counts."""
        put(store, new_session("a", 2))
        assert refusal(store, fork("b", "a", 3)).code is ErrorCode.VALIDATION_ERROR
        assert refusal(store, fork("b", "a", 0)).code is ErrorCode.VALIDATION_ERROR
        assert refusal(store, fork("b", "nobody", 1)).code is ErrorCode.SESSION_NOT_FOUND
        assert not store.has_session("b")
        answers = store.commit([fork("b", "a", 4), more("a", 2, 2), fork("c", "a", 4), fork("d", "c", 5)])
        assert [isinstance(answer, Exception) for answer in answers] == [True, False, False, False]
        assert _places(store.read_session("d")) == [*(("a", n) for n in range(1, 5)), ("c", 5), ("d", 6)]

    def test_forks_of_forks_share_what_each_of_them_shared(self, store: Store) -> None:
        """One may begin before the history of its own parent does."""
        put(store, new_session("a", 6), fork("b", "a", 4, 3), fork("c", "b", 6, 1), fork("d", "c", 2, 1))
        for _ in range(2):
            assert _places(store.read_session("c")) == [
                *(("a", n) for n in range(1, 5)),
                ("b", 5),
                ("b", 6),
                ("c", 7),
            ]
            assert _places(store.read_session("d")) == [("a", 1), ("a", 2), ("d", 3)]
            assert _places(store.read_session("c", EventFilter(after=5, before=7))) == [("b", 6)]
            store.settle()
        assert store.verify().is_sound

    def test_a_chain_of_forks_may_be_long(self, store: Store) -> None:
        """Its work is in its length, and what lies before the reader is not looked at."""
        put(store, new_session("s0", 1))
        put(store, *(fork(f"s{n}", f"s{n - 1}", n, 1) for n in range(1, 1500)))
        store.settle()
        assert numbers(store.read_session("s1499")) == list(range(1, 1501))
        assert _places(store.read_session("s1499", EventFilter(after=1498))) == [
            ("s1498", 1499),
            ("s1499", 1500),
        ]

    def test_forks_and_children_are_found_by_their_parent(self, store: Store) -> None:
        """Softly deleted forks too, for they still read the history; children that share nothing are no forks."""
        put(store, new_session("a", 3), new_session("child", parent_session_id="a"), new_session("other"))
        put(store, fork("b", "a", 1), fork("c", "b", 1))
        store.settle()
        put(store, fork("d", "a", 2, deleted_us=NOW, tags=("x",)))
        for _ in range(2):
            assert store.forks_of("a") == ["b", "d"]
            assert (store.forks_of("b"), store.forks_of("c"), store.forks_of("nobody")) == (["c"], [], [])
            assert names(store.sessions(parent_session_id="a")) == ["child", "b"]
            assert names(store.sessions(parent_session_id="a", include_deleted=True, newest_first=True)) == [
                "d",
                "b",
                "child",
            ]
            assert names(store.sessions(parent_session_id="a", include_deleted=True, tags=["x"])) == ["d"]
            assert names(store.sessions(parent_session_id="a", after="child", limit=1)) == ["b"]
            store.settle()
            _reopen(store)

    def test_an_event_id_may_be_chosen_again_in_a_fork(self, store: Store) -> None:
        """Ids are looked for among a session's own events: what it shares was not written by it."""
        put(
            store,
            new_session("a"),
            Append("a", [Draft(EventType.RUN_STARTED, NOW, id="mine")], block(), expect=0),
        )
        put(store, fork("b", "a", 1, 1))
        one = Append("b", [Draft(EventType.RUN_STARTED, NOW, id="mine")], block())
        assert [answer.count for answer in put(store, one, one)] == [1, 0]
        assert [event.id for event in store.read_session("b")].count("mine") == 2

    def test_any_tree_of_forks_reads_as_if_it_had_been_copied(self, store: Store) -> None:
        """Random growth, forks and settling; every session against a list of its own."""
        rng = random.Random(7)  # noqa: S311 - no secret
        histories: dict[str, list[tuple[str, int]]] = {"s0": [("s0", 1), ("s0", 2)]}
        put(store, new_session("s0", 2))
        for step in range(1, 120):
            parent = rng.choice(sorted(histories))
            history = histories[parent]
            if rng.random() < 0.3:
                at, name = rng.randint(1, len(history)), f"s{step}"
                put(store, fork(name, parent, at, own := rng.randint(0, 2)))
                histories[name] = [*history[:at], *((name, at + k + 1) for k in range(own))]
            else:
                put(store, more(parent, count := rng.randint(1, 3), len(history)))
                history += [(parent, len(history) + k + 1) for k in range(count)]
            if rng.random() < 0.2:
                store.settle(rng.randint(1, 10))
        for _ in range(2):
            for name, history in histories.items():
                after, limit = rng.randint(0, len(history)), rng.choice((None, 1, 3))
                assert _places(store.read_session(name)) == history
                found = store.read_session(name, EventFilter(after=after, limit=limit))
                assert _places(found) == history[after:][:limit]
            _reopen(store)
        assert store.verify().is_sound
