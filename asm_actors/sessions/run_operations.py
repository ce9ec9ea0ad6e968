"""The operations on runs and events; see `sessions.operations`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from asm_actors.capabilities.resolver import CapabilityResolver
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.store import Store
from asm_actors.providers.base import messages_from_input
from asm_actors.runs.options import RunOptions, run_options
from asm_actors.runs.result import RunResult
from asm_actors.runs.run import Run, RunStatus
from asm_actors.serialization import check_id, check_seconds
from asm_actors.sessions import messages as m
from asm_actors.sessions.admission import check_deadline
from asm_actors.sessions.carrying import Carrying, chosen, configured
from asm_actors.sessions.delivery import Delivery, ResultDelivery, ask_sessions, deliver, deliver_to_run
from asm_actors.sessions.door import check_names, check_provider, known_provider, negotiated
from asm_actors.sessions.requests import Claim, Deliver
from asm_actors.sessions.session import Session
from supervisors import Future

__all__ = ["RunOperations"]


class RunOperations(Carrying):
    """Half of `Operations`."""

    def start_run(
        self,
        session_id: str,
        input: Any = None,  # noqa: A002 - the field's name is the argument's
        *,
        id: str | None = None,  # noqa: A002 - as above
        provider: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        required_capabilities: Iterable[str] = (),
        optional_capabilities: Iterable[str] = (),
        idempotency_key: str | None = None,
        **options: Unpack[RunOptions],
    ) -> Future[Run]:
        """Create a run without executing it; see `execute_run`.

        Args:
            session_id: Its session, pending, active or paused.
            input: What to answer: a text, ``{"prompt": …}``, ``{"messages": [{"role", "content"}, …]}``, or
                whatever else the provider takes; JSON.
            id: Its id, if the caller chooses it.
            provider: Another provider than the session's.
            metadata: The caller's own facts, JSON.
            required_capabilities: Capability types which the provider must have.
            optional_capabilities: Types whose absence is only noted, in the run's ``details``.
            idempotency_key: A repeated call with the same key returns the same run.
            **options: How it is executed: `RunOptions` has the names and what they mean.

        Returns:
            The run, once it is durable.

        Raises:
            ValidationError: The input or an option is malformed, or no provider has that name.
            StateError: ``missing_required_capability``.
            ProviderError: The provider cannot work as configured (``provider_authentication_failed``, …).
            ConcurrencyError: ``invalid_operation``: the session is over.
            ResourceError: ``session_not_found``, ``already_exists``.
        """
        run, wanted = self._new_run(
            session_id,
            input,
            id=id,
            provider=provider,
            metadata=metadata,
            required_capabilities=required_capabilities,
            optional_capabilities=optional_capabilities,
            idempotency_key=idempotency_key,
            options=options,
        )
        return self._make_run(m.CreateRun(run, wanted), has_chosen_id=id is not None)

    def submit_run(
        self,
        session_id: str,
        input: Any = None,  # noqa: A002 - as above
        *,
        id: str | None = None,  # noqa: A002 - as above
        provider: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        required_capabilities: Iterable[str] = (),
        optional_capabilities: Iterable[str] = (),
        idempotency_key: str | None = None,
        deadline: float | None = None,
        **options: Unpack[RunOptions],
    ) -> Future[Run]:
        """Create a run and have it executed in its turn; returns as soon as that is durable.

        Args:
            session_id: Its session, active or paused; on a paused one it waits.
            input: See `start_run`, as for the others.
            id: Its id.
            provider: Another provider.
            metadata: Facts.
            required_capabilities: What the provider must have.
            optional_capabilities: What it may lack.
            idempotency_key: A repeated call with the same key returns the same run; one that was only created is put
                in line.
            deadline: Seconds the run may take from now, waiting included; then it ends as ``timeout``.
            **options: How it is executed: `RunOptions`.

        Raises:
            ConcurrencyError: ``max_runs_exceeded``: the session's queue is full; ``invalid_operation``: the session
                is not active.
            AsmError: As `start_run`.
        """
        run, wanted = self._new_run(
            session_id,
            input,
            id=id,
            provider=provider,
            metadata=metadata,
            required_capabilities=required_capabilities,
            optional_capabilities=optional_capabilities,
            idempotency_key=idempotency_key,
            marks={"submitted": True},
            options=options,
        )
        message = m.SubmitRun(run, check_deadline(deadline), wanted)
        return self._make_run(message, has_chosen_id=id is not None)

    def execute_run(
        self, run_id: str, *, deadline: float | None = None, **options: Unpack[RunOptions]
    ) -> Future[RunResult]:
        """Execute a run that was created, in its turn, and wait for its result. One that is under way is awaited.

        Args:
            run_id: Which run.
            deadline: Seconds it may take from now, waiting included.
            **options: How it is executed, over what `start_run` was given: `RunOptions`.

        Raises:
            AsmError: How the run ended, if it did not complete: its own error, ``cancelled``, ``timeout``.
            ConcurrencyError: ``invalid_operation``: it is over, or its session is not active; ``max_runs_exceeded``.
            ResourceError: ``run_not_found``.
        """
        run_id = check_id(run_id, "run_id")
        more = run_options(configured(self._services, options), self._services.tools) or None
        message = m.ExecuteRun(run_id, check_deadline(deadline), more)
        return deliver_to_run(self._services, run_id, message, ResultDelivery(self._services))

    def await_run(self, run_id: str) -> Future[RunResult]:
        """Wait for the result of a run, whoever started it; a finished one answers at once.

        Raises:
            AsmError: How the run ended, if it did not complete.
            ResourceError: ``run_not_found``.
            pykka.Timeout: ``timeout`` seconds were not enough (`TimeoutError` on the asyncio surface).
        """
        run_id = check_id(run_id, "run_id")
        return deliver_to_run(self._services, run_id, m.AwaitRun(run_id), ResultDelivery(self._services))

    def patience(self, timeout: float | None) -> float | None:
        """How long a caller of `await_run` waits, in seconds; None: for ever.

        Args:
            timeout: What the caller says; None: as the system is configured.

        Raises:
            ValidationError: It is no number of seconds.
        """
        wait_ms = self._services.config.await_run_timeout_ms
        return check_seconds(timeout) if timeout is not None or wait_ms is None else wait_ms / 1000

    def run_once(
        self,
        input: Any = None,  # noqa: A002 - as above
        *,
        provider: str | None = None,
        agent_id: str | None = None,
        context: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        required_capabilities: Iterable[str] = (),
        optional_capabilities: Iterable[str] = (),
        deadline: float | None = None,
        **options: Unpack[RunOptions],
    ) -> Future[RunResult]:
        """Make a session, execute one run in it, complete it, and return the result.

        Args:
            input: See `start_run`.
            provider: Name of the provider; by default the system's only one.
            agent_id: By default the provider's name.
            context: See `start_session`.
            metadata: Facts for session and run.
            tags: Labels of the session.
            required_capabilities: See `start_run`.
            optional_capabilities: See `start_run`.
            deadline: Seconds it may take in all.
            **options: How it is executed: `RunOptions`.

        Raises:
            AsmError: How the run ended, if it did not complete; the session has failed (or was cancelled) with it.
        """
        return self.once(
            input,
            provider=provider,
            agent_id=agent_id,
            context=context,
            metadata=metadata,
            tags=tags,
            required_capabilities=required_capabilities,
            optional_capabilities=optional_capabilities,
            deadline=deadline,
            **options,
        )[0]

    def once(
        self,
        input: Any,  # noqa: A002 - as above
        *,
        provider: str | None = None,
        agent_id: str | None = None,
        context: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        required_capabilities: Iterable[str] = (),
        optional_capabilities: Iterable[str] = (),
        deadline: float | None = None,
        **options: Unpack[RunOptions],
    ) -> tuple[Future[RunResult], Run]:
        """As `run_once`; also the run, which can be followed."""
        services = self._services
        name = known_provider(services, services.default_provider if provider is None else provider)
        session = Session.new(
            id=services.ids.session(),
            now=services.now_us(),
            agent_id=name if agent_id is None else agent_id,
            metadata=metadata,
            context=context,
            tags=tags,
            provider=name,
        )
        check_names(services, session, has_chosen_id=False)
        run, wanted = self._new_run(
            session.id,
            input,
            provider=name,
            metadata=metadata,
            required_capabilities=required_capabilities,
            optional_capabilities=optional_capabilities,
            marks={"submitted": True, "once": True},
            options=options,
        )
        if wanted is not None:
            run = negotiated(services, name, run, wanted)
        check_provider(services, name)
        making = Deliver(session.id, m.RunOnce(session, run, check_deadline(deadline)), is_new=True)
        return ask_sessions(services, making, ResultDelivery(services)), run

    # --- How they are carried out ------------------------------------------------------------------------------

    def _new_run(
        self,
        session_id: str,
        input: Any,  # noqa: A002 - as above
        *,
        id: str | None = None,  # noqa: A002 - as above
        provider: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        required_capabilities: Iterable[str] = (),
        optional_capabilities: Iterable[str] = (),
        idempotency_key: str | None = None,
        marks: Mapping[str, Any] | None = None,
        options: RunOptions,
    ) -> tuple[Run, CapabilityResolver | None]:
        services = self._services
        session_id = check_id(session_id, "session_id")
        messages_from_input(input, strict=False)
        named = self._provider(provider)
        if named is not None:
            check_provider(services, named)
        # The marks tell a later life of the session how the run came to be (see `sessions.recovery`).
        found = run_options(configured(services, options), services.tools) if options else {}
        if marks:
            found |= marks
        wanted = None
        if required_capabilities or optional_capabilities:
            wanted = CapabilityResolver.new(required=required_capabilities, optional=optional_capabilities)
        run = Run.new(
            id=services.ids.run() if id is None else id,
            now=services.now_us(),
            session_id=session_id,
            input=input,
            metadata=metadata,
            provider=provider,
            idempotency_key=idempotency_key,
            options=found or None,
        )
        check_names(services, run, has_chosen_id=id is not None)
        return run, wanted

    def _make_run(self, message: m.CreateRun | m.SubmitRun, *, has_chosen_id: bool) -> Future[Run]:
        services, run = self._services, message.run
        session_id, key = run.session_id, run.idempotency_key
        keys = chosen(
            ("run", run.id if has_chosen_id else None),
            ("run key", None if key is None else (session_id, key)),
        )
        if not keys:
            return deliver(services, session_id, message)

        def find(store: Store) -> Run | None:
            known = None if key is None else store.run_by_key(session_id, key)
            if known is not None:
                return store.run(known)
            if has_chosen_id and store.has_run(run.id):
                raise AsmError(
                    ErrorCode.ALREADY_EXISTS, f"there is a run {run.id} already; choose another id"
                )
            return None

        claim = Claim(keys, find, Deliver(session_id, message))
        made: Future[Run] = ask_sessions(services, claim, Delivery(services))
        if key is None or not isinstance(message, m.SubmitRun):
            return made
        return self._queued(made, m.QueueRun(run.id, message.deadline_s))

    def _queued(self, made: Future[Run], message: m.QueueRun) -> Future[Run]:
        """See to it that a run with a key is in line, whoever made it, and whatever for."""
        answer: Delivery[Run] = Delivery(self._services)

        def go_on(made: Future[Run]) -> None:
            try:
                run = made.get()
            except Exception:  # the asker's
                answer.set_exception()
                return
            if run.status is not RunStatus.PENDING or run.options.get("submitted"):
                answer.set(run)
            else:
                deliver(self._services, run.session_id, message._replace(run_id=run.id), answer)

        made.add_done_callback(go_on)
        return answer
