"""Approvals, pauses, cancels and budgets keep their promises in every schedule, whatever crashes, and when.

``ASM_SIM_SEED=123 pytest tests/simulation/test_flows.py`` plays one seed, and
``python -m tests.simulation.replay flows 123`` prints it.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from asm_actors.policies.evaluator import Evaluator
from asm_actors.policies.rulings import Allow
from asm_actors.runs import tool_calls
from asm_actors.sessions import asking, pausing
from tests.simulation.flows import play_flows

SEED = os.environ.get("ASM_SIM_SEED")
CHUNK = 50
CHUNKS = [range(first, first + CHUNK) for first in range(0, 400, CHUNK)]
SOAK = [range(first, first + CHUNK) for first in range(400, 10_400, CHUNK)]
if SEED is not None:
    CHUNKS = SOAK = [range(int(SEED), int(SEED) + 1)]
OFTEN = (
    "tool_approval_requested",
    "tool_approval_granted",
    "tool_approval_denied",
    "policy_violation",
    "run_paused",
    "run_resumed",
    "session_paused",
    "session_resumed",
    "run_recovered",
    "run_cancelled",
    "run_timeout",
    "run_completed",
    "run_failed",
)
"""Events of which fifty schedules have several."""


def _name(seeds):
    return f"{seeds[0]}-{seeds[-1]}"


def _demand_promises(seeds):
    outcomes = list(map(play_flows, seeds))
    broken = [outcome for outcome in outcomes if outcome.faults]
    if broken:
        numbers = ", ".join(str(outcome.seed) for outcome in broken)
        pytest.fail(
            f"{len(broken)} of {len(seeds)} schedules broke a promise (seeds {numbers}):\n{broken[0]}",
            pytrace=False,
        )
    if SEED is None:
        found = Counter(row["type"] for outcome in outcomes for row in outcome.journal if "type" in row)
        assert [kind for kind in OFTEN if found[kind] < 3] == []


@pytest.mark.parametrize("seeds", CHUNKS, ids=_name)
def test_every_flow_keeps_its_promises_in_every_schedule(seeds):
    _demand_promises(seeds)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", SOAK, ids=_name)
def test_every_flow_keeps_its_promises_in_many_more_schedules(seeds):
    _demand_promises(seeds)


@pytest.mark.parametrize("seed", range(30))
def test_flows_of_runs_with_files_keep_them_too(seed, tmp_path):
    outcome = play_flows(seed, tmp_path)
    assert outcome.faults == ()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30, 530))
def test_flows_of_many_more_runs_with_files_keep_them_too(seed, tmp_path):
    outcome = play_flows(seed, tmp_path)
    assert outcome.faults == ()


@pytest.mark.parametrize("seed", range(5))
def test_one_seed_gives_one_journal(seed):
    first, second = play_flows(seed), play_flows(seed)
    assert (first.journal, first.lines, first.steps) == (second.journal, second.lines, second.steps)


# --- A check that finds nothing proves nothing ------------------------------------------------------------------------


def _found(*sentences, seeds=80):
    for seed in range(seeds):
        faults = play_flows(seed).faults
        if any(sentence in fault for fault in faults for sentence in sentences):
            return True
    return False


def test_a_call_that_nobody_allowed_is_found(monkeypatch):
    monkeypatch.setattr(Evaluator, "_asks_about", lambda self, tool: False)
    assert _found("which nobody allowed")


def test_a_denied_call_that_is_made_is_found(monkeypatch):
    def decided(self, fact, approval, exceeded):
        return [Allow(fact.call_id, dict(fact.tool_input), approval)]

    monkeypatch.setattr(Evaluator, "_decided", decided)
    assert _found("was denied")


def test_arguments_that_are_not_the_ones_which_were_granted_are_found(monkeypatch):
    allowed = tool_calls._allowed
    monkeypatch.setattr(
        tool_calls, "_allowed", lambda state, call, *rest: allowed(state, call, *rest) and call.input
    )
    assert _found("instead of")


def test_a_question_that_is_never_denied_is_found(monkeypatch):
    monkeypatch.setitem(asking.HANDLERS, asking.ApprovalsDue, lambda *_: [])
    monkeypatch.setattr("asm_actors.sessions.approvals.question_timer", lambda *_: [])
    monkeypatch.setattr("asm_actors.sessions.questions.question_timer", lambda *_: [])
    monkeypatch.setattr("asm_actors.sessions.holding.question_timer", lambda *_: [])
    monkeypatch.setattr("asm_actors.sessions.asking.question_timer", lambda *_: [])
    monkeypatch.setattr("asm_actors.sessions.recovery.question_timer", lambda *_: [])
    assert _found("its time is long over")


def test_a_run_that_goes_on_though_it_stands_still_is_found(monkeypatch):
    monkeypatch.setattr("asm_actors.sessions.holding.keeps_still", lambda *_: None)
    assert _found("which stands still")


def test_a_limit_that_is_not_looked_at_is_found(monkeypatch):
    monkeypatch.setattr(Evaluator, "exceeded", lambda self, *args, **options: ())
    assert _found("without a word")


def test_a_run_that_is_never_released_is_found(monkeypatch):
    monkeypatch.setattr(pausing, "release_runs", lambda *_: ([], [], []))
    monkeypatch.setattr("asm_actors.sessions.lifecycle.release_runs", lambda *_: ([], [], []))
    assert _found("should have ended by itself")
