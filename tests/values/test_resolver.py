"""What a run needs against what a provider can do."""

from __future__ import annotations

import pytest

from asm_actors.capabilities.capability import Capability, CapabilityType
from asm_actors.capabilities.manifest import Manifest
from asm_actors.capabilities.resolver import (
    CapabilityResolver,
    Negotiation,
    NegotiationStatus,
    capabilities_of_type,
    has_capability_type,
)
from asm_actors.errors import AsmError, ErrorCode

CHAT = Capability.new("chat", "sampling")
BASH = Capability.new("bash", "tool")
OFF = Capability.new("net", "network_access").disable()
PRESENT = [CHAT, BASH, OFF]


@pytest.mark.parametrize(
    ("required", "optional", "status", "supported", "unsupported"),
    [
        ([], [], "full", [], []),
        (["tool"], [], "full", ["tool"], []),
        (["tool"], ["sampling"], "full", ["tool", "sampling"], []),
        ([], ["network_access"], "degraded", [], ["network_access"]),
        (
            ["sampling"],
            ["prompt", "tool", "resource"],
            "degraded",
            ["sampling", "tool"],
            ["prompt", "resource"],
        ),
        (["tool", "tool"], ["tool"], "full", ["tool"], []),
    ],
)
def test_negotiation(required, optional, status, supported, unsupported):
    result = CapabilityResolver.new(required, optional).negotiate(PRESENT)
    assert result.status is NegotiationStatus(status)
    assert list(result.supported) == supported
    assert list(result.unsupported) == unsupported
    assert result.warnings == tuple(f"optional capability {name} is not available" for name in unsupported)


def test_a_manifest_is_taken_too():
    manifest = Manifest.new("m", "1", capabilities=PRESENT)
    resolver = CapabilityResolver.new(["tool"])
    assert resolver.negotiate(manifest) == resolver.negotiate(PRESENT)


def test_all_missing_required_types_are_named():
    with pytest.raises(AsmError) as caught:
        CapabilityResolver.new(["tool", "network_access", "prompt"]).negotiate(PRESENT)
    assert caught.value.code is ErrorCode.MISSING_REQUIRED_CAPABILITY
    assert caught.value.details == {
        "missing": ["network_access", "prompt"],
        "available": ["sampling", "tool"],
    }
    assert "network_access, prompt" in caught.value.message


@pytest.mark.parametrize(
    ("required", "code"),
    [
        (["magic"], ErrorCode.INVALID_CAPABILITY_TYPE),
        ([3], ErrorCode.INVALID_CAPABILITY_TYPE),
        ([None], ErrorCode.VALIDATION_ERROR),
        ("tool", ErrorCode.VALIDATION_ERROR),
        ({"tool": 1}, ErrorCode.VALIDATION_ERROR),
        (3, ErrorCode.VALIDATION_ERROR),
    ],
)
def test_unknown_types_are_refused(required, code):
    for arguments in ((required,), ((), required)):
        with pytest.raises(AsmError) as caught:
            CapabilityResolver.new(*arguments)
        assert caught.value.code is code


def test_an_empty_resolver_asks_for_nothing():
    assert CapabilityResolver.new().is_empty
    assert not CapabilityResolver.new((), ["tool"]).is_empty


def test_a_result_nobody_made_is_unknown():
    assert Negotiation().status is NegotiationStatus.UNKNOWN


def test_helpers_see_enabled_capabilities_only():
    assert capabilities_of_type(PRESENT, "tool") == (BASH,)
    assert capabilities_of_type(PRESENT, CapabilityType.NETWORK_ACCESS) == ()
    assert has_capability_type(PRESENT, "sampling")
    assert not has_capability_type(PRESENT, "network_access")
    with pytest.raises(AsmError):
        has_capability_type(PRESENT, "magic")


@pytest.mark.parametrize("found", [5, None, "chat", b"x", [1], ["chat"], {"a": 1}, Capability, object()])
def test_what_is_no_list_of_capabilities_is_refused(found):
    for compare in (
        CapabilityResolver.new(required=["tool"]).negotiate,
        CapabilityResolver.new().negotiate,
        lambda found: has_capability_type(found, "tool"),
    ):
        with pytest.raises(AsmError, match="capabilities must be a manifest, or a list") as caught:
            compare(found)
        assert caught.value.code is ErrorCode.VALIDATION_ERROR
