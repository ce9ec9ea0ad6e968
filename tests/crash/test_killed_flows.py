"""A process is killed in every state of an approval, a pause, a cancel, a budget: the next one finishes the flow."""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from pathlib import Path

import pytest

import asm_actors as asm
from asm_actors.testing.claims import ClaimKind
from asm_actors.testing.flow_promises import FlowRules
from asm_actors.testing.kill_harness import KillHarness
from tests.crash.flow_script import GATED, LIMITS, PRICING, RATES, Provider, tools

PROGRAM = Path(__file__).parent / "flows.py"
RULES = FlowRules(gated=GATED, rates=RATES)
PATIENCE_S = 30.0


class Finish:
    """The life that finishes a flow."""

    def __init__(self, harness, journal):
        self.harness, self.provider = harness, Provider()
        self.system = asm.ActorSystem.start(
            journal, {"mock": self.provider}, LIMITS, tools=tools(harness.ledger), pricing=PRICING
        )
        self.sessions = self.system.sessions

    @property
    def pending(self):
        return [one.call_id for one in self.sessions.pending_approvals()]

    def status(self, run="run_1"):
        return self.sessions.get_run(run).status.value

    def grant(self, call="c1.0", **options):
        self.sessions.grant_approval("run_1", call, **options)

    def deny(self, call="c1.0", **options):
        self.sessions.deny_approval("run_1", call, **options)

    def end(self, run="run_1"):
        """The record of a run that ends by itself."""
        with contextlib.suppress(asm.AsmError):  # the record tells
            self.sessions.await_run(run, timeout=PATIENCE_S)
        return self.sessions.get_run(run)

    def events(self, kind, run="run_1"):
        session_id = self.sessions.get_run(run).session_id
        return [event.data for event in self.sessions.get_session_events(session_id, run_id=run, type=kind)]

    def said(self, kind, count=1, run="run_1"):
        """Wait until the run has so many events of a type; return the payload of the last of them."""
        session_id = self.sessions.get_run(run).session_id
        stream = self.sessions.stream_session_events(
            session_id, run_id=run, type=kind, limit=count, wait_timeout_ms=30_000
        )
        found = [event.data for event in stream]
        assert len(found) == count
        return found[-1]

    @property
    def calls(self):
        """How often each call was made, in all lives."""
        return Counter(
            f"{claim.status} {claim.id}"
            for claim in self.harness.ledger.claims
            if claim.kind is ClaimKind.CALLED
        )


# --- How each flow is finished, and what must come of it -----------------------------------------------------------

FLOWS = {}


def flow(state):
    """Finishes the flow that was killed in a state."""

    def register(finish):
        FLOWS[f"{state}-{finish.__name__}"] = (state, finish)
        return finish

    return register


@flow("asked")
def granted_with_other_arguments(life):
    assert life.pending == ["c1.0"]
    assert life.status() == "awaiting_approval"
    life.grant(tool_input={"key": "less"}, by="ann")
    assert life.end().status == "completed"
    assert life.calls == {"pay less": 1}


@flow("asked")
def denied(life):
    life.deny(by="ann", reason="no")
    assert life.end().status == "completed"
    assert life.calls == {}
    assert life.events("tool_call_failed")[0]["error"]["code"] == "tool_permission_denied"


@flow("asked")
def cancelled(life):
    assert life.sessions.cancel_run("run_1").status == "cancelled"
    life.grant()
    assert (life.calls, life.pending) == ({}, [])


@flow("asked_live")
def the_other_call_is_made_again_and_the_question_waits(life):
    assert life.pending == ["c1.0"]
    life.grant()
    assert life.end().status == "completed"
    assert life.calls == {"look b!": 2, "pay a": 1}
    assert len(life.events("tool_approval_requested")) == 1


@flow("asked_for_a_moment")
def its_time_is_over(life):
    assert life.end().status == "completed"
    assert life.calls == {}
    assert life.events("tool_approval_denied")[0]["timed_out"]


@flow("granted")
def the_decision_holds(life):
    assert life.pending == []
    assert life.end().status == "completed"
    assert life.calls == {"pay less": 1}


@flow("denied")
def it_stays_denied(life):
    life.grant()
    assert life.end().status == "completed"
    assert life.calls == {}


@flow("granted_live")
def what_was_made_is_not_made_again(life):
    assert life.end().status == "completed"
    assert life.calls == {"look b!": 2, "pay a": 1}


@flow("denied_live")
def it_stays_denied_there_too(life):
    assert life.end().status == "completed"
    assert life.calls == {"look b!": 2}


@flow("granted_call")
def a_call_of_unknown_outcome_ends_the_run(life):
    assert life.end().error["code"] == "outcome_unknown"
    assert life.calls == {"pay less!": 1}


@flow("granted_call_report")
def or_the_model_is_told(life):
    assert life.end().status == "completed"
    assert life.calls == {"pay less!": 1}


@flow("granted_call_ask")
def or_somebody_is_asked_and_denies(life):
    assert life.said("tool_approval_requested", 2)["tool_input"] == {"key": "less!"}
    life.deny()
    assert life.end().status == "completed"
    assert life.calls == {"pay less!": 1}


@flow("granted_call_ask")
def or_grants_it_once_more(life):
    life.said("tool_approval_requested", 2)
    life.grant()
    assert life.end().status == "completed"
    assert life.calls == {"pay less!": 2}


@flow("granted_call_safe")
def what_is_safe_to_repeat_is_made_again_unasked(life):
    assert life.end().status == "completed"
    assert life.calls == {"look a!": 2}
    assert len(life.events("tool_approval_requested")) == 1


