"""Indexes that are built anew are those that settling keeps."""

from __future__ import annotations

import pytest

from asm_actors.errors import AsmError
from asm_actors.events import EventType
from asm_actors.journal import lmdb_zones
from asm_actors.journal.append import Append, Draft
from asm_actors.journal.lmdb_indexing import index_run, index_session, unindex_run, unindex_session
from asm_actors.journal.lmdb_layout import COLUMNS, MARKS, RUNS, ZONES, number_key
from asm_actors.journal.lmdb_search_build import build_search_indexes
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.search import EventSearch
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(lmdb_zones, "ZONE_EVENTS", 4)
    store = LmdbStore(tmp_path / "journal", durability="none")
    store.open()
    for n in range(40):
        drafts = [Draft(EventType.RUN_STARTED, n + k, None, {}, {}, "p", f"c{n}") for k in range(3)]
        runs = (Run(id=f"r{n}", session_id=f"s{n}", provider="p" if n % 2 else "q", created_us=n),)
        session = Session(f"s{n}", "agent", created_us=n, updated_us=40 - n, tags=("t",))
        store.commit([Append(f"s{n}", drafts, n << 32, session, runs)])
        if n % 7 == 0:
            store.settle()
    store.settle()
    yield store
    store.close()


def contents(store):
    with store._view(lambda _, __: None) as (_, tables):
        return {
            name: {bytes(key): bytes(value) for key, value in tables.cursor(name)}
            for name in (MARKS, COLUMNS, ZONES)
        }


def test_building_gives_what_was_kept_and_can_be_repeated(store):
    kept = contents(store)
    told = []
    environment = store._environment
    for _ in range(2):
        environment.write(
            lambda txn: build_search_indexes(txn, environment.tables, lambda *steps: told.append(steps))
        )
        assert contents(store) == kept
    assert told[-1] == (80, 80)
    assert store.verify().problems == ()


def test_what_is_not_settled_is_left_to_settling(store):
    store.commit([Append("s0", [Draft(EventType.RUN_FAILED, 9)], 99 << 32)])
    environment = store._environment
    environment.write(lambda txn: build_search_indexes(txn, environment.tables))
    assert store.count_events(EventSearch(types="run_failed")) == 1
    store.settle()
    assert store.count_events(EventSearch(types="run_failed")) == 1


def test_a_record_that_cannot_be_read_is_an_error_and_changes_nothing(store):
    kept = contents(store)
    environment = store._environment
    environment.write(lambda txn: txn.put(number_key(3), b"\1broken", db=environment.tables[RUNS]))
    with pytest.raises(AsmError, match="runs"):
        environment.write(lambda txn: build_search_indexes(txn, environment.tables))
    assert contents(store) == kept


def test_taking_out_and_putting_back_changes_nothing(store):
    kept = contents(store)
    environment = store._environment
    session, run = store.session("s4"), store.run("r4")
    number, (run_number, owner) = store.spot("s4").number, store.run_spot("r4")
    environment.write(lambda txn: unindex_run(txn, environment.tables, run_number, owner, run))
    environment.write(lambda txn: unindex_session(txn, environment.tables, number, session))
    assert contents(store) != kept
    environment.write(lambda txn: index_session(txn, environment.tables, number, session))
    environment.write(lambda txn: index_run(txn, environment.tables, run_number, owner, run))
    assert contents(store) == kept


def test_zones_are_extended_in_small_steps(store, monkeypatch):
    """As they are while commits settle a little each; a stretch that cannot be read may hold anything."""
    kept = contents(store)[ZONES]
    environment = store._environment

    def anew(budget):
        def work(txn):
            txn.drop(environment.tables[ZONES], delete=False)
            txn.delete(b"zoned", db=environment.tables["meta"])

        environment.write(work)
        steps = 1
        while not environment.write(
            lambda txn: lmdb_zones.extend_zones(txn, environment.tables, b"\xff" * 16, budget)
        ):
            steps += 1
        return steps

    assert anew(1) > 30
    assert contents(store)[ZONES] == kept

    def peek(*_):
        raise AsmError("storage_read_failed", "broken")
        yield

    monkeypatch.setattr(lmdb_zones, "peek_segments", peek)
    anew(1000)
    assert store.count_events(EventSearch(types="run_started")) == 120
