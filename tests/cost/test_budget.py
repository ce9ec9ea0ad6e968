"""Budgets, and what is left of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asm_actors.cost.budget import Budget, Spent, exceeds_usd, spent_by
from asm_actors.cost.pricing import PricingTable
from asm_actors.errors import AsmError
from asm_actors.runs.run import Run

TABLE = PricingTable.of({"p": {"input": 1, "output": 2}})


def run(**fields):
    return Run(id="r", session_id="s", **fields)


def test_a_session_has_spent_what_its_runs_have():
    runs = [
        run(provider="p", token_usage={"input_tokens": 3, "output_tokens": 1}),
        run(provider="p", token_usage={"input_tokens": 3}, cost_usd=0.5),
        run(provider="x", token_usage={"total_tokens": 7}, provider_metadata={"model": "m"}),
        run(provider="y"),
    ]
    assert spent_by(runs, TABLE) == Spent(5.5, 14, ("x/m",))
    assert spent_by([], TABLE) == Spent()
    assert not spent_by(runs, TABLE).is_known
    assert spent_by(runs[:2], TABLE).is_known


@pytest.mark.parametrize(
    ("budget", "left", "exceeded", "is_spent"),
    [
        (Budget(), Budget(), (), False),
        (Budget(10, 100), Budget(4, 50), (), False),
        (Budget(6, 100), Budget(0, 50), (), True),
        (Budget(5, 40), Budget(0, 0), ("max_cost_usd", "max_total_tokens"), True),
        (Budget(None, 50), Budget(None, 0), (), True),
    ],
)
def test_what_is_left_is_never_less_than_nothing(budget, left, exceeded, is_spent):
    spent = Spent(6, 50)
    assert budget.remaining(spent) == left
    assert budget.exceeded_by(spent) == exceeded
    assert budget.is_spent(spent) is is_spent


def test_sums_of_fractions_meet_their_limit():
    assert 0.1 + 0.1 + 0.1 > 0.3
    assert not exceeds_usd(0.1 + 0.1 + 0.1, 0.3)
    assert exceeds_usd(0.3 + 1e-8, 0.3)
    assert Budget(0.3).is_spent(Spent(0.1 + 0.1 + 0.1))


@pytest.mark.parametrize(
    "fields",
    [
        {"max_cost_usd": -1},
        {"max_cost_usd": "1"},
        {"max_total_tokens": 1.5},
        {"max_total_tokens": -1},
        {"max_usd": 1},
    ],
)
def test_a_malformed_budget_is_refused(fields):
    with pytest.raises(AsmError) as raised:
        Budget.from_map(fields)
    assert raised.value.code == "validation_error"
    with pytest.raises(AsmError):
        Budget.from_map([])


def test_values_are_json_ready():
    for budget in (Budget(), Budget(1.5, 3)):
        assert Budget.from_map(json.loads(json.dumps(budget.to_map()))) == budget
    assert json.loads(json.dumps(Spent(1.0, 2, ("a",)).to_map())) == {
        "cost_usd": 1.0, "total_tokens": 2, "unpriced": ["a"],
    }  # fmt: skip


_bounds = st.builds(Budget, st.none() | st.integers(0, 9), st.none() | st.integers(0, 9))
_spent = st.builds(Spent, st.integers(0, 9), st.integers(0, 9), st.sampled_from([(), ("a",), ("b",)]))


@given(_bounds, _bounds, _bounds, _spent)
def test_the_tightest_of_budgets_is_one_whatever_the_order(one, two, three, spent):
    both = one.tightest(two)
    assert both == two.tightest(one)
    assert both.tightest(three) == one.tightest(two.tightest(three))
    assert one.tightest(one) == one
    assert set(both.exceeded_by(spent)) == {*one.exceeded_by(spent), *two.exceeded_by(spent)}
    assert both.remaining(spent) == one.remaining(spent).tightest(two.remaining(spent))


@given(_bounds, _spent, _spent)
def test_spending_adds_up(budget, one, two):
    assert one + two == two + one
    assert one + Spent() == one
    assert budget.remaining(one + two) == budget.remaining(one).remaining(two)
