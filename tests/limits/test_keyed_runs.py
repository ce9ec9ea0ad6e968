"""Limits by agent, tenant and provider in whole systems: never exceeded at any step, and nobody is kept out."""

from __future__ import annotations

import random

import pytest

from asm_actors.config import Limits
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.script import Script, sleep, text
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.testing.system import SimulatedSystem

pytestmark = pytest.mark.usefixtures("_quiet_logs")


def starts(sim, runs):
    return {run.id: sim.run(run.id).started_us for run in runs}


@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_runs_over_twenty_keys_keep_within_every_limit_at_every_step(seed, watch):
    choose = random.Random(seed)
    agents = [f"agent{n}" for n in range(10)]
    tenants = [f"tenant{n}" for n in range(8)]
    providers = {name: ScriptedProvider(Script(sleep(0.5), text("x"))) for name in ("p", "q")}
    limits = Limits(
        max_parallel_sessions=None,
        max_parallel_runs=25,
        max_runs_per_agent={"agent0": 1, "agent1": None, "*": 4},
        max_runs_per_tenant=5,
        max_runs_per_provider={"p": 15},
        max_queued_runs=None,
        max_concurrent_runs=2,
    )
    with SimulatedSystem(seed, providers=providers, limits=limits, on_step=watch) as sim:
        watch.system = sim
        sessions = [
            sim.active_session(agent, tags=[f"tenant:{choose.choice(tenants)}"], provider=choose.choice("pq"))
            for agent in agents * 4
        ]
        for _ in range(1_000):
            priority = choose.choice((0, 0, 0, 1, 2))
            sim.operations.submit_run(choose.choice(sessions).id, "x", priority=priority)
            if choose.random() < 0.2:
                sim.steps(choose.randrange(40))
        for _ in range(400):
            sim.advance(0.5)
            if not sim.services.directory.runs:
                break
        done = [run for session in sessions for run in sim.store.runs(session.id)]
        assert len(done) == 1_000
        assert {run.status for run in done} == {"completed"}
        sim.check_promises()
    assert watch.peaks["runs"] == 25
    assert watch.peaks["agent", "agent0"] == 1
    assert watch.peaks["agent", "agent2"] == 4
    assert watch.peaks["provider", "p"] == 15


def test_a_full_agent_keeps_no_other_agent_waiting():
    limits = Limits(max_runs_per_agent={"busy": 1})
    with SimulatedSystem(script=Script(sleep(1), text("x")), limits=limits) as sim:
        busy = [sim.active_session("busy") for _ in range(3)]
        other = sim.active_session("other")
        runs = [sim.manager.submit_run(session.id, "x") for session in (*busy, other)]
        sim.settle()
        assert [started is not None for started in starts(sim, runs).values()] == [True, False, False, True]
        status = sim.manager.status()
        assert status["pools"]["runs"]["agent:busy"]["waiting"] == 2
        assert status["waiting_runs"] == 2
        sim.advance(2.5)
        sim.settle()
        started = list(starts(sim, runs[:3]).values())
        assert started == sorted(started)
        assert len(set(started)) == 3
        sim.check_promises()


def test_a_tenant_is_one_over_all_its_agents():
    limits = Limits(max_runs_per_tenant=1, tenant_tag_prefix="org:")
    with SimulatedSystem(script=Script(sleep(1), text("x")), limits=limits) as sim:
        sessions = [sim.active_session(agent, tags=["org:acme"]) for agent in "ab"]
        sessions.append(sim.active_session("a", tags=["org:zeta"]))
        runs = [sim.manager.submit_run(session.id, "x") for session in sessions]
        sim.settle()
        assert [started is not None for started in starts(sim, runs).values()] == [True, False, True]


