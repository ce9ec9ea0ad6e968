"""Cancelling a run in order to ask somebody: one append, once."""

from __future__ import annotations

import pytest

import asm_actors as asm
from asm_actors.errors import AsmError, ErrorCode

LAST = ["tool_approval_requested", "run_cancelled"]


def under_way(world, **options):
    found = world(turns=((("look", "b"),),), **options)
    found.held.add("b")
    return found.start()


def cancel(found, *args, **options):
    return found.sim.manager.cancel_for_approval(found.run_id, *args, **options)


def test_the_end_and_the_question_are_one_append(world, store):
    found = under_way(world, store=store)
    run = cancel(found, tool_name="deploy", tool_call_id="x1", tool_input={"to": "prod"}, reason="careful")
    assert run.status is asm.RunStatus.CANCELLED
    assert run.error["details"]["reason"] == "approval_requested"
    events = found.sim.events_of(found.run_id)[-2:]
    assert [event.type.value for event in events] == LAST
    assert events[1].data["reason"] == "approval_requested"
    assert events[0].data == {
        "tool_name": "deploy",
        "tool_call_id": "x1",
        "tool_input": {"to": "prod"},
        "policy_name": "approval",
        "reason": "careful",
    }


def test_a_map_will_do_and_what_is_named_stands_over_it(world):
    found = under_way(world)
    cancel(found, {"tool_name": "deploy", "policy_name": "p", "note": 1}, policy_name="q", urgency="high")
    data = found.data("tool_approval_requested")[0]
    assert (data["tool_name"], data["policy_name"], data["note"], data["urgency"]) == (
        "deploy",
        "q",
        1,
        "high",
    )


@pytest.mark.parametrize(
    ("args", "options"),
    [((), {}), (({},), {}), ((3,), {}), ((), {"tool_name": 3}), ((), {"tool_name": "x", "tool_input": []})],
    ids=str,
)
def test_without_a_tool_or_malformed_it_is_refused(world, args, options):
    found = under_way(world)
    with pytest.raises(AsmError) as caught:
        cancel(found, *args, **options)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert found.status == "running"
    found.sim.manager.cancel_run(found.run_id)


def test_it_is_done_once(world):
    found = under_way(world)
    operations = found.sim.operations
    futures = [operations.cancel_for_approval(found.run_id, tool_name=name) for name in ("a", "b")]
    found.sim.settle()
    assert len({future.get() for future in futures}) == 1
    assert cancel(found, tool_name="c") == found.run
    assert [data["tool_name"] for data in found.data("tool_approval_requested")] == ["a"]


def test_a_run_that_is_over_stays_as_it_ended(world):
    found = world(turns=()).start()
    assert cancel(found, tool_name="a").status is asm.RunStatus.COMPLETED
    assert found.data("tool_approval_requested") == []


def test_one_that_is_being_cancelled_for_another_reason_ends_by_that(world):
    found = under_way(world)
    operations = found.sim.operations
    futures = [
        operations.cancel_run(found.run_id),
        operations.cancel_for_approval(found.run_id, tool_name="a"),
    ]
    found.sim.settle()
    assert {future.get().status for future in futures} == {asm.RunStatus.CANCELLED}
    assert found.sim.types_of(found.run_id)[-1] == "run_cancelled"


@pytest.mark.parametrize("where", ["created", "queued", "waiting"])
def test_it_works_wherever_the_run_stands(world, where):
    found = world().start()
    session_id, first = found.run.session_id, found.run_id
    if where == "created":
        found.run_id = found.sim.manager.start_run(session_id, "Later").id
    elif where == "queued":
        found.sim.manager.pause_session(session_id)
        found.run_id = found.sim.manager.submit_run(session_id, "Later").id
    cancel(found, tool_name="pay", tool_call_id="c1")
    assert found.sim.types_of(found.run_id)[-2:] == LAST
    assert [one.run_id for one in found.sim.manager.pending_approvals()] == [first] * (where != "waiting")


def test_nobody_knows_that_run(world):
    found = world(turns=()).start()
    with pytest.raises(AsmError) as caught:
        found.sim.manager.cancel_for_approval("run_nobody", tool_name="a")
    assert caught.value.code is ErrorCode.RUN_NOT_FOUND


def test_handles_take_it(world):
    found = under_way(world)
    message = asm.messages.CancelForApproval({"tool_name": "deploy"})
    assert found.sim.system.run(found.run_id).ask(message).status is asm.RunStatus.CANCELLED
    assert found.sim.types_of(found.run_id)[-2:] == LAST
