"""Subscribers pass over what was erased and go on; what is left comes once and in order."""

from __future__ import annotations

import pytest

from asm_actors.events import EventType
from asm_actors.journal.query import EventFilter


def numbers(page):
    return [event.sequence_number for event in page.events]


def pulled(j, ref, **fields):
    """All that comes until nothing more does."""
    found = []
    while page := numbers(j.pull(ref, timeout=0.0, **fields).get()):
        found += page
    return found


@pytest.mark.parametrize("gone", [[1], [2, 3], [5], [4, 5], [1, 2, 3, 4, 5]])
def test_a_subscription_to_a_session_passes_over_pruned_events_and_goes_on(journal, gone):
    j = journal()
    j.write("s", 5)
    j.store.prune_events("s", gone)
    ref = j.subscribe("s")
    assert pulled(j, ref) == [n for n in range(1, 6) if n not in gone]
    waiting = j.pull(ref, timeout=None)
    j.write("s", 2)
    assert numbers(waiting.get()) == [6, 7]


@pytest.mark.parametrize("gone", [[1], [3, 4], [6], [1, 2, 3, 4, 5, 6]])
def test_a_subscription_to_a_pruned_session_that_is_over_ends(journal, gone):
    j = journal()
    j.write("s", 5)
    j.end("s")
    j.store.prune_events("s", gone)
    ref = j.subscribe("s")
    found = []
    while not (page := j.pull(ref, timeout=None).get()).is_over:
        found += numbers(page)
    assert found + numbers(page) == [n for n in range(1, 7) if n not in gone]


def test_a_subscription_to_the_journal_passes_over_erased_sessions(journal):
    j = journal()
    for name in "abcab":
        j.write(name, 2)
    j.store.erase_sessions(["a", "c"])
    ref = j.subscribe()
    page = j.pull(ref, timeout=None).get()
    assert [(event.session_id, event.position) for event in page.events] == [
        ("b", 3),
        ("b", 4),
        ("b", 9),
        ("b", 10),
    ]


def test_a_filter_is_as_patient_with_holes_as_with_what_it_does_not_want(journal):
    j = journal()
    j.write("s", 50)
    j.write("s", types=[EventType.RUN_STARTED])
    j.store.prune_events("s", range(1, 51))
    ref = j.subscribe("s", filter=EventFilter(types=EventType.RUN_STARTED))
    assert pulled(j, ref) == [51]
