"""What comes after the last turn of a run with files: what is on record when, and what becomes of a stop."""

from __future__ import annotations

import pytest

from asm_actors import effects as fx
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.runs import state as core
from asm_actors.runs.messages import CancelRun, DeadlineReached, Durable, RunAppends, RunBarrier

FILES = {"backend": "git", "before_ref": "ref_1", "before_snapshot": {"id": "snap_1"}}
DONE = {**FILES, "after_ref": "ref_2", "diff": {"files_changed": 1}, "to_release": ["before_snapshot"]}
TAKEN = {"label": "after", "backend": "git", "ref": "ref_2"}
DIFF = {"files_changed": 1, "insertions": 1, "deletions": 0, "has_patch": True}
BOOM = AsmError(ErrorCode.PROVIDER_ERROR, "boom")
FAILED = AsmError(ErrorCode.COMMAND_FAILED, "git said no")


@pytest.fixture
def with_files(bench):
    """A run whose model is speaking, and which has files."""
    run = bench("streaming")
    run.state.run = run.state.run.replace(details={"workspace": FILES})
    return run


def recorded(run, effects):
    (appended,) = run.notices(effects, RunAppends)
    return appended.run


def test_the_answer_is_on_record_before_the_files_are_looked_at(with_files):
    run = with_files
    effects = run.finish("Hi")
    assert run.types(effects) == [
        "message_streamed",
        "message_received",
        "token_usage_updated",
        "turn_completed",
    ]
    assert run.phase == "finishing"
    record = recorded(run, effects)
    assert (record.status, record.output["content"], record.turn_count) == ("running", "Hi", 1)
    assert (record.ended_us, record.error) == (None, None)
    assert record.details["ending"]["status"] == "completed"
    assert run.of(effects, fx.Finish) == []
    assert run.notices(effects, RunBarrier)
    (work, timer) = run.tell(Durable(0))
    assert work == fx.Finish(run.state.run, is_completed=True, releases=False)
    assert type(timer.message) is core.WorkOverdue


def test_what_was_done_is_on_record_before_anything_is_given_back_and_then_the_run_ends(bench):
    run = bench("finishing")
    effects = run.tell(core.Finished(DONE, TAKEN, DIFF))
    assert run.types(effects) == ["workspace_snapshot_taken", "workspace_diff_computed"]
    assert run.of(effects, fx.Finish) == []
    (work, _) = run.tell(Durable(0))
    assert work.releases
    released = {key: value for key, value in work.run.details["workspace"].items() if key != "to_release"}
    effects = run.tell(core.Finished({**released, "released": ["before"]}))
    ended = run.end(effects)
    assert run.types(effects) == ["run_completed"]
    assert ended.run.status == "completed"
    assert "ending" not in ended.run.details
    assert ended.run.details["workspace"]["released"] == ["before"]
    assert ended.facts["model"] == "model-1"


def test_a_run_with_nothing_to_give_back_ends_when_what_was_done_is_durable(bench):
    run = bench("finishing")
    run.tell(core.Finished({**DONE, "to_release": []}, TAKEN, DIFF))
    assert run.types(run.tell(Durable(0))) == ["run_completed"]


@pytest.mark.parametrize(
    ("how", "status", "last"),
    [
        (lambda run: run.items(is_last=True, error=BOOM), "failed", "run_failed"),
        (
            lambda run: (run.tell(CancelRun("enough")), run.tell(core.ProviderGone(run.gone)))[1],
            "cancelled",
            "run_cancelled",
        ),
        (
            lambda run: (run.tell(DeadlineReached("run_1")), run.tell(core.ProviderGone(run.gone)))[1],
            "timeout",
            "run_timeout",
        ),
    ],
)
def test_however_a_run_ends_its_files_are_seen_to_first(with_files, how, status, last):
    run = with_files
    run.say("Well")
    effects = how(run)
    assert run.phase == "finishing"
    assert recorded(run, effects).details["ending"]["status"] == status
    assert recorded(run, effects).status == "running"
    (work, _) = run.tell(Durable(0))
    assert not work.is_completed
    run.tell(core.Finished({**DONE, "to_release": []}, TAKEN, DIFF))
    effects = run.tell(Durable(0))
    ended = run.end(effects)
    assert run.types(effects) == [last]
    assert ended.run.status == status
    assert ended.run.output == {"content": "Well", "partial": True}


