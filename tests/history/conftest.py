"""Simulated systems with something to look back at."""

from __future__ import annotations

import pytest

from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.memory import MemoryStore
from asm_actors.testing.system import SimulatedSystem


@pytest.fixture(params=["memory", "lmdb"])
def store(request, tmp_path):
    """A closed, empty journal of either kind."""
    if request.param == "memory":
        yield MemoryStore()
        return
    store = LmdbStore(tmp_path / "journal", durability="none")
    yield store
    store.close()


@pytest.fixture
def sim(store):
    """A simulated system on it."""
    with SimulatedSystem(seed=5, store=store) as system:
        yield system


@pytest.fixture
def talk(sim):
    """Have a session answer each of these in turn."""

    def answer(session_id, *inputs):
        for said in inputs:
            sim.manager.submit_run(session_id, said)
            sim.settle()

    return answer
