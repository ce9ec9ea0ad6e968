"""Handles: sessions and runs as actors that one can tell and ask. They hold a name, so they outlive restarts."""

from __future__ import annotations

from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.serialization import check_id
from asm_actors.services import Services, session_name
from asm_actors.sessions.operations import Operations
from supervisors import Future

__all__ = ["RunHandle", "SessionHandle"]


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

    def tell(self, message: Any) -> None:
        """Send a message (of `asm_actors.messages`) without waiting; a refusal of it is only logged."""
        self._operations.send(self.id, message, wants_reply=False)

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send a message and get its answer, or with `block=False` a future, which can also be awaited.

        Raises:
            AsmError: What the session refuses, ``session_not_found``.
            pykka.Timeout: No answer within `timeout` seconds.
        """
        future: Future[Any] = self._operations.send(self.id, message)
        return future.get(timeout=timeout) if block else future

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

    def tell(self, message: Any) -> None:
        """Send a message, such as `messages.CancelRun`, without waiting.

        Raises:
            ResourceError: ``run_not_found``.
        """
        self._operations.send_to_run(self.id, self._addressed(message), wants_reply=False)

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send a message and get its answer, or with `block=False` a future.

        Raises:
            AsmError: What is refused, ``run_not_found``.
            pykka.Timeout: No answer within `timeout` seconds.
        """
        future: Future[Any] = self._operations.send_to_run(self.id, self._addressed(message))
        return future.get(timeout=timeout) if block else future

    def ref(self) -> Any:
        """Pykka ref of the run's actor; None if it is not under way."""
        session_id = self._services.directory.runs.get(self.id)
        session = None if session_id is None else self._services.whereis(session_name(session_id))
        actor = None if session is None else session.life.actor
        return None if actor is None else actor.run_ref(self.id)

    def _addressed(self, message: Any) -> Any:
        if "run_id" not in getattr(message, "_fields", ()):
            raise AsmError(
                ErrorCode.VALIDATION_ERROR,
                f"{type(message).__name__} is no message to a run; see asm_actors.messages",
            )
        return message._replace(run_id=self.id) if message.run_id is None else message
