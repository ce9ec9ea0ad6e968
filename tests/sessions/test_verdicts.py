"""What becomes of a run that was under way: every policy, whatever it had come to."""

from __future__ import annotations

from types import SimpleNamespace

import attrs
import pytest

from asm_actors import effects as fx
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.policies.approval import ApprovalRequest
from asm_actors.policies.approvals import ApprovalBook
from asm_actors.runs.calls import Call
from asm_actors.runs.messages import DeadlineReached, DenyApproval, GrantApproval, RunAppends, RunBarrier
from asm_actors.runs.resumption import Progress
from asm_actors.runs.run import RunStatus
from asm_actors.sessions import messages as m
from asm_actors.sessions.open_runs import DurableFor, Phase, RunCrashed
from asm_actors.sessions.recovery import interruptions
from asm_actors.sessions.session import Session

BOOM = AsmError(ErrorCode.INTERNAL_ERROR, "the actor of run run_1 ended: boom")
FULL = AsmError(ErrorCode.STORAGE_WRITE_FAILED, "the disk is full")
UNKNOWN = Call("call_1", "charge", {"amount": 1}, attempt=1, is_started=True)
SAFE = Call("call_1", "look", {}, attempt=1, is_started=True, safe_to_repeat=True)
OPEN = Call("call_1", "look", {})
DONE = Call("call_1", "look", {}, attempt=1, answer={"role": "tool"})
BETWEEN = Progress(turn=1, calls=(DONE,), after=20)
CALLED = Progress(turn=1, has_called=True, after=20, n_discarded=3)
RESUMABLE = {"providers": {"mock": SimpleNamespace(resumable=True)}, "default_provider": "mock"}


def asking_about(progress, call_id):
    """The progress of a run that asks about a call of unknown outcome."""
    (call,) = [call for call in progress.calls if call.id == call_id]
    request = ApprovalRequest(
        call.id, call.name, call.input, "outcome_unknown", "outcome_unknown", "?", (), 300.0
    )
    book = (progress.book or ApprovalBook()).request("run_1", request, 1_767_225_600_000_000).book
    return attrs.evolve(progress.with_decision(call_id, "requested"), book=book)


class Loaded:
    """A session's core that has read one run."""

    def __init__(
        self, bench, progress=None, *, cause=None, rules=None, record=None, status="running", **options
    ):
        self.bench = bench(rules=rules or {})
        run = self.bench.run().replace(options={"submitted": True, **options}, turn_count=1)
        run = run.replace(**record or {}).with_status("running", self.bench.now)
        self.run = run.with_status(status, self.bench.now)
        session, self.bench.state.session = self.bench.state.session, Session(id="", agent_id="")
        self.bench.state.holds_slot = False
        told = {} if progress is None else {"run_1": progress}
        self.effects = self.bench.tell(m.SessionLoaded(session, (self.run,), cause, told))

    @property
    def state(self):
        return self.bench.state

    @property
    def types(self):
        return self.bench.types(self.effects)

    @property
    def write(self):
        (write,) = self.bench.of(self.effects, fx.Write)
        return write

    @property
    def data(self):
        return self.write.drafts[0].data

    def started(self):
        (effect,) = self.bench.of(self.bench.tell(self.bench.granted), fx.StartRun)
        return effect


@pytest.fixture
def loaded(bench):
    def make(*args, **options):
        return Loaded(bench, *args, **options)

    return make


# --- Policies ----------------------------------------------------------------------------------------------------


# what it had come to -> policy -> the events and how the record stands; `from_turn` of what goes on
TABLE = {
    "nothing completed": (None, "resume", ["run_recovered"], "running", 1),
    "between turns": (BETWEEN, "resume", ["run_recovered"], "running", 2),
    "in the next turn": (Progress(turn=2, after=20), "resume", ["run_recovered"], "running", 3),
    "call not begun": (Progress(turn=1, calls=(OPEN,)), "resume", ["run_recovered"], "running", 1),
    "call safe to repeat": (Progress(turn=1, calls=(SAFE,)), "resume", ["run_recovered"], "running", 1),
    "provider had called": (CALLED, "resume", ["run_failed"], "failed", None),
    "retry": (BETWEEN, "retry", ["run_recovered"], "running", 1),
    "retry, call safe to repeat": (Progress(turn=1, calls=(SAFE,)), "retry", ["run_recovered"], "running", 1),
    "retry, unknown call": (Progress(turn=1, calls=(UNKNOWN,)), "retry", ["run_failed"], "failed", None),
    "fail": (BETWEEN, "fail", ["run_failed"], "failed", None),
}


