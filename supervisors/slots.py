"""Slots: permission to run one of N, held by an actor and freed by its exit.

1. A holder is any hashable token (a ref). It holds at most one slot of a pool: asking again changes nothing.
2. A pool is a key with a limit; None is no limit. Whoever finds the pool full waits in line: the highest priority
   first, of equal ones who came first. The line has a bound; beyond it one is refused.
3. Who wants slots of several pools (`Keys`) gets all of them in one step, and holds none while it waits. So no two wait
   for each other, and nobody keeps others out of a pool while it waits for another one.
4. Nobody waits while all that it wants is free. So each call that frees a slot returns whom it went to. Whoever waits
   stands in the line of one pool that is full, with its place; when that pool has room, and another one that it wants
   has not, it goes to that line, and those behind it have their turn. What several pools free at once goes by rank.
5. Who waits for several pools could be passed over for ever by those that want others. So one that `PATIENCE` times
   found a pool taken by somebody who had come later has the next slot of that pool kept for it; one waiter at a time.
6. A pool may have a rate: how often a slot is granted. Who waits for that stands in the same line.
7. This file knows no actors and no clock: whoever uses rates says what time it is (`refill`). Operations take constant
   time per slot they touch, and log n for those that do not come in the order of their rank.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from types import MappingProxyType

from supervisors.slot_counts import Keys, PoolStatistics
from supervisors.slot_waiting import DEFAULT_MAX_WAITING, PATIENCE, Admission, Grant, Lines, checked, keys_of

__all__ = [
    "DEFAULT_MAX_WAITING",
    "PATIENCE",
    "Admission",
    "Grant",
    "Keys",
    "PoolStatistics",
    "SlotTable",
]


class SlotTable(Lines):
    """Pools by key, their holders and their lines; all slots are free at first.

    Args:
        limits: Limits by key.
        default_limit: Limit of each other key, or what tells it; None is no limit.
        max_waiting: Longest line of each pool; None is no bound, for callers who bound their requests.
        rate: Tells how often a slot of a pool is granted; None: as often as there is one.

    Raises:
        ValueError: A number is negative.
    """

    __slots__ = ()

    def acquire(self, key: Hashable, holder: Hashable, priority: int = 0) -> Admission:
        """Ask for a slot of a pool, or of several.

        Args:
            key: The pool's key, or `Keys`.
            holder: Who wants it. One that holds it already, or stands in line, keeps what it has.
            priority: Higher goes first (see `slot_order.rank_of`).
        """
        if type(key) is Keys:
            return self._acquire_all(key, key.keys, holder, priority)
        held = self._held.get(holder, ())
        if key in held:
            return Admission.GRANTED
        pool = self._pools.get(key) or self._pool(key)
        if holder in self._waits and self._request(key, holder) is not None:
            return Admission.WAITING
        if pool.has_room(self._now):
            pool.take(None, self._now)
            self._held[holder] = (*held, key)
            return Admission.GRANTED
        return self._wait(key, (key,), holder, priority, pool)

    def withdraw(self, key: Hashable, holder: Hashable) -> bool:
        """Leave the line. What was kept for it goes to others with the next `settle`.

        Args:
            key: What it had asked for.
            holder: Who stands in it.

        Returns:
            False if it did not stand there; a slot that it holds stays held.
        """
        request = self._request(key, holder)
        if request is None:
            return False
        request.pool.line.remove(request)
        self._forget(request)
        return True

    def release(self, key: Hashable, holder: Hashable) -> tuple[Grant, ...]:
        """Give a slot back while living on, as a paused holder does; an exit frees all by itself.

        Args:
            key: The pool's key, or `Keys`.
            holder: Who holds the slot; nothing changes if it does not.

        Returns:
            To whom it went.
        """
        return self._fill(self._give_back(keys_of(key), holder))

    def exited(self, holder: Hashable) -> tuple[Grant, ...]:
        """Free all that an ended holder held, and take it out of all lines.

        Args:
            holder: Who ended; unknown ones are fine.

        Returns:
            To whom the slots went.
        """
        for request in self._waits.get(holder, ()):
            request.pool.line.remove(request)
            self._forget(request)
        keys = self._held.pop(holder, ())
        pools = [self._pools[key] for key in keys]
        for pool in pools:
            pool.in_use -= 1
        return self._fill(pools)

    def settle(self) -> tuple[Grant, ...]:
        """Give away what was kept for one that has left its line; returns to whom it went."""
        return self._fill([]) if self._unkept else ()

    def hand_over(self, old: Hashable, new: Hashable) -> tuple[Grant, ...]:
        """Pass all slots of one holder on to another, as a starter does to the actor it started.

        Args:
            old: Who holds them; it leaves the lines in which it stands.
            new: Who holds them from now on. A slot of a pool of which it has one already is freed. If it stands in
                line for what it has by then, or could have, it has that.

        Returns:
            To whom freed slots went.
        """
        keys = self._held.get(old, ())
        mine = self._held.get(new, ())
        surplus = tuple(key for key in keys if key in mine)
        moved = tuple(key for key in keys if key not in mine)
        if moved:
            self._held[new] = (*mine, *moved)
        if surplus:
            self._held[old] = surplus
        else:
            self._held.pop(old, None)
        if moved:
            for request in self._waits.get(new, ()):
                request.pool.line.remove(request)
                self._serve(request)
        return self.exited(old)

    def resize(self, key: Hashable, limit: int | None) -> tuple[Grant, ...]:
        """Change the limit of a pool. Lowering it takes no slot away; it only stops new grants.

        Args:
            key: The pool.
            limit: The new limit; None is none.

        Returns:
            Who in line got a slot by it.

        Raises:
            ValueError: The limit is negative.
        """
        self._limits[key] = checked(limit, f"the limit of {key!r}")
        pool = self._pools.get(key)
        if pool is None:
            return ()
        pool.limit = limit
        return self._fill([pool])

    def refill(self, now: float) -> tuple[Grant, ...]:
        """Say what time it is, before anything else is asked of a table with rates; returns who got a slot by it."""
        self._now = now
        pools = list(self._thirsty.values())
        return self._fill(pools) if pools else ()

    def next_refill(self) -> float | None:
        """Tell when the next one gets a slot if no other is freed; None: that is not a matter of time."""
        due: float | None = None
        for key, pool in tuple(self._thirsty.items()):
            if not pool.line:
                del self._thirsty[key]
                continue
            time = pool.refill_at()
            if time is not None and (due is None or time < due):
                due = time
        return due

    def has_room(self, key: Hashable) -> bool:
        """Tell whether a slot of the pool is free, or of all that are meant."""
        return self.full(key) is None

    def full(self, key: Hashable) -> Hashable | None:
        """Tell which pool has no slot free, of those that are meant; None: all have."""
        return next((one for one in keys_of(key) if not self._peek(one).has_room(self._now)), None)

    def holds(self, key: Hashable, holder: Hashable) -> bool:
        """Tell whether the holder has a slot of the pool, or of all that are meant."""
        held = self._held.get(holder, ())
        return all(one in held for one in keys_of(key))

    def is_waiting(self, key: Hashable, holder: Hashable) -> bool:
        """Tell whether the holder stands in line for this."""
        return self._request(key, holder) is not None

    def lines_of(self, holder: Hashable) -> tuple[Hashable, ...]:
        """Give what the holder has asked for and stands in line for."""
        return tuple(request.key for request in self._waits.get(holder, ()))

    def knows(self, holder: Hashable) -> bool:
        """Tell whether the holder has or awaits any slot."""
        return holder in self._held or holder in self._waits

    def overlooked(self) -> tuple[Hashable, ...]:
        """Give those who wait although they could have all that they want: nobody, ever. For checks."""
        return tuple(
            request.holder
            for requests in self._waits.values()
            for request in requests
            if all(
                key in self._held.get(request.holder, ()) or self._peek(key).has_room(self._now, request)
                for key in request.keys
            )
        )

    @property
    def n_waiting(self) -> int:
        """How many wait in all lines."""
        return self._n_requests

    def note_refusal(self, key: Hashable) -> None:
        """Count one that did not want to wait."""
        pool = self._pools.get(key)
        if pool is not None:
            pool.refused += 1

    def statistics(self) -> Mapping[Hashable, PoolStatistics]:
        """Give the counts by key, of pools with a limit of their own and of others while they are used."""
        keys = [*self._limits, *(key for key in self._pools if key not in self._limits)]
        return MappingProxyType({key: self._peek(key).statistics() for key in keys})

    def ready(self, key: Hashable) -> int | None:
        """Tell how many slots of one pool could be granted now, to whoever comes; None: any number."""
        return self._peek(key).ready(self._now)

    def pool_statistics(self, key: Hashable) -> PoolStatistics:
        """Give the counts of one pool; all zero if nobody uses it."""
        return self._peek(key).statistics()
