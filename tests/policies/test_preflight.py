"""What is refused before a run starts."""

from __future__ import annotations

import pytest

from asm_actors.errors import AsmError, RuntimeFailure
from asm_actors.policies.evaluator import Evaluator
from asm_actors.policies.facts import RunBegan, TurnOver, UsageTold
from asm_actors.policies.policy import Policy, stack_merge
from asm_actors.policies.preflight import preflight


@pytest.mark.parametrize(
    ("fields", "check", "details"),
    [
        ({"tool_rules": {"allow": []}}, "empty_allow_list", {}),
        ({"tool_rules": [("allow", ["a"]), ("allow", ["", None])]}, "empty_allow_list", {}),
        ({"limits": {"max_total_tokens": 0}}, "zero_budget", {"limits": ["max_total_tokens"]}),
        ({"limits": {"max_tool_calls": 0}}, "zero_budget", {"limits": ["max_tool_calls"]}),
        ({"limits": {"max_duration_ms": 0}}, "zero_budget", {"limits": ["max_duration_ms"]}),
        ({"limits": {"max_turns": 0}, "on_violation": "warn"}, "zero_budget", {"limits": ["max_turns"]}),
        ({"tool_rules": {"allow": ["b", "a"], "deny": ["a", "b"]}}, "contradictory_rules", {"tools": ["a", "b"]}),
        # In this order, if there is more than one reason.
        ({"tool_rules": {"allow": []}, "limits": {"max_turns": 0}}, "empty_allow_list", {}),
        (
            {"tool_rules": {"allow": ["a"], "deny": ["a"]}, "limits": {"max_turns": 0}},
            "zero_budget",
            {"limits": ["max_turns"]},
        ),
    ],
)  # fmt: skip
def test_what_can_only_go_wrong_is_refused(fields, check, details):
    with pytest.raises(RuntimeFailure) as raised:
        preflight(Policy(name="p", **fields))
    assert raised.value.code == "policy_violation"
    assert raised.value.details == {"check": check, "policy": "p", **details}
    assert "policy p " in raised.value.message


@pytest.mark.parametrize(
    "policy",
    [
        Policy(),
        Policy(limits={"max_cost_usd": 0, "max_turns": 1}),
        Policy(tool_rules={"deny": []}),
        Policy(tool_rules={"allow": ["a"], "deny": ["b"]}),
        stack_merge([Policy(name="a", tool_rules={"allow": ["x", "y"]}), Policy(name="b", tool_rules={"deny": ["x"]})]),
        stack_merge([Policy(name="a", tool_rules={"allow": ["x"]}), Policy(name="b", tool_rules={"allow": ["y"]})]),
    ],
)  # fmt: skip
def test_what_can_go_well_is_not(policy):
    preflight(policy)


def test_the_part_that_is_wrong_is_named():
    merged = stack_merge([Policy(name="a"), Policy(name="b", tool_rules={"allow": ["x"], "deny": ["x"]})])
    with pytest.raises(AsmError, match="policy b both allows and denies x"):
        preflight(merged)


def test_tools_that_a_run_requires_must_be_allowed():
    policy = Policy(tool_rules={"deny": ["rm"]})
    preflight(policy, required_tools=["ls"])
    with pytest.raises(AsmError) as raised:
        preflight(policy, required_tools=["ls", "rm"])
    assert raised.value.details["check"] == "required_tool_denied"
    assert raised.value.details["tools"] == ["rm"]
    for action in ("request_approval", "warn"):
        preflight(policy.merge({"on_violation": action}), required_tools=["rm"])


def test_limits_that_are_exceeded_already_are_refused():
    policy = Policy(limits={"max_total_tokens": 5, "max_duration_ms": 10})
    evaluator = Evaluator(policy).observe(RunBegan(), 0).evaluator
    preflight(policy, evaluator=evaluator, now=9_999)
    evaluator = (
        evaluator.observe(UsageTold({"input_tokens": 6}), 1).evaluator.observe(TurnOver(), 2).evaluator
    )
    with pytest.raises(AsmError) as raised:
        preflight(policy, evaluator=evaluator, now=10_000)
    assert raised.value.details["check"] == "already_exceeded"
    assert [one["details"]["metric"] for one in raised.value.details["violations"]] == [
        "total_tokens",
        "duration_ms",
    ]
    preflight(policy.merge({"on_violation": "warn"}), evaluator=evaluator, now=10_000)
