"""A run's core under a policy: what it says, whatever the run does, and what it costs where there is none."""

from __future__ import annotations

import pytest

from asm_actors import effects as fx
from asm_actors.cost.built_in import BUILT_IN_PRICES
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.policies.policy import Policy
from asm_actors.providers.items import ToolCallStarted, Usage
from asm_actors.runs import state as core_module
from asm_actors.runs.messages import ApprovalDecided, CancelRun, RunAsks, RunHolds
from asm_actors.runs.notices import TimeIsUp
from asm_actors.runs.policing import evaluator_for, policy_for, watch_over
from asm_actors.runs.run import RunStatus
from asm_actors.sessions.session import Session
from asm_actors.tools.tool import Tool

SCHEMA = {"type": "object", "properties": {"at": {}}, "required": ["at"], "additionalProperties": False}
LOOK = Tool("look", "Looks", SCHEMA, print)
PAY = Tool("pay", "Pays", {"type": "object"}, print, requires_approval=True)
TOOLS = (LOOK, PAY)
SESSION = Session(id="ses_1", agent_id="agent")


@pytest.fixture
def policed(bench):
    """A bench whose run has a policy, in a phase."""

    def make(phase="streaming", tools=TOOLS, **policy):
        core = bench(tools=tools, run_options={"policy": policy} if policy else None)
        watch_over(core.state, SESSION, None, BUILT_IN_PRICES, None)
        if phase in ("streaming", "calling", "parked", "stopping"):
            core.tell(core_module.SlotTaken(), now=bench.now)
        if phase == "calling":
            core.call(("look", {"at": 1}))
        elif phase == "parked":
            core.tell(core_module.ProviderGone(core.gone))
        elif phase == "stopping":
            core.tell(CancelRun("enough"))
        assert core.phase == phase
        return core

    return make


def violations(core, effects):
    return [kind for kind in core.types(effects) if kind == "policy_violation"]


def decide(core, call_id="call_1", kind=EventType.TOOL_APPROVAL_GRANTED, **data):
    data = {"tool_call_id": call_id, "tool_name": "pay", **data}
    return core.tell(ApprovalDecided("run_1", call_id, kind, data, core.now))


# --- Whose policy ------------------------------------------------------------------------------------------------


def test_a_run_without_a_policy_and_without_gated_tools_has_nothing_that_looks_at_it(policed):
    assert policed(tools=(LOOK,)).state.evaluator is None
    assert policed(tools=TOOLS).state.evaluator is not None


@pytest.mark.parametrize(
    ("system", "session", "run", "name"),
    [
        (None, None, None, None),
        ("a", None, None, "a"),
        (None, "b", None, "b"),
        (None, None, "c", "c"),
        ("a", "b", "c", "a + b + c"),
        ("a", "a", None, "a"),
    ],
)
def test_policies_are_put_together(bench, system, session, run, name):
    whose = SESSION.replace(options={"policy": {"name": session}} if session else {})
    record = bench(run_options={"policy": {"name": run}} if run else None).state.run
    found = policy_for(Policy(name=system) if system else None, whose, record)
    assert (None if found is None else found.name) == name


def test_a_policy_that_cannot_be_read_ends_the_run_before_its_provider_is_called(policed):
    core = policed("waiting", limits={"max_turns": "many"})
    effects = core.tell(core_module.SlotTaken())
    assert core.types(effects) == ["message_sent", "run_started", "run_failed"]
    assert core.to_provider(effects) == []
    assert core.end(effects).error.code is ErrorCode.VALIDATION_ERROR


# --- While it streams --------------------------------------------------------------------------------------------


def test_what_exceeds_a_limit_closes_the_stream_first(policed):
    core = policed(limits={"max_total_tokens": 5})
    effects = core.items(Usage(3, 5))
    assert core.types(effects) == ["policy_violation"]
    assert (core.to_provider(effects), core.phase) == (["CancelTurn"], "stopping")
    effects = core.items(is_last=True)
    assert core.types(effects) == ["token_usage_updated", "run_failed"]
    ended = core.end(effects)
    assert (ended.run.status, ended.error.code) == (RunStatus.FAILED, ErrorCode.POLICY_VIOLATION)
    assert ended.run.details["policy"]["violated"]


def test_if_it_was_the_last_that_was_said_nothing_need_be_closed(policed):
    core = policed(limits={"max_total_tokens": 5})
    effects = core.finish()
    assert core.types(effects)[-2:] == ["token_usage_updated", "run_failed"]
    assert core.to_provider(effects) == []


def test_the_same_tokens_are_told_once(policed):
    core = policed(limits={"max_total_tokens": 5}, on_violation="warn")
    effects = core.items(Usage(3, 5)) + core.items(Usage(4, 5)) + core.finish()
    assert len(violations(core, effects)) == 1
    assert core.types(effects)[-1] == "run_completed"


def test_a_cancel_that_came_first_stands(policed):
    core = policed("stopping", limits={"max_total_tokens": 5})
    effects = core.items(Usage(30, 50), is_last=True)
    assert core.end(effects).run.status is RunStatus.CANCELLED


def test_a_call_of_the_provider_is_seen_afterwards(policed):
    core = policed(tool_rules=[("deny", ["bash"])])
    effects = core.items(ToolCallStarted("x", "bash", {}))
    assert core.types(effects) == ["tool_call_started", "policy_violation"]
    assert core.phase == "stopping"


# --- Time --------------------------------------------------------------------------------------------------------


def test_a_duration_has_a_timer_from_its_start_on(policed):
    core = policed("waiting", limits={"max_duration_ms": 5_000})
    effects = core.tell(core_module.SlotTaken(), now=core.now)
    assert core.of(effects, fx.SetTimer) == [fx.SetTimer("policy", 5.0, effects[-1].message)]
    assert type(effects[-1].message) is TimeIsUp


