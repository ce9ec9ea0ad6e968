"""What one request asks of its router: ``adapter_opts["routing"]``, read and checked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from attrs import frozen

from asm_actors.capabilities.capability import Capability, CapabilityType, parse_capability_type
from asm_actors.capabilities.manifest import Manifest
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import shown
from asm_actors.routing.policy import RoutingPolicy
from asm_actors.serialization import check_id, check_optional_id, invalid

__all__ = ["Hints", "Required", "hints_of", "missing_of"]

_POLICY: Final = ("prefer", "exclude", "max_attempts", "weights", "strategy")
_KNOWN: Final = (*_POLICY, "policy", "required_capabilities", "sticky_session_id")


class Required(NamedTuple):
    """A capability that a request needs."""

    type: CapabilityType
    """Its kind."""
    name: str | None = None
    """Its name; None: any."""

    def __str__(self) -> str:
        return self.type.value if self.name is None else f"{self.type.value}:{self.name}"


@frozen
class Hints:
    """What a request asks for.

    Attributes:
        policy: The router's, with what the request changes of it.
        required: What a target must be able to do.
        sticky_id: What its stickiness goes by; None: nothing but the router's own rule.
    """

    policy: RoutingPolicy
    required: tuple[Required, ...] = ()
    sticky_id: str | None = None


def hints_of(options: Mapping[str, Any], policy: RoutingPolicy) -> Hints:
    """Read the hints of a request.

    ``routing`` is a map with ``required_capabilities`` (types, or maps with ``type`` and ``name``),
    ``sticky_session_id``, the fields of a policy, or a ``policy`` with them: what they name replaces that of the
    router's policy for this request.

    Args:
        options: The request's ``adapter_opts``.
        policy: The router's.

    Raises:
        ValidationError: A hint is unknown or malformed.
        StateError: ``invalid_capability_type``.
    """
    given = options.get("routing")
    if given is None:
        return Hints(policy)
    if not isinstance(given, Mapping):
        raise invalid("adapter_opts.routing", "must be a map", given)
    for name in given:
        if name not in _KNOWN:
            raise AsmError(
                ErrorCode.VALIDATION_ERROR,
                f"there is no routing hint {shown(name)}; there are {', '.join(_KNOWN)}",
                details={"field": "adapter_opts.routing"},
            )
    nested = given.get("policy")
    if nested is not None:
        if not isinstance(nested, Mapping):
            raise invalid("adapter_opts.routing.policy", "must be a map", nested)
        policy = policy.replaced(nested)
    policy = policy.replaced({name: given[name] for name in _POLICY if name in given})
    return Hints(
        policy,
        _required(given.get("required_capabilities")),
        check_optional_id(given.get("sticky_session_id"), "adapter_opts.routing.sticky_session_id"),
    )


def missing_of(required: Iterable[Required], manifest: Manifest) -> tuple[Required, ...]:
    """Return what a target lacks; disabled capabilities do not count."""
    enabled = manifest.enabled_capabilities
    return tuple(
        wanted
        for wanted in required
        if not any(
            found.type is wanted.type and (wanted.name is None or found.name == wanted.name)
            for found in enabled
        )
    )


def _required(value: Any) -> tuple[Required, ...]:
    if value is None:
        return ()
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise invalid("adapter_opts.routing.required_capabilities", "must be a list", value)
    return tuple(dict.fromkeys(_one(item) for item in value))


def _one(item: Any) -> Required:
    if isinstance(item, Capability):
        return Required(item.type, item.name)
    if isinstance(item, Mapping):
        name = item.get("name")
        return Required(
            parse_capability_type(item.get("type")),
            None if name is None else check_id(name, "the name of a required capability"),
        )
    return Required(parse_capability_type(item))
