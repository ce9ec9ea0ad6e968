"""What a policy says to a run, fact by fact."""

from __future__ import annotations

import pytest

from asm_actors.cost.pricing import PricingTable
from asm_actors.errors import RuntimeFailure
from asm_actors.events import EventType, shape_warnings
from asm_actors.policies.approvals import ApprovalBook
from asm_actors.policies.evaluator import Allow, AskApproval, Deny, Evaluator
from asm_actors.policies.facts import CallAsked, RunBegan, RunOver, UsageTold
from asm_actors.policies.policy import Policy, stack_merge
from asm_actors.policies.violations import Violation

SECOND = 1_000_000
ONE_DOLLAR = PricingTable.of({"claude": {"input": 1, "output": 10}})


def told(decisions):
    """Violations in short: subject and action."""
    return [(one.subject, one.action) for one in decisions if isinstance(one, Violation)]


# --- Tools ------------------------------------------------------------------------------------------------------

TOOL_CASES = [
    # on_violation, on_denied -> what becomes of a forbidden call, the action on record, whether the run ends
    ("cancel", "tell", Deny, "deny", False),
    ("cancel", "fail", Deny, "cancel", True),
    ("request_approval", "tell", AskApproval, "request_approval", False),
    ("request_approval", "fail", AskApproval, "request_approval", False),
    ("warn", "tell", Allow, "warn", False),
    ("warn", "fail", Allow, "warn", False),
]


@pytest.mark.parametrize(("on_violation", "on_denied", "kind", "action", "ends"), TOOL_CASES)
def test_a_forbidden_call_is_denied_asked_about_or_warned_of(
    story, on_violation, on_denied, kind, action, ends
):
    run = story(
        Policy(name="p", tool_rules=[("deny", ["bash"])], on_violation=on_violation, on_denied=on_denied)
    )
    ruling = run.ask("c1", cmd="ls")
    assert isinstance(ruling.about_call, kind)
    assert ruling.ends_run is ends
    (violation,) = ruling.violations
    assert violation.to_map() == {
        "policy": "p",
        "kind": "tool_denied",
        "action": action,
        "details": {"tool_name": "bash", "rule": "deny", "list": ["bash"], "policies": ["p"]},
    }
    assert shape_warnings(EventType.POLICY_VIOLATION, violation.to_map()) == ()
    assert isinstance(run.ask("c2", "ls").about_call, Deny if ends else Allow)


def test_each_tool_is_told_once_and_denied_each_time(story):
    run = story(Policy(tool_rules=[("allow", ["ls"])]))
    assert told(run.ask("c1").decisions) == [("bash", "deny")]
    again = run.ask("c2")
    assert again.violations == ()
    assert again.about_call == Deny("c2", "policy default does not allow the tool bash", fails_run=False)
    assert told(run.ask("c3", "rm").decisions) == [("rm", "deny")]
    assert run.ask("c4", "ls", path="/").about_call == Allow("c4", {"path": "/"})
    assert run.state.n_calls == 1


def test_the_question_tells_what_it_is_about(story):
    run = story(
        Policy(
            name="careful",
            tool_rules=[("deny", ["bash"])],
            on_violation="request_approval",
            approval_timeout=9,
        )
    )
    request = run.ask("c1", cmd="ls").about_call.request
    assert request.to_map() == {
        "tool_call_id": "c1",
        "tool_name": "bash",
        "tool_input": {"cmd": "ls"},
        "policy_name": "careful",
        "violation_kind": "tool_denied",
        "reason": "policy careful does not allow the tool bash",
        "lifts": [],
        "approval_timeout": 9.0,
    }
    assert shape_warnings(EventType.TOOL_APPROVAL_REQUESTED, request.to_map()) == ()


@pytest.mark.parametrize(
    ("on_violation", "action"), [("cancel", "cancel"), ("request_approval", "cancel"), ("warn", "warn")]
)
def test_a_forbidden_call_that_was_made_already_ends_the_run(story, on_violation, action):
    run = story(Policy(tool_rules=[("deny", ["bash"])], on_violation=on_violation))
    ruling = run.seen("bash")
    assert told(ruling.decisions) == [("bash", action)]
    assert ruling.violations[0].details["seen_afterwards"] is True
    assert ruling.ends_run is (action == "cancel")
    assert run.seen("bash").decisions == ()


