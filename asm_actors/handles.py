"""Handles: sessions and runs as actors that one can tell and ask. They hold a name, so they outlive restarts.

A message from outside is looked at here, where its sender sees what is wrong with it: actors trust what they get.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from asm_actors import messages as m
from asm_actors.capabilities.resolver import CapabilityResolver
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.faces import refusing, tell
from asm_actors.runs.run import Run
from asm_actors.serialization import check_id, check_seconds, invalid, json_map
from asm_actors.services import Services, session_name
from asm_actors.sessions.control import input_message
from asm_actors.sessions.door import check_names
from asm_actors.sessions.operations import Operations
from supervisors import Future

__all__ = ["AsyncRunHandle", "AsyncSessionHandle", "RunHandle", "SessionHandle"]

logger = logging.getLogger("asm_actors.sessions")
_MAKING = (m.CreateRun, m.SubmitRun, m.ForkSession)
_MESSAGES: frozenset[type[Any]] = frozenset(getattr(m, name) for name in m.__all__)


class SessionHandle:
    """A session's actor, by name.

    Args:
        services: The system's.
        session_id: Which session.
    """

    def __init__(self, services: Services, session_id: str) -> None:
        self.id = check_id(session_id, "session_id")
        self._services = services
        self._operations = Operations(services)

    def __repr__(self) -> str:
        return f"<SessionHandle {self.id}>"

    @refusing
    def tell(self, message: Any) -> None:
        """Send a message (of `asm_actors.messages`) without waiting; a refusal of it is only logged.

        Raises:
            ConcurrencyError: ``invalid_operation``: the system does not run.
            ValidationError: It is no message to a session.
        """
        message = _checked(message, "session")
        if isinstance(message, _MAKING):
            self._make(message).add_done_callback(_log_refusal)
        else:
            self._operations.send(self.id, message, wants_reply=False)

    @refusing
    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send a message and get its answer, or with `block=False` a future, which can also be awaited.

        Raises:
            AsmError: What the session refuses, ``session_not_found``, ``validation_error``: it is no message to a
                session.
            pykka.Timeout: No answer within `timeout` seconds.
        """
        message, wait = _checked(message, "session"), check_seconds(timeout)
        making = isinstance(message, _MAKING)
        future = self._make(message) if making else self._operations.send(self.id, message)
        return future.get(timeout=wait) if block else future

    def _make(self, message: m.CreateRun | m.SubmitRun | m.ForkSession) -> Future[Any]:
        """Have a fork made, or a run whose id the caller chose: it must not be that of another one."""
        if isinstance(message, m.ForkSession):
            fields = message._asdict()
            options = json_map(fields.pop("options"), "options")
            return self._operations.fork_session(self.id, **fields, **options)
        run = message.run
        if not isinstance(run, Run):
            raise invalid("run", "must be a Run", run)
        if run.session_id != self.id:
            raise AsmError(
                ErrorCode.SESSION_MISMATCH,
                f"run {run.id} belongs to {run.session_id}, not to {self.id}",
                context={"session_id": self.id, "run_id": run.id},
            )
        stored = _stored(run)
        check_names(self._services, stored, has_chosen_id=True)
        return self._operations._make_run(message._replace(run=stored), has_chosen_id=True)

    def ref(self) -> Any:
        """Pykka ref of the actor's present life; None if the session has no live actor now."""
        return self._services.whereis(session_name(self.id))


class RunHandle:
    """A run's actor, by name: its session takes the messages, wherever the run stands.

    Args:
        services: The system's.
        run_id: Which run.
    """

    def __init__(self, services: Services, run_id: str) -> None:
        self.id = check_id(run_id, "run_id")
        self._services = services
        self._operations = Operations(services)

    def __repr__(self) -> str:
        return f"<RunHandle {self.id}>"

    @refusing
    def tell(self, message: Any) -> None:
        """Send a message, such as `messages.CancelRun`, without waiting; a refusal of it is only logged.

        Raises:
            ConcurrencyError: ``invalid_operation``: the system does not run.
            ValidationError: It is no message to a run.
        """
        self._operations.send_to_run(self.id, self._addressed(message), wants_reply=False)

    @refusing
    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send a message and get its answer, or with `block=False` a future.

        Raises:
            AsmError: What is refused, ``run_not_found``.
            pykka.Timeout: No answer within `timeout` seconds.
        """
        message, wait = self._addressed(message), check_seconds(timeout)
        future: Future[Any] = self._operations.send_to_run(self.id, message)
        return future.get(timeout=wait) if block else future

    def ref(self) -> Any:
        """Pykka ref of the run's actor; None if it is not under way."""
        session_id = self._services.directory.runs.get(self.id)
        session = None if session_id is None else self._services.whereis(session_name(session_id))
        actor = None if session is None else session.life.actor
        return None if actor is None else actor.run_ref(self.id)

    def _addressed(self, message: Any) -> Any:
        message = _checked(message, "run")
        if "run_id" not in message._fields:
            raise invalid("message", "must be one to a run; see asm_actors.messages", message)
        if message.run_id is None:
            return message._replace(run_id=self.id)
        if message.run_id != self.id:
            raise invalid("run_id", f"must be {self.id}, or None", message.run_id)
        return message


class AsyncSessionHandle(SessionHandle):
    """A session's actor, by name, whose answers are awaited; `AsyncActorSystem.session` gives it."""

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send a message and have its answer awaited: ``await handle.ask(message)``.

        It is sent at once. With `block=False` this is the future itself, which can also be waited for on another
        thread.

        Raises:
            AsmError: As `SessionHandle.ask`: what is wrong with the message here, what is refused where it is awaited.
            TimeoutError: No answer within `timeout` seconds; where it is awaited.
        """
        wait = check_seconds(timeout)
        future = super().ask(message, block=False)
        return _answer(self._services, future, wait) if block else future


class AsyncRunHandle(RunHandle):
    """A run's actor, by name, whose answers are awaited; `AsyncActorSystem.run` gives it."""

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """As `AsyncSessionHandle.ask`."""
        wait = check_seconds(timeout)
        future = super().ask(message, block=False)
        return _answer(self._services, future, wait) if block else future


async def _answer(services: Services, future: Future[Any], wait: float | None) -> Any:
    try:
        if wait is None:
            return await future
        async with asyncio.timeout(wait):
            return await future
    except AsmError as error:
        tell(services, error)


def _checked(message: Any, receiver: str) -> Any:
    if type(message) not in _MESSAGES:
        raise invalid("message", f"must be one to a {receiver}; see asm_actors.messages", message)
    if not isinstance(getattr(message, "wanted", None), CapabilityResolver | None):
        raise invalid("wanted", "must be a CapabilityResolver, or None", message.wanted)
    if getattr(message, "run_id", None) is not None:
        message = message._replace(run_id=check_id(message.run_id, "run_id"))
    if type(message) is m.SteerRun:
        message = message._replace(input={"messages": [input_message(message.input)]})
    return message


def _stored(run: Run) -> Run:
    """The run as it will be read again, which finds out whether it can be stored at all."""
    try:
        return Run.from_map(run.to_map())
    except (AttributeError, TypeError) as error:
        raise AsmError(ErrorCode.VALIDATION_ERROR, f"the run is malformed: {error}") from error


def _log_refusal(future: Future[Any]) -> None:
    try:
        future.get()
    except AsmError as error:
        logger.warning("a run or a fork was told to be made: %s", error)
