"""Questions through time, restarts and races: nothing is lost, nothing is done that nobody allowed."""

from __future__ import annotations

import pytest

import asm_actors as asm
from asm_actors.errors import AsmError, ErrorCode

pytestmark = pytest.mark.usefixtures("_quiet_logs")

TWO = ((("pay", "a"), ("look", "b")),)
BOTH = ((("pay", "a"), ("pay", "b")),)


# --- Time --------------------------------------------------------------------------------------------------------


def test_what_nobody_decides_in_time_is_denied(world):
    found = world().start()
    found.sim.advance(299.0)
    assert found.status == "awaiting_approval"
    found.sim.advance(2.0)
    (told,) = found.data("tool_approval_denied")
    assert (told["timed_out"], told["reason"]) == (True, "nobody decided within 300 s")
    assert found.outputs()["c1"] == ("the call of pay was denied: nobody allowed it within 300 s", True)
    assert (found.made, found.status) == ([], "completed")


def test_the_time_is_the_policys(world):
    found = world().start(policy={"approval_timeout": 5})
    found.sim.advance(6.0)
    assert found.status == "completed"


def test_time_goes_on_while_nothing_lives(world, store):
    found = world(store=store).start()
    found.sim.advance(200.0)
    found.kill()
    assert found.status == "awaiting_approval"
    found.sim.advance(99.0)
    found.kill()
    assert found.status == "awaiting_approval"
    found.sim.advance(2.0)
    assert (found.data("tool_approval_denied")[0]["timed_out"], found.status) == (True, "completed")


def test_a_question_whose_time_is_over_meanwhile_is_denied_at_once(world):
    found = world().start()
    found.sim.dispatcher.close()
    found.sim.store.close()
    found.sim.clock.advance(1_000.0)
    found.sim._start()
    found.sim.settle()
    assert found.status == "completed"


def test_while_other_calls_go_on_time_passes_too(world):
    found = world(turns=TWO)
    found.held.add("b")
    found.start().sim.advance(301.0)
    assert found.pending == []
    assert found.status == "running"
    found.gate.open()
    found.sim.settle()
    assert (found.made, found.status) == (["look b"], "completed")


def test_each_question_has_its_own_time(world):
    found = world(turns=((("pay", "a"),), (("pay", "b"),))).start()
    found.sim.advance(200.0)
    found.grant()
    found.sim.advance(200.0)
    assert found.pending == ["c2"]
    found.sim.advance(101.0)
    assert (found.made, found.status) == (["pay a"], "completed")


# --- Ends --------------------------------------------------------------------------------------------------------


def test_a_run_that_waits_can_be_cancelled(world):
    found = world().start()
    assert found.sim.manager.cancel_run(found.run_id).status is asm.RunStatus.CANCELLED
    assert found.pending == []
    assert found.grant().status is asm.RunStatus.CANCELLED
    found.sim.advance(1_000.0)
    assert found.made == []


def test_or_reach_its_deadline(world):
    found = world().start(deadline=10.0)
    found.sim.advance(11.0)
    assert found.status == "timeout"


def test_or_come_to_the_end_of_the_time_that_its_policy_allows(world, store):
    found = world(store=store).start(policy={"name": "short", "limits": {"max_duration_ms": 50_000}})
    found.sim.advance(40.0)
    found.kill()
    found.sim.advance(9.0)
    assert found.status == "awaiting_approval"
    found.sim.advance(2.0)
    assert (found.status, found.run.error["code"]) == ("failed", "policy_violation")
    (told,) = found.data("policy_violation")
    assert told["details"]["metric"] == "duration_ms"
    assert found.run.details["policy"]["violated"]


def test_time_that_is_only_warned_of_ends_nothing(world):
    policy = {"limits": {"max_duration_ms": 50_000}, "on_violation": "warn", "approval_timeout": None}
    found = world().start(policy=policy)
    found.sim.advance(1_000.0)
    assert (len(found.data("policy_violation")), found.status) == (1, "awaiting_approval")
    found.grant()
    assert (len(found.data("policy_violation")), found.status) == (1, "completed")


def test_the_end_of_its_session_ends_it(world):
    found = world().start()
    found.sim.manager.cancel_session(found.run.session_id)
    assert found.status == "cancelled"


def test_a_decision_that_meets_the_end_gets_the_final_record(world):
    found = world(turns=TWO)
    found.held.add("b")
    found.start()
    operations = found.sim.operations
    futures = [
        operations.cancel_run(found.run_id),
        operations.grant_approval(found.run_id, "c1"),
        operations.deny_approval(found.run_id, "c1"),
    ]
    found.sim.settle()
    assert {future.get().status for future in futures} == {asm.RunStatus.CANCELLED}
    assert found.made == ["look b"]


# --- Restarts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill", "restart"])
def test_a_question_survives_restarts_without_a_word(world, store, how):
    found = world(store=store, turns=TWO).start()
    before = found.sim.types_of(found.run_id)
    for _ in range(3):
        getattr(found.sim, how)()
        found.sim.settle()
    assert (found.pending, found.sim.types_of(found.run_id)) == (["c1"], before)
    found.grant(tool_input={"key": "z"})
    assert (found.made, found.status) == (["look b", "pay z"], "completed")
    assert found.run.recoveries == 0


def test_the_session_need_not_be_in_memory_to_be_asked_about(world, store):
    found = world(store=store).start()
    found.sim.kill()
    assert [one.call_id for one in found.sim.manager.pending_approvals()] == ["c1"]
    found.grant()


