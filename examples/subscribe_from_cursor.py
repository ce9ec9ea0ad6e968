"""Stop reading, come back later, miss nothing and see nothing twice.

A subscriber holds a cursor: the last sequence number it has handled. It may leave and come back with it, also after
the process was started again; backlog and live events come out of the same loop.
"""

from __future__ import annotations

import tempfile

import asm_actors as asm


def main() -> None:
    with tempfile.TemporaryDirectory() as journal:
        providers = {"mock": asm.ScriptedProvider(chunks=["one ", "two ", "three ", "four"])}
        with asm.ActorSystem.start(journal, providers) as system:
            session = system.sessions.start_session(agent_id="counter")
            system.sessions.activate_session(session.id)
            system.sessions.submit_run(session.id, "Count.")
            cursor = read_three(system, session.id)
            print(f"reader leaves; its cursor is {cursor}")

        print("the process ends, another one starts")
        with asm.ActorSystem.start(journal, providers) as system:
            seen = []
            # No event for 100 ms: then it has caught up.
            with system.sessions.subscribe(session.id, after=cursor, timeout=0.1) as subscription:
                for event in subscription:
                    print(f"  {event.sequence_number} {event.type}")
                    seen.append(event.sequence_number)
            assert seen == list(range(cursor + 1, cursor + 1 + len(seen)))
            print(f"reader is back: {len(seen)} events, from {seen[0]} on, none missed, none twice")


def read_three(system: asm.ActorSystem, session_id: str) -> int:
    with system.sessions.subscribe(session_id) as subscription:
        for event in subscription:
            print(f"  {event.sequence_number} {event.type}")
            if event.sequence_number == 3:
                break
    # The place to keep, with whatever was made of the events.
    return 3


if __name__ == "__main__":
    main()
