"""One thing a provider can do."""

from __future__ import annotations

import pytest

from asm_actors.capabilities.capability import Capability, CapabilityType
from asm_actors.errors import AsmError, ErrorCode

TYPES = ["tool", "resource", "prompt", "sampling", "file_access", "network_access", "code_execution"]


def test_there_are_seven_types():
    assert [type_.value for type_ in CapabilityType] == TYPES


def test_name_and_type_are_enough():
    capability = Capability.new("streaming", "sampling")
    assert capability == Capability("streaming", CapabilityType.SAMPLING)
    assert capability.type is CapabilityType.SAMPLING
    assert capability.enabled
    assert (capability.description, capability.config, capability.permissions) == (None, {}, ())


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"type": "tool"}, ErrorCode.VALIDATION_ERROR),
        ({"name": "", "type": "tool"}, ErrorCode.VALIDATION_ERROR),
        ({"name": 3, "type": "tool"}, ErrorCode.VALIDATION_ERROR),
        ({"name": "x"}, ErrorCode.VALIDATION_ERROR),
        ({"name": "x", "type": "magic"}, ErrorCode.INVALID_CAPABILITY_TYPE),
        ({"name": "x", "type": 3}, ErrorCode.INVALID_CAPABILITY_TYPE),
        ({"name": "x", "type": "tool", "config": []}, ErrorCode.VALIDATION_ERROR),
        ({"name": "x", "type": "tool", "permissions": "read"}, ErrorCode.VALIDATION_ERROR),
        ({"name": "x", "type": "tool", "description": 3}, ErrorCode.VALIDATION_ERROR),
    ],
)
def test_bad_fields_are_refused(fields, code):
    for make in (lambda: Capability.new(**fields), lambda: Capability.from_map(fields)):
        with pytest.raises(AsmError) as caught:
            make()
        assert caught.value.code is code


@pytest.mark.parametrize("enabled", ["yes", 1, []])
def test_enabled_is_read_as_a_boolean_only(enabled):
    with pytest.raises(AsmError):
        Capability.from_map({"name": "x", "type": "tool", "enabled": enabled})


def test_enabling_and_disabling_change_nothing_else():
    capability = Capability.new("x", "tool", config={"a": 1}, permissions=["read"])
    off = capability.disable()
    assert not off.enabled
    assert off.enable() == capability
    assert capability.enabled
    assert capability.enable() is capability
    assert off.disable() is off


def test_capabilities_are_hashable():
    assert len({Capability.new("x", "tool"), Capability.new("x", "tool")}) == 1
