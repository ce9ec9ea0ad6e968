"""`ActorSystem` and `AsyncActorSystem`: start everything, hold the door, stop in order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any, Self, Unpack

from asm_actors.config import Limits
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.handles import AsyncRunHandle, AsyncSessionHandle
from asm_actors.journal.store import Store
from asm_actors.maintenance.registry import ArtifactRegistry, AsyncArtifactRegistry
from asm_actors.maintenance.surface import AsyncMaintenance, Maintenance
from asm_actors.providers.base import Provider
from asm_actors.queries import AsyncQueries, Queries
from asm_actors.running import StopReport, SystemBase
from asm_actors.serialization import check_seconds
from asm_actors.services import Services
from asm_actors.sessions.manager import AsyncSessionManager, SessionManager
from asm_actors.settings.config import Config
from asm_actors.signals import STOP_SIGNALS, wait_and_stop, wait_and_stop_async
from asm_actors.starting import Durability, StartOptions, make_services
from asm_actors.telemetry.audit import AsyncAuditLog, AuditLog
from supervisors import Dispatcher, LoopDispatcher

__all__ = ["ActorSystem", "AsyncActorSystem", "Durability", "StopReport"]


class ActorSystem(SystemBase):
    """A running system on the blocking surface; see the package for an example.

    Make it with `ActorSystem.start`. Used in a `with` block it drains and stops at the block's end.
    """

    @classmethod
    def start(
        cls,
        journal: str | os.PathLike[str] | Store | None = None,
        providers: Mapping[str, Provider] | None = None,
        limits: Limits | None = None,
        *,
        dispatcher: Dispatcher | None = None,
        **options: Unpack[StartOptions],
    ) -> Self:
        """Open the journal, start the tree, and take up what an earlier process left open.

        Args:
            journal: Directory of the LMDB journal, made if it is not there; or a store such as `MemoryStore()`.
                Required, unless the configuration names one.
            providers: Providers by the name under which sessions and runs ask for them.
            limits: How much may go on at once.
            dispatcher: Runs the actors; by default a `LoopDispatcher` of the system's own.
            **options: `StartOptions` has the names and what they mean.

        Raises:
            ValidationError: An argument is malformed.
            StorageError: ``journal_locked`` if another process writes it, ``migration_required``,
                ``storage_read_failed``, …; nothing has been changed.
        """
        owns = dispatcher is None
        chosen = (
            dispatcher if dispatcher is not None else LoopDispatcher("asm-dispatcher", calm_collector=True)
        )
        services = make_services(
            journal,
            providers,
            limits,
            dispatcher=chosen,
            **options,
        )
        system = cls(services, chosen, owns_dispatcher=owns)
        system._begin()
        return system

    @classmethod
    def from_config(
        cls, config: Config, providers: Mapping[str, Provider] | None = None, **options: Any
    ) -> Self:
        """As `start`, by a configuration; arguments of `start` that are given besides stand over what it says."""
        return cls.start(providers=providers, config=config, **options)

    def __init__(self, services: Services, dispatcher: Dispatcher, *, owns_dispatcher: bool) -> None:
        super().__init__(services, dispatcher, owns_dispatcher=owns_dispatcher)
        self.sessions = SessionManager(services)
        self.queries = Queries(services)
        self.maintenance = Maintenance(services)
        self.artifacts = ArtifactRegistry(services)
        self.audit = AuditLog(services)

    def tree(self, limit: int = 20) -> str:
        """The supervision tree as text: who runs, restarts, mailbox depths.

        Args:
            limit: Sessions, runs and subscriptions to show below each actor; the rest are counted.

        Raises:
            ConcurrencyError: ``invalid_operation``: the system does not run.
            ValidationError: The limit is no integer of at least 0.
        """
        return self._tree(limit).get(timeout=10.0)

    def stop(
        self, *, drain: bool = False, timeout: float | None = 10.0, cancel_runs: bool = False
    ) -> StopReport:
        """Stop in order; idempotent.

        Args:
            drain: Take nothing new, and let what is open end within `timeout`.
            timeout: Seconds for the drain (or the cancelling); None for ever. What is left of it, one second at least,
                coroutines of tools have to end when they are cancelled (`task_shutdown_timeout_ms` at most).
            cancel_runs: Cancel what is open. Without it open runs are left to the next start, which takes them up.

        Returns:
            Which runs were still open, and whether nothing was left behind.
        """
        return self._stop(drain, timeout, cancel_runs)

    def run_until_signal(
        self, *, timeout: float | None = 30.0, signals: Sequence[int] = STOP_SIGNALS
    ) -> StopReport:
        """Run until SIGINT or SIGTERM, then drain and stop; a second signal stops at once. Main thread only.

        Args:
            timeout: Seconds for the drain; None for ever.
            signals: Which signals.

        Raises:
            RuntimeFailure: ``internal_error``: the supervision tree gave up; the system is stopped.
            ConcurrencyError: ``invalid_operation``: not the main thread, or the system does not run.
        """
        wait = check_seconds(timeout)
        self._check_running()
        got = wait_and_stop(
            self._dispatcher, self._root, lambda drain: self._stop(drain, wait, False), signals=signals
        )
        return self._stopped_by(got)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *rest: object) -> None:
        self.stop(drain=exc_type is None)


class AsyncActorSystem(SystemBase):
    """A running system on the asyncio surface: the same names, awaited.

    ``async with asm.AsyncActorSystem.start(...) as system: ...``. Its actors run on a thread of their own; the
    caller's event loop only waits.
    """

    @classmethod
    def start(
        cls,
        journal: str | os.PathLike[str] | Store | None = None,
        providers: Mapping[str, Provider] | None = None,
        limits: Limits | None = None,
        *,
        dispatcher: Dispatcher | None = None,
        **options: Unpack[StartOptions],
    ) -> Self:
        """Prepare a system; it starts when it is awaited or entered. Arguments as for `ActorSystem.start`.

        Raises:
            ValidationError: An argument is malformed.
        """
        owns = dispatcher is None
        chosen = (
            dispatcher if dispatcher is not None else LoopDispatcher("asm-dispatcher", calm_collector=True)
        )
        services = make_services(
            journal,
            providers,
            limits,
            dispatcher=chosen,
            **options,
        )
        return cls(services, chosen, owns_dispatcher=owns)

    @classmethod
    def from_config(
        cls, config: Config, providers: Mapping[str, Provider] | None = None, **options: Any
    ) -> Self:
        """As `ActorSystem.from_config`; it starts when it is awaited or entered."""
        return cls.start(providers=providers, config=config, **options)

    def __init__(self, services: Services, dispatcher: Dispatcher, *, owns_dispatcher: bool) -> None:
        super().__init__(services, dispatcher, owns_dispatcher=owns_dispatcher)
        self.sessions = AsyncSessionManager(services)
        self.queries = AsyncQueries(services)
        self.maintenance = AsyncMaintenance(services)
        self.artifacts = AsyncArtifactRegistry(services)
        self.audit = AsyncAuditLog(services)
        self._opening: asyncio.Future[None] | None = None

    async def _open(self) -> Self:
        if self._stopped is not None:
            raise AsmError(ErrorCode.INVALID_OPERATION, "the system was stopped; start a new one")
        if self._opening is None:
            self._opening = asyncio.ensure_future(asyncio.to_thread(self._begin))
        opening = self._opening
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            # Its starter gives up: nobody would stop what has begun to run.
            await asyncio.wait([opening])
            if not opening.cancelled() and opening.exception() is None:
                await self.stop()
            raise
        return self

    def session(self, session_id: str) -> AsyncSessionHandle:
        """As `ActorSystem.session`; ``await system.session(id).ask(messages.GetSession())``."""
        return AsyncSessionHandle(self._services, session_id)

    def run(self, run_id: str) -> AsyncRunHandle:
        """As `ActorSystem.run`; what it is asked is awaited."""
        return AsyncRunHandle(self._services, run_id)

    def __await__(self) -> Any:
        return self._open().__await__()

    async def tree(self, limit: int = 20) -> str:
        """As `ActorSystem.tree`, awaited."""
        return await self._tree(limit)

    async def stop(
        self,
        *,
        drain: bool = False,
        timeout: float | None = 10.0,  # noqa: ASYNC109 - the time of the drain
        cancel_runs: bool = False,
    ) -> StopReport:
        """Stop in order; idempotent. Arguments as for `ActorSystem.stop`."""
        return await asyncio.to_thread(self._stop, drain, timeout, cancel_runs)

    async def run_until_signal(
        self,
        *,
        timeout: float | None = 30.0,  # noqa: ASYNC109 - the time of the drain
        signals: Sequence[int] = STOP_SIGNALS,
    ) -> StopReport:
        """As `ActorSystem.run_until_signal`, awaited, on the main thread's event loop."""
        wait = check_seconds(timeout)
        self._check_running()
        got = await wait_and_stop_async(
            self._dispatcher,
            self._root,
            lambda drain: self.stop(drain=drain, timeout=wait),
            signals=signals,
        )
        return self._stopped_by(got)

    async def __aenter__(self) -> Self:
        return await self._open()

    async def __aexit__(self, exc_type: type[BaseException] | None, *rest: object) -> None:
        await self.stop(drain=exc_type is None)
