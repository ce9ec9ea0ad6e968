"""One seeded scenario: a small busy system that fails in places, is stopped or killed, and is started again.

busy ── callers, readers, crashes, a bad disk ──> stopped: plain, drained, cancelled, or killed
  ^                                                 │
  └── up to twice, on the same journal ─────────────┘──> calm: nothing fails any more, all is ended ──> checked
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pykka
from attrs import field, frozen

from asm_actors.config import Limits
from asm_actors.journal.query import EventFilter
from asm_actors.providers.retry import RetryPolicy
from asm_actors.testing.promises import journal_faults, live_faults
from asm_actors.testing.system import SimulatedSystem
from tests.simulation.callers import draw_callers
from tests.simulation.chaos import Chaos
from tests.simulation.order import liveness_faults, order_faults
from tests.simulation.players import Player
from tests.simulation.readers import Reader
from tests.simulation.world import World, guarded

_ENDS = ("plain", "plain", "drain", "cancel", "kill", "kill")
_PATIENCE_S = 300.0
"""Simulated seconds after which an answer that should come is missing."""
_MAX_STEPS = 30_000
"""Ten times what a whole scenario takes: something that goes on for longer goes on for ever."""
_CALM_S = 120.0
"""Simulated seconds in which whatever can end by itself does: longer than retries, back-off and patience together."""


@frozen
class Outcome:
    """What came of a scenario.

    Attributes:
        seed: Its seed.
        faults: One sentence per broken promise.
        lines: What was done, readable.
        journal: All events and records, for comparison.
        steps: Steps of the simulation.
    """

    seed: int
    faults: tuple[str, ...]
    lines: tuple[str, ...] = field(repr=False)
    journal: tuple[Any, ...] = field(repr=False)
    steps: int

    def __str__(self) -> str:
        return "\n".join([f"seed {self.seed}", *self.lines, "", "Broken:", *self.faults])


class Scenario:
    """See the module.

    Args:
        seed: Chooses everything.
    """

    def __init__(self, seed: int) -> None:
        self.world = world = World(seed)
        self.rng = rng = world.random("scenario")
        self.chaos = Chaos(world, world.random("chaos"))
        self.limits = Limits(
            max_parallel_sessions=rng.choice((1, 2, 3, 3, 4)),
            max_parallel_runs=rng.randint(1, 3),
            max_concurrent_runs=rng.randint(1, 2),
            max_queued_runs=rng.randint(0, 3),
        )
        self.players = {name: Player(world, name) for name in ("first", "second")}
        world.store.streaming = lambda run_id: any(
            run_id in player.streaming for player in self.players.values()
        )
        self.sim = world.sim = SimulatedSystem(
            seed,
            providers=self.players,
            limits=self.limits,
            store=world.store,
            retry=RetryPolicy(max_attempts=3),
            patience=3.0,
            linger=world.random("linger").choice((None, 0.02, 0.3, 1.5)),
            on_step=self.chaos.on_step,
        )
        self.sim.clock = world.clock
        self.readers = [Reader(world, f"reader-{index}") for index in range(1, rng.randint(1, 3) + 1)]
        self.tasks: list[asyncio.Task[Any]] = []
        self.steps = 0

    def run(self) -> Outcome:
        """Play it, and check it."""
        world = self.world
        world.log.note("scenario", "limits", *self.limits.to_map().values())
        self._start()
        try:
            n_lives = self.rng.choice((1, 1, 1, 2))
            for life in range(n_lives):
                self._busy(life)
                self._end(self.rng.choice(_ENDS))
                self.sim.seed += 1
                self._start()
            self._calm()
        except Exception as error:
            import traceback

            world.fault(f"the scenario failed with {error!r}: {''.join(traceback.format_exc(limit=-4))}")
        finally:
            self._close()
        return Outcome(
            world.seed, tuple(world.faults), tuple(world.log.lines()), tuple(self._journal()), self.steps
        )

    def _start(self) -> None:
        self.sim._start()
        self.sim.dispatcher.max_steps = _MAX_STEPS

    def _callers(self, prefix: str, least: int, most: int) -> list[Any]:
        return draw_callers(self.world, self.rng, prefix, least, most)

    # --- Busy ----------------------------------------------------------------------------------------------------

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(self.sim.dispatcher.create_task(guarded(self.world, name, work), name))

    def _busy(self, life: int) -> None:
        rng, world = self.rng, self.world
        world.log.note("scenario", f"life {life + 1}")
        callers = self._callers(f"life{life + 1}", 2, 5)
        self.tasks = []
        for caller in callers:
            self._spawn(caller.name, caller.work())
        n_callers = len(self.tasks)
        for reader in self.readers:
            self._spawn(reader.name, reader.work())
        if rng.random() < 0.8:
            self.chaos.begin(*rng.choice(((8.0, 20), (20.0, 8), (60.0, 6), (200.0, 4))))
        for _ in range(rng.randint(10, 80)):
            if all(task.done() for task in self.tasks[:n_callers]):
                break
            self._let_some_time_pass()
        if rng.random() < 0.6:
            self.chaos.end()
            if rng.random() < 0.5:
                self.sim.advance(20.0)
                world.faults += live_faults(self.sim.services) if self.sim.system.is_running else ()

    def _let_some_time_pass(self) -> None:
        rng = self.rng
        chance = rng.random()
        if chance < 0.6:
            self.sim.steps(rng.randint(1, 60))
        elif chance < 0.8:
            # Time passes while work is waiting: timers and messages are due together.
            self.world.clock.advance(rng.choice((0.001, 0.05, 0.5)))
        else:
            self.sim.advance(rng.choice((0.01, 0.1, 0.5, 2.0)))

    # --- The end of a life ---------------------------------------------------------------------------------------

    def _end(self, how: str) -> None:
        world, sim = self.world, self.sim
        world.log.note("scenario", "ends:", how)
        if how == "kill":
            self._kill()
            return
        options: dict[str, Any] = {"timeout": self.rng.choice((0.5, 2.0, 5.0))}
        if how == "drain":
            options["drain"] = True
        elif how == "cancel":
            options["cancel_runs"] = True
        was_running = sim.system.is_running  # its tree gives up if too much of it crashes
        try:
            report = sim.system.stop(**options)
        except Exception as error:
            world.fault(f"stop({options}) raised {error!r}")
        else:
            world.log.note("scenario", "stopped", report)
            if how == "cancel" and was_running and report.orphans == () and not self.chaos.mean_gap:
                self._check_all_over(how)
        self._await_tasks()
        self._check_stopped()

    def _kill(self) -> None:
        self.steps += self.sim.dispatcher.steps
        self.chaos.end()
        for reader in self.readers:
            reader.is_over = True
        self.sim.dispatcher.close()
        self.sim.store.close()
        self.world.waiting.clear()
        self._check_journal()
        for player in self.players.values():
            player.streaming.clear()
        for reader in self.readers:
            reader.is_over = False

    def _await_tasks(self) -> None:
        for reader in self.readers:
            reader.is_over = True
        until = self.world.clock.monotonic() + _PATIENCE_S
        self.sim.dispatcher.run_until_idle()
        while not all(task.done() for task in self.tasks) and self.world.clock.monotonic() < until:
            self.sim.advance(5.0)
        for reader in self.readers:
            reader.is_over = False
        for number, (who, what, args) in sorted(self.world.waiting.items()):
            self.world.fault(f"nobody ever answered #{number}: {what} {args} by {who}")
        self.world.waiting.clear()
        left = [task.get_name() for task in self.tasks if not task.done()]
        if left:
            self.world.fault(f"these wait for ever: {left}")

    def _check_all_over(self, how: str) -> None:
        self.world.store.open()
        left = [run.id for run in self.world.store.open_runs() if run.id in self.world.submitted]
        self.world.store.close()
        if left:
            self.world.fault(f"after a stop by {how} without orphans these are open: {left}")

    def _check_stopped(self) -> None:
        dispatcher = self.sim.dispatcher
        self.chaos.end()
        self.sim.advance(10.0)
        if dispatcher.lives:
            self.world.fault(f"actors outlive the system: {[str(life) for life in dispatcher.lives]}")
        self._check_streams()
        self.steps += dispatcher.steps
        left = [task.get_name() for task in asyncio.all_tasks(dispatcher.loop)]
        if left:
            self.world.fault(f"tasks outlive the system: {left}")
        if not dispatcher.close():
            self.world.fault("a task refuses to be cancelled")
        if dispatcher.failures:
            self.world.fault(f"failed and nobody was told: {dispatcher.failures}")
        self._check_journal()

    def _check_streams(self) -> None:
        for player in self.players.values():
            if player.streaming or player.open_streams:
                self.world.fault(f"open streams of {player.name}: {dict(player.streaming)}")

    def _check_journal(self) -> None:
        store = self.world.store
        store.open()
        self.world.faults += journal_faults(store)
        self.world.faults += order_faults(store, self.limits.max_concurrent_runs, self.world.submitted)
        store.close()

    # --- Calm ----------------------------------------------------------------------------------------------------

    def _calm(self) -> None:
        """Nothing fails any more: all that is open comes to its end, and nothing is left."""
        world, sim = self.world, self.sim
        world.log.note("scenario", "calm")
        self.chaos.end()
        for gate in world.gates:
            gate.open()
        self.tasks = []
        for caller in self._callers("calm", 0, 1):
            self._spawn(caller.name, caller.work())
        sim.advance(_CALM_S)
        world.faults += live_faults(sim.services)
        self._check_calm()
        self._spawn("janitor", self._end_all(self.tasks[:]))
        self._await_tasks()
        sim.settle()
        world.faults += live_faults(sim.services)
        self._check_quiet()
        self._spawn("reader", self._read_on())
        self._await_tasks()
        sim.system.stop()
        self._await_tasks()
        self._check_stopped()
        world.store.open()
        for reader in self.readers:
            reader.check()
        for run_id, heard in world.heard.items():
            session_id = world.store.run(run_id).session_id
            events = world.store.read_session(session_id, EventFilter(run_ids=run_id))
            if heard != events[: len(heard)]:
                world.fault(f"the callback of {run_id} heard {heard}, the journal has {events}")
        world.store.close()

    def _check_calm(self) -> None:
        """Whatever can end by itself has."""
        self.world.faults += liveness_faults(self.sim.services, self.limits)

    async def _end_all(self, others: list[asyncio.Task[Any]]) -> None:
        """End what is open, until nobody makes anything new."""
        world, store = self.world, self.world.store
        is_last = False
        while not is_last:
            is_last = all(task.done() for task in others) and not world.waiting
            for run in store.open_runs():
                await world.ask("janitor", "cancel_run", run.id)
            for session in store.open_sessions():
                await world.ask("janitor", "cancel_session", session.id)
            await asyncio.sleep(1.0)

    async def _read_on(self) -> None:
        for reader in self.readers:
            await reader.finish()

    def _check_quiet(self) -> None:
        world, services = self.world, self.sim.services
        left = [run.id for run in world.store.open_runs()]
        left += [session.id for session in world.store.open_sessions()]
        if left:
            world.fault(f"still open when all is quiet: {left}")
        for name in ("slots:sessions", "slots:runs"):
            for numbers in services.whereis(name).life.actor.statistics().values():
                if numbers.in_use or numbers.waiting:
                    world.fault(f"{name} when all is quiet: {numbers}")
        self._check_streams()
        names = sorted(type(life.actor).__name__ for life in self.sim.dispatcher.lives)
        if "SessionActor" in names or "RunActor" in names:
            world.fault(f"still alive when all is quiet: {names}")

    def _close(self) -> None:
        self.sim.dispatcher.on_step = None
        self.sim.dispatcher.close()
        left = pykka.ActorRegistry.get_all()
        if left:
            self.world.fault(f"actors are left in the registry: {left}")
            pykka.ActorRegistry.stop_all(block=False)

    def _journal(self) -> list[Any]:
        store = self.world.store
        store.open()
        rows: list[Any] = [
            event.to_map() for event in store.read_all(limit=100_000, scan_limit=100_000).events
        ]
        rows += [session.to_map() for session in store.sessions(include_deleted=True)]
        rows += [run.to_map() for run in store.runs()]
        store.close()
        return rows


def play(seed: int) -> Outcome:
    """Play the scenario of a seed."""
    return Scenario(seed).run()
