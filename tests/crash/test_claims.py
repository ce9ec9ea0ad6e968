"""The ledger finds what a journal does not keep."""

from __future__ import annotations

import os

import attrs
import pytest

import asm_actors as asm
from asm_actors.journal.cursors import NamedCursor
from asm_actors.journal.memory import MemoryStore
from asm_actors.providers.script import Script, text, tool_call
from asm_actors.testing.claims import ClaimKind, Reporter
from asm_actors.testing.kill_harness import KillHarness
from asm_actors.testing.ledger import Ledger


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


def test_an_empty_journal_breaks_every_claim_about_a_record(told, system):
    report, ledger = told
    tell_all(report, system)
    empty = MemoryStore()
    empty.open()

    assert len(ledger().faults(empty)) == 5


def test_an_event_that_changed_is_found(told, system):
    report, ledger = told
    seen = system.sessions.run_once("Hello").events
    report.seen(seen[0].session_id, [*seen[:-1], attrs.evolve(seen[-1], data={"content": "other"})])

    (fault,) = ledger().faults(system.store)

    assert "saw another event" in fault


def test_events_in_another_order_are_a_defect(told, system):
    report, ledger = told
    events = system.sessions.run_once("Hello").events
    report.seen(events[0].session_id, [events[2], events[0]])

    found = ledger()

    assert found.count(ClaimKind.DEFECT) == 1
    assert any("was handed [5, 3]" in fault for fault in found.faults(system.store))


@pytest.mark.parametrize(("kept", "after"), [([0, 2], None), ([1, 2], 2), ([20], 2)])
def test_an_event_that_was_skipped_is_found(told, system, kept, after):
    report, ledger = told
    system.services.providers["mock"]._scripts = (Script(text("a long answer of thirty characters", size=1)),)
    events = system.sessions.run_once("Hello").events
    report.seen(events[0].session_id, [events[k] for k in kept], after)

    (fault,) = ledger().faults(system.store)

    assert "was not handed" in fault


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


# --- Pruned and erased ---------------------------------------------------------------------------------------------


def tell_session(report, system):
    result = system.sessions.run_once("Hello")
    report.result(result)
    report.seen(None, system.store.read_all().events, 0)
    report.seen(result.session_id, system.store.read_session(result.session_id), 0)
    return system.sessions.get_session(result.session_id)


def test_what_was_to_be_erased_may_be_missing_and_nothing_else(told, system):
    report, ledger = told
    session = tell_session(report, system)
    tell_session(report, system)
    report.session(system.sessions.delete_session(session.id))
    report.erasing(system.sessions.get_session(session.id))
    system.maintenance.delete_for_good(session.id)
    report.erased(session.id)
    found = ledger()

    assert found.faults(system.store) == []

    system.store.prune_events(found.claims[1].session_id or system.sessions.list_sessions()[0].id, [3])
    assert any("nobody pruned it" in fault for fault in found.faults(system.store))


def test_a_session_that_is_still_there_after_its_end_for_good_is_found(told, system):
    report, ledger = told
    report.erased(tell_session(report, system).id)

    assert any("is there" in fault for fault in ledger().faults(system.store))


def test_what_was_pruned_may_be_missing(told, system):
    report, ledger = told
    session = tell_session(report, system)
    report.pruning(session.id)
    system.store.prune_events(session.id, [3])

    assert ledger().faults(system.store) == []


def test_a_session_that_comes_back_is_found(told, system):
    report, ledger = told
    session = tell_session(report, system)
    report.session(session.replace(deleted_us=1))

    assert any("not deleted any more" in fault for fault in ledger().faults(system.store))


# --- Named subscriptions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kept", "fault"),
    [
        (4, None),
        (5, None),
        (3, "acknowledged 4, and is kept at 3"),
        (6, "never handed over [6]"),
        (None, "not there"),
    ],
)
def test_a_cursor_stands_between_what_is_durable_and_what_was_acknowledged(told, system, kept, fault):
    report, ledger = told
    tell_session(report, system)
    events = system.store.read_all().events
    report.resumed("name", 0)
    report.seen(None, events, 0, name="name")
    report.acking("name", 4)
    report.acked("name", 4)
    report.acking("name", 5)
    if kept is not None:
        system.store.save_cursors({"name": NamedCursor("name", {}, kept, 1, 1)})

    faults = ledger().faults(system.store)

    assert (faults == []) if fault is None else fault in faults[0]


