"""Prices of models that are known here, and the models that are asked for unless somebody says which. Pure data.

Prices change without notice, and contracts differ: whoever needs them exactly gives a table of their own, which may be
put over this one (`PricingTable.over`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from asm_actors.cost.pricing import PricingTable

__all__ = ["BUILT_IN_PRICES", "DEFAULT_MODELS", "default_model"]

# US dollars per token. A model that is not listed has the rates of the longest listed name it begins with, else the
# default: so `o3-pro` has those of `o3`.
BUILT_IN_PRICES: Final = PricingTable.of(
    {
        "claude": {
            "default": {"input": 3e-6, "output": 15e-6},
            "claude-opus-4-6": {
                "input": 15e-6,
                "output": 75e-6,
                "cache_read": 1.5e-6,
                "cache_creation": 18.75e-6,
            },
            "claude-sonnet-4-5": {
                "input": 3e-6,
                "output": 15e-6,
                "cache_read": 0.3e-6,
                "cache_creation": 3.75e-6,
            },
            "claude-haiku-4-5": {
                "input": 0.8e-6,
                "output": 4e-6,
                "cache_read": 0.08e-6,
                "cache_creation": 1e-6,
            },
        },
        "codex": {
            "default": {"input": 3e-6, "output": 15e-6},
            "o3": {"input": 10e-6, "output": 40e-6},
            "o3-mini": {"input": 1.1e-6, "output": 4.4e-6},
            "gpt-4o": {"input": 2.5e-6, "output": 10e-6},
            "gpt-4o-mini": {"input": 0.15e-6, "output": 0.6e-6},
        },
        "amp": {"default": {"input": 3e-6, "output": 15e-6}},
    }
)
"""Rates of well-known models."""

DEFAULT_MODELS: Final[Mapping[str, str]] = MappingProxyType({"claude": "claude-haiku-4-5-20251001"})
"""The model of a provider that is asked for unless somebody says which."""


def default_model(provider: str) -> str | None:
    """Return the model that a provider is asked for unless somebody says which; None: the provider's own choice."""
    return DEFAULT_MODELS.get(provider)
