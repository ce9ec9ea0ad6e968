"""What a router can do: the union of what its targets can. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from asm_actors.capabilities.capability import Capability
from asm_actors.capabilities.manifest import Manifest

__all__ = ["merged_manifest"]

_VERSION: Final = "1"


def merged_manifest(name: str, manifests: Mapping[str, Manifest]) -> Manifest:
    """Return the manifest of a router.

    Capabilities of the same type and name are one, enabled if it is so anywhere. Names are unique in a manifest: one
    that stands for several types is told as ``name (type)`` from the second on.

    Args:
        name: The router.
        manifests: Those of its targets.
    """
    return Manifest.new(
        name=name,
        version=_VERSION,
        description=f"Routes between {', '.join(manifests) or 'no providers'}",
        provider=name,
        capabilities=_union(found for manifest in manifests.values() for found in manifest.capabilities),
        metadata={"targets": list(manifests)},
    )


def _union(capabilities: Iterable[Capability]) -> list[Capability]:
    merged: dict[tuple[str, str], Capability] = {}
    for found in capabilities:
        key = (found.type.value, found.name)
        if key not in merged or (found.enabled and not merged[key].enabled):
            merged[key] = found
    taken: set[str] = set()
    union: list[Capability] = []
    for found in merged.values():
        unique = found
        if unique.name in taken:
            unique = Capability.from_map({**found.to_map(), "name": f"{found.name} ({found.type.value})"})
        taken.add(unique.name)
        union.append(unique)
    return union
