"""Journals that are damaged in known ways: what is mended, what is lost and said so, and that the rest serves."""

from __future__ import annotations

import json

import lmdb
import pytest

from asm_actors.errors import ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import Append, Draft
from asm_actors.journal.large import LARGE_FROM
from asm_actors.journal.lmdb_layout import TABLES, number_key, pair_key
from asm_actors.journal.lmdb_rewrite import Contents
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.runs.run import RunStatus
from asm_actors.sessions.session import Session, SessionStatus
from asm_actors.testing.store_builders import (
    NOW,
    block,
    chunks,
    more,
    names,
    new_session,
    numbers,
    put,
    raises,
    run_of,
)
from asm_actors.testing.store_contract_forks import fork

BIG = {"text": "lorem ipsum " * LARGE_FROM}


@pytest.fixture
def make(tmp_path):
    """Makes a store on the test's journal; all are closed at the end."""
    stores = []

    def make_store(**options):
        options.setdefault("durability", "none")
        store = LmdbStore(tmp_path / "journal", **options)
        store.open()
        stores.append(store)
        return store

    yield make_store
    for store in stores:
        store.close()


@pytest.fixture
def change(tmp_path):
    """Changes the values of a table with a function of key and value; None removes the key."""

    def change_values(table, how):
        with lmdb.open(str(tmp_path / "journal"), max_dbs=len(TABLES)) as env, env.begin(write=True) as txn:
            db = env.open_db(table.encode(), txn=txn)
            for key, value in list(txn.cursor(db)):
                changed = how(key, value)
                if changed is None:
                    txn.delete(key, db=db)
                elif changed != value:
                    txn.put(key, changed, db=db)

    return change_values


def flip(value, place):
    place %= len(value)
    return value[:place] + bytes([value[place] ^ 0x55]) + value[place + 1 :]


def once(how):
    """Do something to the first value only."""
    first = iter([True])
    return lambda key, value: how(value) if next(first, False) else value


def nth(number, how):
    """Do something to the n-th value only, from 0."""
    seen = iter(range(1 << 30))
    return lambda key, value: how(value) if next(seen) == number else value


def fill(store):
    """Three sessions in four blocks, with runs, keys and labels, and a fork."""
    run = run_of("a", "r", idempotency_key="q", status=RunStatus.COMPLETED, provider="p", output={"x": 1})
    put(
        store,
        new_session("a", 3, idempotency_key="k", tags=("t",))._replace(runs=(run,)),
        new_session("b", 2),
    )
    put(store, more("b", 2, 2), more("a", 2, 3))
    put(store, Append("b", [], block(), None, (run_of("b", "s"),)), new_session("c", 1))
    put(store, fork("d", "a", 2, 2), more("c", 1, 1))


def crash(store):
    store._let_go()


def contents(store):
    return (
        store.sessions(),
        store.runs(),
        [store.read_session(session.id) for session in store.sessions()],
        store.read_all().events,
        names(store.sessions(tags=["t"])),
        names(store.open_runs()),
        names(store.open_runs("b")),
        store.session_by_key("k"),
        store.run_by_key("a", "q"),
        store.forks_of("a"),
        names(store.sessions(provider="p")),
        store.last_position(),
    )


def repaired(store):
    """Repair, and see that nothing is left to repair."""
    told = store.repair(dry_run=True)
    assert told.dry_run
    report = store.repair()
    assert (report.mended, report.unmended, report.lost) == (told.mended, told.unmended, told.lost)
    again = store.repair()
    assert (again.mended, again.unmended) == ((), ())
    return report


# --- Indexes


@pytest.mark.parametrize("table", ["segments", "members", "open", "names", "marks", "columns", "loose"])
@pytest.mark.parametrize("how", ["first", "all", "changed"])
def test_a_damaged_index_is_built_anew(make, change, table, how):
    store = make()
    fill(store)
    expected = contents(store)
    store.close()
    if how == "changed":
        change(table, once(lambda value: flip(value, 3) if value else None))
    else:
        change(table, once(lambda _: None) if how == "first" else lambda key, value: None)
    store = make()
    assert not store.verify().is_sound
    report = repaired(store)
    assert table in " ".join(report.mended)
    assert (report.unmended, report.lost) == ((), ())
    assert contents(store) == expected
    assert store.verify().problems == ()


