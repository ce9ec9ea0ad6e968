"""Sessions that are kept from living for a while, because something is done to their records meanwhile.

A session's actor is the only writer of its session; whoever else wants to write, erase or prune one makes sure with a
reservation that it has none, and gets none before the work is through. What comes for it meanwhile waits.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from asm_actors.journal.messages import Flush, Maintain
from asm_actors.services import JOURNAL, Services
from asm_actors.sessions.delivery import not_running
from asm_actors.sessions.requests import Reserve
from supervisors import ActorDeadError

__all__ = ["Reservations", "carry_out"]


class Reservations:
    """Ids of reserved sessions, and what waits for each."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[str, list[tuple[Any, Any]]] = {}

    def begin(
        self, session_ids: Iterable[str], lives: Container[str]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Reserve those that neither live nor are reserved already.

        Returns:
            These, and the others.
        """
        idle: list[str] = []
        busy: list[str] = []
        for session_id in dict.fromkeys(session_ids):
            if session_id in lives or session_id in self._waiting:
                busy.append(session_id)
            else:
                idle.append(session_id)
                self._waiting[session_id] = []
        return tuple(idle), tuple(busy)

    def hold(self, session_id: str, message: Any, reply: Any) -> bool:
        """Keep a message for a session until its reservation ends; False if it has none."""
        waiting = self._waiting.get(session_id)
        if waiting is None:
            return False
        waiting.append((message, reply))
        return True

    def end(self, session_ids: Iterable[str]) -> list[tuple[Any, Any]]:
        """End reservations, and return what waited for them, each session's messages in order."""
        return [held for session_id in session_ids for held in self._waiting.pop(session_id, ())]


async def carry_out(services: Services, message: Reserve, idle: tuple[str, ...]) -> Any:
    """Have the work done on the committing thread, behind all that earlier lives of these sessions had told.

    Raises:
        AsmError: What the work raises; ``invalid_operation``, ``interrupted``: the journal is not there.
    """
    journal = services.whereis(JOURNAL)
    if journal is None:
        raise not_running(services)
    try:
        await journal.ask(Flush(), block=False)
        return await journal.ask(Maintain(lambda: message.work(idle)), block=False)
    except ActorDeadError as error:
        raise not_running(services) from error
