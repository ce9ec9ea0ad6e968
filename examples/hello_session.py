"""The shortest useful program: one session, one run, its answer.

With a key, say ``asm.AnthropicProvider()`` instead of the scripted provider; nothing else changes.
"""

from __future__ import annotations

import tempfile

import asm_actors as asm


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as journal,
        asm.ActorSystem.start(journal, {"mock": asm.ScriptedProvider()}) as system,
    ):
        sessions = system.sessions
        session = sessions.start_session(agent_id="greeter", context={"system_prompt": "Be brief."})
        sessions.activate_session(session.id)
        run = sessions.start_run(session.id, {"messages": [{"role": "user", "content": "Hello"}]})
        result = sessions.execute_run(run.id)
        print("answer:", result.output["content"])
        print("tokens:", result.token_usage)
        sessions.complete_session(session.id)
        for event in sessions.get_session_events(session.id):
            print(f"{event.sequence_number:>3} {event.type}")


if __name__ == "__main__":
    main()
