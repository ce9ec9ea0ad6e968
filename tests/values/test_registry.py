"""A set of manifests as a value."""

from __future__ import annotations

import pytest

from asm_actors.capabilities.capability import Capability
from asm_actors.capabilities.manifest import Manifest
from asm_actors.capabilities.registry import Registry
from asm_actors.errors import AsmError, ErrorCode

CLAUDE = Manifest.new("claude", "1", provider="anthropic", capabilities=[Capability.new("chat", "sampling")])
SHELL = Manifest.new(
    "shell",
    "1",
    provider="local",
    capabilities=[Capability.new("bash", "code_execution"), Capability.new("chat", "sampling").disable()],
)
BOTH = Registry.new(metadata={"owner": "me"}).register(SHELL).register(CLAUDE)


def code_of(action):
    with pytest.raises(AsmError) as caught:
        action()
    return caught.value.code


def test_a_new_registry_is_empty():
    assert Registry.new() == Registry()
    assert Registry.new().count() == 0
    assert Registry.new().list() == ()


def test_manifests_are_listed_by_name():
    assert BOTH.list() == (CLAUDE, SHELL)
    assert BOTH.count() == 2
    assert BOTH.get("shell") == SHELL
    assert BOTH.exists("claude")
    assert not BOTH.exists("codex")
    assert not BOTH.exists([])


def test_registering_leaves_the_old_registry_as_it_was():
    before = Registry.new()
    after = before.register(CLAUDE.to_map())
    assert before.count() == 0
    assert after.get("claude") == CLAUDE


def test_a_name_is_registered_once():
    assert code_of(lambda: BOTH.register(CLAUDE)) is ErrorCode.ALREADY_EXISTS


def test_updating_replaces_the_manifest():
    newer = Manifest.new("claude", "2")
    assert BOTH.update(newer).get("claude") == newer
    assert BOTH.get("claude") == CLAUDE


def test_unregistering_removes_it():
    assert BOTH.unregister("shell").list() == (CLAUDE,)


@pytest.mark.parametrize(
    "action",
    [
        lambda: BOTH.get("codex"),
        lambda: BOTH.get(None),
        lambda: BOTH.get(["claude"]),
        lambda: BOTH.unregister("codex"),
        lambda: BOTH.update(Manifest.new("codex", "1")),
    ],
)
def test_an_absent_name_is_not_found(action):
    assert code_of(action) is ErrorCode.NOT_FOUND


@pytest.mark.parametrize(
    "manifest",
    [
        Manifest("", "1"),
        Manifest("x", ""),
        Manifest("x", "1", config={1: 2}),
        {"name": "x"},
        None,
        "claude",
    ],
)
@pytest.mark.parametrize("method", ["register", "update", "validate_manifest"])
def test_a_malformed_manifest_is_refused(method, manifest):
    assert code_of(lambda: getattr(BOTH, method)(manifest)) is ErrorCode.VALIDATION_ERROR


def test_validating_registers_nothing_and_minds_no_names():
    assert BOTH.validate_manifest(CLAUDE.to_map()) == CLAUDE


def test_a_hand_made_manifest_with_a_name_twice_is_refused():
    twice = Manifest("x", "1", capabilities=CLAUDE.capabilities * 2)
    assert code_of(lambda: BOTH.register(twice)) is ErrorCode.DUPLICATE_CAPABILITY


def test_filters():
    assert BOTH.filter_by_provider("local") == (SHELL,)
    assert BOTH.filter_by_provider("nobody") == ()
    assert BOTH.filter_by_capability("sampling") == (CLAUDE,)
    assert BOTH.filter_by_capability("code_execution") == (SHELL,)
    assert BOTH.filter_by_capability("tool") == ()
    assert code_of(lambda: BOTH.filter_by_capability("magic")) is ErrorCode.INVALID_CAPABILITY_TYPE


def test_the_first_malformed_manifest_stops_the_reading():
    bad = {"manifests": [CLAUDE.to_map(), {"name": "x"}, {"name": "y", "version": 3}]}
    with pytest.raises(AsmError, match=r"manifest\.version is required"):
        Registry.from_map(bad)
    twice = {"manifests": [CLAUDE.to_map(), CLAUDE.to_map()]}
    assert code_of(lambda: Registry.from_map(twice)) is ErrorCode.ALREADY_EXISTS
    assert code_of(lambda: Registry.from_map([])) is ErrorCode.VALIDATION_ERROR


def test_equality_minds_no_order():
    assert Registry.new(metadata={"owner": "me"}).register(CLAUDE).register(SHELL) == BOTH


def test_registries_have_no_hash():
    with pytest.raises(TypeError):
        hash(BOTH)
