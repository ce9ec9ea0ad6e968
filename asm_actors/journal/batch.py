"""Group commit: what arrives while a commit is under way is the next batch.

Pure. Rules:

1. One batch is under way at a time. A batch is everything that waits, in order, up to two bounds.
2. A write that somebody waits for starts a commit if none is under way. One that nobody waits for may linger a
   moment for company (`is_urgent`).
3. A failed batch stays the one under way. It is tried again, its first half before the rest, so that one write
   that cannot be made durable does not stop the others for ever; or it is given up as a whole.
4. The line is bounded. From its low mark on it is *behind*: no run is given more of what its provider says. From
   its high mark on it is *full*: new sessions and runs are refused. What was admitted before is always taken, for it
   must end: each run adds at most what it had asked for already.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from attrs import define, field

from asm_actors.journal.append import Append, Packed
from asm_actors.journal.messages import Commit

__all__ = ["Batcher", "size_of"]

MAX_EVENTS = 20_000
"""Events of one batch: some 100 ms of work for the store, a bound on what one transaction holds dirty."""
MAX_BYTES = 32 << 20
"""Bytes of one batch, about, for the same reason."""

BEHIND_EVENTS, BEHIND_BYTES = 2 * MAX_EVENTS, 2 * MAX_BYTES
"""The low mark: there is enough for two more commits, and reading providers faster would only fill memory."""
FULL_EVENTS, FULL_BYTES = 5_000_000, 16 * MAX_BYTES
"""The high mark: half a gigabyte, or as many events as would take a minute."""
ENOUGH_EVENTS = 1_000
"""So many make a commit worth while even if nobody waits for them."""

_DRAFT_BYTES = 256
_RECORD_BYTES = 512


def size_of(append: Append) -> int:
    """Estimate what an append takes, in bytes: exact for packed events, a guess for the rest."""
    drafts = append.drafts
    size = drafts.n_bytes if type(drafts) is Packed else _DRAFT_BYTES * len(drafts)
    return size + _RECORD_BYTES * (len(append.runs) + (append.session is not None))


@define
class Batcher:
    """What waits and what is under way."""

    waiting: deque[Commit] = field(factory=deque)
    under_way: list[Commit] | None = None
    n_waiting_events: int = 0
    n_waiting_bytes: int = 0
    n_awaited: int = 0
    """Writes in line that somebody waits for."""
    n_commits: int = 0
    n_events: int = 0
    largest: int = 0

    def add(self, commit: Commit) -> None:
        """Put a write in line."""
        self.waiting.append(commit)
        self.n_waiting_events += len(commit.append.drafts)
        self.n_waiting_bytes += size_of(commit.append)
        if commit.then:
            self.n_awaited += 1

    def take(self) -> list[Commit] | None:
        """Make the next batch the one under way and return it; None if there is nothing, or one is under way."""
        if self.under_way is not None or not self.waiting:
            return None
        if self.n_waiting_events <= MAX_EVENTS and self.n_waiting_bytes <= MAX_BYTES:
            batch = list(self.waiting)
            self.waiting.clear()
            count = self.n_waiting_events
            self.n_waiting_events = self.n_waiting_bytes = self.n_awaited = 0
        else:
            batch, count = self._take_some()
        self.n_commits += 1
        self.n_events += count
        self.largest = max(self.largest, count)
        self.under_way = batch
        return batch

    def _take_some(self) -> tuple[list[Commit], int]:
        batch: list[Commit] = []
        count = size = 0
        waiting = self.waiting
        while waiting:
            append = waiting[0].append
            events, taken = len(append.drafts), size_of(append)
            if batch and (count + events > MAX_EVENTS or size + taken > MAX_BYTES):
                break
            batch.append(waiting.popleft())
            count += events
            size += taken
        self.n_waiting_events -= count
        self.n_waiting_bytes -= size
        self.n_awaited -= _awaited(batch)
        return batch, count

    def halve(self) -> list[Commit]:
        """Put the second half of the failed batch back to the head of the line; return what is left to try."""
        batch = self.under_way
        assert batch is not None
        half = (len(batch) + 1) // 2
        rest = batch[half:]
        del batch[half:]
        self.waiting.extendleft(reversed(rest))
        events = _count(rest)
        self.n_waiting_events += events
        self.n_waiting_bytes += sum(size_of(commit.append) for commit in rest)
        self.n_awaited += _awaited(rest)
        self.n_events -= events
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

    @property
    def is_urgent(self) -> bool:
        """Whether what waits should not linger: somebody waits for it, or there is enough of it."""
        return self.n_awaited > 0 or self.n_waiting_events >= ENOUGH_EVENTS

    @property
    def is_behind(self) -> bool:
        """Whether providers shall not be read any faster; see rule 4."""
        return self.n_waiting_events > BEHIND_EVENTS or self.n_waiting_bytes > BEHIND_BYTES

    @property
    def is_full(self) -> bool:
        """Whether new work is refused; see rule 4."""
        return self.n_waiting_events > FULL_EVENTS or self.n_waiting_bytes > FULL_BYTES


def _awaited(commits: Iterable[Commit]) -> int:
    return sum(bool(commit.then) for commit in commits)


def _count(commits: Iterable[Commit]) -> int:
    return sum(len(commit.append.drafts) for commit in commits)