@pytest.mark.parametrize("by", ["run", "system"])
@pytest.mark.parametrize(
    ("progress", "policy", "types", "status", "from_turn"), TABLE.values(), ids=TABLE.keys()
)
def test_the_policy_of_the_run_decides_or_else_that_of_the_system(
    loaded, by, progress, policy, types, status, from_turn
):
    other = "fail" if policy != "fail" else "resume"
    if by == "run":
        found = loaded(progress, rules={"on_restart": other}, on_restart=policy)
    else:
        found = loaded(progress, rules={"on_restart": policy})
    assert found.types == types
    assert found.write.runs[0].status == status
    if from_turn is not None:
        assert found.data["from_turn"] == from_turn
        assert (found.data["decision"], found.data["on_restart"]) == (policy, policy)
        assert (found.data["recovery"], found.data["interrupted_by"]) == (1, "crash")
        assert found.write.runs[0].recoveries == 1
        started = found.started()
        assert started.run == found.write.runs[0]
        assert started.progress == (progress if policy == "resume" else None)
        assert started.run.attempt == (1 if policy == "retry" else 0)


def test_the_event_and_the_record_are_one_write_before_the_run_starts(loaded):
    found = loaded(BETWEEN)
    assert [type(effect) for effect in found.effects] == [fx.AcquireSlot, fx.Write]
    assert found.state.open["run_1"].phase is Phase.QUEUED


def test_what_is_discarded_is_told(loaded):
    found = loaded(CALLED, rules=RESUMABLE)
    assert (found.data["discarded_after"], found.data["discarded_events"]) == (20, 3)


def test_what_is_repeated_is_told(loaded):
    assert loaded(Progress(turn=1, calls=(SAFE,))).data["repeated_tool_calls"] == ["call_1"]
    assert "repeated_tool_calls" not in loaded(Progress(turn=1, calls=(OPEN,))).data


def test_a_turn_in_which_a_resumable_provider_had_called_is_asked_again(loaded):
    assert loaded(CALLED, rules=RESUMABLE).types == ["run_recovered"]


# --- Bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recoveries", "types"), [(0, ["run_recovered"]), (2, ["run_recovered"]), (3, ["run_failed"])]
)
def test_a_run_survives_so_many_crashes(loaded, recoveries, types):
    found = loaded(BETWEEN, record={"recoveries": recoveries})
    assert found.types == types
    if types == ["run_failed"]:
        assert found.data["error_code"] == "interrupted"
        assert found.write.runs[0].error["details"]["recoveries"] == 3


def test_a_stop_in_order_is_no_crash(loaded):
    found = loaded(BETWEEN, record={"recoveries": 3}, interrupted_by="stop")
    assert found.types == ["run_recovered"]
    assert (found.data["interrupted_by"], found.data["recovery"]) == ("stop", 3)
    assert found.write.runs[0].options == {"submitted": True}


def test_a_write_that_was_refused_ends_the_run_with_that_error(loaded):
    assert loaded(BETWEEN, cause=FULL).data["error_code"] == "storage_write_failed"


def test_a_defect_that_ended_its_session_is_survived_and_told(loaded):
    assert loaded(BETWEEN, cause=BOOM).data["reason"] == BOOM.message
    last = loaded(BETWEEN, cause=BOOM, record={"recoveries": 3})
    assert last.data["error_code"] == "internal_error"


def test_options_that_mean_nothing_here_fall_back_to_the_system(loaded):
    assert loaded(BETWEEN, on_restart="perhaps", rules={"on_restart": "fail"}).types == ["run_failed"]


# --- Unknown outcomes ------------------------------------------------------------------------------------------


LOST = Progress(turn=1, calls=(UNKNOWN, Call("call_2", "look", {})), after=20)


@pytest.mark.parametrize("option", [{}, {"on_unknown_outcome": "fail"}])
def test_a_call_whose_outcome_is_unknown_fails_the_run_and_is_named(loaded, option):
    found = loaded(LOST, **option)
    assert found.types == ["run_failed"]
    assert found.data["error_code"] == "outcome_unknown"
    assert "charge (call_1)" in found.data["error_message"]
    assert [call["id"] for call in found.write.runs[0].error["details"]["tool_calls"]] == ["call_1"]


