"""`SessionManager` and `AsyncSessionManager`: the same operations, blocking and awaited.

The operations are defined once, in `sessions.operations`; here each gets its two faces. What is written out is only
what differs between them: waiting with a timeout, following events, and event callbacks.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

import attrs

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.journal.follow import AsyncSubscription, Subscription
from asm_actors.journal.store import EventFilter
from asm_actors.journal.subscription import Scope
from asm_actors.runs.result import RunResult
from asm_actors.serialization import check_id, invalid
from asm_actors.services import Services
from asm_actors.sessions.operations import Operations
from supervisors import Future

__all__ = ["AsyncSessionManager", "EventCallback", "SessionManager"]

logger = logging.getLogger("asm_actors.callbacks")

P = ParamSpec("P")
T = TypeVar("T")
EventCallback = Callable[[Event], Any]
RUN_ENDS = frozenset(
    {EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED, EventType.RUN_TIMEOUT}
)


def _blocking(
    operation: Callable[Concatenate[Operations, P], Future[T]],
) -> Callable[Concatenate[SessionManager, P], T]:
    @functools.wraps(operation)
    def method(self: SessionManager, *args: P.args, **kwargs: P.kwargs) -> T:
        return operation(self._operations, *args, **kwargs).get()

    return method


def _awaited(
    operation: Callable[Concatenate[Operations, P], Future[T]],
) -> Callable[Concatenate[AsyncSessionManager, P], Coroutine[Any, Any, T]]:
    @functools.wraps(operation)
    async def method(self: AsyncSessionManager, *args: P.args, **kwargs: P.kwargs) -> T:
        return await operation(self._operations, *args, **kwargs)

    return method


class _Shared:
    """What both surfaces share."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._operations = Operations(services)

    def _scope(
        self,
        session_id: str | None,
        run_id: str | None,
        type: Any,  # noqa: A002 - the event's name
        since: datetime | None,
    ) -> Scope:
        if session_id is not None:
            check_id(session_id, "session_id")
            self._services.store.head(session_id)  # raises session_not_found where the caller sees it
        return Scope(session_id, EventFilter(run_ids=run_id, types=type, since=since))

    def _cursor(self, after: int | None) -> int:
        if after is None:
            return 0
        if isinstance(after, bool) or not isinstance(after, int) or after < 0:
            raise invalid("after", "must be an integer of at least 0", after)
        return after


class _Callbacks:
    """Calls a user's callback, and counts when it raises: the run goes on, and the log has it once."""

    def __init__(self, callback: EventCallback, run_id: str) -> None:
        self._callback = callback
        self._run_id = run_id
        self.failures = 0

    def failed(self) -> None:
        self.failures += 1
        if self.failures == 1:
            logger.exception("event_callback of run %s raised; the run goes on", self._run_id)

    def call(self, event: Event) -> Any:
        try:
            return self._callback(event)
        except Exception:  # the user's, and harms only itself
            self.failed()
            return None

    def counted(self, result: RunResult) -> RunResult:
        return attrs.evolve(result, callback_failures=self.failures) if self.failures else result


