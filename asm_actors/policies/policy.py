"""`Policy`: what runs may do and use, and what follows when they exceed it; and several of them as one. Pure.

Of several policies:

1. The tightest limit wins, whoever set it and in whichever order. Deny wins over allow; each allow rule must be met.
2. What follows is the strictest of what they say: cancel before request_approval before warn, fail before tell. The
   shortest wait for an approval counts.
3. Hints and metadata are put together key by key, later ones over earlier ones. In these alone the order matters.
4. The whole keeps its parts. So it can tell who set what, and putting together in steps gives the same as all at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from math import inf
from typing import Any, NamedTuple

from attrs import evolve, field, fields, frozen

from asm_actors.config import APPROVAL_TIMEOUT
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import shown, stringify_keys
from asm_actors.policies.rules import (
    OnDenied,
    OnViolation,
    PolicyLimits,
    RuleKind,
    ToolRule,
    limits_of,
    rules_of,
)
from asm_actors.serialization import check_id, check_seconds, check_text, invalid, json_map, parse_member

__all__ = ["DEFAULT_NAME", "Policy", "Refusal", "stack_merge"]

DEFAULT_NAME = "default"
"""What a policy is called that was given no name."""


def _name(value: Any) -> str:
    # Names of many policies stand in one, so that there is no bound as there is for ids.
    return check_text(value, "name") if value else check_id(value, "name")


def _on_violation(value: Any) -> Any:
    return _member(OnViolation, value, "on_violation")


def _on_denied(value: Any) -> Any:
    return _member(OnDenied, value, "on_denied")


def _member(kind: Any, value: Any, name: str) -> Any:
    try:
        return parse_member(kind, value, ErrorCode.VALIDATION_ERROR)
    except AsmError as error:
        raise AsmError(
            ErrorCode.VALIDATION_ERROR, f"{name}: {error.message}", details={"field": name}
        ) from None


def _timeout(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
        raise invalid("approval_timeout", "must be seconds greater than 0, or None for ever", value)
    return check_seconds(value, "approval_timeout")


def _hints(value: Any) -> dict[str, dict[str, Any]]:
    hints = json_map(value, "provider_hints")
    for provider, options in hints.items():
        check_id(provider, "a provider of provider_hints")
        if not isinstance(options, dict):
            raise invalid(f"provider_hints.{provider}", "must be a map of options", options)
    return hints


def _metadata(value: Any) -> dict[str, Any]:
    return json_map(value, "metadata")


class Refusal(NamedTuple):
    """Why a tool may not be called."""

    rule: ToolRule
    """The rule that forbids it."""
    policies: tuple[str, ...]
    """Names of the policies that have this rule."""


@frozen(kw_only=True)
class Policy:
    """What runs may do and use. Checked when it is made.

    Attributes:
        name: what it is called, in events and messages.
        limits: how much a run may use: `PolicyLimits`, or what `limits_of` reads.
        tool_rules: which tools it may call: `ToolRule` values, or what `rules_of` reads.
        on_violation: what follows when it is violated: ``cancel`` the run, ``request_approval`` or ``warn``.
        on_denied: what follows when a call is denied: ``tell`` the model and go on, or ``fail`` the run.
        approval_timeout: seconds after which a call that nobody has decided about is denied; None: it waits for ever.
        provider_hints: further options for providers, by their names, JSON.
        metadata: the caller's own facts, JSON.
        parts: the policies that this one was put together from by `stack_merge`; empty for any other one.

    Raises:
        ValidationError: a field is malformed; the message names it.
    """

    name: str = field(default=DEFAULT_NAME, converter=_name)
    limits: PolicyLimits = field(default=None, converter=limits_of)
    tool_rules: tuple[ToolRule, ...] = field(default=(), converter=rules_of)
    on_violation: OnViolation = field(default=OnViolation.CANCEL, converter=_on_violation)
    on_denied: OnDenied = field(default=OnDenied.TELL, converter=_on_denied)
    approval_timeout: float | None = field(default=APPROVAL_TIMEOUT, converter=_timeout)
    provider_hints: dict[str, dict[str, Any]] = field(default=None, converter=_hints)
    metadata: dict[str, Any] = field(default=None, converter=_metadata)
    parts: tuple[Policy, ...] = field(default=(), init=False)

    def __hash__(self) -> int:
        return hash((self.name, self.limits, self.tool_rules))

    @property
    def plain(self) -> tuple[Policy, ...]:
        """The policies it was put together from; itself if it was not."""
        return self.parts or (self,)

    def merge(self, overrides: Mapping[str, Any]) -> Policy:
        """Return this policy with some fields replaced as wholes. It is a plain one then, without parts.

        Raises:
            ValidationError: a field is malformed, or there is no such field; this policy stays as it is.
        """
        return evolve(self, **_known(overrides))

    def refusal_of(self, tool: str) -> Refusal | None:
        """Return why a tool may not be called, or None if it may. Deny rules are looked at first."""
        for kind in (RuleKind.DENY, RuleKind.ALLOW):
            for rule in self.tool_rules:
                if rule.kind is kind and rule.forbids(tool):
                    names = [part.name for part in self.plain if rule in part.tool_rules]
                    return Refusal(rule, tuple(dict.fromkeys(names)))
        return None

    def asks_about(self, tool: str) -> tuple[str, ...]:
        """Return the names of the policies by which somebody has to be asked before a tool is called; empty if none."""
        found = [
            part.name
            for part in self.plain
            if any(rule.kind is RuleKind.ASK and tool in rule.tools for rule in part.tool_rules)
        ]
        return tuple(dict.fromkeys(found))

    def contributors(self, name: str) -> tuple[str, ...]:
        """Return the names of the policies from which a field has its value.

        Args:
            name: a limit, or one of ``on_violation on_denied approval_timeout``.

        Raises:
            AttributeError: there is no such limit or field.
        """
        value = self._value_of(name)
        names = [part.name for part in self.plain if part._value_of(name) == value]
        return tuple(dict.fromkeys(names)) if value is not None else ()

    def _value_of(self, name: str) -> Any:
        return getattr(self.limits if name.startswith("max_") else self, name)

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map."""
        return {
            "name": self.name,
            "limits": self.limits.to_map(),
            "tool_rules": [rule.to_map() for rule in self.tool_rules],
            "on_violation": self.on_violation.value,
            "on_denied": self.on_denied.value,
            "approval_timeout": self.approval_timeout,
            "provider_hints": stringify_keys(self.provider_hints),
            "metadata": stringify_keys(self.metadata),
            "parts": [part.to_map() for part in self.parts],
        }

    @classmethod
    def from_map(cls, value: Any) -> Policy:
        """Read what :meth:`to_map` wrote, or what somebody wrote by hand; what is left out has its default.

        If there are ``parts``, the policy is put together from these again, and nothing else in the map counts.

        Raises:
            ValidationError: a field is malformed, or there is no such field.
        """
        parts = value.get("parts") if isinstance(value, Mapping) else None
        if parts:
            if not isinstance(parts, list | tuple):
                raise invalid("parts", "must be a list of policies", parts)
            return stack_merge(cls.from_map(part) for part in parts)
        return cls(**_known(value, "parts"))


