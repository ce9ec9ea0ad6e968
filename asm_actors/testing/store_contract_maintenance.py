"""The part of the stores' contract that is about erasing, backups and checks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import Append, Draft
from asm_actors.journal.codec import pack_drafts
from asm_actors.journal.large import LARGE_FROM, MAX_BYTES
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.query import EventFilter
from asm_actors.journal.store import Store
from asm_actors.journal.store_maintenance import Erased
from asm_actors.runs.run import RunStatus
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
from asm_actors.testing.store_contract_forks import fork

__all__ = ["StoreMaintenanceContract"]


def _fill(store: Store) -> None:
    """Three sessions, two of them written together."""
    a = new_session("a", 3, idempotency_key="k", tags=("t",))
    put(
        store,
        a._replace(runs=(run_of("a", "r", idempotency_key="q", status=RunStatus.COMPLETED),)),
        new_session("b", 2, tags=("t",)),
    )
    put(store, more("b", 2, 2), more("a", 2, 3), new_session("c", 1))


def _refused(call: Callable[[], object]) -> AsmError:
    try:
        call()
    except AsmError as error:
        return error
    raise AssertionError("it was not refused")


class StoreMaintenanceContract:
    """What every store does for those who keep it in order. Each method is a test."""

    # --- erasing

    def test_an_erased_session_is_gone_from_every_question(self, store: Store) -> None:
        """Record, runs, events, names, keys and listings; the others are as before."""
        _fill(store)
        before = store.read_session("b"), store.read_session("c")
        erased = store.erase_sessions(["a"])
        assert (erased.sessions, erased.runs, erased.events) == (1, 1, 5)
        assert erased.bytes > 0
        assert (store.has_session("a"), store.has_run("r")) == (False, False)
        assert (store.session_by_key("k"), store.run_by_key("a", "q")) == (None, None)
        assert names(store.sessions()) == ["b", "c"] == names(store.sessions(newest_first=True))[::-1]
        assert names(store.sessions(tags=["t"])) == ["b"]
        assert (names(store.runs()), store.open_runs()) == ([], [])
        for ask in (store.head, store.session, store.read_session, store.runs):
            with raises(ErrorCode.SESSION_NOT_FOUND):
                ask("a")
        assert (store.read_session("b"), store.read_session("c")) == before

    def test_readers_of_the_journal_pass_over_what_was_erased(self, store: Store) -> None:
        """Positions stay where they were, page by page and with filters, and the last one is unchanged."""
        _fill(store)
        store.erase_sessions(["a"])
        assert [event.position for event in store.read_all().events] == [4, 5, 6, 7, 10]
        assert store.last_position() == 10
        found, after = [], 0
        while after < store.last_position():
            page = store.read_all(after=after, limit=2)
            assert page.position > after
            found += page.events
            after = page.position
        assert [event.position for event in found] == [4, 5, 6, 7, 10]
        assert store.read_all(filter=EventFilter(types=EventType.MESSAGE_STREAMED), after=4).position == 10

    def test_numbers_and_positions_are_never_given_away_again(self, store: Store) -> None:
        """A session of the same name is a new one."""
        _fill(store)
        store.erase_sessions(["c", "a"])
        assert put(store, new_session("a", 1, idempotency_key="k")) == [(1, 11, 1)]
        assert names(store.sessions()) == ["b", "a"]
        assert numbers(store.read_session("a")) == [1]
        assert store.session_by_key("k") == "a"
        store.close()
        store.open()
        assert [event.position for event in store.read_all().events] == [4, 5, 6, 7, 11]
        assert store.verify().is_sound

    def test_a_check_knows_holes_and_does_not_call_them_faults(self, store: Store) -> None:
        """They are counted, before and after the store was opened again."""
        _fill(store)
        store.erase_sessions(["a"])
        for _ in range(2):
            report = store.verify()
            assert report.problems == ()
            assert (report.events, report.holes, report.sessions, report.runs) == (5, 5, 2, 0)
            store.close()
            store.open()

    def test_erasing_twice_or_what_is_unknown_changes_nothing(self, store: Store) -> None:
        """So a call that was interrupted can be repeated."""
        _fill(store)
        assert store.erase_sessions([]) == Erased() == store.erase_sessions(["nobody"])
        store.erase_sessions(["a", "a"])
        assert store.erase_sessions(["a"]) == Erased()
        assert store.verify().holes == 5

    def test_all_sessions_can_be_erased(self, store: Store) -> None:
        """An empty journal goes on from where it was."""
        _fill(store)
        assert store.erase_sessions(["a", "b", "c"]).events == 10
        assert (store.sessions(), store.runs(), store.read_all().events) == ([], [], [])
        assert store.read_all().position == 10
        assert put(store, new_session("d", 1)) == [(1, 11, 1)]
        assert store.verify().is_sound

    def test_records_without_events_are_erased_too(self, store: Store) -> None:
        """Also those that were written beside the events of others."""
        put(store, new_session("a"), new_session("b", 2))
        put(store, more("b", 1, 2), Append("a", [], block(), None, (run_of("a", "r", input={"secret": 1}),)))
        erased = store.erase_sessions(["a"])
        assert (erased.sessions, erased.runs, erased.events) == (1, 1, 0)
        assert (names(store.sessions()), store.runs()) == (["b"], [])
        assert numbers(store.read_session("b")) == [1, 2, 3]
        assert store.verify().is_sound

    def test_many_sessions_are_erased_in_one_call(self, store: Store) -> None:
        """Every second of some hundred that were written together."""
        put(store, *(new_session(f"s{k}", 2) for k in range(600)))
        put(store, *(more(f"s{k}", 1, 2) for k in range(600)))
        erased = store.erase_sessions([f"s{k}" for k in range(0, 600, 2)])
        assert (erased.sessions, erased.events) == (300, 900)
        assert names(store.sessions()) == [f"s{k}" for k in range(1, 600, 2)]
        assert all(numbers(store.read_session(f"s{k}")) == [1, 2, 3] for k in range(1, 600, 2))
        assert store.verify().problems == ()

    def test_a_history_that_a_fork_shares_is_not_erased(self, store: Store) -> None:
        """The error names the forks, and nothing is gone; together they can go."""
        put(store, new_session("a", 4), new_session("x", 1), fork("b", "a", 3), fork("c", "b", 2))
        error = _refused(lambda: store.erase_sessions(["x", "a"]))
        assert (error.code, error.details["forks"]) == (ErrorCode.INVALID_OPERATION, ["b"])
        assert store.has_session("x")
        with raises(ErrorCode.INVALID_OPERATION):
            store.erase_sessions(["a", "b"])
        assert store.erase_sessions(["c"]).sessions == 1
        assert store.erase_sessions(["a", "b"]).sessions == 2
        assert names(store.sessions()) == ["x"]
        assert store.verify().problems == ()

    # --- pruning

    def test_pruned_events_are_holes_and_the_others_keep_their_numbers(self, store: Store) -> None:
        """In the session and in the journal; the session goes on after its last number."""
        _fill(store)
        assert store.prune_events("a", [2, 5, 99]) == 2
        assert store.prune_events("a", [2, 3]) == 1
        assert numbers(store.read_session("a")) == [1, 4]
        assert numbers(store.read_session("a", EventFilter(after=1, limit=5))) == [4]
        assert numbers(store.read_session("a", EventFilter(limit=2))) == [1, 4]
        assert [event.position for event in store.read_all(session_id="a").events] == [1, 8]
        assert [event.position for event in store.read_all().events] == [1, 4, 5, 6, 7, 8, 10]
        assert (store.head("a"), store.session("a").last_sequence) == (5, 5)
        assert put(store, more("a", 1, 5)) == [(6, 11, 1)]
        report = store.verify()
        assert (report.problems, report.events, report.holes) == ((), 8, 3)

    def test_a_limit_counts_the_events_that_are_left(self, store: Store) -> None:
        """Not the holes between them."""
        put(store, new_session("a", 10), more("a", 10, 10))
        store.prune_events("a", range(2, 9))
        assert numbers(store.read_session("a", EventFilter(limit=4))) == [1, 9, 10, 11]
        assert numbers(store.read_session("a", EventFilter(after=9, limit=4))) == [10, 11, 12, 13]
        store.prune_events("a", range(1, 21))
        assert store.read_session("a") == []
        assert store.head("a") == 20

    def test_pruned_fields_are_gone_and_those_beside_them_stay(self, store: Store) -> None:
        """Every column of a segment."""
        drafts = [
            Draft(EventType.RUN_STARTED, NOW + k, f"r{k}", {"d": k}, {"m": k}, f"p{k}", f"c{k}", f"id{k}")
            for k in range(3)
        ]
        put(store, new_session("a"), Append("a", drafts, block(), expect=0))
        first, _, third = store.read_session("a")
        store.prune_events("a", [2])
        assert store.read_session("a") == [first, third]
        assert store.read_session("a", EventFilter(run_ids="r1")) == []
        # Nobody has this id any more.
        assert put(store, Append("a", drafts[1:2], block()))[0].count == 1

    def test_what_a_fork_shares_is_not_pruned(self, store: Store) -> None:
        """What came after the fork can go."""
        put(store, new_session("a", 4), fork("b", "a", 2))
        error = _refused(lambda: store.prune_events("a", [2, 4]))
        assert (error.code, error.details["forks"]) == (ErrorCode.INVALID_OPERATION, ["b"])
        assert store.prune_events("a", [3, 4]) == 2
        assert store.prune_events("b", [1, 2, 3]) == 1
        assert numbers(store.read_session("b")) == [1, 2]
        with raises(ErrorCode.SESSION_NOT_FOUND):
            store.prune_events("nobody", [1])

    # --- large payloads

    def test_a_large_payload_comes_back_as_it_was(self, store: Store) -> None:
        """In events, however they were handed over, and in every field of a record."""
        big = {"text": "lorem ipsum " * LARGE_FROM}
        drafts = [
            Draft(EventType.RUN_STARTED, NOW),
            Draft(EventType.RUN_COMPLETED, NOW, "r", big),
            *chunks(1),
        ]
        session = Session("a", "agent", context=big, metadata=big)
        run = run_of("a", "r", input=big, output={**big, "more": 1})
        put(
            store,
            Append("a", drafts, block(), session, (run,)),
            Append("a", pack_drafts(block(), drafts), 0, expect=3),
        )
        for _ in range(2):
            assert [event.data for event in store.read_session("a")] == [{}, big, {"content": "chunk 0"}] * 2
            assert [event.data for event in store.read_all().events][1] == big
            assert store.read_session("a", EventFilter(types=EventType.RUN_COMPLETED))[1].data == big
            assert store.session("a").context == big == store.session("a").metadata
            assert (store.run("r").input, store.runs("a")[0].output) == (big, {**big, "more": 1})
            assert store.sessions()[0].context == big
            assert store.verify().problems == ()
            store.settle()
            store.close()
            store.open()
        store.prune_events("a", [2])
        assert [event.data == big for event in store.read_session("a")].count(True) == 1
        store.erase_sessions(["a"])
        report = store.verify()
        assert (report.problems, report.blobs) == ((), 0)

    def test_a_payload_beyond_all_bounds_is_refused_alone(self, store: Store, monkeypatch: Any) -> None:
        """With the size, the bound, and what to do instead."""
        assert MAX_BYTES > 100 << 20
        monkeypatch.setattr("asm_actors.journal.large.MAX_BYTES", 1 << 20)
        huge = Append(
            "a", [Draft(EventType.RUN_STARTED, NOW, None, {"x": "y" * (1 << 20)})], block(), expect=0
        )
        refused, good = store.commit([huge._replace(session=Session("a", "agent")), new_session("b", 1)])
        assert isinstance(refused, AsmError)
        assert refused.code is ErrorCode.VALIDATION_ERROR
        assert "artifact" in refused.message
        assert good == (1, 1, 1)

    # --- backups and the rest

    def test_a_backup_is_a_journal_with_the_same_contents(self, store: Store, tmp_path: Path) -> None:
        """Holes included; what came after it is not in it."""
        _fill(store)
        store.erase_sessions(["c"])
        store.prune_events("a", [1])
        steps: list[tuple[int, int]] = []
        report = store.backup(tmp_path / "copies" / "one", lambda done, total: steps.append((done, total)))
        put(store, more("a", 1, 5))
        assert (report.last_position, report.sessions, report.runs) == (10, 2, 1)
        assert report.bytes > 0
        assert steps[-1][0] == steps[-1][1] > 0
        copy = LmdbStore(report.path)
        copy.open()
        try:
            assert copy.verify().problems == ()
            assert names(copy.sessions()) == ["a", "b"]
            assert copy.run("r") == store.run("r")
            assert copy.read_all().events == store.read_all().events[:-1]
            assert copy.session_by_key("k") == "a"
            assert put(copy, new_session("new", 1)) == [(1, 11, 1)]
        finally:
            copy.close()

    def test_a_backup_overwrites_nothing(self, store: Store, tmp_path: Path) -> None:
        """Neither files nor another backup; an empty directory is fine."""
        _fill(store)
        (tmp_path / "empty").mkdir()
        store.backup(tmp_path / "empty", compact=False)
        with raises(ErrorCode.ALREADY_EXISTS):
            store.backup(tmp_path / "empty")
        assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []

    def test_compacting_keeps_everything(self, store: Store) -> None:
        """And the store goes on."""
        _fill(store)
        store.erase_sessions(["a"])
        steps: list[tuple[int, int]] = []
        report = store.compact(lambda done, total: steps.append((done, total)))
        assert report.bytes_after <= report.bytes_before
        assert all(done <= total for done, total in steps)
        assert [event.position for event in store.read_all().events] == [4, 5, 6, 7, 10]
        assert put(store, more("b", 1, 4)) == [(5, 11, 1)]
        assert store.verify().problems == ()

    def test_a_sound_store_needs_no_repair_and_has_no_orphans(self, store: Store) -> None:
        """Nor does one with holes."""
        _fill(store)
        store.erase_sessions(["a"])
        assert store.orphans() == ()
        report = store.repair(dry_run=True)
        assert (report.mended, report.unmended, report.lost, report.quarantine) == ((), (), (), None)
        steps: list[tuple[int, int]] = []
        assert store.repair(lambda done, total: steps.append((done, total))) == store.repair()
        assert steps[-1][0] == steps[-1][1]
        assert store.verify().problems == ()

    def test_an_open_run_of_a_session_that_is_over_is_stuck(self, store: Store) -> None:
        """Nobody will ever end it; whoever looks after the store is told."""
        over = Session("a", "agent", SessionStatus.COMPLETED)
        put(store, Append("a", chunks(1), block(), over, (run_of("a", "r"),)))
        store.settle()
        (orphan,) = store.orphans()
        assert "r is pending" in orphan

    def test_records_that_their_events_contradict_are_told(self, store: Store) -> None:
        """Unless the check is told to leave that out."""
        created = Draft(EventType.SESSION_CREATED, NOW, None, {"agent_id": "agent"})
        over = Draft(EventType.SESSION_COMPLETED, NOW)
        session = Session("a", "agent", created_us=NOW, updated_us=NOW)
        put(store, Append("a", [created, over], block(), session, (), 0))
        problems = store.verify().problems
        assert len(problems) >= 1
        assert "status" in " ".join(problems)
        assert store.verify(replay=False).is_sound
