"""Named cursors without actors or a store: who may claim, what an acknowledgement moves, what is written."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.cursor_book import Acknowledge, Claim, CursorBook, Holder
from asm_actors.journal.cursors import NamedCursor, SubscriptionInfo

NOW = 1_700_000_000_000_000


def claim(holder, start=0, *, takeover=True, acknowledged=None):
    return Claim(holder, start, takeover, acknowledged)


def raises(code, *words):
    return pytest.raises(AsmError, match=".*".join((code, *words)))


@pytest.fixture
def book():
    return CursorBook([])


def test_a_new_name_begins_where_its_first_consumer_says_and_is_to_be_written(book):
    holder = Holder("n", {"types": ["run_failed"]})
    made = book.claim(claim(holder, 7), NOW)
    assert made == NamedCursor("n", {"types": ["run_failed"]}, 7, NOW, NOW)
    assert book.take_dirty() == {"n": made}
    assert not book.is_dirty


def test_a_known_name_goes_on_where_it_stands_wherever_its_consumer_would_begin():
    known = NamedCursor("n", {}, 5, NOW, NOW)
    book = CursorBook([known])
    assert book.claim(claim(Holder("n", {}), 99), NOW + 1) is known
    assert not book.is_dirty


def test_a_name_with_another_scope_is_refused_and_told_how_to_remove_it(book):
    book.claim(claim(Holder("n", {})), NOW)
    with raises("invalid_operation", r"unsubscribe\('n'\)"):
        book.claim(claim(Holder("n", {"session_id": "s"})), NOW)


def test_a_second_consumer_takes_over_and_the_first_acknowledges_nothing_any_more(book):
    first, second = Holder("n", {}), Holder("n", {})
    book.claim(claim(first), NOW)
    book.claim(claim(second), NOW)
    assert first.lost is not None
    assert second.lost is None
    book.acknowledge(Acknowledge(first, 9), NOW)
    assert book.entries()[0][0].cursor == 0
    with raises("stream_closed"):
        book.claim(claim(first, acknowledged=3), NOW)


def test_a_second_consumer_is_refused_if_it_shall_not_take_over(book):
    first = Holder("n", {})
    book.claim(claim(first), NOW)
    with raises("invalid_operation", "takeover"):
        book.claim(claim(Holder("n", {}), takeover=False), NOW)
    book.release(first)
    book.claim(claim(Holder("n", {}), takeover=False), NOW)
    assert first.lost is None


def test_a_consumer_that_is_gone_without_a_word_holds_nothing(book):
    holder = Holder("n", {})
    book.claim(claim(holder), NOW)
    assert book.entries()[0][1]
    del holder
    gc.collect()
    assert not book.entries()[0][1]
    book.claim(claim(Holder("n", {}), takeover=False), NOW)


def test_a_release_of_one_that_was_taken_over_leaves_the_other(book):
    first, second = Holder("n", {}), Holder("n", {})
    book.claim(claim(first), NOW)
    book.claim(claim(second), NOW)
    book.release(first)
    assert book.entries()[0][1]


def test_an_acknowledgement_moves_on_and_never_back(book):
    holder = Holder("n", {})
    book.claim(claim(holder), NOW)
    for place, expected in ((3, 3), (2, 3), (8, 8)):
        book.acknowledge(Acknowledge(holder, place), NOW + place)
        assert book.entries()[0][0].cursor == expected
    assert book.entries()[0][0].updated_us == NOW + 8
    assert book.entries()[0][0].created_us == NOW


def test_after_a_restart_a_consumer_claims_again_and_brings_what_it_acknowledged():
    book = CursorBook([NamedCursor("n", {}, 5, NOW, NOW)])
    assert book.claim(claim(Holder("n", {}), acknowledged=9), NOW + 1).cursor == 9
    assert book.is_dirty


def test_after_a_restart_an_acknowledgement_of_one_that_did_not_claim_yet_counts():
    book = CursorBook([NamedCursor("n", {}, 5, NOW, NOW)])
    holder = Holder("n", {})
    book.acknowledge(Acknowledge(holder, 6), NOW)
    assert book.entries() == [(NamedCursor("n", {}, 6, NOW, NOW), True)]


def test_who_claims_again_when_another_came_first_has_lost(book):
    book.claim(claim(Holder("n", {}), 0), NOW)
    second = Holder("n", {})
    book.claim(claim(second), NOW)
    old = Holder("n", {})
    with raises("stream_closed", "another consumer"):
        book.claim(claim(old, acknowledged=1), NOW)
    book.acknowledge(Acknowledge(Holder("n", {}), 7), NOW)
    assert book.entries()[0][0].cursor == 0
    assert second.lost is None


def test_forgetting_closes_the_consumer_and_is_written(book):
    holder = Holder("n", {})
    book.claim(claim(holder), NOW)
    book.take_dirty()
    assert book.forget("n")
    assert not book.forget("n")
    assert holder.lost == "it was removed"
    book.acknowledge(Acknowledge(holder, 4), NOW)
    assert book.take_dirty() == {"n": None}
    assert book.entries() == []


def test_what_could_not_be_written_stands_behind_what_changed_meanwhile(book):
    holder = Holder("n", {})
    book.claim(claim(holder), NOW)
    book.claim(claim(Holder("other", {}), 1), NOW)
    batch = book.take_dirty()
    book.acknowledge(Acknowledge(holder, 4), NOW)
    book.put_back(batch)
    assert {name: cursor.cursor for name, cursor in book.take_dirty().items()} == {"n": 4, "other": 1}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50)), max_size=200))
def test_however_many_acknowledgements_a_batch_has_each_name_once(acks):
    book = CursorBook([NamedCursor(name, {}, 0, NOW, NOW) for name in "abc"])
    holders = {name: Holder(name, {}) for name in "abc"}
    best = dict.fromkeys("abc", 0)
    for name, place in acks:
        book.acknowledge(Acknowledge(holders[name], place), NOW)
        best[name] = max(best[name], place)
    assert {name: c.cursor for name, c in book.take_dirty().items()} == {n: p for n, p in best.items() if p}


def test_the_values_go_to_maps_and_come_back():
    cursor = NamedCursor("n", {"types": ["run_failed"]}, 5, NOW, NOW + 1)
    assert NamedCursor.from_map(cursor.to_map()) == cursor
    info = SubscriptionInfo(cursor, 3, True)
    assert info.to_map() == {**cursor.to_map(), "lag": 3, "is_open": True}
    assert info.name == "n"
    with pytest.raises(AsmError) as caught:
        NamedCursor.from_map({"name": "n"})
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
