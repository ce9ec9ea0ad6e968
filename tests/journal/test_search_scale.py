"""A search costs what it finds and a little of every 512 records, not what there is; and it is right at the seams."""

from __future__ import annotations

import random
from contextlib import contextmanager

import pytest

from asm_actors.events import EventType
from asm_actors.journal import lmdb_query, lmdb_zones
from asm_actors.journal.append import Append, Draft
from asm_actors.journal.lmdb_layout import CHUNK
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.memory import MemoryStore
from asm_actors.journal.search import EventSearch, RunSearch, SessionSearch
from asm_actors.journal.usage import RunSelection
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.session import Session, SessionStatus

PAGE = 20


class Counted:
    """A transaction, or a cursor, that counts what it is asked for."""

    def __init__(self, inner, steps):
        self._inner, self._steps = inner, steps

    def __getattr__(self, name):
        found = getattr(self._inner, name)
        if name in {"get", "next", "prev", "set_range", "first", "last"}:
            self._steps.append(name)
        elif name == "cursor":
            return lambda *args: Counted(found(*args), self._steps)
        return found


@contextmanager
def counting(store):
    """The steps that a store takes in LMDB within this block."""
    environment, steps = store._environment, []
    begin = environment.begin_reading
    environment.begin_reading = lambda *args: Counted(begin(*args), steps)
    try:
        yield steps
    finally:
        del environment.begin_reading


@pytest.fixture
def store(tmp_path):
    store = LmdbStore(tmp_path / "journal", durability="none")
    store.open()
    yield store
    store.close()


def record(number, **fields):
    """Every 97th session is special in every way that can be searched for."""
    is_rare = number % 97 == 5
    name = f"s{number}"
    session = Session(
        name,
        "rare" if is_rare else "common",
        SessionStatus.FAILED if is_rare else SessionStatus.COMPLETED,
        created_us=1000 + number,
        updated_us=1000 + number * 7 % 5000,
        tags=("rare",) if is_rare else ("common",),
        provider="own" if is_rare else "p",
        **fields,
    )
    run = Run(
        id=f"r{number}",
        session_id=name,
        status=RunStatus.FAILED if is_rare else RunStatus.COMPLETED,
        provider="other" if is_rare else "p",
        started_us=1000 + number,
        token_usage={"input_tokens": 1000 if is_rare else number % 10},
    )
    return Append(name, (), number << 32, session, (run,))


@pytest.mark.parametrize("count", [1500, 6000])
def test_a_search_touches_its_page_and_some_entries_of_each_chunk(store, count):
    store.commit([record(number) for number in range(count)])
    store.settle()
    chunks = count // CHUNK + 1
    rare = {"limit": PAGE}
    for search, ask in [
        *(
            (SessionSearch(**rare, **fields, order_by=order), store.search_sessions)
            for order in ("updated_at_desc", "created_at_asc", "created_at_desc")
            for fields in (
                {},
                {"agent_id": "rare"},
                {"status": "failed"},
                {"tags": "rare"},
                {"provider": "own"},
                {"provider": "other"},
                {"created_after": 2000, "created_before": 2100},
                {"tags": ["common"], "status": "failed"},
            )
        ),
        *(
            (RunSearch(**rare, **fields, order_by=order), store.search_runs)
            for order in ("started_at_desc", "started_at_asc", "token_usage_desc")
            for fields in (
                {},
                {"status": "failed"},
                {"provider": "other"},
                {"session_id": "s5"},
                {"min_tokens": 1000},
                {"started_after": 2000, "started_before": 2100},
            )
        ),
    ]:
        with counting(store) as steps:
            found = ask(search)
        page = len(getattr(found, "sessions", None) or getattr(found, "runs", ()))
        # A record and the end of its session's events; at most five looks into each chunk.
        assert len(steps) <= 5 * chunks + 5 * page + 10, (search, len(steps))


