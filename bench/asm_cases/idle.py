"""The runtime in `idle`: sessions that are active and have nothing to do."""

from __future__ import annotations

import asyncio
import gc
from typing import Final

import asm_actors as asm
from bench.asm_cases.running import WorkloadProvider, async_system
from bench.baselines.plain import VerificationError
from bench.harness import Meter, Options, Result, measures, private_bytes, rss_bytes, scratch
from bench.workload import AGENT_ID, CONTEXT, TAGS, Workload

__all__ = ["idle"]

#: Sessions that are started at once: enough for good group commits.
_GROUP: Final = 1_000
#: Started before anything is measured, so that pools, code and the journal's caches are there.
_BEFORE: Final = 200


def idle(options: Options) -> Result:
    """Start and activate sessions and leave them alone; what counts is the growth of the process."""
    return asyncio.run(_measure(options))


async def _measure(options: Options) -> Result:
    sessions, meter = options.size("sessions"), Meter()
    with scratch(options) as directory:
        async with async_system(directory, options, WorkloadProvider(Workload())) as system:
            await _start(system, _BEFORE)
            gc.collect()
            rss, private = rss_bytes(), private_bytes()
            with meter:
                await _start(system, sessions)
            gc.collect()
            rss, private = rss_bytes() - rss, private_bytes() - private
            status = await system.sessions.status()
            await system.stop()
    live = status["sessions"]["live"]
    if status["active_sessions"] != live or live != sessions + _BEFORE:
        raise VerificationError(f"of {sessions} sessions {live} live")
    return measures(
        meter.measured,
        sessions=sessions,
        bytes_per_session=round(rss / sessions),
        private_bytes_per_session=round(private / sessions),
    )


async def _start(system: asm.AsyncActorSystem, count: int) -> None:
    manager = system.sessions

    async def start() -> None:
        session = await manager.start_session(agent_id=AGENT_ID, context=CONTEXT, tags=TAGS)
        await manager.activate_session(session.id)

    for begin in range(0, count, _GROUP):
        await asyncio.gather(*(start() for _ in range(min(_GROUP, count - begin))))
