"""What a case needs to measure itself: options, a meter, and the shape of a result.

A case is a function that takes `Options`, does its work inside a `Meter` and returns
`measures(...)`. It may assume that it has a process of its own: `runner.py` starts one for
each case and each repeat, so that no case inherits the heap, the threads or the page tables of
another.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import math
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs

from bench.workload import Workload

__all__ = [
    "LAG_PERIOD_S",
    "CaseFunction",
    "Durability",
    "Measurement",
    "Meter",
    "Options",
    "Result",
    "cpu_seconds",
    "measures",
    "median_of",
    "peak_rss_bytes",
    "percentile",
    "private_bytes",
    "ratio",
    "rss_bytes",
    "scratch",
    "thread_count",
    "watch_lag",
]

#: Seconds between two readings of how late a sleeper wakes.
LAG_PERIOD_S = 0.005

#: One line of output: what was asked for and what was measured.
Result = dict[str, Any]

#: The warm-up's sizes; enough for the interpreter to specialise the code and for pools to fill.
_WARM_UP_ITEMS = 20


class Durability(StrEnum):
    """When an event counts as written."""

    FSYNC = "fsync"
    """On the disk: each commit is synced before anybody hears of it."""
    OS = "os"
    """In the hands of the operating system, which syncs when it likes."""


@attrs.frozen
class Options:
    """What was asked of a bench, the same for each of its cases.

    Args:
        bench: Name of the bench.
        sizes: The bench's sizes by name: `{"sessions": 1000, "chunks": 20}`.
        pause_ms: Milliseconds between two chunks.
        burst: Whether the provider's chunks come without a turn of the loop between them.
        durability: When an event counts as written.
        directory: Where journals are made; the system's temporary directory if it is None.
        journal: A journal that is kept and used again, made if it is not there; None: a new one for each run.
    """

    bench: str
    sizes: Mapping[str, int]
    pause_ms: float = 0.0
    burst: bool = False
    durability: Durability = Durability.FSYNC
    directory: str | None = None
    journal: str | None = None

    def size(self, name: str) -> int:
        """Return the size of that name; KeyError if the bench has none."""
        return self.sizes[name]

    def workload(self) -> Workload:
        """Return the work of one session."""
        return Workload(chunks=self.size("chunks"), pause_s=self.pause_ms / 1000, burst=self.burst)

    def warm_up(self) -> Options:
        """Return the same request at a size that takes milliseconds."""
        sizes = {name: min(size, _WARM_UP_ITEMS) for name, size in self.sizes.items()}
        return attrs.evolve(self, sizes=sizes, pause_ms=min(self.pause_ms, 1.0), journal=None)

    def asked(self) -> Result:
        """Return the part of a result that repeats the request."""
        asked: Result = {"bench": self.bench, **self.sizes}
        if "chunks" in self.sizes:
            asked |= {"pause_ms": self.pause_ms, "burst": self.burst}
        return asked | {"durability": str(self.durability)}

    def to_json(self) -> str:
        """Return the options as a line which `from_json` reads."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Return the options that `to_json` wrote."""
        fields = json.loads(line)
        return cls(**{**fields, "durability": Durability(fields["durability"])})


CaseFunction = Callable[[Options], Result]


@attrs.frozen
class Measurement:
    """What a meter saw between its start and its end.

    Args:
        wall_s: Seconds on the clock.
        cpu_s: Seconds of processor time, user and system, of all threads and of reaped children.
        rss_before: Resident bytes at the start.
        rss_bytes: Resident bytes at the end.
        peak_rss_bytes: The most resident bytes in between (maps of files count as resident).
        threads: The most threads that any sample saw.
    """

    wall_s: float
    cpu_s: float
    rss_before: int
    rss_bytes: int
    peak_rss_bytes: int
    threads: int


class Meter:
    """Measures the block it surrounds; `measured` holds the figures afterwards.

    Setting up, checking and tidying up belong outside of the block. Threads are counted at the
    start, at the end and wherever the case calls `sample`, since a sampling thread would take
    part in what it measures.
    """

    measured: Measurement
    begun_at: float
    """Instant of the start on the performance counter."""

    def __init__(self) -> None:
        self._threads = 0

    def sample(self) -> None:
        """Count the threads now; call it where the case expects most of them."""
        self._threads = max(self._threads, thread_count())

    def __enter__(self) -> Self:
        # What earlier work left behind would otherwise be collected at this block's expense.
        gc.collect()
        _reset_peak_rss()
        self._rss_before = rss_bytes()
        self.sample()
        self._cpu = cpu_seconds()
        self.begun_at = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wall_s = time.perf_counter() - self.begun_at
        cpu_s = cpu_seconds() - self._cpu
        self.sample()
        self.measured = Measurement(
            wall_s=wall_s,
            cpu_s=cpu_s,
            rss_before=self._rss_before,
            rss_bytes=rss_bytes(),
            peak_rss_bytes=peak_rss_bytes(),
            threads=self._threads,
        )


