"""A system that is killed at any moment keeps everything that its callers were told or its subscribers saw."""

from __future__ import annotations

import random

import pytest

from asm_actors.testing.recovery_rules import Fate, RecoveryRules
from tests.crash.script import ENDS, LIMITS, pieces_of, provider, tools

KILLS = 6
CHAINS = 14
SOAK = 350
OFTEN = ("queued", "streaming", "in a tool", "cancelling", "forking", "acknowledging")
"""What a hundred kills hit."""
EVERYTHING = (
    *OFTEN,
    "begun",
    "between turns",
    "awaiting_approval",
    "deciding",
    "pausing",
    "resuming",
    "ending a session",
    "backing up",
    "compacting",
    "pruning",
    "deleting",
    "stopping in order",
)
"""What thousands do."""
DURABILITIES = ("commit", "interval", "none")


def demand_none(faults, where):
    if faults:
        pytest.fail(f"{where} has {len(faults)} faults:\n" + "\n".join(faults[:5]), pytrace=False)


def kill_again_and_again(harness, chain, *, shortest=0.02, longest=0.35, from_opening=False):
    dice = random.Random(f"chain {chain}")
    for life in range(KILLS):
        harness.live(
            str(1000 * chain + life),
            DURABILITIES[chain % len(DURABILITIES)],
            delay=dice.uniform(shortest, longest),
            from_opening=from_opening,
        )
        # Read-only, it stays as the kill left it for the next life to find.
        demand_none(harness.faults(readonly=dice.random() < 0.5), f"chain {chain}, life {life}")


def check_recovery(harness, chain=0):
    rules = RecoveryRules(
        on_restart=("resume", "resume", "retry", "fail")[chain % 4], max_recoveries=(3, 3, 3, 1, 0)[chain % 5]
    )
    recovery = harness.recover({"mock": provider(0.0)}, LIMITS, tools(harness.ledger, 0.0), rules)
    demand_none(recovery.faults, f"the recovery of chain {chain}")
    for before, outlook, after in zip(recovery.before, recovery.outlooks, recovery.after, strict=True):
        is_denied = outlook.ends_if_denied and len(outlook.unknown) > 1
        if outlook.fate not in (Fate.INTERRUPTED, Fate.UNKNOWN) and not is_denied:
            # It goes on as if nothing had happened, unless its time was over.
            assert after.status in (ENDS[before.input["do"]], "timeout"), (chain, before, after)
        if after.status == "completed":
            assert after.output["content"] == "".join(pieces_of(after.input)), (chain, after)
    return recovery


@pytest.mark.parametrize("chain", range(CHAINS))
def test_a_chain_of_kills_loses_nothing_and_the_next_start_takes_up_what_was_open(harness, chain):
    kill_again_and_again(harness, chain)

    assert check_recovery(harness, chain).before != []
    harness.hits["chains"] += 1


def test_kills_while_the_journal_is_opened_lose_nothing(harness):
    harness.live("1", "commit", delay=0.3)

    kill_again_and_again(harness, 100, longest=0.06, shortest=0.0, from_opening=True)

    check_recovery(harness, 100)


def test_these_kills_have_hit_what_is_done_often(hits):
    if hits["chains"] < CHAINS:
        pytest.skip("only some chains were tried")
    assert [kind for kind in OFTEN if not hits[kind]] == []


@pytest.mark.slow
@pytest.mark.parametrize("chain", range(200, 200 + SOAK))
def test_two_thousand_kills_lose_nothing(harness, chain):
    kill_again_and_again(harness, chain)

    check_recovery(harness, chain)
    harness.hits["long chains"] += 1


@pytest.mark.slow
def test_these_thousands_of_kills_have_hit_everything(hits):
    if hits["long chains"] < SOAK:
        pytest.skip("only some chains were tried")
    assert [kind for kind in EVERYTHING if not hits[kind]] == []