def test_a_sum_reads_what_it_is_about(store):
    store.commit([record(number) for number in range(3000)])
    store.settle()
    for selection in (
        RunSelection(provider="other"),
        RunSelection(agent_id="rare"),
        RunSelection(session_id="s5"),
        RunSelection(since=2000, until=2030),
    ):
        with counting(store) as steps:
            runs = store.usage_summary(selection).run_count
        assert 1 <= runs <= 31
        assert len(steps) <= 5 * (3000 // CHUNK + 1) + 6 * runs + 10, (selection, len(steps))


def test_pages_are_right_where_chunks_meet(store):
    memory = MemoryStore()
    memory.open()
    draw = random.Random(7)
    for begin in range(0, 1300, 100):
        group = [
            Append(
                f"s{n}",
                (),
                n << 32,
                Session(f"s{n}", "agent", created_us=draw.randrange(9), updated_us=draw.randrange(30)),
                (Run(id=f"r{n}", session_id=f"s{n}", created_us=n // 300),),
            )
            for n in range(begin, begin + 100)
        ]
        memory.commit(group)
        store.commit(group)
        if begin < 1100:
            store.settle()
    for kind, orders, method in (
        (SessionSearch, ("updated_at_desc", "created_at_asc", "created_at_desc"), "search_sessions"),
        (RunSearch, ("started_at_asc", "started_at_desc"), "search_runs"),
    ):
        for order in orders:
            cursor = None
            while True:
                search = kind(order_by=order, limit=130, cursor=cursor)
                found = getattr(store, method)(search)
                assert found == getattr(memory, method)(search)
                cursor = found.cursor
                if cursor is None:
                    break


# --- Events


def events_of(number, kind=EventType.MESSAGE_STREAMED, **fields):
    return [Draft(kind, 1000 * number + k, None, {}, **fields) for k in range(20)]


@pytest.fixture
def log(tmp_path):
    """A settled journal of 300 commits with 20 events each, of which the 200th is special."""
    store = LmdbStore(tmp_path / "log", durability="none")
    store.open()
    store.commit([Append("a", (), 1, Session("a", "agent"))])
    for number in range(300):
        special = {"kind": EventType.RUN_FAILED, "provider": "q", "correlation_id": "c"}
        ordinary = {"provider": "p", "correlation_id": f"d{number}"}
        drafts = events_of(number, **(special if number == 200 else ordinary))
        store.commit([Append("a", drafts, (number + 1) << 32)])
    store.close()
    store.open()
    yield store
    store.close()


@pytest.fixture
def segments(monkeypatch):
    """Counts the segments that are decoded."""
    read = []
    unpack = lmdb_query.unpack_segment

    def counted(*args):
        read.append(1)
        return unpack(*args)

    monkeypatch.setattr(lmdb_query, "unpack_segment", counted)
    return read


@pytest.mark.parametrize("order", ["sequence_asc", "timestamp_asc", "timestamp_desc"])
@pytest.mark.parametrize(
    "filters",
    [
        {"types": "run_failed"},
        {"providers": "q"},
        {"correlation_id": "c"},
        {"since": 200_000, "until": 200_999},
        {"types": "run_failed", "since": 100, "providers": ["q", "r"]},
    ],
)
def test_a_search_for_few_events_reads_the_zones_that_may_hold_them(log, segments, order, filters):
    found = log.search_events(EventSearch(order_by=order, **filters)).events
    assert sorted(event.position for event in found) == list(range(4001, 4021))
    zone = lmdb_zones.ZONE_EVENTS // 20 + 1
    # Another zone may look alike by its hashed bits.
    assert 1 <= len(segments) <= 2 * zone


def test_a_search_for_what_is_not_there_reads_nothing(log, segments):
    assert log.count_events(EventSearch(types="run_cancelled")) == 0
    assert log.count_events(EventSearch(since=10**9)) == 0
    assert segments == []


@pytest.mark.parametrize("order", ["sequence_asc", "timestamp_asc", "timestamp_desc"])
def test_the_first_page_of_a_long_journal_reads_a_few_zones(log, segments, order):
    page = log.search_events(EventSearch(order_by=order, limit=10))
    assert len(page.events) == 10
    assert len(segments) <= 2 * (lmdb_zones.ZONE_EVENTS // 20 + 1)
    segments.clear()
    assert len(log.search_events(EventSearch(order_by=order, limit=10, cursor=page.cursor)).events) == 10
    assert len(segments) <= 2 * (lmdb_zones.ZONE_EVENTS // 20 + 1)


def test_what_has_no_zones_yet_is_found_all_the_same(log):
    log.commit([Append("a", events_of(300, EventType.RUN_FAILED), 500 << 32)])
    for order in ("sequence_asc", "timestamp_asc", "timestamp_desc"):
        assert len(log.search_events(EventSearch(types="run_failed", order_by=order)).events) == 40
    assert log.count_events(EventSearch(types="run_failed")) == 40
