"""Calls that wait for somebody: the question, the wait, and what each decision leads to."""

from __future__ import annotations

import pytest

import asm_actors as asm
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.sessions import approvals

TWO = ((("pay", "a"), ("look", "b")),)
BOTH = ((("pay", "a"), ("pay", "b")),)


def refusal(call, *args, **options):
    with pytest.raises(AsmError) as caught:
        call(*args, **options)
    return caught.value.code


# --- The question ------------------------------------------------------------------------------------------------


def test_the_question_holds_all_that_a_person_needs(world):
    found = world().start()
    (asked,) = found.data("tool_approval_requested")
    assert asked == {
        "tool_call_id": "c1",
        "tool_name": "pay",
        "tool_input": {"key": "a"},
        "policy_name": "requires_approval",
        "violation_kind": "approval_required",
        "reason": "its tool requires approval before pay is called",
        "lifts": [],
        "approval_timeout": 300.0,
        "expires_at": "2026-01-01T00:05:00.000000Z",
        "agent_id": "agent",
        "turn": 1,
        "text": "Let me see. ",
    }
    assert found.status == "awaiting_approval"
    assert found.made == []


def test_it_is_found_as_a_value_wherever_one_looks(world):
    found = world().start()
    manager = found.sim.manager
    (one,) = manager.pending_approvals()
    assert isinstance(one, asm.Approval)
    assert (one.run_id, one.call_id, one.tool_name, one.tool_input) == (
        found.run_id,
        "c1",
        "pay",
        {"key": "a"},
    )
    assert (one.status, one.timeout) == (asm.ApprovalStatus.REQUESTED, 300.0)
    assert manager.pending_approvals(found.run.session_id) == [one]
    assert manager.pending_approvals(run_id=found.run_id) == [one]
    other = found.sim.active_session()
    assert manager.pending_approvals(other.id) == []
    assert manager.pending_approvals(other.id, found.run_id) == []
    assert refusal(manager.pending_approvals, "nobody") is ErrorCode.SESSION_NOT_FOUND
    assert refusal(manager.pending_approvals, run_id="nobody") is ErrorCode.RUN_NOT_FOUND


def test_a_run_that_waits_holds_neither_slot_nor_actor(world):
    found = world(limits=asm.Limits(max_parallel_runs=1)).start()
    assert found.sim.run_ref(found.run_id) is None
    first, found.turns = found.run_id, ()
    assert found.another().status == "completed"
    found.run_id, found.turns = first, TWO[:1]
    found.grant()
    assert found.status == "completed"


def test_a_rule_of_a_policy_asks_too(world):
    policy = asm.Policy(name="careful", tool_rules=[("ask", ["send"])], approval_timeout=None)
    found = world(turns=((("send", "a"),),)).start(policy=policy)
    (asked,) = found.data("tool_approval_requested")
    assert (asked["policy_name"], asked["violation_kind"]) == ("careful", "approval_required")
    assert (asked["approval_timeout"], asked["expires_at"]) == (None, None)
    assert found.data("policy_violation") == []
    found.sim.advance(1_000_000.0)
    assert found.status == "awaiting_approval"
    found.grant()
    assert (found.status, found.made) == ("completed", ["send a"])


def test_a_long_text_before_the_call_is_left_out(world):
    found = world(said="?" * 5_000).start()
    assert "text" not in found.data("tool_approval_requested")[0]


# --- Decisions ---------------------------------------------------------------------------------------------------


def test_granted_the_call_is_made_and_the_run_goes_on(world):
    found = world().start()
    assert found.grant(by="ann", reason="fine").status is asm.RunStatus.RUNNING
    assert found.data("tool_approval_granted") == [
        {"tool_call_id": "c1", "tool_name": "pay", "by": "ann", "reason": "fine", "scope": "once"}
    ]
    assert found.made == ["pay a"]
    assert found.outputs() == {"c1": ("pay a: done", False)}
    assert found.status == "completed"


