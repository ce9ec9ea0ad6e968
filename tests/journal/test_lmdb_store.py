"""What is particular to the journal on disk: files, locks, growth, replay."""

from __future__ import annotations

import os
import resource
import stat
import threading

import lmdb
import pytest

from asm_actors.errors import AsmError, ErrorCode, StorageError
from asm_actors.journal import lmdb_planning, lmdb_store
from asm_actors.journal.append import Append
from asm_actors.journal.lmdb_env import Environment
from asm_actors.journal.lmdb_layout import TABLES
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.query import EventFilter
from asm_actors.journal.store import STORE_SCHEMA
from asm_actors.sessions.session import Session, SessionStatus
from asm_actors.testing.store_builders import (
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


@pytest.fixture
def make(tmp_path):
    """Open stores on one directory, and close what a test leaves open."""
    made = []

    def make_store(**options):
        options.setdefault("durability", "none")
        store = LmdbStore(tmp_path / "journal", **options)
        made.append(store)
        store.open()
        return store

    yield make_store
    for store in made:
        store.close()


@pytest.fixture
def data_file(tmp_path):
    return tmp_path / "journal" / "data.mdb"


def crash(store):
    """Leave the files as the death of the process does."""
    store._let_go()


def entries(store):
    env = store._environment
    with env._env.begin() as txn:
        return {name: txn.stat(env.tables[name])["entries"] for name in TABLES}


# --- the cost of a commit


def test_a_commit_writes_one_key_however_much_it_holds(make):
    store = make()
    before = entries(store)
    group = [
        new_session(f"s{k}", 3, tags=("a", "b"))._replace(runs=(run_of(f"s{k}", f"r{k}"),)) for k in range(50)
    ]
    put(store, *group)
    assert entries(store) == {**before, "log": before["log"] + 1}


def test_settling_writes_a_record_once_however_often_it_changed(make):
    store = make()
    put(store, new_session("a"))
    for k in range(20):
        status = SessionStatus.ACTIVE if k % 2 else SessionStatus.PAUSED
        put(store, Append("a", chunks(1), block(), Session("a", "agent", status), (), k))
    assert store.settle() == 0
    filled = {table: count for table, count in entries(store).items() if count}
    assert filled == {
        "log": 21, "sessions": 1, "segments": 1, "loose": 1, "names": 1, "marks": 3, "columns": 2, "zones": 1,
        "meta": 3,
    }  # fmt: skip


def test_commits_settle_by_themselves_once_too_much_waits(make):
    store = make(settle_after=40)
    for k in range(100):
        put(store, new_session(f"s{k}", 1))
    assert store.statistics().unsettled <= 50
    assert store.verify().is_sound


def test_settling_leaves_nothing_in_memory(make):
    store = make()
    run = run_of("a", "r", idempotency_key="q")
    put(store, new_session("a", 2, idempotency_key="k")._replace(runs=(run,)), more("a", 1, 2))
    store.settle()
    recent = store._recent
    left = (recent.sessions, recent.runs, recent.segments, recent.session_numbers, recent.run_numbers)
    assert not any([*left, recent.session_keys, recent.run_keys, recent.runs_of, len(recent)])
    assert (store.session_by_key("k"), store.run_by_key("a", "q")) == ("a", "r")


# --- replay


def test_what_was_settled_out_of_order_is_not_replayed_twice(make):
    store = make()
    put(store, new_session("a", 1))
    put(store, new_session("b", 1))
    put(store, more("a", 1, 1))
    # The events of a are settled, those of the third block with them; b still needs the second block.
    assert store.settle(2) > 0
    crash(store)
    store = make()
    assert numbers(store.read_session("a")) == [1, 2]
    store.settle()
    assert numbers(store.read_session("a")) == [1, 2]
    assert store.verify().is_sound


def test_a_reader_of_what_was_settled_out_of_order_finds_it_sound(make):
    store = make()
    put(store, new_session("a", 1), new_session("b", 1))
    # The records and the events of a; those of b still need the block.
    assert store.settle(3) > 0
    put(store, more("a", 1, 1))
    assert store.verify().problems == ()
    crash(store)
    reader = make(readonly=True)
    assert numbers(reader.read_session("a")) == [1, 2]
    assert reader.verify().problems == ()


def test_opening_after_a_crash_reads_only_what_is_not_settled(make):
    store = make()
    put(store, *[new_session(f"s{k}", 2) for k in range(20)])
    store.settle()
    put(store, more("s3", 1, 2))
    crash(store)
    store = make()
    assert store.statistics().unsettled == 1
    assert store.head("s3") == 3
    assert put(store, more("s3", 1, 3)) == [(4, 42, 1)]


def test_ids_are_known_again_after_a_restart(make, monkeypatch):
    monkeypatch.setattr(lmdb_store, "_WORTH_SAVING", 1)
    monkeypatch.setattr(lmdb_store, "SAVE_AFTER", 5)
    for life in range(3):
        store = make()
        for k in range(4):
            name = f"s{life}-{k}"
            put(store, new_session(name)._replace(runs=(run_of(name, f"r{life}-{k}"),)))
        if life == 1:
            crash(store)
        else:
            store.close()
    store = make()
    again = [f"{life}-{k}" for life in range(3) for k in range(4)]
    put(
        store,
        *[
            Append(f"s{k}", [], block(), Session(f"s{k}", "again"), (run_of(f"s{k}", f"r{k}"),))
            for k in again
        ],
    )
    assert len(store.sessions()) == len(store.runs()) == 12
    assert {session.agent_id for session in store.sessions()} == {"again"}
    assert store.verify().is_sound


def test_new_ids_ask_nothing_of_the_tables(make, monkeypatch):
    store = make()
    put(store, new_session("old"))
    monkeypatch.setattr(lmdb_planning.Planner, "_look", lambda self: pytest.fail("the tables were opened"))
    put(store, new_session("a", 1)._replace(runs=(run_of("a", "r"),)), more("a", 1, 1))
    put(store, more("a", 1, 2), more("old", 1, 0))


# --- reading the newest events asks nothing of the disk


def test_the_newest_events_are_read_from_memory(make, monkeypatch):
    store = make()
    put(store, new_session("a", 3))
    put(store, more("a", 2, 3))
    monkeypatch.setattr(Environment, "begin_reading", lambda self: pytest.fail("the tables were opened"))
    assert numbers(store.read_session("a", EventFilter(after=2))) == [3, 4, 5]
    assert len(store.read_all(after=1).events) == 4


def test_a_long_session_is_read_from_any_position(make):
    store = make()
    put(store, new_session("a"), new_session("b"))
    for k in range(100):
        put(store, more("a", 3, 3 * k), more("b", 2, 2 * k))
        if k % 10 == 9 and k < 90:
            store.settle()
    positions = [event.position for event in store.read_session("a")]
    for after in range(0, 500, 7):
        page = store.read_all(after=after, limit=5, session_id="a")
        assert [event.position for event in page.events] == [p for p in positions if p > after][:5]


def test_a_reader_between_commit_and_its_publication_sees_everything_once(make, monkeypatch):
    """What is being settled is then in the tables and still in memory."""
    store = make()
    put(store, new_session("a", 2)._replace(runs=(run_of("a", "r"),)))
    store.settle()
    put(store, more("a", 1, 2), new_session("b", 1))
    put(store, Append("a", chunks(1), block(), None, (run_of("a", "s"),), 3))
    seen = []
    write = Environment.write

    def write_and_read(self, work):
        write(self, work)
        seen.append(
            (
                numbers(store.read_session("a")),
                [event.position for event in store.read_all(session_id="a").events],
                [event.position for event in store.read_all().events],
                names(store.sessions()),
                names(store.runs("a")),
                names(store.open_runs()),
                store.head("a"),
            )
        )

    monkeypatch.setattr(Environment, "write", write_and_read)
    store.settle()
    put(store, more("b", 1, 1))
    everything = ([1, 2, 3, 4], [1, 2, 3, 5], [1, 2, 3, 4, 5], ["a", "b"], ["r", "s"], ["r", "s"], 4)
    # The commit of the sixth event is not published when the second look is taken.
    assert seen == [everything, everything]


# --- one writer


def test_a_second_writer_in_this_process_is_told_so(make, tmp_path):
    store = make()
    with raises(ErrorCode.JOURNAL_LOCKED):
        LmdbStore(tmp_path / "journal").open()
    put(store, new_session("a", 1))
    store.close()
    assert make().head("a") == 1


def test_a_store_can_be_opened_again_after_a_refusal(make, tmp_path):
    store = make()
    other = LmdbStore(tmp_path / "journal", durability="none")
    with raises(ErrorCode.JOURNAL_LOCKED):
        other.open()
    other.close()
    # Closing the refused one must not have given up the other one's lock.
    with raises(ErrorCode.JOURNAL_LOCKED):
        other.open()
    store.close()
    other.open()
    other.close()


def test_a_forked_child_cannot_use_its_parents_store(make):
    store = make()
    put(store, new_session("a", 1))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            store.session("a")
        except AsmError as error:
            status = 0 if error.code is ErrorCode.STORAGE_CONNECTION_FAILED else 2
            store.close()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert put(store, more("a", 1, 1)) == [(2, 2, 1)]
    assert numbers(store.read_session("a")) == [1, 2]


# --- files


def test_the_directory_is_made_for_its_user_only(make, tmp_path, data_file):
    store = LmdbStore(tmp_path / "deep" / "journal", durability="none")
    store.open()
    assert stat.S_IMODE((tmp_path / "deep" / "journal").stat().st_mode) == 0o700
    store.close()
    make()
    assert stat.S_IMODE(data_file.stat().st_mode) == 0o600


def test_a_missing_journal_cannot_be_opened_for_reading(tmp_path):
    for path in (tmp_path / "nowhere", tmp_path):
        with raises(ErrorCode.NOT_FOUND):
            LmdbStore(path, readonly=True).open()
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with raises(ErrorCode.STORAGE_CONNECTION_FAILED):
        LmdbStore(tmp_path / "file").open()
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("content", [b"this is no database " * 1000, b"\0" * 8192])
def test_a_file_that_is_no_database_is_refused_and_left_alone(make, data_file, content):
    data_file.parent.mkdir()
    data_file.write_bytes(content)
    with raises(ErrorCode.STORAGE_READ_FAILED):
        make()
    assert data_file.read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(make, data_file):
    with lmdb.open(str(data_file.parent)) as env, env.begin(write=True) as txn:
        txn.put(b"theirs", b"1")
    before = data_file.read_bytes()
    with raises(ErrorCode.STORAGE_READ_FAILED):
        make()
    assert data_file.read_bytes() == before


def test_a_journal_of_a_later_layout_is_refused_and_left_alone(make, data_file):
    store = make()
    put(store, new_session("a", 1))
    store.close()
    with lmdb.open(str(data_file.parent), max_dbs=8) as env, env.begin(write=True) as txn:
        txn.put(b"schema", (STORE_SCHEMA + 1).to_bytes(4, "big"), db=env.open_db(b"meta", txn=txn))
    before = data_file.read_bytes()
    for readonly in (False, True):
        with raises(ErrorCode.MIGRATION_REQUIRED):
            make(readonly=readonly)
    assert data_file.read_bytes() == before


def test_a_cut_file_is_refused(make, data_file):
    store = make()
    put(store, new_session("a", 500))
    store.close()
    with data_file.open("r+b") as file:
        file.truncate(data_file.stat().st_size // 2)
    for readonly in (False, True):
        with raises(ErrorCode.STORAGE_READ_FAILED):
            make(readonly=readonly)


# --- damage


def damage(data_file, table, change):
    """Change the values of a table with ``change(key, value)``; None removes the key."""
    with lmdb.open(str(data_file.parent), max_dbs=8) as env, env.begin(write=True) as txn:
        db = env.open_db(table.encode(), txn=txn)
        for key, value in list(txn.cursor(db)):
            changed = change(key, value)
            if changed is None:
                txn.delete(key, db=db)
            elif changed != value:
                txn.put(key, changed, db=db)


def flip(value, place):
    return value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]


def test_a_damaged_segment_is_named_and_the_rest_can_be_read(make, data_file):
    store = make()
    put(store, new_session("a", 2), new_session("b", 2))
    store.close()
    damage(data_file, "log", lambda key, value: flip(value, 60))
    store = make()
    with pytest.raises(AsmError) as caught:
        store.read_session("a")
    assert caught.value.code is ErrorCode.STORAGE_READ_FAILED
    assert caught.value.details["table"] == "log"
    assert numbers(store.read_session("b")) == [1, 2]
    assert names(store.sessions()) == ["a", "b"]
    (problem,) = store.verify().problems
    assert caught.value.details["key"] in problem


def test_a_damaged_record_is_named_and_never_made_anew(make, data_file):
    store = make()
    put(store, new_session("a", 1), new_session("b", 1))
    store.close()
    damage(data_file, "sessions", lambda key, value: flip(value, 20) if key[-1] == 1 else value)
    store = make()
    with pytest.raises(AsmError, match="the record 1 in sessions cannot be read"):
        store.session("a")
    assert store.session("b").id == "b"
    assert store.has_session("a")
    assert numbers(store.read_session("a")) == [1]
    assert not store.verify().is_sound
    # A writer that knows the session puts it right.
    put(store, Append("a", [], block(), Session("a", "agent"), (), 1))
    store.settle()
    assert store.session("a").agent_id == "agent"


def test_a_damaged_block_that_was_not_settled_stops_the_opening(make, data_file):
    store = make()
    put(store, new_session("a", 1))
    crash(store)
    damage(data_file, "log", lambda key, value: flip(value, len(value) - 3))
    with raises(ErrorCode.STORAGE_READ_FAILED):
        make()


@pytest.mark.parametrize("table", ["log", "sessions", "runs", "segments", "members", "names", "marks"])
def test_verification_misses_no_missing_key(make, data_file, table):
    store = make()
    put(store, new_session("a", 1)._replace(runs=(run_of("a", "r"),)))
    put(store, more("a", 1, 1))
    store.close()
    victims = iter([True])
    damage(data_file, table, lambda key, value: None if next(victims, False) else value)
    assert not make().verify().is_sound


def test_verification_notices_marks_that_no_record_asks_for(make, data_file):
    store = make()
    put(store, new_session("a", 1))
    store.close()
    damage(data_file, "marks", lambda key, value: b"\xff" + value[1:])
    assert not make().verify().is_sound


# --- growth and failing writes


def test_the_map_grows_while_readers_read(make):
    store = make(map_size=1 << 16)
    put(store, new_session("a", 1000))
    store.settle()
    failures = []
    stop = threading.Event()

    def read():
        while not stop.is_set():
            try:
                found = numbers(store.read_session("a", EventFilter(limit=50)))
                if found != list(range(1, len(found) + 1)):
                    failures.append(found)
            except AsmError as error:
                failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for k in range(1, 8):
        put(store, more("a", 1000, 1000 * k))
        store.settle()
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.statistics().bytes_reserved > 1 << 18
    assert store.verify().is_sound


def test_a_map_that_may_not_grow_fails_the_whole_group_and_nothing_else(make):
    store = make(map_size=1 << 16, max_map_size=1 << 17)
    put(store, new_session("a", 1))
    with pytest.raises(StorageError) as caught:
        store.commit([more("a", 5000, 1), new_session("b", 1)])
    assert caught.value.code is ErrorCode.STORAGE_WRITE_FAILED
    assert not store.has_session("b")
    assert put(store, more("a", 1, 1), new_session("b")) == [(2, 2, 1), (1, 3, 0)]
    assert store.verify().is_sound


def test_a_full_disk_fails_the_group_and_the_next_one_may_succeed(make, data_file):
    store = make(durability="commit")
    put(store, new_session("a", 1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The limit on the size of files stands in for a disk without space.
    resource.setrlimit(resource.RLIMIT_FSIZE, (data_file.stat().st_size, hard))
    try:
        with pytest.raises(StorageError) as caught:
            store.commit([more("a", 5000, 1)])
        assert caught.value.code is ErrorCode.STORAGE_WRITE_FAILED
        assert numbers(store.read_session("a")) == [1]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert put(store, more("a", 5000, 1)) == [(2, 2, 5000)]
    assert store.verify().is_sound


# --- durability


@pytest.mark.parametrize(
    ("durability", "syncs"),
    [("commit", [0, 0, 1]), ("interval", [1, 0, 1]), ("none", [0, 0, 0])],
)
def test_durability_decides_what_is_synced_when(make, monkeypatch, durability, syncs):
    """With ``commit``, LMDB itself syncs inside its commit."""
    calls = []
    monkeypatch.setattr(Environment, "sync", lambda self: calls.append(1))
    store = make(durability=durability)
    assert store._environment._env.flags()["sync"] == (durability == "commit")
    counted = []
    put(store, new_session("a", 1))
    counted.append(len(calls))
    store.commit([more("a", 1, 1)], sync=False)
    counted.append(len(calls) - sum(counted))
    store.sync()
    counted.append(len(calls) - sum(counted))
    assert counted == syncs


def test_an_unknown_durability_is_a_validation_error(tmp_path):
    with raises(ErrorCode.VALIDATION_ERROR):
        LmdbStore(tmp_path, durability="maybe")


# --- the library's errors

LIBRARY_ERRORS = [
    kind for kind in vars(lmdb).values() if isinstance(kind, type) and issubclass(kind, lmdb.Error)
]
RETRIED = {lmdb.MapFullError, lmdb.MapResizedError}


@pytest.mark.parametrize("kind", [kind for kind in LIBRARY_ERRORS if kind not in RETRIED])
def test_every_error_of_the_library_becomes_a_typed_one(make, monkeypatch, tmp_path, kind):
    store = make()

    def fail(*_, **__):
        raise kind("text")

    # What the file says is wrong while writing, too, is damage and no failing write.
    is_damage = kind in (lmdb.CorruptedError, lmdb.PageNotFoundError)
    with raises(ErrorCode.STORAGE_READ_FAILED if is_damage else ErrorCode.STORAGE_WRITE_FAILED):
        store._environment.write(fail)
    with raises(ErrorCode.STORAGE_READ_FAILED), store._view(fail):
        pass
    put(store, new_session("a", 1))
    monkeypatch.setattr(lmdb, "open", fail)
    with pytest.raises(AsmError) as caught:
        LmdbStore(tmp_path / "other").open()
    assert caught.value.code in (
        ErrorCode.STORAGE_READ_FAILED, ErrorCode.STORAGE_CONNECTION_FAILED, ErrorCode.MIGRATION_REQUIRED
    )  # fmt: skip