def test_decisions_survive_that_were_taken_while_it_waited(world, store):
    found = world(store=store, turns=BOTH)
    found.held.update(("a", "b"))
    found.start().deny("c2")
    found.grant("c1", tool_input={"key": "z"}, scope="run")
    found.kill()
    assert found.status == "completed"
    assert found.made == ["pay z"]


def test_what_was_allowed_runs_once_whatever_is_lost(world, store):
    found = world(store=store)
    found.start()
    found.sim.operations.grant_approval(found.run_id, "c1", tool_input={"key": "z"})
    while found.status == "awaiting_approval":
        found.sim.steps(1)
    found.kill()
    assert (found.made, found.status) == (["pay z"], "completed")


def test_a_decision_taken_while_the_run_was_live_survives(world, store):
    found = world(store=store, turns=TWO)
    found.held.add("b")
    found.start()
    found.sim.manager.deny_approval(found.run_id, "c1", reason="no")
    found.gate.open()
    found.kill()
    assert found.status == "completed"
    assert "pay a" not in found.made
    assert found.outputs()["c1"] == ("the call of pay was denied: no", True)


def test_a_question_of_a_live_run_survives_and_the_rest_is_repeated(world, store):
    found = world(store=store, turns=TWO)
    found.held.add("b")
    found.start()
    found.gate.open()
    found.kill()
    assert (found.made, found.status) == (["look b", "look b"], "awaiting_approval")
    assert len(found.data("tool_approval_requested")) == 1
    found.grant()
    assert found.status == "completed"


def test_a_gated_call_that_was_begun_and_is_safe_to_repeat_is_not_asked_about_again(world, store):
    policy = {"tool_rules": [("ask", ["look"])]}
    found = world(store=store, turns=((("look", "a"),),))
    found.held.add("a")
    found.start(policy=policy).grant()
    found.gate.open()
    found.kill()
    assert (found.made, found.status) == (["look a", "look a"], "completed")
    assert len(found.data("tool_approval_requested")) == 1


def test_grants_for_the_run_and_the_session_survive(world, store):
    again = ((("pay", "a"), ("pay", "b")), (("pay", "c"),), (("pay", "a"), ("pay", "b")))
    found = world(store=store, turns=again).start()
    found.grant("c1", scope="run")
    found.grant("c2", scope="session")
    assert found.pending == ["c3"]
    found.kill()
    found.deny("c3")
    assert (found.status, len(found.made)) == ("completed", 4)
    found.turns = ((("pay", "b"), ("pay", "a")),)
    assert found.another().pending == ["c2"]


def test_a_crash_of_its_session_loses_no_question(world):
    found = world().start()
    found.sim.crash(found.sim.session_ref(found.run.session_id))
    found.sim.manager.get_run(found.run_id)
    found.sim.dispatcher.failures.clear()
    found.sim.settle()
    found.grant()
    assert found.status == "completed"


# --- Calls of unknown outcome ------------------------------------------------------------------------------------


def unknown(world, **options):
    """A run whose call of `send` was cut off by the end of its process."""
    found = world(turns=((("send", "a"), ("pay", "b")),))
    found.held.add("a")
    found.start(on_unknown_outcome="ask", **options)
    found.gate.open()
    found.kill()
    return found


def test_a_call_can_wait_for_one_reason_and_another_for_the_other(world):
    found = unknown(world)
    kinds = {data["tool_call_id"]: data["policy_name"] for data in found.data("tool_approval_requested")}
    assert kinds == {"c1": "outcome_unknown", "c2": "requires_approval"}
    assert found.pending == ["c2", "c1"]
    found.grant("c2")
    assert (found.made[1:], found.pending) == (["pay b"], ["c1"])
    found.grant("c1")
    assert (found.made, found.status) == (["send a", "pay b", "send a"], "completed")


def test_that_question_has_its_time_too(world):
    found = unknown(world)
    found.grant("c2")
    found.sim.advance(301.0)
    assert (found.made, found.status) == (["send a", "pay b"], "completed")
    assert found.outputs()["c1"][1]


def test_a_gated_call_of_unknown_outcome_is_asked_about_once_more(world):
    found = world()
    found.held.add("a")
    found.start(on_unknown_outcome="ask").grant()
    found.gate.open()
    found.kill()
    assert found.pending == ["c1"]
    assert [data["violation_kind"] for data in found.data("tool_approval_requested")] == [
        "approval_required",
        "outcome_unknown",
    ]
    found.grant(tool_input={"key": "z"})
    assert (found.made, found.status) == (["pay a", "pay z"], "completed")


def test_without_that_option_its_unknown_outcome_ends_the_run(world):
    found = world(turns=((("send", "a"), ("pay", "b")),))
    found.held.add("a")
    found.start()
    found.gate.open()
    found.kill()
    assert (found.status, found.run.error["code"]) == ("failed", "outcome_unknown")
    assert [call["id"] for call in found.run.error["details"]["tool_calls"]] == ["c1"]


def test_a_question_alone_does_not_keep_a_run_from_beginning_again(world):
    found = world(turns=TWO)
    found.held.add("b")
    found.start(on_restart="retry")
    found.kill()
    found.gate.open()
    found.sim.settle()
    assert (found.pending, found.status) == (["c1"], "awaiting_approval")
    assert len(found.data("tool_approval_requested")) == 2
    found.grant()
    assert found.status == "completed"


def test_other_arguments_make_no_sense_for_a_run_that_begins_again(world):
    found = world(turns=((("send", "a"),),))
    found.held.add("a")
    found.start(on_unknown_outcome="ask", on_restart="retry")
    found.gate.open()
    found.kill()
    with pytest.raises(AsmError) as caught:
        found.grant(tool_input={"key": "z"})
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    found.grant()
    assert (found.made, found.status) == (["send a", "send a"], "completed")