def test_denied_the_model_is_told_and_the_run_goes_on(world):
    found = world().start()
    found.deny(by="ann", reason="too much")
    assert found.data("tool_approval_denied") == [
        {"tool_call_id": "c1", "tool_name": "pay", "by": "ann", "reason": "too much"}
    ]
    assert found.made == []
    assert found.outputs() == {"c1": ("the call of pay was denied by ann: too much", True)}
    assert found.data("tool_call_failed")[0]["error"]["code"] == "tool_permission_denied"
    assert found.status == "completed"


def test_a_policy_may_have_a_denial_end_the_run(world):
    found = world().start(policy={"on_denied": "fail"})
    found.deny(reason="never")
    assert (found.status, found.run.error["code"]) == ("failed", "policy_violation")
    assert "never" in found.run.error["message"]


def test_with_other_arguments_these_are_what_runs_and_what_is_recorded(world):
    found = world().start()
    found.grant(tool_input={"key": "less"})
    assert found.data("tool_approval_granted")[0]["tool_input"] == {"key": "less"}
    assert found.data("tool_call_started")[0]["tool_input"] == {"key": "less"}
    assert found.made == ["pay less"]


@pytest.mark.parametrize("given", [{"amount": 1}, {}, {"key": "a", "more": 1}, {"key": 3}], ids=str)
def test_arguments_that_the_tool_does_not_take_are_refused_and_nothing_changes(world, given):
    found = world().start()
    before = found.sim.types_of(found.run_id)
    assert refusal(found.grant, tool_input=given) is ErrorCode.VALIDATION_ERROR
    assert (found.sim.types_of(found.run_id), found.pending) == (before, ["c1"])
    found.grant()


@pytest.mark.parametrize(
    "options", [{"scope": "always"}, {"by": ""}, {"reason": 3}, {"tool_input": "key"}], ids=str
)
def test_a_malformed_decision_is_refused(world, options):
    found = world().start()
    assert refusal(found.grant, **options) is ErrorCode.VALIDATION_ERROR
    assert found.pending == ["c1"]


@pytest.mark.parametrize("call_id", ["c2", "c9"])
def test_a_decision_before_the_question_is_refused(world, call_id):
    found = world(turns=((("pay", "a"),), (("pay", "b"),))).start()
    assert refusal(found.grant, call_id) is ErrorCode.INVALID_OPERATION
    assert refusal(found.deny, call_id) is ErrorCode.INVALID_OPERATION
    found.grant()
    assert found.pending == ["c2"]
    found.deny("c2")


def test_a_second_one_changes_nothing(world):
    found = world(turns=TWO)
    found.held.add("a")
    found.start().grant()
    assert found.status == "running"
    before = found.sim.types_of(found.run_id)
    assert found.deny().status is asm.RunStatus.RUNNING
    assert found.grant(scope="run").id == found.run_id
    assert found.sim.types_of(found.run_id) == before
    found.gate.open()
    found.sim.settle()
    assert found.status == "completed"


def test_on_a_run_that_is_over_its_final_record_is_the_answer(world):
    found = world().start()
    found.grant()
    for decide in (found.grant, found.deny):
        assert decide("c1") == found.run
        assert decide("nothing") == found.run


def test_handles_take_decisions(world):
    found = world(turns=BOTH).start()
    handle = found.sim.system.run(found.run_id)
    run = handle.ask(asm.messages.GrantApproval(tool_call_id="c1", tool_input={"key": "z"}))
    assert run.id == found.run_id
    handle.tell(asm.messages.DenyApproval(tool_call_id="c2"))
    found.sim.settle()
    assert (found.made, found.status) == (["pay z"], "completed")


# --- The others --------------------------------------------------------------------------------------------------


def test_one_question_blocks_its_own_call_only(world):
    found = world(turns=TWO).start()
    assert found.made == ["look b"]
    assert found.status == "awaiting_approval"
    found.grant()
    assert found.outputs() == {"c1": ("pay a: done", False), "c2": ("look b: done", False)}


def test_while_others_go_on_the_run_does_and_the_decision_reaches_it(world):
    found = world(turns=TWO)
    found.held.add("b")
    found.start()
    assert (found.status, found.made) == ("running", ["look b"])
    assert found.pending == ["c1"]
    found.grant(tool_input={"key": "z"})
    assert found.made == ["look b", "pay z"]
    found.gate.open()
    found.sim.settle()
    assert found.status == "completed"


