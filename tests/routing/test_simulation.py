"""Routers in whole systems, under seeds: what the journal shows of them."""

from __future__ import annotations

import pytest

from asm_actors.config import Limits
from asm_actors.errors import ErrorCode
from asm_actors.providers.retry import RetryPolicy
from asm_actors.providers.script import Script, crash, fail, sleep, stall, text, tool_call
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.routing.breaker import BreakerState, CircuitBreaker
from asm_actors.routing.router import Router
from asm_actors.testing.system import SimulatedSystem
from asm_actors.tools.tool import tool

DOWN = Script(fail("provider_unavailable", "down"))
TERMINAL = {"run_completed", "run_failed", "run_cancelled"}
ONCE = RetryPolicy(max_attempts=1)


def flapping(seed, *, period=3):
    """Fails each ``period``-th call or so, in different ways, some of them in the middle of an answer."""
    ways = [
        Script(text("Hel"), fail("provider_unavailable")),
        DOWN,
        Script(sleep(2.0), fail("provider_rate_limited", retry_after=5.0)),
        Script(crash()),
        Script(sleep(1.0), text("slow answer", size=3)),
    ]
    calls = 0

    def script(request):
        nonlocal calls
        calls += 1
        if (calls * 7 + seed) % period == 0:
            return ways[(calls + seed) % len(ways)]
        return Script(text("answer", size=2))

    return ScriptedProvider(script)


@pytest.mark.parametrize("seed", range(12))
def test_each_run_ends_once_whatever_its_targets_do(seed):
    slow = ScriptedProvider(lambda request: Script(stall()) if seed % 2 else Script(sleep(3.0), text("late")))
    router = Router(
        {
            "a": flapping(seed),
            "b": flapping(seed + 1, period=2),
            "slow": {"provider": slow, "timeout": 10.0},
        },
        policy={"strategy": "random"},
        breaker=CircuitBreaker(failure_threshold=2, cooldown=20.0),
        cooldown=2.0,
        sticky=seed % 3 == 0,
        seed=seed,
    )
    limits = Limits(max_parallel_runs=5)
    with SimulatedSystem(seed=seed, providers={"router": router}, limits=limits) as sim:
        runs = [sim.manager.submit_run(sim.active_session().id, f"Hello {at}") for at in range(20)]
        sim.steps(100)
        cancels = [sim.operations.cancel_run(run.id) for run in runs[::6]]
        for _ in range(40):
            sim.advance(5.0)
        assert all(future.is_available for future in cancels)
        for run in runs:
            types = sim.types_of(run.id)
            assert len(TERMINAL.intersection(types)) == 1, types
            assert sum(kind in TERMINAL for kind in types) == 1
            if sim.run(run.id).status == "completed":
                way = sim.run(run.id).provider_metadata["routing"]
                assert way["attempts"][-1]["provider"] == way["routed_provider"]
        found = router.statistics()
        assert found.active_runs == {}
        for target in found.targets:
            assert target.in_flight == 0
            assert target.started == target.succeeded + target.failed + target.given_up
        sim.check_promises()


def test_a_failover_is_in_the_journal():
    router = Router({"a": ScriptedProvider(DOWN), "b": ScriptedProvider()})
    with SimulatedSystem(providers={"router": router}, retry=ONCE) as sim:
        run = sim.manager.submit_run(sim.active_session().id, "Hello")
        sim.settle()
        types = sim.types_of(run.id)
        assert types.count("error_occurred") == types.count("run_completed") == 1
        told = next(event for event in sim.events_of(run.id) if event.type == "error_occurred").data
        assert (told["failover_from"], told["routed_provider"], told["routing_attempt"]) == ("a", "b", 2)
        assert (told["error_code"], told["source"]) == ("provider_unavailable", "provider")
        metadata = sim.run(run.id).provider_metadata
        assert metadata["provider"] == "router"
        assert [tried["provider"] for tried in metadata["routing"]["attempts"]] == ["a", "b"]


def test_what_has_begun_is_not_asked_again():
    spare = ScriptedProvider()
    begun = Script(text("Hel"), fail("provider_unavailable", "lost"))
    router = Router({"a": ScriptedProvider(begun), "b": spare})
    with SimulatedSystem(providers={"router": router}) as sim:
        run = sim.manager.submit_run(sim.active_session().id, "Hello")
        sim.advance(100.0)
        assert sim.types_of(run.id)[-1] == "run_failed"
        assert (spare.calls, router.statistics().target("a").started) == (0, 1)
        failed = sim.run(run.id)
        assert failed.error["code"] == ErrorCode.PROVIDER_UNAVAILABLE
        assert failed.error["details"]["routing"]["attempts"][0]["provider"] == "a"


