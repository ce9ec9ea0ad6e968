"""One contract, every store: on disk, on disk with everything settled at once, and in memory."""

from __future__ import annotations

import pytest

from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.memory import MemoryStore
from asm_actors.journal.store import Store
from asm_actors.testing.store_contract import StoreContract


class TestLmdbStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        store = LmdbStore(tmp_path / "journal", durability="none")
        store.open()
        yield store
        store.close()

    def test_it_has_the_shape_of_a_store(self, store):
        assert isinstance(store, Store)


class TestLmdbStoreThatSettlesInEachCommit(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        store = LmdbStore(tmp_path / "journal", durability="none", settle_after=0)
        store.open()
        yield store
        store.close()


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self):
        store = MemoryStore()
        store.open()
        yield store
        store.close()

    def test_it_has_the_shape_of_a_store(self, store):
        assert isinstance(store, Store)
