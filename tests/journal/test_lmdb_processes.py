"""Several processes on one journal: one writes, the others read it live."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.append import Append
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.writer_lock import WriterLock
from asm_actors.runs.run import RunStatus
from asm_actors.testing.store_builders import block, chunks, more, new_session, put, raises, run_of

ROOT = Path(__file__).resolve().parents[2]

READER = """
import json, sys
from asm_actors.errors import AsmError
from asm_actors.journal.lmdb_store import LmdbStore
store = LmdbStore(sys.argv[1], readonly=True, map_size=1 << 17)
store.open()
print("ready", flush=True)
for line in sys.stdin:
    answer = {"position": store.last_position(), "sessions": {}, "open": [run.id for run in store.open_runs()]}
    for session in store.sessions():
        found = [event.sequence_number for event in store.read_session(session.id)]
        answer["sessions"][session.id] = [session.last_sequence, found == list(range(1, len(found) + 1)), len(found)]
    answer["all"] = len(store.read_all(limit=10**6, scan_limit=10**6).events)
    answer["unsettled"] = store.statistics().unsettled
    answer["sound"] = store.verify().is_sound
    print(json.dumps(answer), flush=True)
store.close()
"""

WRITER = """
import sys
from asm_actors.journal.lmdb_store import LmdbStore
store = LmdbStore(sys.argv[1])
store.open()
print("ready", flush=True)
sys.stdin.read()
store.close()
"""


@contextmanager
def child(script, path):
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.stdin.close()
    assert process.returncode == 0


def ask(process):
    process.stdin.write("?\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


@pytest.fixture
def store(tmp_path):
    store = LmdbStore(tmp_path / "journal", durability="none", map_size=1 << 17)
    store.open()
    yield store
    store.close()


def test_another_process_reads_a_journal_while_it_is_written(store, tmp_path):
    with child(READER, tmp_path / "journal") as reader:
        nothing = {"position": 0, "sessions": {}, "open": [], "all": 0, "unsettled": 0, "sound": True}
        assert ask(reader) == nothing
        put(store, new_session("a", 2)._replace(runs=(run_of("a", "r"),)))
        first = ask(reader)
        assert (first["sessions"], first["open"], first["unsettled"]) == ({"a": [2, True, 2]}, ["r"], 3)
        store.settle()
        assert ask(reader) == {**first, "unsettled": 0}
        put(store, more("a", 1, 2), new_session("b", 1))
        done = run_of("a", "r", status=RunStatus.COMPLETED)
        put(store, Append("a", chunks(1), block(), None, (done,), 3))
        store.settle(1)
        put(store, more("b", 1, 1))
        later = ask(reader)
        assert later["sessions"] == {"a": [4, True, 4], "b": [2, True, 2]}
        assert (later["open"], later["position"], later["all"], later["sound"]) == ([], 6, 6, True)
        store.settle()
        put(store, more("b", 1, 2))
        # What the writer settled leaves the reader's memory.
        assert ask(reader)["unsettled"] == store.statistics().unsettled == 1


def test_a_reader_follows_the_growth_of_the_map(store, tmp_path):
    with child(READER, tmp_path / "journal") as reader:
        put(store, new_session("a"))
        for k in range(40):
            put(store, more("a", 200, 200 * k))
            if k % 10 == 0:
                assert ask(reader)["sessions"]["a"] == [200 * (k + 1), True, 200 * (k + 1)]
        assert store.statistics().bytes_reserved > 1 << 17
        answer = ask(reader)
        assert (answer["all"], answer["sound"]) == (8000, True)


def test_a_reader_may_fall_behind_whole_settlements(store, tmp_path):
    put(store, new_session("old", 1))
    with child(READER, tmp_path / "journal") as reader:
        assert ask(reader)["unsettled"] == 2
        for k in range(30):
            put(store, new_session(f"s{k}", 1))
            if k % 10 == 9:
                store.settle()
        answer = ask(reader)
        assert (len(answer["sessions"]), answer["unsettled"], answer["sound"]) == (31, 0, True)


TRY = """
import sys
from pathlib import Path
from asm_actors.errors import AsmError
from asm_actors.journal.writer_lock import WriterLock
try:
    WriterLock(Path(sys.argv[1])).acquire()
except AsmError as error:
    print(error.details["pid"])
else:
    print("free")
"""


def test_the_writers_lock_survives_a_refusal_in_its_own_process(tmp_path):
    def seen_by_another_process():
        command = [sys.executable, "-c", TRY, str(tmp_path)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    lock, other = WriterLock(tmp_path), WriterLock(tmp_path)
    lock.acquire()
    with pytest.raises(AsmError, match="this process writes") as caught:
        other.acquire()
    assert caught.value.details["pid"] == os.getpid()
    other.release()
    assert seen_by_another_process() == str(os.getpid())
    lock.release()
    assert seen_by_another_process() == "free"


def test_a_second_writer_is_told_the_process_that_has_it(tmp_path):
    with child(WRITER, tmp_path / "journal") as writer:
        with pytest.raises(AsmError, match=f"process {writer.pid} writes") as caught:
            LmdbStore(tmp_path / "journal").open()
        assert caught.value.code is ErrorCode.JOURNAL_LOCKED
        assert caught.value.details["pid"] == writer.pid != os.getpid()
        reader = LmdbStore(tmp_path / "journal", readonly=True)
        reader.open()
        assert reader.sessions() == []
        with raises(ErrorCode.INVALID_OPERATION):
            reader.commit([new_session("a")])
        for refused in (reader.settle, reader.sync):
            with raises(ErrorCode.INVALID_OPERATION):
                refused()
        reader.close()
    store = LmdbStore(tmp_path / "journal")
    store.open()
    store.close()
