"""Policies as values: what they take, what they refuse, and how several become one."""

from __future__ import annotations

import json
from itertools import permutations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asm_actors.errors import AsmError
from asm_actors.policies.policy import Policy, stack_merge
from asm_actors.policies.resolving import as_policy, resolve_policy
from asm_actors.policies.rules import LIMIT_NAMES, PolicyLimits, RuleKind, ToolRule


def test_a_policy_says_nothing_unless_it_is_told():
    policy = Policy()
    assert policy.name == "default"
    assert policy.limits == PolicyLimits()
    assert policy.limits.to_map() == {}
    assert (policy.tool_rules, policy.metadata, policy.provider_hints, policy.parts) == ((), {}, {}, ())
    assert (policy.on_violation, policy.on_denied, policy.approval_timeout) == ("cancel", "tell", 300.0)
    assert policy.refusal_of("anything") is None


@pytest.mark.parametrize(
    "limits",
    [
        {"max_total_tokens": 5, "max_cost_usd": 1},
        [("max_total_tokens", 5), ("max_cost_usd", 1)],
        [["max_total_tokens", 9], ["max_total_tokens", 5], ["max_cost_usd", 1]],
        PolicyLimits(max_total_tokens=5, max_cost_usd=1),
    ],
)
def test_limits_are_given_in_several_forms(limits):
    found = Policy(limits=limits).limits
    assert found.to_map() == {"max_total_tokens": 5, "max_cost_usd": 1.0}
    assert type(found.max_cost_usd) is float
    assert found.budget.to_map() == found.to_map()


@pytest.mark.parametrize(
    "rules",
    [
        [("deny", ["bash", "", None, 3, "bash", "rm"])],
        [{"rule": "deny", "tools": ("bash", "rm")}],
        {"deny": ["bash", "rm"]},
        [ToolRule(RuleKind.DENY, ("bash", "rm"))],
        [("deny", ["bash", "rm"]), ("deny", ["bash", "rm"])],
    ],
)
def test_rules_are_given_in_several_forms_and_names_count_once(rules):
    assert Policy(tool_rules=rules).tool_rules == (ToolRule(RuleKind.DENY, ("bash", "rm")),)


BAD = [
    ("name", ""), ("name", None), ("name", 3),
    *((f"limits.{name}", {name: value}) for name in LIMIT_NAMES for value in (-1, True, "3", float("nan"))),
    *((f"limits.{name}", {name: 1.5}) for name in LIMIT_NAMES if name != "max_cost_usd"),
    ("limits", {"max_tokens": 3}), ("limits", 3), ("limits", "max_turns"), ("limits", [("max_turns",)]),
    ("limits", {3: 3}),
    ("tool_rules", 3), ("tool_rules", "deny"), ("tool_rules", [("forbid", ["a"])]), ("tool_rules", [("deny", "a")]),
    ("tool_rules", [("deny", 3)]), ("tool_rules", ["deny"]), ("tool_rules", [{"rule": "deny"}]),
    ("on_violation", "stop"), ("on_violation", None), ("on_denied", "cancel"), ("on_denied", 3),
    ("approval_timeout", 0), ("approval_timeout", -1), ("approval_timeout", "3"), ("approval_timeout", True),
    ("approval_timeout", float("inf")),
    ("provider_hints", []), ("provider_hints", {"claude": 3}), ("provider_hints", {"": {}}),
    ("metadata", 3), ("metadata", {"a": object()}),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value"), BAD)
def test_what_is_malformed_is_refused_with_the_place(place, value):
    name = place.split(".")[0]
    for make in (lambda: Policy(**{name: value}), lambda: Policy.from_map({name: value})):
        with pytest.raises(AsmError) as raised:
            make()
        assert raised.value.code == "validation_error"
        assert place.split(".")[-1] in raised.value.message or name in str(raised.value.details)


def test_fields_that_there_are_none_of_are_refused():
    for value in ({"limit": {}}, {"names": "a"}, 3, None, []):
        with pytest.raises(AsmError, match=r"policy"):
            Policy.from_map(value)
    with pytest.raises(AsmError, match="no field 'allow'"):
        Policy().merge({"allow": []})


def test_a_policy_is_frozen_and_hashable():
    policy = Policy(metadata={"a": [1]}, provider_hints={"claude": {"x": 1}})
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        policy.name = "other"
    assert {policy: 1}[Policy(metadata={"a": [1]}, provider_hints={"claude": {"x": 1}})] == 1


def test_overrides_replace_whole_fields_and_bad_ones_change_nothing():
    base = Policy(name="base", limits={"max_turns": 3}, metadata={"a": 1})
    changed = base.merge({"limits": {"max_tool_calls": 2}, "on_violation": "warn"})
    assert changed.limits.to_map() == {"max_tool_calls": 2}
    assert (changed.name, changed.metadata, changed.on_violation) == ("base", {"a": 1}, "warn")
    with pytest.raises(AsmError):
        base.merge({"limits": {"max_turns": -1}, "name": "x"})
    assert base == Policy(name="base", limits={"max_turns": 3}, metadata={"a": 1})


# --- Rules about tools ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "allowed"),
    [
        ([], "abcd"),
        ([("deny", ["a"])], "bcd"),
        ([("allow", ["a", "b"])], "ab"),
        ([("allow", ["a", "b"]), ("allow", ["b", "c"])], "b"),
        ([("allow", ["a", "b"]), ("deny", ["b"])], "a"),
        ([("deny", ["b"]), ("allow", ["b"])], ""),
        ([("deny", ["A", "a "])], "abcd"),
        ([("allow", [])], ""),
        ([("deny", [])], "abcd"),
    ],
)
def test_deny_wins_and_every_allow_rule_must_name_the_tool_exactly(rules, allowed):
    policy = Policy(tool_rules=rules)
    assert "".join(name for name in "abcd" if policy.refusal_of(name) is None) == allowed