def test_a_named_subscription_that_skips_what_it_had_not_acknowledged_is_found(told, system):
    report, ledger = told
    tell_session(report, system)
    events = system.store.read_all().events
    report.resumed("name", 0)
    report.seen(None, events[:2], 0, name="name")
    report.acking("name", 1)
    report.resumed("name", 1)
    report.seen(None, events[2:], 2, name="name")
    system.store.save_cursors({"name": NamedCursor("name", {}, 1, 1, 1)})

    (fault,) = ledger().faults(system.store)

    assert "stood at 1 and was handed what follows 2: [2]" in fault


def test_a_cursor_that_goes_back_is_found(told, system):
    report, ledger = told
    tell_session(report, system)
    report.resumed("name", 0)
    report.acking("name", 5)
    found = ledger()
    faults = []
    for place in (5, 3):
        system.store.save_cursors({"name": NamedCursor("name", {}, place, 1, 1)})
        faults.append(found.faults(system.store))

    assert faults == [[], ["name went back from 5 to 3"]]


# --- Calls of tools ------------------------------------------------------------------------------------------------


@pytest.fixture
def calling():
    """A system whose provider has one tool called once."""

    def script(request):
        if request.turn > 1:
            return Script(text("done"))
        return Script(tool_call("c", "pay", {"key": "one"}))

    pay = asm.Tool("pay", "Pay.", {"type": "object", "properties": {"key": {}}}, lambda key: key)
    with asm.ActorSystem.start(MemoryStore(), {"mock": asm.ScriptedProvider(script)}, tools=[pay]) as started:
        yield started


@pytest.mark.parametrize(("count", "n_faults"), [(0, 0), (1, 0), (2, 2)])
def test_a_call_that_is_executed_more_often_than_it_may_is_found(told, calling, count, n_faults):
    report, ledger = told
    session_id = calling.sessions.run_once("Hello").session_id
    for _ in range(count):
        report.called("one", "pay", session_id)

    assert len(ledger().faults(calling.store)) == n_faults


def test_a_call_that_is_executed_although_its_end_was_on_record_is_found(told, calling):
    report, ledger = told
    session_id = calling.sessions.run_once("Hello").session_id
    report.called("one", "pay", session_id)
    found = ledger()
    assert found.faults(calling.store) == []

    found.called("one", "pay", session_id)

    assert "had its end after 1 executions" in found.faults(calling.store)[-1]


def test_a_call_that_the_journal_does_not_know_is_found(told, calling):
    report, ledger = told
    report.called("two", "pay", calling.sessions.run_once("Hello").session_id)
    report.called("three", "pay", "ses_nobody")

    first, second = ledger().faults(calling.store)

    assert "the journal knows of 0" in first
    assert "not there" in second


# --- The program ---------------------------------------------------------------------------------------------------


def test_a_program_that_ends_by_itself_is_an_error_with_its_last_words(nursery, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import sys\nsys.exit('no disk')")

    with pytest.raises(AssertionError, match="no disk"):
        KillHarness(nursery, program, tmp_path / "journal").live(delay=10.0)


def test_a_program_that_raises_is_an_error_with_its_traceback(nursery, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("print('line', flush=True)\nraise OSError('no disk')")

    with pytest.raises(AssertionError, match=r"(?s)\(1\).*Traceback.*no disk"):
        KillHarness(nursery, program, tmp_path / "journal").live(delay=10.0, from_opening=True)


def test_a_program_runs_as_by_itself_until_it_is_killed(nursery, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, threading, time\n"
        "def work():\n"
        "    print(__name__, *sys.argv[1:], flush=True)\n"
        "    time.sleep(100)\n"
        "threading.Thread(target=work).start()\n"
    )
    life = nursery.begin(program, ["one", "two"])

    assert life.read_lines(1, 60.0)
    assert life.kill() == ""
    assert (life.lines, life.status) == ([b"__main__ one two"], -9)