def test_each_decision_has_its_own_call_go_on(world):
    found = world(turns=BOTH).start()
    assert found.pending == ["c1", "c2"]
    found.grant("c2")
    assert (found.made, found.pending, found.status) == (["pay b"], ["c1"], "awaiting_approval")
    found.deny("c1")
    assert (found.made, found.status) == (["pay b"], "completed")
    assert list(found.outputs()) == ["c1", "c2"]


def test_calls_that_cannot_be_made_are_not_asked_about(world):
    found = world(turns=((("pay", 3), ("nothing", "a")),)).start()
    assert found.data("tool_approval_requested") == []
    assert found.status == "completed"


# --- Scopes ------------------------------------------------------------------------------------------------------

AGAIN = ((("pay", "a"),), (("pay", "a"), ("pay", "b")))


def test_once_is_for_this_call(world):
    found = world(turns=AGAIN).start()
    found.grant()
    assert found.pending == ["c2", "c3"]
    found.deny("c2")
    found.deny("c3")


def test_for_the_run_is_for_calls_of_it_that_are_alike(world):
    found = world(turns=AGAIN).start()
    found.grant(scope="run")
    assert (found.made, found.pending) == (["pay a", "pay a"], ["c3"])
    found.deny("c3")
    assert found.another().pending == ["c1"]
    found.deny()
    found.deny("c2")
    found.deny("c3")


def test_for_the_session_is_for_its_later_runs_too(world):
    found = world(turns=AGAIN).start()
    found.grant(scope="session", by="ann")
    found.deny("c3")
    assert found.another().made == ["pay a"] * 4
    assert found.pending == ["c3"]
    found.deny("c3")
    (kept,) = found.sim.session(found.run.session_id).options["grants"]
    assert (kept["tool_name"], kept["tool_input"], kept["by"]) == ("pay", {"key": "a"}, "ann")
    other = found.sim.active_session()
    found.run_id = found.sim.manager.submit_run(other.id, "Go.").id
    found.sim.settle()
    assert found.pending == ["c1"]
    found.sim.manager.cancel_run(found.run_id)


@pytest.mark.parametrize("scope", ["run", "session"])
def test_a_grant_answers_the_questions_about_like_calls(world, scope):
    found = world(turns=((("pay", "a"), ("pay", "a"), ("pay", "b")),)).start()
    found.grant("c2", scope=scope, by="ann")
    assert (found.made, found.pending) == (["pay a", "pay a"], ["c3"])
    granted = {data["tool_call_id"]: data for data in found.data("tool_approval_granted")}
    assert granted["c1"]["standing"] == {"run_id": found.run_id, "tool_call_id": "c2", "scope": scope}
    assert granted["c1"]["by"] == "ann"
    found.deny("c3")


def test_one_for_the_session_answers_those_of_its_other_runs(world):
    found = world(limits=asm.Limits(max_concurrent_runs=2)).start()
    first = found.run_id
    found.another()
    found.grant(scope="session")
    assert found.made == ["pay a", "pay a"]
    assert found.sim.run(first).status == found.run.status == asm.RunStatus.COMPLETED


def test_a_run_that_began_before_the_grant_is_answered_when_it_asks(world):
    found = world(turns=((("send", "wait"),), (("pay", "a"),)), limits=asm.Limits(max_concurrent_runs=2))
    found.held.add("wait")
    early = found.start().run_id
    found.turns = ((("send", "go"),), (("pay", "a"),))
    found.another().grant("c2", scope="session")
    found.gate.open()
    found.sim.settle()
    assert found.sim.run(early).status is asm.RunStatus.COMPLETED


def test_grants_of_a_session_are_bounded_and_the_newest_ones_count(world, monkeypatch):
    monkeypatch.setattr(approvals, "MAX_GRANTS", 2)
    found = world(turns=()).start()
    for key in ("a", "b", "c"):
        found.turns = ((("pay", key),),)
        found.another().grant(scope="session")
    grants = found.sim.session(found.run.session_id).options["grants"]
    assert [grant["tool_input"]["key"] for grant in grants] == ["b", "c"]
    found.turns = ((("pay", "c"), ("pay", "a")),)
    assert found.another().pending == ["c2"]
