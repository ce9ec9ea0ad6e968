"""Budgets: how much may be spent on a run, a session or anything else, and what is left of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import fsum
from typing import Any, Final, Self, TypeVar

from attrs import field, fields, frozen

from asm_actors.cost.pricing import PricingTable, unpriced_name
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.usage import answered_by, model_of, tokens_of
from asm_actors.jsonable import shown
from asm_actors.runs.run import Run
from asm_actors.serialization import check_integer, check_number, invalid

__all__ = ["USD_GRAIN", "Budget", "Spent", "exceeds_usd", "spent_by"]

USD_GRAIN: Final = 1e-9
"""Dollars that do not count in comparisons: sums of fractions are not exact, and a token costs more than that."""


_N = TypeVar("_N", int, float)


def exceeds_usd(actual: float, limit: float) -> bool:
    """Tell whether an amount is strictly above a limit, beyond what adding fractions up may be wrong."""
    return actual - limit > USD_GRAIN


@frozen
class Spent:
    """What was spent.

    Attributes:
        cost_usd: US dollars, as far as they are known.
        total_tokens: tokens.
        unpriced: ``provider/model`` of what has an unknown cost, sorted: `cost_usd` is too low by that.
    """

    cost_usd: float = 0.0
    total_tokens: int = 0
    unpriced: tuple[str, ...] = ()

    def __add__(self, other: Spent) -> Spent:
        """Return both together."""
        return Spent(
            self.cost_usd + other.cost_usd,
            self.total_tokens + other.total_tokens,
            tuple(sorted({*self.unpriced, *other.unpriced})),
        )

    @property
    def is_known(self) -> bool:
        """Whether `cost_usd` is all of it."""
        return not self.unpriced

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map."""
        return {
            "cost_usd": self.cost_usd,
            "total_tokens": self.total_tokens,
            "unpriced": list(self.unpriced),
        }


def spent_by(runs: Iterable[Run], pricing: PricingTable) -> Spent:
    """Return what runs spent: as it was recorded, else by the table's rates.

    Args:
        runs: their records, in any order.
        pricing: the rates.
    """
    costs: list[float] = []
    tokens = 0
    unpriced: set[str] = set()
    for run in runs:
        used, cost = tokens_of(run).total, pricing.cost_usd(run)
        tokens += used
        if cost is not None:
            costs.append(cost)
        elif used:
            # A run that used nothing cost nothing, whatever its rates.
            unpriced.add(unpriced_name(answered_by(run), model_of(run)))
    return Spent(fsum(costs), tokens, tuple(sorted(unpriced)))


def _check_usd(_: Any, attribute: Any, value: object) -> None:
    if value is not None:
        check_number(value, attribute.name)


def _check_tokens(_: Any, attribute: Any, value: object) -> None:
    if value is not None:
        check_integer(value, attribute.name, least=0)


@frozen
class Budget:
    """How much may be spent; None is without a bound.

    Attributes:
        max_cost_usd: US dollars.
        max_total_tokens: tokens.

    Raises:
        ValidationError: a field is malformed.
    """

    max_cost_usd: float | None = field(default=None, validator=_check_usd)
    max_total_tokens: int | None = field(default=None, validator=_check_tokens)

    def remaining(self, spent: Spent) -> Budget:
        """Return what is left; never less than nothing. What has an unknown cost takes nothing away."""
        usd, tokens = self.max_cost_usd, self.max_total_tokens
        return Budget(
            None if usd is None else max(0.0, usd - spent.cost_usd),
            None if tokens is None else max(0, tokens - spent.total_tokens),
        )

    def exceeded_by(self, spent: Spent) -> tuple[str, ...]:
        """Return the fields that are exceeded, that is: spent is strictly more."""
        found = []
        if self.max_cost_usd is not None and exceeds_usd(spent.cost_usd, self.max_cost_usd):
            found.append("max_cost_usd")
        if self.max_total_tokens is not None and spent.total_tokens > self.max_total_tokens:
            found.append("max_total_tokens")
        return tuple(found)

    def is_spent(self, spent: Spent) -> bool:
        """Tell whether nothing is left of one of its bounds: whatever is spent next exceeds it."""
        left = self.remaining(spent)
        is_broke = left.max_cost_usd is not None and left.max_cost_usd <= USD_GRAIN
        return is_broke or left.max_total_tokens == 0

    def tightest(self, other: Budget) -> Budget:
        """Return the tighter bound of each field."""
        return Budget(
            _least(self.max_cost_usd, other.max_cost_usd),
            _least(self.max_total_tokens, other.max_total_tokens),
        )

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map."""
        return {"max_cost_usd": self.max_cost_usd, "max_total_tokens": self.max_total_tokens}

    @classmethod
    def from_map(cls, value: Any) -> Self:
        """Read what :meth:`to_map` wrote, or what somebody wrote by hand.

        Raises:
            ValidationError: a field is malformed, or there is no such field.
        """
        if not isinstance(value, Mapping):
            raise invalid("a budget", "is read from a map", value)
        known = [attribute.name for attribute in fields(cls)]
        for name in value:
            if name not in known:
                raise AsmError(
                    ErrorCode.VALIDATION_ERROR,
                    f"a budget has no field {shown(name)}; it has {', '.join(known)}",
                    details={"field": "budget"},
                )
        return cls(**value)


def _least(one: _N | None, other: _N | None) -> _N | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
