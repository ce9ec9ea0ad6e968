"""What providers are told of a policy, and of a permission mode."""

from __future__ import annotations

import pytest

from asm_actors.capabilities.manifest import Manifest
from asm_actors.errors import AsmError
from asm_actors.policies.hints import compile_hints, honoured_hints, with_hints
from asm_actors.policies.permission_mode import PermissionMode, normalize, provider_options
from asm_actors.policies.policy import Policy


@pytest.mark.parametrize(
    ("fields", "hints"),
    [
        ({}, {}),
        ({"tool_rules": [("deny", ["b", "a"]), ("deny", ["a", "c"])]}, {"denied_tools": ["b", "a", "c"]}),
        ({"tool_rules": [("allow", ["c", "a"])]}, {"allowed_tools": ["c", "a"]}),
        ({"tool_rules": [("allow", ["a", "b", "c"]), ("allow", ["c", "b"])]}, {"allowed_tools": ["b", "c"]}),
        ({"tool_rules": [("allow", ["a", "b"]), ("deny", ["b", "x"])]}, {"allowed_tools": ["a"]}),
        ({"tool_rules": [("allow", ["a"]), ("allow", ["b"])]}, {"allowed_tools": []}),
        (
            {"limits": {"max_total_tokens": 9, "max_turns": 2, "max_cost_usd": 1}},
            {"max_tokens": 9, "max_turns": 2},
        ),
        ({"provider_hints": {"claude": {"effort": "low"}, "amp": {"mode": "x"}}}, {"effort": "low"}),
        ({"limits": {"max_turns": 2}, "provider_hints": {"claude": {"max_turns": 1}}}, {"max_turns": 1}),
    ],
)
def test_rules_and_limits_become_options(fields, hints):
    assert compile_hints(Policy(**fields), "claude") == hints


@pytest.mark.parametrize(
    ("options", "hints", "found"),
    [
        ({}, {"max_tokens": 5, "denied_tools": ["a"]}, {"max_tokens": 5, "denied_tools": ["a"]}),
        ({"max_tokens": 3}, {"max_tokens": 5}, {"max_tokens": 3}),
        ({"max_tokens": 9}, {"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": None}, {"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": "many"}, {"max_tokens": 5}, {"max_tokens": "many"}),
        ({"allowed_tools": ["b", "a"]}, {"allowed_tools": ["a", "c"]}, {"allowed_tools": ["a"]}),
        ({"denied_tools": ["a"]}, {"denied_tools": ["b", "a"]}, {"denied_tools": ["a", "b"]}),
        ({"model": "m", "effort": "high"}, {"effort": "low"}, {"model": "m", "effort": "high"}),
    ],
)
def test_of_options_and_hints_the_tighter_one_counts(options, hints, found):
    assert with_hints(options, hints) == found


def test_a_provider_says_which_hints_it_keeps_to():
    hints = {"allowed_tools": ["a"], "max_tokens": 3}
    silent = Manifest.new("m", "1")
    assert honoured_hints(hints, silent) == ({}, ("allowed_tools", "max_tokens"))
    some = Manifest.new("m", "1", config={"honours": ["max_tokens", "max_turns"]})
    assert honoured_hints(hints, some) == ({"max_tokens": 3}, ("allowed_tools",))
    assert honoured_hints(hints, Manifest.new("m", "1", config={"honours": 3}))[0] == {}


# --- Permission modes -------------------------------------------------------------------------------------------


def test_a_mode_is_one_of_a_closed_set():
    assert [mode.value for mode in PermissionMode] == [
        "default", "accept_edits", "plan", "full_auto", "dangerously_skip_permissions",
    ]  # fmt: skip
    assert normalize(None) is None
    for mode in PermissionMode:
        assert normalize(mode) is mode
        assert normalize(mode.value) is mode
    for bad in ("", "Plan", "auto", 3, True):
        with pytest.raises(AsmError) as raised:
            normalize(bad)
        assert raised.value.code == "validation_error"


BYPASS = {"permission_mode": "bypass_permissions"}
MODES = {
    "claude": [{}, {"permission_mode": "accept_edits"}, {"permission_mode": "plan"}, BYPASS, BYPASS],
    "codex": [{}, {}, {}, {"full_auto": True}, {"dangerously_bypass_approvals_and_sandbox": True}],
    "amp": [{}, {}, {}, {"dangerously_allow_all": True}, {"dangerously_allow_all": True}],
    "other": [{}, {}, {}, {}, {}],
}


@pytest.mark.parametrize("provider", MODES)
def test_each_provider_is_told_in_its_own_way(provider):
    assert [provider_options(mode, provider) for mode in PermissionMode] == MODES[provider]
    assert provider_options(None, provider) == {}
    provider_options("full_auto", provider)["more"] = 1
    assert "more" not in provider_options("full_auto", provider)
    with pytest.raises(AsmError):
        provider_options("auto", provider)