class SessionManager(_Shared):
    """The operations on sessions and runs, blocking; `ActorSystem.sessions` gives it.

    Every method returns values that are durable, and raises an `AsmError` for what is refused; nothing has changed
    then. Not for use on the dispatcher's own thread (`WouldDeadlock`).
    """

    start_session = _blocking(Operations.start_session)
    activate_session = _blocking(Operations.activate_session)
    pause_session = _blocking(Operations.pause_session)
    resume_session = _blocking(Operations.resume_session)
    complete_session = _blocking(Operations.complete_session)
    fail_session = _blocking(Operations.fail_session)
    cancel_session = _blocking(Operations.cancel_session)
    get_session = _blocking(Operations.get_session)
    list_sessions = _blocking(Operations.list_sessions)
    start_run = _blocking(Operations.start_run)
    submit_run = _blocking(Operations.submit_run)
    get_run = _blocking(Operations.get_run)
    get_session_runs = _blocking(Operations.get_session_runs)
    cancel_run = _blocking(Operations.cancel_run)
    get_session_events = _blocking(Operations.get_session_events)
    status = _blocking(Operations.status)
    drain = _blocking(Operations.drain)

    def await_run(self, run_id: str, timeout: float | None = None) -> RunResult:
        """Wait for the result of a run, whoever started it; see `Operations.await_run`.

        Args:
            run_id: Which run.
            timeout: Seconds to wait; None waits for ever. The run goes on when they are over.

        Raises:
            pykka.Timeout: The time was over.
            AsmError: How the run ended, if it did not complete; ``run_not_found``.
        """
        return self._operations.await_run(run_id).get(timeout=timeout)

    def execute_run(
        self, run_id: str, *, event_callback: EventCallback | None = None, **options: Any
    ) -> RunResult:
        """Execute a run that was created, and wait for its result; see `Operations.execute_run`.

        Args:
            run_id: Which run.
            event_callback: Called on this thread with each event of the run, once it is durable. One that raises is
                logged once and counted (`RunResult.callback_failures`); one that blocks delays this call only.
            options: ``deadline``, ``adapter_opts``.

        Raises:
            AsmError: How the run ended, if it did not complete; what `Operations.execute_run` raises.
        """
        if event_callback is None:
            return self._operations.execute_run(run_id, **options).get()
        run = self.get_run(run_id)
        return self._with_callback(
            run.session_id, run_id, event_callback, lambda: self._operations.execute_run(run_id, **options)
        )

    def run_once(self, input: Any = None, *, event_callback: EventCallback | None = None, **options: Any) -> RunResult:  # noqa: A002, E501
        """Make a session, execute one run in it, complete it, and return the result; see `Operations.run_once`.

        Args:
            input: What to answer.
            event_callback: As for `execute_run`; it gets the run's events.
            options: Those of `Operations.run_once`.

        Raises:
            AsmError: How the run ended, if it did not complete; what is refused.
        """
        if event_callback is None:
            return self._operations.run_once(input, **options).get()
        return _run_once_with_callback(self, input, event_callback, options)

    def _with_callback(
        self, session_id: str, run_id: str, callback: EventCallback, start: Callable[[], Future[RunResult]]
    ) -> RunResult:
        callbacks = _Callbacks(callback, run_id)
        with self.subscribe(session_id, run_id=run_id) as subscription:
            result = start()
            for event in subscription:
                callbacks.call(event)
                if event.type in RUN_ENDS:
                    break
        return callbacks.counted(result.get())

    def subscribe(
        self,
        session_id: str | None = None,
        *,
        run_id: str | None = None,
        type: Any = None,  # noqa: A002 - the event's name
        since: datetime | None = None,
        after: int | None = None,
        timeout: float | None = None,
    ) -> Subscription:
        """Follow the events of one session, or of the whole journal, from a cursor on.

        Args:
            session_id: One session; None for all.
            run_id: Events of this run only.
            type: One event type or several.
            since: Earliest time (inclusive), aware.
            after: Sequence number (of a session) or position (of the journal) after which to begin; by default
                from the beginning.
            timeout: Iterating ends after so many seconds without an event; None: never.

        Raises:
            ResourceError: ``session_not_found``.
            AsmError: ``validation_error``, ``invalid_event_type``.
        """
        scope = self._scope(session_id, run_id, type, since)
        return Subscription(self._services, scope, self._cursor(after), timeout)

    def stream_session_events(
        self,
        session_id: str,
        *,
        after: int = 0,
        run_id: str | None = None,
        type: Any = None,  # noqa: A002 - the event's name
        since: datetime | None = None,
        before: int | None = None,
        limit: int | None = None,
        wait_timeout_ms: int | None = None,
    ) -> Iterator[Event]:
        """Iterate over the events of a session, those to come included; see `subscribe`.

        Args:
            session_id: Which session.
            after: Sequence number after which to begin.
            run_id: Events of this run only.
            type: One event type or several.
            since: Earliest time (inclusive), aware.
            before: Sequence number at which to end (exclusive).
            limit: End after so many events.
            wait_timeout_ms: End after so many milliseconds without an event; None: never.

        Raises:
            ResourceError: ``session_not_found``.
        """
        timeout = _seconds(wait_timeout_ms)
        subscription = self.subscribe(
            session_id, run_id=run_id, type=type, since=since, after=after, timeout=timeout
        )
        return _bounded(subscription, before, limit)


