"""Rates, tables of them, and what tokens cost."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asm_actors.cost.built_in import BUILT_IN_PRICES, default_model
from asm_actors.cost.pricing import Cost, CostSource, PricingTable, Rates
from asm_actors.errors import AsmError
from asm_actors.journal import pricing
from asm_actors.runs.run import Run, add_usage

TABLE = PricingTable.of(
    {
        "p": {
            "default": {"input": 1, "output": 2},
            "big": {"input": 3, "output": 4, "cache_read": 0.5, "cache_creation": 5},
            "large": "big",
        },
        "q": {"only": {"input": 1, "output": 1}},
        "flat": {"input": 7, "output": 8},
    }
)


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        ({}, 0),
        ({"input_tokens": 2, "output_tokens": 1}, 10),
        ({"cache_read_tokens": 2, "cache_creation_tokens": 1}, 6),
        ({"input_tokens": -5, "output_tokens": None, "cache_read_tokens": "x", "total_tokens": 9}, 0),
    ],
)
def test_tokens_cost_what_the_rates_say(usage, usd):
    assert TABLE.cost_of(usage, "p", "big") == Cost(usd, CostSource.COMPUTED)


def test_cached_tokens_cost_what_others_cost_unless_they_have_a_rate():
    usage = {"cache_read_tokens": 2, "cache_creation_tokens": 3}
    assert TABLE.cost_of(usage, "p", "other").usd == 5


@pytest.mark.parametrize(
    ("provider", "model", "rate"),
    [
        ("p", "big", 3), ("p", "big-2", 3), ("p", "large", 3), ("p", "large-9", 3), ("p", "small", 1), ("p", None, 1),
        ("q", "only-1", 1), ("flat", "any", 7), ("flat", None, 7),
    ],
)  # fmt: skip
def test_a_model_is_found_by_its_name_an_alias_its_beginning_or_the_default(provider, model, rate):
    assert TABLE.cost_of({"input_tokens": 1}, provider, model).usd == rate


@pytest.mark.parametrize(
    ("provider", "model", "name"),
    [
        ("q", "other", "q/other"),
        ("q", None, "q/unknown"),
        (None, "big", "unknown/big"),
        ("x", "big", "x/big"),
    ],
)
def test_what_has_no_rates_is_named(provider, model, name):
    assert TABLE.cost_of({"input_tokens": 1}, provider, model) == Cost(None, CostSource.UNKNOWN, name)


def test_what_the_provider_says_wins_unless_it_says_nothing():
    usage = {"input_tokens": 1}
    assert TABLE.cost_of(usage, "p", "big", 0.25) == Cost(0.25, CostSource.REPORTED)
    assert TABLE.cost_of(usage, "x", None, 0.25) == Cost(0.25, CostSource.REPORTED)
    for silence in (None, 0, 0.0, -1.0):
        assert TABLE.cost_of(usage, "p", "big", silence) == Cost(3.0, CostSource.COMPUTED)
        assert TABLE.cost_of(usage, "x", None, silence).usd is None


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ({"p": {"m": "n"}}, "pricing_table.p.m"),
        ({"p": {"a": "b", "b": "c", "c": {"input": 1, "output": 1}}}, "pricing_table.p.a"),
        ({"p": {"m": {"input": 1, "output": float("nan")}}}, "pricing_table.p.m.output"),
        ({"p": {"": {"input": 1, "output": 1}}}, "a model of pricing_table.p"),
        ({3: {}}, "a provider of pricing_table"),
        ("p", "pricing_table"),
    ],
)
def test_a_malformed_table_is_refused_with_the_place(table, place):
    with pytest.raises(AsmError, match=place) as raised:
        PricingTable.of(table)
    assert raised.value.code == "validation_error"


def test_a_table_goes_to_a_map_and_comes_back():
    for table in (TABLE, BUILT_IN_PRICES, PricingTable.of(None)):
        assert PricingTable.of(json.loads(json.dumps(table.to_map()))) == table


def test_one_table_lies_over_another():
    mine = PricingTable.of({"p": {"big": {"input": 9, "output": 9}}, "r": {"x": Rates(1, 1)}})
    both = mine.over(TABLE)
    assert both.rates_of("p", "big").input == 9
    assert both.rates_of("p", "other").input == 1
    assert both.rates_of("r", "x") == Rates(1, 1)
    assert both.rates_of("q", "only") == TABLE.rates_of("q", "only")
    assert PricingTable.of(None).over(TABLE) == TABLE


def test_stored_runs_are_priced_by_the_same_table():
    assert pricing.PricingTable is PricingTable
    assert pricing.Rates is Rates
    run = Run(
        id="r", session_id="s", provider="p", token_usage={"input_tokens": 2}, metadata={"model": "big"}
    )
    assert TABLE.cost_usd(run) == TABLE.cost_of(run.token_usage, "p", "big").usd == 6


# --- What is built in -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "model", "rates"),
    [
        ("claude", "claude-opus-4-6", (15, 75, 1.5, 18.75)),
        ("claude", "claude-sonnet-4-5-20250929", (3, 15, 0.3, 3.75)),
        ("claude", "claude-haiku-4-5-20251001", (0.8, 4, 0.08, 1)),
        ("claude", "claude-3", (3, 15, None, None)),
        ("codex", "o3", (10, 40, None, None)),
        ("codex", "o3-xyz", (10, 40, None, None)),
        ("codex", "o3-mini-high", (1.1, 4.4, None, None)),
        ("codex", "gpt-4o", (2.5, 10, None, None)),
        ("codex", "gpt-4o-mini", (0.15, 0.6, None, None)),
        ("codex", None, (3, 15, None, None)),
        ("amp", "anything", (3, 15, None, None)),
    ],
)
def test_well_known_models_have_rates(provider, model, rates):
    found = BUILT_IN_PRICES.rates_of(provider, model)
    told = (found.input, found.output, found.cache_read, found.cache_creation)
    assert [rate and pytest.approx(rate * 1e-6) for rate in rates] == list(told)


def test_models_are_listed_without_the_default():
    assert BUILT_IN_PRICES.model_names("codex") == ("gpt-4o", "gpt-4o-mini", "o3", "o3-mini")
    assert "claude-haiku-4-5" in BUILT_IN_PRICES.model_names()
    assert BUILT_IN_PRICES.model_names("amp") == BUILT_IN_PRICES.model_names("x") == ()
    assert BUILT_IN_PRICES.rates_of("x", "o3") is None


def test_a_default_model_has_a_price():
    assert default_model("claude") == "claude-haiku-4-5-20251001"
    assert BUILT_IN_PRICES.rates_of("claude", default_model("claude")).input == pytest.approx(0.8e-6)
    assert default_model("codex") is None


# --- Algebra ----------------------------------------------------------------------------------------------------

_usages = st.fixed_dictionaries(
    {},
    optional={
        name: st.integers(0, 10**9)
        for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")
    },
)


@given(_usages, _usages)
def test_cost_adds_up(one, two):
    together = TABLE.cost_of(add_usage(one, two), "p", "big").usd
    assert together == pytest.approx(TABLE.cost_of(one, "p", "big").usd + TABLE.cost_of(two, "p", "big").usd)


@given(_usages, st.sampled_from(["input_tokens", "output_tokens", "cache_read_tokens"]))
def test_more_tokens_never_cost_less(usage, name):
    more = add_usage(usage, {name: 1})
    assert TABLE.cost_of(more, "p", "big").usd >= TABLE.cost_of(usage, "p", "big").usd
