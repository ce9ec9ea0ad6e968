"""The shell of a run: feeds `runs.state` and performs its effects. A child of its session's actor.

Its life is the run's execution: it holds the run's slot, and its end frees it, however it ends.
"""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import Any

from asm_actors.effects import (
    AcquireSlot,
    CallTool,
    Effect,
    Finish,
    Leave,
    Prepare,
    SetTimer,
    StopTools,
    StopWork,
    ToProvider,
    ToSession,
)
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.append import EMPTY
from asm_actors.journal.messages import HasRoom
from asm_actors.providers.messages import CloseTurn, More, StartTurn, SteerTurn
from asm_actors.runs import state as core
from asm_actors.runs.policing import watch_over
from asm_actors.runs.request import correlation_of, provider_of, request_for, tools_for
from asm_actors.runs.resumption import Progress
from asm_actors.runs.run import Run
from asm_actors.runs.turn import Turn
from asm_actors.runs.working import finished, prepared
from asm_actors.services import RUN_SLOTS, Services, provider_name
from asm_actors.sessions.session import Session
from asm_actors.slot_keys import priority_of
from asm_actors.tools.calling import call_tool
from asm_actors.tools.context import ToolContext
from asm_actors.tools.coroutines import Leash
from asm_actors.tools.threads import ToolThreads
from asm_actors.workspace.watching import Stop
from supervisors import Actor, Down
from supervisors.exits import Crashed, describe
from supervisors.slot_pool import Acquire

__all__ = ["RunActor"]

LOOK_AGAIN_S = 0.02
"""First pause before looking for a provider that is being restarted; doubles up to a second."""
PROVIDER_PATIENCE_S = 60.0
"""How long a run waits for its provider to come back."""


class _LookAgain:
    """To itself: see whether the provider is back."""