def test_a_refusal_names_the_rule_and_who_has_it():
    merged = stack_merge(
        [
            Policy(name="org", tool_rules=[("deny", ["rm"])]),
            Policy(name="team", tool_rules=[("allow", ["ls", "rm"])]),
            Policy(name="user", tool_rules=[("deny", ["rm"])], limits={"max_turns": 1}),
        ]
    )
    assert merged.refusal_of("rm") == (ToolRule(RuleKind.DENY, ("rm",)), ("org", "user"))
    assert merged.refusal_of("cat") == (ToolRule(RuleKind.ALLOW, ("ls", "rm")), ("team",))


# --- Several policies -------------------------------------------------------------------------------------------


def test_nothing_becomes_the_default_and_one_policy_stays_itself():
    one = Policy(name="one", limits={"max_turns": 3})
    assert stack_merge([]) == Policy()
    assert stack_merge([one]) is one
    assert stack_merge([one, one]) is one


def test_the_tightest_limit_wins_in_any_order_and_it_is_known_whose_it_is():
    parts = [
        Policy(name="org", limits={"max_total_tokens": 100, "max_cost_usd": 2}, approval_timeout=None),
        Policy(name="team", limits={"max_total_tokens": 50, "max_turns": 9}, on_violation="warn"),
        Policy(name="user", limits={"max_total_tokens": 50}, on_denied="fail", approval_timeout=7),
    ]
    for order in permutations(parts):
        merged = stack_merge(order)
        assert merged.limits.to_map() == {"max_total_tokens": 50, "max_cost_usd": 2.0, "max_turns": 9}
        assert set(merged.contributors("max_total_tokens")) == {"team", "user"}
        assert merged.contributors("max_cost_usd") == ("org",)
        assert merged.contributors("max_tool_calls") == ()
        assert set(merged.contributors("on_violation")) == {"org", "user"}
        assert merged.contributors("on_denied") == merged.contributors("approval_timeout") == ("user",)
        assert (merged.on_violation, merged.on_denied, merged.approval_timeout) == ("cancel", "fail", 7.0)
    assert stack_merge(parts).name == "org + team + user"
    with pytest.raises(AttributeError):
        parts[0].contributors("max_tokens")


@pytest.mark.parametrize(
    ("given", "strictest"),
    [
        (["warn", "warn"], "warn"),
        (["warn", "request_approval"], "request_approval"),
        (["request_approval", "cancel", "warn"], "cancel"),
    ],
)
def test_the_strictest_action_wins(given, strictest):
    parts = [Policy(name=f"p{number}", on_violation=action) for number, action in enumerate(given)]
    assert stack_merge(parts).on_violation == strictest


