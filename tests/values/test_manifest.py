"""What a provider says about itself."""

from __future__ import annotations

import pytest

from asm_actors.capabilities.capability import Capability
from asm_actors.capabilities.manifest import Manifest
from asm_actors.errors import AsmError, ErrorCode

CHAT = Capability.new("chat", "sampling")
BASH = Capability.new("bash", "tool").disable()


def manifest(**fields):
    return Manifest.new(**{"name": "m", "version": "1", "capabilities": [CHAT, BASH], **fields})


def test_name_and_version_are_enough():
    bare = Manifest.new("m", "1")
    assert bare == Manifest("m", "1")
    assert bare.capabilities == ()


def test_capabilities_may_be_values_or_maps():
    assert manifest(capabilities=[CHAT.to_map(), BASH]).capabilities == (CHAT, BASH)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"name": None}, ErrorCode.VALIDATION_ERROR),
        ({"name": ""}, ErrorCode.VALIDATION_ERROR),
        ({"version": None}, ErrorCode.VALIDATION_ERROR),
        ({"version": ""}, ErrorCode.VALIDATION_ERROR),
        ({"version": 1}, ErrorCode.VALIDATION_ERROR),
        ({"provider": ""}, ErrorCode.VALIDATION_ERROR),
        ({"description": []}, ErrorCode.VALIDATION_ERROR),
        ({"config": {1: 1}}, ErrorCode.VALIDATION_ERROR),
        ({"metadata": 1}, ErrorCode.VALIDATION_ERROR),
        ({"capabilities": "chat"}, ErrorCode.VALIDATION_ERROR),
        ({"capabilities": {"name": "chat"}}, ErrorCode.VALIDATION_ERROR),
        ({"capabilities": 3}, ErrorCode.VALIDATION_ERROR),
        ({"capabilities": [3]}, ErrorCode.VALIDATION_ERROR),
        ({"capabilities": [{"name": "x", "type": "magic"}]}, ErrorCode.INVALID_CAPABILITY_TYPE),
        ({"capabilities": [CHAT, CHAT]}, ErrorCode.DUPLICATE_CAPABILITY),
    ],
)
def test_bad_fields_are_refused(fields, code):
    with pytest.raises(AsmError) as caught:
        manifest(**fields)
    assert caught.value.code is code


def test_adding_puts_a_capability_at_the_end():
    tool = Capability.new("grep", "tool")
    before = manifest()
    assert before.add(tool).capabilities == (CHAT, BASH, tool)
    assert before.add(tool.to_map()) == before.add(tool)
    assert before.capabilities == (CHAT, BASH)


def test_adding_a_name_twice_is_refused():
    with pytest.raises(AsmError) as caught:
        manifest().add(Capability.new("chat", "tool"))
    assert caught.value.code is ErrorCode.DUPLICATE_CAPABILITY
    assert caught.value.details == {"capability": "chat"}


def test_getting_and_removing_go_by_name():
    assert manifest().get("bash") is BASH
    assert manifest().remove("chat").capabilities == (BASH,)
    assert manifest().has("chat")
    assert not manifest().has("grep")


@pytest.mark.parametrize("method", ["get", "remove"])
def test_an_absent_capability_is_not_found(method):
    with pytest.raises(AsmError) as caught:
        getattr(manifest(), method)("grep")
    assert caught.value.code is ErrorCode.CAPABILITY_NOT_FOUND


def test_disabled_capabilities_are_listed_but_not_offered():
    assert manifest().enabled_capabilities == (CHAT,)


def test_manifests_are_hashable():
    assert len({manifest(), manifest()}) == 1
