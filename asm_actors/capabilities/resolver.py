"""Compare what a run needs with what a provider can do, by capability *type*."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from attrs import frozen

from asm_actors.capabilities.capability import Capability, CapabilityType, parse_capability_type
from asm_actors.capabilities.manifest import Manifest
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.serialization import Fields, invalid

__all__ = [
    "CapabilityResolver",
    "Negotiation",
    "NegotiationStatus",
    "capabilities_of_type",
    "has_capability_type",
]


class NegotiationStatus(StrEnum):
    """How well a provider fits."""

    FULL = "full"
    """It has everything that was asked for."""

    DEGRADED = "degraded"
    """It has what is required, and lacks something optional."""

    UNKNOWN = "unknown"
    """Nobody compared."""


@frozen
class Negotiation:
    """What came of a comparison; without arguments, the result nobody asked for yet.

    Attributes:
        status: how well the provider fits.
        supported: the types asked for that it has, required ones first.
        unsupported: the optional types that it lacks.
        warnings: one sentence per type in ``unsupported``.
    """

    status: NegotiationStatus = NegotiationStatus.UNKNOWN
    supported: tuple[CapabilityType, ...] = ()
    unsupported: tuple[CapabilityType, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map."""
        return {
            "status": self.status.value,
            "supported": [type_.value for type_ in self.supported],
            "unsupported": [type_.value for type_ in self.unsupported],
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_map(cls, value: Any) -> Negotiation:
        """Read what :meth:`to_map` wrote. ``status`` is required.

        Raises:
            ValidationError: the map, or a field in it, is malformed.
            StateError: ``invalid_status`` or ``invalid_capability_type``.
        """
        fields = Fields(value, "negotiation")
        return cls(
            status=fields.member("status", NegotiationStatus, ErrorCode.INVALID_STATUS),
            supported=_types(fields.items("supported"), "supported"),
            unsupported=_types(fields.items("unsupported"), "unsupported"),
            warnings=fields.texts("warnings"),
        )


@frozen
class CapabilityResolver:
    """What a run needs.

    Attributes:
        required: the types it cannot do without.
        optional: the types it would use; one that is required too is dropped here.
    """

    required: tuple[CapabilityType, ...] = ()
    optional: tuple[CapabilityType, ...] = ()

    @classmethod
    def new(
        cls,
        required: Iterable[CapabilityType | str] = (),
        optional: Iterable[CapabilityType | str] = (),
    ) -> CapabilityResolver:
        """Check the types asked for; repeated ones count once.

        Raises:
            ValidationError: not a list.
            StateError: ``invalid_capability_type``.
        """
        needed = _types(required, "required")
        wished = _types(optional, "optional")
        return cls(required=needed, optional=tuple(type_ for type_ in wished if type_ not in needed))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for."""
        return not self.required and not self.optional

    def plus(self, other: CapabilityResolver | None) -> CapabilityResolver:
        """Return what both need together; what one of them requires is not optional."""
        if other is None:
            return self
        return CapabilityResolver.new(self.required + other.required, self.optional + other.optional)

    def negotiate(self, capabilities: Manifest | Iterable[Capability]) -> Negotiation:
        """Compare with what a provider can do; disabled capabilities do not count.

        Args:
            capabilities: a manifest, or the capabilities themselves.

        Raises:
            ValidationError: it is neither.
            StateError: ``missing_required_capability``; message and details name the missing types.
        """
        found = _capabilities(capabilities)
        present = {capability.type for capability in found if capability.enabled}
        missing = [type_.value for type_ in self.required if type_ not in present]
        if missing:
            raise AsmError(
                ErrorCode.MISSING_REQUIRED_CAPABILITY,
                f"the provider lacks what is required: {', '.join(missing)}",
                details={"missing": missing, "available": sorted(type_.value for type_ in present)},
            )
        lacking = tuple(type_ for type_ in self.optional if type_ not in present)
        return Negotiation(
            status=NegotiationStatus.DEGRADED if lacking else NegotiationStatus.FULL,
            supported=self.required + tuple(type_ for type_ in self.optional if type_ in present),
            unsupported=lacking,
            warnings=tuple(f"optional capability {type_} is not available" for type_ in lacking),
        )

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map."""
        return {
            "required": [type_.value for type_ in self.required],
            "optional": [type_.value for type_ in self.optional],
        }

    @classmethod
    def from_map(cls, value: Any) -> CapabilityResolver:
        """Read what :meth:`to_map` wrote.

        Raises:
            ValidationError: the map, or a field in it, is malformed.
            StateError: ``invalid_capability_type``.
        """
        fields = Fields(value, "resolver")
        return cls.new(fields.items("required"), fields.items("optional"))


def capabilities_of_type(
    capabilities: Iterable[Capability], type_: CapabilityType | str
) -> tuple[Capability, ...]:
    """Return the enabled capabilities of one type.

    Raises:
        ValidationError: these are no capabilities.
        StateError: ``invalid_capability_type``.
    """
    wanted = parse_capability_type(type_)
    return tuple(
        capability
        for capability in _capabilities(capabilities)
        if capability.enabled and capability.type is wanted
    )


def has_capability_type(capabilities: Iterable[Capability], type_: CapabilityType | str) -> bool:
    """Tell whether an enabled capability of that type is among these.

    Raises:
        ValidationError: these are no capabilities.
        StateError: ``invalid_capability_type``.
    """
    return bool(capabilities_of_type(capabilities, type_))


def _capabilities(values: object) -> tuple[Capability, ...]:
    if isinstance(values, Manifest):
        return values.capabilities
    rule = "must be a manifest, or a list of capabilities"
    if isinstance(values, str | bytes | Mapping | type) or not isinstance(values, Iterable):
        raise invalid("capabilities", rule, values)
    found = tuple(values)
    for item in found:
        if not isinstance(item, Capability):
            raise invalid("capabilities", rule, item)
    return found


def _types(values: object, field: str) -> tuple[CapabilityType, ...]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise invalid(field, "must be a list of capability types", values)
    # A dict keeps the caller's order and drops what is repeated.
    return tuple(dict.fromkeys(parse_capability_type(value) for value in values))