def test_a_call_made_behind_the_back_ends_the_run_though_one_was_denied_before(story):
    run = story(Policy(tool_rules=[("deny", ["bash"])]))
    assert told(run.ask("c1").decisions) == [("bash", "deny")]
    assert told(run.seen("bash").decisions) == [("bash", "cancel")]
    assert run.evaluator.error({"run_id": "r"}).message == "policy default does not allow the tool bash"


def test_a_merged_policy_says_who_forbids(story):
    run = story(stack_merge([Policy(name="org", tool_rules={"deny": ["rm"]}), Policy(name="me")]))
    (violation,) = run.ask("c1", "rm").violations
    assert (violation.policy, violation.details["policies"]) == ("org + me", ["org"])


# --- Limits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_violation", ["cancel", "request_approval", "warn"])
def test_tokens_are_exceeded_by_more_than_the_limit_and_told_once(story, on_violation):
    run = story(Policy(limits={"max_total_tokens": 10}, on_violation=on_violation))
    assert run.turn(6, 4) == ()
    (violation,) = run.turn(1)
    assert violation.kind == "budget_exceeded"
    assert violation.action == on_violation
    assert violation.details == {"metric": "total_tokens", "actual": 11, "limit": 10, "policies": ["default"]}
    assert run.turn(5) == ()
    assert run.state.total_tokens == 16


def test_a_turn_that_is_under_way_is_looked_at_and_not_counted_twice(story):
    run = story(Policy(limits={"max_total_tokens": 10}))
    assert run.usage_so_far(10).decisions == ()
    assert run.usage_so_far(4, 4).decisions == ()
    assert run.state.total_tokens == 0
    assert told(run.usage_so_far(11).decisions) == [("total_tokens", "cancel")]
    assert run.usage_so_far(12).decisions == ()
    assert run.turn(12) == ()


@pytest.mark.parametrize(
    ("usages", "total"),
    [
        ([{"input_tokens": 2, "output_tokens": 3}] * 2, 10),
        ([{"total_tokens": 4}, {"total_tokens": 5}], 9),
        ([{"input_tokens": 2, "output_tokens": 3, "total_tokens": 50}, {"input_tokens": 1}], 50),
        ([{"input_tokens": -2, "output_tokens": "x", "cache_read_tokens": 9}, {}], 0),
    ],
)
def test_tokens_are_summed_over_turns_or_taken_from_a_larger_total(usages, total):
    evaluator = Evaluator(Policy())
    for usage in usages:
        evaluator = evaluator.observe(UsageTold(usage), 0).evaluator
    assert evaluator.state.total_tokens == total


def test_a_call_above_the_limit_ends_the_run_before_it_is_made(story):
    run = story(Policy(limits={"max_tool_calls": 2}))
    assert [type(run.ask(f"c{n}").about_call) for n in range(2)] == [Allow, Allow]
    ruling = run.ask("c2")
    assert told(ruling.decisions) == [("tool_calls", "cancel")]
    assert ruling.violations[0].details["actual"] == 3
    assert ruling.about_call.fails_run
    assert ruling.ends_run
    assert run.state.n_calls == 2
    late = run.ask("c3")
    assert (late.violations, late.about_call.fails_run) == ((), True)


def test_calls_of_the_provider_count_and_repeated_ones_count_once(story):
    run = story(Policy(limits={"max_tool_calls": 2}))
    run.ask("c1")
    run.tell(EventType.TOOL_CALL_STARTED, {"tool_call_id": "c1", "tool_name": "bash", "attempt": 2})
    assert run.state.n_calls == 1
    assert run.seen("ls").decisions == ()
    assert told(run.seen("ls").decisions) == [("tool_calls", "cancel")]


