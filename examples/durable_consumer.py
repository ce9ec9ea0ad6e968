"""A consumer with a name: it is stopped in the middle of its work, and goes on where it had acknowledged.

Whoever bills, indexes or archives must see each event at least once, whatever happens to its process. The journal
remembers under the consumer's name what it acknowledged; what it did not acknowledge comes again.
"""

from __future__ import annotations

import tempfile

import asm_actors as asm


def main() -> None:
    with tempfile.TemporaryDirectory() as journal:
        providers = {"mock": asm.ScriptedProvider()}
        billed: list[str] = []

        with asm.ActorSystem.start(journal, providers) as system:
            for user in ("ada", "ben", "cyn"):
                system.sessions.run_once(f"I am {user}.", agent_id=f"agent-of-{user}")
            bill(system, billed, stop_after=2)
            (info,) = system.sessions.subscriptions()
            print(f"the consumer {info.name!r} is {info.lag} events behind, and its process ends")

        with asm.ActorSystem.start(journal, providers) as system:
            system.sessions.run_once("I am dee.", agent_id="agent-of-dee")
            bill(system, billed)
            print(f"billed: {len(billed)} runs, {len(set(billed))} of them different")
            (info,) = system.sessions.subscriptions()
            print(f"the consumer {info.name!r} is {info.lag} events behind")


def bill(system: asm.ActorSystem, billed: list[str], *, stop_after: int | None = None) -> None:
    # No event for 100 ms: then it has caught up.
    with system.sessions.subscribe(name="billing", type="token_usage_updated", timeout=0.1) as events:
        for event in events:
            tokens = event.data["input_tokens"] + event.data["output_tokens"]
            print(f"  billing {tokens} tokens of the run at position {event.position}")
            billed.append(str(event.run_id))
            if len(billed) == stop_after:
                # As if it crashed here: this run is billed, and nobody will know.
                return
            events.ack(event)
        events.ack()


if __name__ == "__main__":
    main()
