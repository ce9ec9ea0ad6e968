"""The ledger finds what a journal does not keep."""

from __future__ import annotations

import os
from pathlib import Path

import attrs
import pytest

import asm_actors as asm
from asm_actors.journal.memory import MemoryStore
from asm_actors.testing.claims import ClaimKind, Ledger, Reporter
from asm_actors.testing.kill_harness import KillHarness


@pytest.fixture
def told():
    """A reporter, and what reads its pipe to the end."""
    reading, writing = os.pipe()

    def ledger():
        nonlocal writing
        os.close(writing)
        writing = None
        made = Ledger()
        with os.fdopen(reading, "rb") as lines:
            made.read(lines)
        return made

    yield Reporter(writing), ledger
    assert writing is None, "read it to the end"


@pytest.fixture
def system():
    with asm.ActorSystem.start(MemoryStore(), {"mock": asm.ScriptedProvider()}) as started:
        yield started


def tell_all(report, system):
    report.opening()
    result = system.sessions.run_once("Hello")
    report.result(result)
    report.run(result.run)
    session = system.sessions.start_session(agent_id="a", idempotency_key="k")
    report.key("k", session.id)
    report.session(session)
    report.seen(None, system.store.read_all().events)
    report.seen(result.session_id, system.store.read_session(result.session_id)[2:])


def test_a_journal_that_holds_everything_keeps_every_claim(told, system):
    report, ledger = told
    tell_all(report, system)

    found = ledger()

    assert len(found.claims) == 7
    assert found.faults(system.store) == []


def test_an_empty_journal_breaks_every_claim(told, system):
    report, ledger = told
    tell_all(report, system)
    empty = MemoryStore()
    empty.open()

    assert len(ledger().faults(empty)) == 6


def test_an_event_that_changed_is_found(told, system):
    report, ledger = told
    seen = system.sessions.run_once("Hello").events
    report.seen(seen[0].session_id, [attrs.evolve(event, data={"content": "other"}) for event in seen])

    (fault,) = ledger().faults(system.store)

    assert "saw other events" in fault


def test_events_with_a_gap_are_a_defect(told, system):
    report, ledger = told
    events = system.sessions.run_once("Hello").events
    report.seen(events[0].session_id, [events[0], events[2]])

    found = ledger()

    assert found.count(ClaimKind.DEFECT) == 1
    assert any("was handed [3, 5]" in fault for fault in found.faults(system.store))


def test_a_key_that_changes_hands_is_found(told, system):
    report, ledger = told
    for number in range(2):
        session = system.sessions.start_session(agent_id="a", idempotency_key=f"k{number}")
        report.key("k0", session.id)

    assert len(ledger().faults(system.store)) == 2


def test_a_run_that_changes_its_end_is_found(told, system):
    report, ledger = told
    run = system.sessions.run_once("Hello").run
    report.run(run.replace(status="cancelled"))

    (fault,) = ledger().faults(system.store)

    assert "is cancelled; it is completed" in fault


def test_a_program_that_ends_by_itself_is_an_error_with_its_last_words(tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text("import sys\nsys.exit('no disk')")

    with pytest.raises(AssertionError, match="no disk"):
        KillHarness([program], tmp_path / "journal").live(delay=10.0)