def test_or_the_model_is_told(loaded):
    found = loaded(LOST, on_unknown_outcome="report")
    assert found.data["unknown_tool_calls"] == ["call_1"]
    assert found.started().progress == LOST


def asking(loaded, **options):
    return loaded(LOST, on_unknown_outcome="ask", **options)


def test_or_somebody_is_asked(loaded):
    found = asking(loaded)
    assert found.types == ["run_recovered", "tool_approval_requested"]
    assert found.data["decision"] == "ask"
    question = found.write.drafts[1].data
    assert question["policy_name"] == "outcome_unknown"
    assert (question["tool_call_id"], question["tool_name"], question["tool_input"]) == (
        "call_1",
        "charge",
        {"amount": 1},
    )
    assert found.write.runs[0].status is RunStatus.AWAITING_APPROVAL
    assert found.bench.started(found.bench.tell(found.bench.granted)) == []


@pytest.mark.parametrize("decision", [GrantApproval, DenyApproval])
def test_the_first_decision_counts_and_lets_the_run_go_on(loaded, decision):
    found = asking(loaded)
    core = found.bench
    core.tell(core.granted)
    effects = core.tell(decision("run_1", "call_1", "me", "it is fine"), "asker")
    word = "granted" if decision is GrantApproval else "denied"
    assert core.types(effects) == [f"tool_approval_{word}"]
    (write,) = core.of(effects, fx.Write)
    scope = {"scope": "once"} if decision is GrantApproval else {}
    assert write.drafts[0].data == {
        "tool_call_id": "call_1",
        "tool_name": "charge",
        "by": "me",
        "reason": "it is fine",
        **scope,
    }
    assert write.runs[0].status is RunStatus.RUNNING
    assert core.answers(effects)["asker"] == write.runs[0]
    (start,) = core.of(effects, fx.StartRun)
    assert start.progress.calls[0].decision == word
    for second in (GrantApproval("run_1", "call_1"), DenyApproval("run_1", "call_1")):
        effects = core.tell(second, "asker")
        assert [effect.drafts for effect in effects] == [()]
        assert core.answers(effects)["asker"].status is RunStatus.RUNNING


def test_each_decision_lets_its_own_call_go_on(loaded):
    both = Progress(turn=1, calls=(UNKNOWN, Call("call_2", "charge", {}, attempt=1, is_started=True)))
    found = loaded(both, on_unknown_outcome="ask")
    core = found.bench
    core.tell(core.granted)
    (start,) = core.of(core.tell(GrantApproval("run_1", "call_1")), fx.StartRun)
    assert [call.decision for call in start.progress.calls] == ["granted", "requested"]
    effects = core.tell(DenyApproval("run_1", "call_2"), "asker")
    assert core.types(effects) == ["tool_approval_denied"]
    (told,) = core.of(effects, fx.ToRun)
    assert (told.message.call_id, told.message.type.value) == ("call_2", "tool_approval_denied")


@pytest.mark.parametrize("call_id", ["call_2", "call_9"])
def test_a_decision_that_nobody_asked_for_is_refused(loaded, call_id):
    found = asking(loaded)
    before = found.bench.snapshot()
    with pytest.raises(AsmError) as caught:
        found.bench.tell(GrantApproval("run_1", call_id))
    assert caught.value.code is ErrorCode.INVALID_OPERATION
    assert found.bench.snapshot() == before


@pytest.mark.parametrize(
    "message",
    [
        GrantApproval("run_1", ""),
        GrantApproval(None, "call_1"),
        GrantApproval("run_1", "call_1", by=3),
        DenyApproval("run_1", "call_1", reason=3),
    ],
)
def test_a_malformed_decision_is_refused(loaded, message):
    with pytest.raises(AsmError) as caught:
        asking(loaded).bench.tell(message)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


# --- Unknown outcomes of a run that is to begin again ----------------------------------------------------------------


DENIED = LOST.with_decision("call_1", "denied")
TOLD = Progress(turn=3, lost=(UNKNOWN,), after=30)
TOLD_OF_ONE = Progress(turn=2, calls=(UNKNOWN,), lost=(UNKNOWN,), after=30)
# what it had come to, on_unknown_outcome -> decision, whether somebody is asked, its progress if it goes on
AGAIN = {
    "fail": (LOST, "fail", None, None),
    "by default": (LOST, None, None, None),
    "ask": (LOST, "ask", "ask", None),
    "report": (LOST, "report", "resume", LOST),
    "granted": (LOST.with_decision("call_1", "granted"), "ask", "retry", None),
    "denied": (DENIED, "ask", "resume", DENIED),
    "the model was told before": (TOLD, "report", "resume", TOLD),
    "and must be told again": (TOLD_OF_ONE, "report", "resume", TOLD_OF_ONE),
}


