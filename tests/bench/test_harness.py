from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import threading
import time

import attrs
import pytest

from bench.harness import (
    Durability,
    Measurement,
    Meter,
    Options,
    measures,
    median_of,
    percentile,
    ratio,
    scratch,
)
from bench.workload import AROUND, Workload, expected_types, stream, stream_blocking

TINY = {"sessions": 3, "runs": 3, "chunks": 2}
MEASURED = Measurement(
    wall_s=2.0, cpu_s=1.0, rss_before=1_000, rss_bytes=3_000, peak_rss_bytes=4_000, threads=5
)


def options(bench: str = "storm", **more) -> Options:
    return Options(**{"bench": bench, "sizes": TINY, **more})


# Figures


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (1, 1), (50, 5), (51, 6), (90, 9), (91, 10), (99, 10), (100, 10)]
)
def test_a_percentile_is_a_value_that_occurred(percent, expected):
    assert percentile(range(1, 11), percent) == expected


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1], -1), ([1], 101)])
def test_a_percentile_of_nothing_or_out_of_range_is_refused(values, percent):
    with pytest.raises(ValueError, match="a percentile needs"):
        percentile(values, percent)


def test_measures_have_the_agreed_names_and_units():
    found = measures(MEASURED, sessions=10, events=260, latencies_s=[0.003, 0.001, 0.002], extra=7)

    assert found == {
        "events": 260,
        "wall_s": 2.0,
        "cpu_s": 1.0,
        "events_per_s": 130.0,
        "events_per_cpu_s": 260.0,
        "sessions_per_s": 5.0,
        "sessions_per_cpu_s": 10.0,
        "p50_ms": 2.0,
        "p99_ms": 3.0,
        "max_ms": 3.0,
        "rss_bytes": 3_000,
        "peak_rss_bytes": 4_000,
        "threads": 5,
        "extra": 7,
    }


def test_measures_leave_out_what_does_not_apply():
    found = measures(attrs.evolve(MEASURED, cpu_s=0.0), events=4)

    assert not {"events_per_cpu_s", "sessions_per_s", "p50_ms"} & found.keys()


def test_the_median_is_taken_of_each_number_and_of_nothing_else():
    results = [
        {"case": "a", "burst": True, "events": 4, "wall_s": wall, "threads": threads}
        for wall, threads in ((1.0, 3), (9.0, 4), (2.0, 8))
    ]

    assert median_of(results) == {"case": "a", "burst": True, "events": 4, "wall_s": 2.0, "threads": 4}


def test_a_ratio_pairs_the_results_of_one_turn():
    ours = [{"rate": 10}, {"rate": 2}, {"rate": 30}]
    theirs = [{"rate": 5}, {"rate": 1}, {"rate": 10}]

    assert ratio(ours, theirs, "rate") == 2.0
    assert ratio(ours, [{}, {}, {}], "rate") is None


# The meter


def test_the_meter_counts_the_processor_time_of_other_threads():
    def burn():
        while time.thread_time() < 0.02:
            pass

    meter = Meter()
    with meter:
        thread = threading.Thread(target=burn)
        thread.start()
        thread.join()

    assert meter.measured.cpu_s >= 0.019


def test_the_meter_counts_the_processor_time_of_reaped_children():
    def of_children():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    meter, before = Meter(), of_children()
    with meter:
        subprocess.run([sys.executable, "-S", "-c", "pass"], check=True)
    of_child = of_children() - before

    assert of_child > 0
    assert meter.measured.cpu_s >= of_child


def test_the_meter_keeps_the_most_threads_that_a_sample_saw():
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    meter = Meter()
    with meter:
        thread.start()
        meter.sample()
        done.set()
        thread.join()
    with (without := Meter()):
        pass

    assert meter.measured.threads == without.measured.threads + 1


def test_the_meter_sees_the_peak_of_what_was_given_back():
    with (meter := Meter()):
        block = bytearray(64 << 20)
        del block

    assert meter.measured.peak_rss_bytes >= meter.measured.rss_before + (60 << 20)
    assert meter.measured.rss_bytes < meter.measured.peak_rss_bytes


# Options and workload


def test_options_survive_the_way_to_the_child():
    asked = options(pause_ms=1.5, durability=Durability.OS, directory="somewhere")

    assert Options.from_json(asked.to_json()) == asked


def test_the_warm_up_is_the_same_request_made_small():
    asked = options(sizes={"sessions": 10_000, "chunks": 3}, pause_ms=50.0)

    assert asked.warm_up() == options(sizes={"sessions": 20, "chunks": 3}, pause_ms=1.0)


def test_the_scratch_directory_is_removed_even_if_the_case_fails(tmp_path):
    with pytest.raises(KeyError), scratch(options(directory=str(tmp_path))) as path:
        (path / "file").touch()
        raise KeyError

    assert list(tmp_path.iterdir()) == []


def test_a_session_of_the_storm_has_twenty_eight_events():
    types = expected_types(Workload())

    assert len(types) == Workload().events_per_session == 28 == 20 + AROUND
    assert types[:2] == ["session_created", "session_started"]
    assert types[-2:] == ["run_completed", "session_completed"]


def test_both_stubs_stream_the_same_texts():
    work = Workload(chunks=30)

    async def collect():
        return [text async for text in stream(work)]

    assert tuple(asyncio.run(collect())) == tuple(stream_blocking(work)) == work.texts
    assert {len(text) for text in work.texts} == {24}


@pytest.mark.parametrize(("burst", "overlap"), [(False, True), (True, False)])
def test_streams_overlap_unless_they_are_bursts(burst, overlap):
    seen = ""

    async def read(name):
        nonlocal seen
        async for _ in stream(Workload(chunks=2, burst=burst)):
            seen += name

    async def both():
        await asyncio.gather(read("a"), read("b"))

    asyncio.run(both())

    assert seen == ("abab" if overlap else "aabb")


@pytest.mark.parametrize("bad", [{"chunks": 0}, {"pause_s": -1.0}, {"burst": True, "pause_s": 1.0}])
def test_a_workload_that_makes_no_sense_is_refused(bad):
    with pytest.raises(ValueError, match=r"a workload needs|a burst has"):
        Workload(**bad)
