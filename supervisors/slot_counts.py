"""One pool of the slot table: what is in use, who waits, and the counts that are shown. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from attrs import frozen

from supervisors.rates import Rate, TokenBucket
from supervisors.slot_order import PriorityLine, Rank

__all__ = ["Keys", "Pool", "PoolStatistics", "Request"]


class Keys:
    """Several pools of which a slot each is wanted at once: all of them, or none.

    Args:
        keys: The pools' keys; a double one counts once.

    Raises:
        ValueError: There are none.
    """

    __slots__ = ("_hash", "keys")

    def __init__(self, *keys: Hashable) -> None:
        if not keys:
            raise ValueError("there must be at least one key")
        self.keys = tuple(dict.fromkeys(keys))
        self._hash = hash((Keys, self.keys))

    def __eq__(self, other: object) -> bool:
        return self is other or (type(other) is Keys and other.keys == self.keys)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Keys({', '.join(map(repr, self.keys))})"


@frozen
class PoolStatistics:
    """Counts of one pool.

    Attributes:
        limit: Slots in all; None is no limit.
        in_use: Slots held now; more than `limit` after it was lowered, until holders leave.
        waiting: How many that want a slot of it wait now, be it for this pool or for another one that they want too.
        peak: Most slots ever held at once.
        granted: Slots given since the pool was made.
        refused: Requests turned away since then, the line being full, or because they did not want to wait.
        longest_wait: Seconds for which the one waits now that has waited longest; 0 if nobody does, or nobody measures.
    """

    limit: int | None
    in_use: int
    waiting: int
    peak: int
    granted: int
    refused: int
    longest_wait: float = 0.0

    @property
    def available(self) -> int | None:
        """Slots that nobody holds; None: any number."""
        return None if self.limit is None else max(0, self.limit - self.in_use)


class Request:
    """Somebody who waits. Stands in the line of one pool that has no room for it now.

    Attributes:
        key: What was asked for: a pool's key, or `Keys`.
        keys: The pools that this means.
        holder: Who asked.
        rank: Its place; it keeps that from line to line.
        pool: The pool in whose line it stands.
        passed: By pool: how often somebody who came later had the slot that this one lacked when its turn came.
    """

    __slots__ = ("holder", "key", "keys", "passed", "pool", "rank")

    def __init__(
        self, key: Hashable, keys: tuple[Hashable, ...], holder: Hashable, rank: Rank, pool: Pool
    ) -> None:
        self.key = key
        self.keys = keys
        self.holder = holder
        self.rank = rank
        self.pool = pool
        self.passed: dict[Hashable, int] | None = None


class Pool:
    """A pool that somebody uses, or that has a limit of its own.

    Attributes:
        key: Its key.
        limit: Slots in all.
        bucket: How often one may be granted, if that has a limit.
        in_use: Slots held.
        line: Who waits for it. Empty if there is room.
        n_waiting: Who waits and wants a slot of it, whatever they wait for.
        reserved_for: For whom one slot is kept that nobody else gets.
        last_rank: Rank of who got its last slot; None: it had not waited.
    """

    __slots__ = (
        "bucket",
        "granted",
        "in_use",
        "key",
        "last_rank",
        "limit",
        "line",
        "n_waiting",
        "peak",
        "refused",
        "reserved_for",
    )

    def __init__(self, key: Hashable, limit: int | None, rate: Rate | None = None) -> None:
        self.key = key
        self.limit = limit
        self.bucket = None if rate is None else TokenBucket(rate)
        self.in_use = 0
        self.line: PriorityLine[Request] = PriorityLine()
        self.n_waiting = 0
        self.peak = 0
        self.granted = 0
        self.refused = 0
        self.reserved_for: Any = None
        self.last_rank: Rank | None = None

    def has_room(self, now: float, request: Request | None = None) -> bool:
        """Whether somebody may have a slot, or `request` may."""
        kept = self.reserved_for is not None and self.reserved_for is not request
        if self.limit is not None and self.in_use + kept >= self.limit:
            return False
        return self.bucket is None or self.bucket.has(now, 1 + kept)

    def take(self, rank: Rank | None, now: float) -> None:
        """Give a slot to somebody; there must be room."""
        self.in_use += 1
        self.granted += 1
        self.last_rank = rank
        self.peak = max(self.peak, self.in_use)
        if self.bucket is not None:
            self.bucket.take(now)

    def refill_at(self) -> float | None:
        """When its rate lets the first in line have a slot; None: it does not wait for that alone. Has a line."""
        assert self.bucket is not None
        kept = self.reserved_for is not None and self.reserved_for is not self.line.first()
        if (self.limit is not None and self.in_use + kept >= self.limit) or self.bucket.rate.burst < 1 + kept:
            return None
        return self.bucket.ready_at(1 + kept)

    def ready(self, now: float) -> int | None:
        """How many could be granted now."""
        kept = self.reserved_for is not None
        free = None if self.limit is None else max(0, self.limit - self.in_use - kept)
        if self.bucket is None:
            return free
        tokens = max(0, self.bucket.level(now) - kept)
        return tokens if free is None else min(tokens, free)

    def statistics(self) -> PoolStatistics:
        """The counts."""
        return PoolStatistics(self.limit, self.in_use, self.n_waiting, self.peak, self.granted, self.refused)
