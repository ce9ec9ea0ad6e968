"""What schedules of flows have found, made small."""

from __future__ import annotations

import asyncio

import pytest

from asm_actors.journal.memory import MemoryStore
from asm_actors.providers.script import Script, stall, text, tool_call, usage
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.testing.flow_promises import FlowRules, flow_faults
from asm_actors.testing.system import SimulatedSystem
from asm_actors.tools.tool import tool

RULES = FlowRules(gated=("pay",))


class SlowToClose(ScriptedProvider):
    """Says something, and then nothing; closing its stream takes a second."""

    def __init__(self):
        super().__init__(Script(text("a"), stall()))
        self.n_open = 0

    async def stream(self, request):
        self.n_open += 1
        inner = super().stream(request)
        try:
            async for item in inner:
                yield item
        finally:
            await inner.aclose()
            await asyncio.sleep(1.0)
            self.n_open -= 1


@pytest.fixture
def provider():
    return SlowToClose()


@pytest.fixture
def slow(provider):
    """A system in which a run streams: the system, the session's id, the run's."""
    with SimulatedSystem(providers={"mock": provider}) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "Go.")
        sim.settle()
        yield sim, session.id, run.id
        sim.dispatcher.failures.clear()


@pytest.mark.parametrize("who", ["run", "session"])
def test_a_run_that_stands_still_since_a_crash_is_cancelled_when_its_stream_is_closed(slow, provider, who):
    sim, session_id, run_id = slow
    sim.manager.pause_run(run_id)
    sim.crash(sim.run_ref(run_id) if who == "run" else sim.session_ref(session_id))
    sim.settle()
    assert (sim.run(run_id).status, provider.n_open) == ("paused", 1)
    cancel = sim.operations.cancel_run(run_id)
    sim.settle()
    assert not cancel.is_available
    sim.advance(1.0)
    assert (cancel.get().status, provider.n_open) == ("cancelled", 0)


def test_a_stop_meanwhile_leaves_it_as_it_was(slow):
    sim, _, run_id = slow
    sim.manager.pause_run(run_id)
    sim.crash(sim.run_ref(run_id))
    sim.settle()
    sim.operations.cancel_run(run_id)
    sim.settle()
    sim.dispatcher.failures.clear()
    sim.restart(timeout=0.1)
    sim.settle()
    assert sim.run(run_id).status == "paused"
    assert flow_faults(sim.store) == []
    assert sim.store.verify().problems == ()
    sim.manager.cancel_run(run_id)


def test_a_run_without_a_start_on_record_waits_if_its_actor_crashes_in_a_paused_session():
    store = MemoryStore()
    with SimulatedSystem(store=store, script=Script(text("Hello"))) as sim:
        session = sim.active_session()
        for number in range(30):
            run = sim.operations.submit_run(session.id, f"Go {number}.")
            sim.steps(number)
            pause = sim.operations.pause_session(session.id)
            sim.steps(number % 7)
            for life in list(sim.dispatcher.lives):
                if type(life.actor).__name__ == "RunActor" and life.ref.is_alive():
                    sim.dispatcher.crash(life.ref, RuntimeError("injected"))
            sim.settle()
            assert (flow_faults(store), store.verify().problems) == ([], ())
            assert pause.get().status == "paused"
            sim.manager.resume_session(session.id)
            sim.advance(5.0)
            assert sim.run(run.get().id).status == "completed"
        sim.dispatcher.failures.clear()
        sim.check_promises()


class Shop:
    """A system whose model pays twice in one turn."""

    def __init__(self, **options):
        self.made = []

        @tool(requires_approval=True)
        async def pay(key: str) -> str:
            """Pay a bill."""
            self.made.append(key)
            return "paid"

        self.sim = SimulatedSystem(script=self._script, tools=[pay], **options)

    def _script(self, request):
        if request.turn > 1:
            return Script(text("Done."), usage(1, 1))
        return Script(text("See."), tool_call("a", "pay", {"key": "a"}), tool_call("b", "pay", {"key": "b"}))

    def run(self, session_id, **options):
        run = self.sim.manager.submit_run(session_id, "Go.", **options)
        self.sim.settle()
        return run.id

    def grant(self, run_id, *calls, **options):
        for call in calls:
            self.sim.manager.grant_approval(run_id, call, **options)
            self.sim.settle()


@pytest.mark.parametrize(
    ("action", "status", "made"),
    [
        ("cancel", "failed", ["a"]),
        ("request_approval", "completed", ["a", "b"]),
        ("warn", "completed", ["a", "b"]),
    ],
)
def test_calls_that_were_granted_together_do_not_get_past_a_limit_unseen(action, status, made):
    shop = Shop()
    with shop.sim as sim:
        policy = {"limits": {"max_tool_calls": 1}, "on_violation": action}
        run_id = shop.run(sim.active_session().id, policy=policy)
        shop.grant(run_id, "a", "b")
        assert (sim.run(run_id).status, shop.made) == (status, made)
        assert len([one for one in sim.types_of(run_id) if one == "policy_violation"]) == 1
        assert flow_faults(sim.store, RULES) == []


@pytest.mark.parametrize(
    ("action", "status"), [("cancel", "completed"), ("request_approval", "awaiting_approval")]
)
def test_what_was_granted_for_a_session_does_not_lift_what_a_later_run_is_forbidden(action, status):
    shop = Shop()
    with shop.sim as sim:
        session = sim.active_session()
        shop.grant(shop.run(session.id), "a", "b", scope="session")
        assert shop.made == ["a", "b"]
        policy = {"tool_rules": [("deny", ["pay"])], "on_violation": action}
        run_id = shop.run(session.id, policy=policy)
        assert (sim.run(run_id).status, shop.made) == (status, ["a", "b"])
        assert flow_faults(sim.store, RULES) == []
        sim.manager.cancel_run(run_id)
