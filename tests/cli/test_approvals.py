"""`asm approvals`: at the process that asks, or on record for its next start."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

import asm_actors as asm
from asm_actors.providers.script import Script, text, tool_call

# Holds the journal, with a run that asks.
ASKER = """
import sys
import asm_actors as asm
from asm_actors.providers.script import Script, text, tool_call

@asm.tool(requires_approval=True)
def send(to: str) -> str:
    return to

provider = asm.ScriptedProvider(Script(tool_call("c1", "send", {"to": "alice"})))
with asm.ActorSystem.start("held", {"mock": provider}, tools=[send]) as system:
    session = system.sessions.start_session(agent_id="a")
    system.sessions.activate_session(session.id)
    run = system.sessions.submit_run(session.id, "send it")
    for event in system.sessions.subscribe(session.id):
        if event.type == "tool_approval_requested":
            break
    print(run.id, flush=True)
    sys.stdin.read()
    system.stop(cancel_runs=True)
"""


class Program:
    """Runs of one tool, `send`, that wants an approval; it notes what was sent."""

    def __init__(self, path: Path) -> None:
        self.path, self.sent = path, []

    @contextlib.contextmanager
    def running(self, policy=None):
        @asm.tool(requires_approval=True)
        def send(to: str) -> str:
            """Send."""
            self.sent.append(to)
            return f"sent to {to}"

        script = [
            Script(tool_call("c1", "send", {"to": "alice"})),
            Script(text("done")),
        ]
        provider = asm.ScriptedProvider(lambda request: script[min(request.turn, 2) - 1])
        with asm.ActorSystem.start(self.path, {"mock": provider}, tools=[send], policy=policy) as system:
            yield system
            system.stop()

    def ask(self, policy=None):
        """Have a run ask, and stop while it waits; return the run's id."""
        with self.running(policy) as system:
            session = system.sessions.start_session(agent_id="a")
            system.sessions.activate_session(session.id)
            run = system.sessions.submit_run(session.id, "send it")
            for event in system.sessions.subscribe(session.id, timeout=20):
                if event.type == "tool_approval_requested":
                    return run.id
        raise AssertionError


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path / "journal")


@pytest.fixture
def asking(program):
    return program.ask()


def test_nothing_is_asked(run_asm, journal):
    result = run_asm("approvals", "--journal", str(journal))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "nobody is asked anything\n")


def test_what_is_asked_is_listed(run_asm, asking):
    (asked,) = run_asm.lines("approvals", "--journal", "journal")
    assert (asked["run_id"], asked["call_id"], asked["tool_input"]) == (asking, "c1", {"to": "alice"})
    result = run_asm("approvals", "--journal", "journal")
    assert result.stdout.startswith(f"{asking}  c1  send  asked ")
    assert '{"to": "alice"}' in result.stdout


@pytest.mark.parametrize("call", [[], ["c1"]])
def test_a_grant_is_what_the_next_start_goes_on_by(run_asm, program, asking, call):
    words = (
        "approvals",
        "grant",
        asking,
        *call,
        "--journal",
        "journal",
        "--by",
        "bob",
        "--reason",
        "looks right",
    )
    result = run_asm(*words)
    assert result.exit_code == 0
    assert result.stdout == f"granted: call c1 of run {asking}; the run goes on when its program is started\n"
    assert run_asm.lines("approvals", "--journal", "journal") == []
    assert run_asm("journal", "verify", "--journal", "journal").exit_code == 0
    with program.running() as system:
        assert system.sessions.await_run(asking, 20).output["content"] == "done"
        (granted,) = [
            one for one in system.sessions.await_run(asking).events if one.type == "tool_approval_granted"
        ]
        assert (granted.data["by"], granted.data["reason"]) == ("bob", "looks right")
        assert system.sessions.get_run(asking).recoveries == 0
    assert program.sent == ["alice"]
    assert run_asm("journal", "verify", "--journal", "journal").exit_code == 0


def test_arguments_can_be_edited(run_asm, program, asking):
    run_asm("approvals", "grant", asking, "--journal", "journal", "--input", '{"to": "carol"}')
    with program.running() as system:
        system.sessions.await_run(asking, 20)
    assert program.sent == ["carol"]


def test_a_grant_for_the_session_stands(run_asm, program, asking):
    (run,) = run_asm.lines("approvals", "grant", asking, "--scope", "session", "--journal", "journal")
    assert run["status"] == "running"
    with program.running() as system:
        system.sessions.await_run(asking, 20)
        again = system.sessions.submit_run(run["session_id"], "send it")
        assert system.sessions.await_run(again.id, 20).output["content"] == "done"
    assert program.sent == ["alice", "alice"]


def test_a_denial_is_told_to_the_model(run_asm, program, asking):
    result = run_asm("approvals", "deny", asking, "--journal", "journal")
    assert result.stdout.startswith("denied: call c1")
    with program.running() as system:
        assert system.sessions.await_run(asking, 20).output["content"] == "done"
    assert program.sent == []


def test_a_secret_in_a_reason_is_not_kept(run_asm, asking):
    run_asm("approvals", "deny", asking, "--journal", "journal", "--reason", "it is sk-ant-api03-" + "a" * 40)
    (denied,) = run_asm.lines("events", "--journal", "journal", "--type", "tool_approval_denied")
    assert denied["data"]["reason"] == "it is [REDACTED]"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["grant", "run_none"], "there is no run run_none"),
        (["grant", "RUN", "c9"], "say about which call of run RUN you decide: c1"),
        (["grant", "RUN", "--input", "{"], "--input is no JSON"),
        (["grant", "RUN", "--input", "[1]"], "--input must be a JSON map"),
        (["grant", "RUN", "--scope", "world"], "'world' is not one of"),
        (["grant", "RUN", "--by", "x" * 300], "by must have at most"),
    ],
)
def test_what_cannot_be_decided_is_refused_and_changes_nothing(run_asm, asking, words, told):
    words = [asking if word == "RUN" else word for word in words]
    assert told.replace("RUN", asking) in run_asm.refused("approvals", *words, "--journal", "journal")
    assert len(run_asm.lines("approvals", "--journal", "journal")) == 1


def test_a_second_decision_is_refused(run_asm, asking):
    run_asm("approvals", "grant", asking, "--journal", "journal")
    line = run_asm.refused("approvals", "deny", asking, "c1", "--journal", "journal")
    assert f"run {asking} is running and asks nothing" in line


def test_a_question_of_a_live_process_names_the_process(run_asm, children):
    asker = children.start("-c", ASKER)
    run_id = asker.stdout.readline().strip()
    (asked,) = run_asm.lines("approvals", "--journal", "held")
    assert asked["run_id"] == run_id
    line = run_asm.refused("approvals", "grant", run_id, "--journal", "held")
    assert f"the process with pid {asker.pid}, which holds the journal at held" in line
    assert f'system.sessions.grant_approval("{run_id}", "c1")' in line


def test_what_a_policy_of_the_whole_system_asks_can_be_decided_too(run_asm, program):
    policy = {
        "tool_rules": [["deny", ["send"]]],
        "on_violation": "request_approval",
        "approval_timeout": None,
    }
    run_id = program.ask(policy=policy)
    (asked,) = run_asm.lines("approvals", "--journal", "journal")
    assert asked["run_id"] == run_id
    assert run_asm("approvals", "grant", run_id, "--journal", "journal").exit_code == 0
    with program.running(policy) as system:
        assert system.sessions.await_run(run_id, 20).output["content"] == "done"
    assert program.sent == ["alice"]