class AsyncSessionManager(_Shared):
    """The operations on sessions and runs, awaited; `AsyncActorSystem.sessions` gives it. See `SessionManager`."""

    start_session = _awaited(Operations.start_session)
    activate_session = _awaited(Operations.activate_session)
    pause_session = _awaited(Operations.pause_session)
    resume_session = _awaited(Operations.resume_session)
    complete_session = _awaited(Operations.complete_session)
    fail_session = _awaited(Operations.fail_session)
    cancel_session = _awaited(Operations.cancel_session)
    get_session = _awaited(Operations.get_session)
    list_sessions = _awaited(Operations.list_sessions)
    start_run = _awaited(Operations.start_run)
    submit_run = _awaited(Operations.submit_run)
    get_run = _awaited(Operations.get_run)
    get_session_runs = _awaited(Operations.get_session_runs)
    cancel_run = _awaited(Operations.cancel_run)
    get_session_events = _awaited(Operations.get_session_events)
    status = _awaited(Operations.status)
    drain = _awaited(Operations.drain)

    async def await_run(self, run_id: str, timeout: float | None = None) -> RunResult:  # noqa: ASYNC109
        """As `SessionManager.await_run`; when the time is over it raises `TimeoutError`."""
        waiting = self._operations.await_run(run_id)
        if timeout is None:
            return await waiting
        async with asyncio.timeout(timeout):
            return await waiting

    async def execute_run(
        self, run_id: str, *, event_callback: EventCallback | None = None, **options: Any
    ) -> RunResult:
        """As `SessionManager.execute_run`; the callback is called on this event loop and may be a coroutine function."""
        if event_callback is None:
            return await self._operations.execute_run(run_id, **options)
        run = await self.get_run(run_id)
        return await self._with_callback(
            run.session_id, run_id, event_callback, lambda: self._operations.execute_run(run_id, **options)
        )

    async def run_once(
        self,
        input: Any = None,  # noqa: A002 - the field's name is the argument's
        *,
        event_callback: EventCallback | None = None,
        **options: Any,
    ) -> RunResult:
        """As `SessionManager.run_once`; the callback is called on this event loop and may be a coroutine function."""
        if event_callback is None:
            return await self._operations.run_once(input, **options)
        return await _run_once_with_async_callback(self, input, event_callback, options)

    async def _with_callback(
        self, session_id: str, run_id: str, callback: EventCallback, start: Callable[[], Awaitable[RunResult]]
    ) -> RunResult:
        callbacks = _Callbacks(callback, run_id)
        async with self.subscribe(session_id, run_id=run_id) as subscription:
            result = start()
            async for event in subscription:
                called = callbacks.call(event)
                if inspect.isawaitable(called):
                    try:
                        await called
                    except Exception:  # the user's, and harms only itself
                        callbacks.failed()
                if event.type in RUN_ENDS:
                    break
        return callbacks.counted(await result)

    def subscribe(
        self,
        session_id: str | None = None,
        *,
        run_id: str | None = None,
        type: Any = None,  # noqa: A002 - the event's name
        since: datetime | None = None,
        after: int | None = None,
        timeout: float | None = None,
    ) -> AsyncSubscription:
        """As `SessionManager.subscribe`; iterate it with `async for`."""
        scope = self._scope(session_id, run_id, type, since)
        return AsyncSubscription(self._services, scope, self._cursor(after), timeout)

    async def stream_session_events(
        self,
        session_id: str,
        *,
        after: int = 0,
        run_id: str | None = None,
        type: Any = None,  # noqa: A002 - the event's name
        since: datetime | None = None,
        before: int | None = None,
        limit: int | None = None,
        wait_timeout_ms: int | None = None,
    ) -> AsyncIterator[Event]:
        """As `SessionManager.stream_session_events`; iterate it with `async for`."""
        timeout = _seconds(wait_timeout_ms)
        subscription = self.subscribe(
            session_id, run_id=run_id, type=type, since=since, after=after, timeout=timeout
        )
        count = 0
        async with subscription:
            if limit == 0:
                return
            async for event in subscription:
                if before is not None and (event.sequence_number or 0) >= before:
                    return
                yield event
                count += 1
                if limit is not None and count >= limit:
                    return