def test_a_call_that_is_repeated_after_a_crash_is_within_the_limit_that_it_met(story):
    run = story(Policy(limits={"max_tool_calls": 1}))
    run.ask("c1")
    run.restart()
    again = run.observe(run.book.about("run_1", "c1", "bash", {}, is_repeated=True))
    assert isinstance(again.about_call, Allow)


def test_a_turn_too_many_is_told_when_it_is_wanted(story):
    run = story(Policy(limits={"max_turns": 2}))
    assert run.turn(1) == ()
    assert run.usage_so_far(1).decisions == ()
    assert told(run.turn(1)) == [("turns", "cancel")]
    assert run.state.violations[0].details["actual"] == 3
    assert run.evaluator.policy.limits.max_turns == 2


def test_the_last_turn_wants_no_other_one(story):
    run = story(Policy(limits={"max_turns": 1}))
    assert run.turn(1, more=False) == ()
    assert run.state.n_turns == 1


def test_time_has_a_timer_and_is_looked_at_on_the_way(story):
    run = story(Policy(limits={"max_duration_ms": 1500}))
    assert run.evaluator.deadline_us == 1_500_000
    run.now = 1_500_000
    assert run.usage_so_far(1).decisions == ()
    ruling = run.look()
    assert told(ruling.decisions) == [("duration_ms", "cancel")]
    assert ruling.violations[0].details["actual"] == 1500
    assert run.evaluator.deadline_us is None
    other = story(Policy(limits={"max_duration_ms": 1500}))
    other.now = 1_501_000
    assert told(other.ask("c1").decisions) == [("duration_ms", "cancel")]


def test_there_is_no_deadline_without_a_limit_before_the_start_or_after_the_end(story):
    assert Evaluator(Policy(limits={"max_duration_ms": 5})).deadline_us is None
    assert story(Policy()).evaluator.deadline_us is None
    run = story(Policy(limits={"max_duration_ms": 5}))
    run.tell(EventType.RUN_COMPLETED, {"stop_reason": "end_turn"})
    run.now = SECOND
    assert run.evaluator.deadline_us is None
    assert run.look().decisions == ()
    assert run.ask("c1").about_call.fails_run


def test_the_first_start_counts(story):
    run = story(Policy(limits={"max_duration_ms": 1000}))
    run.now = SECOND // 2
    run.tell(EventType.RUN_STARTED, {"model": "m"})
    assert (run.state.started_us, run.state.model, run.evaluator.deadline_us) == (0, "m", SECOND)


# --- Money ------------------------------------------------------------------------------------------------------


def test_what_the_provider_says_wins_over_the_rates(story):
    run = story(Policy(limits={"max_cost_usd": 30}), pricing=ONE_DOLLAR)
    assert run.turn(10, 1, cost_usd=1.0) == ()
    assert run.evaluator.spent.cost_usd == 1.0
    assert run.turn(10, 1) == ()
    assert run.evaluator.spent.cost_usd == 21.0
    assert told(run.turn(5, 1)) == [("cost_usd", "cancel")]
    run.tell(EventType.RUN_COMPLETED, {"total_cost_usd": 2.5})
    assert run.evaluator.spent.cost_usd == 2.5


def test_a_turn_that_is_told_to_be_free_is_not_believed(story):
    run = story(Policy(), pricing=ONE_DOLLAR)
    run.turn(3, cost_usd=0.0)
    assert run.evaluator.spent.cost_usd == 3.0


def test_sums_of_fractions_do_not_exceed_a_limit_that_they_meet(story):
    run = story(Policy(limits={"max_cost_usd": 0.3}), pricing=ONE_DOLLAR)
    for _ in range(3):
        assert run.turn(cost_usd=0.1) == ()
    assert told(run.turn(cost_usd=0.001)) == [("cost_usd", "cancel")]


def test_missing_rates_are_told_and_what_is_known_counts(story):
    run = story(Policy(limits={"max_cost_usd": 1}), pricing=ONE_DOLLAR, provider="other")
    run.turn(100, model="big")
    assert run.evaluator.warnings == ({"warning": "missing_cost_rates", "unpriced": ["other/big"]},)
    assert run.state.violations == ()
    assert told(run.turn(cost_usd=1.5)) == [("cost_usd", "cancel")]
    report = run.evaluator.report(run.now)
    assert report["metadata"]["cost_supported"] is False
    assert story(Policy(), provider="other").evaluator.warnings == ()


