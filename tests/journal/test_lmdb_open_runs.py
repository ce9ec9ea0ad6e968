"""What it costs to revive a session: the same number of reads, however long its history is."""

from __future__ import annotations

import pytest

from asm_actors.journal import lmdb_view
from asm_actors.journal.append import Append
from asm_actors.journal.lmdb_layout import OPEN, pair_key
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.lmdb_tables import Tables
from asm_actors.runs.run import RunStatus
from asm_actors.sessions.loading import read_session
from asm_actors.testing.store_builders import block, chunks, names, new_session, put, run_of


class _CountingCursor:
    def __init__(self, cursor, counted):
        self._cursor = cursor
        self._counted = counted

    def __getattr__(self, name):
        self._counted.append(name)
        return getattr(self._cursor, name)


@pytest.fixture
def counted(monkeypatch):
    """Every call into the tables, by name."""
    calls = []

    class CountingTables(Tables):
        def get(self, table, key):
            calls.append(f"get {table}")
            return super().get(table, key)

        def cursor(self, table):
            calls.append(f"cursor {table}")
            return _CountingCursor(super().cursor(table), calls)

    monkeypatch.setattr(lmdb_view, "Tables", CountingTables)
    return calls


@pytest.fixture
def store(tmp_path):
    store = LmdbStore(tmp_path / "journal", durability="none")
    store.open()
    yield store
    store.close()


def write_history(store, session_id, n_events, n_runs):
    """A session with so many events, of so many runs that are over and two that are not."""
    put(store, new_session(session_id))
    each = n_events // n_runs
    for k in range(n_runs):
        run = run_of(session_id, f"{session_id}-{k}", status=RunStatus.COMPLETED)
        put(store, Append(session_id, chunks(each, run.id), block(), expect=k * each, runs=(run,)))
    put(
        store,
        *(
            Append(session_id, [], block(), runs=(run_of(session_id, f"{session_id}-{name}"),))
            for name in "ab"
        ),
    )


@pytest.mark.parametrize("is_settled", [True, False])
def test_reviving_costs_the_same_reads_however_long_the_history(store, counted, is_settled):
    write_history(store, "short", 10, 1)
    write_history(store, "long", 100_000, 1_000)
    write_history(store, "neighbour", 10, 1)  # neither is at the end of a table
    if is_settled:
        store.close()
        store.open()
    reads = {}
    for session_id in ("short", "long"):
        counted.clear()
        loaded = read_session(store, session_id, None)
        reads[session_id] = list(counted)
        assert names(loaded.runs) == [f"{session_id}-a", f"{session_id}-b"]
    assert loaded.session.last_sequence == 100_000
    assert reads["long"] == reads["short"]
    assert len(reads["long"]) < 30


def test_the_table_of_open_runs_holds_nothing_that_is_over(store):
    write_history(store, "a", 50, 50)
    store.settle()
    ends = [run_of("a", f"a-{name}", status=RunStatus.CANCELLED) for name in "ab"]
    put(store, Append("a", [], block(), runs=tuple(ends)))
    store.settle()
    with store._view(lambda recent, _: dict(recent.open_of)) as (waiting, tables):
        assert waiting == {}
        assert list(tables.members(1, is_open=True)) == []
        assert len(list(tables.members(1))) == 52


def test_verify_names_a_run_that_the_table_of_open_runs_tells_wrong(store):
    write_history(store, "a", 1, 1)
    store.settle()
    environment = store._environment
    environment.write(lambda txn: txn.put(pair_key(1, 1), b"", db=environment.tables[OPEN]))
    environment.write(lambda txn: txn.delete(pair_key(1, 2), db=environment.tables[OPEN]))
    problems = store.verify().problems
    assert [problem.split(",")[0] for problem in problems] == [
        "open: the run record 1 is completed",
        "open: the run record 2 is pending",
    ]
