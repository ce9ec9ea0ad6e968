"""A journal that has reached its bound: what erases works all the same, and makes room for what comes next."""

from __future__ import annotations

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.testing.store_builders import more, new_session, numbers, put, raises

MB = 1 << 20


@pytest.fixture(params=[256 << 10, 1 * MB, 4 * MB], ids=["256k", "1m", "4m"])
def bound(request):
    return request.param


@pytest.fixture
def make(tmp_path, bound):
    """Makes stores with a bound on the test's journal; all are closed at the end."""
    stores = []

    def make_store(**options):
        options = {"durability": "none", "map_size": bound, "max_map_size": bound, **options}
        store = LmdbStore(tmp_path / "journal", **options)
        store.open()
        stores.append(store)
        return store

    yield make_store
    for store in stores:
        store.close()


def fill(store, prefix, count=150):
    """Add sessions until nothing more goes in, not even a small one; returns their names."""
    added = []
    while count:
        try:
            put(store, new_session(f"{prefix}{len(added)}-{count}", count))
        except AsmError as error:
            assert error.code is ErrorCode.STORAGE_WRITE_FAILED
            count //= 5
        else:
            added.append(f"{prefix}{len(added)}-{count}")
    return added


def used(store):
    return store._environment.sizes()[0]


def test_deleting_makes_room_again_and_again(make, bound, tmp_path):
    store = make()
    there = fill(store, "a")
    with raises(ErrorCode.STORAGE_WRITE_FAILED):
        put(store, more(there[0], 400, 150))
    for turn in range(6):
        gone, there = there[: len(there) // 2 + 1], there[len(there) // 2 + 1 :]
        assert store.erase_sessions(gone).sessions == len(gone)
        added = fill(store, f"turn{turn}-")
        assert len(added) > 1
        assert numbers(store.read_session(added[0]))
        there += added
        # What is beyond the bound stays within what is lent for erasing.
        assert used(store) <= bound + max(4 * MB, 2 * bound)
        if turn % 2:
            store.close()
            store = make()
    assert sorted(session.id for session in store.sessions()) == sorted(there)
    assert store.verify().is_sound


def test_pruning_makes_room(make):
    store = make()
    there = fill(store, "a")
    for name in there:
        count = store.head(name)
        if count > 2:
            assert store.prune_events(name, range(2, count)) == count - 2
    put(store, new_session("b", 50))
    assert store.verify().is_sound


def test_compacting_works_and_gives_back_what_was_beyond_the_bound(make, bound):
    store = make()
    there = fill(store, "a")
    store.compact()
    store.erase_sessions(there[: len(there) // 2 + 1])
    store.compact()
    put(store, new_session("b", 20))
    assert used(store) <= bound
    assert store.verify().is_sound


def test_a_full_journal_opens_and_is_read(make):
    store = make()
    there = fill(store, "a")
    store.close()
    store = make()
    assert sorted(session.id for session in store.sessions()) == sorted(there)
    store.erase_sessions(there[:1])
    assert store.verify().is_sound


def test_what_is_not_erasing_gets_nothing_of_the_room_for_it(make, bound):
    store = make()
    there = fill(store, "a")
    store.erase_sessions(there[-1:])
    for turn in range(40):
        try:
            put(store, new_session(f"b{turn}", 150))
        except AsmError as error:
            assert error.code is ErrorCode.STORAGE_WRITE_FAILED
            break
    else:
        pytest.fail("the bound was forgotten")
    assert store.verify().is_sound