def _known(value: Any, *besides: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise invalid("a policy", "is read from a map", value)
    found = {name: item for name, item in value.items() if name not in besides}
    known = [attribute.name for attribute in fields(Policy) if attribute.init]
    for name in found:
        if name not in known:
            raise AsmError(
                ErrorCode.VALIDATION_ERROR,
                f"a policy has no field {shown(name)}; it has {', '.join(known)}",
                details={"field": "policy"},
            )
    return found


def stack_merge(policies: Iterable[Policy]) -> Policy:
    """Put policies together. Of none the default policy is made; one alone, however often, stays itself.

    Args:
        policies: in order; those that were put together already count as their parts.
    """
    given = list(policies)
    parts = tuple(_each_once(part for policy in given for part in policy.plain))
    if not parts:
        return Policy()
    if len(parts) == 1:
        return parts[0]
    waits = [part.approval_timeout for part in parts if part.approval_timeout is not None]
    whole = Policy(
        name=" + ".join(dict.fromkeys(part.name for part in parts)),
        limits=reduce(PolicyLimits.tightest, (part.limits for part in parts)),
        tool_rules=tuple(rule for part in parts for rule in part.tool_rules),
        on_violation=_strictest(OnViolation, (part.on_violation for part in parts)),
        on_denied=_strictest(OnDenied, (part.on_denied for part in parts)),
        approval_timeout=min(waits, default=None),
        provider_hints=_hints_of(parts),
        metadata={key: value for part in parts for key, value in part.metadata.items()},
    )
    object.__setattr__(whole, "parts", parts)
    return whole


def _each_once(policies: Iterable[Policy]) -> list[Policy]:
    # The last of two equal ones would change nothing but the order of the names.
    found: list[Policy] = []
    for policy in policies:
        if policy not in found:
            found.append(policy)
    return found


def _strictest(kind: Any, values: Iterable[Any]) -> Any:
    # The members of these sets stand in the order of their strictness.
    given = set(values)
    return next(member for member in kind if member in given)


def _hints_of(parts: Iterable[Policy]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        for provider, options in part.provider_hints.items():
            found[provider] = {**found.get(provider, {}), **options}
    return found
