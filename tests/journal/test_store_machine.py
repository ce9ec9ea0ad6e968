"""Random programs on both stores and on a model of them must agree, over settling, failures, crashes and upkeep.

``machine/`` has the model and the steps; another process reads along.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.journal.machine.elsewhere import OtherProcess
from tests.journal.machine.keeping import Keeping

SETTINGS = settings(
    stateful_step_count=60,
    deadline=None,
    database=None,
    derandomize=True,
    # Shrinking a failure here takes longer than the watchdog allows; drop this line to have it done.
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def elsewhere():
    with OtherProcess() as process:
        yield process


def test_both_stores_do_what_the_model_does(elsewhere):
    run_state_machine_as_test(lambda: Keeping(elsewhere), settings=settings(SETTINGS, max_examples=120))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_both_stores_do_what_the_model_does_for_long(elsewhere, part):
    run_state_machine_as_test(
        lambda: Keeping(elsewhere),
        settings=settings(SETTINGS, max_examples=50, stateful_step_count=100, derandomize=False),
    )