@pytest.mark.parametrize("table", ["members", "open", "names", "loose"])
def test_entries_that_lead_to_nothing_are_taken_out(make, change, tmp_path, table):
    store = make()
    fill(store)
    store.close()
    with lmdb.open(str(tmp_path / "journal"), max_dbs=len(TABLES)) as env, env.begin(write=True) as txn:
        stray = {"names": b"s-stray", "loose": number_key(1) + pair_key(1, 9)}.get(table, pair_key(1, 99))
        txn.put(stray, number_key(99) if table == "names" else b"", db=env.open_db(table.encode(), txn=txn))
    store = make()
    assert not store.verify().is_sound
    repaired(store)
    assert store.verify().problems == ()


# --- Records


DAMAGES = {
    "flipped": lambda value: flip(value, 20),
    "gone": lambda value: None,
    "cut short": lambda value: value[:3],
}


@pytest.mark.parametrize("table", ["sessions", "runs"])
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_record_is_restored_from_its_copy_in_the_log(make, change, table, how):
    store = make()
    fill(store)
    expected = contents(store)
    store.close()
    change(table, once(DAMAGES[how]))
    store = make()
    report = repaired(store)
    assert "newest copy" in " ".join(report.mended)
    assert (report.unmended, report.lost) == ((), ())
    assert (report.quarantine is None) is (how == "gone")
    assert contents(store) == expected
    assert store.verify().problems == ()


def without_records(key, value):
    """Take the records out of a block, as if they had never been there."""
    found = Contents.of(value, key)
    found.sessions, found.runs = [], []
    return found.pack()


def test_a_record_without_any_copy_is_rebuilt_from_its_events(make, change):
    store = make()
    created = Draft(EventType.SESSION_CREATED, NOW, None, {"agent_id": "helper", "provider": "p"})
    started = Draft(EventType.RUN_STARTED, NOW + 1, "r")
    ended = Draft(EventType.RUN_FAILED, NOW + 2, "r", {"error_code": "timeout", "error_message": "late"})
    error = {"code": "timeout", "message": "late"}
    run = run_of("a", "r", status=RunStatus.FAILED, started_us=NOW + 1, ended_us=NOW + 2, error=error)
    session = Session("a", "helper", provider="p", created_us=NOW, updated_us=NOW, context={"lost": 1})
    put(store, Append("a", [created, started, ended], block(), session, (run,), 0))
    store.close()
    change("log", without_records)
    for table in ("sessions", "runs"):
        change(table, lambda key, value: flip(value, 9))
    store = make()
    report = repaired(store)
    assert "rebuilt from 3 events of a" in " ".join(report.mended)
    assert "context" in " ".join(report.unmended)
    assert store.session("a") == session.replace(context={}, last_sequence=3)
    assert (store.run("r").status, store.run("r").error) == (RunStatus.FAILED, error)
    assert store.verify().problems == ()


def test_a_session_whose_record_and_name_are_gone_keeps_its_events_under_a_new_one(make, change):
    store = make()
    put(store, new_session("a", 2))
    store.close()
    change("log", without_records)
    for table in ("sessions", "names"):
        change(table, lambda key, value: None)
    store = make()
    report = repaired(store)
    assert "its name" in " ".join(report.unmended)
    (session,) = store.sessions()
    assert numbers(store.read_session(session.id)) == [1, 2]
    assert store.verify().problems == ()


def test_records_that_their_events_contradict_are_rebuilt(make):
    store = make()
    created = Draft(EventType.SESSION_CREATED, NOW, None, {"agent_id": "agent"})
    ended = Draft(EventType.RUN_FAILED, NOW + 2, "r", {"error_code": "timeout", "error_message": "late"})
    drafts = [
        created,
        Draft(EventType.RUN_STARTED, NOW + 1, "r"),
        ended,
        Draft(EventType.SESSION_FAILED, NOW + 3),
    ]
    session = Session("a", "agent", created_us=NOW, updated_us=NOW, context={"kept": BIG})
    run = run_of("a", "r", status=RunStatus.RUNNING, started_us=NOW + 1, input={"kept": 1})
    put(store, Append("a", drafts, block(), session, (run,), 0))
    assert len(store.verify().problems) >= 2
    report = repaired(store)
    assert ["rebuilt from its events" in told for told in report.mended[:2]] == [True, True]
    assert (report.unmended, report.lost) == ((), ())
    assert (store.session("a").status, store.session("a").context) == (SessionStatus.FAILED, {"kept": BIG})
    assert (store.run("r").status, store.run("r").input) == (RunStatus.FAILED, {"kept": 1})
    assert store.open_runs() == []
    assert store.verify().problems == ()


