"""What runs cost in a whole system: at their end, in their events, in summaries."""

from __future__ import annotations

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.memory import MemoryStore
from asm_actors.journal.replay import fold_run
from asm_actors.providers.base import BaseProvider
from asm_actors.providers.items import MessageDone, TextDelta, TurnDone, TurnStarted, Usage
from asm_actors.testing.system import SimulatedSystem

PRICES = {
    "mock": {
        "default": {"input": 1.0, "output": 2.0},
        "big": {"input": 10.0, "output": 20.0, "cached_input": 0.5},
    },
    "target": {"input": 100.0, "output": 100.0},
}


class Meter(BaseProvider):
    """A provider that used what it is told to."""

    name = "mock"

    def __init__(self, *items, error=None):
        self.items = items
        self.error = error

    async def stream(self, request):
        for item in self.items:
            yield item
        if self.error is not None:
            raise self.error


def plays(*items, model=None, done=TurnDone()):  # noqa: B008 - a value
    return (TurnStarted(model), TextDelta("Hi"), *items, MessageDone("Hi"), done)


@pytest.fixture(params=["memory", "lmdb"])
def store(request, tmp_path):
    return MemoryStore() if request.param == "memory" else LmdbStore(tmp_path / "journal")


def system(provider, store=None, pricing=PRICES, **more):
    return SimulatedSystem(providers={"mock": provider, **more}, store=store, pricing=pricing)


def run_of(sim, **options):
    run = sim.manager.submit_run(sim.active_session(provider="mock").id, "Hello", **options)
    sim.settle()
    return sim.run(run.id)


@pytest.mark.parametrize(
    ("provider", "options", "expected"),
    [
        (Meter(*plays(Usage(2, 3))), {}, 8.0),
        (Meter(*plays(Usage(2, 3), model="big")), {}, 80.0),
        (Meter(*plays(Usage(2, 3), model="bigger-2026")), {}, 80.0),
        (Meter(*plays(Usage(2, 3, 4), model="big")), {}, 82.0),
        (Meter(*plays(Usage(2, 3))), {"adapter_opts": {"model": "big"}}, 80.0),
        (Meter(*plays(Usage(2, 3), done=TurnDone(cost_usd=0.25))), {}, 0.25),
        (Meter(*plays(Usage(2, 3), done=TurnDone(cost_usd=0.0))), {}, 8.0),
        (
            Meter(*plays(Usage(2, 3), done=TurnDone(metadata={"routing": {"routed_provider": "target"}}))),
            {},
            500.0,
        ),
        (Meter(TurnStarted(), Usage(2, 3), error=AsmError(ErrorCode.PROVIDER_ERROR, "boom")), {}, 8.0),
    ],
)
def test_a_run_costs_what_was_said_or_what_its_tokens_cost(store, provider, options, expected):
    with system(provider, store) as sim:
        run = run_of(sim, **options)
        assert run.cost_usd == expected
        last = sim.events_of(run.id)[-1]
        assert last.data["total_cost_usd"] == expected
        assert fold_run(sim.events_of(run.id), run).cost_usd == expected
        assert sim.system.queries.get_cost_summary().total_cost_usd == expected
        sim.check_promises()


def test_a_run_of_unknown_cost_has_none():
    with system(Meter(*plays(Usage(2, 3))), pricing=None) as sim:
        run = run_of(sim)
        assert run.cost_usd is None
        assert "total_cost_usd" not in sim.events_of(run.id)[-1].data
        assert sim.system.queries.get_cost_summary().unmapped_runs == 1


def test_known_models_have_their_price_without_a_table():
    claude = Meter(*plays(Usage(1_000_000, 1_000_000), model="claude-haiku-4-5-20251001"))
    with SimulatedSystem(providers={"claude": claude}) as sim:
        run = sim.manager.submit_run(sim.active_session().id, "Hello")
        assert sim.manager.await_run(run.id).cost_usd == pytest.approx(4.8)


def test_costs_are_summed_up_by_session_agent_provider_and_model(store):
    with system(Meter(*plays(Usage(2, 3), model="big")), store) as sim:
        queries = sim.system.queries
        sessions = [sim.active_session(agent, provider="mock") for agent in ("ann", "ann", "bob")]
        for session in sessions:
            sim.manager.await_run(sim.manager.submit_run(session.id, "Hello", provider="mock").id)
        assert queries.get_cost_summary().total_cost_usd == 240.0
        assert queries.get_cost_summary(session_id=sessions[0].id).total_cost_usd == 80.0
        assert queries.get_cost_summary(agent_id="ann").total_cost_usd == 160.0
        summary = queries.get_cost_summary(provider="mock")
        assert summary.by_provider["mock"].cost_usd == 240.0
        assert summary.by_model["big"].cost_usd == 240.0


def test_runs_without_a_stored_cost_have_the_systems_prices(store):
    with system(Meter(*plays(Usage(2, 3))), store, pricing=None) as sim:
        sim.manager.await_run(sim.manager.submit_run(sim.active_session().id, "Hello").id)
        sim.options["pricing"] = PRICES
        sim.restart()
        summary = sim.system.queries.get_cost_summary()
        assert summary.total_cost_usd == 8.0
        assert summary.by_provider["mock"].run_count == 1
