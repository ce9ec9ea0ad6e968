"""The runtime in `restart`: supervised actors that crash, one by one, all at once, and again and again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from bench.harness import Meter, Options, Result, measures
from supervisors import Actor, ChildSpec, LoopDispatcher, Supervisor, SupervisorFlags
from supervisors.reports import ChildStarted, Report

__all__ = ["restart"]

#: Rounds in which all children crash at once, for the rate of restarts.
_ROUNDS: Final = 5


class _Crash:
    """Tells a child to crash."""


class _Child(Actor):
    """Crashes when it is told to, and notes when."""

    def __init__(self, number: int, crashed_at: list[float]) -> None:
        super().__init__()
        self._number = number
        self._crashed_at = crashed_at

    def on_receive(self, message: Any) -> None:
        """Crash."""
        self._crashed_at[self._number] = time.perf_counter()
        raise RuntimeError("told to crash")


class _Watch:
    """Waits for replacements. A child counts as back when its name finds the new life."""

    def __init__(self, count: int, dispatcher: LoopDispatcher) -> None:
        self.crashed_at = [0.0] * count
        self.back_at = [0.0] * count
        self._dispatcher = dispatcher
        self._missing = 0
        self._done = threading.Event()

    def report(self, report: Report) -> None:
        """Take a supervisor's report (dispatcher's thread)."""
        if type(report) is ChildStarted and report.restarts:
            number: Any = report.child_id
            assert self._dispatcher.names.whereis(("child", number)) is report.ref
            self.back_at[number] = time.perf_counter()
            self._missing -= 1
            if not self._missing:
                self._done.set()

    def crash(self, numbers: range) -> list[float]:
        """Crash these children, wait until they are back, and return how long each was away, in seconds."""
        self._missing = len(numbers)
        self._done.clear()
        refs: list[Any] = [self._dispatcher.names.whereis(("child", number)) for number in numbers]
        for ref in refs:
            ref.tell(_Crash())
        if not self._done.wait(60.0):
            raise TimeoutError(f"{self._missing} children did not come back")
        return [self.back_at[number] - self.crashed_at[number] for number in numbers]


def restart(options: Options) -> Result:
    """Crash each child by itself, then all at once; latency is from a lone crash to the registered replacement."""
    count, meter = options.size("actors"), Meter()
    with _no_log(), _dispatcher() as dispatcher:
        watch = _Watch(count, dispatcher)
        specs = [
            ChildSpec(number, _Child, (number, watch.crashed_at), name=("child", number))
            for number in range(count)
        ]
        flags = SupervisorFlags(intensity=count * (_ROUNDS + 2), period=3600.0)
        root = dispatcher.start(Supervisor, specs, flags=flags, on_report=watch.report)
        with meter:
            latencies_s = [away for number in range(count) for away in watch.crash(range(number, number + 1))]
        watch.crash(range(count))
        at_once_s = max(watch.back_at) - min(watch.crashed_at)
        begun = time.perf_counter()
        for _ in range(_ROUNDS):
            watch.crash(range(count))
        storm_s = time.perf_counter() - begun
        root.stop()
    return measures(
        meter.measured,
        latencies_s=latencies_s,
        at_once_ms=round(at_once_s * 1000, 4),
        restarts_per_s=round(count * _ROUNDS / storm_s, 1),
    )


@contextmanager
def _dispatcher() -> Iterator[LoopDispatcher]:
    dispatcher = LoopDispatcher("bench").open()
    try:
        yield dispatcher
    finally:
        dispatcher.close()


@contextmanager
def _no_log() -> Iterator[None]:
    # A traceback per crash on the standard error would be the measure of the terminal.
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
