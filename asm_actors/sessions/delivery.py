"""How a message of a caller finds its session's actor, and its answer the caller.

Straight to the actor if it lives, else through the supervisor of the sessions, which starts it. A session's actor
leaves when its session is over, and may crash: what it had not taken on by then finds the next life. What it had taken
on and not answered may have been done or not: its asker gets an error that says so. Whatever goes wrong in the
machinery reaches the asker as an `AsmError`.

Messages of one sender to one session, or to one run, arrive in the order in which they were sent: while any is with the
supervisor, the ones that follow take the same way.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, TypeVar

import attrs

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.journal.query import EventFilter
from asm_actors.runs.result import RunResult
from asm_actors.serialization import check_id
from asm_actors.services import SESSIONS, Services, session_name
from asm_actors.sessions.requests import Deliver, DeliverToRun
from supervisors import ActorDeadError, DispatcherStopped, Future, Overloaded, SupervisionError

__all__ = [
    "MAX_WAITING",
    "Delivery",
    "ResultDelivery",
    "ask_sessions",
    "check_room",
    "deliver",
    "deliver_to_run",
    "handed_on",
    "not_running",
    "tell",
    "tell_run",
]

T = TypeVar("T")
_counting = threading.Lock()
MAX_WAITING = 10_000
"""Messages that may wait in the mailbox of one session before its callers are refused."""


class Delivery(Future[T]):
    """The future of an answer; see the module.

    Attributes:
        pending: What the sessions' supervisor is asked again if the message was not taken on; None once it was.
    """

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._driver = services.dispatcher.driver
        self._services = services
        self._is_taken = False
        self.pending: Any = None

    def taken(self) -> None:
        """The actor has taken the message on: from now on it answers, and nobody else gets the message."""
        self._is_taken = True
        self.pending = None

    def set_exception(self, exc_info: Any = None) -> None:
        error = (exc_info or sys.exc_info())[1]
        assert error is not None
        if isinstance(error, AsmError):
            super().set_exception(exc_info)
        else:
            self.set_error(error)

    def set_error(self, error: BaseException) -> None:
        pending, self.pending = self.pending, None
        if pending is not None and isinstance(error, ActorDeadError):
            # Once: if this does not help, the system is about to stop.
            sessions = self._services.whereis(SESSIONS)
            if sessions is not None:
                _send(self._services, pending)
                sessions.ask_into(pending, self)
                return
        super().set_error(self._told(error))

    def _told(self, error: BaseException) -> BaseException:
        if isinstance(error, ActorDeadError) and self._is_taken:
            text = "the actor that had taken this on ended before it could answer; what became of it is in the journal"
            return AsmError.wrap(ErrorCode.INTERRUPTED, error, text)
        if isinstance(error, Overloaded):
            return AsmError.wrap(ErrorCode.OVERLOADED, error)
        if isinstance(error, ActorDeadError | DispatcherStopped | SupervisionError):
            told = not_running(self._services)
            told.__cause__ = error
            return told
        return error


class ResultDelivery(Delivery[RunResult]):
    """A delivery whose result knows how to read its events."""

    def set(self, value: Any = None) -> None:
        if isinstance(value, RunResult):
            store, session_id, run_id = self._services.store, value.session_id, value.run_id

            def read() -> list[Event]:
                return store.read_session(session_id, EventFilter(run_ids=run_id))

            value = attrs.evolve(value, read_events=read)
        super().set(value)


def deliver(
    services: Services,
    session_id: str,
    message: Any,
    future: Delivery[Any] | None = None,
    *,
    is_new: bool = False,
) -> Delivery[Any]:
    """Ask a session.

    Args:
        services: The system's.
        session_id: Which session.
        message: One of `sessions.messages`.
        future: Gets the answer; by default a new one.
        is_new: Whether the session is made by this message.

    Returns:
        The future; it has an error at once if the system does not run (``invalid_operation``), or if too much waits
        for this session (``overloaded``).
    """
    session_id = check_id(session_id, "session_id")
    if future is None:
        future = Delivery(services)
    request = Deliver(session_id, message, is_new, is_counted=not is_new)
    is_direct = not is_new and session_id not in services.directory.on_the_way
    ref = services.whereis(session_name(session_id)) if is_direct else None
    if ref is None:
        return ask_sessions(services, request, future)
    try:
        check_room(ref)
    except AsmError as error:
        future.set_error(error)
        return future
    future.pending = request
    ref.ask_into(message, future)
    return future


def deliver_to_run(
    services: Services, run_id: str, message: Any, future: Delivery[Any] | None = None
) -> Delivery[Any]:
    """Ask the session of a run; see `deliver`."""
    run_id = check_id(run_id, "run_id")
    session_id = services.directory.runs.get(run_id)
    if session_id is not None and run_id not in services.directory.on_the_way:
        return deliver(services, session_id, message, future)
    return ask_sessions(services, DeliverToRun(run_id, message), future or Delivery(services))


def ask_sessions(services: Services, request: Any, future: Delivery[Any]) -> Delivery[Any]:
    """Ask the supervisor of the sessions."""
    sessions = services.whereis(SESSIONS)
    if sessions is None:
        future.set_error(not_running(services))
        return future
    future.pending = request
    _send(services, request)
    sessions.ask_into(request, future)
    return future


def _send(services: Services, request: Any) -> None:
    """Count what is about to be sent to the supervisor."""
    key = _key_of(request)
    if key is not None:
        on_the_way = services.directory.on_the_way
        with _counting:
            on_the_way[key] = on_the_way.get(key, 0) + 1


def handed_on(services: Services, request: Any) -> None:
    """Note that the supervisor has passed a request on, or refused it; later ones may go straight to the actor."""
    key = _key_of(request)
    if key is not None:
        on_the_way = services.directory.on_the_way
        with _counting:
            left = on_the_way.pop(key, 0) - 1
            if left > 0:
                on_the_way[key] = left


def _key_of(request: Any) -> str | None:
    if type(request) is Deliver:
        return request.session_id if request.is_counted else None
    return request.run_id if type(request) is DeliverToRun else None


def tell(services: Services, session_id: str, message: Any) -> None:
    """Tell a session without waiting; a refusal of it is only logged.

    Raises:
        ConcurrencyError: ``invalid_operation``: the system does not run; ``overloaded``.
    """
    session_id = check_id(session_id, "session_id")
    ref = services.whereis(session_name(session_id))
    if ref is not None:
        check_room(ref)
    _tell_sessions(services, Deliver(session_id, message, is_counted=True))


def tell_run(services: Services, run_id: str, message: Any) -> None:
    """Tell the session of a run; see `tell`."""
    _tell_sessions(services, DeliverToRun(check_id(run_id, "run_id"), message))


def _tell_sessions(services: Services, request: Any) -> None:
    sessions = services.whereis(SESSIONS)
    if sessions is None:
        raise not_running(services)
    _send(services, request)
    if not sessions.post(request):
        handed_on(services, request)
        raise not_running(services)


def check_room(ref: Any) -> None:
    """Refuse one more message of a caller to a session that has too many waiting.

    Its own runs and the journal are never refused, so its mailbox itself has no bound.

    Raises:
        ConcurrencyError: ``overloaded``.
    """
    if len(ref.life.queue) >= MAX_WAITING:
        raise AsmError(
            ErrorCode.OVERLOADED,
            f"{MAX_WAITING} messages wait for this session already; try again later",
        )


def not_running(services: Services) -> AsmError:
    """The error for a request that nobody can take now."""
    if services.directory.is_up:
        return AsmError(ErrorCode.INTERRUPTED, "a part of the system is being restarted; try again")
    return AsmError(ErrorCode.INVALID_OPERATION, "the actor system is not running; start one first")
