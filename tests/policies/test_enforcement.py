"""Policies as runs meet them: enforced outside the model, on record, and the same after a restart."""

from __future__ import annotations

import pytest

import asm_actors as asm
from asm_actors.capabilities.manifest import Manifest
from asm_actors.errors import AsmError
from asm_actors.providers.script import Script, done, stall, text, tool_call, tool_result, usage
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.testing.system import SimulatedSystem

SEND = ((("send", "a"), ("look", "b")),)
LONG = ((("look", "a"),), (("look", "b"),), (("look", "c"),))


def ended(found):
    """How the run ended: its status and code."""
    return found.status, (found.run.error or {}).get("code")


VIOLATED = ("failed", "policy_violation")


def metrics(found):
    return [data["details"]["metric"] for data in found.data("policy_violation")]


# --- Rules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [("deny", ["send"]), ("allow", ["look"])], ids=str)
def test_a_call_that_a_rule_forbids_is_not_made_and_the_model_is_told(world, rule):
    found = world(turns=SEND).start(policy={"name": "quiet", "tool_rules": [rule]})
    assert (found.made, found.status) == (["look b"], "completed")
    assert found.outputs()["c1"] == ("policy quiet does not allow the tool send", True)
    (told,) = found.data("policy_violation")
    assert (told["kind"], told["action"], told["details"]["tool_name"]) == ("tool_denied", "deny", "send")
    assert found.data("tool_call_failed")[0]["error"]["code"] == "tool_permission_denied"


def test_or_the_run_ends_before_any_call_of_that_turn_begins(world):
    policy = {"tool_rules": [("deny", ["send"])], "on_denied": "fail"}
    found = world(turns=((("look", "b"), ("send", "a")),)).start(policy=policy)
    assert ended(found) == VIOLATED
    assert found.made == []
    started = {data["tool_call_id"]: data["attempt"] for data in found.data("tool_call_started")}
    assert started == {"c2": 0}


def test_or_somebody_is_asked(world):
    policy = {"name": "ask", "tool_rules": [("deny", ["send"])], "on_violation": "request_approval"}
    found = world(turns=SEND).start(policy=policy)
    (asked,) = found.data("tool_approval_requested")
    assert (asked["policy_name"], asked["violation_kind"]) == ("ask", "tool_denied")
    assert (found.made, len(found.data("policy_violation"))) == (["look b"], 1)
    found.grant(scope="run")
    assert (found.made, found.status) == (["look b", "send a"], "completed")


def test_or_it_is_only_told(world):
    policy = {"tool_rules": [("deny", ["send"])], "on_violation": "warn"}
    found = world(turns=SEND).start(policy=policy)
    assert (sorted(found.made), found.status) == (["look b", "send a"], "completed")
    report = found.run.details["policy"]
    assert (report["policy"], report["action"], report["violated"]) == ("default", "warn", True)
    assert [one["kind"] for one in report["violations"]] == ["tool_denied"]
    assert report["metadata"] == {"warnings": []}


def test_the_tightest_of_system_session_and_run_counts(world):
    found = world(turns=LONG, policy=asm.Policy(name="house", limits={"max_tool_calls": 2}))
    session = found.sim.active_session(policy={"name": "room", "limits": {"max_tool_calls": 9}})
    run = found.sim.manager.submit_run(
        session.id, "Go.", policies=[{"name": "mine", "limits": {"max_turns": 9}}]
    )
    found.run_id = run.id
    found.sim.settle()
    assert ended(found) == VIOLATED
    assert found.run.error["details"]["policy"] == "house + room + mine"
    assert found.data("policy_violation")[0]["details"]["policies"] == ["house"]


def test_a_run_without_a_policy_says_nothing_of_any(world):
    found = world(turns=SEND).start()
    assert "policy" not in found.run.details
    assert found.data("policy_violation") == []


# --- Limits ------------------------------------------------------------------------------------------------------

LIMITS = {
    "tool_calls": ({"max_tool_calls": 2}, ["look a", "look b"]),
    "turns": ({"max_turns": 2}, ["look a"]),
    "total_tokens": ({"max_total_tokens": 31}, ["look a", "look b"]),
}


@pytest.mark.parametrize(("metric", "limits", "made"), [(name, *found) for name, found in LIMITS.items()])
def test_a_limit_that_is_exceeded_ends_the_run(world, metric, limits, made):
    found = world(turns=LONG).start(policy={"limits": limits})
    assert ended(found) == VIOLATED
    assert (metrics(found), found.made) == ([metric], made)
    details = found.run.error["details"]
    assert [one["details"]["metric"] for one in details["violations"]] == [metric]
    assert found.sim.types_of(found.run_id)[-1] == "run_failed"


