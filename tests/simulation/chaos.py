"""What goes wrong in a scenario: actors crash and are killed at any step, the disk is slow or full."""

from __future__ import annotations

import random
from typing import Any

from asm_actors.journal.actor import JournalActor
from asm_actors.journal.subscriber import SubscriptionActor
from asm_actors.providers.actor import ProviderActor
from asm_actors.runs.actor import RunActor
from asm_actors.sessions.actor import SessionActor
from asm_actors.sessions.supervisor import SessionsSupervisor
from supervisors import DynamicSupervisor, SlotPool
from tests.simulation.world import Injected, World

# A root that restarts its children more than three times a minute gives up, as it should: so what stands directly
# below it is hit seldom, and what stands below that often.
_WEIGHTS: dict[type[Any], int] = {
    SessionActor: 8,
    RunActor: 10,
    SubscriptionActor: 8,
    ProviderActor: 6,
    SlotPool: 1,
    JournalActor: 2,
    SessionsSupervisor: 1,
    DynamicSupervisor: 1,
}
_KILLS = 0.35


class Chaos:
    """Decides before each step whether something goes wrong.

    Args:
        world: The scenario.
        rng: Its choices.

    Attributes:
        mean_gap: Steps between two mishaps, on average; 0 for none.
        n_done: How many there were.
    """

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.mean_gap = 0.0
        self.most = 0
        self.n_done = 0
        self._next = 0
        self._n_steps = 0

    def begin(self, mean_gap: float, most: int) -> None:
        """Let things go wrong from now on."""
        self.mean_gap, self.most = mean_gap, self.n_done + most
        self._plan_next()

    def end(self) -> None:
        """Let all go well from now on."""
        self.mean_gap = 0.0
        self.world.store.refuses_until = 0.0
        self.world.store.delay_s = 0.0

    def _plan_next(self) -> None:
        self._next = self._n_steps + 1 + int(self.rng.expovariate(1 / self.mean_gap))

    def on_step(self, dispatcher: Any) -> None:
        """Called before each step of the simulation."""
        self._n_steps += 1
        if not self._n_steps % 16:
            self._check_slots()
        if not self.mean_gap or self._n_steps < self._next or self.n_done >= self.most:
            return
        self._plan_next()
        self.n_done += 1
        if self.rng.random() < 0.15:
            self._trouble_the_disk()
        else:
            self._hit(dispatcher)

    def _trouble_the_disk(self) -> None:
        rng, store, clock = self.rng, self.world.store, self.world.clock
        if rng.random() < 0.3:
            store.delay_s = rng.choice((0.0, 0.002, 0.1))
            self.world.log.note("disk", "takes", store.delay_s)
        else:
            seconds = rng.choice((0.01, 0.2, 1.0, 6.0))
            store.refuses_until = clock.monotonic() + seconds
            store.lies = rng.random() < 0.3
            self.world.log.note("disk", "lies for" if store.lies else "is full for", seconds)

    def _hit(self, dispatcher: Any) -> None:
        victims = [
            life
            for life in dispatcher.lives
            if type(life.actor) in _WEIGHTS and life.ref.is_alive() and life.parent is not None
        ]
        if not victims:
            return
        kinds = sorted({type(life.actor) for life in victims}, key=lambda kind: kind.__name__)
        kind = self.rng.choices(kinds, [_WEIGHTS[kind] for kind in kinds])[0]
        ref = self.rng.choice([life for life in victims if type(life.actor) is kind]).ref
        of = getattr(ref.life.actor, "_id", getattr(ref.life.actor, "_name", ""))
        if kind is RunActor:
            of = ref.life.actor.state.run.id
        # A provider that is killed cannot close its streams first, so it only crashes.
        if kind is not ProviderActor and self.rng.random() < _KILLS:
            self.world.log.note("chaos", "kills", kind.__name__, of)
            ref.kill()
        else:
            self.world.log.note("chaos", "crashes", kind.__name__, of)
            dispatcher.crash(ref, Injected(f"of {kind.__name__}"))

    def _check_slots(self) -> None:
        sim = self.world.sim
        if sim is None or getattr(sim, "system", None) is None:
            return
        for name in ("slots:sessions", "slots:runs"):
            pool = sim.services.whereis(name)
            actor = None if pool is None else pool.life.actor
            if actor is None:
                continue
            for numbers in actor.statistics().values():
                if numbers.limit is not None and numbers.in_use > numbers.limit:
                    self.world.fault(f"{numbers.in_use} slots of {name} are in use, of {numbers.limit}")
