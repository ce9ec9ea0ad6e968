"""`SessionManager` and `AsyncSessionManager`: the same operations, blocking and awaited.

The operations are defined once, in `sessions.operations`; here each gets its two faces. What is written out is only
what differs between them: waiting with a timeout, and event callbacks; following events is in `sessions.event_surface`.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from asm_actors.errors import AsmError
from asm_actors.faces import refusing, tell
from asm_actors.journal.follow import AsyncSubscription, Subscription
from asm_actors.runs.result import RunResult
from asm_actors.sessions.callbacks import EventCallback, check_callback, follow, follow_async, scope_of_run
from asm_actors.sessions.event_surface import AsyncEventSurface, EventSurface
from asm_actors.sessions.operations import Operations
from supervisors import Future

__all__ = ["AsyncSessionManager", "EventCallback", "SessionManager"]

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(
    operation: Callable[Concatenate[Operations, P], Future[T]],
) -> Callable[Concatenate[SessionManager, P], T]:
    def method(self: SessionManager, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return operation(self._operations, *args, **kwargs).get()
        except AsmError as error:
            tell(self._services, error)

    _dress(method, operation)
    return method


def _awaited(
    operation: Callable[Concatenate[Operations, P], Future[T]],
) -> Callable[Concatenate[AsyncSessionManager, P], Coroutine[Any, Any, T]]:
    async def method(self: AsyncSessionManager, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await operation(self._operations, *args, **kwargs)
        except AsmError as error:
            tell(self._services, error)

    _dress(method, operation)
    return method


def _dress(method: Any, operation: Callable[..., Any]) -> None:
    """Give a method the name, text and signature of its operation, returning the value and not its future."""
    functools.update_wrapper(method, operation)
    signature = inspect.signature(operation)
    returns = str(signature.return_annotation).removeprefix("Future[").removesuffix("]")
    method.__signature__ = signature.replace(return_annotation=returns)


class SessionManager(EventSurface):
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
    interrupt_session = _blocking(Operations.interrupt_session)
    children = _blocking(Operations.children)
    delete_session = _blocking(Operations.delete_session)
    fork_session = _blocking(Operations.fork_session)
    update_session_limits = _blocking(Operations.update_session_limits)
    get_session = _blocking(Operations.get_session)
    list_sessions = _blocking(Operations.list_sessions)
    start_run = _blocking(Operations.start_run)
    submit_run = _blocking(Operations.submit_run)
    get_run = _blocking(Operations.get_run)
    get_session_runs = _blocking(Operations.get_session_runs)
    cancel_run = _blocking(Operations.cancel_run)
    cancel_all = _blocking(Operations.cancel_all)
    interrupt_run = _blocking(Operations.interrupt_run)
    pause_run = _blocking(Operations.pause_run)
    resume_run = _blocking(Operations.resume_run)
    steer_run = _blocking(Operations.steer_run)
    get_operation_history = _blocking(Operations.get_operation_history)
    get_operation_status = _blocking(Operations.get_operation_status)
    grant_approval = _blocking(Operations.grant_approval)
    deny_approval = _blocking(Operations.deny_approval)
    cancel_for_approval = _blocking(Operations.cancel_for_approval)
    pending_approvals = _blocking(Operations.pending_approvals)
    get_session_events = _blocking(Operations.get_session_events)
    subscriptions = _blocking(Operations.subscriptions)
    unsubscribe = _blocking(Operations.unsubscribe)
    compact_session = _blocking(Operations.compact_session)
    get_capabilities = _blocking(Operations.get_capabilities)
    transcript = _blocking(Operations.transcript)
    session_at = _blocking(Operations.session_at)
    run_at = _blocking(Operations.run_at)
    status = _blocking(Operations.status)
    drain = _blocking(Operations.drain)

    @refusing
    def await_run(self, run_id: str, timeout: float | None = None) -> RunResult:
        """Wait for the result of a run, whoever started it; see `Operations.await_run`.

        Args:
            run_id: Which run.
            timeout: Seconds to wait; None: as the system is configured (`await_run_timeout_ms`), by default for ever.
                The run goes on when they are over.

        Raises:
            pykka.Timeout: The time was over.
            AsmError: How the run ended, if it did not complete; ``run_not_found``; ``interrupted`` (retryable): a part
                of the system was restarted, and the run may go on: ask again.
        """
        wait = self._operations.patience(timeout)
        return self._operations.await_run(run_id).get(timeout=wait)

    @refusing
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
        check_callback(event_callback)
        session_id, cursor = self._operations.place_before(run_id).get()
        result = self._operations.execute_run(run_id, **options)
        subscription = Subscription(self._services, scope_of_run(session_id, run_id), cursor)
        return follow(subscription, run_id, result, event_callback)

    @refusing
    def run_once(
        self,
        input: Any = None,  # noqa: A002 - the field's name is the argument's
        *,
        event_callback: EventCallback | None = None,
        **options: Any,
    ) -> RunResult:
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
        check_callback(event_callback)
        result, run = self._operations.once(input, **options)
        scope = scope_of_run(run.session_id, run.id, may_come=True)
        return follow(Subscription(self._services, scope, 0), run.id, result, event_callback)


class AsyncSessionManager(AsyncEventSurface):
    """The operations on sessions and runs, awaited; `AsyncActorSystem.sessions` gives it. See `SessionManager`."""

    start_session = _awaited(Operations.start_session)
    activate_session = _awaited(Operations.activate_session)
    pause_session = _awaited(Operations.pause_session)
    resume_session = _awaited(Operations.resume_session)
    complete_session = _awaited(Operations.complete_session)
    fail_session = _awaited(Operations.fail_session)
    cancel_session = _awaited(Operations.cancel_session)
    interrupt_session = _awaited(Operations.interrupt_session)
    children = _awaited(Operations.children)
    delete_session = _awaited(Operations.delete_session)
    fork_session = _awaited(Operations.fork_session)
    update_session_limits = _awaited(Operations.update_session_limits)
    get_session = _awaited(Operations.get_session)
    list_sessions = _awaited(Operations.list_sessions)
    start_run = _awaited(Operations.start_run)
    submit_run = _awaited(Operations.submit_run)
    get_run = _awaited(Operations.get_run)
    get_session_runs = _awaited(Operations.get_session_runs)
    cancel_run = _awaited(Operations.cancel_run)
    cancel_all = _awaited(Operations.cancel_all)
    interrupt_run = _awaited(Operations.interrupt_run)
    pause_run = _awaited(Operations.pause_run)
    resume_run = _awaited(Operations.resume_run)
    steer_run = _awaited(Operations.steer_run)
    get_operation_history = _awaited(Operations.get_operation_history)
    get_operation_status = _awaited(Operations.get_operation_status)
    grant_approval = _awaited(Operations.grant_approval)
    deny_approval = _awaited(Operations.deny_approval)
    cancel_for_approval = _awaited(Operations.cancel_for_approval)
    pending_approvals = _awaited(Operations.pending_approvals)
    get_session_events = _awaited(Operations.get_session_events)
    subscriptions = _awaited(Operations.subscriptions)
    unsubscribe = _awaited(Operations.unsubscribe)
    compact_session = _awaited(Operations.compact_session)
    get_capabilities = _awaited(Operations.get_capabilities)
    transcript = _awaited(Operations.transcript)
    session_at = _awaited(Operations.session_at)
    run_at = _awaited(Operations.run_at)
    status = _awaited(Operations.status)
    drain = _awaited(Operations.drain)

    @refusing
    async def await_run(self, run_id: str, timeout: float | None = None) -> RunResult:  # noqa: ASYNC109
        """As `SessionManager.await_run`; when the time is over it raises `TimeoutError`."""
        wait = self._operations.patience(timeout)
        waiting = self._operations.await_run(run_id)
        if wait is None:
            return await waiting
        async with asyncio.timeout(wait):
            return await waiting

    @refusing
    async def execute_run(
        self, run_id: str, *, event_callback: EventCallback | None = None, **options: Any
    ) -> RunResult:
        """As `SessionManager.execute_run`; the callback runs on this event loop and may be a coroutine function."""
        if event_callback is None:
            return await self._operations.execute_run(run_id, **options)
        check_callback(event_callback)
        session_id, cursor = await self._operations.place_before(run_id)
        result = self._operations.execute_run(run_id, **options)
        subscription = AsyncSubscription(self._services, scope_of_run(session_id, run_id), cursor)
        return await follow_async(subscription, run_id, result, event_callback)

    @refusing
    async def run_once(
        self,
        input: Any = None,  # noqa: A002 - the field's name is the argument's
        *,
        event_callback: EventCallback | None = None,
        **options: Any,
    ) -> RunResult:
        """As `SessionManager.run_once`; the callback runs on this event loop and may be a coroutine function."""
        if event_callback is None:
            return await self._operations.run_once(input, **options)
        check_callback(event_callback)
        result, run = self._operations.once(input, **options)
        scope = scope_of_run(run.session_id, run.id, may_come=True)
        return await follow_async(AsyncSubscription(self._services, scope, 0), run.id, result, event_callback)
