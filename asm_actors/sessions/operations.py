"""Every operation of the session manager, defined once.

Each function checks what its caller gave, sends one message (or reads the store), and returns a future. The blocking
surface gets it, the asyncio surface awaits it (`sessions.manager`). Reads are futures that read where they are
waited for: on the caller's thread, or off the caller's event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import attrs

from asm_actors.capabilities.resolver import CapabilityResolver
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.journal.store import EventFilter
from asm_actors.providers.base import messages_from_input
from asm_actors.runs.messages import CancelRun
from asm_actors.runs.result import RunResult
from asm_actors.runs.run import Run
from asm_actors.serialization import check_id, invalid
from asm_actors.services import SESSIONS, Services, session_name
from asm_actors.sessions import messages as m
from asm_actors.sessions.session import Session, SessionStatus
from asm_actors.sessions.supervisor import Deliver, Drain, DrainReport
from supervisors import ActorDeadError, Future

__all__ = ["Operations"]

T = TypeVar("T")


class _Delivery(Future[T]):
    """A future that sends its message again, once, if the session's actor was just leaving.

    A session's actor leaves when its session is over; what was on its way to it finds the next life of the name.
    """

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._driver = services.dispatcher.driver
        self._services = services
        self._again: Deliver | None = None

    def set_error(self, error: BaseException) -> None:
        again, self._again = self._again, None
        if again is not None and isinstance(error, ActorDeadError):
            sessions = self._services.whereis(SESSIONS)
            if sessions is not None and sessions.post(again):
                return
            error = _stopped()
        super().set_error(error)


class _ResultFuture(_Delivery[RunResult]):
    """A delivery whose result knows how to read its events."""

    def _unwrap(self) -> RunResult:
        result = super()._unwrap()
        store, session_id, run_id = self._services.store, result.session_id, result.run_id

        def read() -> list[Event]:
            return store.read_session(session_id, EventFilter(run_ids=run_id))

        return attrs.evolve(result, read_events=read)


class Operations:
    """The operations; see the module. Ids in, values out; what is refused raises an `AsmError`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    # --- Sessions ----------------------------------------------------------------------------------------------

    def start_session(
        self,
        *,
        agent_id: str | None = None,
        id: str | None = None,  # noqa: A002 - the field's name is the argument's
        provider: str | None = None,
        context: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        parent_session_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Future[Session]:
        """Make a session; it is pending until it is activated.

        Args:
            agent_id: The agent it talks to; required.
            id: Its id, if the caller chooses it.
            provider: Name of the provider of its runs; by default the system's only one.
            context: What its runs start from, such as ``system_prompt``; JSON.
            metadata: The caller's own facts, JSON; ``correlation_id`` is put on each of its events.
            tags: Labels to find it by.
            parent_session_id: A session it belongs to.
            idempotency_key: A repeated start with the same key returns the same session.

        Returns:
            The session, once it is durable.

        Raises:
            ValidationError: A field is missing or malformed, or no provider has that name.
            ResourceError: ``already_exists``: the id is taken.
        """
        services = self._services
        if idempotency_key is not None:
            known = services.store.session_by_key(check_id(idempotency_key, "idempotency_key"))
            if known is not None:
                return self.get_session(known)
        session = Session.new(
            id=services.ids.session() if id is None else id,
            now=services.now_us(),
            agent_id=agent_id,
            parent_session_id=parent_session_id,
            metadata=metadata,
            context=context,
            tags=tags,
            provider=self._provider(provider, required=False),
            idempotency_key=idempotency_key,
        )
        if id is not None:
            self._check_free(session.id)
        return self._deliver(session.id, m.CreateSession(session), is_new=True)

    def activate_session(self, session_id: str) -> Future[Session]:
        """Make a pending or paused session active; an active one stays as it is.

        Raises:
            ConcurrencyError: ``max_sessions_exceeded``, or ``invalid_operation`` if it is about to end.
            StateError: ``invalid_transition``: it is over.
            ResourceError: ``session_not_found``.
        """
        return self._deliver(session_id, m.ActivateSession())

    def pause_session(self, session_id: str, *, reason: str | None = None) -> Future[Session]:
        """Start no new run of a session until it is resumed; runs under way go on.

        Raises:
            StateError: ``invalid_transition``: it is not active.
        """
        return self._deliver(session_id, m.PauseSession(reason))

    def resume_session(self, session_id: str) -> Future[Session]:
        """Make a paused session active again.

        Raises:
            ConcurrencyError: ``max_sessions_exceeded``; ``invalid_operation`` if it never was active.
        """
        return self._deliver(session_id, m.ResumeSession())

    def complete_session(self, session_id: str, *, cancel_runs: bool = False) -> Future[Session]:
        """End a session well.

        Args:
            session_id: Which session.
            cancel_runs: Cancel its open runs first. Without it they make this ``invalid_operation``.

        Raises:
            ConcurrencyError: ``invalid_operation``: runs are open.
            StateError: ``invalid_transition``: it is over otherwise, or never was active.
        """
        return self._deliver(session_id, m.CompleteSession(cancel_runs))

    def fail_session(self, session_id: str, error: AsmError | str | None = None) -> Future[Session]:
        """End a session with an error; its open runs are cancelled.

        Args:
            session_id: Which session.
            error: Why: an error, or a text.

        Raises:
            StateError: ``invalid_transition``: it is over otherwise.
        """
        if not isinstance(error, AsmError):
            error = AsmError(ErrorCode.INTERNAL_ERROR if error else ErrorCode.UNKNOWN_ERROR, error)
        return self._deliver(session_id, m.FailSession(error))

    def cancel_session(self, session_id: str, *, reason: str | None = None) -> Future[Session]:
        """Withdraw a session; its open runs are cancelled.

        Raises:
            StateError: ``invalid_transition``: it is over otherwise.
        """
        return self._deliver(session_id, m.CancelSession(reason))

    def get_session(self, session_id: str) -> Future[Session]:
        """Return a session's record.

        Raises:
            ResourceError: ``session_not_found``.
        """
        check_id(session_id, "session_id")
        return self._read(lambda: self._services.store.session(session_id))

    def list_sessions(
        self,
        *,
        status: SessionStatus | str | Iterable[SessionStatus | str] | None = None,
        agent_id: str | None = None,
        tags: Iterable[str] | None = None,
        provider: str | None = None,
        include_deleted: bool = False,
        limit: int | None = 50,
        after: str | None = None,
        newest_first: bool = True,
    ) -> Future[list[Session]]:
        """Return sessions in the order of their creation, newest first unless told otherwise.

        Args:
            status: One status or several.
            agent_id: The agent they talk to.
            tags: Labels they must all have.
            provider: The provider they use.
            include_deleted: Softly deleted ones too.
            limit: At most so many; None for all.
            after: Id of a session: those that follow it.
            newest_first: The order.

        Raises:
            StateError: ``invalid_status``, ``invalid_cursor``.
        """
        return self._read(
            lambda: self._services.store.sessions(
                status=status,
                agent_id=agent_id,
                tags=tags,
                provider=provider,
                include_deleted=include_deleted,
                limit=limit,
                after=after,
                newest_first=newest_first,
            )
        )

    # --- Runs --------------------------------------------------------------------------------------------------

    def start_run(
        self,
        session_id: str,
        input: Any = None,  # noqa: A002 - the field's name is the argument's
        *,
        id: str | None = None,  # noqa: A002 - as above
        provider: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        adapter_opts: Mapping[str, Any] | None = None,
        required_capabilities: Iterable[str] = (),
        optional_capabilities: Iterable[str] = (),
        idempotency_key: str | None = None,
    ) -> Future[Run]:
        """Create a run without executing it; see `execute_run`.

        Args:
            session_id: Its session, pending, active or paused.
            input: What to answer: a text, ``{"prompt": …}``, ``{"messages": [{"role", "content"}, …]}``, or
                whatever else the provider takes; JSON.
            id: Its id, if the caller chooses it.
            provider: Another provider than the session's.
            metadata: The caller's own facts, JSON.
            adapter_opts: Options for the provider, such as ``model`` or ``max_tokens``.
            required_capabilities: Capability types which the provider must have.
            optional_capabilities: Types whose absence is only noted, in the run's ``options``.
            idempotency_key: A repeated call with the same key returns the same run.

        Returns:
            The run, once it is durable.

        Raises:
            ValidationError: The input or an option is malformed, or no provider has that name.
            StateError: ``missing_required_capability``.
            ProviderError: The provider cannot work as configured (``provider_authentication_failed``, …).
            ConcurrencyError: ``invalid_operation``: the session is over.
            ResourceError: ``session_not_found``, ``already_exists``.
        """
        known = self._known_run(session_id, idempotency_key)
        if known is not None:
            return known
        run = self._new_run(
            session_id,
            input,
            id=id,
            provider=provider,
            metadata=metadata,
            adapter_opts=adapter_opts,
            required_capabilities=required_capabilities,
            optional_capabilities=optional_capabilities,
            idempotency_key=idempotency_key,
        )
        return self._deliver(session_id, m.CreateRun(run))

    def submit_run(
        self,
        session_id: str,
        input: Any = None,  # noqa: A002 - as above
        *,
        id: str | None = None,  # noqa: A002 - as above
        provider: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        adapter_opts: Mapping[str, Any] | None = None,
        required_capabilities: Iterable[str] = (),
        optional_capabilities: Iterable[str] = (),
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> Future[Run]:
        """Create a run and have it executed in its turn; returns as soon as that is durable.

        Args:
            deadline: Seconds the run may take from now, waiting included; then it ends as ``timeout``.
            session_id: See `start_run`, as for the others.

        Raises:
            ConcurrencyError: ``max_runs_exceeded``: the session's queue is full; ``invalid_operation``: the session
                is not active.
            AsmError: As `start_run`.
        """
        known = self._known_run(session_id, idempotency_key)
        if known is not None:
            return known
        run = self._new_run(
            session_id,
            input,
            id=id,
            provider=provider,
            metadata=metadata,
            adapter_opts=adapter_opts,
            required_capabilities=required_capabilities,
            optional_capabilities=optional_capabilities,
            idempotency_key=idempotency_key,
            marks={"submitted": True},
        )
        return self._deliver(session_id, m.SubmitRun(run, _deadline(deadline)))

    def execute_run(
        self,
        run_id: str,
        *,
        deadline: float | None = None,
        adapter_opts: Mapping[str, Any] | None = None,
    ) -> Future[RunResult]:
        """Execute a run that was created, in its turn, and wait for its result. One that is under way is awaited.

        Args:
            run_id: Which run.
            deadline: Seconds it may take from now, waiting included.
            adapter_opts: Options for the provider, over those of `start_run`.

        Raises:
            AsmError: How the run ended, if it did not complete: its own error, ``cancelled``, ``timeout``.
            ConcurrencyError: ``invalid_operation``: it is over, or its session is not active; ``max_runs_exceeded``.
            ResourceError: ``run_not_found``.
        """
        options = None if adapter_opts is None else {"adapter_opts": dict(adapter_opts)}
        message = m.ExecuteRun(run_id, _deadline(deadline), options)
        return self._deliver_run(run_id, message, _ResultFuture(self._services))

    def await_run(self, run_id: str) -> Future[RunResult]:
        """Wait for the result of a run, whoever started it; a finished one answers at once.

        Raises:
            AsmError: How the run ended, if it did not complete.
            ResourceError: ``run_not_found``.
            pykka.Timeout: ``timeout`` seconds were not enough (`TimeoutError` on the asyncio surface).
        """
        return self._deliver_run(run_id, m.AwaitRun(run_id), _ResultFuture(self._services))

    def run_once(
        self,
        input: Any = None,  # noqa: A002 - as above
        *,
        provider: str | None = None,
        agent_id: str | None = None,
        context: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        adapter_opts: Mapping[str, Any] | None = None,
        required_capabilities: Iterable[str] = (),
        optional_capabilities: Iterable[str] = (),
        deadline: float | None = None,
    ) -> Future[RunResult]:
        """Make a session, execute one run in it, complete it, and return the result.

        Args:
            input: See `start_run`.
            provider: Name of the provider; by default the system's only one.
            agent_id: By default the provider's name.
            context: See `start_session`.
            metadata: Facts for session and run.
            tags: Labels of the session.
            adapter_opts: Options for the provider.
            required_capabilities: See `start_run`.
            optional_capabilities: See `start_run`.
            deadline: Seconds it may take in all.

        Raises:
            AsmError: How the run ended, if it did not complete; the session has failed (or was cancelled) with it.
        """
        services = self._services
        name = self._provider(provider, required=True)
        session = Session.new(
            id=services.ids.session(),
            now=services.now_us(),
            agent_id=name if agent_id is None else agent_id,
            metadata=metadata,
            context=context,
            tags=tags,
            provider=name,
        )
        run = self._new_run(
            session.id,
            input,
            provider=name,
            metadata=metadata,
            adapter_opts=adapter_opts,
            required_capabilities=required_capabilities,
            optional_capabilities=optional_capabilities,
            marks={"submitted": True, "once": True},
        )
        message = m.RunOnce(session, run, _deadline(deadline))
        future = _ResultFuture(services)
        return self._deliver(session.id, message, future, is_new=True)

    def get_run(self, run_id: str) -> Future[Run]:
        """Return a run's record.

        Raises:
            ResourceError: ``run_not_found``.
        """
        check_id(run_id, "run_id")
        return self._read(lambda: self._services.store.run(run_id))

    def get_session_runs(
        self, session_id: str, *, status: Any = None, limit: int | None = None
    ) -> Future[list[Run]]:
        """Return the runs of a session in the order of their creation.

        Raises:
            ResourceError: ``session_not_found``.
            StateError: ``invalid_status``.
        """
        check_id(session_id, "session_id")
        return self._read(lambda: self._services.store.runs(session_id, status=status, limit=limit))

    def cancel_run(self, run_id: str, *, reason: str | None = None) -> Future[Run]:
        """Withdraw a run. When this returns, its stream is closed, what it had said is in the journal, its slot is free.

        Cancelling a run that is over changes nothing.

        Returns:
            The run's final record.

        Raises:
            ResourceError: ``run_not_found``.
        """
        return self._deliver_run(run_id, CancelRun(reason, run_id))

    # --- Events ------------------------------------------------------------------------------------------------

    def get_session_events(
        self,
        session_id: str,
        *,
        after: int | None = None,
        before: int | None = None,
        since: datetime | None = None,
        run_id: str | None = None,
        type: Any = None,  # noqa: A002 - the seed's and the event's name
        limit: int | None = None,
    ) -> Future[list[Event]]:
        """Return events of a session, in order.

        Args:
            session_id: Which session.
            after: Sequence number after which to begin (exclusive).
            before: Sequence number before which to end (exclusive).
            since: Earliest time (inclusive), aware.
            run_id: Events of this run only.
            type: One event type or several.
            limit: At most so many, the first ones.

        Raises:
            ResourceError: ``session_not_found``.
            AsmError: ``validation_error``, ``invalid_event_type``.
        """
        check_id(session_id, "session_id")
        wanted = EventFilter(
            after=after, before=before, since=since, run_ids=run_id, types=type, limit=limit
        )
        return self._read(lambda: self._services.store.read_session(session_id, wanted))

    # --- The whole ---------------------------------------------------------------------------------------------

    def status(self, session_id: str | None = None) -> Future[dict[str, Any]]:
        """Tell what runs and what waits, of one live session or of the whole system.

        Returns:
            For a session: ``session_id status in_flight_runs in_flight_count queued_runs queued_count created_runs
            max_concurrent_runs max_queued_runs last_sequence``. For the system: ``active_sessions active_runs
            waiting_runs open_runs max_parallel_sessions max_parallel_runs available_session_slots
            available_run_slots providers lost_providers events sessions_live is_draining`` (None: no limit).

        Raises:
            ResourceError: ``session_not_found``.
        """
        if session_id is not None:
            return self._deliver(session_id, m.GetStatus())
        from asm_actors.status import system_status

        future: Future[dict[str, Any]] = Future()
        dispatcher = self._services.dispatcher
        future._driver = dispatcher.driver
        dispatcher.call_from_outside(lambda: future.set(system_status(self._services)))
        return future

    def drain(self, timeout: float | None = 60.0) -> Future[DrainReport]:
        """Admit no new sessions and runs, and wait until none is open, or until the time is over.

        Args:
            timeout: Seconds; None waits for ever.

        Returns:
            ``orphans``: ids of the runs that are still open (they go on), and ``waited_s``.
        """
        future: Future[DrainReport] = Future()
        ref = self._services.whereis(SESSIONS)
        if ref is None:
            future.set_error(_stopped())
            return future
        return ref.ask_into(Drain(timeout), future)  # type: ignore[no-any-return]

    def send(self, session_id: str, message: Any, *, wants_reply: bool = True) -> Future[Any]:
        """Send any message of `asm_actors.messages` to a session."""
        if not wants_reply:
            self._tell(check_id(session_id, "session_id"), message)
            return Future()
        return self._deliver(session_id, message)

    def send_to_run(self, run_id: str, message: Any, *, wants_reply: bool = True) -> Future[Any]:
        """Send any message that names a run to the run's session."""
        if not wants_reply:
            self._tell(self._session_of(run_id), message)
            return Future()
        return self._deliver_run(run_id, message)

    # --- How they are carried out ------------------------------------------------------------------------------

    def _read(self, read: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        future.set_get_hook(lambda _timeout: read())
        return future

    def _deliver(
        self, session_id: str, message: Any, future: _Delivery[Any] | None = None, *, is_new: bool = False
    ) -> Future[Any]:
        check_id(session_id, "session_id")
        services = self._services
        if future is None:
            future = _Delivery(services)
        again = Deliver(session_id, message, future, is_new)
        if not is_new:
            ref = services.whereis(session_name(session_id))
            if ref is not None and ref.is_alive() and type(message) not in _NEW_WORK:
                future._again = again
                return ref.ask_into(message, future)  # type: ignore[no-any-return]
        sessions = services.whereis(SESSIONS)
        if sessions is None or not sessions.post(again):
            future.set_error(_stopped())
        return future

    def _deliver_run(self, run_id: str, message: Any, future: _Delivery[Any] | None = None) -> Future[Any]:
        return self._deliver(self._session_of(run_id), message, future)

    def _session_of(self, run_id: str) -> str:
        known = self._services.directory.runs.get(check_id(run_id, "run_id"))
        return self._services.store.run(run_id).session_id if known is None else known

    def _tell(self, session_id: str, message: Any) -> None:
        sessions = self._services.whereis(SESSIONS)
        if sessions is None or not sessions.post(Deliver(session_id, message, None)):
            raise _stopped()

    def _check_free(self, session_id: str) -> None:
        if self._services.store.has_session(session_id):
            raise AsmError(
                ErrorCode.ALREADY_EXISTS, f"there is a session {session_id} already; choose another id"
            )

    def _provider(self, name: str | None, *, required: bool) -> str | None:
        services = self._services
        if name is None:
            if services.default_provider is None and required:
                raise invalid("provider", f"must be one of: {_names(services.providers)}", name)
            return services.default_provider
        if name not in services.providers:
            raise invalid("provider", f"must be one of: {_names(services.providers)}", name)
        return name

    def _known_run(self, session_id: str, key: str | None) -> Future[Run] | None:
        if key is None:
            return None
        known = self._services.store.run_by_key(session_id, check_id(key, "idempotency_key"))
        return None if known is None else self.get_run(known)

    def _new_run(
        self,
        session_id: str,
        input: Any,  # noqa: A002 - as above
        *,
        id: str | None = None,  # noqa: A002 - as above
        provider: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        adapter_opts: Mapping[str, Any] | None = None,
        required_capabilities: Iterable[str] = (),
        optional_capabilities: Iterable[str] = (),
        idempotency_key: str | None = None,
        marks: Mapping[str, Any] | None = None,
    ) -> Run:
        services = self._services
        check_id(session_id, "session_id")
        messages_from_input(input, strict=False)
        chosen = self._provider(provider, required=False)
        if chosen is not None:
            self._check_provider(chosen)
        # The marks tell a later life of the session how the run came to be (see `sessions.recovery`).
        options: dict[str, Any] = dict(marks or {})
        if adapter_opts:
            options["adapter_opts"] = dict(adapter_opts)
        if chosen is not None and (required_capabilities or optional_capabilities):
            resolver = CapabilityResolver.new(required=required_capabilities, optional=optional_capabilities)
            negotiated = resolver.negotiate(services.manifests[chosen].capabilities)
            options["capabilities"] = {"status": str(negotiated.status), "warnings": list(negotiated.warnings)}
        return Run.new(
            id=services.ids.run() if id is None else id,
            now=services.now_us(),
            session_id=session_id,
            input=input,
            metadata=metadata,
            provider=provider,
            idempotency_key=idempotency_key,
            options=options or None,
        )

    def _check_provider(self, name: str) -> None:
        if name in self._services.directory.lost_providers:
            raise AsmError(
                ErrorCode.PROVIDER_UNAVAILABLE,
                f"provider {name} crashed too often and was given up; see the log, then start a new system",
                context={"provider": name},
            )
        self._services.providers[name].check()


_NEW_WORK = frozenset({m.CreateSession, m.RunOnce, m.CreateRun, m.SubmitRun, m.ActivateSession})


def _deadline(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise invalid("deadline", "must be seconds greater than 0, or None", seconds)
    return float(seconds)


def _names(providers: Mapping[str, Any]) -> str:
    return ", ".join(sorted(providers)) or "(none is configured)"


def _stopped() -> AsmError:
    return AsmError(ErrorCode.INVALID_OPERATION, "the actor system is not running; start one first")
