"""The runtime in `fanout`: one run streams, and many subscribers follow its session."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final

import asm_actors as asm
from bench.asm_cases.running import WorkloadProvider, async_system, watch_dispatcher
from bench.baselines.plain import VerificationError
from bench.harness import Meter, Options, Result, measures, percentile, scratch
from bench.workload import AGENT_ID, CONTEXT, PROMPT

__all__ = ["alone", "fanout"]

#: Events of the run beside its chunks, and those of the session before it.
_RUN_EVENTS: Final = 5
_BEFORE: Final = 2


class _Readers:
    """Subscribers that read as fast as they can, and what they saw."""

    def __init__(self) -> None:
        self.latencies_s: list[float] = []
        self.delivered = 0
        self.gaps = 0

    async def read(self, subscription: asm.AsyncSubscription) -> None:
        """Read until the run is over."""
        expected = _BEFORE + 1
        while True:
            events = await subscription.pull()
            now_us = time.time_ns() // 1000
            self.latencies_s.append((now_us - events[0].timestamp_us) / 1e6)
            self.delivered += len(events)
            for event in events:
                self.gaps += event.sequence_number != expected
                expected += 1
            if events[-1].type is asm.EventType.RUN_COMPLETED:
                return


def fanout(options: Options) -> Result:
    """Stream one run to all subscribers; latency is from an event's making to a reader."""
    return asyncio.run(_measure(options, options.size("subscribers"), options.size("stalled")))


def alone(options: Options) -> Result:
    """Stream the same run with nobody there."""
    return asyncio.run(_measure(options, 0, 0))


async def _measure(options: Options, subscribers: int, stalled: int) -> Result:
    meter, work, readers = Meter(), options.workload(), _Readers()
    with scratch(options) as directory:
        async with async_system(directory, options, WorkloadProvider(work)) as system:
            manager = system.sessions
            await manager.run_once({"prompt": PROMPT})  # warms the path of the writer up
            session = await manager.start_session(agent_id=AGENT_ID, context=CONTEXT)
            await manager.activate_session(session.id)
            run = await manager.start_run(session.id, {"prompt": PROMPT})
            reading = subscribers - min(stalled, subscribers)
            async with (
                _subscribed(system, session.id, subscribers) as subscriptions,
                watch_dispatcher(system) as lags_s,
            ):
                with meter:
                    tasks = [asyncio.create_task(readers.read(one)) for one in subscriptions[:reading]]
                    await manager.execute_run(run.id)
                    written_s = time.perf_counter() - meter.begun_at
                    await asyncio.gather(*tasks)
    events = work.chunks + _RUN_EVENTS
    if readers.gaps or readers.delivered != reading * events:
        raise VerificationError(f"{readers.delivered} events delivered, {readers.gaps} out of place")
    found = measures(meter.measured, latencies_s=readers.latencies_s)
    found["events_per_s"] = round(events / written_s, 1)
    if reading:
        found["deliveries_per_s"] = round(readers.delivered / meter.measured.wall_s, 1)
    if lags_s:
        found["lag_p99_ms"] = round(percentile(sorted(lags_s), 99) * 1000, 4)
    return found


@contextlib.asynccontextmanager
async def _subscribed(
    system: asm.AsyncActorSystem, session_id: str, count: int
) -> AsyncIterator[list[asm.AsyncSubscription]]:
    """Open subscriptions that have read what there is; some of them will never ask again."""
    async with contextlib.AsyncExitStack() as stack:
        subscriptions = []
        for _ in range(count):
            subscription = await stack.enter_async_context(system.sessions.subscribe(session_id))
            if len(await subscription.pull(timeout=0)) != _BEFORE:
                raise VerificationError("a subscription did not begin with the session's first events")
            subscriptions.append(subscription)
        yield subscriptions
