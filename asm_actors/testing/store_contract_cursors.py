"""The part of the stores' contract that is about named cursors; `StoreContract` includes it."""

from __future__ import annotations

from attrs import evolve

from asm_actors.errors import ErrorCode
from asm_actors.journal.cursors import NamedCursor
from asm_actors.journal.store import Store
from asm_actors.testing.store_builders import NOW, more, new_session, put, raises

__all__ = ["StoreCursorContract"]


def _cursor(name: str, place: int = 0, **scope: object) -> NamedCursor:
    return NamedCursor(name, scope, place, NOW, NOW)


class StoreCursorContract:
    """How every store keeps named cursors."""

    def test_an_unknown_cursor_is_none_and_an_empty_store_has_none(self, store: Store) -> None:
        """Asking is no error."""
        assert store.cursor("nobody") is None
        assert store.cursors() == []
        store.save_cursors({})
        assert store.cursors() == []

    def test_a_cursor_comes_back_as_it_was_saved(self, store: Store) -> None:
        """Every field of it, whatever its name."""
        saved = NamedCursor(
            "grüße / 1:2", {"session_id": "s", "types": ["run_completed"], "since": 5}, 7, NOW, NOW + 1
        )
        store.save_cursors({saved.name: saved})
        assert store.cursor(saved.name) == saved
        assert store.cursors() == [saved]

    def test_cursors_are_listed_by_name_and_the_last_one_saved_counts(self, store: Store) -> None:
        """A name has one cursor."""
        store.save_cursors({name: _cursor(name) for name in ("b", "a", "ü", "c")})
        moved = evolve(_cursor("b", 9), updated_us=NOW + 5)
        store.save_cursors({"b": moved})
        assert [cursor.name for cursor in store.cursors()] == ["a", "b", "c", "ü"]
        assert store.cursor("b") == moved
        assert store.cursor("a") == _cursor("a")

    def test_a_name_can_be_forgotten_with_others_saved_beside_it(self, store: Store) -> None:
        """Forgetting what is not there is no error."""
        store.save_cursors({"a": _cursor("a"), "b": _cursor("b")})
        store.save_cursors({"a": None, "b": _cursor("b", 3), "never": None})
        assert store.cursor("a") is None
        assert store.cursors() == [_cursor("b", 3)]

    def test_cursors_survive_closing_and_events_do_not_move_them(self, store: Store) -> None:
        """They are apart from the journal's order."""
        put(store, new_session("s", 3))
        store.save_cursors({"a": _cursor("a", 2)})
        put(store, more("s", 2, 3))
        store.close()
        store.open()
        assert store.cursor("a") == _cursor("a", 2)
        assert store.last_position() == 5
        assert put(store, more("s", 1, 5)) == [(6, 6, 1)]
        assert store.verify().is_sound

    def test_what_is_handed_over_as_a_cursor_is_copied(self, store: Store) -> None:
        """Neither a later change of the writer nor one of a reader reaches the store."""
        types = ["run_failed"]
        store.save_cursors({"a": _cursor("a", types=types)})
        types.append("run_completed")
        found = store.cursor("a")
        assert found is not None
        found.scope["types"].append("more")
        assert store.cursor("a") == _cursor("a", types=["run_failed"])

    def test_a_cursor_that_cannot_be_stored_is_refused_with_all_beside_it(self, store: Store) -> None:
        """Nothing of the transaction is there then."""
        store.save_cursors({"a": _cursor("a", 1)})
        with raises(ErrorCode.VALIDATION_ERROR):
            store.save_cursors({"a": _cursor("a", 2), "b": _cursor("b", odd=object())})
        assert store.cursors() == [_cursor("a", 1)]

    def test_a_closed_store_has_no_cursors_to_give(self, store: Store) -> None:
        """It says so."""
        store.save_cursors({"a": _cursor("a", 1)})
        store.close()
        with raises(ErrorCode.STORAGE_CONNECTION_FAILED):
            store.save_cursors({"a": _cursor("a", 2)})
        with raises(ErrorCode.STORAGE_CONNECTION_FAILED):
            store.cursor("a")
        with raises(ErrorCode.STORAGE_CONNECTION_FAILED):
            store.cursors()
        store.open()
        assert store.cursors() == [_cursor("a", 1)]
