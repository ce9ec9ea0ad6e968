"""What is rebuilt from a run's events is what was lived, whatever happens."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from asm_actors.cost.pricing import PricingTable
from asm_actors.events import EventType
from asm_actors.policies.evaluator import Allow, AskApproval, Deny
from asm_actors.policies.policy import Policy
from tests.policies.stories import Story

PRICES = PricingTable.of({"claude": {"default": {"input": 0.1, "output": 0.3}}})

_counts = st.integers(0, 6)
_policies = st.builds(
    Policy,
    limits=st.fixed_dictionaries(
        {},
        optional={
            "max_total_tokens": st.integers(1, 30),
            "max_tool_calls": st.integers(1, 5),
            "max_turns": st.integers(1, 4),
            "max_duration_ms": st.integers(1, 6000),
            "max_cost_usd": st.sampled_from([0.5, 2]),
        },
    ),
    tool_rules=st.sampled_from([[], [("deny", ["a"])], [("allow", ["a", "b"])]]),
    on_violation=st.sampled_from(["cancel", "request_approval", "warn"]),
    on_denied=st.sampled_from(["tell", "fail"]),
    approval_timeout=st.sampled_from([None, 2]),
)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), _counts, st.sampled_from("abc"), st.integers(0, 1)),
        st.tuples(st.just("seen"), st.sampled_from("abc")),
        st.tuples(
            st.just("turn"),
            _counts,
            _counts,
            st.sampled_from([None, 0.0, 0.25]),
            st.sampled_from([None, "m"]),
        ),
        st.tuples(st.just("so_far"), _counts, _counts),
        st.tuples(st.just("wait"), st.integers(1, 3_000_000)),
        st.tuples(st.just("look")),
        st.tuples(st.just("expire")),
        st.tuples(
            st.just("grant"), st.sampled_from(["once", "run", "session"]), st.sampled_from([None, {"n": 1}])
        ),
        st.tuples(st.just("deny")),
        st.tuples(st.just("repeat"), _counts),
        st.tuples(st.just("restart")),
    ),
    max_size=25,
)


def _perform(run, step):
    name, *given = step
    if name == "ask":
        number, tool, argument = given
        return run.ask(f"c{number}", tool, n=argument)
    if name == "repeat":
        data = {"tool_call_id": f"c{given[0]}", "tool_name": "a", "attempt": 2}
        run.tell(EventType.TOOL_CALL_STARTED, data)
    elif name == "seen":
        run.seen(*given)
    elif name == "turn":
        sent, made, cost, model = given
        run.turn(sent, made, cost_usd=cost, model=model)
    elif name == "so_far":
        run.usage_so_far(*given)
    elif name == "wait":
        run.now += given[0]
    elif name in ("grant", "deny"):
        pending = run.book.pending
        if pending and name == "grant":
            run.grant(pending[0].call_id, scope=given[0], tool_input=given[1])
        elif pending:
            run.deny(pending[-1].call_id)
    else:
        getattr(run, name)()
    return None


@settings(max_examples=200, deadline=None)
@given(policy=_policies, steps=_steps)
def test_the_record_tells_what_was_known_after_every_step(policy, steps):
    run = Story(policy, pricing=PRICES)
    for step in steps:
        calls_before = run.state.n_calls
        ruling = _perform(run, step)
        run.check()
        _holds(run, policy)
        if ruling is not None:
            about = ruling.about_call
            assert isinstance(about, Allow | Deny | AskApproval)
            assert run.state.n_calls == calls_before + isinstance(about, Allow)
    json.dumps(run.evaluator.report(run.now))


def _holds(run, policy):
    keys = [one.key for one in run.state.violations]
    assert len(keys) == len(set(keys)), "each violation is told once"
    state, limits = run.state, policy.limits
    if policy.on_violation == "cancel" and not state.is_cancelled:
        assert limits.max_total_tokens is None or state.total_tokens <= limits.max_total_tokens
        assert limits.max_tool_calls is None or state.n_calls <= limits.max_tool_calls
        assert limits.max_cost_usd is None or run.evaluator.spent.cost_usd <= limits.max_cost_usd + 1e-9
