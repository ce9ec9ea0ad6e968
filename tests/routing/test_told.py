"""What a system tells of its routers: in events, results, and its status."""

from __future__ import annotations

from asm_actors.providers.script import Script, fail, text, tool_call
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.providers.scripted_memory import RememberingProvider
from asm_actors.routing.router import Router
from asm_actors.testing.system import SimulatedSystem
from asm_actors.transcripts.continuation import can_continue_natively


def run_of(system, session, **options):
    made = system.operations.submit_run(session.id, "Hello", **options)
    system.settle()
    return system.run(made.get().id)


def test_the_end_of_a_run_and_of_each_turn_tell_who_answered():
    def look() -> str:
        """Look."""
        return "seen"

    first = ScriptedProvider(Script(fail("provider_unavailable", "down")))
    second = ScriptedProvider([Script(tool_call("c1", "look")), Script(text("done"))])
    router = Router({"first": first, "second": second})
    with SimulatedSystem(providers={"router": router}, tools=[look]) as system:
        run = run_of(system, system.active_session())
        told = {
            event.type: event.data
            for event in system.events_of(run.id)
            if event.type in ("turn_completed", "run_completed")
        }
        turn = told["turn_completed"]
        assert (turn["routed_provider"], turn["routing_attempt"]) == ("second", 2)
        assert turn["routing_candidates"] == ["first", "second"]
        assert (turn["failover_from"], turn["failover_reason"]) == ("first", "provider_unavailable")
        end = told["run_completed"]
        assert (end["routed_provider"], end["routing_attempt"]) == ("second", 1)
        assert "failover_from" not in end
        done = system.operations.await_run(run.id)
        system.settle()
        assert done.get().routing["routed_provider"] == "second"


def test_a_run_without_a_router_tells_of_none():
    with SimulatedSystem() as system:
        run = run_of(system, system.active_session())
        assert not any("routed_provider" in event.data for event in system.events_of(run.id))
        assert system.manager.status()["routers"] == {}


def test_the_status_of_a_system_has_the_statistics_of_its_routers():
    router = Router({"a": ScriptedProvider(Script(text("x")))})
    with SimulatedSystem(providers={"router": router, "plain": ScriptedProvider()}) as system:
        run_of(system, system.active_session(provider="router"))
        routers = system.manager.status()["routers"]
        assert list(routers) == ["router"]
        (target,) = routers["router"]["targets"]
        assert (target["name"], target["succeeded"]) == ("a", 1)


def test_a_router_keeps_no_conversation_though_its_targets_do():
    router = Router(
        {"a": RememberingProvider(Script(text("x"))), "b": RememberingProvider(Script(text("y")))}
    )
    assert not can_continue_natively(router.capabilities())
    with SimulatedSystem(providers={"router": router}) as system:
        session = system.active_session()
        run_of(system, session, continuation="auto")
        run = run_of(system, session, continuation="auto")
        assert run.details["continuation"]["used"] == "replay"


def test_targets_come_and_go_while_a_system_runs():
    router = Router({"a": ScriptedProvider(Script(text("from a")))})
    with SimulatedSystem(providers={"router": router}) as system:
        session = system.active_session()
        router.add("b", ScriptedProvider(Script(text("from b"))))
        router.remove("a")
        assert run_of(system, session).output["content"] == "from b"