@pytest.mark.parametrize("how", ["crash", "stop"])
@pytest.mark.parametrize(("progress", "policy", "decision", "goes_on_from"), AGAIN.values(), ids=AGAIN.keys())
def test_no_run_begins_again_behind_a_call_whose_outcome_is_unknown(
    loaded, progress, policy, decision, goes_on_from, how
):
    options = {} if policy is None else {"on_unknown_outcome": policy}
    if how == "stop":
        options["interrupted_by"] = "stop"
    found = loaded(progress, on_restart="retry", **options)
    if decision is None:
        assert found.types == ["run_failed"]
        assert found.data["error_code"] == "outcome_unknown"
        assert "charge (call_1)" in found.data["error_message"]
        return
    assert (found.data["decision"], found.data["on_restart"]) == (decision, "retry")
    assert ("charge (call_1) is not known" in found.data["reason"]) is (decision == "resume")
    assert found.types == ["run_recovered"] + ["tool_approval_requested"] * (decision == "ask")
    if decision != "ask":
        started = found.started()
        assert started.progress == goes_on_from
        assert started.run.attempt == (decision == "retry")


def asked_again(loaded, progress=LOST):
    found = loaded(progress, on_restart="retry", on_unknown_outcome="ask", deadline_us=2**52)
    found.bench.tell(found.bench.granted)
    return found.bench, found


def test_a_grant_has_it_begin_again_from_its_input(loaded):
    core, found = asked_again(loaded)
    assert "begun again from its input" in found.write.drafts[1].data["reason"]
    effects = core.tell(GrantApproval("run_1", "call_1", "me"), "asker")
    assert core.types(effects) == ["tool_approval_granted", "run_recovered"]
    (write,) = core.of(effects, fx.Write)
    data = write.drafts[1].data
    assert (data["decision"], data["from_turn"], data["recovery"]) == ("retry", 1, 1)
    assert data["repeated_tool_calls"] == ["call_1"]
    assert "interrupted_by" not in data, "it was counted when it was asked about"
    assert (write.runs[0].status, write.runs[0].attempt, write.runs[0].recoveries) == ("running", 1, 1)
    assert core.answers(effects)["asker"] == write.runs[0]
    (start,) = core.of(effects, fx.StartRun)
    assert (start.run, start.progress) == (write.runs[0], None)
    assert core.answers(core.tell(GrantApproval("run_1", "call_1"), "late")).keys() == {"late"}


BOTH = Progress(turn=1, calls=(UNKNOWN, Call("call_2", "charge", {}, attempt=1, is_started=True)))


def test_a_denial_ends_it_as_unknown_and_names_the_calls(loaded):
    core, _ = asked_again(loaded, BOTH)
    core.tell(m.AwaitRun("run_1"), "waiter")
    effects = core.tell(DenyApproval("run_1", "call_2", "me"), "asker")
    assert core.types(effects) == ["tool_approval_denied", "run_failed"]
    (write,) = core.of(effects, fx.Write)
    error = write.runs[0].error
    assert (error["code"], error["details"]["unknown_tool_calls"]) == (
        "outcome_unknown",
        ["call_1", "call_2"],
    )
    assert [call["id"] for call in error["details"]["tool_calls"]] == ["call_1", "call_2"]
    assert core.answers(effects)["asker"] == write.runs[0]
    assert core.answers(effects)["waiter"].code is ErrorCode.OUTCOME_UNKNOWN
    assert core.state.open == {}


def test_it_begins_again_when_all_are_granted_whatever_restarts_in_between(loaded):
    asked = attrs.evolve(BOTH, begins_again=True).with_decision("call_1", "granted")
    asked = asking_about(asked, "call_2")
    found = loaded(asked, status="awaiting_approval", on_unknown_outcome="ask")
    core = found.bench
    core.tell(core.granted)
    effects = core.tell(GrantApproval("run_1", "call_2"))
    assert core.types(effects) == ["tool_approval_granted", "run_recovered"]
    assert core.of(effects, fx.StartRun)[0].progress is None


