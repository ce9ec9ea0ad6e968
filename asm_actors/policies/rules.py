"""What a policy is made of: limits, rules about tools, and the closed sets of what follows. Pure.

1. A limit is exceeded by strictly more than it says. None is no limit.
2. A tool is meant by its exact name; case counts.
3. Deny wins over allow, and both over ask: who may not call a tool need not ask. Of several allow rules each must name
   the tool.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from attrs import asdict, field, fields, frozen

from asm_actors.cost.budget import Budget
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import shown
from asm_actors.serialization import check_integer, check_number, check_text, invalid, parse_member

__all__ = [
    "LIMIT_NAMES",
    "OnDenied",
    "OnViolation",
    "PolicyLimits",
    "RuleKind",
    "ToolRule",
    "limits_of",
    "rules_of",
]


class OnViolation(StrEnum):
    """What follows when a policy is violated, from the strictest on."""

    CANCEL = "cancel"
    """The run ends as failed, with ``policy_violation``. A call that a rule forbids is not made: see `OnDenied`."""
    REQUEST_APPROVAL = "request_approval"
    """The next call of a tool, or the one that a rule forbids, waits until somebody has decided about it."""
    WARN = "warn"
    """It is put on record, and nothing else."""


class OnDenied(StrEnum):
    """What follows when a call of a tool is not made since a rule, or somebody who was asked, denied it."""

    FAIL = "fail"
    """The run ends as failed."""
    TELL = "tell"
    """The model is told, and the run goes on."""


class RuleKind(StrEnum):
    """What a rule says about the tools that it names."""

    ALLOW = "allow"
    """These, and no others."""
    DENY = "deny"
    """Not these."""
    ASK = "ask"
    """These only if somebody allows the call, whatever else the policy does about violations."""


def _check_count(_: Any, attribute: Any, value: object) -> None:
    if value is not None:
        check_integer(value, attribute.name, least=0)


def _usd(value: Any) -> float | None:
    return None if value is None else check_number(value, "max_cost_usd")


@frozen(kw_only=True)
class PolicyLimits:
    """How much a run may use; None is no limit.

    Attributes:
        max_total_tokens: tokens of requests and answers together.
        max_duration_ms: milliseconds from its start on.
        max_tool_calls: calls of tools. A run is looked at with all calls that a turn asks for: if these are too many
            together, a run that is cancelled for it begins none of them.
        max_cost_usd: US dollars.
        max_turns: requests to the model. A turn that ends with calls of tools wants another one: if there is none left,
            a run that is cancelled for it does not make them, since nobody would hear of their results.

    Raises:
        ValidationError: a field is not a number of at least 0 (for dollars), or no integer (for anything else).
    """

    max_total_tokens: int | None = field(default=None, validator=_check_count)
    max_duration_ms: int | None = field(default=None, validator=_check_count)
    max_tool_calls: int | None = field(default=None, validator=_check_count)
    max_cost_usd: float | None = field(default=None, converter=_usd)
    max_turns: int | None = field(default=None, validator=_check_count)

    @property
    def budget(self) -> Budget:
        """What of it is money and tokens."""
        return Budget(self.max_cost_usd, self.max_total_tokens)

    def tightest(self, other: PolicyLimits) -> PolicyLimits:
        """Return the smaller limit of each kind."""
        mine, others = asdict(self), asdict(other)
        return PolicyLimits(
            **{
                name: min((value for value in (mine[name], others[name]) if value is not None), default=None)
                for name in LIMIT_NAMES
            }
        )

    def to_map(self) -> dict[str, Any]:
        """Return the limits that there are as a JSON-ready map."""
        return asdict(self, filter=lambda _, value: value is not None)


LIMIT_NAMES: Final[tuple[str, ...]] = tuple(attribute.name for attribute in fields(PolicyLimits))
"""The limits that there are."""


def limits_of(value: Any) -> PolicyLimits:
    """Read limits.

    Args:
        value: limits, a map by name, or a list of ``(name, value)``; of a name that comes twice the tightest counts.

    Raises:
        ValidationError: it is neither, a limit is malformed, or there is no such limit.
    """
    if isinstance(value, PolicyLimits):
        return value
    if value is None:
        return PolicyLimits()
    if isinstance(value, Mapping):
        value = value.items()
    elif isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise invalid("limits", "must be a map of limits", value)
    found = PolicyLimits()
    for pair in value:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise invalid("limits", "must be a map, or a list of pairs (name, value)", pair)
        name, bound = pair
        if not isinstance(name, str) or name not in LIMIT_NAMES:
            raise AsmError(
                ErrorCode.VALIDATION_ERROR,
                f"there is no limit {shown(name)}; there are: {', '.join(LIMIT_NAMES)}",
                details={"field": "limits"},
            )
        found = found.tightest(PolicyLimits(**{name: bound}))
    return found


class ToolRule(NamedTuple):
    """A rule about tools."""

    kind: RuleKind
    """What it says."""
    tools: tuple[str, ...]
    """The tools it names, each once."""

    def forbids(self, tool: str) -> bool:
        """Tell whether the tool may not be called by this rule."""
        if self.kind is RuleKind.ASK:
            return False
        return (tool in self.tools) is (self.kind is RuleKind.DENY)

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map."""
        return {"rule": self.kind.value, "tools": list(self.tools)}


def rules_of(value: Any) -> tuple[ToolRule, ...]:
    """Read rules about tools. What is no name in a rule, or is empty, is left out of it; each name counts once.

    Args:
        value: a list of rules, of pairs ``("deny", [names])`` or of maps ``{"rule": "deny", "tools": [names]}``; or
            one map ``{"allow": [names], "deny": [names], "ask": [names]}``.

    Raises:
        ValidationError: it is none of these.
    """
    if value is None:
        return ()
    if isinstance(value, Mapping):
        value = list(value.items())
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise invalid("tool_rules", "must be a list of rules", value)
    return tuple(dict.fromkeys(_rule(given, f"tool_rules[{index}]") for index, given in enumerate(value)))


def _rule(value: object, path: str) -> ToolRule:
    if isinstance(value, Mapping):
        value = (value.get("rule"), value.get("tools"))
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise invalid(path, 'must be a pair such as ("deny", ["bash"])', value)
    kind, names = value
    try:
        kind = parse_member(RuleKind, kind, ErrorCode.VALIDATION_ERROR)
    except AsmError as error:
        raise AsmError(
            ErrorCode.VALIDATION_ERROR, f"{path}: {error.message}", details={"field": path}
        ) from None
    if isinstance(names, str | bytes | Mapping) or not isinstance(names, Iterable):
        raise invalid(path, "must name tools in a list", names)
    found = [check_text(name, path) for name in names if isinstance(name, str) and name]
    return ToolRule(kind, tuple(dict.fromkeys(found)))
