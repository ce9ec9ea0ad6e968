"""An assistant takes a wrong turn; its session is forked at the turn before, and two other answers are tried.

A fork shares the history up to an event and goes on by itself. Nothing is copied, and the session that it comes from
stays as it was: all three conversations are there afterwards.
"""

from __future__ import annotations

import tempfile

import asm_actors as asm
from asm_actors.providers.script import Script, text

ANSWERS = {
    "Plan a weekend in Rome.": "Saturday: the Forum. Sunday: the Vatican.",
    "Shorter.": "Sorry, I have deleted the plan.",
    "Make it one line.": "Forum on Saturday, Vatican on Sunday.",
    "Only Saturday, please.": "Saturday: the Forum.",
}


def answer(request: asm.TurnRequest) -> Script:
    return Script(text(ANSWERS[request.input], size=8))


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as journal,
        asm.ActorSystem.start(journal, {"guide": asm.ScriptedProvider(answer)}) as system,
    ):
        sessions = system.sessions
        trip = sessions.start_session(agent_id="guide", context={"system_prompt": "Plan trips."})
        sessions.activate_session(trip.id)
        say(system, trip.id, "Plan a weekend in Rome.")
        good = sessions.get_session(trip.id).last_sequence
        say(system, trip.id, "Shorter.")
        show(system, "as it went", trip.id)

        print(f"the mistake came after event {good}; two forks go on from there")
        for name, ask in (("one line", "Make it one line."), ("one day", "Only Saturday, please.")):
            fork = sessions.fork_session(trip.id, good, tags=[name])
            sessions.activate_session(fork.id)
            say(system, fork.id, ask)
            show(system, name, fork.id)

        then = sessions.transcript(trip.id, good)
        print(f"as of event {good} the first one had {len(then.messages)} messages, now it has", end=" ")
        print(len(sessions.transcript(trip.id).messages))
        print("its forks:", [fork.tags[0] for fork in sessions.list_sessions(parent_session_id=trip.id)])


def say(system: asm.ActorSystem, session_id: str, words: str) -> None:
    run = system.sessions.start_run(session_id, words)
    system.sessions.execute_run(run.id)


def show(system: asm.ActorSystem, name: str, session_id: str) -> None:
    print(f"{name}:")
    for message in system.sessions.transcript(session_id).messages:
        print(f"  {message.role.value:>9}: {message.content}")


if __name__ == "__main__":
    main()