def test_a_run_whose_tokens_differ_from_those_that_its_events_tell_is_counted_again(make):
    store = make()
    used = {"input_tokens": 3, "output_tokens": 5}
    drafts = [
        Draft(EventType.SESSION_CREATED, NOW, None, {"agent_id": "agent"}),
        Draft(EventType.RUN_STARTED, NOW + 1, "r"),
        Draft(EventType.TOKEN_USAGE_UPDATED, NOW + 2, "r", used),
        Draft(EventType.RUN_COMPLETED, NOW + 2, "r", {"num_turns": 1, "token_usage": used}),
    ]
    session = Session("a", "agent", created_us=NOW, updated_us=NOW)
    run = run_of(
        "a",
        "r",
        status=RunStatus.COMPLETED,
        started_us=NOW + 1,
        ended_us=NOW + 2,
        token_usage={"input_tokens": 4},
    )
    put(store, Append("a", drafts, block(), session, (run,), 0))
    (problem,) = store.verify().problems
    assert "run r used {'input_tokens': 4}" in problem
    repaired(store)
    assert store.run("r").token_usage == used
    assert store.verify().problems == ()


# --- The log


def test_a_segment_that_cannot_be_read_is_a_known_hole_and_the_rest_serves(make, change, tmp_path):
    store = make()
    fill(store)
    others = store.read_session("b"), store.read_session("c")
    store.close()
    change("log", nth(1, lambda value: flip(value, value.index(b"chunk 3"))))
    store = make()
    with raises(ErrorCode.STORAGE_READ_FAILED):
        store.read_session("b")
    report = repaired(store)
    (lost,) = report.lost
    assert (lost.session_id, lost.first_sequence, lost.last_sequence) == ("b", 3, 4)
    assert "events 3 to 4 of b are lost" in report.unmended[0]
    assert numbers(store.read_session("b")) == [1, 2]
    assert (store.read_session("b"), store.read_session("c")) == (others[0][:2], others[1])
    assert store.head("b") == 4
    assert put(store, more("b", 1, 4))[0].first_sequence == 5
    checked = store.verify()
    assert (checked.problems, checked.holes) == ((), 2)
    kept = json.loads((tmp_path / "journal" / "quarantine" / "000001.json").read_text())
    assert (kept["table"], report.quarantine) == ("log", str(tmp_path / "journal" / "quarantine"))


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_block_whose_directory_is_damaged_is_taken_apart(make, change, number):
    store = make()
    fill(store)
    expected = contents(store)
    store.close()
    change("log", nth(number, lambda value: flip(value, -3)))
    report = store.repair()
    assert report.lost == ()
    store.open()
    assert contents(store) == expected
    assert store.verify().problems == ()
    store.close()


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_damaged_block_that_was_not_settled_is_taken_apart(make, change, number):
    store = make()
    fill(store)
    expected = contents(store)
    crash(store)
    change("log", nth(number, lambda value: flip(value, -3)))
    with raises(ErrorCode.STORAGE_READ_FAILED):
        store.open()
    report = store.repair()
    assert report.lost == ()
    store.open()
    assert contents(store) == expected
    assert store.verify().problems == ()


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_missing_block_leaves_holes_of_the_sessions_that_it_held(make, change, number):
    store = make()
    fill(store)
    before = {event.position: event for event in store.read_all().events}
    runs = store.runs()
    heads = {session.id: session.last_sequence for session in store.sessions()}
    store.close()
    change("log", nth(number, lambda value: None))
    report = store.repair()
    store.open()
    after = {event.position: event for event in store.read_all().events}
    lost = before.keys() - after.keys()
    assert all(before[position] == event for position, event in after.items())
    assert {(e.session_id, e.sequence_number) for p in lost if (e := before[p])} == {
        (gone.session_id, n)
        for gone in report.lost
        for n in range(gone.first_sequence, gone.last_sequence + 1)
    }
    assert {session.id: session.last_sequence for session in store.sessions()} == heads
    assert store.runs() == runs
    checked = store.verify()
    assert (checked.problems, checked.holes) == ((), len(lost))
    assert put(store, new_session("new", 1))[0].first_position == max(before) + 1


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_missing_block_that_was_not_settled_costs_what_was_in_it_alone(make, change, number):
    store = make()
    fill(store)
    before = {event.position: event for event in store.read_all().events}
    crash(store)
    change("log", nth(number, lambda value: None))
    report = store.repair()
    assert report.unmended or number == 3
    store.open()
    assert store.verify().problems == ()
    for event in store.read_all().events:
        # A name may be lost with its record, never an event that can be read.
        kept = before[event.position]
        assert (event.sequence_number, event.data) == (kept.sequence_number, kept.data)
    put(store, new_session("new", 1))
    assert store.verify().problems == ()


