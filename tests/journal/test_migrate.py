"""A journal of an earlier layout is refused with the way out, and migrated without losing anything."""

from __future__ import annotations

import gzip
from pathlib import Path

import lmdb
import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal import lmdb_migrate
from asm_actors.journal.lmdb_migrate import migrate
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.store import STORE_SCHEMA
from asm_actors.testing.store_builders import more, names, new_session, numbers, put, raises

# Four sessions and four runs, half of them settled; written by the release that had layout 1, and then killed.
LAYOUT_1 = Path(__file__).parent / "data" / "layout-1.mdb.gz"


@pytest.fixture
def old(tmp_path):
    journal = tmp_path / "journal"
    journal.mkdir()
    (journal / "data.mdb").write_bytes(gzip.decompress(LAYOUT_1.read_bytes()))
    return journal


def opened(path, **options):
    store = LmdbStore(path, **options)
    store.open()
    return store


def check(path):
    store = opened(path)
    try:
        assert names(store.sessions()) == ["a", "b", "c", "d"]
        assert numbers(store.read_session("a")) == [1, 2, 3, 4, 5]
        assert names(store.open_runs()) == ["r2", "r3"]
        assert names(store.open_runs("a")) == ["r2"]
        assert names(store.sessions(parent_session_id="a")) == ["c"]
        assert (store.session_by_key("k"), store.run_by_key("a", "q")) == ("a", "r2")
        assert store.verify().problems == ()
        assert store.erase_sessions(["b"]).runs == 1
        assert put(store, more("d", 1, 1), new_session("e", 1)) == [(2, 10, 1), (1, 11, 1)]
        assert store.verify().problems == ()
    finally:
        store.close()


@pytest.mark.parametrize("readonly", [False, True])
def test_an_earlier_layout_is_refused_with_the_command_that_migrates(old, readonly):
    before = (old / "data.mdb").read_bytes()
    with pytest.raises(AsmError, match=f"asm journal migrate {old}") as caught:
        opened(old, readonly=readonly)
    assert caught.value.code is ErrorCode.MIGRATION_REQUIRED
    assert (old / "data.mdb").read_bytes() == before


def test_migrating_keeps_everything_and_adds_the_new_indexes(old):
    steps = []
    report = migrate(old, lambda done, total: steps.append((done, total)))
    assert (report.before, report.after, report.sessions, report.runs) == (1, STORE_SCHEMA, 3, 3)
    assert steps[-1][0] == steps[-1][1]
    check(old)


def test_migrating_again_changes_nothing(old):
    migrate(old)
    before = (old / "data.mdb").read_bytes()
    assert migrate(old).before == STORE_SCHEMA
    assert (old / "data.mdb").read_bytes() == before
    check(old)


def test_a_migration_that_dies_on_the_way_leaves_the_earlier_layout(old, monkeypatch):
    class Killed(BaseException):
        pass

    def die(mending):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(lmdb_migrate, "rebuild_indexes", die)
        migrate(old)
    with raises(ErrorCode.MIGRATION_REQUIRED):
        opened(old)
    migrate(old)
    check(old)


def test_a_journal_of_a_later_layout_is_not_touched(tmp_path):
    store = opened(tmp_path / "journal")
    store.close()
    with lmdb.open(str(tmp_path / "journal"), max_dbs=2) as env, env.begin(write=True) as txn:
        txn.put(b"schema", (STORE_SCHEMA + 1).to_bytes(4, "big"), db=env.open_db(b"meta", txn=txn))
    with pytest.raises(AsmError, match="the release that wrote it, or a later one") as caught:
        migrate(tmp_path / "journal")
    assert caught.value.code is ErrorCode.MIGRATION_REQUIRED


def test_what_cannot_be_migrated_says_why(tmp_path):
    with raises(ErrorCode.NOT_FOUND):
        migrate(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    store = opened(tmp_path / "journal")
    with raises(ErrorCode.JOURNAL_LOCKED):
        migrate(tmp_path / "journal")
    store.close()
