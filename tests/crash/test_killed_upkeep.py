"""Keeping a journal in order, killed at any moment, loses nothing, and whatever comes next goes on from there."""

from __future__ import annotations

import random
from pathlib import Path

import lmdb
import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lmdb_layout import TABLES
from asm_actors.journal.lmdb_migrate import migrate
from asm_actors.journal.lmdb_store import LmdbStore
from tests.crash.test_kill_chains import check_recovery, demand_none

UPKEEP = Path(__file__).parent / "upkeep.py"
KINDS = ("compact", "backup", "prune", "erase", "repair", "migrate")
LONGEST_S = {"compact": 0.1, "backup": 0.1, "prune": 0.05, "erase": 0.03, "repair": 0.1, "migrate": 0.01}
"""Seconds after the opening within which the kill comes: about what the work takes."""
INDEXES = ("segments", "members", "open", "names", "marks", "columns", "loose")
LIVES = 3
LATER = ("open", "columns", "zones", "loose")
"""Tables that layout 1 did not have."""


def empty(journal, tables, meta=None):
    """Remove all that some tables hold; set entries of the table ``meta``."""
    with lmdb.open(str(journal), max_dbs=len(TABLES), map_size=1 << 30) as env, env.begin(write=True) as txn:
        for table in tables:
            txn.drop(env.open_db(table.encode(), txn=txn), delete=False)
        known = env.open_db(b"meta", txn=txn)
        for key, value in (meta or {}).items():
            txn.delete(key, db=known)
            if value is not None:
                txn.put(key, value, db=known)


def finish(journal, kind):
    """Do what the killed process had left to do, where it is not done by opening the journal."""
    if kind == "repair":
        report = LmdbStore(journal).repair()
        assert (report.unmended, report.lost) == ((), ())
    elif kind == "migrate":
        migrate(journal)


def kill_upkeep(harness, journal, chain, kinds):
    """One journal, on which a storm rages between two lives that keep it in order."""
    dice = random.Random(f"upkeep {chain}")
    for number, kind in enumerate(kinds):
        seed = str(10_000 * chain + number)
        harness.live(seed, "none", delay=dice.uniform(0.05, 0.2))
        demand_none(harness.faults(readonly=dice.random() < 0.5), f"upkeep {chain}, storm {number}")
        for again in range(LIVES):
            if kind == "repair":
                empty(journal, dice.sample(INDEXES, dice.randint(1, len(INDEXES))))
            elif kind == "migrate":
                empty(journal, LATER, {b"zoned": None, b"schema": (1).to_bytes(4, "big")})
            harness.live(
                f"{seed}{again}",
                kind,
                delay=dice.uniform(0.0, LONGEST_S[kind]),
                from_opening=True,
                may_end=True,
                program=UPKEEP,
            )
        finish(journal, kind)
        demand_none(harness.faults(readonly=dice.random() < 0.5), f"upkeep {chain}, {kind} {number}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_journal_survives_that_its_upkeep_is_killed(harness, tmp_path, kind):
    kill_upkeep(harness, tmp_path / "journal", KINDS.index(kind), [kind] * 2)

    check_recovery(harness)


@pytest.mark.slow
@pytest.mark.parametrize("chain", range(100, 180))
def test_five_hundred_kills_of_upkeep_lose_nothing(harness, tmp_path, chain):
    kinds = random.Random(chain).sample(KINDS, len(KINDS))
    kill_upkeep(harness, tmp_path / "journal", chain, kinds)

    check_recovery(harness, chain)


def test_a_journal_that_was_not_migrated_to_the_end_still_asks_for_it(harness, tmp_path):
    harness.live("1", "none", delay=0.1)
    empty(tmp_path / "journal", LATER, {b"zoned": None, b"schema": (1).to_bytes(4, "big")})

    with pytest.raises(AsmError) as caught:
        harness.faults()

    assert caught.value.code is ErrorCode.MIGRATION_REQUIRED