@pytest.mark.parametrize(("metric", "limits", "made"), [(name, *found) for name, found in LIMITS.items()])
def test_what_was_used_counts_through_restarts(world, metric, limits, made):
    found = world(turns=LONG, max_recoveries=99)
    found.held.update("abc")
    found.start(policy={"limits": limits})
    for _ in range(4):
        found.kill()
    found.gate.open()
    found.held.clear()
    found.kill()
    assert ended(found) == VIOLATED
    assert (metrics(found), sorted(set(found.made))) == ([metric], made)


def test_parallel_calls_count_one_after_the_other(world):
    found = world(turns=((("look", "a"), ("look", "b"), ("look", "c")),))
    found.start(policy={"limits": {"max_tool_calls": 2}})
    assert (ended(found), found.made) == (VIOLATED, [])
    assert [data["attempt"] for data in found.data("tool_call_started")] == [0]


def test_a_limit_that_is_exceeded_can_be_lifted(world):
    policy = {"limits": {"max_tool_calls": 1}, "on_violation": "request_approval"}
    found = world(turns=LONG).start(policy=policy)
    (asked,) = found.data("tool_approval_requested")
    assert (asked["tool_call_id"], asked["lifts"]) == ("c2", ["tool_calls"])
    found.grant("c2")
    assert found.pending == ["c3"]
    found.kill()
    found.grant("c3", scope="run")
    assert (found.made, found.status) == (["look a", "look b", "look c"], "completed")


def test_a_budget_that_is_spent_pauses_and_asks_at_the_next_call(world):
    policy = {"limits": {"max_total_tokens": 20}, "on_violation": "request_approval"}
    found = world(turns=LONG).start(policy=policy)
    assert (found.made, found.pending, found.status) == (["look a"], ["c2"], "awaiting_approval")
    assert found.data("tool_approval_requested")[0]["lifts"] == ["total_tokens"]
    found.grant("c2", scope="run")
    assert found.status == "completed"
    assert metrics(found) == ["total_tokens"]


def test_one_that_is_exceeded_by_the_last_turn_ends_the_run_whatever_that_said(world):
    found = world(turns=()).start(policy={"limits": {"max_total_tokens": 14}})
    assert ended(found) == VIOLATED
    assert found.run.token_usage == {"input_tokens": 10, "output_tokens": 5}
    assert found.run.output == {"content": "Done.", "partial": True}


def test_max_turns_of_the_run_goes_on_working(world):
    found = world(turns=LONG).start(max_turns=2)
    assert ended(found) == VIOLATED
    assert found.run.error["details"]["limit"] == "max_turns"


# --- While it streams --------------------------------------------------------------------------------------------


class Streaming:
    """A run whose provider says so much and then waits."""

    def __init__(self, *said, policy, resumes=(), **options):
        self.sim = SimulatedSystem(script=Script(*said, stall(), *resumes), **options)
        self.sim.__enter__()
        session = self.sim.active_session()
        self.run_id = self.sim.manager.submit_run(session.id, "Go.", policy=policy).id
        self.sim.settle()

    run = property(lambda self: self.sim.run(self.run_id))
    status = property(lambda self: self.run.status.value)

    def data(self, kind):
        return [event.data for event in self.sim.events_of(self.run_id) if event.type.value == kind]


@pytest.fixture
def streaming():
    made = []

    def make(*said, **options):
        made.append(Streaming(*said, **options))
        return made[-1]

    yield make
    for found in made:
        found.sim.manager.cancel_run(found.run_id)
        found.sim.check_promises()
        found.sim.__exit__(None, None, None)


def test_tokens_are_looked_at_while_they_stream_and_the_stream_is_closed(streaming):
    found = streaming(text("so much "), usage(10, 90), policy={"limits": {"max_total_tokens": 50}})
    assert ended(found) == VIOLATED
    assert metrics(found) == ["total_tokens"]
    assert found.run.output == {"content": "so much ", "partial": True}
    assert found.data("run_failed")[0]["partial_content"] is True
    assert found.run.token_usage == {"input_tokens": 10, "output_tokens": 90}


def test_money_is_what_the_table_says(streaming):
    found = streaming(
        text("dear "),
        usage(10, 90),
        policy={"limits": {"max_cost_usd": 0.5}},
        pricing={"mock": {"input": 0.001, "output": 0.01}},
    )
    assert ended(found) == VIOLATED
    assert metrics(found) == ["cost_usd"]


def test_without_rates_a_limit_in_dollars_is_a_warning(world):
    found = world(turns=()).start(policy={"limits": {"max_cost_usd": 0.5}})
    assert found.status == "completed"
    metadata = found.run.details["policy"]["metadata"]
    assert metadata["cost_supported"] is False
    assert metadata["warnings"][0]["warning"] == "missing_cost_rates"


