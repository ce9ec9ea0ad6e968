"""`python -m bench all`: measures every bench at the sizes that matter and prints it as Markdown."""

from __future__ import annotations

import itertools
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs

from bench.cases import BENCHES, cases_of
from bench.harness import Durability, Options, Result, percentile
from bench.report import cell, title_of

__all__ = ["PLAN", "Row", "as_markdown", "machine", "requests"]


@attrs.frozen
class Row:
    """One request of the plan.

    Args:
        bench: The bench.
        figures: The keys that are shown.
        goal: What is to be reached, for the reader.
        sizes: Sizes other than the bench's defaults; several values of one are a request each.
        pause_ms: Milliseconds between two chunks, if not the bench's default.
        burst: Whether the chunks come at once.
        without: Cases that are left out: they would take minutes and tell nothing new.
    """

    bench: str
    figures: tuple[str, ...]
    goal: str
    sizes: Mapping[str, tuple[int, ...]] = {}
    pause_ms: float | None = None
    burst: bool = False
    without: frozenset[str] = frozenset()


_RATES: Final = ("events_per_s", "events_per_cpu_s", "sessions_per_s", "p99_ms", "rss_bytes", "threads")
_LATENCY: Final = ("p50_ms", "p99_ms", "max_ms")
_NO_THREADS: Final = frozenset({"pykka_threads"})

PLAN: Final = (
    Row(
        "storm",
        _RATES,
        "as fast as asyncio_lmdb (0.9 at least), 1.6 times asyncio_sqlite, 8 times pykka_threads; "
        "100,000 events per CPU-second",
    ),
    Row(
        "storm",
        _RATES,
        "the same, and a cost per event that does not depend on the number of sessions",
        sizes={"sessions": (100, 10_000)},
        without=_NO_THREADS,
    ),
    Row("storm", _RATES, "for comparison: chunks that are all there at once", burst=True),
    Row("single", _LATENCY, "p50 at most 1 ms"),
    Row("streams", ("wall_s", "cpu_s", *_LATENCY, "threads"), "1.1 s, 12 threads, loop lag p99 50 ms"),
    Row(
        "streams",
        ("wall_s", "cpu_s", *_LATENCY, "rss_bytes", "threads"),
        "5,000 in 2 s, 10,000 in 4 s, 12 threads",
        sizes={"runs": (5_000, 10_000)},
        without=_NO_THREADS,
    ),
    Row("cancel", (*_LATENCY, "lag_p99_ms", "events_per_s"), "p99 at most 25 ms"),
    Row("idle", ("bytes_per_session", "private_bytes_per_session", "sessions_per_s"), "4 KB a session"),
    Row(
        "restart",
        (*_LATENCY, "at_once_ms", "restarts_per_s"),
        "p50 at most 0.1 ms, 1,000 at once at most 150 ms",
    ),
    Row(
        "fanout",
        ("events_per_s", "deliveries_per_s", *_LATENCY),
        "the writer's rate within 10 % of that without subscribers, p99 at most 50 ms",
    ),
    Row(
        "journal",
        ("events_per_s", "events_per_cpu_s", "p50_ms", "p99_ms"),
        "0.6 of bare_lmdb at least",
        sizes={"batch": (1, 10, 100)},
    ),
    Row(
        "recovery",
        ("serving_s", "recovered_s", "p50_ms", "p99_ms", "events_per_s", "rss_bytes"),
        "serving in less than 2 s",
    ),
    Row(
        "cold",
        (
            "open_s",
            "start_s",
            *_LATENCY,
            "append_per_s",
            "append_to_empty_per_s",
            "append_ratio",
            "private_bytes",
        ),
        "open in less than 1 s, an answer in less than 5 ms, 0.8 of an empty journal's append rate",
    ),
    Row("mailbox", ("messages_per_s", "p50_ms", "p99_ms", "threads"), "200,000 messages/s and more"),
    Row(
        "redaction",
        ("cpu_ratio", "on_us_per_session", "off_us_per_session", "mb_per_s_prose", "mb_per_s_code"),
        "CPU of a storm at most 3 % above one without it",
    ),
)


def requests(
    plan: Sequence[Row], durability: Durability, directory: str | None
) -> Iterator[tuple[Row, Options, tuple[str, ...]]]:
    """Yield each request of a plan with the cases that take part."""
    for row in plan:
        bench = BENCHES[row.bench]
        choices = [row.sizes.get(size.name, (size.default,)) for size in bench.sizes]
        cases = tuple(case for case in cases_of(row.bench, on_request=False) if case not in row.without)
        pause_ms = (bench.pause_ms or 0.0) if row.pause_ms is None else row.pause_ms
        for chosen in itertools.product(*choices):
            sizes = dict(zip((size.name for size in bench.sizes), chosen, strict=True))
            yield row, Options(row.bench, sizes, pause_ms, row.burst, durability, directory), cases


def as_markdown(row: Row, options: Options, results: Sequence[Result]) -> str:
    """Return one request's results as a heading and a table with a column per case."""
    cases = [result["case"] for result in results]
    lines = [
        f"### {title_of(options, results)}",
        "",
        f"Goal: {row.goal}.",
        "",
        _line(["", *cases]),
        _line(["---", *("---:" for _ in cases)]),
    ]
    shown = (key for key in row.figures if any(key in result for result in results))
    lines += (_line([key, *(cell(key, result.get(key)) for result in results)]) for key in shown)
    if any("ratios" in result for result in results):
        by = results[0]["compared_by"]
        ratios = [result.get("ratios", {}).get(cases[0]) for result in results]
        lines.append(_line([f"{by} x {cases[0]}", *("" if one is None else f"{one:.2f}" for one in ratios)]))
    return "\n".join([*lines, ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def machine(directory: str | None) -> str:
    """Return one line about where this runs, and how long a sync to the disk takes there."""
    system, python = f"{platform.system()} {platform.release()}", platform.python_version()
    syncs = sorted(_syncs(directory))
    sync = (
        f"a sync of 4 KB takes {percentile(syncs, 50) * 1000:.2f} ms (p99 {percentile(syncs, 99) * 1000:.2f})"
    )
    return f"{os.cpu_count()} CPUs, {system}, Python {python}; load {os.getloadavg()[0]:.1f} at the start; {sync}"


def _syncs(directory: str | None) -> Iterator[float]:
    """Append to a file and yield how long each sync took, in seconds."""
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(200):
            file.write(bytes(4096))
            file.flush()
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            yield time.perf_counter() - begun
