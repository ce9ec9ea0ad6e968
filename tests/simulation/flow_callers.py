"""The callers of a scenario of flows: they start runs under policies, decide, pause, and interrupt."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from asm_actors.policies.approval import Approval
from tests.simulation.callers import _OVER, PAUSES, Caller
from tests.simulation.flow_world import TOOLS, FlowWorld

_KEYS = ("a", "a", "b", "c")
_WAITS = (*PAUSES, 0.3, 1.0)


def draw_policy(rng: random.Random) -> dict[str, Any]:
    """Choose a policy."""
    policy: dict[str, Any] = {
        "name": f"policy-{rng.randrange(3)}",
        "on_violation": rng.choice(("cancel", "request_approval", "request_approval", "warn")),
        "approval_timeout": rng.choice((0.2, 1.0, 5.0, 20.0, None)),
    }
    if rng.random() < 0.2:
        policy["on_denied"] = "fail"
    rules = [
        (kind, rng.sample(("pay", "send", "look"), rng.randint(1, 2)))
        for kind, chance in (("ask", 0.5), ("deny", 0.15), ("allow", 0.1))
        if rng.random() < chance
    ]
    if rules:
        policy["tool_rules"] = rules
    limits = {
        "max_total_tokens": rng.choice((20, 40, 1_000)),
        "max_tool_calls": rng.choice((1, 2, 3)),
        "max_turns": rng.choice((1, 2, 3)),
        "max_cost_usd": rng.choice((0.3, 0.5, 10.0)),
        "max_duration_ms": rng.choice((100, 1_000, 30_000)),
    }
    kept = {name: limit for name, limit in limits.items() if rng.random() < 0.2}
    if kept:
        policy["limits"] = kept
    return policy


def draw_plan(rng: random.Random) -> dict[str, Any]:
    """Choose what a run is to do: its turns with their calls, and how it ends."""
    return {
        "prompt": "Go.",
        "turns": [
            [[rng.choice(TOOLS), rng.choice(_KEYS)] for _ in range(rng.randint(1, 3))]
            for _ in range(rng.choice((0, 1, 1, 1, 2, 3)))
        ],
        "pace": rng.choice((0.0, 0.02, 0.4, 1.0)),
        "misses": 0,
        "end": rng.choice(("say",) * 12 + ("stall", "fail", "crash")),
    }


class FlowCaller(Caller):
    """One of them.

    Args:
        world: The scenario.
        name: Its name in the log; names its choices too.
        n_actions: How many things it does.
    """

    world: FlowWorld

    async def work(self) -> None:
        """Do it all."""
        rng = self.rng
        await self._begin()
        for _ in range(self.n_actions):
            await asyncio.sleep(rng.choice(_WAITS))
            await rng.choices(_ACTIONS, _WEIGHTS)[0](self)
        for task in self._others:
            await task

    # --- Sessions and runs -----------------------------------------------------------------------------------------

    async def _start_session(self, options: dict[str, Any]) -> None:
        rng, more = self.rng, dict(options)
        if not options:
            if rng.random() < 0.3:
                more["policy"] = draw_policy(rng)
            if rng.random() < 0.4:
                more["second_run"] = rng.choice(("reject", "interrupt", "interrupt", "rollback"))
                more["max_concurrent_runs"] = rng.randint(1, 2)
            if rng.random() < 0.3:
                more["tags"] = [f"tenant:{rng.randrange(2)}"]
            if self.world.sessions and rng.random() < 0.3:
                more["parent_session_id"] = rng.choice(self.world.sessions)
            if rng.random() < 0.2:
                more["run_options"] = {"continuation": "replay"}
        await super()._start_session(more)

    async def _new_run(self, what: str, session_id: str) -> Any:
        rng, options = self.rng, {}
        given = draw_plan(rng)
        if rng.random() < 0.5:
            options["policy"] = draw_policy(rng)
        if rng.random() < 0.3:
            options["continuation"] = rng.choice(("auto", "replay"))
            if rng.random() < 0.2:
                options["continuation_opts"] = {"compact_over_tokens": 30, "keep_last": 2}
        if rng.random() < 0.2:
            options["output_schema"] = {"type": "object", "required": ["n"]}
            given["misses"] = rng.choice((0, 0, 1, 2, 3))
        if self.world.folder is not None and rng.random() < 0.5:
            options["workspace"] = self.world.files_of(session_id)
        options["on_unknown_outcome"] = rng.choice(("ask", "ask", "report", "fail"))
        options["on_restart"] = rng.choice(("resume", "resume", "resume", "retry", "fail"))
        options["priority"] = rng.choice((0, 0, -1, 2))
        if what == "submit_run" and rng.random() < 0.3:
            options["deadline"] = rng.choice((0.4, 2.0, 10.0))
        if rng.random() < 0.1:
            options["idempotency_key"] = f"key_{what}_{rng.randrange(2)}"
        return await self._make_run(what, session_id, given, options)

    async def _fork(self) -> None:
        if self.world.sessions:
            fork = await self.ask("fork_session", self._session())
            if fork is not None and fork.id not in self.world.sessions:
                self.world.sessions.append(fork.id)
                await self.ask("activate_session", fork.id)

    async def _compact(self) -> None:
        if self.world.sessions:
            await self._maybe_beside(self.ask("compact_session", self._session(), keep_last=1))

    # --- Decisions -------------------------------------------------------------------------------------------------

    async def _decide(self) -> None:
        pending = await self.world.ask(self.name, "pending_approvals")
        for asked in pending or ():
            if self.rng.random() < 0.7:
                await asyncio.sleep(self.rng.choice(_WAITS))
                await self._decide_about(asked)

    async def _decide_about(self, asked: Approval) -> None:
        """Decide, alone or as one of two."""
        for _ in range(self.rng.choice((1, 1, 2))):
            await self._maybe_beside(self._one_decision(asked))

    async def _one_decision(self, asked: Approval) -> None:
        rng, options = self.rng, {"by": self.name}
        if rng.random() < 0.35:
            run = await self.ask("deny_approval", asked.run_id, asked.call_id, reason="no", **options)
        else:
            if rng.random() < 0.3:
                options["tool_input"] = {"key": rng.choice(("a", "edited"))}
            options["scope"] = rng.choice(("once", "once", "run", "session"))
            run = await self.ask("grant_approval", asked.run_id, asked.call_id, **options)
        if run is not None and not run.is_terminal and not self._is_decided(asked):
            self.world.fault(
                f"a decision about {asked.call_id} of {asked.run_id} was answered before it was durable"
            )

    def _is_decided(self, asked: Approval) -> bool:
        store = self.world.store
        run = store.run(asked.run_id)
        events = store.read_session(run.session_id)
        return any(
            event.type in ("tool_approval_granted", "tool_approval_denied", "run_recovered")
            and event.run_id == asked.run_id
            and event.timestamp_us >= asked.asked_us
            and event.data.get("tool_call_id", asked.call_id) == asked.call_id
            for event in events
        )

    async def _decide_blindly(self) -> None:
        run_id = self._run()
        if run_id is not None:
            what = self.rng.choice(("grant_approval", "deny_approval"))
            await self.ask(what, run_id, self.rng.choice(("c1.0", "c1.1", "c9.9")))

    async def _cancel_for_approval(self) -> None:
        run_id = self._run()
        if run_id is not None:
            await self._maybe_beside(
                self.ask("cancel_for_approval", run_id, tool_name="pay", tool_call_id="x")
            )

    # --- Control ---------------------------------------------------------------------------------------------------

    async def _pause_run(self) -> None:
        run_id = self._run()
        if run_id is not None:
            await self._maybe_beside(self.ask("pause_run", run_id, by=self.name))

    async def _resume_run(self) -> None:
        run_id = self._run()
        if run_id is not None:
            await self._maybe_beside(self.ask("resume_run", run_id, by=self.name))

    async def _pause_and_resume_run(self) -> None:
        run_id = self._run()
        if run_id is not None:
            await self.ask("pause_run", run_id)
            await asyncio.sleep(self.rng.choice(_WAITS))
            await self.ask("resume_run", run_id)

    async def _interrupt(self) -> None:
        run_id = self._run()
        if run_id is not None:
            await self._maybe_beside(self.ask("interrupt_run", run_id, reason="a whim", by=self.name))

    async def _cancel_all(self) -> None:
        found = {run_id for run_id in (self._run(), self._run()) if run_id is not None}
        if found:
            await self._maybe_beside(self.ask("cancel_all", sorted(found)))

    async def _interrupt_session(self) -> None:
        if self.world.sessions:
            options = {"cascade": True} if self.rng.random() < 0.3 else {}
            await self._maybe_beside(self.ask("interrupt_session", self._session(), **options))

    async def _cascade(self) -> None:
        if self.world.sessions:
            what = self.rng.choice(("pause", "resume", "resume", "cancel"))
            await self._maybe_beside(self.ask(f"{what}_session", self._session(), cascade=True))

    async def _steer(self) -> None:
        run_id = self._run()
        if run_id is not None:
            await self._maybe_beside(self.ask("steer_run", run_id, "And quickly."))


_Action = Callable[[FlowCaller], Awaitable[None]]
_CHOICES: tuple[tuple[_Action, int], ...] = (
    (Caller._submit, 10),
    (Caller._start_and_execute, 5),
    (Caller._await, 2),
    (Caller._cancel, 3),
    (Caller._change_session, 1),
    (Caller._pause_and_resume, 4),
    (Caller._tell, 1),
    (Caller._look, 1),
    (FlowCaller._fork, 1),
    (FlowCaller._compact, 1),
    (FlowCaller._decide, 14),
    (FlowCaller._decide_blindly, 1),
    (FlowCaller._cancel_for_approval, 1),
    (FlowCaller._pause_run, 4),
    (FlowCaller._resume_run, 3),
    (FlowCaller._pause_and_resume_run, 3),
    (FlowCaller._interrupt, 2),
    (FlowCaller._cancel_all, 1),
    (FlowCaller._interrupt_session, 1),
    (FlowCaller._cascade, 2),
    (FlowCaller._steer, 2),
)
_ACTIONS = tuple(action for action, _ in _CHOICES)
_WEIGHTS = tuple(weight for _, weight in _CHOICES)


def draw_flow_callers(
    world: FlowWorld, rng: random.Random, prefix: str, least: int, most: int
) -> list[FlowCaller]:
    """Choose how many callers there are and how busy they are."""
    count = rng.randint(least, most)
    return [FlowCaller(world, f"{prefix}-{index}", rng.randint(6, 16)) for index in range(1, count + 1)]


def is_over(statuses: set[str]) -> bool:
    """Whether a session with these statuses is over."""
    return bool(_OVER & statuses)
