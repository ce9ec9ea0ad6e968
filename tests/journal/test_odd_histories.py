"""Short programs of which the store on disk made something else once; random ones found them (`machine/`)."""

from __future__ import annotations

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.append import Append
from asm_actors.journal.large import LARGE_FROM
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.sessions.session import Session
from asm_actors.testing.store_builders import block, chunks, more, names, new_session, numbers, put, run_of
from tests.journal.machine.elsewhere import OtherProcess
from tests.journal.machine.program import failing_write


@pytest.fixture
def store(tmp_path):
    store = LmdbStore(tmp_path / "journal", durability="none")
    store.open()
    yield store
    store.close()


def test_a_reader_elsewhere_follows_a_name_that_was_erased_and_given_again(store):
    """Also a run's name, and idempotency keys."""
    first = new_session("a", 2, idempotency_key="k")._replace(runs=(run_of("a", "r", idempotency_key="q"),))
    put(store, first)
    with OtherProcess() as elsewhere:
        elsewhere.open(store.path)
        assert elsewhere.ask("head", "a") == 2
        store.erase_sessions(["a"])
        put(store, first._replace(base_id=block(), drafts=chunks(1)))
        assert numbers(elsewhere.ask("read_session", "a")) == [1]
        assert elsewhere.ask("run", "r") == store.run("r")
        assert (elsewhere.ask("session_by_key", "k"), elsewhere.ask("run_by_key", "a", "q")) == ("a", "r")
        put(store, more("a", 1, 1))
        assert elsewhere.ask("head", "a") == 2
        elsewhere.close()


def test_a_check_does_not_take_a_records_payload_for_a_blocks(store):
    """Two appends of a session share a block, and its record has a large field by now."""
    put(store, new_session("a", 1), more("a", 1, 1))
    store.settle()
    large = Session("a", "agent", context={"text": "x" * 2 * LARGE_FROM})
    put(store, Append("a", (), block(), large))
    store.settle()
    assert store.verify().problems == ()


@pytest.mark.parametrize("n_events", [0, 3])
def test_a_repair_leaves_out_what_is_being_erased(store, n_events):
    """The disk was full when the log was to be scrubbed; the records were gone by then."""
    put(store, new_session("a", n_events), new_session("b", 1))
    put(store, more("b", 1, 1), Append("a", (), block(), None, (run_of("a", "r"),)))
    store.settle()
    full = AsmError(ErrorCode.STORAGE_WRITE_FAILED, "the disk is full")
    with failing_write(store, 2, full), pytest.raises(AsmError, match="full"):
        store.erase_sessions(["a"])
    report = store.repair()
    assert (report.mended, report.unmended, report.lost) == ((), (), ())
    assert names(store.sessions()) == ["b"]
    found = store.verify()
    assert (found.problems, found.events, found.holes) == ((), 2, n_events)
