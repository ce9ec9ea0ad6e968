"""Five runs, two slots: two work, three wait in line, and each end lets the next one in.

A slot is held by the run's actor and freed by its exit, however it exits, so none is ever lost.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading

import asm_actors as asm
from asm_actors.providers.script import Script, sleep, text, wait


class Door:
    """Keeps the runs inside until all five are there, so that this prints the same each time."""

    def __init__(self) -> None:
        self._is_open = threading.Event()

    def open(self) -> None:
        self._is_open.set()

    async def wait(self) -> object:
        return await asyncio.to_thread(self._is_open.wait)


def main() -> None:
    door = Door()
    provider = asm.ScriptedProvider(Script(wait(door), text("Thinking. "), sleep(0.02), text("Done.")))
    with (
        tempfile.TemporaryDirectory() as journal,
        asm.ActorSystem.start(journal, {"mock": provider}, asm.Limits(max_parallel_runs=2)) as system,
    ):
        sessions = system.sessions
        runs = []
        for number in range(1, 6):
            session = sessions.start_session(agent_id=f"agent-{number}")
            sessions.activate_session(session.id)
            runs.append(sessions.submit_run(session.id, f"question {number}"))
        names = {run.id: f"run {number}" for number, run in enumerate(runs, start=1)}

        status = sessions.status()
        print(f"{status['active_runs']} runs work, {status['waiting_runs']} wait")
        door.open()
        working: set[str] = set()
        ended = 0
        with sessions.subscribe(type=["run_started", "run_completed"]) as subscription:
            for event in subscription:
                name = names[event.run_id or ""]
                if event.type is asm.EventType.RUN_STARTED:
                    working.add(name)
                else:
                    working.remove(name)
                    ended += 1
                print(f"{event.type:<14} {name}   at work: {', '.join(sorted(working)) or '-'}")
                assert len(working) <= 2
                if ended == len(runs):
                    break
        print("never more than two at once")


if __name__ == "__main__":
    main()
