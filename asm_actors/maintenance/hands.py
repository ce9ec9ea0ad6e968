"""How maintenance reaches a journal: through a running system, or alone with the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from asm_actors.ids import RandomIds
from asm_actors.journal.store import Store

__all__ = ["Alone", "AloneSurroundings", "Hands"]

T = TypeVar("T")


class Hands(Protocol):
    """Does what must be done where the journal is written. All methods block."""

    @property
    def store(self) -> Store:
        """The journal's store, for reading."""
        ...

    def write(self, work: Callable[[], T]) -> T:
        """Do something that writes, between two commits."""
        ...

    def on_idle(
        self, session_ids: tuple[str, ...], work: Callable[[tuple[str, ...]], T]
    ) -> tuple[T, tuple[str, ...]]:
        """Do something that writes, to sessions whose actors do not live, and keep these from living meanwhile.

        Returns:
            What the work returned, which gets the sessions that do not live; and those that do.
        """
        ...

    def delete_live(self, session_id: str) -> bool:
        """Have a session that lives deleted softly by its own actor; False if it refuses, for its runs are open."""
        ...


class Alone:
    """For a process that has opened the store and runs no system on it.

    Args:
        store: Open for writing.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def store(self) -> Store:
        """The journal's store."""
        return self._store

    def write(self, work: Callable[[], T]) -> T:
        """Do it: nobody else writes."""
        return work()

    def on_idle(
        self, session_ids: tuple[str, ...], work: Callable[[tuple[str, ...]], T]
    ) -> tuple[T, tuple[str, ...]]:
        """Do it: no session lives."""
        return work(session_ids), ()

    def delete_live(self, session_id: str) -> bool:
        """No session lives."""
        return False


class AloneSurroundings:
    """The world of a process that has the journal for itself: nobody needs a turn."""

    def __init__(self) -> None:
        self._ids = RandomIds()

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        return time.time_ns() // 1000

    def seconds(self) -> float:
        """Seconds of the system's monotonic clock."""
        return time.monotonic()

    def pause(self, seconds: float) -> None:
        """Go on at once."""

    def block(self) -> int:
        """A new base for the ids of events."""
        return self._ids.block()
