"""What runs cost, in US dollars: sums over runs. Rates stand in ``cost.pricing``, tokens are counted in ``usage``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import fsum
from typing import Any

from attrs import asdict, frozen

from asm_actors.cost.pricing import PricingTable, Rates
from asm_actors.journal.usage import UNKNOWN, answered_by, model_of, tokens_of
from asm_actors.runs.run import Run

__all__ = ["CostSummary", "ModelCost", "PricingTable", "ProviderCost", "Rates", "cost_summary_of"]


@frozen
class ProviderCost:
    """What the runs of one provider cost."""

    cost_usd: float
    run_count: int


@frozen
class ModelCost:
    """What the runs with one model cost, and how many tokens they used."""

    cost_usd: float
    total_tokens: int


@frozen
class CostSummary:
    """What runs cost.

    Attributes:
        total_cost_usd: US dollars, of the runs whose cost is known.
        run_count: how many runs these are, those of unknown cost included.
        unmapped_runs: runs of which no cost was recorded and for which the table has no rates.
        by_provider: cost and count of each provider that answered; ``unknown`` stands for runs of which that is not
            known.
        by_model: cost and tokens of each model; ``unknown`` likewise.
    """

    total_cost_usd: float
    run_count: int
    unmapped_runs: int
    by_provider: dict[str, ProviderCost]
    by_model: dict[str, ModelCost]

    def to_map(self) -> dict[str, Any]:
        """Return a JSON-ready map."""
        return asdict(self)


def cost_summary_of(runs: Iterable[Run], table: PricingTable) -> CostSummary:
    """Sum up what runs cost."""
    costs: dict[str, list[float]] = {}
    counts: Counter[str] = Counter()
    model_costs: dict[str, list[float]] = {}
    tokens: Counter[str] = Counter()
    unmapped = 0
    for run in runs:
        cost = table.cost_usd(run)
        unmapped += cost is None
        provider, model = answered_by(run) or UNKNOWN, model_of(run) or UNKNOWN
        costs.setdefault(provider, []).append(cost or 0.0)
        counts[provider] += 1
        model_costs.setdefault(model, []).append(cost or 0.0)
        tokens[model] += tokens_of(run).total
    # Sums that do not depend on the order in which a store gives the runs.
    return CostSummary(
        fsum(cost for mine in costs.values() for cost in mine),
        counts.total(),
        unmapped,
        {name: ProviderCost(fsum(mine), counts[name]) for name, mine in sorted(costs.items())},
        {name: ModelCost(fsum(mine), tokens[name]) for name, mine in sorted(model_costs.items())},
    )
