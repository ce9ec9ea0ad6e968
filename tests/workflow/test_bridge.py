"""A run as a step of somebody's workflow; on both surfaces."""

from __future__ import annotations

import json

import pytest

import asm_actors as asm
from asm_actors import AsmError, RunStatus, SessionStatus
from asm_actors.sessions.options import SessionOptions
from asm_actors.workflow.step import Step

# --- One step ------------------------------------------------------------------------------------------------------


def test_a_step_without_a_session_makes_one_that_ends_with_it(o):
    step = o.bridge.step_execute({"input": {"prompt": "hello"}, "tags": ["one"], "metadata": {"who": "me"}})
    assert (step.content, step.output["content"]) == ("1 messages", "1 messages")
    assert step.token_usage == {"input_tokens": 10, "output_tokens": 20}
    assert (step.stop_reason, step.tool_calls, step.has_tool_calls) == ("end_turn", (), False)
    assert (step.retryable, step.persistence_failures, step.workspace, step.policy) == (False, 0, None, None)
    assert [event.type.value for event in step.events][-1] == "run_completed"
    session = o.store.session(step.session_id)
    assert (session.status, session.agent_id, session.tags) == (
        SessionStatus.COMPLETED,
        "workflow-agent",
        ("one",),
    )
    assert o.store.run(step.run_id).metadata == {"who": "me"}


def test_a_step_is_json(bridge):
    told = json.loads(json.dumps(bridge.step_execute(input="hello", agent_id="me").to_map()))
    assert set(told) == {
        "output", "content", "token_usage", "session_id", "run_id", "events", "stop_reason", "tool_calls",
        "has_tool_calls", "persistence_failures", "workspace", "policy", "cost_usd", "retryable",
    }  # fmt: skip


def test_the_stop_reason_is_the_providers(bridge):
    assert bridge.step_execute(input={"prompt": "short"}).stop_reason == "max_tokens"


def test_steps_in_one_session_follow_each_other_in_it(o):
    session_id = o.bridge.setup_workflow_session(provider="mock", context={"system_prompt": "Be brief."})
    assert o.store.session(session_id).status is SessionStatus.ACTIVE
    steps = [o.bridge.step_execute(session_id=session_id, input="hello") for _ in range(2)]
    assert [step.session_id for step in steps] == [session_id] * 2
    ended = o.bridge.complete_workflow_session(session_id)
    assert (ended.status, len(o.store.runs(session_id))) == (SessionStatus.COMPLETED, 2)


def test_a_callback_is_told_the_events_of_the_run(bridge):
    seen = []
    step = bridge.step_execute(input="hello", event_callback=seen.append)
    session_id = bridge.setup_workflow_session()
    again = bridge.step_execute(session_id=session_id, input="hello", event_callback=seen.append)
    assert seen == [*step.events, *again.events]


def test_options_of_a_run_pass_through(o):
    options = {
        "max_turns": 3,
        "adapter_opts": {"model": "m"},
        "policies": [asm_policy("a"), asm_policy("b")],
        "continuation": False,
    }
    session_id = o.bridge.setup_workflow_session()
    for step in (
        o.bridge.step_execute({"input": "hello", **options}),
        o.bridge.step_execute({"input": "hello", "session_id": session_id, **options}),
    ):
        stored = o.store.run(step.run_id).options
        assert (stored["max_turns"], stored["adapter_opts"]) == (3, {"model": "m"})
        assert stored["policy"]["name"] == "a + b"


def asm_policy(name):
    return {"name": name, "limits": {"max_tool_calls": 5}}


@pytest.mark.parametrize("inside", [False, True])
def test_a_failed_step_raises_what_can_be_classified(o, inside):
    where = {"session_id": o.bridge.setup_workflow_session()} if inside else {}
    with pytest.raises(AsmError, match="no more") as found:
        o.bridge.step_execute(input={"prompt": "fail"}, **where)
    assert o.bridge.classify_error(found.value).recommended_action == "abort"
    session = o.store.session(found.value.context["session_id"])
    # A session of its own ends with the step; another one is the workflow's.
    assert session.status is (SessionStatus.ACTIVE if inside else SessionStatus.FAILED)


def test_a_deadline_holds_for_a_step(o):
    with pytest.raises(AsmError) as found:
        o.bridge.step_execute(input="hello", deadline=-1)
    assert found.value.code == "validation_error"


