"""A run calls tools of the host, and its process is killed in the middle: nothing that was done is done twice.

The model first wants an account looked up, then charges it. The process dies while it charges: the journal knows that
the call had begun, and nobody knows whether it had its effect. So the next process asks (`on_unknown_outcome`), and
goes on when somebody has decided. The look-up, which was completed, is not repeated, and the model is not asked again
for what it had said already.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import asm_actors as asm
from asm_actors.providers.script import Script, text, tool_call


def tools(folder: Path, *, dies: bool) -> list[asm.Tool]:
    @asm.tool(safe_to_repeat=True)
    def look_up(name: str) -> dict[str, str]:
        """Look up a customer's account.

        Args:
            name: The customer's name.
        """
        note(folder, "looked up")
        return {"account": f"{name}'s"}

    @asm.tool
    async def charge(amount: int) -> str:
        """Charge an amount to the account.

        Args:
            amount: Euros.
        """
        if dies:
            print("the process is killed while it charges", flush=True)
            os._exit(9)
        note(folder, "charged")
        return "done"

    return [look_up, charge]


PROVIDER = asm.ScriptedProvider(
    [
        Script(text("Whose account is it? "), tool_call("call_1", "look_up", {"name": "Ann"})),
        Script(text("Now I charge it. "), tool_call("call_2", "charge", {"amount": 42})),
        Script(text("Charged and noted.")),
    ],
    by="turn",
)


def start(folder: Path, *, dies: bool) -> asm.ActorSystem:
    return asm.ActorSystem.start(folder / "journal", {"mock": PROVIDER}, tools=tools(folder, dies=dies))


def first_process(folder: Path) -> None:
    with start(folder, dies=True) as system:
        system.sessions.run_once("Charge Ann 42 euros", provider="mock", on_unknown_outcome="ask")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, __file__, name], check=False)  # noqa: S603 - this very file

        with start(folder, dies=False) as system:
            with system.sessions.subscribe(type="tool_approval_requested") as questions:
                question = next(iter(questions))
            run_id, call = str(question.run_id), question.data
            print(f"the next one asks: {call['tool_name']} {call['tool_input']} ({call['policy_name']})")
            print("somebody looked: it was not charged")
            system.sessions.grant_approval(run_id, call["tool_call_id"], by="bob", reason="I looked")
            result = system.sessions.await_run(run_id)
            print("answer:", result.output["content"])
            done = (folder / "done").read_text().splitlines()
            print(f"looked up {times(done, 'looked up')}, charged {done.count('charged')} time")
            for event in result.events:
                print(f"{event.sequence_number:3} {event.type}")


def note(folder: Path, what: str) -> None:
    with (folder / "done").open("a") as file:
        file.write(f"{what}\n")


def times(done: list[str], what: str) -> str:
    return "once" if done.count(what) == 1 else f"{done.count(what)} times"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        first_process(Path(sys.argv[1]))
    else:
        main()
