"""Nothing is lost, doubled or turned round by sessions that leave memory, whatever comes meanwhile.

``ASM_SIM_SEED=123 pytest tests/simulation/test_cold.py`` plays one seed.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.cold import play

SEED = os.environ.get("ASM_SIM_SEED")
CHUNK = 100
CHUNKS = [range(first, first + CHUNK) for first in range(0, 1_500, CHUNK)]
SOAK = [range(first, first + CHUNK) for first in range(1_500, 11_500, CHUNK)]
if SEED is not None:
    CHUNKS = SOAK = [range(int(SEED), int(SEED) + 1)]


def _name(seeds):
    return f"{seeds[0]}-{seeds[-1]}"


def _demand_promises(seeds):
    outcomes = list(map(play, seeds))
    broken = [outcome for outcome in outcomes if outcome.faults]
    if broken:
        told = "\n".join(f"seed {one.seed} ({one.trouble}): {'; '.join(one.faults)}" for one in broken[:5])
        pytest.fail(f"{len(broken)} of {len(seeds)} seeds broke a promise:\n{told}", pytrace=False)
    if SEED is None:
        assert sum(outcome.n_revived for outcome in outcomes) > 3 * len(seeds), "hardly a session left"


@pytest.mark.parametrize("seeds", CHUNKS, ids=_name)
def test_nothing_is_lost_by_leaving(seeds):
    _demand_promises(seeds)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", SOAK, ids=_name)
def test_nothing_is_lost_by_leaving_in_many_more_schedules(seeds):
    _demand_promises(seeds)


@pytest.mark.parametrize("seed", range(5))
def test_one_seed_gives_one_journal(seed):
    assert play(seed) == play(seed)
