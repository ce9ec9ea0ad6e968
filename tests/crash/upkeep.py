"""A program that is killed: it keeps a journal in order while nothing else is open.

Arguments: the journal's directory, a seed, what it does: ``compact backup prune erase repair migrate``.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import asm_actors as asm
from asm_actors.journal.lmdb_migrate import migrate
from asm_actors.maintenance.execution import Execution
from asm_actors.maintenance.hands import Alone, AloneSurroundings
from asm_actors.testing.claims import Reporter

PATIENT = 100


def compacts(store, report, dice, name):
    with report.doing("compacting"):
        store.compact()
    report.upkeep("compact")


def backs_up(store, report, dice, name):
    with report.doing("backing up"):
        made = store.backup(store.path.with_name(name), compact=dice.random() < 0.5)
    report.backup(made.path, made.last_position)


def prunes(store, report, dice, name):
    report.pruning()
    policy = asm.RetentionPolicy(
        max_events_per_session=dice.randint(1, 20), batch_size=3, exempt_tags=("pinned",)
    )
    with report.doing("pruning"):
        Execution(Alone(store), policy, AloneSurroundings()).run()
    report.upkeep("prune")


def erases(store, report, dice, name):
    """Sessions that are over, from which nothing was forked, and which nobody goes on with."""
    over = [
        session
        for session in store.sessions(include_deleted=True, status=("completed", "failed", "cancelled"))
        if session.idempotency_key is None and not store.forks_of(session.id)
    ]
    gone = dice.sample(over, min(len(over), dice.randint(1, 5)))
    for session in gone:
        report.erasing(session)
    with report.doing("deleting"):
        store.erase_sessions([session.id for session in gone])
    for session in gone:
        report.erased(session.id)


def repairs(store, report, dice, name):
    with report.doing("repairing"):
        found = store.repair()
    assert not found.unmended and not found.lost, found
    report.upkeep("repair")


DOES = {"compact": compacts, "backup": backs_up, "prune": prunes, "erase": erases, "repair": repairs}


def main(journal, seed, what):
    report, dice = Reporter(), random.Random(f"{seed} {what}")
    report.opening()
    if what == "migrate":
        with report.doing("migrating"):
            migrate(journal)
        report.upkeep("migrate")
        return
    store = asm.LmdbStore(journal, settle_after=dice.choice([0, 1000]))
    if what == "repair":  # it is not open: damage may keep it from that
        repairs(store, report, dice, "")
    store.open()
    try:
        for turn in range(PATIENT):
            DOES[what](store, report, dice, f"{Path(journal).name} {what} {seed} {turn}")
    finally:
        store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
