"""`PermissionMode`: how much an agent that calls tools on its own may do without asking. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from asm_actors.errors import ErrorCode
from asm_actors.serialization import parse_member

__all__ = ["PermissionMode", "normalize", "provider_options"]


class PermissionMode(StrEnum):
    """How much an agent may do without asking."""

    DEFAULT = "default"
    """What the provider does unless it is told otherwise."""
    ACCEPT_EDITS = "accept_edits"
    """Files may be changed; anything else as by default."""
    PLAN = "plan"
    """It may look and make a plan, and change nothing."""
    FULL_AUTO = "full_auto"
    """It need not ask."""
    DANGEROUSLY_SKIP_PERMISSIONS = "dangerously_skip_permissions"
    """It need not ask, and no sandbox holds it."""

    @classmethod
    def normalize(cls, value: object) -> PermissionMode | None:
        """As :func:`normalize`."""
        return normalize(value)

    def options_for(self, provider: str) -> dict[str, Any]:
        """As :func:`provider_options`, of this mode."""
        return provider_options(self, provider)


def normalize(value: object) -> PermissionMode | None:
    """Return the mode of that name; None stands for none.

    Raises:
        ValidationError: there is no such mode.
    """
    return None if value is None else parse_member(PermissionMode, value, ErrorCode.VALIDATION_ERROR)


_OPTIONS: Final[Mapping[str, Mapping[PermissionMode, Mapping[str, Any]]]] = MappingProxyType(
    {
        "claude": {
            PermissionMode.ACCEPT_EDITS: {"permission_mode": "accept_edits"},
            PermissionMode.PLAN: {"permission_mode": "plan"},
            PermissionMode.FULL_AUTO: {"permission_mode": "bypass_permissions"},
            PermissionMode.DANGEROUSLY_SKIP_PERMISSIONS: {"permission_mode": "bypass_permissions"},
        },
        "codex": {
            PermissionMode.FULL_AUTO: {"full_auto": True},
            PermissionMode.DANGEROUSLY_SKIP_PERMISSIONS: {"dangerously_bypass_approvals_and_sandbox": True},
        },
        "amp": {
            PermissionMode.FULL_AUTO: {"dangerously_allow_all": True},
            PermissionMode.DANGEROUSLY_SKIP_PERMISSIONS: {"dangerously_allow_all": True},
        },
    }
)


def provider_options(mode: PermissionMode | str | None, provider: str) -> dict[str, Any]:
    """Return the options with which a provider is told a mode; empty if it knows nothing of the kind.

    Args:
        mode: the mode, or its name; None gives no options.
        provider: the kind of provider: ``claude``, ``codex`` or ``amp``.

    Raises:
        ValidationError: there is no such mode.
    """
    found = normalize(mode)
    return {} if found is None else dict(_OPTIONS.get(provider, {}).get(found, {}))
