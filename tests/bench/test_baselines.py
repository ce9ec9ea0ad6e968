from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.baselines.asyncio_lmdb import LmdbStore
from bench.baselines.asyncio_program import GroupCommit
from bench.baselines.asyncio_sqlite import SqliteStore
from bench.baselines.plain import Event, VerificationError, verify
from bench.cases import cases_of, load
from bench.harness import Durability, Options
from bench.runner import run_in_child
from bench.workload import AROUND, Workload, expected_types

TINY = {"sessions": 3, "runs": 3, "chunks": 2}


def options(bench: str = "storm", **more) -> Options:
    return Options(**{"bench": bench, "sizes": TINY, **more})


WORK = Workload(chunks=1)
WHOLE = [(name, place, kind) for name in "ab" for place, kind in enumerate(expected_types(WORK), 1)]


def test_a_whole_store_passes_the_check():
    verify(WHOLE, WORK, 2)


@pytest.mark.parametrize(
    "stored",
    [
        [],
        WHOLE[:-1],
        WHOLE[1:],
        WHOLE[:3] + WHOLE[4:],
        WHOLE[:3] + WHOLE[2:],
        [*WHOLE[:2], ("a", 3, "run_completed"), *WHOLE[3:]],
        WHOLE[: len(WHOLE) // 2],
        [*WHOLE, ("c", 1, "session_created")],
        [*WHOLE, ("b", 8, "session_completed")],
    ],
    ids=["nothing", "end", "start", "gap", "double", "type", "session", "rest", "too many"],
)
def test_a_store_that_lacks_something_or_has_more_does_not_pass(stored):
    with pytest.raises(VerificationError):
        verify(stored, WORK, 2)


@pytest.mark.parametrize("open_store", [LmdbStore, SqliteStore])
def test_a_store_gives_back_each_session_in_order_when_it_is_opened_again(open_store, tmp_path):
    keys = [("b", 300), ("b", 2), ("b", 10), ("a", 256), ("a", 1)]
    store = open_store(tmp_path, Durability.FSYNC)
    store.write([store.encode(Event("id", name, place, "t", 0, None, {})) for name, place in keys])
    store.close()

    store = open_store(tmp_path, Durability.FSYNC)
    stored = list(store.stored())
    store.close()

    assert stored == [("a", 1, "t"), ("a", 256, "t"), ("b", 2, "t"), ("b", 10, "t"), ("b", 300, "t")]


class HeldStore:
    """Holds its first commit until it may go on; fails where it is told to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.batches = []
        self.begun = threading.Event()
        self.may_go_on = threading.Event()
        self.fails = fails

    def encode(self, event):
        return event.sequence

    def write(self, rows):
        self.begun.set()
        self.may_go_on.wait()
        if self.fails:
            raise OSError("disk full")
        self.batches.append(rows)


def drive_writer(store):
    """Hand over event 1, events 2 and 3 during its commit; return how the waits for each end."""

    async def drive():
        with ThreadPoolExecutor(1) as executor:
            writer = GroupCommit(store, executor)

            def append(sequence):
                writer.append(Event("id", "a", sequence, "t", 0, None, {}))
                return writer.durable()

            waits = [append(1)]
            await asyncio.get_running_loop().run_in_executor(None, store.begun.wait)
            waits += [append(2), append(3)]
            assert not any(wait.done() for wait in waits)
            store.may_go_on.set()
            ended = await asyncio.gather(*waits, return_exceptions=True)
            return [*ended, *await asyncio.gather(writer.durable(), return_exceptions=True)]

    return asyncio.run(drive())


def test_what_arrives_during_a_commit_is_the_next_batch():
    store = HeldStore()

    assert drive_writer(store) == [None] * 4
    assert store.batches == [[1], [2, 3]]


def test_a_failed_commit_is_told_to_everyone_who_waits_then_or_later():
    assert [str(end) for end in drive_writer(HeldStore(fails=True))] == ["disk full"] * 4


@pytest.mark.parametrize("bench", ["storm", "single", "streams"])
@pytest.mark.parametrize("case", ["asyncio_lmdb", "asyncio_sqlite", "pykka_threads"])
def test_a_baseline_does_its_work_and_leaves_nothing_behind(bench, case, tmp_path):
    found = load(bench, case)(options(bench, directory=str(tmp_path), pause_ms=float(bench == "streams")))

    assert found["events"] == 3 * (2 + AROUND)
    assert found["wall_s"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("durability", list(Durability))
@pytest.mark.parametrize("case", cases_of("storm"))
def test_a_tiny_storm_in_a_process_of_its_own_gives_a_whole_result(case, durability, tmp_path):
    asked = options(sizes={"sessions": 3, "chunks": 2}, directory=str(tmp_path), durability=durability)
    found = run_in_child(case, asked, timeout=60)

    assert list(found)[:4] == ["bench", "case", "sessions", "chunks"]
    assert (found["bench"], found["case"], found["sessions"]) == ("storm", case, 3)
    assert found["durability"] == str(durability)
    assert {"wall_s", "cpu_s", "events_per_s", "sessions_per_s", "p50_ms", "p99_ms", "max_ms"} <= found.keys()
    assert found["threads"] >= (2 if case.startswith("asyncio") else 3)