def test_a_grant_does_not_repeat_what_the_model_was_told_of(loaded):
    core, found = asked_again(loaded, TOLD_OF_ONE)
    assert "begun again from its input" not in found.write.drafts[1].data["reason"]
    effects = core.tell(GrantApproval("run_1", "call_1"))
    assert core.types(effects) == ["tool_approval_granted"]
    assert core.of(effects, fx.StartRun)[0].progress.turn == 2


# --- Ends name what was under way ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        {"on_restart": "fail"},
        {"on_restart": "fail", "interrupted_by": "stop"},
        {"record": {"recoveries": 3}},
        {"record": {"recoveries": 3}, "on_restart": "retry"},
        {"record": {"recoveries": 3}, "cause": BOOM},
        {"cause": FULL},
        {},
    ],
)
@pytest.mark.parametrize(("calls", "named"), [((UNKNOWN, OPEN), True), ((DONE, OPEN), False)])
def test_a_run_that_ends_names_the_calls_that_were_under_way(loaded, how, calls, named):
    if not (how or named):
        return
    found = loaded(Progress(turn=1, calls=calls), **how)
    assert found.types == ["run_failed"]
    for error in (found.data, found.write.runs[0].error):
        assert error.get("details", {}).get("unknown_tool_calls") == (["call_1"] if named else None)
    assert "unknown_tool_calls" not in BOOM.details | FULL.details


def test_so_does_one_that_could_be_repeated(loaded):
    found = loaded(Progress(turn=1, calls=(SAFE,)), on_restart="fail")
    assert found.write.runs[0].error["details"]["unknown_tool_calls"] == ["call_1"]
    assert "while it called look (call_1)" in found.data["error_message"]


@pytest.mark.parametrize(
    "last", [{"recoveries": 3}, {"options": {"on_restart": "fail"}}], ids=["the last crash", "fail"]
)
def test_so_its_events_are_read_first_if_its_actor_crashes(bench, last):
    core = under_way(bench, turn_count=1, **last)
    (load,) = core.tell(RunCrashed("run_1", BOOM))
    assert type(load) is fx.LoadRun
    effects = core.tell(m.ProgressLoaded("run_1", LOST, BOOM))
    assert core.types(effects) == ["run_failed"]
    assert core.of(effects, fx.Write)[0].runs[0].error["details"]["unknown_tool_calls"] == ["call_1"]


def test_a_question_survives_another_restart_without_a_word(loaded):
    asked = asking_about(LOST, "call_1")
    found = loaded(asked, status="awaiting_approval", on_unknown_outcome="ask", deadline_us=2**52)
    assert found.types == []
    assert [type(effect) for effect in found.effects] == [fx.AcquireSlot, fx.SetTimer, fx.SetTimer]
    core = found.bench
    core.tell(core.granted)
    assert core.started(core.tell(GrantApproval("run_1", "call_1"))) == ["run_1"]


@pytest.mark.parametrize("word", ["granted", "denied"])
def test_so_does_a_decision(loaded, word):
    found = loaded(LOST.with_decision("call_1", word), on_unknown_outcome="ask")
    assert found.types == ["run_recovered"]
    assert found.data["decision"] == "resume"


def test_a_run_that_waits_can_be_cancelled_or_reach_its_deadline(loaded):
    found = asking(loaded)
    assert found.bench.types(found.bench.tell(m.CancelRun("no", "run_1"))) == ["run_cancelled"]
    assert found.state.open == {}


def test_a_paused_run_keeps_waiting(loaded):
    found = loaded(BETWEEN, status="paused")
    assert found.types == []
    assert found.state.open["run_1"].phase is Phase.HELD


# --- In a living process ----------------------------------------------------------------------------------------------


def under_way(bench, run_id="run_1", **fields):
    core = bench()
    core.tell(m.SubmitRun(core.run(run_id).replace(options={"on_restart": "resume"})))
    entry = core.state.open[run_id]
    run = entry.run.with_status("running", core.now).replace(**fields)
    core.tell(RunAppends(run_id, (), run, 0))
    return core


def test_a_run_whose_actor_crashes_starts_again_at_once_if_nothing_need_be_read(bench):
    core = under_way(bench)
    core.tell(m.AwaitRun("run_1"), "waiter")
    core.submitted("run_2")
    effects = core.tell(RunCrashed("run_1", BOOM))
    assert core.types(effects) == ["run_recovered"]
    assert core.started(effects) == ["run_1"]
    assert core.state.open["run_1"].waiters == ["waiter"]
    assert core.state.n_started == 1


