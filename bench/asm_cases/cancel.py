"""The runtime in `cancel`: thousands of endless streams, some or all of which are cancelled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import asm_actors as asm
from bench.asm_cases.running import WorkloadProvider, async_system, watch_dispatcher
from bench.baselines.plain import VerificationError
from bench.harness import Meter, Options, Result, measures, percentile, scratch
from bench.workload import AGENT_ID, CONTEXT, PROMPT

__all__ = ["at_once", "one_by_one"]

#: Sessions that are started at once while the bench gets ready.
_GROUP: Final = 500
#: Seconds after which enough runs have been cancelled one by one: a system that is slower than its streams
#: would else take minutes.
_ENOUGH_S: Final = 20.0


def one_by_one(options: Options) -> Result:
    """Cancel some of the runs, each when the one before is done; latency is a cancel's."""
    return asyncio.run(_measure(options, options.size("cancels"), at_once=False))


def at_once(options: Options) -> Result:
    """Cancel all runs at once; latency is a cancel's."""
    return asyncio.run(_measure(options, options.size("runs"), at_once=True))


async def _measure(options: Options, cancels: int, *, at_once: bool) -> Result:
    meter, count = Meter(), options.size("runs")
    provider = WorkloadProvider(options.workload(), endless=True)
    with scratch(options) as directory:
        async with async_system(directory, options, provider) as system:
            runs = await _start(system, count)
            await asyncio.to_thread(provider.wait_for, count)
            chosen = runs[:: max(1, count // cancels)][:cancels]
            before = system.store.last_position()
            async with watch_dispatcher(system) as lags_s:
                with meter:
                    latencies_s = await _cancel(system, chosen, at_once=at_once)
            written = system.store.last_position() - before
            await _check(system, chosen[: len(latencies_s)])
            await system.stop()
    lag_ms = round(percentile(sorted(lags_s), 99) * 1000, 4) if lags_s else None
    return measures(
        meter.measured, events=written, latencies_s=latencies_s, cancelled=len(latencies_s), lag_p99_ms=lag_ms
    )


async def _start(system: asm.AsyncActorSystem, count: int) -> list[asm.Run]:
    manager = system.sessions

    async def start() -> asm.Run:
        session = await manager.start_session(agent_id=AGENT_ID, context=CONTEXT)
        await manager.activate_session(session.id)
        return await manager.submit_run(session.id, {"prompt": PROMPT})

    runs: list[asm.Run] = []
    for begin in range(0, count, _GROUP):
        runs += await asyncio.gather(*(start() for _ in range(min(_GROUP, count - begin))))
    return runs


async def _cancel(system: asm.AsyncActorSystem, runs: Sequence[asm.Run], *, at_once: bool) -> list[float]:
    latencies_s: list[float] = []

    async def cancel(run: asm.Run) -> None:
        begun = time.perf_counter()
        await system.sessions.cancel_run(run.id, reason="bench")
        latencies_s.append(time.perf_counter() - begun)

    if at_once:
        await asyncio.gather(*(cancel(run) for run in runs))
    else:
        for run in runs:
            await cancel(run)
            if sum(latencies_s) > _ENOUGH_S:
                break
    return latencies_s


async def _check(system: asm.AsyncActorSystem, runs: Sequence[asm.Run]) -> None:
    """Look into the journal: a cancelled run has its one ending there, and nothing after it."""
    for run in runs:
        events = await system.sessions.get_session_events(run.session_id, run_id=run.id)
        ends = [event.sequence_number for event in events if event.type is asm.EventType.RUN_CANCELLED]
        if ends != [events[-1].sequence_number]:
            raise VerificationError(f"run {run.id} of {len(events)} events was cancelled at {ends}")
