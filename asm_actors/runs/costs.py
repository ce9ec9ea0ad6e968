"""What a turn costs. Pure.

What the provider says comes first; else its tokens have the rates of its model. The turn of a router has those of the
provider that answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asm_actors.cost.pricing import PricingTable
from asm_actors.journal.usage import UNKNOWN
from asm_actors.runs.turn import Turn

__all__ = ["added", "cost_of_turn"]


def cost_of_turn(
    turn: Turn, provider: str | None, options: Mapping[str, Any], pricing: PricingTable
) -> float | None:
    """Return what a turn cost so far, in US dollars; None if nobody knows.

    Args:
        turn: The turn as far as it was heard.
        provider: Its provider's name.
        options: The options of its request, which may name the ``model``.
        pricing: What models cost.
    """
    done = turn.done
    reported = None if done is None else done.cost_usd
    if not turn.usage or (reported is not None and reported > 0):
        return reported
    if done is not None and done.metadata:
        routing = done.metadata.get("routing")
        if isinstance(routing, Mapping):
            provider = routing.get("routed_provider") or provider
    model = turn.model or options.get("model")
    rates = pricing.rates_of(provider or UNKNOWN, model if isinstance(model, str) else None)
    return reported if rates is None else rates.cost_of(turn.usage)


def added(before: float | None, more: float | None) -> float | None:
    """Add costs up; an unknown one adds nothing, and two unknown ones are unknown."""
    return more if before is None else before if more is None else before + more
