"""Tokens, prices and sums."""

from __future__ import annotations

import json

import pytest

from asm_actors.errors import AsmError
from asm_actors.journal.pricing import PricingTable, cost_summary_of
from asm_actors.journal.usage import (
    INT64_MAX,
    RunSelection,
    Tokens,
    model_of,
    session_stats_of,
    started_us_of,
    tokens_of,
    usage_summary_of,
)
from asm_actors.runs.run import Run


def run_with(**fields):
    return Run(id="r", session_id="s", **fields)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({}, (0, 0, 0)),
        ({"input_tokens": 3, "output_tokens": 4}, (3, 4, 7)),
        ({"input_tokens": 3, "total_tokens": 99}, (3, 0, 3)),
        ({"total_tokens": 5}, (0, 0, 5)),
        ({"input_tokens": -3, "output_tokens": 2.9}, (0, 2, 2)),
        ({"input_tokens": True, "output_tokens": "4", "total_tokens": None}, (0, 0, 0)),
        ({"input_tokens": 2**63, "output_tokens": 1}, (2**63, 1, INT64_MAX)),
    ],
)
def test_tokens_are_counted_from_what_is_a_count(usage, tokens):
    assert tokens_of(run_with(token_usage=usage)) == Tokens(*tokens)


def test_a_run_starts_when_it_first_ran_or_was_asked_for():
    assert started_us_of(run_with(created_us=3)) == 3
    assert started_us_of(run_with(created_us=3, started_us=5)) == 5


def test_a_model_is_what_the_provider_told_before_what_was_asked_for():
    asked = {"adapter_opts": {"model": "asked"}}
    assert model_of(run_with()) is None
    assert model_of(run_with(options=asked)) == "asked"
    assert model_of(run_with(options=asked, metadata={"model": "noted"})) == "noted"
    assert model_of(run_with(options=asked, provider_metadata={"model": "told"})) == "told"
    assert model_of(run_with(options={"adapter_opts": None}, provider_metadata={"model": 7})) is None


def test_rates_are_those_of_the_model_the_longest_beginning_or_the_default():
    table = PricingTable.of(
        {
            "p": {
                "default": {"input": 1, "output": 1},
                "big": {"input": 2, "output": 2},
                "big-2": {"input": 3, "output": 3},
            },
            "q": {"small": {"input": 4, "output": 4}},
        }
    )
    found = {
        (provider, model): rates and rates.input
        for provider, model in [
            ("p", "big"), ("p", "big-2-x"), ("p", "big-1"), ("p", "other"), ("p", None), ("q", "large"), ("x", "big"),
        ]
        for rates in [table.rates_of(provider, model)]
    }  # fmt: skip
    assert list(found.values()) == [2, 3, 2, 1, 1, None, None]
    assert PricingTable.of(table) is table


def test_cached_tokens_have_rates_of_their_own_or_that_of_the_input():
    usage = {"input_tokens": 1, "output_tokens": 1, "cache_read_tokens": 10, "cache_creation_tokens": 100}
    run = run_with(provider="p", token_usage=usage)
    plain = PricingTable.of({"p": {"input": 1, "output": 2}})
    assert plain.cost_usd(run) == 1 + 2 + 10 + 100
    cached = PricingTable.of(
        {"p": {"default": {"input": 1, "output": 2, "cached_input": 0.5, "cache_creation": 2}}}
    )
    assert cached.cost_usd(run) == 1 + 2 + 5 + 200
    assert cached.cost_usd(run.replace(cost_usd=0.0)) == 0.0


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ([], "pricing_table"),
        ({"p": 3}, "pricing_table.p"),
        ({"p": {"m": 3}}, "pricing_table.p.m"),
        ({"p": {"m": {"input": 1}}}, "pricing_table.p.m"),
        ({"p": {"m": {"input": 1, "output": "2"}}}, "pricing_table.p.m.output"),
        ({"p": {"m": {"input": 1, "output": 2, "inputs": 2}}}, "inputs"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_the_place(table, place):
    with pytest.raises(AsmError, match=place):
        PricingTable.of(table)


def test_sums_of_nothing_are_nothing_and_all_sums_are_json_ready():
    assert usage_summary_of([]).run_count == cost_summary_of([], PricingTable.of(None)).run_count == 0
    stats = session_stats_of(0, None, None, [])
    assert (stats.token_totals, stats.first_event_at, stats.last_event_at) == (Tokens(0, 0, 0), None, None)
    run = run_with(provider="p", token_usage={"input_tokens": 1})
    for value in (
        usage_summary_of([run]),
        cost_summary_of([run], PricingTable.of(None)),
        session_stats_of(2, 1, 2, [run]),
    ):
        assert json.loads(json.dumps(value.to_map())) == value.to_map()
    assert session_stats_of(2, 1, 2, [run]).to_map()["last_event_at"].endswith("00.000002Z")


@pytest.mark.parametrize("field", ["session_id", "agent_id", "provider", "since", "until"])
def test_a_selection_refuses_what_it_cannot_compare(field):
    with pytest.raises(AsmError):
        RunSelection(**{field: "" if field not in {"since", "until"} else "now"})