def test_a_last_block_of_which_nothing_can_be_read_goes(make, change):
    store = make()
    fill(store)
    store.close()
    store.open()
    put(store, more("b", 3, 4))
    crash(store)
    change("log", nth(4, lambda value: bytes(len(value))))
    with raises(ErrorCode.STORAGE_READ_FAILED):
        store.open()
    report = store.repair()
    assert "nothing in it can be read" in report.unmended[0]
    store.open()
    assert store.head("b") == 4
    assert store.verify().problems == ()


def test_everything_damaged_at_once_is_mended_at_once(make, change):
    store = make()
    fill(store)
    store.erase_sessions(["c"])
    store.prune_events("b", [1])
    expected = contents(store)
    store.close()
    change("log", nth(0, lambda value: flip(value, -3)))
    change("log", nth(2, lambda value: flip(value, -3)))
    for table in ("segments", "members", "open", "columns", "loose"):
        change(table, lambda key, value: None)
    change("sessions", once(lambda value: flip(value, 9)))
    change("names", once(lambda value: None))
    report = store.repair()
    assert report.lost == ()
    store.open()
    assert contents(store) == expected
    assert store.verify().problems == ()


# --- Large payloads


def put_large(store):
    drafts = [
        Draft(EventType.RUN_STARTED, NOW, "r"),
        Draft(EventType.RUN_COMPLETED, NOW, "r", BIG),
        *chunks(1),
    ]
    run = run_of("a", "r", status=RunStatus.COMPLETED, output={**BIG, "y": 2})
    put(store, Append("a", drafts, block(), Session("a", "agent"), (run,), 0), new_session("b", 1))
    store.settle()


def test_references_to_large_payloads_are_listed_again(make, change):
    store = make()
    put_large(store)
    store.close()
    change("blobs", lambda key, value: value if len(key) == 20 else None)
    store = make()
    assert not store.verify().is_sound
    repaired(store)
    assert store.verify().problems == ()
    assert store.read_session("a")[1].data == BIG


@pytest.mark.parametrize("how", DAMAGES)
def test_a_lost_payload_costs_its_event_and_its_field_alone(make, change, how):
    store = make()
    put_large(store)
    store.close()
    change("blobs", lambda key, value: DAMAGES[how](value) if len(key) == 20 else value)
    store = make()
    assert not store.verify().is_sound
    with raises(ErrorCode.STORAGE_READ_FAILED):
        store.read_session("a")
    report = repaired(store)
    assert [(lost.session_id, lost.first_sequence) for lost in report.lost] == [("a", 2)]
    assert numbers(store.read_session("a")) == [1, 3]
    assert (store.run("r").output, store.run("r").status) == ({}, RunStatus.COMPLETED)
    assert store.verify().problems == ()


# --- What a repair does not do


def test_a_dry_run_changes_nothing(make, change, tmp_path):
    store = make()
    fill(store)
    store.close()
    change("marks", lambda key, value: None)
    change("log", nth(1, lambda value: flip(value, 60)))
    before = (tmp_path / "journal" / "data.mdb").read_bytes()
    report = store.repair(dry_run=True)
    assert report.mended
    assert report.lost
    assert report.quarantine is None
    assert (tmp_path / "journal" / "data.mdb").read_bytes() == before
    assert not (tmp_path / "journal" / "quarantine").exists()


def test_what_cannot_be_set_aside_is_not_changed(make, change, tmp_path):
    store = make()
    fill(store)
    store.close()
    change("log", nth(1, lambda value: flip(value, 60)))
    (tmp_path / "journal" / "quarantine").write_text("in the way")
    before = (tmp_path / "journal" / "data.mdb").read_bytes()
    with raises(ErrorCode.STORAGE_WRITE_FAILED):
        store.repair()
    assert (tmp_path / "journal" / "data.mdb").read_bytes() == before


def test_a_journal_that_is_in_use_is_not_repaired(make, tmp_path):
    fill(make())
    with raises(ErrorCode.JOURNAL_LOCKED):
        LmdbStore(tmp_path / "journal").repair()


def test_progress_is_told(make):
    store = make()
    fill(store)
    steps = []
    store.repair(lambda done, total: steps.append((done, total)))
    assert steps[-1][0] == steps[-1][1] == len(steps) - 1
