"""What all tests share: nothing is left behind, and the two dispatchers."""

from __future__ import annotations

import threading

import pykka
import pytest

from supervisors import testing
from supervisors.loop_dispatcher import LoopDispatcher
from supervisors.simulation import SimulationDispatcher


@pytest.fixture(autouse=True)
def _leaves_nothing_behind():
    """Fail a test that leaves an actor in Pykka's registry, or a thread, behind."""
    before = threading.enumerate()
    yield
    left = testing.leaked(before)
    if left:
        pykka.ActorRegistry.stop_all(block=False)
        pytest.fail(f"left behind: {', '.join(left)}")


@pytest.fixture
def dispatcher():
    """A `LoopDispatcher` that is open, and closed after the test."""
    with LoopDispatcher("test") as opened:
        yield opened


@pytest.fixture
def simulation():
    """Makes a `SimulationDispatcher` from a seed and options; each is closed after the test, and clean."""
    made = []

    def make(seed=0, **options):
        made.append(SimulationDispatcher(seed, **options))
        return made[-1]

    yield make
    for each in made:
        assert each.close()
        assert each.failures == []


@pytest.fixture
def settle():
    """`supervisors.testing.settle`."""
    return testing.settle