def test_else_its_events_are_read_first_and_it_keeps_its_place(bench):
    core = under_way(bench, turn_count=1)
    core.submitted("run_2")
    (load,) = core.tell(RunCrashed("run_1", BOOM))
    assert type(load) is fx.LoadRun
    assert core.state.n_started == 1
    effects = core.tell(m.ProgressLoaded("run_1", BETWEEN, BOOM))
    assert core.types(effects) == ["run_recovered"]
    assert core.started(effects) == ["run_1"]
    assert core.of(effects, fx.StartRun)[0].progress == BETWEEN


def test_if_they_cannot_be_read_it_fails_with_that_and_the_next_one_starts(bench):
    core = under_way(bench, turn_count=1)
    core.submitted("run_2")
    core.tell(RunCrashed("run_1", BOOM))
    effects = core.tell(m.ProgressLoaded("run_1", None, FULL))
    assert core.types(effects) == ["run_failed"]
    assert core.started(effects) == ["run_2"]


def test_a_cancel_while_they_are_read_ends_it_and_what_was_read_comes_too_late(bench):
    core = under_way(bench, turn_count=1)
    core.tell(RunCrashed("run_1", BOOM))
    effects = core.tell(m.CancelRun("no", "run_1"))
    assert core.started(effects) == ["run_1"], "its stream may still be closing: its actor sees to that"
    assert effects[-1] == fx.ToRun("run_1", m.CancelRun("no", "run_1"))
    assert core.tell(m.ProgressLoaded("run_1", BETWEEN, BOOM)) == []
    assert core.state.n_started == 1
    core.tell(core.ended("run_1"))
    assert core.state.n_started == 0


def test_so_is_one_that_waits_for_its_place(loaded):
    found = loaded(BETWEEN)
    core = found.bench
    effects = core.tell(m.CancelRun("no", "run_1"))
    assert core.started(effects) == ["run_1"]
    assert list(core.state.queue) == []


@pytest.mark.parametrize(
    ("message", "terminal"),
    [(m.CancelRun("no", "run_1"), "run_cancelled"), (DeadlineReached("run_1"), "run_timeout")],
)
def test_one_that_was_told_to_end_ends_as_it_was_told_whatever_crashes(bench, message, terminal):
    core = under_way(bench)
    core.tell(message)
    effects = core.tell(RunCrashed("run_1", BOOM))
    assert core.started(effects) == ["run_1"]
    (told,) = core.of(effects, fx.ToRun)
    assert told.message == message
    assert core.types(core.tell(RunCrashed("run_1", BOOM))) == [terminal]


def test_the_last_crash_fails_the_run_with_its_error(bench):
    core = under_way(bench, recoveries=3)
    effects = core.tell(RunCrashed("run_1", BOOM))
    (write,) = core.of(effects, fx.Write)
    assert write.drafts[0].data["error_code"] == "internal_error"
    assert write.runs[0].error["details"]["recoveries"] == 3


def test_one_that_must_ask_gives_its_place_to_the_next(bench):
    core = under_way(bench, turn_count=1, options={"on_unknown_outcome": "ask"})
    core.submitted("run_2")
    core.tell(RunCrashed("run_1", BOOM))
    effects = core.tell(m.ProgressLoaded("run_1", LOST, BOOM))
    assert core.types(effects) == ["run_recovered", "tool_approval_requested"]
    assert core.started(effects) == ["run_2"]
    core.tell(GrantApproval("run_1", "call_1"))
    assert core.started(core.tell(core.ended("run_2"))) == ["run_1"]


def test_a_barrier_is_told_of_when_all_before_it_is_durable(bench):
    core = under_way(bench)
    (write,) = core.tell(RunBarrier("run_1"))
    assert (write.drafts, write.runs) == ((), ())
    (effect,) = core.tell(write.then[0].message)
    assert (effect.run_id, effect.message.count) == ("run_1", 0)
    assert isinstance(write.then[0].message, DurableFor)


# --- Stopped in order -------------------------------------------------------------------------------------------------


def test_a_stop_puts_on_record_what_is_under_way_and_nothing_else(bench):
    core = under_way(bench)
    core.submitted("queued")
    core.created("created")
    (write,) = interruptions(core.state, core.now)
    assert [(draft.type, draft.run_id, draft.data) for draft in write.drafts] == [
        ("run_interrupted", "run_1", {"reason": "stop"})
    ]
    assert write.runs[0].options["interrupted_by"] == "stop"
    assert write.runs[0].status is RunStatus.RUNNING
    assert interruptions(bench().state, core.now) == []