@flow("pause_wished")
def it_stands_still_at_once(life):
    assert life.said("run_paused") == {"scope": "run", "by": "ann"}
    assert life.status() == "paused"
    life.sessions.resume_run("run_1")
    assert life.end().status == "completed"
    assert life.calls == {"send a": 1}


@flow("pause_wished_in_a_call")
def it_makes_no_call_before_it_goes_on(life):
    life.said("run_paused")
    assert life.status() == "paused"
    assert life.calls == {"look a!": 1}
    life.sessions.resume_run("run_1")
    assert life.end().status == "completed"
    assert life.calls == {"look a!": 2}


@flow("paused")
def it_stands_still(life):
    assert life.status() == "paused"
    assert life.calls == {}
    life.sessions.resume_run("run_1")
    assert life.end().status == "completed"
    assert life.calls == {"pay a": 1}


@flow("paused")
def it_is_cancelled_there(life):
    assert life.sessions.interrupt_run("run_1").status == "cancelled"
    assert life.calls == {}


@flow("resuming")
def it_goes_on_by_itself(life):
    assert life.end().status == "completed"
    assert life.calls == {"pay a": 1}


def _both_go_on(life):
    assert life.end().status == "completed"
    assert life.end("run_2").status == "completed"
    first, second = (life.sessions.get_run(run) for run in ("run_1", "run_2"))
    assert first.ended_us <= second.started_us


@flow("session_pausing")
def nothing_goes_on_before_the_session_does(life):
    assert life.said("run_paused")["scope"] == "session"
    assert (life.status(), life.status("run_2")) == ("paused", "pending")
    life.sessions.resume_session("ses_1")
    _both_go_on(life)
    assert life.calls == {"send a": 1}


@flow("session_paused")
def what_the_session_holds_goes_on_first(life):
    assert (life.status(), life.status("run_2")) == ("paused", "pending")
    life.sessions.resume_session("ses_1")
    _both_go_on(life)
    assert life.calls == {"pay a": 1}


@flow("session_resuming")
def what_was_about_to_go_on_does(life):
    _both_go_on(life)
    assert life.calls == {"pay a": 1}


@flow("cancelling")
def a_cancel_that_nobody_was_told_of_is_forgotten(life):
    assert life.end().status == "completed"


@flow("cancelling_a_call")
def and_the_call_is_not_repeated(life):
    assert life.end().error["code"] == "outcome_unknown"
    assert life.calls == {"send a?": 1}


@flow("cancelling_a_tree")
def asking_again_does_the_rest(life):
    assert life.sessions.get_session("ses_1").status == "cancelled"
    life.sessions.cancel_session("ses_1", cascade=True)
    assert life.sessions.get_session("ses_2").status == "cancelled"
    assert life.sessions.get_run("run_1").is_terminal


@flow("superseding")
def exactly_the_newest_goes_on(life):
    assert life.end("run_2").status == "completed"
    assert life.events("run_cancelled")[0]["superseded_by"] == "run_2"


@flow("rolling_back")
def and_the_other_is_taken_out(life):
    assert life.end("run_2").status == "completed"
    assert life.events("run_cancelled")[0]["rolled_back"] is True


@flow("over_budget")
def each_call_is_asked_about_until_the_limit_is_lifted(life):
    assert life.pending == ["c1.0"]
    life.grant()
    assert life.said("tool_approval_requested", 2)["tool_call_id"] == "c2.0"
    life.grant("c2.0", scope="run")
    assert life.end().status == "completed"
    assert life.calls == {"send a": 1, "send b": 1}
    assert life.end().details["policy"]["violated"]


@flow("out_of_time")
def its_policy_ends_it(life):
    assert life.end().error["code"] == "policy_violation"
    life.grant()
    assert life.calls == {}


@flow("preparing")
def it_is_made_ready_again(life):
    assert life.end().status == "completed"
    assert len(life.events("run_started")) == 1
    assert life.calls == {"send a": 1}


@flow("finishing")
def its_files_are_seen_to_and_nobody_is_asked_again(life):
    run = life.end()
    assert run.status == "completed"
    assert "after_ref" in run.details["workspace"]
    assert life.provider.calls == 0
    assert life.calls == {"send a": 1}


@flow("compacting")
def it_is_summed_up_before_it_goes_on(life):
    assert life.end().status == "completed"
    assert len(life.sessions.get_session_events("ses_1", type="transcript_compacted")) == 1


@flow("correcting")
def it_is_told_once_what_was_wrong(life):
    run = life.end()
    assert run.details["object"] == {"n": 1}
    assert life.provider.calls == 1


# -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def flows(nursery, tmp_path):
    """Kills the program of flows, on a journal of its own."""
    return KillHarness(nursery, PROGRAM, tmp_path / "journal", rules=RULES)


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_is_finished_by_the_life_after_the_kill(flows, tmp_path, name):
    state, finish = FLOWS[name]
    folder = tmp_path / "files"
    folder.mkdir()
    flows.live_until(state, state, str(folder))
    assert flows.faults() == []

    life = Finish(flows, tmp_path / "journal")
    try:
        finish(life)
        left = [run.id for run in life.system.store.open_runs() if not run.id.startswith("run_busy")]
        assert left == []
    finally:
        life.system.stop(drain=True, timeout=PATIENCE_S)
    assert flows.faults() == []
    shutil.rmtree(tmp_path / "journal")