def test_the_model_decides_about_the_price(story):
    run = story(Policy(), pricing=PricingTable.of({"claude": {"big": {"input": 5, "output": 5}}}))
    run.turn(1, model="big-2")
    assert run.evaluator.spent.cost_usd == 5.0
    run.tell(EventType.TOKEN_USAGE_UPDATED, {"input_tokens": 1, "output_tokens": 0, "model": "small"})
    assert run.evaluator.spent.unpriced == ("claude/small",)


# --- Somebody decides -------------------------------------------------------------------------------------------


def test_while_a_limit_is_exceeded_every_call_is_asked_about_until_it_is_lifted(story):
    run = story(Policy(limits={"max_total_tokens": 10}, on_violation="request_approval"))
    assert told(run.turn(20)) == [("total_tokens", "request_approval")]
    first = run.ask("c1").about_call
    assert (first.request.violation_kind, first.request.lifts) == ("budget_exceeded", ("total_tokens",))
    run.grant("c1")
    assert isinstance(run.ask("c1").about_call, Allow)
    assert isinstance(run.ask("c2").about_call, AskApproval)
    run.grant("c2", scope="run")
    assert isinstance(run.ask("c2").about_call, Allow)
    assert isinstance(run.ask("c3").about_call, Allow)
    assert run.turn(50) == ()


def test_lifting_the_time_ends_its_timer(story):
    run = story(Policy(limits={"max_duration_ms": 1000}, on_violation="request_approval"))
    run.now = SECOND
    assert told(run.look().decisions) == [("duration_ms", "request_approval")]
    assert run.evaluator.deadline_us is None
    run.now += 1000
    assert run.ask("c1").about_call.request.lifts == ("duration_ms",)
    run.grant("c1", scope="session")
    assert isinstance(run.ask("c2").about_call, Allow)


def test_a_question_is_asked_once_and_its_decision_holds(story):
    run = story(Policy(tool_rules={"deny": ["bash"]}, on_violation="request_approval"))
    assert run.ask("c1", cmd="ls").about_call.is_new
    again = run.ask("c1", cmd="ls")
    assert not again.about_call.is_new
    assert again.about_call.request == run.book.pending[0].request
    run.grant("c1", by="ann", tool_input={"cmd": "ls -l"})
    allowed = run.ask("c1", cmd="ls").about_call
    assert (allowed.tool_input, allowed.approval.by) == ({"cmd": "ls -l"}, "ann")


@pytest.mark.parametrize("on_denied", ["tell", "fail"])
def test_a_denied_call_is_told_or_ends_the_run(story, on_denied):
    run = story(Policy(tool_rules={"deny": ["bash"]}, on_violation="request_approval", on_denied=on_denied))
    run.ask("c1")
    run.deny("c1", by="ann", reason="not on Fridays")
    ruling = run.ask("c1")
    assert ruling.about_call == Deny(
        "c1", "the call of bash was denied by ann: not on Fridays", fails_run=on_denied == "fail"
    )
    assert ruling.ends_run is (on_denied == "fail")


def test_a_standing_grant_answers_for_rules_and_not_for_limits(story):
    run = story(
        Policy(tool_rules={"deny": ["bash"]}, limits={"max_tool_calls": 2}, on_violation="request_approval")
    )
    run.ask("c1", cmd="ls")
    run.grant("c1", scope="run")
    assert isinstance(run.ask("c1", cmd="ls").about_call, Allow)
    assert isinstance(run.ask("c2", cmd="ls").about_call, Allow)
    assert isinstance(run.ask("c3", cmd="rm").about_call, AskApproval)
    last = run.ask("c4", cmd="ls").about_call
    assert (last.request.violation_kind, last.request.lifts) == ("budget_exceeded", ("tool_calls",))


