"""What of a policy a provider can keep to by itself: options made of it. Pure.

The runtime enforces a policy whatever the provider does with these. A provider that honours some says which in its
manifest, under ``config["honours"]``; so callers can tell what is also kept to inside an agent that calls tools on its
own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from asm_actors.capabilities.manifest import Manifest
from asm_actors.policies.policy import Policy
from asm_actors.policies.rules import OnViolation, RuleKind

__all__ = ["HONOURS", "POLICY_HINTS", "compile_hints", "honoured_hints", "with_hints"]

HONOURS: Final = "honours"
"""Key in a manifest's ``config``: the list of hints that the provider keeps to."""

POLICY_HINTS: Final = ("allowed_tools", "denied_tools", "max_tokens", "max_turns")
"""The hints that are made of a policy's rules and limits."""


def compile_hints(policy: Policy, provider: str | None = None) -> dict[str, Any]:
    """Return the options that a policy makes for a provider.

    Only a policy that cancels makes options of its rules and limits: what somebody may be asked about, or is only put
    on record, must be possible. ``allowed_tools`` are there if a rule allows tools: what all such rules name, without
    what is denied; else ``denied_tools`` if a rule denies some. ``max_tokens`` and ``max_turns`` follow from the
    limits. The policy's own ``provider_hints`` for this provider come on top.

    Args:
        policy: the policy.
        provider: the provider's name.
    """
    own: Mapping[str, Any] = policy.provider_hints.get(provider or "", {})
    if policy.on_violation is not OnViolation.CANCEL:
        return dict(own)
    allowing = [rule.tools for rule in policy.tool_rules if rule.kind is RuleKind.ALLOW]
    denied = list(_once(policy, RuleKind.DENY))
    hints: dict[str, Any] = {}
    if allowing:
        hints["allowed_tools"] = [
            name for name in allowing[0] if name not in denied and all(name in names for names in allowing)
        ]
    elif denied:
        hints["denied_tools"] = denied
    if policy.limits.max_total_tokens is not None:
        hints["max_tokens"] = policy.limits.max_total_tokens
    if policy.limits.max_turns is not None:
        hints["max_turns"] = policy.limits.max_turns
    return {**hints, **own}


def _once(policy: Policy, kind: RuleKind) -> Iterable[str]:
    return dict.fromkeys(name for rule in policy.tool_rules if rule.kind is kind for name in rule.tools)


def with_hints(
    options: Mapping[str, Any], hints: Mapping[str, Any], settings: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Return a caller's options with hints; where both say something the tighter one counts.

    Of two lists of allowed tools what is in both is left, two of denied ones are put together, of two numbers of a
    limit the smaller counts. Any other option stays as the caller gave it.

    Args:
        options: what the caller gave.
        hints: see `compile_hints`.
        settings: what the provider does unless it is told otherwise (its manifest's ``config``): a bound on a whole run
            does not loosen the provider's own bound.
    """
    found = {**hints, **options}
    for name, hint in hints.items():
        given = options.get(name)
        if given is None:
            found[name] = _smaller(hint, settings.get(name))
        elif name in _TIGHTER:
            found[name] = _TIGHTER[name](given, hint)
    return found


def _smaller(given: Any, hint: Any) -> Any:
    return min(given, hint) if _is_number(given) and _is_number(hint) else given


def _both(given: Any, hint: Any) -> Any:
    return [name for name in given if name in hint] if _is_list(given) and _is_list(hint) else given


def _either(given: Any, hint: Any) -> Any:
    return list(dict.fromkeys([*given, *hint])) if _is_list(given) and _is_list(hint) else given


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


_TIGHTER: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "allowed_tools": _both,
    "denied_tools": _either,
    "max_tokens": _smaller,
    "max_turns": _smaller,
}


def honoured_hints(hints: Mapping[str, Any], manifest: Manifest) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the hints that a provider keeps to, and the names of those that it does not know.

    Args:
        hints: see `compile_hints`.
        manifest: what the provider says about itself.
    """
    said = manifest.config.get(HONOURS)
    known = set(said) if isinstance(said, list | tuple) else set()
    kept = {name: value for name, value in hints.items() if name in known}
    return kept, tuple(name for name in hints if name not in known)
