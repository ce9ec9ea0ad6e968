"""A session's core and what somebody decides: wherever the run stands, whatever is on its way."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from asm_actors import effects as fx
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.policies.approval import ApprovalRequest
from asm_actors.runs.asking import ASKED
from asm_actors.runs.calls import Call
from asm_actors.runs.messages import (
    ApprovalDecided,
    CancelForApproval,
    CancelRun,
    DenyApproval,
    GrantApproval,
    RunAppends,
    RunAsks,
    RunHolds,
)
from asm_actors.runs.resumption import Progress
from asm_actors.runs.run import RunStatus
from asm_actors.sessions import messages as m
from asm_actors.sessions.open_runs import Phase, RunCrashed, run_draft
from asm_actors.sessions.questions import ApprovalsDue

BOOM = AsmError(ErrorCode.INTERNAL_ERROR, "the actor of run run_1 ended: boom")
CALL = Call("call_1", "pay", {"key": "a"}, decision="requested")
WAITING = Progress(turn=1, calls=(CALL,))
GRANT, DENY = GrantApproval("run_1", "call_1", "me"), DenyApproval("run_1", "call_1", "me")
DUE = 301_000_000
"""Microseconds after which nobody has decided in time."""


def question(core, run_id="run_1", call_id="call_1", timeout=300.0, key="a"):
    """The event by which a run asks."""
    request = ApprovalRequest(call_id, "pay", {"key": key}, "p", "approval_required", "?", (), timeout)
    run = core.state.open[run_id].run
    return run_draft(core.state.session, run, EventType.TOOL_APPROVAL_REQUESTED, core.now, request.to_map())


def asking(core, run_id="run_1", **options):
    """Have a run ask while others of its calls go on."""
    run = core.state.open[run_id].run.replace(details={ASKED: True}, turn_count=1)
    return core.tell(RunAsks(run_id, (question(core, run_id, **options),), run, 1))


def last_word(core, *drafts, run_id="run_1", progress=WAITING):
    run = core.state.open[run_id].run.replace(turn_count=1).with_status("awaiting_approval", core.now)
    return RunHolds(run_id, drafts, run, progress)


class Places:
    """A core whose run asks, by where the run stands."""

    def __init__(self, bench, **options):
        self.core = bench(**options)
        self.core.state.rules = SimpleNamespace(**vars(bench(rules={}).state.rules))

    def started(self):
        self.core.running()
        asking(self.core)
        return self.core

    def held(self):
        self.core.running()
        self.core.tell(last_word(self.core, question(self.core)))
        return self.core

    def queued(self):
        both = Progress(turn=1, calls=(CALL, Call("call_2", "pay", {"key": "b"}, decision="requested")))
        self.core.running()
        drafts = (question(self.core), question(self.core, call_id="call_2", key="b"))
        self.core.tell(last_word(self.core, *drafts, progress=both))
        self.core.submitted("run_2")
        self.core.tell(GrantApproval("run_1", "call_2"))
        return self.core

    def recovering(self):
        core = self.started()
        core.tell(RunCrashed("run_1", BOOM))
        return core

    def stopping(self):
        core = self.started()
        core.tell(CancelRun("enough", "run_1"), "canceller")
        return core


@pytest.fixture
def place(bench):
    def make(name, **options):
        core = getattr(Places(bench, **options), name)()
        phase = "started" if name == "stopping" else name
        assert core.state.open["run_1"].phase.value == phase
        return core

    return make


def decided(core):
    return core.state.open["run_1"].book.approvals["run_1", "call_1"].status.value


# --- Where the run stands ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("message", "word"), [(GRANT, "granted"), (DENY, "denied")])
@pytest.mark.parametrize("where", ["started", "held", "queued", "recovering"])
def test_a_decision_is_on_record_and_answered_wherever_the_run_stands(place, where, message, word):
    core = place(where)
    effects = core.tell(message, "asker")
    assert core.types(effects)[0] == f"tool_approval_{word}"
    assert decided(core) == word
    assert core.answers(effects)["asker"].id == "run_1"
    assert core.at_once(effects) == []
    again = core.tell(message, "again")
    assert core.types(again) == []
    assert core.answers(again)["again"].id == "run_1"


def test_an_actor_is_told(place):
    core = place("started")
    (told,) = core.of(core.tell(GRANT), fx.ToRun)
    assert type(told.message) is ApprovalDecided
    assert (told.message.call_id, told.message.type.value) == ("call_1", "tool_approval_granted")


def test_one_without_an_actor_stands_in_line_with_it(place):
    core = place("held")
    effects = core.tell(GRANT)
    (write,) = core.of(effects, fx.Write)
    assert write.runs[0].status is RunStatus.RUNNING
    (start,) = core.of(effects, fx.StartRun)
    assert start.progress.calls[0].decision == "granted"
    assert start.progress.book.approvals["run_1", "call_1"].is_granted


def test_one_in_line_takes_it_along(place):
    core = place("queued")
    assert core.started(core.tell(GRANT)) == []
    (start,) = core.of(core.tell(core.ended("run_2")), fx.StartRun)
    assert [call.decision for call in start.progress.calls] == ["granted", "granted"]


def test_one_that_is_being_read_takes_it_along_though_it_read_nothing_of_it(place):
    core = place("recovering")
    core.tell(GRANT)
    (start,) = core.of(core.tell(m.ProgressLoaded("run_1", WAITING, BOOM)), fx.StartRun)
    assert start.progress.calls[0].decision == "granted"


@pytest.mark.parametrize("message", [GRANT, DENY])
def test_one_that_is_about_to_end_answers_with_its_end(place, message):
    core = place("stopping")
    assert core.tell(message, "asker") == []
    error = AsmError(ErrorCode.CANCELLED, "enough")
    effects = core.tell(core.ended("run_1", error=error, status=RunStatus.CANCELLED))
    assert core.answers(effects)["asker"].status is RunStatus.CANCELLED


# --- Races -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("message", "word"), [(GRANT, "granted"), (DENY, "denied")])
def test_a_decision_that_crosses_the_last_word_of_the_run_has_it_go_on_at_once(place, message, word):
    core = place("started")
    core.tell(message)
    effects = core.tell(last_word(core))
    (start,) = core.of(effects, fx.StartRun)
    assert start.progress.calls[0].decision == word
    assert [write.runs[0].status.value for write in core.of(effects, fx.Write)] == [
        "awaiting_approval",
        "running",
    ]


def test_the_time_may_be_over_in_the_same_moment(place):
    core = place("started")
    core.tell(ApprovalsDue("run_1"), now=core.now + DUE)
    assert decided(core) == "denied"
    assert core.started(core.tell(last_word(core), now=core.now + DUE)) == ["run_1"]


def test_a_decision_that_comes_too_late_finds_it_denied(place):
    core = place("held")
    effects = core.tell(GRANT, "asker", now=core.now + DUE)
    assert core.types(effects) == ["tool_approval_denied"]
    assert core.started(effects) == ["run_1"]


# --- Time --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["started", "held", "queued", "recovering"])
def test_what_nobody_decides_in_time_is_denied_wherever_the_run_stands(place, where):
    core = place(where)
    early = core.tell(ApprovalsDue("run_1"), now=core.now + 1_000_000)
    assert core.types(early) == []
    assert core.of(early, fx.SetTimer)[0].delay_s == 299.0
    effects = core.tell(ApprovalsDue("run_1"), now=core.now + DUE)
    (draft,) = [draft for write in core.of(effects, fx.Write) for draft in write.drafts]
    assert (draft.type.value, draft.data["timed_out"]) == ("tool_approval_denied", True)
    assert core.tell(ApprovalsDue("run_1"), now=core.now + DUE) in (
        [],
        [fx.CancelTimer("approvals:run_1")],
    )


@pytest.mark.parametrize("where", ["started", "held"])
def test_the_timer_counts_from_the_question(bench, where):
    core = bench()
    core.running()
    effects = asking(core) if where == "started" else core.tell(last_word(core, question(core)))
    (timer,) = core.of(effects, fx.SetTimer)
    assert (timer.key, timer.delay_s, timer.message) == ("approvals:run_1", 299.0, ApprovalsDue("run_1"))


def test_a_question_may_wait_for_ever(bench):
    core = bench()
    core.running()
    assert core.of(asking(core, timeout=None), fx.SetTimer) == []


def test_timers_of_a_run_that_is_over_are_taken_back(place):
    core = place("held")
    keys = [effect.key for effect in core.of(core.tell(CancelRun(None, "run_1")), fx.CancelTimer)]
    assert keys == ["approvals:run_1", "policy:run_1"]
    assert core.tell(ApprovalsDue("run_1")) == []


# --- Grants that go further --------------------------------------------------------------------------------------


def test_a_grant_for_the_session_is_kept_in_the_same_write(place):
    core = place("held")
    (write,) = core.of(core.tell(GRANT._replace(scope="session")), fx.Write)
    (kept,) = write.session.options["grants"]
    assert (kept["tool_name"], kept["tool_input"], kept["scope"]) == ("pay", {"key": "a"}, "session")
    assert core.state.session is write.session


def test_it_answers_what_its_other_runs_ask_and_ask_later(place):
    core = place("started", max_concurrent=3)
    core.running("run_2")
    asking(core, "run_2")
    core.running("run_3")
    effects = core.tell(GRANT._replace(scope="session"))
    assert [(e.run_id, e.message.type.value) for e in core.of(effects, fx.ToRun)] == [
        ("run_1", "tool_approval_granted"),
        ("run_2", "tool_approval_granted"),
    ]
    assert "tool_approval_granted" in core.types(asking(core, "run_3"))
    assert "tool_approval_granted" not in core.types(asking(core, "run_3", call_id="call_2", key="b"))


def test_a_run_that_asks_nothing_costs_nothing(bench):
    core = bench()
    core.running()
    assert core.state.open["run_1"].book is None
    assert core.tell(RunAppends("run_1", (), None, 0)) == [fx.Write((), None, (), ())]


# --- Cancelled in order to ask -----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["held", "recovering", "queued", "started"])
def test_the_question_is_written_with_the_end_wherever_that_comes_from(place, where):
    core = place(where)
    effects = core.tell(CancelForApproval({"tool_name": "deploy"}, "run_1"), "asker")
    if where != "held":
        assert core.of(effects, fx.ToRun)
        run = core.state.open["run_1"].run
        error = AsmError(ErrorCode.CANCELLED, "cancelled", details={"reason": "approval_requested"})
        ended = core.ended("run_1", error=error, status=RunStatus.CANCELLED)
        last = run_draft(core.state.session, run, EventType.RUN_CANCELLED, core.now, {})
        effects = core.tell(ended._replace(drafts=(last,)))
    assert core.types(effects) == ["tool_approval_requested", "run_cancelled"]
    assert core.answers(effects)["asker"].status is RunStatus.CANCELLED


def test_a_question_without_a_tool_is_refused(place):
    core = place("held")
    before = core.snapshot()
    with pytest.raises(AsmError) as caught:
        core.tell(CancelForApproval({"reason": "?"}, "run_1"))
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert core.snapshot() == before
    assert core.state.open["run_1"].phase is Phase.HELD