def measures(
    measured: Measurement,
    *,
    sessions: int | None = None,
    events: int | None = None,
    latencies_s: Sequence[float] | None = None,
    **more: Any,
) -> Result:
    """Return the measured part of a result under its agreed names.

    Args:
        measured: The meter's figures.
        sessions: Sessions finished in the measured part, for the rates per session.
        events: Events written in the measured part, for the rates per event.
        latencies_s: What p50, p99 and max are taken of, in seconds; each bench's help says what it is.
        more: Figures of this bench alone.
    """
    found: Result = {} if events is None else {"events": events}
    found |= {"wall_s": round(measured.wall_s, 6), "cpu_s": round(measured.cpu_s, 6)}
    for name, count in (("events", events), ("sessions", sessions)):
        if count is None:
            continue
        found[f"{name}_per_s"] = round(count / measured.wall_s, 1)
        # The kernel counts processor time in ticks on some machines: a tiny part may take none.
        if measured.cpu_s > 0:
            found[f"{name}_per_cpu_s"] = round(count / measured.cpu_s, 1)
    if latencies_s:
        ordered = sorted(latencies_s)
        found["p50_ms"] = round(percentile(ordered, 50) * 1000, 4)
        found["p99_ms"] = round(percentile(ordered, 99) * 1000, 4)
        found["max_ms"] = round(ordered[-1] * 1000, 4)
    found["rss_bytes"] = measured.rss_bytes
    found["peak_rss_bytes"] = measured.peak_rss_bytes
    found["threads"] = measured.threads
    return found | more


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that `percent` of the values do not exceed (nearest rank).

    Raises:
        ValueError: There are no values, or `percent` is not within 0 and 100.
    """
    if not ordered or not 0 <= percent <= 100:
        raise ValueError("a percentile needs values and a percentage from 0 to 100")
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def median_of(results: Sequence[Result]) -> Result:
    """Return one result with the median of each number; everything else is the first one's."""
    merged: Result = {}
    for key, first in results[0].items():
        values = [result[key] for result in results if key in result]
        if isinstance(first, bool) or not isinstance(first, int | float):
            merged[key] = first
        elif isinstance(first, int):
            merged[key] = round(statistics.median(values))
        else:
            merged[key] = statistics.median(values)
    return merged


def ratio(ours: Sequence[Result], theirs: Sequence[Result], key: str) -> float | None:
    """Return how many times `theirs` the figure `key` of `ours` is, or None if one lacks it.

    The results are paired by repeat and the median of the quotients counts: what disturbed the
    machine during one repeat then touches both sides of its quotient alike.
    """
    pairs = [(our.get(key), their.get(key)) for our, their in zip(ours, theirs, strict=True)]
    quotients = [our / their for our, their in pairs if our is not None and their]
    return round(statistics.median(quotients), 3) if quotients else None


async def watch_lag(lags_s: list[float]) -> None:
    """Note, until cancelled, how many seconds later than asked the running loop wakes a sleeper."""
    # Not the loop's own clock: uvloop's counts whole milliseconds.
    clock = time.perf_counter
    while True:
        due = clock() + LAG_PERIOD_S
        await asyncio.sleep(LAG_PERIOD_S)
        lags_s.append(max(0.0, clock() - due))


def cpu_seconds() -> float:
    """Return the processor time of this process, all threads and reaped children, so far."""
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def rss_bytes() -> int:
    """Return this process's resident bytes."""
    return _status("VmRSS") * 1024


def private_bytes() -> int:
    """Return this process's resident bytes without the files it has mapped."""
    return _status("RssAnon") * 1024


def peak_rss_bytes() -> int:
    """Return the most resident bytes since the last meter started."""
    return _status("VmHWM") * 1024


def thread_count() -> int:
    """Return the number of this process's threads, also of those Python does not know."""
    return _status("Threads")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0])
    raise LookupError(f"/proc/self/status has no {field}")


def _reset_peak_rss() -> None:
    # Refused in some containers; the peak then counts from the start of the process.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


@contextlib.contextmanager
def scratch(options: Options) -> Iterator[Path]:
    """Give a case an empty directory for its journal and remove it afterwards."""
    path = Path(tempfile.mkdtemp(prefix="bench-", dir=options.directory))
    try:
        yield path
    finally:
        shutil.rmtree(path)
