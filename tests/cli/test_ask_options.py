"""`asm run`: policies, budgets, and going on with a conversation."""

from __future__ import annotations

import io

import pytest

import asm_actors as asm
from asm_actors.cli.ask import _decide


def ask(run_asm, question, *words):
    result = run_asm("run", "--provider", "mock", question, *words)
    assert result.exit_code == 0, result.output
    return result


def sessions(run_asm):
    return {session["id"]: session for session in run_asm.lines("sessions")}


# --- Going on ------------------------------------------------------------------------------------------------------


def test_a_session_that_is_over_goes_on_in_a_fork(run_asm):
    ask(run_asm, "first")
    (first,) = sessions(run_asm)
    told = ask(run_asm, "second", "--continue", first).stderr
    assert f"{first} is over: this goes on in its fork ses_" in told
    found = sessions(run_asm)
    (fork,) = set(found) - {first}
    assert (found[fork]["parent_session_id"], found[fork]["status"]) == (first, "active")
    (run,) = run_asm.lines("runs", fork)
    assert run["details"]["continuation"]["used"] == "replay"
    said = [message["content"] for message in run_asm.lines("transcript", fork)]
    assert said[0] == "first"
    assert "second" in said


def test_a_session_that_is_not_over_goes_on_itself(run_asm):
    ask(run_asm, "first")
    (first,) = sessions(run_asm)
    ask(run_asm, "second", "--continue", first)
    (fork,) = set(sessions(run_asm)) - {first}
    ask(run_asm, "third", "--continue", fork)
    assert set(sessions(run_asm)) == {first, fork}
    assert [run["status"] for run in run_asm.lines("runs", fork)] == ["completed", "completed"]
    assert sessions(run_asm)[fork]["status"] == "active"


def test_a_failure_leaves_a_session_alone_that_was_there_before(run_asm):
    ask(run_asm, "first")
    (first,) = sessions(run_asm)
    ask(run_asm, "second", "--continue", first)
    (fork,) = set(sessions(run_asm)) - {first}
    result = run_asm("run", "--provider", "mock", "long " * 500, "--continue", fork, "--deadline", "0.2")
    assert result.exit_code == 1
    assert sessions(run_asm)[fork]["status"] == "active"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--continue", "ses_none"], "there is no session ses_none; list them with: asm sessions"),
        (["--continue", "ses_none", "--system", "Be brief."], "--system is for a new session"),
    ],
)
def test_what_cannot_go_on_is_refused(run_asm, words, told):
    ask(run_asm, "first")
    before = sessions(run_asm)
    assert told in run_asm.refused("run", "--provider", "mock", "x", *words)
    assert sessions(run_asm) == before


def test_a_session_that_was_deleted_does_not_go_on(run_asm, tmp_path):
    ask(run_asm, "first")
    (first,) = sessions(run_asm)
    with asm.ActorSystem.start(tmp_path / "var" / "journal", {"mock": asm.ScriptedProvider()}) as system:
        system.sessions.delete_session(first)
    told = run_asm("run", "--provider", "mock", "x", "--continue", first)
    assert told.exit_code == 2
    assert "was deleted and does not go on; ask without --continue, or choose another one: asm" in told.stderr
    assert len(told.stderr.splitlines()) == 1


# --- Policies and budgets ------------------------------------------------------------------------------------------


def test_a_policy_of_a_file_holds(run_asm, tmp_path):
    (tmp_path / "policy.json").write_text('{"name": "tight", "limits": {"max_total_tokens": 5}}')
    result = run_asm("run", "--provider", "mock", "x", "--policy", "policy.json")
    assert result.exit_code == 1
    assert "tight" in result.stderr


def test_a_budget_holds_where_the_price_is_known(run_asm, tmp_path):
    (tmp_path / "asm.toml").write_text("[pricing_table.mock]\ninput = 0.01\noutput = 0.01\n")
    result = run_asm("run", "--provider", "mock", "x", "--config", "asm.toml", "--max-cost", "0.05")
    assert result.exit_code == 1
    assert "policy_violation" in result.stderr
    paid = ask(run_asm, "x", "--config", "asm.toml", "--max-cost", "5")
    assert "$0.3000" in paid.stderr


def test_a_budget_for_a_model_without_a_price_says_so(run_asm):
    assert "nobody knows what mock/scripted costs" in ask(run_asm, "x", "--max-cost", "5").stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--policy", "none.json"], "the policy none.json: there is no such file"),
        (["--policy", "broken.toml"], "the policy broken.toml: it is no TOML"),
        (["--policy", "unknown.toml"], "a policy has no field 'nmae'"),
        (["--policy", "twice.json"], "the policy twice.json: it is no JSON: the key 'name' stands twice"),
        (["--policy", "huge.json"], "the policy huge.json: it holds a number that is too long"),
        (["--max-cost", "0"], "0.0 is not in the range x>0"),
        (["--max-cost", "nan"], "nan is no finite number"),
        (["--max-cost", "1e400"], "inf is no finite number"),
        (["--deadline", "nan"], "nan is no finite number"),
        (["--deadline", "1e400"], "inf is no finite number"),
        (["--deadline", "-1"], "-1.0 is not in the range x>0"),
    ],
)
def test_malformed_options_are_refused_before_anything_begins(run_asm, tmp_path, words, told):
    (tmp_path / "broken.toml").write_text("name = ")
    (tmp_path / "unknown.toml").write_text("nmae = 'x'")
    (tmp_path / "twice.json").write_text('{"name": "a", "name": "b"}')
    (tmp_path / "huge.json").write_text('{"limits": {"max_turns": ' + "9" * 5000 + "}}")
    assert told in run_asm.refused("run", "--provider", "mock", "x", *words)
    assert not (tmp_path / "var").exists()


def test_a_session_that_was_made_for_a_run_which_is_refused_is_ended(run_asm, monkeypatch):
    def refuse(self, *args, **options):
        raise asm.AsmError("overloaded", "not now")

    with monkeypatch.context() as patch:
        patch.setattr("asm_actors.sessions.manager.SessionManager.submit_run", refuse)
        result = run_asm("run", "--provider", "mock", "x")
    assert result.exit_code == 1
    assert "not now" in result.stderr
    (session,) = sessions(run_asm).values()
    assert session["status"] == "cancelled"


# --- Approvals -----------------------------------------------------------------------------------------------------


class _Decided:
    def __init__(self):
        self.calls = []

    def grant_approval(self, run_id, call_id, **told):
        self.calls.append(("grant", run_id, call_id))

    def deny_approval(self, run_id, call_id, **told):
        self.calls.append(("deny", run_id, call_id))
        raise asm.AsmError("invalid_operation", "decided meanwhile")


@pytest.mark.parametrize(
    ("is_there", "answer", "decision"), [(False, "", "deny"), (True, "y\n", "grant"), (True, "n\n", "deny")]
)
def test_who_sits_there_is_asked_about_a_call_and_where_nobody_does_it_is_denied(
    monkeypatch, capsys, is_there, answer, decision
):
    class Stdin(io.StringIO):
        def isatty(self):
            return is_there

    monkeypatch.setattr("sys.stdin", Stdin(answer))
    data = {"tool_call_id": "c1", "tool_name": "send", "tool_input": {"to": "x"}, "question": "May it?"}
    event = asm.Event.new(
        id="evt_1", type="tool_approval_requested", session_id="ses_1", run_id="run_1", now=1, data=data
    )
    decided = _Decided()
    _decide(decided, event)
    assert decided.calls == [(decision, "run_1", "c1")]
    assert ('allow send {"to": "x"}?' in capsys.readouterr().err) is is_there