def test_what_the_provider_says_of_its_last_turn_counts():
    script = Script(text("dear"), usage(1, 1), done(cost_usd=2.0))
    with SimulatedSystem(script=script) as sim:
        session = sim.active_session()
        with pytest.raises(AsmError) as caught:
            run = sim.manager.start_run(session.id, "Go.", policy={"limits": {"max_cost_usd": 1}})
            sim.manager.execute_run(run.id)
        assert caught.value.code == "policy_violation"


def test_time_has_a_timer_and_holds_after_a_restart(streaming):
    found = streaming(text("slowly "), policy={"limits": {"max_duration_ms": 60_000}})
    found.sim.advance(40.0)
    found.sim.kill()
    found.sim.advance(19.0)
    assert found.status == "running"
    found.sim.advance(2.0)
    assert (ended(found), metrics(found)) == (VIOLATED, ["duration_ms"])
    assert len(found.data("run_failed")) == 1


@pytest.mark.parametrize(
    ("policy", "kind"),
    [
        ({"tool_rules": [("deny", ["bash"])]}, "tool_denied"),
        ({"tool_rules": [("ask", ["bash"])]}, "approval_required"),
    ],
    ids=str,
)
def test_a_call_that_the_provider_made_by_itself_ends_the_run_and_says_so(streaming, policy, kind):
    found = streaming(tool_call("b1", "bash", {}), tool_result("b1", "bash", "ls"), policy=policy)
    assert ended(found) == VIOLATED
    (told,) = found.data("policy_violation")
    assert (told["kind"], told["details"]["seen_afterwards"]) == (kind, True)


def test_a_run_that_was_about_to_end_by_its_policy_ends_after_a_crash(streaming):
    found = streaming(text("well "), policy={"limits": {"max_duration_ms": 1_000}})
    found.sim.dispatcher.clock.advance(2.0)
    while not found.data("policy_violation") and found.sim.dispatcher.step():
        pass
    found.sim.kill()
    found.sim.settle()
    assert (ended(found), metrics(found)) == (VIOLATED, ["duration_ms"])


# --- Before it begins --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "check"),
    [
        ({"tool_rules": [("allow", [])]}, "empty_allow_list"),
        ({"limits": {"max_turns": 0}}, "zero_budget"),
        ({"tool_rules": [("allow", ["a"]), ("deny", ["a"])]}, "contradictory_rules"),
    ],
    ids=str,
)
def test_a_policy_with_which_nothing_can_go_well_ends_the_run_and_the_provider_is_not_called(
    world, policy, check
):
    found = world(turns=SEND).start(policy=policy)
    assert ended(found) == VIOLATED
    assert found.run.error["details"]["check"] == check
    assert found.sim.types_of(found.run_id) == ["message_sent", "run_started", "run_failed"]
    assert found.told is None


# --- What the provider is told -----------------------------------------------------------------------------------


class Honouring(ScriptedProvider):
    """Keeps to some hints, and remembers the options it was given."""

    def __init__(self, *honours):
        super().__init__(self._script)
        self.honours, self.options = honours, None

    def capabilities(self):
        manifest = super().capabilities()
        config = {**manifest.config, "honours": list(self.honours)}
        return Manifest.new(
            manifest.name, manifest.version, config=config, capabilities=manifest.capabilities
        )

    def _script(self, request):
        self.options = dict(request.options)
        return Script(text("Done."))


@pytest.mark.parametrize(
    ("policy", "options"),
    [
        ({"tool_rules": [("deny", ["bash"])]}, {"denied_tools": ["bash"], "max_tokens": 9}),
        ({"limits": {"max_total_tokens": 5, "max_turns": 3}}, {"max_tokens": 5}),
        ({"tool_rules": [("deny", ["bash"])], "on_violation": "request_approval"}, {"max_tokens": 9}),
    ],
    ids=str,
)
def test_hints_that_a_provider_keeps_to_are_in_its_options(policy, options):
    provider = Honouring("denied_tools", "max_tokens")
    with SimulatedSystem(providers={"mock": provider}) as sim:
        session = sim.active_session()
        sim.manager.submit_run(session.id, "Go.", policy=policy, adapter_opts={"max_tokens": 9})
        sim.settle()
    assert provider.options == options


def test_a_provider_that_keeps_to_none_gets_none():
    provider = Honouring()
    with SimulatedSystem(providers={"mock": provider}) as sim:
        session = sim.active_session()
        sim.manager.submit_run(session.id, "Go.", policy={"limits": {"max_turns": 3}})
        sim.settle()
    assert provider.options == {}
