"""The runtime in `storm`, `single` and `streams`: `run_once` against a journal on the disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import asm_actors as asm
from bench.asm_cases.running import (
    ONCE,
    WorkloadProvider,
    async_system,
    blocking_system,
    check_journal,
    watch_dispatcher,
)
from bench.harness import Meter, Options, Result, measures, scratch

__all__ = ["single", "single_blocking", "storm", "streams"]

#: Runs the sessions on a system, inside the meter, and returns the latencies that count, in seconds.
Drive = Callable[[asm.AsyncActorSystem, int, Meter], Awaitable[list[float]]]


def storm(options: Options) -> Result:
    """Run all sessions at once; latency is a session's, from the storm's start to its result."""
    return _measure(options, options.size("sessions"), _at_once)


def single(options: Options) -> Result:
    """Run the sessions one after another; latency is a session's."""
    return _measure(options, options.size("sessions"), _one_by_one)


def streams(options: Options) -> Result:
    """Run all sessions at once, in pace with their provider; latency is the dispatcher's lateness."""
    return _measure(options, options.size("runs"), _in_pace)


def single_blocking(options: Options) -> Result:
    """Run the sessions one after another on the blocking surface."""
    sessions, work, meter = options.size("sessions"), options.workload(), Meter()
    latencies_s: list[float] = []
    with scratch(options) as directory:
        with blocking_system(directory, options, WorkloadProvider(work)) as system, meter:
            for _ in range(sessions):
                begun = time.perf_counter()
                system.sessions.run_once(**ONCE)
                latencies_s.append(time.perf_counter() - begun)
            meter.sample()
        check_journal(directory, work, sessions)
    return _result(meter, options, sessions, latencies_s)


def _measure(options: Options, sessions: int, drive: Drive) -> Result:
    work, meter = options.workload(), Meter()
    with scratch(options) as directory:

        async def main() -> list[float]:
            async with async_system(directory, options, WorkloadProvider(work)) as system:
                return await drive(system, sessions, meter)

        latencies_s = asyncio.run(main())
        check_journal(directory, work, sessions)
    return _result(meter, options, sessions, latencies_s)


def _result(meter: Meter, options: Options, sessions: int, latencies_s: list[float]) -> Result:
    events = sessions * options.workload().events_per_session
    return measures(meter.measured, sessions=sessions, events=events, latencies_s=latencies_s)


async def _at_once(system: asm.AsyncActorSystem, sessions: int, meter: Meter) -> list[float]:
    latencies_s: list[float] = []
    run_once = system.sessions.run_once

    async def session() -> None:
        await run_once(**ONCE)
        latencies_s.append(time.perf_counter() - begun)

    with meter:
        begun = time.perf_counter()
        await asyncio.gather(*(session() for _ in range(sessions)))
    return latencies_s


async def _one_by_one(system: asm.AsyncActorSystem, sessions: int, meter: Meter) -> list[float]:
    latencies_s: list[float] = []
    with meter:
        for _ in range(sessions):
            begun = time.perf_counter()
            await system.sessions.run_once(**ONCE)
            latencies_s.append(time.perf_counter() - begun)
    return latencies_s


async def _in_pace(system: asm.AsyncActorSystem, sessions: int, meter: Meter) -> list[float]:
    run_once = system.sessions.run_once
    with meter:
        async with watch_dispatcher(system) as lags_s:
            await asyncio.gather(*(run_once(**ONCE) for _ in range(sessions)))
    return lags_s
