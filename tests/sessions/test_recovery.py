"""What a session's core makes of what the journal holds."""

from __future__ import annotations

import pytest

from asm_actors import effects as fx
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.runs.messages import DeadlineReached
from asm_actors.runs.run import RunStatus
from asm_actors.sessions import messages as m
from asm_actors.sessions.open_runs import Ended
from asm_actors.sessions.session import Session, SessionStatus

S = SessionStatus
SUBMITTED = {"submitted": True}
ONCE = {"submitted": True, "once": True}


def restored(bench, status, *runs, cause=None, last_sequence=9, **options):
    """A core that has just read this from the journal, and what it wants done."""
    core = bench(status, **options)
    session = core.state.session.replace(last_sequence=last_sequence)
    core.state.session = Session(id="", agent_id="")
    core.state.holds_slot = False
    records = tuple(run.replace(session_id=session.id) for run in runs)
    effects = core.tell(m.SessionLoaded(session, records, cause))
    return core, effects


@pytest.fixture
def run(bench):
    def make(run_id, status=RunStatus.PENDING, **options):
        made = bench().run(run_id).replace(options=options)
        if status is RunStatus.PENDING:
            return made
        return made.with_status(RunStatus.RUNNING, bench.now).with_status(status, bench.now)

    return make


def test_it_goes_on_counting_where_the_journal_ends(bench):
    core, _ = restored(bench, S.PENDING)
    assert core.state.head == 9


@pytest.mark.parametrize("status", list(S), ids=str)
def test_an_active_session_stands_in_line_for_its_slot(bench, status):
    core, effects = restored(bench, status)
    assert effects == ([fx.AcquireSlot("sessions", wait=True)] if status is S.ACTIVE else [])
    assert not core.state.holds_slot


def test_submitted_runs_are_queued_in_order_and_start_with_the_slot(bench, run):
    core, effects = restored(bench, S.ACTIVE, run("a", **SUBMITTED), run("b", **SUBMITTED), max_concurrent=2)
    assert core.started(effects) == []
    assert list(core.state.queue) == ["a", "b"]
    assert core.started(core.tell(core.granted)) == ["a", "b"]


def test_submitted_runs_of_a_paused_session_wait_for_its_resume(bench, run):
    core, _ = restored(bench, S.PAUSED, run("a", **SUBMITTED))
    core.tell(m.ResumeSession(), "asker")
    assert core.started(core.tell(core.granted)) == ["a"]


def test_more_runs_are_taken_back_than_the_queue_may_hold_now(bench, run):
    core, _ = restored(bench, S.ACTIVE, run("a", **SUBMITTED), run("b", **SUBMITTED), max_queued=0)
    assert list(core.state.queue) == ["a", "b"]


def test_created_runs_wait_to_be_executed(bench, run):
    core, _ = restored(bench, S.ACTIVE, run("a"))
    assert core.started(core.tell(core.granted)) == []
    assert core.started(core.tell(m.ExecuteRun("a"))) == ["a"]


def test_a_run_that_was_under_way_and_may_not_go_on_fails_as_interrupted_which_may_be_tried_again(bench, run):
    core, effects = restored(bench, S.ACTIVE, run("a", RunStatus.RUNNING, on_restart="fail", **SUBMITTED))
    (write,) = core.of(effects, fx.Write)
    assert core.types(effects) == ["run_failed"]
    assert write.drafts[0].data["error_code"] == "interrupted"
    assert write.runs[0].status is RunStatus.FAILED
    assert AsmError(ErrorCode.INTERRUPTED).retryable
    assert core.state.open == {}
    assert core.status is S.ACTIVE


def test_a_run_that_its_own_sessions_crash_interrupted_fails_with_what_caused_it(bench, run):
    cause = AsmError(ErrorCode.STORAGE_WRITE_FAILED, "the disk is full")
    _, effects = restored(bench, S.ACTIVE, run("a", RunStatus.RUNNING), cause=cause)
    assert bench.of(effects, fx.Write)[0].drafts[0].data["error_code"] == "storage_write_failed"


def test_a_run_that_waited_keeps_what_is_left_of_its_time(bench, run):
    deadline_us = bench.now + 11_000_000
    core, effects = restored(bench, S.ACTIVE, run("a", deadline_us=deadline_us, **SUBMITTED))
    assert core.of(effects, fx.SetTimer) == [fx.SetTimer("a", 10.0, DeadlineReached("a"))]


def test_a_run_whose_time_was_over_meanwhile_times_out_at_once(bench, run):
    core, effects = restored(bench, S.ACTIVE, run("a", deadline_us=bench.now - 5, **SUBMITTED))
    assert core.of(effects, fx.SetTimer)[0].delay_s == 0.0
    assert core.types(core.tell(DeadlineReached("a"))) == ["run_timeout"]


def test_the_session_of_run_once_fails_with_its_interrupted_run_in_one_append(bench, run):
    core, effects = restored(
        bench, S.ACTIVE, run("a", RunStatus.RUNNING, **ONCE), rules={"on_restart": "fail"}
    )
    (write,) = core.of(effects, fx.Write)
    assert core.types(effects) == ["run_failed", "session_failed"]
    assert write.session.status is S.FAILED
    assert isinstance(write.then[-1].message, Ended)


def test_the_session_of_run_once_goes_on_if_its_run_had_not_started(bench, run):
    core, _ = restored(bench, S.ACTIVE, run("a", **ONCE))
    core.tell(core.granted)
    assert core.types(core.tell(core.ended("a"))) == ["session_completed"]


@pytest.mark.parametrize("order", [("a", "b", "c"), ("c", "b", "a")])
def test_it_takes_the_other_runs_along_whatever_their_order(bench, run, order):
    records = {
        "a": run("a", RunStatus.RUNNING, **ONCE),
        "b": run("b", RunStatus.RUNNING),
        "c": run("c", **SUBMITTED),
    }
    runs = (records[name] for name in order)
    core, effects = restored(bench, S.ACTIVE, *runs, max_concurrent=3, rules={"on_restart": "fail"})
    assert core.types(effects) == ["run_failed", "run_failed", "run_cancelled", "session_failed"]
    assert core.state.open == {}
    assert core.state.closing is None
    assert core.status is S.FAILED


@pytest.mark.parametrize("status", [S.COMPLETED, S.FAILED, S.CANCELLED], ids=str)
def test_open_runs_of_a_session_that_is_over_are_ended(bench, run, status):
    core, effects = restored(
        bench, status, run("a", **SUBMITTED), run("b", RunStatus.RUNNING, **ONCE), run("c")
    )
    assert core.types(effects) == ["run_failed", "run_failed", "run_failed"]
    assert core.state.open == {}
    assert core.status is status


def test_a_session_that_was_about_to_end_goes_on_and_so_do_its_runs(bench, run):
    core, effects = restored(bench, S.ACTIVE, run("a", RunStatus.RUNNING), run("b"))
    assert core.types(effects) == ["run_recovered"]
    core, _ = restored(bench, S.ACTIVE)
    core.tell(core.granted)
    assert core.types(core.tell(m.CancelSession())) == ["session_cancelled"]


def test_a_pause_or_an_end_before_the_slot_comes_gives_it_back(bench, run):
    for command, status in ((m.PauseSession(), S.PAUSED), (m.CancelSession(), S.CANCELLED)):
        core, _ = restored(bench, S.ACTIVE, run("a", **SUBMITTED))
        core.tell(command)
        assert core.status is status
        effects = core.tell(core.granted)
        assert core.started(effects) == []
        assert core.of(effects, fx.ReleaseSlot)
        assert not core.state.holds_slot
