"""A system that is killed at any moment keeps everything that its callers were told or its subscribers saw."""

from __future__ import annotations

import random

import pytest

from asm_actors.testing.claims import ClaimKind

KILLS = 5
DURABILITIES = ("commit", "interval", "none")
ENDS = {"talk": "completed", "slow": "completed", "again": "completed", "tool": "completed", "fail": "failed"}


def kill_again_and_again(harness, chain, *, shortest=0.02, longest=0.6, from_opening=False):
    dice = random.Random(f"chain {chain}")
    for life in range(KILLS):
        harness.live(
            str(1000 * chain + life),
            DURABILITIES[chain % len(DURABILITIES)],
            delay=dice.uniform(shortest, longest),
            from_opening=from_opening,
        )
        # Read-only, it stays as the kill left it for the next life to find.
        assert harness.faults(readonly=dice.random() < 0.5) == []


def check_recovery(harness, storm):
    recovery = harness.recover({"mock": storm.provider(0.0)}, storm.LIMITS)
    assert recovery.faults == []
    for before, after in zip(recovery.before, recovery.after, strict=True):
        if before.status == "pending":
            # It goes on as if nothing had happened, unless its time was over.
            assert after.status in (ENDS[before.input["do"]], "timeout")
        elif after.recoveries > before.recoveries:
            assert after.status in (ENDS[before.input["do"]], "timeout")
        if after.status == "completed":
            said = after.output["content"]
            assert said == "".join(storm.pieces_of(after.input))
    return recovery


@pytest.mark.parametrize("chain", range(10))
def test_a_chain_of_kills_loses_nothing_and_the_next_start_takes_up_what_was_open(harness, storm, chain):
    kill_again_and_again(harness, chain)

    assert check_recovery(harness, storm).before != []

    assert all(harness.ledger.count(kind) for kind in ClaimKind if kind is not ClaimKind.DEFECT)


def test_kills_while_the_journal_is_opened_lose_nothing(harness, storm):
    harness.live("1", "commit", delay=0.3)

    kill_again_and_again(harness, 100, longest=0.06, shortest=0.0, from_opening=True)

    check_recovery(harness, storm)


@pytest.mark.slow
@pytest.mark.parametrize("chain", range(200, 400))
def test_a_thousand_kills_lose_nothing(harness, storm, chain):
    kill_again_and_again(harness, chain)

    check_recovery(harness, storm)
