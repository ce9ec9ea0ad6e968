"""A provider has a defect and dies twice; the tree restarts it, and the run completes.

The run had said nothing when its provider died, so repeating its turn is safe. A run that had said something would
fail with the reason instead: its words are in the journal, and nobody knows whether the model would say them again.
"""

from __future__ import annotations

import logging
import tempfile

import asm_actors as asm
from asm_actors.providers.script import Script, crash, text


def main() -> None:
    # Each report of a supervisor is one log record; without the stack trace here, to keep it short.
    logging.basicConfig(format="log: %(message)s", level=logging.WARNING)
    logging.getLogger().handlers[0].setFormatter(_FirstLine("log: %(message)s"))

    dies_twice = asm.ScriptedProvider(
        [
            Script(crash(RuntimeError("first defect"))),
            Script(crash(RuntimeError("second defect"))),
            Script(text("Third time lucky.")),
        ]
    )
    with (
        tempfile.TemporaryDirectory() as journal,
        asm.ActorSystem.start(journal, {"flaky": dies_twice}) as system,
    ):
        result = system.sessions.run_once("Are you there?", provider="flaky")
        print("answer:", result.output["content"])
        print("the run was tried again", result.run.attempt, "times")
        for event in system.sessions.get_session_events(result.session_id, type="error_occurred"):
            print(f"journal: {event.data['error_message']} (will retry: {event.data['will_retry']})")
        print(system.tree())


class _FirstLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        record.exc_info = record.exc_text = None
        return super().format(record).splitlines()[0]


if __name__ == "__main__":
    main()
