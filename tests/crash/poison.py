"""A program whose provider ends the process as soon as it is called. Arguments: the journal's directory, what to do.

``begin`` submits two runs, lets the first one be called, and ends the process. Any other life starts a system that
takes up what is open, and says how each run ended if it lives to see that.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading

import asm_actors as asm

is_first = sys.argv[2] == "begin"
called = threading.Event()


class Poison(asm.BaseProvider):
    async def reply(self, request):
        called.set()
        if not is_first:
            os._exit(9)
        await asyncio.get_running_loop().create_future()
        yield ""


def main():
    with asm.ActorSystem.start(sys.argv[1], {"mock": Poison()}, max_recoveries=1) as system:
        if is_first:
            session = system.sessions.start_session(agent_id="agent")
            system.sessions.activate_session(session.id)
            for _ in range(2):
                system.sessions.submit_run(session.id, "end it all")
            called.wait()
            os._exit(9)
        for run in system.store.runs():
            try:
                system.sessions.await_run(run.id, timeout=60.0)
            except asm.AsmError as error:
                print(run.id, error.code, error.details["recoveries"], flush=True)


main()
