"""A journal whose file is lost is refused, and no new one takes its place; a first opening that died is begun again."""

from __future__ import annotations

import os
import shutil

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lmdb_migrate import migrate
from asm_actors.journal.lmdb_presence import put_new
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.memory import MemoryStore
from asm_actors.testing.store_builders import new_session, numbers, put, raises


@pytest.fixture
def journal(tmp_path):
    """A journal with one session of five events."""
    store = opened(tmp_path / "journal")
    put(store, new_session("a", 5))
    store.close()
    return tmp_path / "journal"


def opened(path, **options):
    store = LmdbStore(path, **options)
    store.open()
    return store


def refused(path, **options):
    with pytest.raises(AsmError) as caught:
        opened(path, **options)
    return caught.value


def contents(path):
    return {file.name: file.read_bytes() for file in path.iterdir() if file.name != "writer.lock"}


def refusals(path):
    """What everything that opens a journal says about this one."""
    calls = {
        "write": lambda: opened(path),
        "read": lambda: opened(path, readonly=True),
        "repair": LmdbStore(path).repair,
        "look for damage": lambda: LmdbStore(path).repair(dry_run=True),
        "migrate": lambda: migrate(path),
    }
    for name, call in calls.items():
        with pytest.raises(AsmError) as caught:
            call()
        yield name, caught.value


def test_an_empty_file_is_a_lost_journal_and_no_new_one(journal):
    os.truncate(journal / "data.mdb", 0)
    before = contents(journal)
    for name, error in refusals(journal):
        assert error.code is ErrorCode.STORAGE_READ_FAILED, name
        assert str(journal / "data.mdb") in error.message
        assert "is empty: restore it from a backup, or empty the directory" in error.message
    assert contents(journal) == before


@pytest.mark.parametrize("left", ["lock.mdb", "readers.lock", "quarantine"])
def test_a_file_that_is_gone_is_a_lost_journal_and_no_new_one(journal, left):
    for file in journal.iterdir():
        file.unlink()
    (journal / left).mkdir() if left == "quarantine" else (journal / left).touch()
    for name, error in refusals(journal):
        assert error.code is ErrorCode.STORAGE_READ_FAILED, name
        assert f"data.mdb is missing, though {left}" in error.message
    assert sorted(path.name for path in journal.iterdir() if path.name != "writer.lock") == [left]


def test_a_lost_journal_goes_on_with_its_backup_in_the_place_of_its_file(journal, tmp_path):
    store = opened(journal)
    store.backup(tmp_path / "copy")
    store.close()
    (journal / "data.mdb").unlink()
    assert refused(journal).code is ErrorCode.STORAGE_READ_FAILED
    shutil.copy(tmp_path / "copy" / "data.mdb", journal / "data.mdb")
    store = opened(journal)
    assert numbers(store.read_session("a")) == [1, 2, 3, 4, 5]
    store.close()


def test_an_emptied_directory_begins_anew(journal):
    for file in journal.iterdir():
        file.unlink()
    store = opened(journal)
    assert store.last_position() == 0
    store.close()


class Killed(BaseException):
    """Stands for the death of the process: nothing after it is done."""


# Each is called once or more while a journal is made; the process dies in one of them, before or after its work.
STEPS = ["mkdir", "replace", "fsync", "link", "unlink"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", STEPS)
def test_a_first_opening_that_died_at_any_step_is_begun_again(tmp_path, monkeypatch, name, after):
    real = getattr(os, name)

    def dies(*arguments, **options):
        if after:
            real(*arguments, **options)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, name, dies)
        with pytest.raises(Killed):
            opened(tmp_path / "journal")
    store = opened(tmp_path / "journal")
    assert put(store, new_session("a", 3)) == [(1, 1, 3)]
    store.close()


def test_a_new_file_has_its_name_when_it_is_whole(tmp_path):
    (tmp_path / "data.mdb.new").write_text("of a process that was killed")

    def make(file):
        assert not file.exists()
        file.write_text("whole")
        assert not (tmp_path / "data.mdb").exists()

    put_new(tmp_path, make, durable=True)
    assert contents(tmp_path) == {"data.mdb": b"whole"}


# --- What is no path, and what is no number


@pytest.mark.parametrize("path", [None, 1, b"journal", "", "a\x00b", "\ud800", ["journal"]])
def test_what_names_no_directory_is_refused_before_anything_is_made(path, journal):
    with pytest.raises(AsmError) as caught:
        LmdbStore(path)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    store, memory = opened(journal), MemoryStore()
    memory.open()
    for call in (store.backup, memory.backup, migrate):
        with raises(ErrorCode.VALIDATION_ERROR):
            call(path)
    store.close()
    memory.close()


@pytest.mark.parametrize("name", ["map_size", "max_map_size", "settle_after", "readonly"])
@pytest.mark.parametrize("value", [-1, "x", 1.5, 1 << 64])
def test_a_setting_of_the_wrong_kind_is_refused_before_anything_is_made(tmp_path, name, value):
    with pytest.raises(AsmError, match=name) as caught:
        LmdbStore(tmp_path / "journal", **{name: value})
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert not list(tmp_path.iterdir())


def test_the_largest_size_bounds_the_first_one(tmp_path):
    store = opened(tmp_path / "journal", max_map_size=1 << 18)
    with pytest.raises(AsmError, match="limited to 262144 bytes"):
        put(store, new_session("a", 20_000))
    store.close()
