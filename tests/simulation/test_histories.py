"""Random programs on a whole system keep its promises; `histories` has them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from asm_actors.errors import AsmError
from asm_actors.journal.memory import MemoryStore
from asm_actors.journal.subscription import SubscriptionState
from asm_actors.redaction.writes import WriteRedactor
from tests.simulation.histories import Histories

SETTINGS = settings(
    max_examples=120,
    stateful_step_count=50,
    deadline=None,
    database=None,
    derandomize=True,
    # Shrinking a failure here takes longer than the watchdog allows; drop this line to have it done.
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_a_system_keeps_its_promises_through_forks_deletion_and_upkeep():
    run_state_machine_as_test(Histories, settings=SETTINGS)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_a_system_keeps_its_promises_for_long(part):
    run_state_machine_as_test(
        Histories, settings=settings(SETTINGS, max_examples=100, stateful_step_count=80, derandomize=False)
    )


# --- A check that finds nothing proves nothing ------------------------------------------------------------------------


def _is_found():
    with pytest.raises((AssertionError, AsmError)):
        run_state_machine_as_test(Histories, settings=SETTINGS)


def test_a_history_that_is_taken_from_under_its_forks_is_found(monkeypatch):
    monkeypatch.setattr(MemoryStore, "forks_of", lambda self, session_id: [])
    _is_found()


def test_an_event_that_a_named_subscriber_never_gets_is_found(monkeypatch):
    found = SubscriptionState.found

    def skipping(self, *args, **kwargs):
        page = found(self, *args, **kwargs)
        return page._replace(events=page.events[1:]) if page and len(page.events) > 1 else page

    monkeypatch.setattr(SubscriptionState, "found", skipping)
    _is_found()


def test_an_acknowledgement_that_is_forgotten_is_found(monkeypatch):
    monkeypatch.setattr(MemoryStore, "save_cursors", lambda self, cursors: None)
    _is_found()


def test_a_secret_that_reaches_the_journal_is_found(monkeypatch):
    monkeypatch.setattr(WriteRedactor, "drafts", lambda self, drafts: drafts)
    _is_found()
