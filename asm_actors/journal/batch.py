"""Group commit: what arrives while a commit is under way is the next batch.

Pure. Rules:

1. One batch is under way at a time. A batch is everything that waits, in order, up to two bounds.
2. Nothing waits for company: if no commit is under way, the first write starts one.
3. A failed batch stays the one under way; it is tried again as it is, or given up as a whole.
"""

from __future__ import annotations

from collections import deque

from attrs import define, field

from asm_actors.journal.messages import Commit

__all__ = ["Batcher"]

MAX_EVENTS = 20_000
"""Events of one batch: some 100 ms of work for the store, a bound on what one transaction holds dirty."""


@define
class Batcher:
    """What waits and what is under way."""

    waiting: deque[Commit] = field(factory=deque)
    under_way: list[Commit] | None = None
    n_waiting_events: int = 0
    n_commits: int = 0
    n_events: int = 0
    largest: int = 0

    def add(self, commit: Commit) -> None:
        """Put a write in line."""
        self.waiting.append(commit)
        self.n_waiting_events += len(commit.append.drafts)

    def take(self) -> list[Commit] | None:
        """Make the next batch the one under way and return it; None if there is nothing, or one is under way."""
        if self.under_way is not None or not self.waiting:
            return None
        if self.n_waiting_events <= MAX_EVENTS:
            batch = list(self.waiting)
            self.waiting.clear()
            count = self.n_waiting_events
        else:
            batch, count = [], 0
            while self.waiting and (not batch or count + len(self.waiting[0].append.drafts) <= MAX_EVENTS):
                commit = self.waiting.popleft()
                batch.append(commit)
                count += len(commit.append.drafts)
        self.n_waiting_events -= count
        self.n_commits += 1
        self.n_events += count
        self.largest = max(self.largest, count)
        self.under_way = batch
        return batch

    def finish(self) -> list[Commit]:
        """The batch under way is over, well or not; return it."""
        batch, self.under_way = self.under_way, None
        assert batch is not None
        return batch

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return self.under_way is None and not self.waiting
