"""`asm transcript` and `asm fork`: looking back, and going on from there."""

from __future__ import annotations

import asm_actors as asm


def test_a_transcript_shows_who_said_what(run_asm, journal, names):
    result = run_asm("transcript", names.session(1), "--journal", str(journal))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["     user  hello", "assistant  hello to you"]


def test_a_transcript_as_of_an_event_ends_there(run_asm, journal, names):
    path = ("--journal", str(journal))
    events = run_asm.lines("events", names.session(1), *path)
    pieces = [event["sequence_number"] for event in events if event["type"] == "message_streamed"]
    (_, partial) = run_asm.lines("transcript", names.session(1), *path, "--at", str(pieces[1]))
    assert (partial["content"], partial["is_partial"]) == ("hello ", True)
    shown = run_asm("transcript", names.session(1), *path, "--at", str(pieces[1])).stdout
    assert shown.endswith("assistant  hello  …\n")
    assert run_asm("transcript", names.session(1), *path, "--at", "1").stderr == "nothing was said\n"


def test_a_transcript_can_be_its_last_messages(run_asm, journal, names):
    (last,) = run_asm.lines("transcript", names.session(1), "--journal", str(journal), "--last", "1")
    assert (last["role"], last["content"]) == ("assistant", "hello to you")


def test_there_is_no_transcript_of_what_is_not_there(run_asm, journal, names):
    path = ("--journal", str(journal))
    assert "there is no session ses_none" in run_asm.refused("transcript", "ses_none", *path)
    assert "at must be a sequence number" in run_asm.refused(
        "transcript", names.session(1), *path, "--at", "999"
    )


def test_a_fork_begins_with_the_history_and_is_a_session_like_any_other(run_asm, own_journal, names):
    path = ("--journal", str(own_journal))
    before = run_asm.lines("events", names.session(1), *path)
    result = run_asm("fork", names.session(1), *path, "--at", "4", "--id", "mine")
    assert result.exit_code == 0
    assert f"mine begins with events 1 to 4 of {names.session(1)}" in result.stdout
    events = run_asm.lines("events", "mine", *path)
    assert events[:4] == before[:4]
    assert [(event["type"], event["sequence_number"]) for event in events[4:]] == [("session_forked", 5)]
    assert run_asm("journal", "verify", *path).exit_code == 0
    with asm.ActorSystem.start(own_journal, {"mock": asm.ScriptedProvider()}) as system:
        fork = system.sessions.get_session("mine")
        assert (fork.forked_at, fork.tags, fork.agent_id) == (4, ("kept",), "greeter")
        system.sessions.activate_session("mine")
        run = system.sessions.start_run("mine", "again")
        assert system.sessions.execute_run(run.id).status is asm.RunStatus.COMPLETED


def test_a_fork_is_by_default_of_the_last_event(run_asm, own_journal, names):
    path = ("--journal", str(own_journal))
    last = len(run_asm.lines("events", names.session(1), *path))
    (fork,) = run_asm.lines("fork", names.session(1), *path)
    assert (fork["forked_at"], fork["last_sequence"], fork["parent_session_id"]) == (
        last,
        last + 1,
        names.session(1),
    )
    assert fork["status"] == "pending"


def test_what_cannot_be_forked_is_refused(run_asm, own_journal, names):
    path = ("--journal", str(own_journal))
    n_sessions = len(run_asm.lines("sessions", *path))
    assert "from 1 to" in run_asm.refused("fork", names.session(1), *path, "--at", "999")
    assert "there is no session ses_none" in run_asm.refused("fork", "ses_none", *path)
    assert "already" in run_asm.refused("fork", names.session(1), *path, "--id", names.session(2))
    assert len(run_asm.lines("sessions", *path)) == n_sessions


def test_a_journal_that_a_live_process_holds_is_forked_there(run_asm, children, tmp_path):
    holder, session_id, _ = children.hold(tmp_path / "held")
    line = run_asm.refused("fork", session_id, "--journal", "held", "--at", "2")
    assert f"the process with pid {holder.pid}" in line
    assert f'system.sessions.fork_session("{session_id}", at=2)' in line