def test_names_are_joined_once_and_metadata_and_hints_key_by_key():
    merged = stack_merge(
        [
            Policy(metadata={"a": 1, "b": {"x": 1}}, provider_hints={"claude": {"m": 1, "n": 1}}),
            Policy(metadata={"b": {"y": 2}}, provider_hints={"claude": {"m": 2}, "amp": {"o": 3}}),
        ]
    )
    assert merged.name == "default"
    assert len(merged.parts) == 2
    assert merged.metadata == {"a": 1, "b": {"y": 2}}
    assert merged.provider_hints == {"claude": {"m": 2, "n": 1}, "amp": {"o": 3}}


def test_a_merged_policy_goes_to_a_map_and_comes_back_with_its_parts():
    merged = stack_merge(
        [Policy(name="a", tool_rules={"deny": ["x"]}), Policy(name="b", limits={"max_turns": 2})]
    )
    told = json.loads(json.dumps(merged.to_map()))
    assert Policy.from_map(told) == merged
    # The parts are what counts: nobody loosens the whole by hand and leaves the parts as they were.
    assert Policy.from_map({**told, "limits": {"max_turns": 99}}) == merged
    assert merged.merge({"on_denied": "fail"}).parts == ()
    with pytest.raises(AsmError, match="parts"):
        Policy.from_map({"parts": "ab"})
    with pytest.raises(AsmError, match="parts"):
        Policy(name="a").merge({"parts": ()})


def test_what_callers_give_is_resolved():
    one, two = Policy(name="one"), Policy(name="two")
    assert resolve_policy() is None
    assert resolve_policy(one) is one
    assert resolve_policy(one, []) is one
    assert resolve_policy(one, [two]) is two
    assert resolve_policy({"name": "one"}) == one
    assert resolve_policy(None, [{"name": "one"}, two]).name == "one + two"
    for bad in (lambda: as_policy(3), lambda: resolve_policy("x"), lambda: resolve_policy(None, "x"),
                lambda: resolve_policy(None, {"name": "x"}), lambda: resolve_policy(None, [3])):  # fmt: skip
        with pytest.raises(AsmError):
            bad()


# --- Algebra ----------------------------------------------------------------------------------------------------

_limits = st.fixed_dictionaries({}, optional={name: st.integers(0, 3) for name in LIMIT_NAMES})
_rules = st.lists(
    st.tuples(st.sampled_from(["allow", "deny"]), st.lists(st.sampled_from("abcd"), max_size=3)), max_size=2
)
_json = st.dictionaries(st.sampled_from("xy"), st.integers(0, 2), max_size=2)
policies = st.builds(
    Policy,
    name=st.sampled_from(["p", "q", "r"]),
    limits=_limits,
    tool_rules=_rules,
    on_violation=st.sampled_from(["cancel", "request_approval", "warn"]),
    on_denied=st.sampled_from(["tell", "fail"]),
    approval_timeout=st.sampled_from([None, 1, 2.5]),
    metadata=_json,
    provider_hints=st.dictionaries(st.sampled_from(["claude", "amp"]), _json, max_size=1),
)


def _forced(policy):
    """What of a policy is enforced."""
    return (
        policy.limits, set(policy.tool_rules), policy.on_violation, policy.on_denied, policy.approval_timeout,
        [policy.refusal_of(tool) is None for tool in "abcd"],
    )  # fmt: skip


@given(policies, policies, policies)
def test_merging_in_steps_is_merging_at_once(one, two, three):
    whole = stack_merge([one, two, three])
    assert stack_merge([stack_merge([one, two]), three]) == whole
    assert stack_merge([one, stack_merge([two, three])]) == whole
    assert stack_merge([whole, whole]) == whole
    assert Policy.from_map(json.loads(json.dumps(whole.to_map()))) == whole


@given(st.lists(policies, max_size=4), st.randoms(use_true_random=False))
def test_what_is_enforced_does_not_depend_on_the_order(parts, random):
    shuffled = list(parts)
    random.shuffle(shuffled)
    assert _forced(stack_merge(shuffled)) == _forced(stack_merge(parts))


@given(st.lists(policies, min_size=1, max_size=4))
def test_a_merged_policy_is_at_least_as_tight_as_each_of_its_parts(parts):
    merged = stack_merge(parts)
    for part in parts:
        assert merged.limits.tightest(part.limits) == merged.limits
        for tool in "abcd":
            assert merged.refusal_of(tool) is not None or part.refusal_of(tool) is None
    for tool in "abcd":
        forbidding = {part.name for part in parts if part.refusal_of(tool) is not None}
        refusal = merged.refusal_of(tool)
        assert set(() if refusal is None else refusal.policies) <= forbidding
        assert bool(refusal) == bool(forbidding)
