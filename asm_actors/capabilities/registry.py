"""A set of manifests as a value: every change returns a new registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import Factory, evolve, frozen

from asm_actors.capabilities.capability import CapabilityType, parse_capability_type
from asm_actors.capabilities.manifest import Manifest
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import shown, stringify_keys
from asm_actors.serialization import Fields, invalid, json_map

__all__ = ["Registry"]


def _checked(manifest: object) -> Manifest:
    """Read a manifest anew from its own map, since the bare constructor checked nothing."""
    if not isinstance(manifest, Manifest | Mapping):
        raise invalid("manifest", "must be a manifest or its map", manifest)
    if isinstance(manifest, Mapping):
        return Manifest.from_map(manifest)
    return Manifest.new(
        manifest.name,
        manifest.version,
        description=manifest.description,
        provider=manifest.provider,
        capabilities=manifest.capabilities,
        config=manifest.config,
        metadata=manifest.metadata,
    )


@frozen
class Registry:
    """Manifests by name.

    Attributes:
        manifests: the manifests, by name.
        metadata: facts about the registry, JSON.
    """

    manifests: dict[str, Manifest] = Factory(dict)
    metadata: dict[str, Any] = Factory(dict)

    @classmethod
    def new(cls, *, metadata: Mapping[str, Any] | None = None) -> Registry:
        """Return an empty registry.

        Raises:
            ValidationError: ``metadata`` is not JSON.
        """
        return cls(metadata=json_map(metadata, "metadata"))

    __hash__ = None  # type: ignore[assignment]

    def validate_manifest(self, manifest: Manifest | Mapping[str, Any]) -> Manifest:
        """Return the manifest if it may be registered, whether or not its name is taken.

        Raises:
            AsmError: as ``Manifest.new``.
        """
        return _checked(manifest)

    def register(self, manifest: Manifest | Mapping[str, Any]) -> Registry:
        """Return the registry with one more manifest.

        Raises:
            ResourceError: ``already_exists``: the name is taken.
            AsmError: the manifest is malformed, as of ``Manifest.new``.
        """
        checked = _checked(manifest)
        if checked.name in self.manifests:
            raise AsmError(
                ErrorCode.ALREADY_EXISTS,
                f"a manifest named {checked.name} is already registered; use update to replace it",
                details={"manifest": checked.name},
            )
        return self._with({**self.manifests, checked.name: checked})

    def update(self, manifest: Manifest | Mapping[str, Any]) -> Registry:
        """Return the registry with the manifest of that name replaced.

        Raises:
            ResourceError: ``not_found``: there is none of that name yet.
            AsmError: the manifest is malformed, as of ``Manifest.new``.
        """
        checked = _checked(manifest)
        self.get(checked.name)
        return self._with({**self.manifests, checked.name: checked})

    def unregister(self, name: str) -> Registry:
        """Return the registry without the manifest of that name.

        Raises:
            ResourceError: ``not_found``.
        """
        self.get(name)
        return self._with({other: value for other, value in self.manifests.items() if other != name})

    def get(self, name: str) -> Manifest:
        """Return the manifest of that name.

        Raises:
            ResourceError: ``not_found``.
        """
        found = self.manifests.get(name) if isinstance(name, str) else None
        if found is None:
            raise AsmError(
                ErrorCode.NOT_FOUND,
                f"no manifest named {shown(name)} is registered",
                details={"manifest": name},
            )
        return found

    def exists(self, name: str) -> bool:
        """Tell whether a manifest of that name is registered; what is no name is that of none."""
        return isinstance(name, str) and name in self.manifests

    def count(self) -> int:
        """Return how many manifests are registered."""
        return len(self.manifests)

    def list(self) -> tuple[Manifest, ...]:
        """Return all manifests, sorted by name."""
        return tuple(self.manifests[name] for name in sorted(self.manifests))

    def filter_by_provider(self, provider: str) -> tuple[Manifest, ...]:
        """Return the manifests of one provider, sorted by name."""
        return tuple(manifest for manifest in self.list() if manifest.provider == provider)

    def filter_by_capability(self, type_: CapabilityType | str) -> tuple[Manifest, ...]:
        """Return the manifests with an enabled capability of that type, sorted by name.

        Raises:
            StateError: ``invalid_capability_type``.
        """
        wanted = parse_capability_type(type_)
        return tuple(
            manifest
            for manifest in self.list()
            if any(capability.type is wanted for capability in manifest.enabled_capabilities)
        )

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map; the manifests are a list sorted by name."""
        return {
            "manifests": [manifest.to_map() for manifest in self.list()],
            "metadata": stringify_keys(self.metadata),
        }

    @classmethod
    def from_map(cls, value: Any) -> Registry:
        """Read what :meth:`to_map` wrote. The first malformed manifest raises.

        Raises:
            ResourceError: ``already_exists``: two manifests share a name.
            AsmError: the map is malformed, or a manifest, as of ``Manifest.new``.
        """
        fields = Fields(value, "registry")
        registry = cls(metadata=fields.map("metadata"))
        for manifest in fields.items("manifests"):
            registry = registry.register(manifest)
        return registry

    def _with(self, manifests: dict[str, Manifest]) -> Registry:
        return evolve(self, manifests=manifests)