# --- Steps that an engine repeats ----------------------------------------------------------------------------------


def test_a_step_with_a_key_is_executed_once(o):
    session_id = o.bridge.setup_workflow_session()
    params = {"session_id": session_id, "input": "hello", "idempotency_key": "step-1"}
    first, again = o.bridge.step_execute(params), o.bridge.step_execute(params)
    assert (first.run_id, first.content) == (again.run_id, again.content)
    assert len(o.provider.requests) == 1
    other = o.bridge.step_execute(params, idempotency_key="step-2")
    assert other.run_id != first.run_id


def test_a_step_with_a_key_that_failed_fails_again(o):
    session_id = o.bridge.setup_workflow_session()
    params = {"session_id": session_id, "input": {"prompt": "fail"}, "idempotency_key": "step-1"}
    for _ in range(2):
        with pytest.raises(AsmError, match="no more"):
            o.bridge.step_execute(params)
    assert [run.status for run in o.store.runs(session_id)] == [RunStatus.FAILED]


# --- Sessions of workflows -----------------------------------------------------------------------------------------


def test_a_workflow_may_end_its_session_as_failed(o):
    session_id = o.bridge.setup_workflow_session(agent_id="planner")
    ended = o.bridge.complete_workflow_session(session_id, status="failed", error="the plan was bad")
    assert (ended.status, ended.agent_id) == (SessionStatus.FAILED, "planner")
    (failed,) = o.store.read_session(session_id, asm.EventFilter(types="session_failed"))
    assert failed.data["error_message"] == "the plan was bad"


def test_a_session_that_cannot_be_activated_is_not_left_open(opened):
    o = opened(limits=asm.Limits(max_parallel_sessions=1))
    o.bridge.setup_workflow_session()
    with pytest.raises(AsmError) as found:
        o.bridge.setup_workflow_session()
    assert found.value.code == "max_sessions_exceeded"
    assert {session.status.value for session in o.store.sessions()} == {"active", "cancelled"}


# --- What is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"inputs": "x"}, "a step has no parameter 'inputs'; did you mean input?"),
        ({"input": "x", "idempotency_key": "k"}, "give its session_id"),
        ({"input": "x", "session_id": "ses_1", "tags": ["one"]}, "tags is for a step that makes its session"),
        ({"input": "x", "session_id": ""}, "session_id cannot be empty"),
        ({"input": "x", "event_callback": 3}, "event_callback"),
        ({"input": "x", "continuation": True}, "continuation"),
        ({"input": "x", "provider": "nobody"}, "must be one of: mock"),
    ],
)
def test_malformed_parameters_are_refused_and_make_nothing(o, params, told):
    with pytest.raises(AsmError, match="validation_error") as found:
        o.bridge.step_execute(params)
    assert told in found.value.message
    assert o.store.last_position() == 0


def test_parameters_are_a_map(bridge):
    with pytest.raises(AsmError, match="must be a map of parameters"):
        bridge.step_execute(["input"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"status": "cancelled"}, "must be one of completed, failed"),
        ({"error": "why"}, "is for status 'failed'"),
    ],
)
def test_malformed_ends_are_refused(bridge, options, told):
    session_id = bridge.setup_workflow_session()
    with pytest.raises(AsmError, match="validation_error") as found:
        bridge.complete_workflow_session(session_id, **options)
    assert told in found.value.message


def test_an_unknown_session_is_told_as_such(bridge):
    for call in (
        lambda: bridge.step_execute(session_id="ses_none", input="x"),
        lambda: bridge.complete_workflow_session("ses_none"),
    ):
        with pytest.raises(AsmError) as found:
            call()
        assert found.value.code == "session_not_found"


def test_a_bridge_needs_a_system_of_its_surface():
    for kind in (asm.WorkflowBridge, asm.AsyncWorkflowBridge):
        with pytest.raises(AsmError, match="must be an"):
            kind("system")


def test_every_option_of_a_run_is_a_parameter_of_a_step():
    names = set(asm_run_options())
    assert names <= set(Step.of(dict.fromkeys(names, "x"), {}).options)
    assert "max_queued_runs" in SessionOptions.__annotations__  # of sessions: given to setup_workflow_session


def asm_run_options():
    from asm_actors.runs.options import RunOptions

    return RunOptions.__annotations__
