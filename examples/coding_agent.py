"""A coding agent that may be trusted: it asks before it edits, keeps to a budget, and what it did can be undone.

It is told to mend a program, and has three tools: to read a file, to edit one, to run the tests. Somebody has to allow
each edit, and to allow it to go on when it has spent its budget. It mends the wrong file; so the files are rolled back,
the conversation is forked at the turn before the mistake, and another run goes on from there.

The model is a mock server that speaks the real API over HTTP: this needs Node.js and npm, and no key.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import asm_actors as asm
from asm_actors.testing.mock_server import MockModelServer, answer, npm_available, tool_calls

PROGRAM = "def mean(values):\n    return sum(values) / (len(values) - 1)\n"
TEST = "from program import mean\n\nassert mean([2, 4]) == 3, mean([2, 4])\nprint('all tests pass')\n"
POLICY = {
    "name": "careful",
    "tool_rules": {"ask": ["edit_file"]},
    "limits": {"max_cost_usd": 0.05},
    "on_violation": "request_approval",
}

# --- What the agent can do -----------------------------------------------------------------------------------------


def tools(folder: Path) -> list[asm.Tool]:
    @asm.tool(safe_to_repeat=True)
    def read_file(path: str) -> str:
        """Read a file."""
        return (folder / path).read_text()

    @asm.tool
    def edit_file(path: str, old: str, new: str) -> str:
        """Put one text of a file in the place of another."""
        file = folder / path
        file.write_text(file.read_text().replace(old, new))
        return "edited"

    @asm.tool(safe_to_repeat=True)
    def run_tests() -> str:
        """Run the tests."""
        done = subprocess.run(
            [sys.executable, "test_program.py"], cwd=folder, capture_output=True, text=True, check=False
        )
        return (done.stdout or done.stderr.splitlines()[-1]).strip()

    return [read_file, edit_file, run_tests]


# --- What the model says -------------------------------------------------------------------------------------------


def says(prompt: str, number: int, *calls: tuple[str, dict[str, Any]], text: str = "") -> dict[str, Any]:
    """Answer a prompt's n-th request, with calls of tools or with text; each costs about two cents."""
    match = {"sequenceIndex": number}
    usage = {"prompt_tokens": 20_000, "completion_tokens": 500}
    if calls:
        return tool_calls(prompt, *calls, usage=usage, match=match)
    return answer(prompt, text, match=match, usage=(20_000, 500))


FIRST, SECOND = "The tests fail. Mend it.", "The tests are right: mend the program."
MODEL = [
    says(FIRST, 0, ("read_file", {"path": "program.py"}), ("read_file", {"path": "test_program.py"})),
    says(FIRST, 1, ("edit_file", {"path": "test_program.py", "old": "== 3", "new": "== 6"})),
    says(FIRST, 2, ("run_tests", {})),
    says(FIRST, 3, text="Done: the test expects 6 now."),
    says(SECOND, 0, ("edit_file", {"path": "program.py", "old": "(len(values) - 1)", "new": "len(values)"})),
    says(SECOND, 1, ("run_tests", {})),
    says(SECOND, 2, text="Done: it divides by the number of values."),
]

# --- Those who decide ----------------------------------------------------------------------------------------------


def work(system: asm.ActorSystem, session_id: str, prompt: str, **options: Any) -> asm.RunResult:
    """Have a prompt answered, and decide about what it asks for."""
    sessions = system.sessions
    run = sessions.submit_run(session_id, prompt, policy=POLICY, **options)
    print(f"\n> {prompt}")
    with sessions.subscribe(session_id=session_id, run_id=run.id) as events:
        for event in events:
            data = event.data
            if event.type == "tool_call_started":
                print(f"  calls {data['tool_name']} {data['tool_input']}")
            elif event.type == "tool_approval_requested":
                print(f"  ? {data['tool_name']}: {data['reason']}")
                over_budget = data["violation_kind"] == "budget_exceeded"
                scope = "run" if over_budget else "once"
                sessions.grant_approval(run.id, data["tool_call_id"], by="ann", scope=scope)
            elif event.type == "tool_approval_granted":
                print(f"  + {data['by']} grants it ({data['scope']})")
            elif event.type == "run_completed":
                break
    result = sessions.await_run(run.id)
    assert result.cost_usd is not None
    print(f"  {result.output['content']} (${result.cost_usd:.3f})")
    return result


def main() -> None:
    if not npm_available():
        sys.exit("this needs Node.js and npm for the mock model server; install them first")
    with tempfile.TemporaryDirectory() as name, MockModelServer(MODEL) as model:
        folder = Path(name, "project")
        folder.mkdir()
        (folder / "program.py").write_text(PROGRAM)
        (folder / "test_program.py").write_text(TEST)
        for command in (
            ["init", "-q"],
            ["add", "."],
            ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "1"],
        ):
            subprocess.run(["git", *command], cwd=folder, check=True)  # noqa: S603, S607 - git
        claude = asm.AnthropicProvider("claude-haiku-4-5", api_key="sk-any", base_url=model.base_url)
        with asm.ActorSystem.start(Path(name, "journal"), {"claude": claude}, tools=tools(folder)) as system:
            mend(system, folder)


def mend(system: asm.ActorSystem, folder: Path) -> None:
    sessions = system.sessions
    session = sessions.start_session(agent_id="coder", context={"system_prompt": "You mend programs."})
    sessions.activate_session(session.id)
    workspace = {"enabled": True, "path": str(folder), "keep_snapshots": True}
    result = work(system, session.id, FIRST, workspace=workspace)
    assert result.workspace is not None
    print("  changed:", result.workspace["diff"]["changed_paths"])

    print("\nthat was the wrong file: roll back, and fork at the turn before")
    before = asm.Snapshot.from_map(result.workspace["before_snapshot"])
    asm.open_workspace(asm.WorkspaceConfig(enabled=True, path=str(folder))).rollback(before)
    turns = sessions.get_session_events(session.id, run_id=result.run_id, type="tool_call_completed")
    fork = sessions.fork_session(session.id, turns[1].sequence_number, tags=["second try"])
    sessions.activate_session(fork.id)

    result = work(system, fork.id, SECOND, workspace=workspace, continuation="replay")
    assert result.workspace is not None
    assert result.continuation is not None
    print(f"  it went on from {result.continuation['messages']} messages ({result.continuation['used']})")
    print("  changed:", result.workspace["diff"]["changed_paths"])
    print(result.workspace["diff"]["patch"])
    costs = system.queries.get_cost_summary(agent_id="coder")
    print(f"both runs cost ${costs.total_cost_usd:.3f}")


if __name__ == "__main__":
    main()