def _bounded(subscription: Subscription, before: int | None, limit: int | None) -> Iterator[Event]:
    with subscription:
        if limit == 0:
            return
        for count, event in enumerate(subscription, start=1):
            if before is not None and (event.sequence_number or 0) >= before:
                return
            yield event
            if limit is not None and count >= limit:
                return


def _seconds(milliseconds: int | None) -> float | None:
    if milliseconds is None:
        return None
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float) or milliseconds < 0:
        raise invalid("wait_timeout_ms", "must be milliseconds of at least 0, or None", milliseconds)
    return milliseconds / 1000.0


def _once_session(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Split the options of `run_once` into those of the session, of the run, and of its execution."""
    of_session = {key: options.pop(key) for key in ("context", "tags") if key in options}
    metadata = options.pop("metadata", None)
    of_execution = {"deadline": options.pop("deadline", None)}
    provider = options.pop("provider", None)
    agent_id = options.pop("agent_id", None)
    of_session |= {"metadata": metadata, "provider": provider, "agent_id": agent_id}
    return of_session, {"metadata": metadata, "provider": provider, **options}, of_execution


def _run_once_with_callback(
    manager: SessionManager,
    input: Any,  # noqa: A002 - as above
    callback: EventCallback,
    options: dict[str, Any],
) -> RunResult:
    """`run_once` in its single steps, since the callback must be there before the run starts."""
    of_session, of_run, of_execution = _once_session(dict(options))
    of_session["provider"] = manager._operations._provider(of_session["provider"], required=True)
    of_session["agent_id"] = of_session["agent_id"] or of_session["provider"]
    session = manager.start_session(**of_session)
    try:
        manager.activate_session(session.id)
        run = manager.start_run(session.id, input, **of_run)
        result = manager.execute_run(run.id, event_callback=callback, **of_execution)
    except AsmError as error:
        _end = manager.cancel_session if error.code is ErrorCode.CANCELLED else None
        if _end is not None:
            manager.cancel_session(session.id, reason="run_cancelled")
        else:
            manager.fail_session(session.id, error)
        raise
    manager.complete_session(session.id)
    return result


async def _run_once_with_async_callback(
    manager: AsyncSessionManager,
    input: Any,  # noqa: A002 - as above
    callback: EventCallback,
    options: dict[str, Any],
) -> RunResult:
    """As `_run_once_with_callback`, awaited."""
    of_session, of_run, of_execution = _once_session(dict(options))
    of_session["provider"] = manager._operations._provider(of_session["provider"], required=True)
    of_session["agent_id"] = of_session["agent_id"] or of_session["provider"]
    session = await manager.start_session(**of_session)
    try:
        await manager.activate_session(session.id)
        run = await manager.start_run(session.id, input, **of_run)
        result = await manager.execute_run(run.id, event_callback=callback, **of_execution)
    except AsmError as error:
        if error.code is ErrorCode.CANCELLED:
            await manager.cancel_session(session.id, reason="run_cancelled")
        else:
            await manager.fail_session(session.id, error)
        raise
    await manager.complete_session(session.id)
    return result
