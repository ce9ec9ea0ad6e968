"""`asm cancel`: at the process that holds the run, or for good."""

from __future__ import annotations

import asm_actors as asm


def test_a_run_of_a_live_process_is_refused_and_names_the_process(run_asm, children, tmp_path):
    holder, _, run_id = children.hold(tmp_path / "held")
    line = run_asm.refused("cancel", run_id, "--journal", "held")
    assert f"the process with pid {holder.pid}" in line
    assert f'system.sessions.cancel_run("{run_id}")' in line
    assert run_asm.lines("runs", "--journal", "held")[0]["status"] == "running"


def test_an_open_run_that_nobody_holds_is_ended_for_good(run_asm, own_journal, names):
    path = str(own_journal)
    (final,) = run_asm.lines("cancel", names.run(3), "--journal", path, "--reason", "not needed")
    assert (final["status"], final["error"]["code"]) == ("cancelled", "cancelled")
    (end,) = run_asm.lines("events", "--journal", path, "--run", names.run(3), "--type", "run_cancelled")
    assert end["data"]["reason"] == "not needed"
    assert end["data"]["partial_content"] is False
    assert run_asm.lines("runs", "--journal", path, "--open") == []
    assert run_asm("journal", "verify", "--journal", path).exit_code == 0


def test_what_was_cancelled_so_is_not_taken_up_by_the_next_start(run_asm, own_journal, names):
    run_asm("cancel", names.run(3), "--journal", str(own_journal))
    with asm.ActorSystem.start(own_journal, {"mock": asm.ScriptedProvider()}) as system:
        assert system.sessions.get_run(names.run(3)).status is asm.RunStatus.CANCELLED
        assert system.sessions.status()["open_runs"] == 0
        # Its session is open, as after a live cancel, and takes the next run.
        run = system.sessions.start_run(names.session(3), "again")
        assert system.sessions.execute_run(run.id).status is asm.RunStatus.COMPLETED


def test_the_session_of_a_run_that_died_with_its_process_ends_as_it_would_have_live(
    run_asm, children, tmp_path
):
    died = children.start(
        "-c",
        "import os, sys, threading\n"
        "import asm_actors as asm\n"
        "from asm_actors.providers.script import Script, stall, text\n"
        "system = asm.ActorSystem.start('died', {'mock': asm.ScriptedProvider(Script(text('half'), stall()))})\n"
        "threading.Thread(target=lambda: system.sessions.run_once('x'), daemon=True).start()\n"
        "for event in system.sessions.subscribe():\n"
        "    if event.type == 'message_streamed':\n"
        "        os.kill(os.getpid(), 9)\n",
    )
    died.wait()
    (run,) = run_asm.lines("runs", "--journal", "died", "--open")
    assert run["status"] == "running"
    assert run_asm("cancel", run["id"], "--journal", "died").exit_code == 0
    found = run_asm.lines("events", run["session_id"], "--journal", "died")
    assert [event["type"] for event in found[-2:]] == ["run_cancelled", "session_cancelled"]
    assert found[-2]["data"]["partial_content"] is True
    assert run_asm.lines("sessions", "--journal", "died")[0]["status"] == "cancelled"


def test_a_run_that_is_over_stays_as_it_is(run_asm, own_journal, names):
    before = run_asm.lines("events", "--journal", str(own_journal))
    result = run_asm("cancel", names.run(1), "--journal", str(own_journal))
    assert result.exit_code == 0
    assert result.stdout == f"{names.run(1)} was over already: completed\n"
    assert run_asm.lines("events", "--journal", str(own_journal)) == before


def test_an_unknown_run_is_refused(run_asm, journal):
    assert "there is no run run_none" in run_asm.refused("cancel", "run_none", "--journal", str(journal))
