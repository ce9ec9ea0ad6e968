"""Drain: stop admitting, wait until nothing is left, within a bound, and name what was orphaned.

1. While the door is open everything is admitted and counted in; a closed door stays closed.
2. Exactly one call returns the report: `close` if nothing was in flight, `finish` if it was the last, or
   `expire` if the bound passed first.
3. This file knows no time. The owner starts a timer when `close` returns None; its firing calls `expire`.

Who drains several parts closes all doors before it waits for any (`close_all`): else the part that still
admits feeds the one that waits.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from attrs import frozen

__all__ = ["Drain", "DrainReport", "close_all"]

T = TypeVar("T", bound=Hashable)


@frozen
class DrainReport(Generic[T]):
    """How a drain ended.

    Attributes:
        finished: How many items finished between the closing of the door and the end.
        orphans: What was still in flight when the bound passed, oldest first; empty if none was.
        refused: How many items were turned away at the closed door.
    """

    finished: int
    orphans: tuple[T, ...]
    refused: int

    @property
    def is_clean(self) -> bool:
        """Whether everything finished in time."""
        return not self.orphans


class Drain(Generic[T]):
    """A door and the items in flight behind it."""

    __slots__ = ("_finished", "_in_flight", "_is_open", "_refused", "_report")

    def __init__(self) -> None:
        self._in_flight: dict[T, None] = {}
        self._is_open = True
        self._finished = 0
        self._refused = 0
        self._report: DrainReport[T] | None = None

    @property
    def is_open(self) -> bool:
        """Whether new items are admitted."""
        return self._is_open

    @property
    def in_flight(self) -> int:
        """How many admitted items have not finished."""
        return len(self._in_flight)

    @property
    def report(self) -> DrainReport[T] | None:
        """How the drain ended; None while it has not."""
        return self._report

    def admit(self, item: T) -> bool:
        """Let an item in.

        Args:
            item: Identifies it; one that is in already is not counted twice.

        Returns:
            False if the door is closed and the item was not in already.
        """
        if item in self._in_flight:
            return True
        if not self._is_open:
            self._refused += 1
            return False
        self._in_flight[item] = None
        return True

    def finish(self, item: T) -> DrainReport[T] | None:
        """Note that an item is through; strangers and repeats change nothing.

        Args:
            item: The item.

        Returns:
            The report, if the door is closed and this was the last one.
        """
        if item not in self._in_flight or self._report is not None:
            return None
        del self._in_flight[item]
        if self._is_open:
            return None
        self._finished += 1
        return self._end() if not self._in_flight else None

    def close(self) -> DrainReport[T] | None:
        """Close the door for good; closing again changes nothing.

        Returns:
            The report, if nothing is in flight and this call closed the door.
        """
        if not self._is_open:
            return None
        self._is_open = False
        return self._end() if not self._in_flight else None

    def expire(self) -> DrainReport[T] | None:
        """The bound passed: what is left are orphans. Closes the door if nobody did.

        Returns:
            The report, if the drain had not ended before.
        """
        self._is_open = False
        return self._end() if self._report is None else None

    def _end(self) -> DrainReport[T]:
        self._report = DrainReport(self._finished, tuple(self._in_flight), self._refused)
        return self._report


def close_all(drains: Iterable[Drain[T]]) -> tuple[DrainReport[T], ...]:
    """Close several doors before waiting for any.

    Args:
        drains: The drains, those that feed others first.

    Returns:
        The reports of those that had nothing in flight.
    """
    return tuple(report for drain in drains if (report := drain.close()) is not None)
