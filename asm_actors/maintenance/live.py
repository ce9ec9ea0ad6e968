"""Maintenance of a journal on which a system runs; see `maintenance.hands`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.messages import Flush, Maintain
from asm_actors.journal.store import Store
from asm_actors.runs.run import Run
from asm_actors.services import JOURNAL, Services
from asm_actors.sessions.delivery import Delivery, ask_sessions, deliver, not_running
from asm_actors.sessions.messages import DeleteSession
from asm_actors.sessions.requests import Reserve, Reserved

__all__ = ["Live", "SystemSurroundings"]

T = TypeVar("T")
LONGEST_PAUSE_S = 1.0
REST_TRIES, REST_PAUSE_S = 100, 0.02
"""How often, and after what pause, is looked whether a session that was told to rest has left."""


class Live:
    """Reaches the journal through the actors of a system: they alone write, and keep sessions from living.

    Args:
        services: The system's.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    @property
    def store(self) -> Store:
        """The journal's store."""
        return self._services.store

    def write(self, work: Callable[[], T]) -> T:
        """Have it done on the committing thread."""
        journal = self._services.whereis(JOURNAL)
        if journal is None:
            raise not_running(self._services)
        answer: Delivery[T] = Delivery(self._services)
        journal.ask_into(Maintain(work), answer)
        try:
            return answer.get()
        finally:
            # It may have taken something out of a conversation.
            self._services.transcripts.forget()

    def flush(self) -> None:
        """Wait until all that was told to the journal is durable."""
        journal = self._services.whereis(JOURNAL)
        if journal is None:
            raise not_running(self._services)
        answer: Delivery[None] = Delivery(self._services)
        journal.ask_into(Flush(), answer)
        answer.get()

    def on_idle(
        self, session_ids: tuple[str, ...], work: Callable[[tuple[str, ...]], T]
    ) -> tuple[T, tuple[str, ...]]:
        """Have it done on the committing thread while the sessions are reserved."""
        answer: Delivery[Reserved] = Delivery(self._services)
        try:
            found = ask_sessions(self._services, Reserve(session_ids, work), answer).get()
        finally:
            self._services.transcripts.forget()
        return found.result, found.live

    def at_rest(self, session_id: str, work: Callable[[], T]) -> T:
        """Do something to one session, once it has left; it is told to, and does so if it has nothing to do.

        Raises:
            ConcurrencyError: ``invalid_operation``: it is in use.
        """
        for _ in range(REST_TRIES):
            result, live = self.on_idle((session_id,), lambda idle: work() if idle else None)
            if not live:
                return result  # type: ignore[return-value]  # without an idle one it lives
            time.sleep(REST_PAUSE_S)
        raise AsmError(
            ErrorCode.INVALID_OPERATION,
            f"session {session_id} is in use: try again when it is at rest",
            context={"session_id": session_id},
        )

    def delete_live(self, session_id: str) -> bool:
        """Ask its actor."""
        try:
            deliver(self._services, session_id, DeleteSession("retention policy")).get()
        except AsmError as error:
            if error.code is ErrorCode.INVALID_OPERATION:
                return False
            raise
        return True

    def works_on(self, run: Run) -> bool:
        """Whether a run is in the care of a live session."""
        return run.id in self._services.directory.runs


class SystemSurroundings:
    """The world of a running system.

    Args:
        services: The system's.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        return self._services.now_us()

    def seconds(self) -> float:
        """Seconds of the system's clock."""
        return self._services.dispatcher.clock.monotonic()

    def pause(self, seconds: float) -> None:
        """Let others have their turn; on the thread of whoever asked for maintenance."""
        time.sleep(min(max(seconds, 0.0), LONGEST_PAUSE_S))

    def block(self) -> int:
        """A new base for the ids of events."""
        return self._services.ids.block()
