"""Stop in order when the platform says so: take nothing new, finish what can be finished, tell what was left.

`run_until_signal` waits for SIGTERM or Ctrl-C, drains within a bound, and stops; a second signal stops at once.

What is left is not lost: it is in the journal, and the next start takes it up.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading

import asm_actors as asm
from asm_actors.providers.script import Script, sleep, stall, text

DRAIN_S = 0.5


def main() -> None:
    with tempfile.TemporaryDirectory() as journal:
        providers = {"mock": asm.ScriptedProvider(answer)}
        system = asm.ActorSystem.start(journal, providers)
        quick = submit(system, "quick")
        slow = submit(system, "slow")

        platform = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
        platform.start()
        report = system.run_until_signal(timeout=DRAIN_S)
        print(f"SIGTERM came; drained for at most {DRAIN_S} s")
        print("finished:", "quick" if quick.id not in report.orphans else "-")
        print("left over:", "slow" if report.orphans == (slow.id,) else report.orphans)

        with asm.ActorSystem.start(journal, providers) as again:
            with again.sessions.subscribe(slow.session_id, type="run_recovered") as subscription:
                event = next(iter(subscription))
            print("the next start took it up again:", event.data["reason"])
            print("what it had said is in the journal:", words_of(again, slow))
            print("it never ends by itself:", again.sessions.cancel_run(slow.id).status)
            print("the quick one says:", again.sessions.get_run(quick.id).output)


def answer(request: asm.TurnRequest) -> Script:
    if request.input == "quick":
        return Script(sleep(0.3), text("Done."))
    return Script(text("I shall never "), stall())


def words_of(system: asm.ActorSystem, run: asm.Run) -> str:
    pieces = system.sessions.get_session_events(run.session_id, run_id=run.id, type="message_streamed")
    return "".join(event.data["content"] for event in pieces)


def submit(system: asm.ActorSystem, question: str) -> asm.Run:
    session = system.sessions.start_session(agent_id=question)
    system.sessions.activate_session(session.id)
    return system.sessions.submit_run(session.id, question)


if __name__ == "__main__":
    main()