def test_a_run_that_finds_nobody_waits_until_somebody_is_back():
    router = Router({"a": ScriptedProvider([DOWN, Script(text("back"))])}, cooldown=60.0)
    with SimulatedSystem(providers={"router": router}) as sim:
        run = sim.manager.submit_run(sim.active_session().id, "Hello")
        sim.advance(59.0)
        assert not TERMINAL.intersection(sim.types_of(run.id))
        sim.advance(20.0)
        assert sim.run(run.id).output["content"] == "back"


def test_a_breaker_follows_the_simulation_s_clock():
    target = ScriptedProvider([DOWN, DOWN, Script(text("well"))])
    rules = CircuitBreaker(failure_threshold=2, cooldown=30.0)
    router = Router({"a": target, "b": ScriptedProvider()}, cooldown=0, breaker=rules)
    with SimulatedSystem(providers={"router": router}, retry=ONCE) as sim:
        session = sim.active_session()

        def answered_by():
            run = sim.manager.submit_run(session.id, "Hello")
            sim.settle()
            return sim.run(run.id).provider_metadata["routing"]["routed_provider"]

        def state():
            return router.statistics().target("a").breaker

        assert [answered_by(), answered_by(), state()] == ["b", "b", BreakerState.OPEN]
        sim.advance(29.0)
        assert [answered_by(), target.calls] == ["b", 2]
        sim.advance(1.0)
        assert state() is BreakerState.HALF_OPEN
        assert [answered_by(), state()] == ["a", BreakerState.CLOSED]


def test_sessions_are_sticky_for_their_time():
    router = Router({"a": ScriptedProvider([DOWN, Script(text("a"))]), "b": ScriptedProvider()}, sticky=True)
    with SimulatedSystem(providers={"router": router}, retry=ONCE) as sim:
        first, second = sim.active_session(), sim.active_session()

        def answered_by(session):
            run = sim.manager.submit_run(session.id, "Hello")
            sim.settle()
            return sim.run(run.id).provider_metadata["routing"]["routed_provider"]

        assert answered_by(first) == "b"
        sim.advance(60.0)
        assert [answered_by(first), answered_by(second)] == ["b", "a"]
        sim.advance(299.0)
        assert answered_by(first) == "b"
        sim.advance(300.0)
        assert answered_by(first) == "a"


def test_the_turns_of_a_run_with_tools_stay_with_one_target():
    @tool
    def look() -> str:
        """Look."""
        return "seen"

    scripts = [Script(tool_call("c1", "look")), Script(text("It is seen."))]
    router = Router(
        {"a": ScriptedProvider([DOWN, Script(text("a"))]), "b": ScriptedProvider(scripts, by="turn")},
        cooldown=0,
    )
    with SimulatedSystem(providers={"router": router}, retry=ONCE, tools=[look]) as sim:
        run = sim.manager.submit_run(sim.active_session().id, "Hello")
        sim.settle()
        assert sim.run(run.id).output["content"] == "It is seen."
        assert router.statistics().target("a").started == 1


def test_hints_of_a_run_and_malformed_ones():
    router = Router({"a": ScriptedProvider(), "b": ScriptedProvider()})
    with SimulatedSystem(providers={"router": router}) as sim:
        session = sim.active_session()
        hinted = sim.manager.submit_run(session.id, "Hello", adapter_opts={"routing": {"prefer": ["b"]}})
        wrong = sim.manager.submit_run(session.id, "Hello", adapter_opts={"routing": {"prefers": ["b"]}})
        sim.settle()
        assert sim.run(hinted.id).provider_metadata["routing"]["routed_provider"] == "b"
        assert sim.run(wrong.id).error["code"] == ErrorCode.VALIDATION_ERROR


def test_a_router_outlives_its_system():
    router = Router(
        {"a": ScriptedProvider(Script(text("x"), stall())), "b": ScriptedProvider()}, breaker=True
    )
    with SimulatedSystem(providers={"router": router}) as sim:
        run = sim.manager.submit_run(
            sim.active_session().id, "Hello", adapter_opts={"routing": {"prefer": ["a"]}}
        )
        sim.settle()
        sim.kill()
        sim.manager.cancel_run(run.id)
        sim.restart()
        session = sim.active_session()
        after = sim.manager.submit_run(session.id, "Hello", adapter_opts={"routing": {"prefer": ["b"]}})
        sim.settle()
        assert sim.types_of(after.id)[-1] == "run_completed"
        assert router.statistics().active_runs == {}
        sim.check_promises()
