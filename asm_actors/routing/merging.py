"""What a router can do: the union of what its targets can. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from asm_actors.capabilities.capability import Capability
from asm_actors.capabilities.manifest import Manifest
from asm_actors.policies.hints import HONOURS
from asm_actors.providers.base import STEERING
from asm_actors.transcripts.options import NATIVE_CONTINUATION

__all__ = ["merged_manifest"]

_VERSION: Final = "1"
_OF_ONE: Final = (NATIVE_CONTINUATION, "resume", *STEERING)


def merged_manifest(name: str, manifests: Mapping[str, Manifest]) -> Manifest:
    """Return the manifest of a router.

    Capabilities of the same type and name are one, enabled if it is so anywhere. Names are unique in a manifest: one
    that stands for several types is told as ``name (type)`` from the second on. A conversation which a target keeps is
    none of the router's, since the next turn may go to another one, nor is input into a turn, which another one may
    have to begin anew: these capabilities are left out.

    Args:
        name: The router.
        manifests: Those of its targets.
    """
    return Manifest.new(
        name=name,
        version=_VERSION,
        description=f"Routes between {', '.join(manifests) or 'no providers'}",
        provider=name,
        capabilities=_union(
            found
            for manifest in manifests.values()
            for found in manifest.capabilities
            if found.name not in _OF_ONE
        ),
        config={"honours": honours} if (honours := _honoured_by_all(manifests.values())) else None,
        metadata={"targets": list(manifests)},
    )


def _honoured_by_all(manifests: Iterable[Manifest]) -> list[str]:
    """The lists of tools which each target keeps to, so that it does not matter which one answers.

    Bounds are left to the targets: as options of a request they would stand above those of a target.
    """
    said = [manifest.config.get(HONOURS) or () for manifest in manifests]
    return [name for name in ("allowed_tools", "denied_tools") if said and all(name in one for one in said)]


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
