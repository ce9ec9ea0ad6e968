"""Slots: permission to run one of N, held by an actor and freed by its exit.

1. A holder is any hashable token (a ref). It holds at most one slot of a pool: asking again changes nothing.
2. A pool is a key with a limit; None is no limit. Whoever finds the pool full waits in line, first come,
   first served. The line has a bound; beyond it one is refused.
3. Nobody waits while a slot is free. So each call that frees one returns whom it went to.
4. This file knows neither time nor actors. All operations take constant time per slot they touch.

A holder that needs slots of several pools acquires them one after the other, all holders in the same order,
the narrowest pool first (its tenant's, then the shared one): then no two holders wait for each other, and
none sits on a shared slot while it waits for a private one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from attrs import frozen

__all__ = ["DEFAULT_MAX_WAITING", "Admission", "Grant", "PoolStatistics", "SlotTable"]

DEFAULT_MAX_WAITING: Final = 10_000
"""Longest line of a pool if nothing else is said."""


class Admission(StrEnum):
    """The answer to an acquire."""

    GRANTED = "granted"
    """The holder has the slot."""
    WAITING = "waiting"
    """It stands in line; a later call returns its grant."""
    REFUSED = "refused"
    """The line is full; nothing changed."""


class Grant(NamedTuple):
    """A slot that went to the first in line."""

    key: Hashable
    """The pool."""
    holder: Hashable
    """Who holds it now."""


@frozen
class PoolStatistics:
    """Counts of one pool.

    Attributes:
        limit: Slots in all; None is no limit.
        in_use: Slots held now; more than `limit` after it was lowered, until holders leave.
        waiting: Length of the line now.
        peak: Most slots ever held at once.
        granted: Slots given since the pool was made.
        refused: Requests turned away since then, the line being full.
    """

    limit: int | None
    in_use: int
    waiting: int
    peak: int
    granted: int
    refused: int


class _Pool:
    __slots__ = ("granted", "in_use", "limit", "line", "peak", "refused")

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.in_use = 0
        # Not a plain dict: taking its first entry scans the places of all that left before.
        self.line: OrderedDict[Hashable, None] = OrderedDict()
        self.peak = 0
        self.granted = 0
        self.refused = 0

    def has_room(self) -> bool:
        return self.limit is None or self.in_use < self.limit

    def take(self) -> None:
        self.in_use += 1
        self.granted += 1
        self.peak = max(self.peak, self.in_use)

    def statistics(self) -> PoolStatistics:
        return PoolStatistics(self.limit, self.in_use, len(self.line), self.peak, self.granted, self.refused)


class SlotTable:
    """Pools by key, their holders and their lines."""

    __slots__ = ("_default", "_held", "_limits", "_max_waiting", "_pools", "_waits")

    def __init__(
        self,
        limits: Mapping[Hashable, int | None] | None = None,
        *,
        default_limit: int | None = None,
        max_waiting: int | None = DEFAULT_MAX_WAITING,
    ) -> None:
        """Make a table with all slots free.

        Args:
            limits: Limits by key.
            default_limit: Limit of each other key; None is no limit.
            max_waiting: Longest line of each pool; None is no bound, for callers who bound their requests.

        Raises:
            ValueError: A number is negative.
        """
        self._limits: dict[Hashable, int | None] = {
            key: _checked(limit, f"the limit of {key!r}") for key, limit in (limits or {}).items()
        }
        self._default = _checked(default_limit, "default_limit")
        self._max_waiting = _checked(max_waiting, "max_waiting")
        self._pools: dict[Hashable, _Pool] = {}
        # By holder, for the exit. Tuples, since most hold one slot, and a set would cost four times as much.
        self._held: dict[Hashable, tuple[Hashable, ...]] = {}
        self._waits: dict[Hashable, tuple[Hashable, ...]] = {}

    def acquire(self, key: Hashable, holder: Hashable) -> Admission:
        """Ask for a slot of a pool.

        Args:
            key: The pool.
            holder: Who wants it. One that holds it already, or stands in line, keeps what it has.
        """
        if key in self._held.get(holder, ()):
            return Admission.GRANTED
        pool = self._pool(key)
        if holder in pool.line:
            return Admission.WAITING
        if pool.has_room():
            self._grant(key, pool, holder)
            return Admission.GRANTED
        if self._max_waiting is not None and len(pool.line) >= self._max_waiting:
            pool.refused += 1
            self._drop_if_idle(key, pool)
            return Admission.REFUSED
        pool.line[holder] = None
        self._waits[holder] = (*self._waits.get(holder, ()), key)
        return Admission.WAITING

    def withdraw(self, key: Hashable, holder: Hashable) -> bool:
        """Leave the line of a pool.

        Args:
            key: The pool.
            holder: Who stands in it.

        Returns:
            False if it did not stand there; a slot that it holds stays held.
        """
        pool = self._pools.get(key)
        if pool is None or holder not in pool.line:
            return False
        del pool.line[holder]
        _remove(self._waits, holder, key)
        self._drop_if_idle(key, pool)
        return True

    def release(self, key: Hashable, holder: Hashable) -> tuple[Grant, ...]:
        """Give one slot back while living on, as a paused holder does; an exit frees all by itself.

        Args:
            key: The pool.
            holder: Who holds the slot; nothing changes if it does not.

        Returns:
            To whom the slot went.
        """
        if key not in self._held.get(holder, ()):
            return ()
        _remove(self._held, holder, key)
        pool = self._pools[key]
        pool.in_use -= 1
        return self._fill(key, pool)

    def exited(self, holder: Hashable) -> tuple[Grant, ...]:
        """Free all that an ended holder held, and take it out of all lines.

        Args:
            holder: Who ended; unknown ones are fine.

        Returns:
            To whom the slots went.
        """
        for key in self._waits.get(holder, ()):
            self.withdraw(key, holder)
        grants: list[Grant] = []
        for key in self._held.get(holder, ()):
            grants += self.release(key, holder)
        return tuple(grants)

    def hand_over(self, old: Hashable, new: Hashable) -> tuple[Grant, ...]:
        """Pass all slots of one holder on to another, as a starter does to the actor it started.

        Args:
            old: Who holds them; it leaves the lines in which it stands.
            new: Who holds them from now on. A slot of a pool of which it has one already is freed.

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
        for key in moved:
            # It may stand in a line for what it has just got.
            self.withdraw(key, new)
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
        self._limits[key] = _checked(limit, f"the limit of {key!r}")
        pool = self._pools.get(key)
        if pool is None:
            return ()
        pool.limit = limit
        return self._fill(key, pool)

    def has_room(self, key: Hashable) -> bool:
        """Tell whether a slot of the pool is free."""
        return self._peek(key).has_room()

    def holds(self, key: Hashable, holder: Hashable) -> bool:
        """Tell whether the holder has a slot of the pool."""
        return key in self._held.get(holder, ())

    def is_waiting(self, key: Hashable, holder: Hashable) -> bool:
        """Tell whether the holder stands in the line of the pool."""
        return key in self._waits.get(holder, ())

    def lines_of(self, holder: Hashable) -> tuple[Hashable, ...]:
        """Give the keys of the pools in whose lines the holder stands."""
        return self._waits.get(holder, ())

    def knows(self, holder: Hashable) -> bool:
        """Tell whether the holder has or awaits any slot."""
        return holder in self._held or holder in self._waits

    def statistics(self) -> Mapping[Hashable, PoolStatistics]:
        """Give the counts by key, of pools with a limit of their own and of others while they are used."""
        keys = [*self._limits, *(key for key in self._pools if key not in self._limits)]
        return MappingProxyType({key: self._peek(key).statistics() for key in keys})

    def pool_statistics(self, key: Hashable) -> PoolStatistics:
        """Give the counts of one pool; all zero if nobody uses it."""
        return self._peek(key).statistics()

    def _pool(self, key: Hashable) -> _Pool:
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = _Pool(self._limits.get(key, self._default))
        return pool

    def _peek(self, key: Hashable) -> _Pool:
        return self._pools.get(key) or _Pool(self._limits.get(key, self._default))

    def _grant(self, key: Hashable, pool: _Pool, holder: Hashable) -> None:
        pool.take()
        self._held[holder] = (*self._held.get(holder, ()), key)

    def _fill(self, key: Hashable, pool: _Pool) -> tuple[Grant, ...]:
        grants = []
        while pool.line and pool.has_room():
            holder, _ = pool.line.popitem(last=False)
            _remove(self._waits, holder, key)
            self._grant(key, pool, holder)
            grants.append(Grant(key, holder))
        self._drop_if_idle(key, pool)
        return tuple(grants)

    def _drop_if_idle(self, key: Hashable, pool: _Pool) -> None:
        """Forget an unused pool of the default limit: keys such as tenants come and go without end."""
        if not pool.in_use and not pool.line and key not in self._limits:
            self._pools.pop(key, None)


def _remove(places: dict[Hashable, tuple[Hashable, ...]], holder: Hashable, key: Hashable) -> None:
    rest = tuple(other for other in places[holder] if other != key)
    if rest:
        places[holder] = rest
    else:
        del places[holder]


def _checked(number: int | None, what: str) -> int | None:
    if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 0):
        raise ValueError(f"{what} must be an int of 0 or more, or None, not {number!r}")
    return number
