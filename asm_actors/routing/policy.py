"""In which order a router asks its targets. Pure.

Three strategies:

1. ``prefer``: those in ``prefer`` first, in that order, then the others in theirs.
2. ``weighted``: by weight, less half a point for each failure in a row; equals as ``prefer`` has them. The same
   facts give the same order.
3. ``random``: drawn, with the weights as odds, halved for each failure in a row. So the load is shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, Protocol

from attrs import evolve, field, frozen

from asm_actors.config import ROUTING_MAX_ATTEMPTS
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.jsonable import shown
from asm_actors.serialization import check_id, check_ids, check_integer, check_number, invalid, parse_member

__all__ = ["DEFAULT_WEIGHT", "RandomSource", "RoutingPolicy", "RoutingStrategy", "ranked"]

DEFAULT_WEIGHT: Final = 1.0
"""The weight of a target that the policy does not name."""
_PENALTY: Final = 0.5


class RandomSource(Protocol):
    """Where draws come from: ``random.Random(seed)``."""

    def random(self) -> float:
        """Return a float in [0, 1)."""
        ...


class RoutingStrategy(StrEnum):
    """How the order is found; see the module."""

    PREFER = "prefer"
    WEIGHTED = "weighted"
    RANDOM = "random"


def _names(value: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(check_ids(value, "routing: a list of targets")))


def _attempts(value: Any) -> int:
    return check_integer(value, "routing: max_attempts", least=1)


def _strategy(value: Any) -> RoutingStrategy:
    return parse_member(RoutingStrategy, value, ErrorCode.VALIDATION_ERROR)


def _weights(value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise invalid("routing: weights", "must be a map from targets to numbers", value)
    return {
        check_id(name, "routing: a target with a weight"): check_number(weight, f"routing: weights[{name!r}]")
        for name, weight in value.items()
    }


@frozen(kw_only=True)
class RoutingPolicy:
    """What an operator wants of a router. Names that no target has are allowed: a target may be added later.

    Attributes:
        prefer: Targets to ask first, in this order.
        exclude: Targets never to ask.
        max_attempts: How many targets one turn may be given to, the first one included.
        weights: Weights by target, at least 0; 1 for those that are not named.
        strategy: How the order is found.

    Raises:
        ValidationError: A field is malformed.
    """

    prefer: tuple[str, ...] = field(default=(), converter=_names)
    exclude: tuple[str, ...] = field(default=(), converter=_names)
    max_attempts: int = field(default=ROUTING_MAX_ATTEMPTS, converter=_attempts)
    weights: dict[str, float] = field(factory=dict, converter=_weights)
    strategy: RoutingStrategy = field(default=RoutingStrategy.PREFER, converter=_strategy)

    __hash__ = None  # type: ignore[assignment]

    def replaced(self, changes: Mapping[str, Any]) -> RoutingPolicy:
        """Return the policy with the fields that a map names; None leaves a field as it is.

        Raises:
            ValidationError: The map names an unknown field, or one is malformed.
        """
        known = ("prefer", "exclude", "max_attempts", "weights", "strategy")
        for name in changes:
            if name not in known:
                raise AsmError(
                    ErrorCode.VALIDATION_ERROR,
                    f"a routing policy has no field {shown(name)}; it has {', '.join(known)}",
                    details={"field": "routing"},
                )
        given = {name: value for name, value in changes.items() if value is not None}
        return evolve(self, **given) if given else self

    def weight(self, name: str) -> float:
        """Return the weight of a target."""
        return self.weights.get(name, DEFAULT_WEIGHT)

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map."""
        return {
            "prefer": list(self.prefer),
            "exclude": list(self.exclude),
            "max_attempts": self.max_attempts,
            "weights": dict(self.weights),
            "strategy": self.strategy.value,
        }

    @classmethod
    def from_map(cls, value: Any) -> RoutingPolicy:
        """Read what :meth:`to_map` wrote; an absent field has its default.

        Raises:
            ValidationError: No map, an unknown name, or a field that is malformed.
        """
        if not isinstance(value, Mapping):
            raise invalid("a routing policy", "is read from a map", value)
        return cls().replaced(value)


def ranked(
    policy: RoutingPolicy, names: Iterable[str], failures: Mapping[str, int], random: RandomSource
) -> tuple[str, ...]:
    """Return targets in the order in which to ask them.

    Args:
        policy: Its ``exclude`` is not looked at here.
        names: The targets, in the order in which they were configured.
        failures: Failures in a row, of those that have any.
        random: Asked by the strategy ``random`` only, once for each target.
    """
    place = {name: at for at, name in enumerate(policy.prefer)}
    by_rank = sorted(names, key=lambda name: place.get(name, len(place)))  # stable: the others stay in order
    if policy.strategy is RoutingStrategy.WEIGHTED:
        by_rank.sort(key=lambda name: failures.get(name, 0) * _PENALTY - policy.weight(name))
    elif policy.strategy is RoutingStrategy.RANDOM:
        drawn = {
            name: _ticket(policy.weight(name), failures.get(name, 0), random.random()) for name in by_rank
        }
        by_rank.sort(key=lambda name: -drawn[name])
    return tuple(by_rank)


def _ticket(weight: float, failures: int, draw: float) -> float:
    """The highest ticket comes first, with a chance in proportion to its odds; without odds it comes last."""
    odds = weight * _PENALTY ** min(failures, 64)
    return draw ** (1.0 / odds) if odds > 1e-9 else -1.0
