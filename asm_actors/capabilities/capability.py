"""One thing a provider can do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from attrs import Factory, evolve, frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import stringify_keys
from asm_actors.serialization import Fields, check_id, check_ids, check_text, json_map, parse_member

__all__ = ["Capability", "CapabilityType", "parse_capability_type"]


class CapabilityType(StrEnum):
    """The kinds that runs ask for."""

    TOOL = "tool"
    RESOURCE = "resource"
    PROMPT = "prompt"
    SAMPLING = "sampling"
    FILE_ACCESS = "file_access"
    NETWORK_ACCESS = "network_access"
    CODE_EXECUTION = "code_execution"


def parse_capability_type(value: object) -> CapabilityType:
    """Return the capability type of that name.

    Raises:
        AsmError: ``validation_error`` if none is given, ``invalid_capability_type`` if there is no such type.
    """
    if value is None:
        raise AsmError(ErrorCode.VALIDATION_ERROR, "type is required", details={"field": "type"})
    return parse_member(CapabilityType, value, ErrorCode.INVALID_CAPABILITY_TYPE)


@frozen
class Capability:
    """One thing a provider can do.

    Attributes:
        name: what it is called, such as ``streaming``.
        type: its kind; runs ask for kinds, not for names.
        enabled: whether it may be used now.
        description: a sentence for human readers.
        config: settings, JSON.
        permissions: what it needs to be allowed.
    """

    name: str
    type: CapabilityType
    enabled: bool = True
    description: str | None = None
    config: dict[str, Any] = Factory(dict)
    permissions: tuple[str, ...] = ()

    @classmethod
    def new(
        cls,
        name: str | None = None,
        type: CapabilityType | str | None = None,  # noqa: A002 - the field's name is the argument's
        *,
        enabled: bool = True,
        description: str | None = None,
        config: Mapping[str, Any] | None = None,
        permissions: Iterable[str] = (),
    ) -> Capability:
        """Check and copy what a caller gives; ``name`` and ``type`` are required.

        Raises:
            ValidationError: a field is missing or malformed.
            StateError: ``invalid_capability_type``.
        """
        return cls(
            name=check_id(name, "name"),
            type=parse_capability_type(type),
            enabled=bool(enabled),
            description=None if description is None else check_text(description, "description"),
            config=json_map(config, "config"),
            permissions=check_ids(permissions, "permissions"),
        )

    def __hash__(self) -> int:
        return hash((self.name, self.type))

    def enable(self) -> Capability:
        """Return it enabled."""
        return self if self.enabled else evolve(self, enabled=True)

    def disable(self) -> Capability:
        """Return it disabled: it stays listed, and nobody may use it."""
        return evolve(self, enabled=False) if self.enabled else self

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map."""
        return {
            "name": self.name,
            "type": self.type.value,
            "enabled": self.enabled,
            "description": self.description,
            "config": stringify_keys(self.config),
            "permissions": list(self.permissions),
        }

    @classmethod
    def from_map(cls, value: Any) -> Capability:
        """Read what :meth:`to_map` wrote. ``name`` and ``type`` are required.

        Raises:
            ValidationError: the map, or a field in it, is missing or malformed.
            StateError: ``invalid_capability_type``.
        """
        fields = Fields(value, "capability")
        return cls(
            name=fields.id("name"),
            type=fields.member("type", CapabilityType, ErrorCode.INVALID_CAPABILITY_TYPE),
            enabled=fields.boolean("enabled", default=True),
            description=fields.optional_text("description"),
            config=fields.map("config"),
            permissions=fields.ids("permissions"),
        )
