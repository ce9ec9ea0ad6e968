"""What models cost: rates per token, tables of them, and what tokens cost by these. Pure.

1. What a provider says that something cost stands above every table.
2. A model has its own rates, else those of the longest name that it begins with, else its provider's ``default``.
3. Where nothing is known the cost is unknown, which is not 0: it is told, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from attrs import asdict, frozen

from asm_actors.journal.usage import UNKNOWN, answered_by, count_of, model_of
from asm_actors.runs.run import Run
from asm_actors.serialization import check_id, check_number, invalid

__all__ = ["DEFAULT", "Cost", "CostSource", "PricingTable", "Rates", "unpriced_name"]

DEFAULT: Final = "default"
"""The model of a table that stands for those of a provider that have no rates."""


@frozen
class Rates:
    """What a model costs, in US dollars per token."""

    input: float
    output: float
    cache_read: float | None = None
    """Of a prompt token that the provider had cached; None: as any prompt token."""
    cache_creation: float | None = None
    """Of a prompt token that the provider puts into its cache; None: as any prompt token."""

    def cost_of(self, usage: Mapping[str, Any]) -> float:
        """Return what tokens cost by these rates, in US dollars.

        Args:
            usage: Counts: ``input_tokens output_tokens cache_read_tokens cache_creation_tokens``. What is missing,
                negative or no number counts as 0.
        """
        read, made = self.cache_read, self.cache_creation
        return (
            count_of(usage, "input_tokens") * self.input
            + count_of(usage, "output_tokens") * self.output
            + count_of(usage, "cache_read_tokens") * (self.input if read is None else read)
            + count_of(usage, "cache_creation_tokens") * (self.input if made is None else made)
        )

    def cost_usd(self, run: Run) -> float:
        """Return what a run cost by these rates, in US dollars."""
        return self.cost_of(run.token_usage)


_RATE_NAMES: Final = {
    "input": "input",
    "output": "output",
    "cached_input": "cache_read",
    "cache_read": "cache_read",
    "cache_creation": "cache_creation",
}


def _rates(value: object, path: str) -> Rates:
    if isinstance(value, Rates):
        return value
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


def _models(models: object, path: str) -> dict[str, Rates]:
    if not isinstance(models, Mapping):
        raise invalid(path, "must be a map from models to rates", models)
    if "input" in models and not isinstance(models["input"], Mapping | Rates):
        return {DEFAULT: _rates(models, path)}
    found = {
        check_id(model, f"a model of {path}"): _rates(given, f"{path}.{model}")
        for model, given in models.items()
        if not isinstance(given, str)
    }
    aliases: dict[str, Rates] = {}
    for alias, model in models.items():
        if isinstance(model, str):
            if model not in found:
                raise invalid(
                    f"{path}.{alias}", "must be rates, or a model of this provider that has rates", model
                )
            aliases[check_id(alias, f"a model of {path}")] = found[model]
    return found | aliases


class CostSource(StrEnum):
    """How a cost is known."""

    REPORTED = "reported"
    """The provider said it."""
    COMPUTED = "computed"
    """It follows from tokens and rates."""
    UNKNOWN = "unknown"
    """The provider did not say it, and the table has no rates for the model."""


class Cost(NamedTuple):
    """What something cost, and how that is known."""

    usd: float | None
    """US dollars; None if it is not known."""
    source: CostSource
    """How it is known."""
    unpriced: str | None = None
    """``provider/model`` for which rates are missing; None if it is known."""


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
                all models of a provider the same rates. In place of rates another model of the provider may be named:
                ``{"small": "small-2026-01"}`` is an alias.

        Raises:
            ValidationError: it is malformed; the message names the place.
        """
        if isinstance(table, PricingTable):
            return table
        if not isinstance(table, Mapping | None):
            raise invalid("pricing_table", "must be a map from providers to models to rates", table)
        return cls(
            {
                check_id(provider, "a provider of pricing_table"): _models(
                    models, f"pricing_table.{provider}"
                )
                for provider, models in (table or {}).items()
            }
        )

    def over(self, base: PricingTable) -> PricingTable:
        """Return both tables as one; where both have rates for a model, these ones count."""
        providers = dict.fromkeys([*base.rates, *self.rates])
        return PricingTable(
            {name: {**base.rates.get(name, {}), **self.rates.get(name, {})} for name in providers}
        )

    def to_map(self) -> dict[str, Any]:
        """Return the table as a JSON-ready map that :meth:`of` reads; an alias has become rates of its own."""
        return {
            provider: {
                model: asdict(rates, filter=lambda _, value: value is not None)
                for model, rates in models.items()
            }
            for provider, models in self.rates.items()
        }

    def model_names(self, provider: str | None = None) -> tuple[str, ...]:
        """Return the models that have rates of their own, sorted; of all providers unless one is named."""
        tables = self.rates.values() if provider is None else [self.rates.get(provider, {})]
        return tuple(sorted({model for models in tables for model in models} - {DEFAULT}))

    def rates_of(self, provider: str, model: str | None) -> Rates | None:
        """Return a model's rates: its own, those of the longest name that it begins with, else the default."""
        models = self.rates.get(provider, {})
        if model is not None:
            alike = [name for name in models if model.startswith(name)]
            if alike:
                return models[max(alike, key=len)]
        return models.get(DEFAULT)

    def cost_of(
        self,
        usage: Mapping[str, Any],
        provider: str | None,
        model: str | None,
        reported_usd: float | None = None,
    ) -> Cost:
        """Return what tokens cost.

        Args:
            usage: Counts, as in :meth:`Rates.cost_of`.
            provider: Who used them; None if that is not known.
            model: The model, None likewise.
            reported_usd: What the provider says; 0 and less count as not said, since interrupted work is told as free.
        """
        if reported_usd is not None and reported_usd > 0:
            return Cost(reported_usd, CostSource.REPORTED)
        rates = self.rates_of(provider or UNKNOWN, model)
        if rates is None:
            return Cost(None, CostSource.UNKNOWN, unpriced_name(provider, model))
        return Cost(rates.cost_of(usage), CostSource.COMPUTED)

    def cost_usd(self, run: Run) -> float | None:
        """Return what a run cost: as it was recorded, else by these rates; None if neither is known."""
        if run.cost_usd is not None:
            return run.cost_usd
        rates = self.rates_of(answered_by(run) or UNKNOWN, model_of(run))
        return None if rates is None else rates.cost_usd(run)


def unpriced_name(provider: str | None, model: str | None) -> str:
    """Return ``provider/model``, as messages name what has no rates."""
    return f"{provider or UNKNOWN}/{model or UNKNOWN}"
