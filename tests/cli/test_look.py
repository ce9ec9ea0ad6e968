"""`asm sessions`, `asm runs`, `asm show`."""

from __future__ import annotations

import json


def test_sessions_come_newest_first(run_asm, journal):
    found = run_asm.lines("sessions", "--journal", str(journal))
    assert [session["agent_id"] for session in found] == ["waiter", "breaker", "greeter"]


def test_a_line_of_sessions_tells_id_status_size_and_agent(run_asm, journal, names):
    line = run_asm("sessions", "--journal", str(journal), "--agent", "greeter").stdout
    assert line.startswith(names.session(1))
    for word in ("completed", " events", "greeter", "[kept]"):
        assert word in line


def test_sessions_can_be_chosen_by_status_agent_tag_and_provider(run_asm, journal):
    def agents(*words):
        return [found["agent_id"] for found in run_asm.lines("sessions", "--journal", str(journal), *words)]

    assert agents("--status", "failed") == ["breaker"]
    assert agents("--status", "failed", "--status", "active") == ["waiter", "breaker"]
    assert agents("--agent", "greeter") == ["greeter"]
    assert agents("--tag", "kept") == ["greeter"]
    assert agents("--provider", "mock") == ["waiter", "breaker", "greeter"]


def test_a_list_that_was_cut_says_how_to_see_more(run_asm, journal):
    result = run_asm("sessions", "--journal", str(journal), "--limit", "2")
    assert len(result.stdout.splitlines()) == 2
    assert "--limit 20" in result.stderr


def test_an_empty_list_says_so_beside_the_output(run_asm, journal):
    result = run_asm("sessions", "--journal", str(journal), "--agent", "nobody")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no sessions match\n"


def test_runs_come_in_order_with_the_reason_of_their_end(run_asm, journal, names):
    lines = run_asm("runs", "--journal", str(journal)).stdout.splitlines()
    assert [line.split()[0] for line in lines] == [names.run(1), names.run(2), names.run(3)]
    assert "provider_error" in lines[1]


def test_runs_can_be_chosen_by_session_status_and_being_open(run_asm, journal, names):
    def ids(*words):
        return [found["id"] for found in run_asm.lines("runs", "--journal", str(journal), *words)]

    assert ids(names.session(2)) == [names.run(2)]
    assert ids("--status", "completed") == [names.run(1)]
    assert ids("--open") == [names.run(3)]
    assert ids("--open", names.session(1)) == []


def test_open_and_status_exclude_each_other(run_asm, journal):
    assert "exclude each other" in run_asm.refused(
        "runs", "--journal", str(journal), "--open", "--status", "failed"
    )


def test_runs_of_an_unknown_session_are_refused_with_the_next_step(run_asm, journal):
    line = run_asm.refused("runs", "ses_none", "--journal", str(journal))
    assert line.startswith("there is no session ses_none")
    assert line.endswith(f"list them with: asm sessions --journal {journal}")


def test_show_tells_a_session_and_its_runs(run_asm, journal, names):
    shown = run_asm("show", names.session(1), "--journal", str(journal)).stdout
    assert "greeter" in shown
    assert f"1 run:\n{names.run(1)}" in shown
    (found,) = run_asm.lines("show", names.session(1), "--journal", str(journal))
    assert (found["kind"], found["id"]) == ("session", names.session(1))
    assert [run["id"] for run in found["runs"]] == [names.run(1)]


def test_show_tells_a_run_with_what_it_said(run_asm, journal, names):
    shown = run_asm("show", names.run(1), "--journal", str(journal)).stdout
    assert "hello to you" in shown
    (found,) = run_asm.lines("show", names.run(1), "--journal", str(journal))
    assert (found["kind"], found["output"]["content"]) == ("run", "hello to you")


def test_show_tells_why_a_run_failed_and_what_it_had_said(run_asm, journal, names):
    (found,) = run_asm.lines("show", names.run(2), "--journal", str(journal))
    assert found["error"]["code"] == "provider_error"
    assert found["output"] == {"content": "half", "partial": True}


def test_show_refuses_a_name_that_is_neither(run_asm, journal):
    assert "there is no session or run nothing" in run_asm.refused(
        "show", "nothing", "--journal", str(journal)
    )


def test_a_journal_is_read_while_another_process_writes_it(run_asm, children, tmp_path):
    holder, session_id, run_id = children.hold(tmp_path / "held")
    assert holder.poll() is None
    (session,) = run_asm.lines("sessions", "--journal", "held")
    (run,) = run_asm.lines("runs", "--journal", "held", "--open")
    assert (session["id"], session["status"]) == (session_id, "active")
    assert (run["id"], run["status"]) == (run_id, "running")


def test_what_would_command_a_terminal_is_not_printed(run_asm, tmp_path):
    import asm_actors as asm

    evil = "\x1b]0;owned\x07\x1b[2Jseen\x9b31m"
    with asm.ActorSystem.start(tmp_path / "evil", {"mock": asm.ScriptedProvider(chunks=[evil])}) as system:
        result = system.sessions.run_once({"prompt": evil})
    for words in (("events",), ("show", result.run_id)):
        printed = run_asm(*words, "--journal", "evil").stdout
        assert "seen" in printed
        assert not {"\x1b", "\x07", "\x9b"} & set(printed)
    (as_json,) = run_asm.lines("show", result.run_id, "--journal", "evil")
    assert as_json["output"]["content"] == evil
    assert json.dumps(as_json)


def test_lists_go_on_where_an_earlier_one_ended(run_asm, journal):
    for command in ("sessions", "runs"):
        whole = [found["id"] for found in run_asm.lines(command, "--journal", str(journal))]
        first = run_asm(command, "--journal", str(journal), "--limit", "2")
        cursor = first.stderr.split("--cursor ")[1].strip()
        rest = run_asm.lines(command, "--journal", str(journal), "--cursor", cursor)
        assert [line.split()[0] for line in first.stdout.splitlines()] == whole[:2]
        assert [found["id"] for found in rest] == whole[2:]
        assert "--cursor" not in run_asm(command, "--journal", str(journal), "--limit", "3").stderr
        assert "this cursor cannot be used" in run_asm.refused(
            command, "--journal", str(journal), "--cursor", "x"
        )


def test_runs_can_be_chosen_by_provider(run_asm, journal, names):
    found = run_asm.lines("runs", "--journal", str(journal), "--provider", "mock", "--status", "completed")
    assert [run["id"] for run in found] == [names.run(1)]
    assert run_asm.lines("runs", "--journal", str(journal), "--provider", "nobody") == []
