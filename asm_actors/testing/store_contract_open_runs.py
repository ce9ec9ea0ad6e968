"""The part of the store contract that tells what is open; see ``asm_actors.testing.store_contract``."""

from __future__ import annotations

from asm_actors.errors import ErrorCode
from asm_actors.journal.append import Append
from asm_actors.journal.store import Store
from asm_actors.runs.run import Run, RunStatus
from asm_actors.testing.store_builders import block, names, new_session, put, raises, run_of

__all__ = ["StoreOpenRunsContract"]


def _write(store: Store, *runs: Run) -> None:
    put(store, *(Append(run.session_id, [], block(), None, (run,)) for run in runs))


class StoreOpenRunsContract:
    """The open runs of one session, as it is revived with them."""

    def test_the_open_runs_of_a_session_are_found_in_the_order_of_their_creation(self, store: Store) -> None:
        """Neither those of others, nor those that are over; before and after they are settled."""
        put(store, new_session("a"), new_session("b"), new_session("c"))
        _write(store, run_of("a", "z"), run_of("b", "x"), run_of("a", "y", status=RunStatus.RUNNING))
        _write(store, run_of("a", "w", status=RunStatus.COMPLETED), run_of("a", "v"))
        for _ in range(2):
            assert names(store.open_runs("a")) == ["z", "y", "v"]
            assert names(store.open_runs("b")) == ["x"]
            assert store.open_runs("c") == []
            store.settle()

    def test_a_run_that_ends_is_no_longer_open(self, store: Store) -> None:
        """Wherever its earlier version is, and where the end is; a run of the same commit is not touched by it."""
        put(store, new_session("a"))
        _write(store, run_of("a", "early"), run_of("a", "late"), run_of("a", "never"))
        _write(store, run_of("a", "early", status=RunStatus.FAILED))
        assert names(store.open_runs("a")) == ["late", "never"]
        store.settle()
        assert names(store.open_runs("a")) == ["late", "never"]
        _write(store, run_of("a", "late", status=RunStatus.RUNNING))
        assert [run.status for run in store.open_runs("a")] == ["running", "pending"]
        _write(store, run_of("a", "late", status=RunStatus.TIMEOUT), run_of("a", "new"))
        for _ in range(2):
            assert names(store.open_runs("a")) == ["never", "new"] == names(store.open_runs())
            store.settle()
        assert store.verify().is_sound

    def test_open_runs_are_there_after_opening_again(self, store: Store) -> None:
        """As one was settled, one was not, and one ended without being settled."""
        put(store, new_session("a"))
        _write(store, run_of("a", "settled"), run_of("a", "over"))
        store.settle()
        _write(store, run_of("a", "over", status=RunStatus.CANCELLED), run_of("a", "waiting"))
        store.close()
        store.open()
        assert names(store.open_runs("a")) == ["settled", "waiting"]

    def test_the_open_runs_of_nobody_are_an_error(self, store: Store) -> None:
        """As is everything else that is asked of a session that is not there."""
        with raises(ErrorCode.SESSION_NOT_FOUND):
            store.open_runs("nobody")
