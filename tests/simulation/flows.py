"""One seeded scenario of flows: approvals, pauses, cancels and budgets in a small system that fails in places.

It goes through the same lives as `tests.simulation.scenario`. What is looked at besides stands in
`asm_actors.testing.flow_promises`, and in what tools and providers see themselves (`tests.simulation.flow_world`).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from asm_actors.config import Limits
from asm_actors.policies.policy import Policy
from asm_actors.providers.retry import RetryPolicy
from asm_actors.runs.run import RunStatus
from asm_actors.runs.unfinished import ENDING
from asm_actors.services import session_name
from asm_actors.sessions.actor import SessionActor
from asm_actors.sessions.open_runs import Phase
from asm_actors.sessions.session import SessionStatus
from asm_actors.sessions.state import SessionState
from asm_actors.testing.flow_promises import FlowRules, flow_faults
from asm_actors.testing.promises import journal_faults, live_faults
from asm_actors.testing.system import SimulatedSystem
from tests.simulation.chaos import Chaos
from tests.simulation.flow_callers import draw_flow_callers, draw_policy
from tests.simulation.flow_world import GATED, RATES, FlowPlayer, FlowWorld
from tests.simulation.readers import Reader
from tests.simulation.scenario import Outcome, Scenario

_LATE_S = 3.0
"""The clock is moved by hand, up to half a second at a time, and disks take their time: what is due waits for that."""
_ROUNDS = 40
"""Rounds in which all questions are answered, and all pauses ended; more than any run has questions."""


class FlowChaos(Chaos):
    """Also looks, as steps go by, whether a session has more runs under way than it may."""

    def _check_slots(self) -> None:
        super()._check_slots()
        sim = self.world.sim
        for life in () if sim is None else tuple(sim.dispatcher.lives):
            if type(life.actor) is SessionActor:
                self._check_session(life.actor.state)

    def _check_session(self, state: SessionState) -> None:
        # One that is only to be ended gets an actor for that at once.
        ending = [
            entry
            for entry in state.open.values()
            if entry.stopping is not None or ENDING in entry.run.details
        ]
        n_started = sum(entry.phase is Phase.STARTED for entry in state.open.values() if entry not in ending)
        if state.max_concurrent is not None and n_started > state.max_concurrent:
            self.world.fault(
                f"{n_started} runs of {state.session.id} are under way, of {state.max_concurrent}"
            )


class FlowScenario(Scenario):
    """See the module.

    Args:
        seed: Chooses everything.
        folder: Where runs with files work; None: there are none.
    """

    world: FlowWorld

    def __init__(self, seed: int, folder: Path | None = None) -> None:
        self.world = world = FlowWorld(seed, folder)
        self.rng = rng = world.random("scenario")
        self.chaos = FlowChaos(world, world.random("chaos"))
        self.limits = Limits(
            max_parallel_sessions=rng.choice((2, 3, 4, None)),
            max_parallel_runs=rng.choice((1, 2, 3, None)),
            max_concurrent_runs=rng.randint(1, 2),
            max_queued_runs=rng.randint(0, 3),
            max_runs_per_agent=rng.choice((None, None, 1)),
            max_runs_per_tenant=rng.choice((None, None, {"0": 1, "*": 2})),
            max_runs_per_provider=rng.choice((None, None, 2)),
            max_run_starts_per_second=rng.choice((None, None, None, 5.0)),
        )
        self.players = {name: FlowPlayer(world, name) for name in ("first", "second")}
        world.store.streaming = lambda run_id: any(
            run_id in player.streaming for player in self.players.values()
        )
        policy = draw_policy(world.random("policy")) if rng.random() < 0.15 else None
        self.policy = None if policy is None else Policy.from_map(policy).to_map()
        rates = {"default": {"input": RATES[0], "output": RATES[1]}}
        self.sim = world.sim = SimulatedSystem(
            seed,
            providers=self.players,
            limits=self.limits,
            store=world.store,
            retry=RetryPolicy(max_attempts=3),
            patience=3.0,
            linger=world.random("linger").choice((None, 0.02, 0.3, 1.5)),
            on_step=self.chaos.on_step,
            tools=world.tools(),
            max_recoveries=rng.choice((1, 3, 50)),
            policy=policy,
            pricing={"first": rates, "second": rates},
        )
        self.sim.clock = world.clock
        self.readers = [Reader(world, "reader-1")]
        self.tasks: list[asyncio.Task[Any]] = []
        self.steps = 0

    def _callers(self, prefix: str, least: int, most: int) -> list[Any]:
        return draw_flow_callers(self.world, self.rng, prefix, least, most)

    def _kill(self) -> None:
        super()._kill()
        self.world.killed()

    def _check_journal(self) -> None:
        store = self.world.store
        store.open()
        self.world.faults += journal_faults(store)
        self.world.faults += store.verify().problems
        self.world.faults += flow_faults(store, FlowRules(self.policy, GATED, RATES))
        store.close()

    def _check_calm(self) -> None:
        """All timers that were to fire have: what is still open waits for somebody."""
        world, sim = self.world, self.sim
        now_us = sim.services.now_us()
        rules = FlowRules(self.policy, GATED, RATES, _LATE_S)
        late = flow_faults(world.store, rules, now_us)
        world.faults += [fault for fault in late if "is long over" in fault]
        self._spawn("finisher", self._finish_flows())
        for _ in range(3 * _ROUNDS):
            if self.tasks[-1].done():
                break
            sim.advance(2.0)
        sim.settle()
        world.faults += live_faults(sim.services)
        for run in world.store.open_runs():
            if self._is_stuck(run):
                world.fault(f"{run.id} should have ended by itself: {run}")

    def _is_stuck(self, run: Any) -> bool:
        has_begun = run.status is not RunStatus.PENDING or run.options.get("submitted")
        return bool(has_begun) and not self._may_be_open(run)

    def _may_be_open(self, run: Any) -> bool:
        """Whether a run is one that never ends, waits behind one, or is of a session that has no slot now."""
        store, services = self.world.store, self.sim.services
        if any(isinstance(one.input, dict) and one.input.get("end") == "stall" for one in store.open_runs()):
            return True
        actor = services.whereis(session_name(run.session_id))
        is_active = store.session(run.session_id).status is SessionStatus.ACTIVE
        return not is_active or actor is None or not actor.life.actor.state.holds_slot

    async def _finish_flows(self) -> None:
        """Answer all questions, and have all go on that stands still."""
        world, store = self.world, self.world.store
        for number in range(_ROUNDS):
            pending = await world.ask("finisher", "pending_approvals")
            paused = [run for run in store.open_runs() if run.details.get("pause", {}).get("scope") == "run"]
            sessions = [one for one in store.open_sessions() if one.status is SessionStatus.PAUSED]
            for session in sessions:
                await world.ask("finisher", "resume_session", session.id)
            for run in paused:
                await world.ask("finisher", "resume_run", run.id)
            for asked in pending or ():
                what = "grant_approval" if number % 3 else "deny_approval"
                await world.ask("finisher", what, asked.run_id, asked.call_id)
            if number > 5 and not (pending or paused or any(map(self._is_stuck, store.open_runs()))):
                break
            await asyncio.sleep(2.0)


def play_flows(seed: int, folder: Path | None = None) -> Outcome:
    """Play the scenario of a seed."""
    return FlowScenario(seed, folder).run()
