"""The journal's actor in numbers."""

from __future__ import annotations

from attrs import frozen

__all__ = ["JournalStatistics"]


@frozen
class JournalStatistics:
    """The journal's actor at one moment.

    Attributes:
        position: Last committed position.
        commits: Group commits since the start.
        events: Events in them.
        largest_batch: Most events in one of them.
        waiting: Writes in line.
        waiting_events: Events in them.
        held_back: Runs that wait for the line to become short; see `journal.batch`.
        failures: Commits that failed and were tried again.
        followers: Subscriptions.
    """

    position: int
    commits: int
    events: int
    largest_batch: int
    waiting: int
    waiting_events: int
    held_back: int
    failures: int
    followers: int
