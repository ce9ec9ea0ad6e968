"""The callers of a scenario: each does a few things at random with whatever sessions and runs there are."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from asm_actors import messages
from asm_actors.errors import AsmError
from asm_actors.sessions.manager import AsyncSessionManager
from tests.simulation.players import draw_part
from tests.simulation.world import World

PAUSES = (0.0, 0.0, 0.0, 0.001, 0.02, 0.1, 0.5, 1.5)
"""Seconds between two actions of a caller."""


class Caller:
    """One caller.

    Args:
        world: The scenario.
        name: Its name in the log; names its choices too.
        n_actions: How many things it does.
    """

    def __init__(self, world: World, name: str, n_actions: int) -> None:
        self.world = world
        self.name = name
        self.n_actions = n_actions
        self.rng = world.random(name)
        self._others: list[asyncio.Task[Any]] = []

    async def work(self) -> None:
        """Do it all."""
        rng = self.rng
        await self._begin()
        for _ in range(self.n_actions):
            await asyncio.sleep(rng.choice(PAUSES))
            await rng.choices(_ACTIONS, _WEIGHTS)[0](self)
        for task in self._others:
            await task

    # --- Small things --------------------------------------------------------------------------------------------

    async def ask(self, what: str, *args: Any, **options: Any) -> Any:
        return await self.world.ask(self.name, what, *args, patience=self._patience(), **options)

    def _patience(self) -> float | None:
        return self.rng.choice((None, None, None, None, 0.0, 0.3, 3.0))

    def _beside(self, work: Awaitable[Any]) -> None:
        """Do something without waiting for it."""
        self._others.append(asyncio.ensure_future(work))

    async def _maybe_beside(self, work: Awaitable[Any]) -> None:
        if self.rng.random() < 0.5:
            self._beside(work)
        else:
            await work

    def _provider(self) -> str:
        return self.rng.choice(("first", "second"))

    def _session(self) -> str:
        """A session, mostly one that can still do something."""
        known = self.world.sessions
        useful = [name for name in known if not _OVER & self.world.store.statuses.get(name, set())]
        return self.rng.choice(useful if useful and self.rng.random() < 0.85 else known)

    def _run(self) -> str | None:
        """A run, mostly one that is not over."""
        known = self.world.runs
        if not known:
            return None
        useful = [name for name in known if name not in self.world.store.over]
        return self.rng.choice(useful if useful and self.rng.random() < 0.7 else known)

    def _input(self) -> dict[str, str]:
        return {"prompt": draw_part(self.rng)}

    def _deadline(self) -> float | None:
        return self.rng.choice((None, None, None, 0.05, 0.4, 2.0))

    def _knows(self, *run_ids: str) -> None:
        for run_id in run_ids:
            if run_id not in self.world.runs:
                self.world.runs.append(run_id)

    # --- Actions -------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        """Have a session of one's own, or meet others at one."""
        rng, world = self.rng, self.world
        options: dict[str, Any] = {}
        if rng.random() < 0.3:
            options["id"] = "ses_meeting"
        elif rng.random() < 0.3:
            options["idempotency_key"] = "key_meeting"
        count = 2 if options and rng.random() < 0.3 else 1
        await asyncio.gather(*(self._start_session(options) for _ in range(count)))
        for session_id in [name for name in world.sessions if rng.random() < 0.8]:
            await self.world.ask(self.name, "activate_session", session_id)

    async def _start_session(self, options: dict[str, Any]) -> None:
        session = await self.ask("start_session", agent_id=self.name, provider=self._provider(), **options)
        if session is None:
            return
        if "id" in options:
            self.world.chose(session.id)
        if "idempotency_key" in options:
            self.world.one_of(options["idempotency_key"], session.id)
        if session.id not in self.world.sessions:
            self.world.sessions.append(session.id)

    async def _new_run(self, what: str, session_id: str) -> Any:
        rng = self.rng
        options: dict[str, Any] = {}
        chance = rng.random()
        if chance < 0.15:
            options["id"] = f"run_chosen_{rng.randrange(3)}"
        elif chance < 0.3:
            options["idempotency_key"] = f"key_{what}_{rng.randrange(2)}"
        if what == "submit_run":
            options["deadline"] = self._deadline()
        given = self._input()
        count = 2 if options and rng.random() < 0.2 else 1
        made = await asyncio.gather(*(self._make_run(what, session_id, given, options) for _ in range(count)))
        return made[0]

    async def _make_run(self, what: str, session_id: str, given: Any, options: dict[str, Any]) -> Any:
        run = await self.ask(what, session_id, given, **options)
        if run is None:
            return None
        if "id" in options:
            self.world.chose(run.id)
        if "idempotency_key" in options:
            self.world.one_of((session_id, options["idempotency_key"]), run.id)
        if what == "submit_run":
            self.world.submitted.add(run.id)
        self._knows(run.id)
        return run

    async def _submit(self) -> None:
        if self.world.sessions:
            session_id = self._session()
            for _ in range(self.rng.randrange(1, 4)):
                await self._maybe_beside(self._new_run("submit_run", session_id))

    async def _start_and_execute(self) -> None:
        if self.world.sessions:
            run = await self._new_run("start_run", self._session())
            if run is not None:
                for _ in range(self.rng.choice((1, 1, 2))):
                    await self._maybe_beside(self.ask("execute_run", run.id, deadline=self._deadline()))

    async def _run_once(self) -> None:
        work = self.ask("run_once", self._input(), provider=self._provider(), deadline=self._deadline())
        await self._maybe_beside(work)

    async def _run_once_with_callback(self) -> None:
        await self._maybe_beside(self._hear_out(self._input(), self._provider(), self._deadline()))

    async def _hear_out(self, given: Any, provider: str, deadline: float | None) -> None:
        """Hear each event of a run while it goes on."""
        world, heard = self.world, []
        manager = AsyncSessionManager(world.sim.services)
        world.log.note(self.name, "run_once with a callback", given, provider, deadline)
        try:
            result = await manager.run_once(
                given, provider=provider, deadline=deadline, event_callback=heard.append
            )
        except AsmError as error:
            world.log.note(self.name, "  refused:", error)
        else:
            world.log.note(self.name, "  answered:", result.run_id)
            if [event.position for event in heard] != [event.position for event in result.events]:
                world.fault(f"the callback of {result.run_id} heard {heard}, its events are {result.events}")
        if heard:
            world.heard[heard[0].run_id] = heard

    async def _await(self) -> None:
        run_id = self._run()
        if run_id is not None:
            await self._maybe_beside(self.ask("await_run", run_id))

    async def _cancel(self) -> None:
        run_id = self._run()
        if run_id is not None:
            for _ in range(self.rng.choice((1, 1, 2))):
                await self._maybe_beside(self.ask("cancel_run", run_id, reason="a whim"))

    async def _change_session(self) -> None:
        if not self.world.sessions:
            return
        what = self.rng.choice(
            ("activate", "pause", "pause", "resume", "resume", "complete", "complete_all", "fail", "cancel")
        )
        session_id = self._session()
        if what == "complete_all":
            await self._maybe_beside(self.ask("complete_session", session_id, cancel_runs=True))
        else:
            await self._maybe_beside(self.ask(f"{what}_session", session_id))

    async def _pause_and_resume(self) -> None:
        if self.world.sessions:
            session_id = self._session()
            await self.ask("pause_session", session_id)
            await asyncio.sleep(self.rng.choice(PAUSES))
            await self.ask("resume_session", session_id)

    async def _tell(self) -> None:
        world, run_id = self.world, self._run()
        system = world.sim.system
        try:
            if run_id is not None and self.rng.random() < 0.6:
                world.log.note(self.name, "tell CancelRun", run_id)
                system.run(run_id).tell(messages.CancelRun("told"))
            elif world.sessions:
                session_id = self._session()
                message = self.rng.choice(
                    (messages.PauseSession(), messages.ResumeSession(), messages.GetSession())
                )
                world.log.note(self.name, "tell", type(message).__name__, session_id)
                system.session(session_id).tell(message)
        except AsmError as error:
            world.log.note(self.name, "  refused:", error)

    async def _look(self) -> None:
        if not self.world.sessions:
            return
        session_id = self._session()
        what = self.rng.choice(
            ("get_session", "get_session_events", "get_session_runs", "status", "status_of")
        )
        if what == "status":
            await self.ask("status")
            return
        found = await self.ask("status" if what == "status_of" else what, session_id)
        if what == "get_session_events" and found is not None:
            numbers = [event.sequence_number for event in found]
            if numbers != list(range(1, len(numbers) + 1)):
                self.world.fault(f"get_session_events of {session_id} gave {numbers}")

    async def _open_gate(self) -> None:
        number = self.rng.randrange(len(self.world.gates))
        self.world.log.note(self.name, "opens gate", number)
        self.world.gates[number].open()


_OVER = frozenset({"completed", "failed", "cancelled"})
_Action = Callable[[Caller], Awaitable[None]]
_ACTIONS: tuple[_Action, ...] = (
    Caller._submit,
    Caller._start_and_execute,
    Caller._run_once,
    Caller._run_once_with_callback,
    Caller._await,
    Caller._cancel,
    Caller._change_session,
    Caller._pause_and_resume,
    Caller._tell,
    Caller._look,
    Caller._open_gate,
)
_WEIGHTS = (10, 7, 2, 2, 3, 5, 2, 2, 2, 2, 1)


def draw_callers(world: World, rng: random.Random, prefix: str, least: int, most: int) -> list[Caller]:
    """Choose how many callers there are and how busy they are."""
    count = rng.randint(least, most)
    return [Caller(world, f"{prefix}-{index}", rng.randint(3, 9)) for index in range(1, count + 1)]
