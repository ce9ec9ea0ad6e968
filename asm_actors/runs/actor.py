"""The shell of a run: feeds `runs.state` and performs its effects. A child of its session's actor.

Its life is the run's execution: it holds the run's slot, and its end frees it, however it ends.
"""

from __future__ import annotations

from typing import Any

from asm_actors.effects import AcquireSlot, Effect, Leave, ToProvider, ToSession
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.messages import StartTurn
from asm_actors.runs import state as core
from asm_actors.runs.request import correlation_of, provider_of, request_for
from asm_actors.runs.run import Run
from asm_actors.services import RUN_SLOTS, Services, provider_name
from asm_actors.sessions.session import Session
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
    """

    def __init__(self, services: Services, session_ref: Any, session: Session, run: Run) -> None:
        super().__init__()
        self._services = services
        self._session_ref = session_ref
        name = provider_of(session, run, services.default_provider)
        provider = services.providers.get(name or "")
        self._provider_name = name
        self._provider: Any = None
        self._monitor: Any = None
        self._parked_since: float | None = None
        self._pause = LOOK_AGAIN_S
        self.state = core.RunState(
            run,
            request_for(session, run),
            name,
            correlation_of(session, run),
            resumable=provider is not None and provider.resumable,
        )

    def on_start(self) -> None:
        self._perform(core.begin(self.state))

    def on_receive(self, message: Any) -> Any:
        kind = type(message)
        if kind is Down:
            self._provider_down(message)
        elif kind is _LookAgain:
            self._look_again()
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
                wish = Acquire(effect.pool, self.actor_ref, granted=core.SlotTaken())  # type: ignore[union-attr]
                self._services.whereis(RUN_SLOTS).tell(wish)

    # --- The provider ------------------------------------------------------------------------------------------

    def _to_provider(self, message: Any) -> None:
        if type(message) is not StartTurn:
            if self._provider is not None:
                self._provider.post(message)
            return
        ref = self._services.whereis(provider_name(self._provider_name or ""))
        if ref is None:
            self._gone(f"provider {self._provider_name} is not running")
            return
        self._provider = ref
        self._monitor = self.monitor(ref)
        self._parked_since, self._pause = None, LOOK_AGAIN_S
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
        for_good = for_good or self._provider_name in self._services.directory.lost_providers
        error = AsmError(
            ErrorCode.PROVIDER_UNAVAILABLE,
            text,
            context={"provider": self._provider_name, "run_id": self.state.run.id},
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
            waited = self.now() - (self._parked_since or 0.0)
            self._gone(
                f"provider {self._provider_name} did not come back", for_good=waited > PROVIDER_PATIENCE_S
            )
