"""What a provider says about itself: who it is and what it can do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import Factory, evolve, frozen

from asm_actors.capabilities.capability import Capability
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import shown, stringify_keys
from asm_actors.serialization import (
    Fields,
    check_id,
    check_optional_id,
    check_text,
    invalid,
    json_map,
)

__all__ = ["Manifest"]


@frozen
class Manifest:
    """What a provider says about itself.

    Attributes:
        name: what it is called.
        version: its version.
        description: a sentence for human readers.
        provider: the provider it describes.
        capabilities: what it can do; names are unique, the order is the caller's.
        config: settings, JSON.
        metadata: facts, JSON.
    """

    name: str
    version: str
    description: str | None = None
    provider: str | None = None
    capabilities: tuple[Capability, ...] = ()
    config: dict[str, Any] = Factory(dict)
    metadata: dict[str, Any] = Factory(dict)

    @classmethod
    def new(
        cls,
        name: str | None = None,
        version: str | None = None,
        *,
        description: str | None = None,
        provider: str | None = None,
        capabilities: Iterable[Capability | Mapping[str, Any]] = (),
        config: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """Check and copy what a caller gives; ``name`` and ``version`` are required.

        Args:
            name: what it is called.
            version: its version.
            description: a sentence for human readers.
            provider: the provider it describes.
            capabilities: values, or maps as of ``Capability.to_map``.
            config: JSON.
            metadata: JSON.

        Raises:
            ValidationError: a field, or one of a capability, is missing or malformed.
            StateError: ``invalid_capability_type``.
            ResourceError: ``duplicate_capability``: two capabilities share a name.
        """
        return cls(
            name=check_id(name, "name"),
            version=check_id(version, "version"),
            description=None if description is None else check_text(description, "description"),
            provider=check_optional_id(provider, "provider"),
            capabilities=_capabilities(capabilities),
            config=json_map(config, "config"),
            metadata=json_map(metadata, "metadata"),
        )

    def __hash__(self) -> int:
        return hash((self.name, self.version))

    @property
    def enabled_capabilities(self) -> tuple[Capability, ...]:
        """The capabilities that may be used now."""
        return tuple(capability for capability in self.capabilities if capability.enabled)

    def has(self, name: str) -> bool:
        """Tell whether a capability of that name is listed, enabled or not."""
        return any(capability.name == name for capability in self.capabilities)

    def get(self, name: str) -> Capability:
        """Return the capability of that name.

        Raises:
            ResourceError: ``capability_not_found``.
        """
        for capability in self.capabilities:
            if capability.name == name:
                return capability
        raise AsmError(
            ErrorCode.CAPABILITY_NOT_FOUND,
            f"manifest {self.name} has no capability {shown(name)}",
            details={"manifest": self.name, "capability": name},
        )

    def add(self, capability: Capability | Mapping[str, Any]) -> Manifest:
        """Return the manifest with one more capability, at the end.

        Raises:
            ValidationError: a map that is no capability.
            ResourceError: ``duplicate_capability``.
        """
        return evolve(self, capabilities=_capabilities((*self.capabilities, capability)))

    def remove(self, name: str) -> Manifest:
        """Return the manifest without the capability of that name.

        Raises:
            ResourceError: ``capability_not_found``.
        """
        gone = self.get(name)
        return evolve(self, capabilities=tuple(other for other in self.capabilities if other is not gone))

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map."""
        return {
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "provider": self.provider,
            "capabilities": [capability.to_map() for capability in self.capabilities],
            "config": stringify_keys(self.config),
            "metadata": stringify_keys(self.metadata),
        }

    @classmethod
    def from_map(cls, value: Any) -> Manifest:
        """Read what :meth:`to_map` wrote. ``name`` and ``version`` are required.

        Raises:
            AsmError: as :meth:`new`.
        """
        fields = Fields(value, "manifest")
        return cls(
            name=fields.id("name"),
            version=fields.id("version"),
            description=fields.optional_text("description"),
            provider=fields.optional_id("provider"),
            capabilities=_capabilities(fields.items("capabilities")),
            config=fields.map("config"),
            metadata=fields.map("metadata"),
        )


def _capabilities(values: Iterable[object]) -> tuple[Capability, ...]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise invalid("capabilities", "must be a list", values)
    seen: dict[str, Capability] = {}
    for value in values:
        capability = value if isinstance(value, Capability) else Capability.from_map(value)
        if capability.name in seen:
            raise AsmError(
                ErrorCode.DUPLICATE_CAPABILITY,
                f"capability {capability.name} is listed twice",
                details={"capability": capability.name},
            )
        seen[capability.name] = capability
    return tuple(seen.values())
