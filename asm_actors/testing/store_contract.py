"""The contract that every store keeps, as a test suite.

Subclass :class:`StoreContract` in a pytest module and give it a fixture ``store`` that returns an open, empty store::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            store = MyStore(tmp_path)
            store.open()
            yield store
            store.close()

The suite closes and opens the store it is given, and expects its contents to be there again.
"""

from __future__ import annotations

from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.ids import event_id
from asm_actors.journal.append import Append, Draft
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
    raises,
    refusal,
    run_of,
)
from asm_actors.testing.store_contract_artifacts import StoreArtifactsContract
from asm_actors.testing.store_contract_cursors import StoreCursorContract
from asm_actors.testing.store_contract_forks import StoreForkContract
from asm_actors.testing.store_contract_maintenance import StoreMaintenanceContract
from asm_actors.testing.store_contract_open_runs import StoreOpenRunsContract
from asm_actors.testing.store_contract_queries import StoreQueryContract
from asm_actors.testing.store_contract_search import StoreSearchContract

__all__ = ["StoreContract"]


class StoreContract(
    StoreCursorContract,
    StoreForkContract,
    StoreOpenRunsContract,
    StoreQueryContract,
    StoreSearchContract,
    StoreArtifactsContract,
    StoreMaintenanceContract,
):
    """What every store does. Each method is a test; see the module for how to run them on a store."""

    # --- events and their order

    def test_an_empty_store_holds_nothing(self, store: Store) -> None:
        """Nothing is there before the first commit, and asking is no error."""
        assert store.last_position() == 0
        assert store.sessions() == [] == store.runs()
        assert store.read_all() == ([], 0)
        assert store.verify().is_sound
        assert store.commit([]) == []

    def test_sequence_numbers_count_per_session_and_positions_over_the_journal(self, store: Store) -> None:
        """Both start at 1 and have no gaps."""
        assert put(store, new_session("a", 2), new_session("b", 1)) == [(1, 1, 2), (1, 3, 1)]
        assert put(store, more("a", 3, 2), more("b", 1, 1)) == [(3, 4, 3), (2, 7, 1)]
        assert numbers(store.read_session("a")) == [1, 2, 3, 4, 5]
        assert [event.position for event in store.read_session("a")] == [1, 2, 4, 5, 6]
        assert [event.position for event in store.read_all().events] == [1, 2, 3, 4, 5, 6, 7]
        assert (store.head("a"), store.head("b"), store.last_position()) == (5, 2, 7)

    def test_an_event_comes_back_as_it_was_written(self, store: Store) -> None:
        """Every field of a draft reaches the event."""
        data = {
            "text": "grüße 🎉",
            "list": [1, None, True, 2.5, {"deep": {}}],
            "big": 2**63,
            "negative": -(2**63),
        }
        draft = Draft(EventType.TOOL_CALL_STARTED, NOW, "run", data, {"m": 1}, "mock", "corr", "chosen")
        plain = Draft(EventType.RUN_STARTED, NOW - 5)
        base = block()
        put(store, new_session("a"), Append("a", [draft, plain], base, expect=0))
        first = Event(
            "chosen", EventType.TOOL_CALL_STARTED, NOW, "a", "run", 1, data, {"m": 1}, 1, "mock", "corr", 1
        )
        second = Event(
            event_id(base, 1), EventType.RUN_STARTED, NOW - 5, "a", None, 2, {}, {}, 1, None, None, 2
        )
        assert store.read_session("a") == [first, second] == store.read_all().events

    def test_what_is_handed_over_is_copied(self, store: Store) -> None:
        """Neither a writer's nor a reader's later change reaches the store."""
        data: dict[str, Any] = {"list": [1]}
        put(
            store,
            Append("a", [Draft(EventType.RUN_STARTED, NOW, None, data)], block(), Session("a", "agent")),
        )
        data["list"].append(2)
        store.read_session("a")[0].data["list"].append(3)
        assert store.read_session("a")[0].data == {"list": [1]}

    def test_later_appends_of_a_group_see_the_earlier_ones(self, store: Store) -> None:
        """A session may be created and grow in one group."""
        assert put(store, new_session("a", 1), more("a", 2, 1), more("a", 1, 3))[2] == (4, 4, 1)
        assert numbers(store.read_session("a")) == [1, 2, 3, 4]

    def test_a_commit_that_need_not_be_synced_is_there_all_the_same(self, store: Store) -> None:
        """Syncing later makes it survive more, and changes nothing that is seen."""
        assert store.commit([new_session("a", 1)], sync=False) == [(1, 1, 1)]
        assert store.head("a") == 1
        store.sync()
        store.close()
        store.open()
        assert numbers(store.read_session("a")) == [1]

    # --- refusals

    def test_a_refused_append_changes_nothing_and_the_others_go_through(self, store: Store) -> None:
        """A wrong expectation, an unknown session, and a good append in one group."""
        put(store, new_session("a", 2))
        wrong = more("a", 1, 1)._replace(session=Session("a", "intruder"))
        stale, unknown, good = store.commit([wrong, more("nobody", 1, 0), more("a", 1, 2)])
        assert isinstance(stale, AsmError)
        assert (stale.code, stale.details) == (ErrorCode.INVALID_OPERATION, {"expected": 1, "actual": 2})
        assert isinstance(unknown, AsmError)
        assert unknown.code is ErrorCode.SESSION_NOT_FOUND
        assert good == (3, 3, 1)
        assert store.session("a").agent_id == "agent"
        assert store.last_position() == 3

    def test_what_cannot_be_stored_is_refused_alone(self, store: Store) -> None:
        """In an event or in a record; the numbers are not used up."""
        bad_event = Append("a", [Draft(EventType.RUN_STARTED, NOW, None, {"x": object()})], block(), expect=0)
        bad_record = new_session("b", 1, metadata={"x": object()})
        answers = store.commit([new_session("a"), bad_event, bad_record, new_session("c", 1)])
        codes = [answer.code if isinstance(answer, AsmError) else None for answer in answers]
        assert codes == [None, ErrorCode.VALIDATION_ERROR, ErrorCode.VALIDATION_ERROR, None]
        assert names(store.sessions()) == ["a", "c"]
        assert answers[3] == (1, 1, 1)

    def test_records_of_another_session_are_refused(self, store: Store) -> None:
        """A session's record under another id, a foreign run, and a run that moves."""
        put(store, new_session("a")._replace(runs=(run_of("a", "r"),)), new_session("b"))
        append = Append("b", [], block())
        assert (
            refusal(store, append._replace(session=Session("a", "agent"))).code is ErrorCode.SESSION_MISMATCH
        )
        assert refusal(store, append._replace(runs=(run_of("a", "x"),))).code is ErrorCode.SESSION_MISMATCH
        assert refusal(store, append._replace(runs=(run_of("b", "r"),))).code is ErrorCode.RUN_MISMATCH

    # --- repeated appends

    def test_a_repeated_append_without_expectation_is_stored_once(self, store: Store) -> None:
        """Its events are known by their ids, and the answer tells where they are."""
        drafts = chunks(3)
        first = Append("a", drafts, block())
        put(store, new_session("a", 2), first)
        assert put(store, first) == [(3, 3, 0)]
        assert put(store, first, first) == [(3, 3, 0)] * 2
        longer = first._replace(drafts=[*drafts, *chunks(1, start=9)])
        assert put(store, longer) == [(6, 6, 1)]
        assert put(store, longer) == [(3, 3, 0)]
        assert [event.id for event in store.read_session("a")][2:] == [
            event_id(first.base_id, k) for k in range(4)
        ]

    def test_a_chosen_event_id_is_stored_once_and_never_reused(self, store: Store) -> None:
        """The same event again is a repetition; another event of that id is refused."""
        event = Draft(EventType.RUN_STARTED, NOW, "r", id="mine")
        put(store, new_session("a"), Append("a", [event], block()))
        assert put(store, Append("a", [event], block())) == [(1, 1, 0)]
        other = Append("a", [event._replace(type=EventType.RUN_FAILED)], block())
        assert refusal(store, other).code is ErrorCode.ALREADY_EXISTS
        assert refusal(store, other._replace(expect=1)).code is ErrorCode.ALREADY_EXISTS
        twice = Append("a", [event._replace(id="twin")] * 2, block(), expect=1)
        assert refusal(store, twice).code is ErrorCode.ALREADY_EXISTS
        assert refusal(store, twice._replace(expect=None)).code is ErrorCode.ALREADY_EXISTS
        assert put(store, new_session("b"), Append("b", [event], block()))[1].count == 1

    def test_an_idempotency_key_belongs_to_one_session_and_one_run(self, store: Store) -> None:
        """A second owner is refused, in the same group or later; a run's key counts within its session."""
        put(
            store,
            new_session("a", idempotency_key="k")._replace(runs=(run_of("a", "r", idempotency_key="q"),)),
        )
        assert refusal(store, new_session("b", idempotency_key="k")).details["session_id"] == "a"
        taken_run = Append("a", [], block(), runs=(run_of("a", "s", idempotency_key="q"),))
        assert refusal(store, taken_run).code is ErrorCode.ALREADY_EXISTS
        twins = taken_run._replace(runs=tuple(run_of("a", name, idempotency_key="twin") for name in "uv"))
        assert refusal(store, twins).code is ErrorCode.ALREADY_EXISTS
        pair = [new_session(name, idempotency_key="fresh") for name in "cd"]
        assert [isinstance(answer, AsmError) for answer in store.commit(pair)] == [False, True]
        put(store, new_session("e")._replace(runs=(run_of("e", "t", idempotency_key="q"),)))
        assert (store.session_by_key("k"), store.session_by_key("fresh"), store.session_by_key("?")) == (
            "a",
            "c",
            None,
        )
        assert (store.run_by_key("a", "q"), store.run_by_key("e", "q"), store.run_by_key("?", "q")) == (
            "r",
            "t",
            None,
        )

    # --- open and close

    def test_contents_survive_closing_settled_or_not(self, store: Store) -> None:
        """Events, records, listings, keys and counters."""
        put(store, new_session("a", 2, idempotency_key="k")._replace(runs=(run_of("a", "r"),)))
        store.settle()
        put(store, more("a", 1, 2), new_session("b", 1, tags=("t",)))
        store.close()
        store.close()
        store.open()
        store.open()
        assert numbers(store.read_session("a")) == [1, 2, 3]
        assert (names(store.sessions()), names(store.sessions(tags=["t"]))) == (["a", "b"], ["b"])
        assert (names(store.open_runs()), store.session_by_key("k")) == (["r"], "a")
        assert put(store, more("b", 1, 1), new_session("c")) == [(2, 5, 1), (1, 6, 0)]
        assert names(store.sessions()) == ["a", "b", "c"]
        assert store.verify() == store.verify()
        assert store.verify().is_sound

    def test_a_closed_store_refuses_everything(self, store: Store) -> None:
        """With an error that says so."""
        put(store, new_session("a", 1))
        store.close()
        for ask in (
            store.last_position,
            store.sync,
            store.statistics,
            store.sessions,
            store.open_runs,
            store.settle,
        ):
            with raises(ErrorCode.STORAGE_CONNECTION_FAILED):
                ask()
        for ask_one in (store.head, store.session, store.run, store.read_session, store.has_session):
            with raises(ErrorCode.STORAGE_CONNECTION_FAILED):
                ask_one("a")
        with raises(ErrorCode.STORAGE_CONNECTION_FAILED):
            store.commit([more("a", 1, 1)])
        store.open()

    def test_statistics_and_verification_count_what_there_is(self, store: Store) -> None:
        """Progress is told, and a sound store has no problems."""
        put(store, new_session("a", 3)._replace(runs=(run_of("a", "r"),)), new_session("b", 1))
        statistics = store.statistics()
        assert (statistics.sessions, statistics.runs, statistics.events, statistics.commits) == (2, 1, 4, 1)
        assert 0 < statistics.bytes_used <= statistics.bytes_reserved
        steps: list[tuple[int, int]] = []
        report = store.verify(lambda done, total: steps.append((done, total)))
        assert (report.events, report.sessions, report.runs, report.problems) == (4, 2, 1, ())
        assert steps[-1] == (4, 4)
