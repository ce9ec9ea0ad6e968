"""The runtime in `recovery`: what a process that was killed left open is taken up by the next one.

`python -m bench.asm_cases.recovery DIRECTORY OPTIONS` is the process that gets killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import asm_actors as asm
from bench.asm_cases.running import ONCE, WorkloadProvider, async_system, journal_of
from bench.baselines.plain import VerificationError
from bench.harness import Durability, Meter, Options, Result, measures, scratch
from bench.workload import AGENT_ID, CONTEXT, PROMPT, PROVIDER, TAGS, Workload

__all__ = ["prepare", "recovery"]

_READY: Final = "ready"
_GROUP: Final = 500
_PROBES: Final = 20
_LOOK_S: Final = 0.01
_PATIENCE_S: Final = 600.0


def recovery(options: Options) -> Result:
    """Open a journal full of open runs; latency is a new session's, one after another, while those are taken up."""
    runs = options.size("runs")
    with scratch(options) as directory:
        _leave_open(directory, options)
        position, n_open = _look(directory, options)
        if n_open != runs:
            raise VerificationError(f"of {runs} runs {n_open} were open after the kill")
        meter = Meter()
        found = asyncio.run(_recover(directory, options, meter, runs))
        with contextlib.closing(journal_of(directory, options.durability)) as journal:
            journal.open()
            left, events = len(journal.open_runs()), journal.last_position() - position
            failed = len(journal.runs(status=asm.RunStatus.FAILED))
        if left:
            raise VerificationError(f"{left} runs are still open")
    latencies_s, serving_s, recovered_s = found
    return measures(
        meter.measured,
        events=events,
        latencies_s=latencies_s,
        serving_s=round(serving_s, 4),
        recovered_s=round(recovered_s, 4),
        failed=failed,
    )


def _leave_open(directory: Path, options: Options) -> None:
    """Have another process open the runs, and kill it in the middle of them."""
    command = [sys.executable, "-m", __name__, str(directory), options.to_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            if child.stdout.readline().strip() != _READY:
                raise VerificationError("the process that opens the runs ended before it was killed")
        finally:
            child.kill()


def _look(directory: Path, options: Options) -> tuple[int, int]:
    """Return the journal's last position and how many runs are open, without becoming its writer."""
    with contextlib.closing(asm.LmdbStore(directory, readonly=True)) as journal:
        journal.open()
        return journal.last_position(), len(journal.open_runs())


async def _recover(
    directory: Path, options: Options, meter: Meter, runs: int
) -> tuple[list[float], float, float]:
    latencies_s: list[float] = []
    with meter:
        async with async_system(directory, options, WorkloadProvider(options.workload())) as system:
            for _ in range(_PROBES):
                begun = time.perf_counter()
                await system.sessions.run_once(**ONCE)
                latencies_s.append(time.perf_counter() - begun)
                if len(latencies_s) == 1:
                    serving_s = time.perf_counter() - meter.begun_at
            await _all_over(system, runs)
            recovered_s = time.perf_counter() - meter.begun_at
            meter.sample()
    return latencies_s, serving_s, recovered_s


async def _all_over(system: asm.AsyncActorSystem, runs: int) -> None:
    until = time.perf_counter() + _PATIENCE_S
    while time.perf_counter() < until:
        status = await system.sessions.status()
        is_over = status["sessions"]["revived"] >= runs and not status["open_runs"]
        # Sessions that read their records just now are in neither number: the store has the last word.
        if is_over and not await asyncio.to_thread(system.store.open_runs):
            return
        await asyncio.sleep(_LOOK_S)
    raise VerificationError(f"not all runs were over after {_PATIENCE_S:g} s")


# --- The process that gets killed --------------------------------------------------------------------------------


async def prepare(directory: Path, options: Options) -> None:
    """Open the runs, half of them streaming and the others in line; say so, and wait for the end."""
    runs = options.size("runs")
    streaming = max(1, runs // 2)
    provider = WorkloadProvider(Workload(chunks=1, pause_s=1.0), endless=True)
    limits = asm.Limits(max_parallel_sessions=None, max_parallel_runs=streaming)
    async with asm.AsyncActorSystem.start(
        journal=journal_of(directory, options.durability),
        providers={PROVIDER: provider},
        limits=limits,
        durability="commit" if options.durability is Durability.FSYNC else "none",
    ) as system:
        manager = system.sessions

        async def submit() -> None:
            session = await manager.start_session(agent_id=AGENT_ID, context=CONTEXT, tags=TAGS)
            await manager.activate_session(session.id)
            await manager.submit_run(session.id, {"prompt": PROMPT})

        for begin in range(0, runs, _GROUP):
            await asyncio.gather(*(submit() for _ in range(min(_GROUP, runs - begin))))
        await asyncio.to_thread(provider.wait_for, streaming)
        # What was streamed is durable when the answer to a question behind it is.
        await manager.start_session(agent_id=AGENT_ID)
        print(_READY, flush=True)
        await asyncio.sleep(_PATIENCE_S)


if __name__ == "__main__":
    asyncio.run(prepare(Path(sys.argv[1]), Options.from_json(sys.argv[2])))
