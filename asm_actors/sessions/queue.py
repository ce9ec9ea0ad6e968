"""The queue of a session's waiting runs: bounded, by priority, of equal ones first in first out, removal by id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from asm_actors.errors import AsmError, ErrorCode
from supervisors.slot_order import PriorityLine, rank_of

__all__ = ["RunQueue"]


class RunQueue:
    """Ids of runs that wait for their turn.

    A run with a higher priority goes first; how far waiting makes up for that, `supervisors.slot_order.AGEING` tells.

    Args:
        limit: How many may wait; 0: none; None: any number.
    """

    __slots__ = ("_first", "_line", "_place", "limit")

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        # None while empty: most sessions are idle.
        self._line: PriorityLine[str] | None = None
        self._place = 0
        self._first = 0

    @property
    def is_full(self) -> bool:
        """Whether no more run may wait."""
        return self.limit is not None and len(self) >= self.limit

    def enqueue(self, run_id: str, priority: int = 0) -> None:
        """Add a run.

        Raises:
            ConcurrencyError: ``max_runs_exceeded``: the queue is full.
            ResourceError: ``already_exists``: it waits already.
        """
        if run_id in self:
            raise AsmError(ErrorCode.ALREADY_EXISTS, f"run {run_id} waits already")
        self.check_room()
        self.enqueue_anyway(run_id, priority)

    def check_room(self, places: int = 0) -> None:
        """Refuse if one more run could not wait.

        Args:
            places: Runs that may start as soon as their session has its slot: so many do not count as waiting.

        Raises:
            ConcurrencyError: ``max_runs_exceeded``.
        """
        if self.limit is not None and len(self) >= self.limit + places:
            n_waiting = len(self) - places
            raise AsmError(
                ErrorCode.MAX_RUNS_EXCEEDED,
                f"{n_waiting} runs of this session wait already, as many as max_queued_runs ({self.limit}) allows; "
                "wait for one to end, or raise max_queued_runs of the session, or limits.max_queued_runs",
                details={"limit": "max_queued_runs", "value": self.limit, "in_use": n_waiting},
            )

    def enqueue_anyway(self, run_id: str, priority: int = 0) -> None:
        """Add a run that does not wait yet, whatever the limit says: it was accepted before (recovery)."""
        if self._line is None:
            self._line, self._place, self._first = PriorityLine(), 0, 0
        self._place += 1
        self._line.add(run_id, rank_of(self._place, priority))

    def put_back(self, run_ids: Iterable[str]) -> None:
        """Add runs in front of all others, in this order: they had their turn, and gave it back."""
        runs = tuple(run_ids)
        if not runs:
            return
        if self._line is None:
            self._line, self._place, self._first = PriorityLine(), 0, 0
        first = min(self._first, self._line.first_rank()[0] if self._line else 0)
        self._first = first - len(runs)
        for number, run_id in enumerate(runs):
            self._line.add(run_id, (self._first + number, 0))

    def first(self) -> str | None:
        """Return the run that goes next, or None; it stays."""
        return self._line.first() if self._line is not None else None

    def dequeue(self) -> str | None:
        """Take the run that goes next, or None."""
        if self._line is None:
            return None
        run_id = self._line.pop()
        if not self._line:
            self._line = None
        return run_id

    def remove(self, run_id: str) -> bool:
        """Take a run out of its place; return whether it was there."""
        if self._line is None or not self._line.remove(run_id):
            return False
        if not self._line:
            self._line = None
        return True

    def __contains__(self, run_id: object) -> bool:
        return self._line is not None and run_id in self._line

    def __iter__(self) -> Iterator[str]:
        return iter(self._line) if self._line is not None else iter(())

    def __len__(self) -> int:
        return len(self._line) if self._line is not None else 0
