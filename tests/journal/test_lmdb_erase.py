"""Erasing, backups and compaction of a journal on disk: nothing is left in the file, and nobody is disturbed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import Append, Draft
from asm_actors.journal.large import LARGE_FROM
from asm_actors.journal.lmdb_env import Environment
from asm_actors.journal.lmdb_layout import BLOBS, LOG
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.lmdb_tables import Tables
from asm_actors.journal.query import EventFilter
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
    run_of,
)

ROOT = Path(__file__).resolve().parents[2]
SECRET = "correct horse battery staple"


@pytest.fixture
def make(tmp_path):
    """Makes a store on the test's journal; all are closed at the end."""
    stores = []

    def make_store(**options):
        options.setdefault("durability", "none")
        store = LmdbStore(tmp_path / "journal", **options)
        store.open()
        stores.append(store)
        return store

    yield make_store
    for store in stores:
        store.close()


@pytest.fixture
def data_file(tmp_path):
    return tmp_path / "journal" / "data.mdb"


READER = """
import json, sys
from asm_actors.journal.lmdb_store import LmdbStore
store = LmdbStore(sys.argv[1], readonly=True)
store.open()
print("ready", flush=True)
for line in sys.stdin:
    seen = {s.id: [event.sequence_number for event in store.read_session(s.id)] for s in store.sessions()}
    seen["all"] = [event.position for event in store.read_all().events]
    seen["problems"] = store.verify().problems
    print(json.dumps(seen), flush=True)
store.close()
"""


