"""SIGKILL at any moment: nothing that was acknowledged is lost, and the next start takes up what was open."""

from __future__ import annotations

import random

import pytest

import asm_actors as asm
from asm_actors import RunStatus, SessionStatus
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.testing.crash import LIMITS, Said, lost, provider
from asm_actors.testing.promises import journal_faults

LIVES = 5
JOURNALS = 10
"""Each journal is crashed this many times in a row: recovery itself is interrupted too."""


def reopen(journal, look):
    store = LmdbStore(journal, readonly=True)
    store.open()
    try:
        return look(store)
    finally:
        store.close()


def open_runs(store):
    return {run.id: (run.status, store.session(run.session_id).status) for run in store.open_runs()}


def check(journal, said):
    """What must hold of the journal as the crash left it; return its open runs."""

    def look(store):
        report = store.verify()
        assert report.is_sound, report.problems
        assert journal_faults(store) == []
        assert lost(store, said) == []
        return open_runs(store)

    return reopen(journal, look)


def recover(journal, was_open):
    """Start a system on the journal: queued runs are executed, interrupted ones end as such."""
    with asm.ActorSystem.start(journal, {"mock": provider(0)}, LIMITS) as system:
        assert system.sessions.drain(timeout=60.0).is_clean
    after = reopen(journal, lambda store: {run_id: store.run(run_id) for run_id in was_open})
    for run_id, (status, session_status) in was_open.items():
        run = after[run_id]
        if status is RunStatus.RUNNING:
            assert run.status is RunStatus.FAILED
            assert run.error["code"] == "interrupted"
        elif session_status is SessionStatus.ACTIVE:
            assert run.status is RunStatus.COMPLETED, run


@pytest.mark.parametrize("number", range(JOURNALS))
def test_whatever_was_acknowledged_survives_and_what_was_open_is_taken_up(crasher, tmp_path, number):
    journal = tmp_path / "journal"
    moments = random.Random(number)
    everything = Said()
    for life in range(LIVES):
        said = crasher.crash(journal, number * LIVES + life, after=moments.uniform(0.02, 0.6))
        assert said.faults == []
        for kind in ("runs", "sessions", "events"):
            getattr(everything, kind).update(getattr(said, kind))
        everything.submitted |= said.submitted
        was_open = check(journal, everything)
        if life % 2:
            recover(journal, was_open)
            assert check(journal, everything).keys() <= was_open.keys()
    assert len(everything) > 50, "the lives were long enough to say something"
