"""Runs that wait for somebody outside: without an actor, without a slot, and through every race."""

from __future__ import annotations

import pytest

from asm_actors import effects as fx
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.runs.calls import Call
from asm_actors.runs.messages import CancelRun, DeadlineReached, Durable, RunAppends, RunHolds
from asm_actors.runs.resumption import Progress
from asm_actors.runs.run import RunStatus
from asm_actors.sessions import messages as m
from asm_actors.sessions.holding import go_on
from asm_actors.sessions.open_runs import DurableFor, Phase, RunCrashed, run_draft
from asm_actors.sessions.session import Session

BOOM = AsmError(ErrorCode.INTERNAL_ERROR, "the actor of run run_1 ended: boom")
ASKED = Call("call_1", "pay", {}, decision="requested")
FAR = Progress(turn=1, messages=({"role": "assistant", "content": "Well"},), calls=(ASKED,))


def holds(core, run_id="run_1", status=RunStatus.AWAITING_APPROVAL, progress=FAR):
    """The last word of a run's actor that holds."""
    run = core.state.open[run_id].run.with_status(status, core.now)
    draft = run_draft(core.state.session, run, EventType.TOOL_CALL_COMPLETED, core.now, {"turn": 1})
    return RunHolds(run_id, (draft,), run, progress)


def held(bench, **options):
    core = bench(**options)
    core.running()
    core.effects = core.tell(holds(core))
    return core


def resumed(core, run_id="run_1"):
    entry = core.state.open[run_id]
    entry.progress = entry.progress.with_decision("call_1", "granted")
    draft = run_draft(core.state.session, entry.run, EventType.RUN_RESUMED, core.now, {})
    return go_on(core.state, entry, (draft,), core.now)


def test_a_run_that_holds_is_written_with_its_events_and_keeps_its_place(bench):
    core = bench()
    core.running()
    effects = core.tell(holds(core))
    (write,) = core.of(effects, fx.Write)
    assert core.types(effects) == ["tool_call_completed"]
    assert write.runs[0].status is RunStatus.AWAITING_APPROVAL
    entry = core.state.open["run_1"]
    assert (entry.phase, entry.progress, core.state.n_started) == (Phase.HELD, FAR, 0)


def test_its_slot_goes_to_the_next_one_in_line(bench):
    core = bench()
    core.running()
    core.submitted("run_2")
    assert core.started(core.tell(holds(core))) == ["run_2"]


def test_it_goes_on_from_where_it_was(bench):
    core = held(bench)
    effects = resumed(core)
    (write,) = core.of(effects, fx.Write)
    assert core.types(effects) == ["run_resumed"]
    assert write.runs[0].status is RunStatus.RUNNING
    (start,) = core.of(effects, fx.StartRun)
    assert start.run == write.runs[0]
    assert start.progress.calls[0].decision == "granted"
    assert core.state.n_started == 1


def test_it_stays_held_while_all_that_is_left_are_questions(bench):
    core = held(bench)
    entry = core.state.open["run_1"]
    draft = run_draft(core.state.session, entry.run, EventType.RUN_RESUMED, core.now, {})
    (write,) = go_on(core.state, entry, (draft,), core.now, (fx.Reply("asker", entry.run),))
    assert (entry.phase, entry.run.status) == (Phase.HELD, RunStatus.AWAITING_APPROVAL)
    assert write.then[0].value == entry.run


def test_it_stands_in_line_behind_those_that_came_meanwhile(bench):
    core = held(bench)
    core.submitted("run_2")
    core.submitted("run_3")
    assert core.started(resumed(core)) == []
    assert list(core.state.queue) == ["run_3", "run_1"]


@pytest.mark.parametrize(
    ("told", "types", "status"),
    [
        (CancelRun("enough", "run_1"), ["run_cancelled"], RunStatus.CANCELLED),
        (DeadlineReached("run_1"), ["run_timeout"], RunStatus.TIMEOUT),
    ],
    ids=["cancel", "deadline"],
)
def test_what_it_was_told_while_its_last_word_was_on_the_way_ends_it_at_once(bench, told, types, status):
    core = bench()
    core.running()
    assert core.of(core.tell(told, "asker"), fx.ToRun)
    effects = core.tell(holds(core))
    assert core.types(effects) == ["tool_call_completed", *types]
    assert core.state.open == {}
    assert core.state.n_started == 0
    if status is RunStatus.CANCELLED:
        assert core.answers(effects)["asker"].status is status


@pytest.mark.parametrize("told", [CancelRun("enough", "run_1"), DeadlineReached("run_1")], ids=repr)
def test_a_held_run_ends_without_an_actor(bench, told):
    core = held(bench)
    effects = core.tell(told)
    assert core.of(effects, fx.StartRun) == core.of(effects, fx.ToRun) == []
    assert core.state.open == {}


def test_the_exit_of_its_actor_is_no_crash(bench):
    core = held(bench)
    assert core.tell(RunCrashed("run_1", BOOM)) == []
    assert core.state.open["run_1"].phase is Phase.HELD


def test_nor_is_it_when_the_run_stands_in_line_again(bench):
    core = held(bench)
    core.submitted("run_2")
    resumed(core)
    assert core.tell(RunCrashed("run_1", BOOM)) == []
    assert core.state.open["run_1"].phase is Phase.QUEUED


def test_a_life_is_not_told_of_what_an_earlier_one_wrote(bench):
    core = bench()
    core.running()
    (note,) = core.tell(RunAppends("run_1", (), None, 3))[0].then
    core.tell(holds(core))
    assert core.tell(note.message) == []
    resumed(core)
    assert core.tell(note.message) == []
    assert core.tell(DurableFor("run_1", 2, 2)) == [fx.ToRun("run_1", Durable(2))]


def test_whoever_waits_for_its_result_goes_on_waiting(bench):
    core = held(bench)
    core.tell(m.AwaitRun("run_1"), "waiter")
    resumed(core)
    effects = core.tell(core.ended("run_1"))
    assert core.answers(effects)["waiter"].status is RunStatus.COMPLETED


def test_its_deadline_goes_on(bench):
    core = bench()
    core.submitted("run_1", deadline_s=5.0)
    run = core.state.open["run_1"].run.with_status("running", core.now)
    core.tell(RunAppends("run_1", (), run, 0))
    core.tell(holds(core))
    assert core.types(core.tell(DeadlineReached("run_1"))) == ["run_timeout"]


def test_the_end_of_its_session_ends_it(bench):
    core = held(bench)
    assert core.types(core.tell(m.CancelSession())) == ["run_cancelled", "session_cancelled"]


@pytest.mark.parametrize("status", [RunStatus.PAUSED, RunStatus.AWAITING_APPROVAL])
def test_it_is_recovered_into_the_same_place(bench, status):
    core = bench()
    run = core.run().replace(turn_count=1, options={"submitted": True}).with_status("running", core.now)
    run = run.with_status(status, core.now)
    asked = Progress(1, calls=(Call("call_1", "pay", {}, decision="requested"),))
    session, core.state.session = core.state.session, Session(id="", agent_id="")
    core.state.holds_slot = False
    effects = core.tell(m.SessionLoaded(session, (run,), None, {"run_1": asked}))
    assert core.types(effects) == []
    assert core.state.open["run_1"].phase is Phase.HELD
    assert core.state.open["run_1"].progress == asked
    assert core.started(core.tell(core.granted)) == []


def test_a_word_of_a_run_that_is_over_is_late(bench):
    core = bench()
    core.running()
    late = holds(core)
    core.tell(core.ended("run_1"))
    assert core.tell(late) == []
