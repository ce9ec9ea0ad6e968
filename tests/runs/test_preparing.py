"""What comes before the first turn: whether it does, what it leads to, and what a cancel or a crash makes of it."""

from __future__ import annotations

import pytest

from asm_actors import effects as fx
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.items import TextDelta
from asm_actors.runs import state as core
from asm_actors.runs.calls import Call
from asm_actors.runs.messages import CancelRun, DeadlineReached, Durable, RunAppends, RunBarrier, RunWaits
from asm_actors.tools.tool import Tool

EARLIER = ({"role": "user", "content": "Before"}, {"role": "assistant", "content": "Yes"})
REPLAYED = {"mode": "auto", "used": "replay", "messages": 2}
FILES = {"backend": "git", "before_ref": "ref_1", "before_snapshot": {"id": "snap_1"}}
TAKEN = {"label": "before", "backend": "git", "ref": "ref_1"}
WITH_FILES = {"workspace": {"enabled": True}}


def started(bench, options):
    run = bench(run_options=options)
    return run, run.tell(core.SlotTaken())


@pytest.mark.parametrize(
    ("options", "is_due"),
    [
        (None, False),
        ({"submitted": True, "max_turns": 3}, False),
        ({"continuation": False}, False),
        ({"workspace": {"enabled": False}}, False),
        ({"continuation": "auto"}, True),
        ({"continuation": "replay"}, True),
        ({"purpose": "compaction"}, True),
        (WITH_FILES, True),
    ],
)
def test_only_runs_that_ask_for_it_are_prepared(bench, options, is_due):
    run, effects = started(bench, options)
    assert run.phase == ("preparing" if is_due else "streaming")
    assert run.types(effects) == ([] if is_due else ["message_sent", "run_started"])


def test_nothing_is_read_before_what_came_earlier_is_durable_and_the_run_is_on_record(bench):
    run, effects = started(bench, {"continuation": "auto"})
    assert [type(effect.message) for effect in effects] == [RunWaits, RunBarrier]
    (prepare,) = run.tell(Durable(0))
    assert prepare == fx.Prepare(run.state.run, 0)
    assert prepare.run.status == "pending"


def test_what_it_goes_on_from_comes_before_its_own_messages_and_is_not_told_again(bench):
    run = bench("preparing")
    effects = run.tell(core.Prepared(EARLIER, "thread_1", REPLAYED))
    assert run.types(effects) == ["message_sent", "run_started"]
    (appended,) = run.notices(effects, RunAppends)
    assert appended.drafts[0].data == {"role": "user", "content": "Hello"}
    assert appended.drafts[1].data["continuation"] == REPLAYED
    assert appended.run.details["continuation"] == REPLAYED
    request = run.state.request
    assert [said["content"] for said in request.messages] == ["Before", "Yes", "Be brief.", "Hello"]
    assert request.provider_session_id == "thread_1"
    assert run.to_provider(effects) == ["StartTurn"]


def test_the_state_of_the_files_is_durable_before_the_provider_is_asked(bench):
    run, _ = started(bench, WITH_FILES)
    run.tell(Durable(0))
    effects = run.tell(core.Prepared(workspace=FILES, taken=TAKEN))
    assert run.types(effects) == ["workspace_snapshot_taken", "message_sent", "run_started"]
    assert run.to_provider(effects) == []
    assert run.state.run.details["workspace"] == FILES
    assert run.phase == "recovering"
    assert run.to_provider(run.tell(Durable(0))) == ["StartTurn"]


def test_a_run_that_cannot_be_prepared_fails_and_never_calls_its_provider(bench):
    run = bench("preparing")
    effects = run.tell(core.Prepared(error=AsmError(ErrorCode.STORAGE_READ_FAILED, "the disk")))
    ended = run.end(effects)
    assert run.types(effects) == ["run_failed"]
    assert ended.run.error["code"] == "storage_read_failed"
    assert ended.run.started_us is None
    assert run.to_provider(effects) == []


@pytest.mark.parametrize(
    ("message", "end"),
    [(CancelRun("enough"), "run_cancelled"), (DeadlineReached("run_1"), "run_timeout")],
)
def test_a_stop_waits_for_the_work_to_stop(bench, message, end):
    run = bench("preparing")
    effects = run.tell(message)
    assert run.of(effects, fx.StopWork) == [fx.StopWork("run_1")]
    assert run.types(effects) == []
    effects = run.tell(core.Prepared(error=AsmError(ErrorCode.CANCELLED, "stopped")))
    assert run.types(effects) == [end]