@pytest.mark.parametrize("message", [CancelRun("enough"), DeadlineReached("run_1"), core.StopOverdue()])
def test_the_outcome_stands_whatever_comes_now(bench, message):
    run = bench("finishing")
    assert run.tell(message) == []
    run.tell(core.Finished(DONE, TAKEN, DIFF))
    assert run.tell(message) == []
    run.tell(Durable(0))
    assert run.types(run.tell(core.Finished({**DONE, "to_release": []}))) == ["run_completed"]


def test_a_completed_run_whose_files_cannot_be_seen_to_fails_and_keeps_its_answer(bench):
    run = bench("finishing")
    run.tell(core.Finished({**FILES, "to_release": []}, error=FAILED))
    effects = run.tell(Durable(0))
    ended = run.end(effects)
    assert run.types(effects) == ["run_failed"]
    assert ended.run.error == {"code": "command_failed", "message": "git said no"}
    assert ended.error is FAILED
    assert ended.run.output["content"] == "Hi"


def test_a_failed_run_keeps_its_error_and_tells_what_else_went_wrong(with_files):
    run = with_files
    run.items(is_last=True, error=BOOM)
    run.tell(Durable(0))
    run.tell(core.Finished({**FILES, "to_release": []}, error=FAILED))
    effects = run.tell(Durable(0))
    ended = run.end(effects)
    assert ended.run.error["code"] == "provider_error"
    assert ended.run.error["details"]["workspace_error"]["code"] == "command_failed"
    assert ended.error.details["workspace_error"]["code"] == "command_failed"
    assert "workspace_error" not in BOOM.details
    assert effects[0].message.drafts[-1].data["details"]["workspace_error"]["code"] == "command_failed"


def test_work_that_takes_too_long_is_stopped_and_told(bench):
    run = bench("finishing")
    effects = run.tell(core.WorkOverdue())
    assert run.of(effects, fx.StopWork)
    assert run.tell(core.Finished(DONE, TAKEN, DIFF)) is not None
    ended = run.end(run.tell(Durable(0)))
    assert ended.run.error["code"] == "command_timeout"


def test_a_run_that_is_taken_up_again_does_the_rest_and_asks_nobody(bench):
    run = bench("finishing")
    record = run.state.run
    again = bench()
    again.state.run = record
    again.tell(core.SlotTaken())
    assert again.phase == "recovering"
    (work, _) = again.tell(Durable(0))
    assert work == fx.Finish(record, is_completed=True, releases=False)
    again.tell(core.Finished({**DONE, "to_release": []}, TAKEN, DIFF))
    ended = again.end(again.tell(Durable(0)))
    assert (ended.run.status, ended.run.output["content"]) == ("completed", "Hi")


def test_one_that_was_to_be_cancelled_then_ends_as_it_stands_on_record(bench):
    again = bench()
    again.state.run = bench("finishing").state.run
    assert again.tell(CancelRun("enough")) == []
    again.tell(core.SlotTaken())
    assert again.of(again.tell(Durable(0)), fx.Finish)


def test_a_barrier_of_something_earlier_does_not_count(bench):
    run = bench(run_options={"continuation": "auto"})
    run.state.run = run.state.run.begun(run.now, 0).replace(details={"workspace": FILES})
    run.tell(core.SlotTaken())  # a barrier is on its way
    run.tell(CancelRun("enough"))
    run.tell(core.ProviderGone(run.gone))
    assert run.phase == "finishing"
    assert run.tell(Durable(0)) == []
    assert run.of(run.tell(Durable(0)), fx.Finish)
    assert run.tell(Durable(0)) == []
