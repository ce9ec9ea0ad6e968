"""What runs cost, in US dollars: rates, and the sums over runs. Their tokens are counted in ``usage``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import fsum
from typing import Any, Final

from attrs import asdict, frozen

from asm_actors.journal.usage import UNKNOWN, count_of, model_of, tokens_of
from asm_actors.runs.run import Run
from asm_actors.serialization import check_number, invalid

__all__ = ["CostSummary", "ModelCost", "PricingTable", "ProviderCost", "Rates", "cost_summary_of"]

_DEFAULT: Final = "default"


@frozen
class Rates:
    """What a model costs, in US dollars per token."""

    input: float
    output: float
    cache_read: float | None = None
    """Of a prompt token that the provider had cached; None: as any prompt token."""
    cache_creation: float | None = None
    """Of a prompt token that the provider puts into its cache; None: as any prompt token."""

    def cost_usd(self, run: Run) -> float:
        """Return what a run cost by these rates."""
        used = tokens_of(run)
        read, made = self.cache_read, self.cache_creation
        return (
            used.input * self.input
            + used.output * self.output
            + count_of(run.token_usage, "cache_read_tokens") * (self.input if read is None else read)
            + count_of(run.token_usage, "cache_creation_tokens") * (self.input if made is None else made)
        )


_RATE_NAMES: Final = {
    "input": "input",
    "output": "output",
    "cached_input": "cache_read",
    "cache_read": "cache_read",
    "cache_creation": "cache_creation",
}


def _rates(value: object, path: str) -> Rates:
    if not isinstance(value, Mapping):
        raise invalid(path, "must be a map of rates in US dollars per token (input, output, …)", value)
    unknown = [name for name in value if name not in _RATE_NAMES]
    if unknown:
        raise invalid(path, f"has rates for {', '.join(_RATE_NAMES)} only", unknown[0])
    found = {
        _RATE_NAMES[name]: check_number(rate, f"{path}.{name}")
        for name, rate in value.items()
        if rate is not None
    }
    if "input" not in found or "output" not in found:
        raise invalid(path, "must have the rates input and output", sorted(found))
    return Rates(**found)


@frozen
class PricingTable:
    """What the models of providers cost, in US dollars per token.

    Attributes:
        rates: by provider and model. The model ``default`` stands for those of a provider that have no rates.
    """

    rates: Mapping[str, Mapping[str, Rates]]

    @classmethod
    def of(cls, table: PricingTable | Mapping[str, Any] | None) -> PricingTable:
        """Read a table; None gives an empty one.

        Args:
            table: ``{provider: {model: {"input": …, "output": …, "cached_input": …, "cache_creation": …}}}`` in US
                dollars per token, of which the last two may be missing; ``{provider: {"input": …, "output": …}}`` gives
                all models of a provider the same rates.

        Raises:
            ValidationError: it is malformed; the message names the place.
        """
        if isinstance(table, PricingTable):
            return table
        if not isinstance(table, Mapping | None):
            raise invalid("pricing_table", "must be a map from providers to models to rates", table)
        rates: dict[str, dict[str, Rates]] = {}
        for provider, models in (table or {}).items():
            path = f"pricing_table.{provider}"
            if not isinstance(models, Mapping):
                raise invalid(path, "must be a map from models to rates", models)
            if "input" in models and not isinstance(models["input"], Mapping):
                rates[provider] = {_DEFAULT: _rates(models, path)}
            else:
                rates[provider] = {model: _rates(found, f"{path}.{model}") for model, found in models.items()}
        return cls(rates)

    def rates_of(self, provider: str, model: str | None) -> Rates | None:
        """Return a model's rates: its own, those of the longest name that it begins with, else the default."""
        models = self.rates.get(provider, {})
        if model is not None:
            alike = [name for name in models if model.startswith(name)]
            if alike:
                return models[max(alike, key=len)]
        return models.get(_DEFAULT)

    def cost_usd(self, run: Run) -> float | None:
        """Return what a run cost: as it was recorded, else by these rates; None if neither is known."""
        if run.cost_usd is not None:
            return run.cost_usd
        rates = self.rates_of(run.provider or UNKNOWN, model_of(run))
        return None if rates is None else rates.cost_usd(run)


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
        by_provider: cost and count of each provider; ``unknown`` stands for runs that name none.
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
        provider, model = run.provider or UNKNOWN, model_of(run) or UNKNOWN
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
