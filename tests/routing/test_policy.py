"""The order of the targets, the hints of a request, and what they do to the policy."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from asm_actors.capabilities.capability import Capability, CapabilityType
from asm_actors.capabilities.manifest import Manifest
from asm_actors.errors import AsmError, ErrorCode, ValidationError
from asm_actors.routing.hints import Hints, Required, hints_of, missing_of
from asm_actors.routing.merging import merged_manifest
from asm_actors.routing.policy import RoutingPolicy, RoutingStrategy, ranked

NAMES = ("a", "b", "c")


def order(failures=None, draws=None, **policy):
    return "".join(ranked(RoutingPolicy(**policy), NAMES, failures or {}, draws or random.Random(1)))


@pytest.mark.parametrize(
    ("policy", "failures", "expected"),
    [
        ({}, {}, "abc"),
        ({"prefer": ["c"]}, {}, "cab"),
        ({"prefer": ["c", "b"]}, {"c": 9}, "cba"),
        ({"prefer": ["x", "b"]}, {}, "bac"),
        ({"prefer": ["b", "b", "a"]}, {}, "bac"),
        ({"strategy": "weighted"}, {}, "abc"),
        ({"strategy": "weighted", "weights": {"c": 2}}, {}, "cab"),
        ({"strategy": "weighted", "weights": {"a": 0.5}}, {}, "bca"),
        ({"strategy": "weighted", "prefer": ["c"]}, {}, "cab"),
        ({"strategy": "weighted"}, {"a": 1}, "bca"),
        ({"strategy": "weighted", "weights": {"a": 2}}, {"a": 2}, "abc"),
        ({"strategy": "weighted", "weights": {"a": 2}}, {"a": 3}, "bca"),
        ({"strategy": "random", "weights": {"a": 0, "b": 0}}, {}, "cab"),
        ({"strategy": "random", "weights": {"a": 0, "b": 0, "c": 0}, "prefer": ["b"]}, {}, "bac"),
    ],
)
def test_the_order_of_targets(policy, failures, expected):
    assert order(failures, **policy) == expected


def test_the_same_seed_draws_the_same_orders():
    def drawn():
        source = random.Random(7)
        return [order(draws=source, strategy="random") for _ in range(20)]

    assert drawn() == drawn()
    assert len(set(drawn())) > 1


def test_weights_are_the_odds_and_failures_halve_them():
    source = random.Random(3)
    firsts = Counter(
        order({"c": 1}, source, strategy="random", weights={"a": 3, "c": 2})[0] for _ in range(5000)
    )
    assert firsts["a"] == pytest.approx(3000, rel=0.1)
    assert firsts["b"] == pytest.approx(1000, rel=0.1)
    assert firsts["c"] == pytest.approx(1000, rel=0.1)


def test_only_the_random_strategy_draws():
    class Never:
        def random(self):
            raise AssertionError

    for strategy in (RoutingStrategy.PREFER, RoutingStrategy.WEIGHTED):
        order(draws=Never(), strategy=strategy)


def test_the_promised_defaults():
    policy = RoutingPolicy()
    assert policy.to_map() == {
        "prefer": [],
        "exclude": [],
        "max_attempts": 3,
        "weights": {},
        "strategy": "prefer",
    }
    assert RoutingPolicy.from_map(policy.to_map()) == policy


@pytest.mark.parametrize(
    "fields",
    [
        {"prefer": "a"},
        {"exclude": [3]},
        {"max_attempts": 0},
        {"max_attempts": True},
        {"weights": {"a": -1}},
        {"weights": {"a": float("nan")}},
        {"weights": ["a"]},
        {"strategy": "best"},
        {"unknown": 1},
    ],
)
def test_a_malformed_policy_is_refused(fields):
    with pytest.raises(ValidationError):
        RoutingPolicy.from_map(fields)
    with pytest.raises(ValidationError):
        hints_of({"routing": fields}, RoutingPolicy())
    with pytest.raises(ValidationError):
        hints_of({"routing": {"policy": fields}}, RoutingPolicy())


def test_hints_replace_what_they_name():
    policy = RoutingPolicy(prefer=["a"], max_attempts=2)
    assert hints_of({}, policy) == Hints(policy)
    assert hints_of({"model": "m", "routing": None}, policy) == Hints(policy)
    hints = hints_of(
        {"routing": {"prefer": ["b"], "policy": {"exclude": ["c"], "prefer": ["c"]}, "strategy": None}},
        policy,
    )
    assert hints.policy == RoutingPolicy(prefer=["b"], exclude=["c"], max_attempts=2)


def test_required_capabilities_are_types_or_types_with_a_name():
    tool = CapabilityType.TOOL
    wanted = ["tool", tool, {"type": "tool", "name": "bash"}, Capability.new("x", "prompt")]
    assert hints_of({"routing": {"required_capabilities": wanted}}, RoutingPolicy()).required == (
        Required(tool),
        Required(tool, "bash"),
        Required(CapabilityType.PROMPT, "x"),
    )


@pytest.mark.parametrize(
    ("routing", "code"),
    [
        (["a"], ErrorCode.VALIDATION_ERROR),
        ({"policy": []}, ErrorCode.VALIDATION_ERROR),
        ({"sticky_session_id": ""}, ErrorCode.VALIDATION_ERROR),
        ({"required_capabilities": "tool"}, ErrorCode.VALIDATION_ERROR),
        ({"required_capabilities": ["magic"]}, ErrorCode.INVALID_CAPABILITY_TYPE),
        ({"required_capabilities": [{"name": "bash"}]}, ErrorCode.VALIDATION_ERROR),
    ],
)
def test_malformed_hints_are_refused(routing, code):
    with pytest.raises(AsmError) as caught:
        hints_of({"routing": routing}, RoutingPolicy())
    assert caught.value.code is code


def manifest(*offers):
    capabilities = [{"name": name, "type": kind, "enabled": enabled} for name, kind, enabled in offers]
    return Manifest.new("p", "1", capabilities=capabilities)


@pytest.mark.parametrize(
    ("offers", "required", "missing"),
    [
        ([("bash", "tool", True)], [Required(CapabilityType.TOOL)], 0),
        ([("bash", "tool", True)], [Required(CapabilityType.TOOL, "bash")], 0),
        ([("bash", "tool", True)], [Required(CapabilityType.TOOL, "grep")], 1),
        ([("bash", "prompt", True)], [Required(CapabilityType.TOOL, "bash")], 1),
        ([("bash", "tool", False)], [Required(CapabilityType.TOOL)], 1),
        ([], [Required(CapabilityType.TOOL), Required(CapabilityType.PROMPT)], 2),
    ],
)
def test_what_a_target_lacks(offers, required, missing):
    assert len(missing_of(required, manifest(*offers))) == missing


def test_a_router_can_do_what_any_of_its_targets_can():
    merged = merged_manifest(
        "router",
        {
            "a": manifest(("bash", "tool", False), ("chat", "sampling", True)),
            "b": manifest(("bash", "tool", True), ("chat", "prompt", True)),
        },
    )
    assert [(found.name, found.type.value, found.enabled) for found in merged.capabilities] == [
        ("bash", "tool", True),
        ("chat", "sampling", True),
        ("chat (prompt)", "prompt", True),
    ]
    assert merged.provider == merged.name == "router"
    assert merged.metadata == {"targets": ["a", "b"]}