class RunActor(Actor):
    """See the module.

    Args:
        services: The system's.
        session_ref: Its session's actor.
        session: The session's record at the start of the run.
        run: The run's record.
        progress: How far it had come, if it is taken up again.
        head: Sequence number of the session's last event.
    """

    def __init__(
        self,
        services: Services,
        session_ref: Any,
        session: Session,
        run: Run,
        progress: Progress | None = None,
        head: int = 0,
    ) -> None:
        super().__init__()
        self._services = services
        self._session_ref = session_ref
        name = provider_of(session, run, services.default_provider)
        provider = services.providers.get(name or "")
        self._provider_name = name
        self._provider: Any = None
        self._monitor: Any = None
        self._parked_since: float | None = None
        # Batches to ask for when the journal has room again.
        self._held_back = 0
        self._pause = LOOK_AGAIN_S
        # The calls of tools that are under way, by their ids.
        self._tool_tasks: dict[str, asyncio.Task[Any]] | None = None
        # Of these, the ones whose coroutines do not end.
        self._given_up: set[str] | None = None
        # What is needed before the first turn, and after the last one; few runs need anything.
        self._session = session
        self._working: Stop | None = None
        tools = tools_for(services.tools, session, run) if services.tools else EMPTY
        self.state = core.RunState(
            run,
            request_for(session, run, tools, progress, is_routed=getattr(provider, "is_router", False)),
            name,
            correlation_of(session, run),
            resumable=provider is not None and provider.resumable,
            tools=tools,
            head=head,
            is_careful=progress is not None,
            pricing=services.pricing,
        )
        if tools:
            self.state.turn = Turn(host_tools=tools)
        if progress is not None:
            self.state.calls = progress.own_calls()
            self.state.past = progress.messages
            self.state.n_corrections = progress.n_corrections
            self.state.book = progress.book
        if services.policy is not None or tools or "policy" in run.options or "policy" in session.options:
            manifest = services.manifests.get(name or "")
            watch_over(self.state, session, services.policy, services.pricing, manifest, progress)

    def on_start(self) -> None:
        self._perform(core.begin(self.state))

    def on_receive(self, message: Any) -> Any:
        kind = type(message)
        if kind is Down:
            self._provider_down(message)
        elif kind is _LookAgain:
            self._look_again()
        elif kind is HasRoom:
            batches, self._held_back = self._held_back, 0
            self._to_provider(More(self.state.run.id, batches))
        elif core.knows(message):
            self._step(message)
        else:
            return super().on_receive(message)
        return None

    def _step(self, message: Any) -> None:
        self._perform(core.step(self.state, message, self._services.now_us()))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            kind = type(effect)
            if kind is ToSession:
                self._session_ref.post(effect.message)  # type: ignore[union-attr]
            elif kind is ToProvider:
                self._to_provider(effect.message)  # type: ignore[union-attr]
            elif kind is Leave:
                self.exit()
            elif kind is AcquireSlot:
                self._acquire(effect.pool)  # type: ignore[union-attr]
            elif kind is SetTimer:
                self.send_after(effect.delay_s, effect.message)  # type: ignore[union-attr]
            elif kind is CallTool:
                self._call_tool(effect)  # type: ignore[arg-type]
            elif kind is StopTools:
                self.spawn(self._stop_tools(), name=f"stop-tools-{self.state.run.id}")
            elif kind is Prepare or kind is Finish:
                self._working = Stop()
                self.spawn(self._work(effect, self._working), name=f"work-{self.state.run.id}")
            elif kind is StopWork and self._working is not None:
                self._working.set()

    def _acquire(self, pool: str) -> None:
        services, session = self._services, self._session
        key = services.slot_keys.of_run(session, self._provider_name) if pool == core.RUNS_POOL else pool
        wish = Acquire(
            key,
            self.actor_ref,
            granted=core.SlotTaken(),
            waiting=core.InLine(),
            priority=priority_of(session, self.state.run),
        )
        slots = self._services.whereis(RUN_SLOTS)
        if slots is not None:
            slots.post(wish)
        # Without its slots the tree is about to take the sessions down, and to start both again: the run waits.

    async def _work(self, effect: Effect, stop: Stop) -> None:
        """Prepare or finish the run; a thread that is at work is stopped when the actor ends."""
        try:
            if isinstance(effect, Prepare):
                name = self._provider_name
                notice: Any = await prepared(self._services, self._session, name, effect, stop, self.blocking)
            else:
                assert isinstance(effect, Finish)
                notice = await finished(self._services, effect, stop, self.blocking)
        except asyncio.CancelledError:
            stop.set()
            raise
        self._step(notice)

    # --- Tools -------------------------------------------------------------------------------------------------

    def _call_tool(self, effect: CallTool) -> None:
        if self._tool_tasks is None:
            self._tool_tasks = {}
        name = f"{effect.name}-{effect.call_id}"
        self._tool_tasks[effect.call_id] = self.spawn(self._await_tool(effect), name=name)

    async def _await_tool(self, effect: CallTool) -> None:
        tool = self.state.tools[effect.name]
        threads = self._services.directory.tool_threads
        if threads is None:
            threads = ToolThreads(self.dispatcher, self._services.tool_threads)
            self._services.directory.tool_threads = threads
        context = None if tool.context_parameter is None else self._tool_context(effect.call_id)
        leash = Leash(self._patience_with_tools, partial(self._give_up, effect.call_id))
        output, error = await call_tool(tool, effect.input, threads, context, leash)
        assert self._tool_tasks is not None
        del self._tool_tasks[effect.call_id]
        self._step(core.ToolEnded(effect.call_id, output, error))

    def _tool_context(self, call_id: str) -> ToolContext:
        run = self.state.run
        call = self.state.calls[call_id]
        workspace = run.options.get("workspace") or EMPTY
        path = (workspace.get("path") or os.getcwd()) if workspace.get("enabled") else None  # noqa: PTH109
        return ToolContext(run.session_id, run.id, call_id, call.attempt, self.state.request.agent_id, path)

    def _patience_with_tools(self) -> float:
        """Seconds that a coroutine which was cancelled may take to end."""
        services = self._services
        patience = services.config.task_shutdown_timeout_ms / 1000
        at_stop = services.directory.tool_patience
        return patience if at_stop is None else min(patience, at_stop)

    def _give_up(self, call_id: str, task: asyncio.Task[Any]) -> None:
        if self._given_up is None:
            self._given_up = set()
        self._given_up.add(call_id)
        self._services.dispatcher.give_up(task)

    async def _stop_tools(self) -> None:
        """Cancel what is under way. Coroutines are awaited for a time; what cannot be stopped is left, by name."""
        tasks = dict(self._tool_tasks or {})
        for task in tasks.values():
            task.cancel()
        if tasks:
            await asyncio.wait(tasks.values())
        calls, tools, given_up = self.state.calls, self.state.tools, self._given_up or ()
        left = [
            call_id for call_id in tasks if call_id in given_up or not tools[calls[call_id].name].is_async
        ]
        self._step(core.ToolsStopped([call_id for call_id in left if calls[call_id].answer is None]))

    # --- The provider ------------------------------------------------------------------------------------------

    def _to_provider(self, message: Any) -> None:
        if type(message) is not StartTurn and type(message) is not CloseTurn:
            if type(message) is More and self._services.directory.journal_is_behind:
                # Back-pressure of the journal: it says `HasRoom` when its line is short again.
                if not self._held_back:
                    self._services.directory.held_back.append(self.actor_ref)
                self._held_back += message.batches
            elif self._provider is not None:
                if type(message) is SteerTurn:
                    message = message._replace(run=self.actor_ref)
                self._provider.post(message)
            return
        name = self._provider_name
        ref = self._services.whereis(provider_name(name or ""))
        if ref is None:
            is_named = name is not None
            self._gone(f"provider {name} is not running" if is_named else "no provider was named")
            return
        if self._monitor is not None:
            self.demonitor(self._monitor)  # that of the turn before
        self._provider = ref
        self._monitor = self.monitor(ref)
        self._parked_since, self._pause = None, LOOK_AGAIN_S
        self._held_back = 0
        ref.post(message._replace(run=self.actor_ref))

    def _provider_down(self, message: Down) -> None:
        if message.monitor is not self._monitor:
            return
        self._provider = self._monitor = None
        reason = message.reason
        if isinstance(reason, Crashed) and isinstance(reason.error, AsmError):
            self._gone(reason.error.message)
        else:
            self._gone(f"provider {self._provider_name} stopped: {describe(reason)}")

    def _gone(self, text: str, *, for_good: bool = False) -> None:
        name = self._provider_name
        for_good = (
            for_good
            or name not in self._services.providers
            or name in self._services.directory.lost_providers
        )
        error = AsmError(
            ErrorCode.PROVIDER_UNAVAILABLE,
            text,
            context={"provider": name, "run_id": self.state.run.id},
        )
        self._step(core.ProviderGone(error, for_good=for_good))
        if self.state.phase is core.Phase.PARKED:
            if self._parked_since is None:
                self._parked_since = self.now()
            self.send_after(self._pause, _LookAgain())

    def _look_again(self) -> None:
        if self.state.phase is not core.Phase.PARKED:
            return
        self._pause = min(1.0, self._pause * 2)
        if self._services.whereis(provider_name(self._provider_name or "")) is not None:
            self._step(core.ProviderBack())
        else:
            assert self._parked_since is not None
            is_over = self.now() - self._parked_since > PROVIDER_PATIENCE_S
            self._gone(f"provider {self._provider_name} did not come back", for_good=is_over)