def test_a_granted_call_is_made_with_its_own_arguments_though_the_record_is_redacted():
    evaluator = Evaluator(Policy(tool_rules={"deny": ["bash"]}, on_violation="request_approval"))
    request = evaluator.observe(CallAsked("c1", "bash", {"key": "[REDACTED]"}), 0).about_call.request
    book = ApprovalBook().request("r", request, 0).book.grant("r", "c1", 1).book
    allowed = evaluator.observe(book.about("r", "c1", "bash", {"key": "secret"}), 2).about_call
    assert allowed.tool_input == {"key": "secret"}


# --- The whole --------------------------------------------------------------------------------------------------


def test_a_run_that_is_rebuilt_goes_on_where_it_was(story):
    run = story(Policy(limits={"max_total_tokens": 10, "max_tool_calls": 3}, on_violation="warn"))
    run.turn(20)
    run.ask("c1")
    before = run.evaluator
    run.restart()
    assert run.evaluator == before
    assert run.look().decisions == ()
    run.evaluator = Evaluator.rebuilt(before.policy.merge({"on_violation": "cancel"}), run.events)
    assert told(run.look().decisions) == [("total_tokens", "cancel")]
    assert run.ask("c2").about_call.fails_run


def test_a_violation_that_did_not_reach_the_record_is_found_again(story):
    run = story(Policy(limits={"max_total_tokens": 10}))
    run.turn(20)
    run.events = [event for event in run.events if event.type is not EventType.POLICY_VIOLATION]
    run.restart()
    assert told(run.look().decisions) == [("total_tokens", "cancel")]


def test_records_of_another_shape_are_passed_over(story):
    run = story(Policy(limits={"max_tool_calls": 1}))
    for kind, data in [
        (EventType.TOOL_CALL_STARTED, {"attempt": "x"}),
        (EventType.TURN_COMPLETED, {"cost_usd": "x", "model": 3}),
        (EventType.TOOL_APPROVAL_GRANTED, {"lifts": "all"}),
        (EventType.RUN_FAILED, {}),
    ]:
        run.tell(kind, data)
    run._write(EventType.POLICY_VIOLATION, {"details": 3})
    assert run.state.is_over
    assert run.state.n_calls == 0


def test_the_report_and_the_error_tell_the_whole_story(story):
    run = story(Policy(name="p", limits={"max_total_tokens": 10}, tool_rules={"deny": ["rm"]}))
    run.ask("c1", "ls")
    run.ask("c2", "rm")
    run.now = 2 * SECOND
    run.turn(11, 1)
    report = run.evaluator.report(run.now)
    assert report["violated"]
    assert report["action"] == "cancel"
    assert [one["kind"] for one in report["violations"]] == ["tool_denied", "budget_exceeded"]
    assert report["usage"] == {
        "input_tokens": 11, "output_tokens": 1, "total_tokens": 12, "tool_calls": 1, "turns": 1,
        "duration_ms": 2000, "cost_usd": pytest.approx(11 * 3e-6 + 15e-6),
    }  # fmt: skip
    error = run.evaluator.error({"run_id": "r"})
    assert isinstance(error, RuntimeFailure)
    assert error.code == "policy_violation"
    assert error.details["policy"] == "p"
    assert [one["kind"] for one in error.details["violations"]] == ["tool_denied", "budget_exceeded"]
    assert error.message == "12 total_tokens are more than the 10 that policy p allows"


def test_a_policy_that_says_nothing_lets_everything_pass(story):
    run = story(Policy())
    run.now = 10**15
    assert isinstance(run.ask("c1").about_call, Allow)
    assert run.turn(10**12, 10**12, cost_usd=1e9) == ()
    assert run.look().decisions == ()
    assert run.evaluator.report(run.now)["violated"] is False


def test_observing_leaves_the_evaluator_as_it_was():
    evaluator = Evaluator(Policy(limits={"max_total_tokens": 1}))
    before = evaluator.state
    evaluator.observe(RunBegan("m"), 5)
    evaluator.observe(UsageTold({"input_tokens": 5}), 5)
    evaluator.observe(RunOver(), 5)
    assert evaluator.state is before
    assert {evaluator: 1}