@pytest.mark.parametrize(
    ("phase", "ends_by"),
    [("streaming", "CancelTurn"), ("calling", fx.StopTools), ("parked", None), ("stopping", None)],
)
def test_when_it_is_over_the_run_is_stopped_wherever_it_stands(policed, phase, ends_by):
    core = policed(phase, limits={"max_duration_ms": 5_000})
    effects = core.tell(TimeIsUp(), now=core.now + 5_000_000)
    if phase == "stopping":
        assert effects == []
    elif phase == "parked":
        error = core.end(effects).error
        assert error.code is ErrorCode.POLICY_VIOLATION
        assert error.message == "the 5000 ms that policy default allows are over"
    else:
        found = core.to_provider(effects) + [type(effect) for effect in core.of(effects, fx.StopTools)]
        assert found == [ends_by]
        assert core.types(effects) == ["policy_violation"]


# --- Calls -------------------------------------------------------------------------------------------------------


def test_a_gated_call_waits_and_the_others_begin(policed):
    core = policed()
    effects = core.call(("pay", {}), ("look", {"at": 1}))
    (asks,) = core.notices(effects, RunAsks)
    assert [draft.type.value for draft in asks.drafts][-2:] == [
        "tool_approval_requested",
        "tool_call_started",
    ]
    assert asks.run.details["has_asked"] is True
    (begun,) = core.of(core.durable(), fx.CallTool)
    assert begun.name == "look"
    effects = core.tell(core_module.ToolEnded("call_2", "seen"))
    (word,) = core.notices(effects, RunHolds)
    assert [draft.type.value for draft in word.drafts] == ["tool_call_completed"]
    assert (word.run.status, word.progress.waits_only) == (RunStatus.AWAITING_APPROVAL, True)


def test_alone_it_has_the_run_hold_in_the_append_of_its_question(policed):
    core = policed()
    effects = core.call(("pay", {}))
    (word,) = core.notices(effects, RunHolds)
    assert [draft.type.value for draft in word.drafts][-2:] == ["turn_completed", "tool_approval_requested"]
    assert core.phase == "ended"


def test_a_decision_while_others_go_on_has_it_begin(policed):
    core = policed()
    core.call(("pay", {}), ("look", {"at": 1}))
    core.durable()
    effects = decide(core, tool_input={"sum": 3}, scope="once")
    assert core.types(effects) == ["tool_call_started"]
    (begun,) = core.of(core.durable(), fx.CallTool)
    assert (begun.call_id, begun.input) == ("call_1", {"sum": 3})
    assert decide(core) == []


def test_a_denial_is_an_answer(policed):
    core = policed()
    core.call(("pay", {}), ("look", {"at": 1}))
    core.durable()
    effects = decide(core, kind=EventType.TOOL_APPROVAL_DENIED, reason="no")
    assert core.types(effects) == ["tool_call_started", "tool_call_failed"]
    assert core.state.calls["call_1"].answer["tool_output"] == "the call of pay was denied: no"


def test_a_batch_that_waits_for_the_disk_is_not_lost_by_a_later_one(policed):
    core = policed()
    core.call(("pay", {}), ("look", {"at": 1}))
    decide(core)
    begun = core.of(core.durable(), fx.CallTool)
    assert [call.call_id for call in begun] == ["call_2", "call_1"]


def test_a_denial_that_ends_the_run_stops_the_others_first(policed):
    core = policed(on_denied="fail")
    core.call(("pay", {}), ("look", {"at": 1}))
    core.durable()
    effects = decide(core, kind=EventType.TOOL_APPROVAL_DENIED)
    assert core.of(effects, fx.StopTools)
    effects = core.tell(core_module.ToolsStopped([]))
    assert core.types(effects) == ["tool_call_failed", "run_failed"]
    assert core.end(effects).error.code is ErrorCode.POLICY_VIOLATION


def test_a_call_that_waits_is_no_call_that_runs_when_it_is_stopped(policed):
    core = policed()
    core.call(("pay", {}), ("look", {"at": 1}))
    core.durable()
    core.tell(CancelRun("enough"))
    effects = core.tell(core_module.ToolsStopped([]))
    assert core.types(effects) == ["tool_call_failed", "run_cancelled"]


def test_what_is_known_comes_with_a_run_that_goes_on(policed, bench):
    core = policed(limits={"max_tool_calls": 1}, on_violation="request_approval")
    core.call(("look", {"at": 1}), ("look", {"at": 2}))
    core.durable()
    (word,) = core.notices(core.tell(core_module.ToolEnded("call_1", "seen")), RunHolds)
    known = word.progress.policed
    assert (known.n_calls, known.n_turns, [one.subject for one in known.violations]) == (1, 1, ["tool_calls"])
    policy = Policy(limits={"max_tool_calls": 1})
    assert evaluator_for(policy, BUILT_IN_PRICES, "mock", {}, word.run, known).state is known


def test_the_error_names_the_run(policed):
    core = policed(limits={"max_total_tokens": 5})
    error = core.end(core.finish()).error
    assert isinstance(error, AsmError)
    assert error.context == {"session_id": "ses_1", "run_id": "run_1"}


def test_a_timer_that_is_early_is_set_again(policed):
    core = policed("streaming", limits={"max_duration_ms": 5_000})
    started = core.state.run.started_us
    effects = core.tell(TimeIsUp(), now=started + 4_999_990)
    assert [effect.delay_s for effect in core.of(effects, fx.SetTimer)] == [0.00001]
    assert effects == core.of(effects, fx.SetTimer)
    core.tell(TimeIsUp(), now=started + 5_000_000)
    assert core.state.phase is core_module.Phase.STOPPING
