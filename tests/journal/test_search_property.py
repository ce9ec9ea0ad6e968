"""What the indexes of the LMDB store find must be what looking at everything finds."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from asm_actors.events import EventType
from asm_actors.journal import lmdb_event_search, lmdb_zones
from asm_actors.journal.append import Append, Draft
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.memory import MemoryStore
from asm_actors.journal.pricing import PricingTable
from asm_actors.journal.search import EventSearch, RunSearch, SessionSearch
from asm_actors.journal.usage import RunSelection
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.session import Session, SessionStatus

SESSIONS = [f"s{n}" for n in range(4)]
RUNS = [f"{session}r{n}" for session in SESSIONS for n in range(2)]
PROVIDERS = ["p", "q"]
TIMES = st.integers(0, 12)
TYPES = [EventType.MESSAGE_STREAMED, EventType.RUN_STARTED, EventType.TOOL_CALL_STARTED]

providers = st.sampled_from([None, *PROVIDERS])
session_records = st.fixed_dictionaries(
    {
        "status": st.sampled_from(list(SessionStatus)[:3]),
        "agent_id": st.sampled_from(["x", "y"]),
        "tags": st.sets(st.sampled_from(["red", "green"])).map(lambda tags: tuple(sorted(tags))),
        "deleted_us": st.sampled_from([None, None, 7]),
        "created_us": TIMES,
        "updated_us": TIMES,
        "provider": providers,
    }
)
run_records = st.fixed_dictionaries(
    {
        "id": st.integers(0, 1),
        "status": st.sampled_from(list(RunStatus)[:3]),
        "provider": providers,
        "created_us": TIMES,
        "started_us": st.none() | TIMES,
        "token_usage": st.sampled_from(
            [{}, {"input_tokens": 3}, {"input_tokens": 1, "output_tokens": 4}, {"total_tokens": 9}]
        ),
        "cost_usd": st.sampled_from([None, 0.25]),
        "provider_metadata": st.sampled_from([{}, {"model": "big-1"}, {"model": "small"}]),
    }
)
drafts = st.builds(
    lambda kind, at, run, provider, correlation: Draft(kind, at, run, {}, {}, provider, correlation),
    st.sampled_from(TYPES),
    TIMES,
    st.sampled_from([None, *RUNS[:2]]),
    providers,
    st.sampled_from([None, None, "c1", "c2"]),
)
appends = st.tuples(
    st.just("append"),
    st.sampled_from(SESSIONS),
    session_records | session_records | st.none(),
    st.lists(run_records, max_size=2, unique_by=lambda run: run["id"]),
    st.lists(drafts, max_size=5),
)
steps = st.lists(
    appends
    | appends
    | appends
    | st.tuples(st.just("settle"), st.sampled_from([1, 2, 5, None]))
    | st.tuples(st.just("reopen"), st.booleans())
    | st.tuples(st.just("erase"), st.sampled_from(SESSIONS))
    | st.tuples(st.just("prune"), st.sampled_from(SESSIONS), st.integers(1, 6)),
    min_size=4,
    max_size=30,
)

# Most searches have one or two filters, for what has many seldom finds anything.
nothing = st.none() | st.none() | st.none()
instants = TIMES | TIMES.map(lambda us: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us))
bounds = nothing | nothing | instants
limits = st.sampled_from([1, 2, 3, 50])


def some(values):
    return nothing | st.sampled_from(values) | st.lists(st.sampled_from(values), min_size=1, max_size=2)


session_searches = st.fixed_dictionaries(
    {
        "agent_id": st.sampled_from([None, None, None, "x", "x", "z"]),
        "status": some(list(SessionStatus)[:3]),
        "provider": nothing | providers,
        "tags": some(["red", "green"]),
        "created_after": bounds,
        "created_before": bounds,
        "include_deleted": st.booleans(),
        "order_by": st.sampled_from(["updated_at_desc", "created_at_asc", "created_at_desc", "?"]),
        "limit": limits,
    }
)
run_searches = st.fixed_dictionaries(
    {
        "session_id": nothing | nothing | st.sampled_from(SESSIONS),
        "provider": providers,
        "status": some(list(RunStatus)[:3]),
        "started_after": bounds,
        "started_before": bounds,
        "min_tokens": nothing | st.sampled_from([0, 3, 5, 20]),
        "order_by": st.sampled_from(["started_at_desc", "started_at_asc", "token_usage_desc"]),
        "limit": limits,
    }
)
event_searches = st.fixed_dictionaries(
    {
        "session_ids": nothing | some([*SESSIONS, "nobody"]),
        "run_ids": nothing | some([*RUNS[:2], "?"]),
        "types": some(TYPES),
        "providers": some([*PROVIDERS, "other"]),
        "since": bounds,
        "until": bounds,
        "correlation_id": st.sampled_from([None, None, "c1", "c9"]),
        "order_by": st.sampled_from(["sequence_asc", "timestamp_asc", "timestamp_desc"]),
        "limit": limits,
    }
)
selections = st.fixed_dictionaries(
    {
        "session_id": nothing | nothing | st.sampled_from(SESSIONS),
        "agent_id": st.sampled_from([None, None, None, "x", "x", "z"]),
        "provider": providers,
        "since": bounds,
        "until": bounds,
    }
)
PRICES = PricingTable.of(
    {"p": {"big": {"input": 0.5, "output": 1.0}}, "unknown": {"input": 2.0, "output": 0.0}}
)


class Pair:
    """Both stores with the same contents."""

    def __init__(self, path, settle_after):
        self._path = path
        self._settle_after = settle_after
        self.memory = MemoryStore()
        self.memory.open()
        self.disk = self._make()
        self._blocks = 0

    def _make(self, **options):
        store = LmdbStore(self._path, durability="none", settle_after=self._settle_after, **options)
        store.open()
        return store

    def do(self, step):
        kind, *arguments = step
        if kind == "append":
            self._append(*arguments)
        elif kind == "settle":
            self.disk.settle(*arguments)
        elif kind == "erase":
            for store in (self.memory, self.disk):
                store.erase_sessions(arguments)
        elif kind == "prune":
            self._prune(*arguments)
        else:
            self._reopen(*arguments)

    def _prune(self, name, sequence):
        if self.memory.has_session(name):
            for store in (self.memory, self.disk):
                store.prune_events(name, [sequence])

    def _append(self, name, fields, runs, drafts):
        self._blocks += 1 << 32
        session = None if fields is None else Session(name, **fields)
        records = tuple(Run(session_id=name, **{**run, "id": f"{name}r{run['id']}"}) for run in runs)
        append = Append(name, drafts, self._blocks, session, records)
        assert str(self.memory.commit([append])) == str(self.disk.commit([append]))

    def _reopen(self, settled):
        if settled:
            self.disk.close()
        else:
            self.disk._let_go()
        self.disk = self._make()

    def close(self):
        self.disk.close()

    @contextmanager
    def follower(self):
        """The same journal as another process reads it."""
        self.disk._let_go()
        store = self._make(readonly=True)
        try:
            yield store
        finally:
            store.close()
            self.disk = self._make()


@contextmanager
def pair_of(steps, settle_after):
    with (
        tempfile.TemporaryDirectory() as path,
        # Zones so small that they begin and end within these few events.
        mock.patch.object(lmdb_zones, "ZONE_EVENTS", 3),
        mock.patch.object(lmdb_zones, "_ZONES_PER_CHUNK", 2),
        mock.patch.object(lmdb_event_search, "_CHUNKS_AT_ONCE", 2),
        mock.patch.object(lmdb_event_search, "_PAGE", 2),
    ):
        pair = Pair(path, settle_after)
        try:
            for step in steps:
                pair.do(step)
            yield pair
        finally:
            pair.close()


def pages(ask, kind, search):
    """All pages of a search, up to the empty one."""
    found = [ask(kind(**search))]
    while found[-1].cursor is not None:
        found.append(ask(kind(**search, cursor=found[-1].cursor)))
        assert len(found) < 1000
    return found


fast = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


@fast
@given(steps, st.sampled_from([0, 3, 1000]), st.data())
def test_every_search_finds_what_looking_at_everything_finds(steps, settle_after, data):
    with pair_of(steps, settle_after) as pair:
        for kind, searches, method in (
            (SessionSearch, session_searches, "search_sessions"),
            (RunSearch, run_searches, "search_runs"),
            (EventSearch, event_searches, "search_events"),
        ):
            for _ in range(3):
                search = data.draw(searches)
                expected = pages(getattr(pair.memory, method), kind, search)
                assert pages(getattr(pair.disk, method), kind, search) == expected
                if kind is EventSearch:
                    count = pair.memory.count_events(kind(**search))
                    assert pair.disk.count_events(kind(**search)) == count
                    assert count == sum(len(page.events) for page in expected)
        assert pair.disk.verify().problems == ()


@fast
@given(steps, st.sampled_from([0, 3, 1000]), selections, st.sampled_from(SESSIONS))
def test_every_sum_is_what_adding_everything_up_gives(steps, settle_after, selection, name):
    with pair_of(steps, settle_after) as pair:
        wanted = RunSelection(**selection)
        assert pair.disk.usage_summary(wanted) == pair.memory.usage_summary(wanted)
        assert pair.disk.cost_summary(wanted, PRICES) == pair.memory.cost_summary(wanted, PRICES)
        if pair.memory.has_session(name):
            assert pair.disk.session_stats(name) == pair.memory.session_stats(name)


@settings(fast, max_examples=60)
@given(steps, session_searches, run_searches, event_searches)
def test_another_process_that_reads_finds_the_same(steps, sessions, runs, events):
    with pair_of(steps, 1000) as pair, pair.follower() as store:
        assert store.search_sessions(SessionSearch(**sessions)) == pair.memory.search_sessions(
            SessionSearch(**sessions)
        )
        assert store.search_runs(RunSearch(**runs)) == pair.memory.search_runs(RunSearch(**runs))
        assert store.search_events(EventSearch(**events)) == pair.memory.search_events(EventSearch(**events))


@pytest.mark.parametrize("kind", ["sessions", "runs", "events"])
def test_a_cursor_is_the_same_text_in_every_store(kind):
    append = (
        "append",
        "s0",
        {"agent_id": "x", "created_us": 1, "updated_us": 2},
        [{"id": 0}],
        [Draft(TYPES[0], 3)],
    )
    with pair_of([append], 1000) as pair:
        found = [
            getattr(store, f"search_{kind}")(
                {"sessions": SessionSearch, "runs": RunSearch, "events": EventSearch}[kind]()
            ).cursor
            for store in (pair.memory, pair.disk)
        ]
    assert found[0] == found[1]
    assert found[0].isascii()
    assert not set(found[0]) & set("+/=")
