"""The filter of known ids never says no to an id that it was given."""

from __future__ import annotations

import pytest

from asm_actors.journal import lmdb_known
from asm_actors.journal.lmdb_known import KnownIds


@pytest.fixture(autouse=True)
def small_layers(monkeypatch):
    monkeypatch.setattr(lmdb_known, "_FIRST", 64)
    monkeypatch.setattr(lmdb_known, "_LARGEST", 256)


def filled(n, known=None):
    known = known or KnownIds()
    for k in range(n):
        known.add(f"id-{k}")
    return known


def test_what_was_added_is_never_denied():
    known = filled(2000)
    assert all(known.may_hold(f"id-{k}") for k in range(2000))


def test_what_was_not_added_is_mostly_denied():
    known = filled(1000)
    assert sum(known.may_hold(f"other-{k}") for k in range(1000)) < 40
    assert not KnownIds().may_hold("anything")


def test_saved_layers_hold_what_was_added_before():
    known = filled(700)
    stored = dict(known.save(11, 22))
    for k in range(700, 800):
        known.add(f"id-{k}")
    stored.update(known.save(33, 44))
    loaded = KnownIds()
    for index in range(len(stored)):
        loaded.load(index, stored[index])
    assert (loaded.next_session, loaded.next_run) == (33, 44)
    assert all(loaded.may_hold(f"id-{k}") for k in range(800))
    assert not all(loaded.may_hold(f"other-{k}") for k in range(100))


def test_only_layers_that_changed_are_saved_again():
    known = filled(300)
    assert [index for index, _ in known.save(1, 1)] == [0, 1, 2]
    assert known.n_unsaved == 0
    known.add("more")
    assert [index for index, _ in known.save(1, 1)] == [2]


@pytest.mark.parametrize(
    "damage", [lambda v: v[:-1], lambda v: v[:10], lambda v: v[:-1] + bytes([v[-1] ^ 1])]
)
def test_a_damaged_layer_makes_it_deny_nothing(damage):
    ((_, value),) = filled(50).save(1, 1)
    loaded = KnownIds()
    loaded.load(0, damage(value))
    assert loaded.may_hold("anything")
