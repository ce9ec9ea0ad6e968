"""The promises hold in every schedule.

``ASM_SIM_SEED=123 pytest tests/simulation`` plays one seed, ``python -m tests.simulation.replay 123`` prints it.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.scenario import play

SEED = os.environ.get("ASM_SIM_SEED")
CHUNK = 100
CHUNKS = [range(first, first + CHUNK) for first in range(0, 2_000, CHUNK)]
SOAK = [range(first, first + CHUNK) for first in range(2_000, 22_000, CHUNK)]
if SEED is not None:
    CHUNKS = SOAK = [range(int(SEED), int(SEED) + 1)]


def _name(seeds):
    return f"{seeds[0]}-{seeds[-1]}"


def _demand_promises(seeds):
    broken = [outcome for outcome in map(play, seeds) if outcome.faults]
    if broken:
        numbers = ", ".join(str(outcome.seed) for outcome in broken)
        pytest.fail(
            f"{len(broken)} of {len(seeds)} schedules broke a promise (seeds {numbers}):\n{broken[0]}",
            pytrace=False,
        )


@pytest.mark.parametrize("seeds", CHUNKS, ids=_name)
def test_every_promise_holds_in_every_schedule(seeds):
    _demand_promises(seeds)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", SOAK, ids=_name)
def test_every_promise_holds_in_many_more_schedules(seeds):
    _demand_promises(seeds)


@pytest.mark.parametrize("seed", range(20))
def test_one_seed_gives_one_journal(seed):
    first, second = play(seed), play(seed)

    assert first.journal == second.journal
    assert first.lines == second.lines
    assert first.steps == second.steps


def test_another_seed_gives_another_journal():
    assert len({str(play(seed).journal) for seed in range(10)}) == 10