@contextmanager
def reading(path):
    """Gives a function that asks another process what it reads."""
    command = [sys.executable, "-c", READER, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n"

        def look():
            print(file=child.stdin, flush=True)
            return json.loads(child.stdout.readline())

        yield look
        child.stdin.close()
    assert child.returncode == 0


def values_of(store, table):
    with store._view(lambda _, __: None) as (_, tables):
        return [bytes(value) for _, value in tables.cursor(table)]


def secrets(session_id, n, expect=0):
    drafts = [Draft(EventType.MESSAGE_STREAMED, NOW + k, "r", {"content": SECRET}) for k in range(n)]
    run = run_of(session_id, f"r-{session_id}", input={"prompt": SECRET}, metadata={"m": SECRET})
    session = Session(
        session_id, "agent", context={"system": SECRET}, tags=(SECRET,), idempotency_key=session_id
    )
    return Append(session_id, drafts, block(), session, (run,), expect)


# --- What is erased is gone


def test_nothing_that_an_erased_session_said_is_left_in_the_file(make, data_file):
    store = make()
    put(store, secrets("a", 3), new_session("b", 3))
    put(store, more("b", 1, 3), Append("a", [], block(), None, (run_of("a", "x", input={"p": SECRET}),)))
    assert any(SECRET.encode() in value for value in values_of(store, LOG))
    store.erase_sessions(["a"])
    for table in ("log", "sessions", "runs", "names", "marks"):
        assert not any(SECRET.encode() in value for value in values_of(store, table))
    store.compact()
    store.close()
    assert SECRET.encode() not in data_file.read_bytes()
    assert make().verify().problems == ()


def test_blocks_of_erased_sessions_shrink_to_a_few_bytes(make):
    store = make()
    put(store, *(secrets(f"s{k}", 10) for k in range(50)))
    before = sum(map(len, values_of(store, LOG)))
    erased = store.erase_sessions([f"s{k}" for k in range(49)])
    after = sum(map(len, values_of(store, LOG)))
    assert after < before // 20
    assert erased.bytes >= before - after
    store.erase_sessions(["s49"])
    assert sum(map(len, values_of(store, LOG))) < 100


def test_large_payloads_go_with_the_last_block_that_refers_to_them(make):
    store = make()
    big = {"text": SECRET * LARGE_FROM}
    for name in "ab":
        put(
            store,
            Append(name, [Draft(EventType.RUN_COMPLETED, NOW, "r", big)], block(), Session(name, "agent")),
        )
    assert store.verify().blobs == 1
    store.erase_sessions(["a"])
    assert store.read_session("b")[0].data == big
    assert store.verify().blobs == 1
    store.prune_events("b", [1])
    assert values_of(store, BLOBS) == []
    assert store.verify().problems == ()


def test_a_large_payload_is_stored_once_and_compressed_beside_its_block(make):
    store = make()
    big = {"text": "lorem ipsum " * 3 * LARGE_FROM}
    drafts = [Draft(EventType.RUN_COMPLETED, NOW + k, "r", big) for k in range(4)]
    put(store, Append("a", drafts, block(), Session("a", "agent"), (run_of("a", "r", output=big),)))
    (payload,) = [value for value in values_of(store, BLOBS) if len(value) > 1000]
    assert len(payload) < len(big["text"]) // 10
    assert sum(map(len, values_of(store, LOG))) < 2000
    assert [event.data for event in store.read_session("a")] == [big] * 4


def test_what_is_passed_over_is_not_fetched(make, monkeypatch):
    store = make()
    big = {"text": "lorem ipsum " * LARGE_FROM}
    put(
        store,
        Append("a", [*chunks(1), Draft(EventType.RUN_COMPLETED, NOW, "r", big)], block(), Session("a", "x")),
    )
    monkeypatch.setattr(Tables, "fetch_large", lambda *_: 1 / 0)
    assert numbers(store.read_session("a", EventFilter(types=EventType.MESSAGE_STREAMED))) == [1]
    assert numbers(store.read_session("a", EventFilter(limit=1))) == [1]
    with pytest.raises(ZeroDivisionError):
        store.read_session("a")


def test_small_payloads_stay_in_their_block(make):
    store = make()
    put(store, new_session("a", 2000))
    assert values_of(store, BLOBS) == []


# --- Beside others


def test_readers_see_a_session_wholly_or_not_at_all_while_it_is_erased(make):
    store = make()
    for k in range(60):
        put(store, *(new_session(f"s{n}", 5) if k == 0 else more(f"s{n}", 5, 5 * k) for n in range(8)))
    failures = []
    done = threading.Event()
    whole = list(range(1, 301))

    def read():
        while not done.is_set():
            for name in ("s1", "s3"):
                try:
                    found = numbers(store.read_session(name))
                except AsmError as error:
                    if error.code is not ErrorCode.SESSION_NOT_FOUND:
                        failures.append(error)
                else:
                    if found not in (whole, []):
                        failures.append(found)
            after = 0
            while after < store.last_position():
                after = store.read_all(after=after, limit=500).position
            if numbers(store.read_session("s0")) != whole:
                failures.append("s0")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for name in ("s1", "s3", "s5"):
        store.erase_sessions([name])
        put(store, more("s0", 0, 300), more("s2", 1, None))
    done.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert store.verify().problems == ()


def test_another_process_that_reads_sees_what_is_left(make):
    store = make()
    put(store, new_session("a", 3), new_session("b", 3))
    with reading(store.path) as look:
        assert look() == {"a": [1, 2, 3], "b": [1, 2, 3], "all": [1, 2, 3, 4, 5, 6], "problems": []}
        store.erase_sessions(["a"])
        assert look() == {"b": [1, 2, 3], "all": [4, 5, 6], "problems": []}
        store.prune_events("b", [2])
        put(store, more("b", 1, 3))
        assert look() == {"b": [1, 3, 4], "all": [4, 6, 7], "problems": []}


def test_an_append_to_an_erased_session_is_refused(make):
    store = make()
    put(store, new_session("a", 3))
    store.erase_sessions(["a"])
    (answer,) = store.commit([more("a", 1, 3)])
    assert answer.code is ErrorCode.SESSION_NOT_FOUND


def test_an_interrupted_erasure_is_seen_by_nobody_and_finished_at_the_next_opening(make, monkeypatch):
    store = make()
    put(store, secrets("a", 3), new_session("b", 3))

    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("asm_actors.journal.lmdb_maintenance.scrub", die)
        store.erase_sessions(["a"])
    assert any(SECRET.encode() in value for value in values_of(store, LOG))
    for _ in range(2):
        assert names(store.sessions()) == ["b"]
        assert [event.session_id for event in store.read_all().events] == ["b"] * 3
        report = store.verify()
        assert (report.problems, report.holes) == ((), 3)
        store._let_go()
        store.open()
    assert not any(SECRET.encode() in value for value in values_of(store, LOG))


def test_an_erasure_that_cannot_be_written_leaves_the_session_there(make, monkeypatch):
    store = make()
    put(store, new_session("a", 3))
    store.settle()

    def fail(self, work):
        raise AsmError(ErrorCode.STORAGE_WRITE_FAILED, "the disk is full")

    with monkeypatch.context() as patch, raises(ErrorCode.STORAGE_WRITE_FAILED):
        patch.setattr(Environment, "write", fail)
        store.erase_sessions(["a"])
    assert numbers(store.read_session("a")) == [1, 2, 3]
    assert len(store.read_all().events) == 3
    assert store.erase_sessions(["a"]).events == 3


# --- Backups and compaction


def test_a_backup_is_taken_while_commits_go_on(make, tmp_path):
    store = make()
    put(store, new_session("a", 10))
    done = threading.Event()
    heads = []

    def write():
        head = 10
        while not done.is_set():
            put(store, more("a", 3, head))
            head += 3
            heads.append(head)

    writer = threading.Thread(target=write)
    writer.start()
    reports = [store.backup(tmp_path / f"copy-{k}", compact=bool(k % 2)) for k in range(4)]
    done.set()
    writer.join()
    for report in reports:
        with_copy = LmdbStore(report.path)
        with_copy.open()
        try:
            assert with_copy.last_position() == report.last_position
            assert with_copy.verify().problems == ()
        finally:
            with_copy.close()
    assert reports[0].last_position <= reports[-1].last_position <= store.last_position()
    assert store.verify().problems == ()


def test_a_backup_that_fails_leaves_nothing_behind(make, tmp_path, monkeypatch):
    store = make()
    put(store, new_session("a", 10))
    (tmp_path / "file").write_text("")
    with raises(ErrorCode.STORAGE_WRITE_FAILED):
        store.backup(tmp_path / "file" / "below")
    monkeypatch.setattr(LmdbStore, "_reopened_at", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.backup(tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "journal"]


def test_compacting_gives_the_space_back_and_readers_go_on(make, data_file):
    store = make()
    for k in range(40):
        put(store, *(secrets(f"s{k}-{n}", 40) for n in range(25)))
    store.erase_sessions([f"s{k}-{n}" for k in range(40) for n in range(24)])
    before = data_file.stat().st_size
    failures = []
    done = threading.Event()

    def read():
        while not done.is_set():
            if len(store.read_session("s7-24")) != 40:
                failures.append("short")

    reader = threading.Thread(target=read)
    reader.start()
    steps = []
    report = store.compact(lambda done, total: steps.append((done, total)))
    after = data_file.stat().st_size
    put(store, more("s7-24", 0, 40), new_session("new", 2))
    done.set()
    reader.join()
    assert failures == []
    assert (report.bytes_before, report.bytes_after) == (before, after)
    assert report.bytes_freed > before // 2
    assert steps[-1][0] == steps[-1][1]
    assert not (data_file.parent / "compacting").exists()
    store.close()
    store.open()
    assert numbers(store.read_session("new")) == [1, 2]
    assert store.verify().problems == ()


def test_a_journal_that_another_process_reads_is_not_compacted(make):
    store = make()
    put(store, new_session("a", 3))
    with reading(store.path) as look:
        with raises(ErrorCode.INVALID_OPERATION):
            store.compact()
        put(store, more("a", 1, 3))
        assert look()["a"] == [1, 2, 3, 4]
    store.compact()
    with reading(store.path) as look:
        assert look()["a"] == [1, 2, 3, 4]


def test_compacting_that_cannot_replace_the_file_leaves_the_old_one(make, monkeypatch):
    store = make()
    put(store, new_session("a", 3))
    with monkeypatch.context() as patch, raises(ErrorCode.STORAGE_WRITE_FAILED):
        patch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        store.compact()
    assert numbers(store.read_session("a")) == [1, 2, 3]
    put(store, more("a", 1, 3))
    assert store.verify().problems == ()


def test_what_was_erased_is_counted_for_good(make):
    store = make()
    put(store, new_session("a", 3)._replace(runs=(run_of("a", "r"),)), new_session("b", 2))
    store.prune_events("b", [1])
    store.erase_sessions(["a"])
    store.close()
    store.open()
    assert store._erased_totals() == (1, 1, 4)
