from __future__ import annotations

from contextlib import suppress

import pytest

from asm_actors.errors import AsmError
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.memory import MemoryStore
from asm_actors.journal.store import Store
from asm_actors.testing.faulty_store import Fault, FaultKind, FaultyStore, Injected
from asm_actors.testing.store_builders import more, new_session, numbers, put
from asm_actors.testing.store_contract import StoreContract


class TestAFaultyStoreWithoutFaultsIsAStore(StoreContract):
    @pytest.fixture
    def store(self):
        store = FaultyStore(MemoryStore())
        store.open()
        yield store
        store.close()

    def test_it_has_the_shape_of_a_store(self, store):
        assert isinstance(store, Store)


class TestAFaultyStoreOnTheDiskIsAStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        store = FaultyStore(LmdbStore(tmp_path / "journal", durability="none"))
        store.open()
        yield store
        store.close()


@pytest.fixture
def store():
    store = FaultyStore(MemoryStore())
    store.open()
    put(store, new_session("s", 2))
    yield store
    store.heal()
    store.close()


def failure(call, *args, **options):
    with pytest.raises(AsmError) as caught:
        call(*args, **options)
    return caught.value


@pytest.mark.parametrize(
    ("kind", "errno", "taken"),
    [(FaultKind.NO_SPACE, 28, 0), (FaultKind.IO_ERROR, 5, 0), (FaultKind.LOST_ANSWER, 5, 1)],
)
def test_a_commit_fails_before_or_after_it_was_taken(store, kind, errno, taken):
    store.fail(Fault("commit", kind))
    error = failure(store.commit, [more("s", 1, 2)])
    assert (error.code, error.details["errno"]) == ("storage_write_failed", errno)
    assert store.head("s") == 2 + taken
    assert store.injected == [Injected("commit", 2, kind)]
    put(store, more("s", 1, 2 + taken))
    assert numbers(store.read_session("s")) == list(range(1, 4 + taken))


@pytest.mark.parametrize(
    ("fault", "fails"),
    [
        (Fault(), [True, False, False, False]),
        (Fault(first=2), [False, True, False, False]),
        (Fault(first=2, count=2), [False, True, True, False]),
        (Fault(first=3, count=None), [False, False, True, True]),
        (Fault("write", count=None), [True] * 4),
        (Fault("sync", count=None), [False] * 4),
    ],
    ids=str,
)
def test_the_calls_that_fail_are_those_that_were_planned(store, fault, fails):
    store.fail(fault)
    seen = []
    for _ in fails:
        try:
            store.commit([more("s", 1, None)])
            seen.append(False)
        except AsmError:
            seen.append(True)
    assert seen == fails


@pytest.mark.parametrize(
    ("call", "args", "code"),
    [
        ("sync", (), "storage_write_failed"),
        ("settle", (), "storage_write_failed"),
        ("save_cursors", ({},), "storage_write_failed"),
        ("head", ("s",), "storage_read_failed"),
        ("session", ("s",), "storage_read_failed"),
        ("read_session", ("s",), "storage_read_failed"),
        ("read_all", (), "storage_read_failed"),
        ("open_runs", (), "storage_read_failed"),
        ("last_position", (), "storage_read_failed"),
        ("open", (), "storage_connection_failed"),
    ],
)
def test_whatever_fails_says_so_as_a_store_does(store, call, args, code):
    store.fail(Fault(call, FaultKind.IO_ERROR))
    assert failure(getattr(store, call), *args).code == code
    getattr(store, call)(*args)


def test_all_reads_fail_together_and_writes_do_not(store):
    store.fail(Fault("read", FaultKind.IO_ERROR, count=None))
    for read in (lambda: store.head("s"), store.runs, store.statistics):
        assert failure(read).code == "storage_read_failed"
    put(store, more("s", 1, 2))
    store.heal()
    assert store.head("s") == 3


def test_closing_never_fails_and_nothing_fails_after_healing(store):
    store.fail(Fault("read", count=None), Fault("write", count=None), Fault("open", count=None))
    store.close()
    assert failure(store.open).code == "storage_connection_failed"
    store.heal()
    store.open()
    assert "faulty" in store.description


def test_the_same_seed_fails_the_same_calls():
    def failures(seed):
        store = FaultyStore(MemoryStore(), seed=seed, rate=0.3, calls=("commit", "read"))
        store.open()
        for number in range(50):
            for call in (
                lambda number=number: store.commit([new_session(f"s{number}")]),
                store.last_position,
            ):
                with suppress(AsmError):
                    call()
        return store.injected

    assert failures(1) == failures(1) != failures(2)
    assert {one.kind for one in failures(1)} == set(FaultKind)
    assert failures(None) == []