def test_a_stop_before_the_work_began_ends_the_run_at_once(bench):
    run, _ = started(bench, {"continuation": "auto"})
    assert run.types(run.tell(CancelRun("enough"))) == ["run_cancelled"]


def test_a_snapshot_that_was_taken_while_the_run_was_stopped_is_seen_to(bench):
    run, _ = started(bench, WITH_FILES)
    run.tell(Durable(0))
    run.tell(CancelRun("enough"))
    effects = run.tell(core.Prepared(workspace=FILES, taken=TAKEN))
    assert run.types(effects) == ["workspace_snapshot_taken"]
    assert run.phase == "finishing"
    (work, _) = run.tell(Durable(0))
    assert (type(work), work.is_completed) == (fx.Finish, False)


def test_a_run_that_is_taken_up_again_prepares_again_with_the_same_bound(bench):
    run = bench(run_options={"continuation": "auto", **WITH_FILES})
    run.state.run = run.state.run.begun(run.now, 7).replace(details={"workspace": FILES})
    run.state.head = 20
    run.tell(core.SlotTaken())
    assert run.phase == "recovering"
    (prepare,) = run.tell(Durable(0))
    assert (type(prepare), prepare.upto) == (fx.Prepare, 7)
    assert prepare.run.details["workspace"] == FILES
    effects = run.tell(core.Prepared(EARLIER, None, REPLAYED, FILES))
    assert run.types(effects) == []  # no second beginning, no second snapshot
    assert run.to_provider(effects) == ["StartTurn"]


def test_the_calls_of_a_run_that_is_taken_up_again_wait_until_it_is_prepared(bench):
    look = Tool("look", "Looks", {"type": "object"}, lambda: None)
    run = bench(run_options={"continuation": "auto"}, tools=[look], calls=[Call("call_1", "look", {})])
    run.state.run = run.state.run.begun(run.now, 7)
    run.tell(core.SlotTaken())
    assert run.of(run.tell(Durable(0)), fx.Prepare)
    effects = run.tell(core.Prepared(EARLIER, None, REPLAYED))
    assert run.phase == "calling"
    assert run.types(effects)[-1] == "tool_call_started"


# --- The provider has forgotten its conversation ---------------------------------------------------------------------


def native(bench):
    run = bench("preparing")
    run.tell(core.Prepared((), "thread_1", {"mode": "auto", "used": "native", "messages": 0}))
    return run


@pytest.mark.parametrize("code", [ErrorCode.NOT_FOUND, ErrorCode.SESSION_NOT_FOUND])
def test_a_provider_that_forgot_its_conversation_is_sent_all_of_it(bench, code):
    run = native(bench)
    effects = run.items(is_last=True, error=AsmError(code, "no such thread"))
    assert run.types(effects) == ["error_occurred"]
    (prepare,) = run.of(effects, fx.Prepare)
    assert prepare.mode == "replay"
    assert "no such thread" in prepare.reason
    again = {"mode": "auto", "used": "replay", "messages": 2, "reason": prepare.reason}
    effects = run.tell(core.Prepared(EARLIER, None, again))
    assert run.types(effects) == []
    assert run.state.run.details["continuation"] == again
    assert run.state.request.provider_session_id is None
    assert [said["content"] for said in run.state.request.messages][:2] == ["Before", "Yes"]
    assert run.to_provider(effects) == ["StartTurn"]
    assert run.state.run.attempt == 1


def test_one_that_has_spoken_already_is_not_asked_again(bench):
    run = native(bench)
    run.items(TextDelta("Well"))
    effects = run.items(is_last=True, error=AsmError(ErrorCode.NOT_FOUND, "no such thread"))
    assert run.types(effects)[-1] == "run_failed"


def test_one_that_was_sent_all_messages_fails(bench):
    run = bench("preparing")
    run.tell(core.Prepared(EARLIER, None, REPLAYED))
    effects = run.items(is_last=True, error=AsmError(ErrorCode.NOT_FOUND, "no such model"))
    assert run.types(effects)[-1] == "run_failed"
