"""The promises know what maintenance may take away, and find what it may not; they find runs that nobody thinks of."""

from __future__ import annotations

import pytest

import asm_actors as asm
from asm_actors.journal.append import Append
from asm_actors.journal.memory import MemoryStore
from asm_actors.testing.promises import journal_faults, live_faults
from supervisors.testing import settle


@pytest.fixture
def system():
    with asm.ActorSystem.start(MemoryStore(), {"mock": asm.ScriptedProvider()}) as started:
        yield started


def test_holes_are_no_fault_if_there_are_as_many_as_were_made(system):
    session_id = system.sessions.run_once("Hello").session_id
    assert journal_faults(system.store) == []

    assert system.store.prune_events(session_id, [3, 5]) == 2

    assert journal_faults(system.store, 2) == []
    assert any("position 3 is missing" in fault for fault in journal_faults(system.store))
    assert any("2 positions have no event, and 3 were" in fault for fault in journal_faults(system.store, 3))


def test_an_erased_session_leaves_holes_and_nothing_else(system):
    session = system.sessions.get_session(system.sessions.run_once("Hello").session_id)
    system.sessions.run_once("Hello")
    erased = system.maintenance.delete_for_good(session.id)

    assert journal_faults(system.store, erased.events) == []
    assert journal_faults(system.store, erased.events - 1) != []


def test_a_run_that_is_to_be_executed_and_that_nobody_thinks_of_is_found(system):
    session = system.sessions.start_session(agent_id="a")
    run = system.sessions.start_run(session.id, "Hello")
    settle(system.services.dispatcher)
    assert not [fault for fault in live_faults(system.services) if "has no actor" in fault]

    forgotten = asm.Session.new(id="ses_forgotten", agent_id="a", now=1)
    lost = run.replace(id="run_lost", session_id=forgotten.id, options={"submitted": True})
    system.store.commit([Append(forgotten.id, (), 1, forgotten, (lost,))])

    assert any("run_lost is pending" in fault for fault in live_faults(system.services))
