"""A whole system in a simulation: one thread, a manual clock, a seed that chooses the schedule.

::

    with SimulatedSystem(seed=7) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "Hello")
        sim.settle()
        assert sim.types(session.id)[-1] == "run_completed"
        sim.check_promises()

Nothing happens between the calls; a blocking call of the manager runs the simulation until it is answered. The same
seed, providers and calls give the same schedule. `restart` ends the process, as it were, and starts another one on
the same journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from asm_actors.config import MAX_RECOVERIES, Limits
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.ids import Ids, SequentialIds
from asm_actors.journal.memory import MemoryStore
from asm_actors.journal.store import EventFilter, Store
from asm_actors.providers.base import Provider
from asm_actors.providers.retry import RetryPolicy
from asm_actors.providers.scripted import ScriptedProvider, Source
from asm_actors.redaction.settings import Redaction
from asm_actors.runs.run import Run
from asm_actors.services import Services
from asm_actors.sessions.manager import SessionManager
from asm_actors.sessions.operations import Operations
from asm_actors.sessions.session import Session
from asm_actors.system import ActorSystem
from asm_actors.testing.promises import journal_faults, live_faults
from asm_actors.tools.tool import Tool
from supervisors import ManualClock, SimulationDispatcher

__all__ = ["SimulatedSystem"]

OnStep = Callable[[SimulationDispatcher], None]


class SimulatedSystem:
    """See the module. Use it in a `with` block, which stops the system and checks that nothing failed unseen.

    Args:
        seed: Chooses the schedule, and the jitter of retries.
        providers: By name; by default one `ScriptedProvider` called ``mock``.
        script: What that one plays.
        limits: Of the system.
        store: The journal; by default a `MemoryStore`, which `restart` keeps.
        retry: When a failed turn is tried again.
        patience: Seconds for which a failing commit is tried again.
        redaction: Whether secrets are taken out, or how.
        linger: Seconds without work after which a session leaves memory; None: never.
        tools: Tools of the host.
        on_restart: What becomes of a run that was under way; see `ActorSystem.start`.
        max_recoveries: How many crashes a run survives.
        on_step: Called before every step of the simulation; may crash actors (`SimulationDispatcher.crash`).
        ids: Makes ids; by default they count up.
        **options: Others of `StartOptions`.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        providers: Mapping[str, Provider] | None = None,
        script: Source | None = None,
        limits: Limits | None = None,
        store: Store | None = None,
        retry: RetryPolicy | None = None,
        patience: float = 10.0,
        redaction: bool | Redaction = True,
        linger: float | None = None,
        tools: Iterable[Tool | Callable[..., Any]] = (),
        on_restart: str = "resume",
        max_recoveries: int = MAX_RECOVERIES,
        on_step: OnStep | None = None,
        ids: Ids | None = None,
        **options: Any,
    ) -> None:
        self.seed = seed
        self.providers: Mapping[str, Provider] = (
            {"mock": ScriptedProvider(script)} if providers is None else providers
        )
        self.limits = limits
        self.store: Store = MemoryStore() if store is None else store
        self.retry = retry
        self.patience = patience
        self.redaction = redaction
        self.linger = linger
        self.tools = tuple(tools)
        self.on_restart = on_restart
        self.max_recoveries = max_recoveries
        self.on_step = on_step
        self.options = options
        self.ids: Ids = SequentialIds() if ids is None else ids
        self.clock = ManualClock()
        self.dispatcher: SimulationDispatcher
        self.system: ActorSystem

    def __enter__(self) -> Self:
        self._start()
        return self

    def _start(self) -> None:
        self.dispatcher = SimulationDispatcher(self.seed, clock=self.clock, on_step=self.on_step)
        try:
            self.system = ActorSystem.start(
                self.store,
                self.providers,
                self.limits,
                retry=self.retry,
                ids=self.ids,
                dispatcher=self.dispatcher,
                seed=self.seed,
                patience=self.patience,
                redaction=self.redaction,
                linger=self.linger,
                tools=self.tools,
                on_restart=self.on_restart,
                max_recoveries=self.max_recoveries,
                **self.options,
            )
        except BaseException:
            self.dispatcher.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.dispatcher.on_step = None
        try:
            self.system.stop()
        finally:
            is_clean = self.dispatcher.close()
        if kind is None:
            assert is_clean, "a task refused to be cancelled"
            assert self.dispatcher.failures == [], self.dispatcher.failures

    # --- What one works with -------------------------------------------------------------------------------------

    @property
    def services(self) -> Services:
        """What the system's actors share."""
        return self.system.services

    @property
    def manager(self) -> SessionManager:
        """The blocking surface; each call runs the simulation until it is answered."""
        return self.system.sessions

    @property
    def operations(self) -> Operations:
        """The operations as futures: call several, then `settle`, and they race."""
        return self.system.sessions._operations

    def settle(self) -> None:
        """Run until nothing is left to do at the present time."""
        self.dispatcher.run_until_idle()

    def advance(self, seconds: float) -> None:
        """Let time pass; each timer on the way fires at its own time."""
        self.dispatcher.advance(seconds)

    def steps(self, count: int) -> None:
        """Do at most so many steps, and stop in the middle of whatever goes on then."""
        for _ in range(count):
            if not self.dispatcher.step():
                return

    def active_session(self, agent_id: str = "agent", **options: Any) -> Session:
        """Start a session and activate it."""
        session = self.manager.start_session(agent_id=agent_id, **options)
        return self.manager.activate_session(session.id)

    def kill(self, *, seed: int | None = None) -> None:
        """End everything at once, as the end of the process would, and start another system on the same journal.

        What was not committed is lost; handles, futures and refs of the old system are void.

        Args:
            seed: Of the schedule from now on; by default another one than before.
        """
        self.dispatcher.close()
        self.store.close()
        self.seed = self.seed + 1 if seed is None else seed
        self._start()

    def restart(self, *, seed: int | None = None, **options: Any) -> None:
        """Stop in order (options as for `ActorSystem.stop`), and start another system on the same journal."""
        self.system.stop(**options)
        self.dispatcher.close()
        self.seed = self.seed + 1 if seed is None else seed
        self._start()

    # --- What one looks at ---------------------------------------------------------------------------------------

    def events(self, session_id: str) -> list[Event]:
        """All events of a session, from the store."""
        return self.store.read_session(session_id)

    def events_of(self, run_id: str) -> list[Event]:
        """All events of a run, from the store."""
        run = self.store.run(run_id)
        return self.store.read_session(run.session_id, EventFilter(run_ids=run_id))

    def types(self, session_id: str) -> list[str]:
        """The types of a session's events, in order."""
        return [event.type.value for event in self.events(session_id)]

    def types_of(self, run_id: str) -> list[str]:
        """The types of a run's events, in order."""
        return [event.type.value for event in self.events_of(run_id)]

    def run(self, run_id: str) -> Run:
        """A run's record, from the store."""
        return self.store.run(run_id)

    def session(self, session_id: str) -> Session:
        """A session's record, from the store."""
        return self.store.session(session_id)

    def session_ref(self, session_id: str) -> Any:
        """Ref of a session's actor, or None."""
        return self.system.session(session_id).ref()

    def run_ref(self, run_id: str) -> Any:
        """Ref of a run's actor, or None."""
        return self.system.run(run_id).ref()

    def error_of(self, future: Any) -> AsmError | None:
        """How a future failed, or None; it must be answered by now."""
        assert future.is_available, "nobody has answered yet"
        try:
            future.get()
        except AsmError as error:
            return error
        return None

    def codes(self, futures: Iterable[Any]) -> list[ErrorCode | None]:
        """How futures failed, which must be answered by now; None for those that did not."""
        errors = map(self.error_of, futures)
        return [None if error is None else error.code for error in errors]

    def crash(self, ref: Any, text: str = "injected") -> None:
        """Have an actor fail before its next message."""
        self.dispatcher.crash(ref, RuntimeError(text))

    def check_journal(self, holes: int = 0) -> None:
        """Assert what must hold of the journal at every instant; see `testing.promises`, for `holes` too."""
        faults = journal_faults(self.store, holes)
        assert not faults, "\n".join(faults)

    def check_promises(self, holes: int = 0) -> None:
        """Come to rest, then assert what must hold of the journal and of everything that lives."""
        self.settle()
        faults = journal_faults(self.store, holes)
        if self.system.is_running:
            faults += live_faults(self.services)
        faults += [f"unseen failure: {failure}" for failure in self.dispatcher.failures]
        assert not faults, "\n".join(faults)