def test_a_run_counts_for_the_provider_that_executes_it():
    providers = {name: ScriptedProvider(Script(sleep(1), text("x"))) for name in "pq"}
    with SimulatedSystem(providers=providers, limits=Limits(max_runs_per_provider={"q": 1})) as sim:
        sessions = [sim.active_session(provider="p") for _ in range(3)]
        runs = [sim.manager.submit_run(session.id, "x", provider="q") for session in sessions[:2]]
        runs.append(sim.manager.submit_run(sessions[2].id, "x"))
        sim.settle()
        assert [started is not None for started in starts(sim, runs).values()] == [True, False, True]


def test_the_crash_of_a_run_and_of_a_session_frees_all_its_slots():
    limits = Limits(max_runs_per_agent=1)
    with SimulatedSystem(script=Script(sleep(1), text("x")), limits=limits) as sim:
        first, second = sim.active_session("a"), sim.active_session("a")
        run = sim.manager.submit_run(first.id, "x", on_restart="fail")
        other = sim.manager.submit_run(second.id, "x")
        sim.settle()
        sim.crash(sim.run_ref(run.id))
        sim.settle()
        assert sim.run(run.id).status == "failed"
        assert sim.run(other.id).started_us is not None
        sim.check_promises()


# --- Sessions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "field", "whose"),
    [
        ({"max_sessions_per_agent": 1}, "max_sessions_per_agent", "of agent 'a'"),
        ({"max_sessions_per_tenant": {"acme": 1}}, "max_sessions_per_tenant", "of tenant 'acme'"),
        ({"max_parallel_sessions": 1}, "max_parallel_sessions", "sessions are"),
    ],
)
def test_one_session_more_than_may_be_active_is_told_which_limit_and_what_to_raise(limits, field, whose):
    with SimulatedSystem(limits=Limits(**limits)) as sim:
        first = sim.active_session("a", tags=["tenant:acme"])
        second = sim.manager.start_session(agent_id="a", tags=["tenant:acme"])
        with pytest.raises(AsmError) as caught:
            sim.manager.activate_session(second.id)
        error = caught.value
        assert error.code is ErrorCode.MAX_SESSIONS_EXCEEDED
        for part in (f"limits.{field} (1)", whose, f"raise {field}", "1 sessions"):
            assert part in error.message
        assert error.details["in_use"] == 1
        sim.manager.complete_session(first.id)
        assert sim.manager.activate_session(second.id).status == "active"
        sim.check_promises()


def test_sessions_of_other_keys_are_active_all_the_same():
    limits = Limits(max_sessions_per_agent={"a": 1}, max_parallel_sessions=3)
    with SimulatedSystem(limits=limits) as sim:
        sim.active_session("a")
        sim.active_session("b")
        sim.active_session("b")
        status = sim.manager.status()
        assert (status["active_sessions"], status["available_session_slots"]) == (3, 0)
        assert status["pools"]["sessions"]["agent:a"]["in_use"] == 1
        assert "agent:b" not in status["pools"]["sessions"]


@pytest.mark.parametrize("how", ["kill", "restart", "crash"])
def test_after_a_restart_sessions_take_their_slots_of_all_pools_again(how, watch):
    limits = Limits(max_sessions_per_agent=2, max_runs_per_agent=1)
    with SimulatedSystem(script=Script(sleep(1), text("x")), limits=limits, on_step=watch) as sim:
        watch.system = sim
        sessions = [sim.active_session("a") for _ in range(2)]
        runs = [sim.manager.submit_run(session.id, "x") for session in sessions]
        sim.settle()
        if how == "crash":
            sim.crash(sim.services.whereis("slots:sessions"))
        else:
            sim.kill() if how == "kill" else sim.restart(drain=False)
        sim.settle()
        third = sim.manager.start_session(agent_id="a")
        with pytest.raises(AsmError, match="max_sessions_per_agent"):
            sim.manager.activate_session(third.id)
        for _ in range(8):
            sim.advance(1.0)
        assert [sim.run(run.id).status for run in runs] == ["completed"] * 2
        sim.check_promises()
