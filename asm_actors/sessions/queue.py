"""The queue of a session's waiting runs: bounded, first in first out, with removal by id."""

from __future__ import annotations

from collections.abc import Iterator

from asm_actors.errors import AsmError, ErrorCode

__all__ = ["RunQueue"]


class RunQueue:
    """Ids of runs that wait for their turn.

    Args:
        limit: How many may wait; 0: none; None: any number.
    """

    __slots__ = ("_ids", "limit")

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        # A dict keeps the order of insertion and removes by key. None while empty: most sessions are idle.
        self._ids: dict[str, None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether no more run may wait."""
        return self.limit is not None and len(self) >= self.limit

    def enqueue(self, run_id: str) -> None:
        """Add a run at the end.

        Raises:
            ConcurrencyError: ``max_runs_exceeded``: the queue is full.
            ResourceError: ``already_exists``: it waits already.
        """
        if self._ids is not None and run_id in self._ids:
            raise AsmError(ErrorCode.ALREADY_EXISTS, f"run {run_id} waits already")
        self.check_room()
        self.enqueue_anyway(run_id)

    def check_room(self) -> None:
        """Refuse if one more run could not wait.

        Raises:
            ConcurrencyError: ``max_runs_exceeded``.
        """
        if self.is_full:
            raise AsmError(
                ErrorCode.MAX_RUNS_EXCEEDED,
                f"{len(self)} runs of this session wait already, and limits.max_queued_runs allows {self.limit}; "
                "wait for one to end, or raise max_queued_runs",
            )

    def enqueue_anyway(self, run_id: str) -> None:
        """Add a run at the end, whatever the limit says: it was accepted before (recovery)."""
        if self._ids is None:
            self._ids = {}
        self._ids[run_id] = None

    def dequeue(self) -> str | None:
        """Take the oldest run, or None."""
        if not self._ids:
            return None
        run_id = next(iter(self._ids))
        self.remove(run_id)
        return run_id

    def remove(self, run_id: str) -> bool:
        """Take a run out of its place; return whether it was there."""
        if self._ids is None or run_id not in self._ids:
            return False
        del self._ids[run_id]
        if not self._ids:
            self._ids = None
        return True

    def __contains__(self, run_id: object) -> bool:
        return self._ids is not None and run_id in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._ids or ()))

    def __len__(self) -> int:
        return len(self._ids) if self._ids is not None else 0
