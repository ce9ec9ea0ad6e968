"""The inner part of the slot table: its pools, and the lines in which one waits for several of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from supervisors.rates import Rate
from supervisors.slot_counts import Keys, Pool, Request
from supervisors.slot_order import rank_of

__all__ = ["DEFAULT_MAX_WAITING", "PATIENCE", "Admission", "Grant", "Lines", "checked", "keys_of"]

DEFAULT_MAX_WAITING: Final = 10_000
"""Longest line of a pool if nothing else is said."""
PATIENCE: Final = 8
"""How often one is passed over in a pool before a slot of it is kept."""
_FIRST: Final = (-(1 << 62), 0)

Limit: TypeAlias = int | None


class Admission(StrEnum):
    """The answer to an acquire."""

    GRANTED = "granted"
    """The holder has the slot."""
    WAITING = "waiting"
    """It stands in line; a later call returns its grant."""
    REFUSED = "refused"
    """The line is full; nothing changed."""


class Grant(NamedTuple):
    """What went to one that stood in line."""

    key: Hashable
    """What it had asked for: a pool's key, or `Keys`."""
    holder: Hashable
    """Who holds it now."""


class Lines:
    """Pools by key, who holds slots of them, and who waits; the rules stand in `supervisors.slots`."""

    __slots__ = (
        "_cooling",
        "_default",
        "_held",
        "_limits",
        "_max_waiting",
        "_n_requests",
        "_now",
        "_place",
        "_pools",
        "_rate",
        "_reserver",
        "_thirsty",
        "_unkept",
        "_waits",
        "is_rated",
    )

    def __init__(
        self,
        limits: Mapping[Hashable, Limit] | None = None,
        *,
        default_limit: Limit | Callable[[Hashable], Limit] = None,
        max_waiting: int | None = DEFAULT_MAX_WAITING,
        rate: Callable[[Hashable], Rate | None] | None = None,
    ) -> None:
        self._limits: dict[Hashable, Limit] = {
            key: checked(limit, f"the limit of {key!r}") for key, limit in (limits or {}).items()
        }
        self._default = default_limit if callable(default_limit) else checked(default_limit, "default_limit")
        self._max_waiting = checked(max_waiting, "max_waiting")
        self._rate = rate
        self.is_rated = rate is not None
        self._now = 0.0
        self._pools: dict[Hashable, Pool] = {}
        # By holder, for the exit. Tuples, since most hold one slot, and a set would cost four times as much.
        self._held: dict[Hashable, tuple[Hashable, ...]] = {}
        self._waits: dict[Hashable, tuple[Request, ...]] = {}
        self._n_requests = 0
        self._place = 0
        # Whoever has slots kept for it; the pools in which that has just ended; pools that nobody uses, kept by a rate.
        self._reserver: Request | None = None
        self._unkept: list[Pool] = []
        self._cooling: dict[Hashable, None] = {}
        # Pools with a rate in whose lines somebody stood when that was looked at last.
        self._thirsty: dict[Hashable, Pool] = {}

    # --- Pools -----------------------------------------------------------------------------------------------

    def _pool(self, key: Hashable) -> Pool:
        pool = self._pools.get(key)
        if pool is None:
            for unused in tuple(self._cooling)[:2]:  # two for each new one: so they go faster than they come
                self._drop_if_idle(self._pools[unused])
            pool = self._pools[key] = self._new_pool(key)
        return pool

    def _new_pool(self, key: Hashable) -> Pool:
        if key in self._limits:
            limit = self._limits[key]
        else:
            limit = self._default(key) if callable(self._default) else self._default
        return Pool(key, limit, None if self._rate is None else self._rate(key))

    def _peek(self, key: Hashable) -> Pool:
        return self._pools.get(key) or self._new_pool(key)

    def _drop_if_idle(self, pool: Pool) -> None:
        """Forget an unused pool of the default limit: keys such as tenants come and go without end."""
        if pool.in_use or pool.n_waiting or pool.key in self._limits or pool is not self._pools.get(pool.key):
            return
        if pool.bucket is None or pool.bucket.is_full(self._now):
            self._pools.pop(pool.key, None)
            self._cooling.pop(pool.key, None)
        else:
            # Forgotten now it would begin with a full bucket again. It is looked at again in its turn.
            self._cooling.pop(pool.key, None)
            self._cooling[pool.key] = None

    # --- Waiting ---------------------------------------------------------------------------------------------

    def _request(self, key: Hashable, holder: Hashable) -> Request | None:
        return next((request for request in self._waits.get(holder, ()) if request.key == key), None)

    def _acquire_all(
        self, key: Keys, keys: tuple[Hashable, ...], holder: Hashable, priority: int
    ) -> Admission:
        held = self._held.get(holder, ())
        missing = tuple(one for one in keys if one not in held) if held else keys
        if not missing:
            return Admission.GRANTED
        if holder in self._waits and self._request(key, holder) is not None:
            return Admission.WAITING
        pools = [self._pool(one) for one in missing]
        for pool in pools:
            if not pool.has_room(self._now):
                return self._wait(key, keys, holder, priority, pool)
        for pool in pools:
            pool.take(None, self._now)
        self._held[holder] = (*held, *missing)
        return Admission.GRANTED

    def _wait(
        self, key: Hashable, keys: tuple[Hashable, ...], holder: Hashable, priority: int, pool: Pool
    ) -> Admission:
        if self._max_waiting is not None and pool.n_waiting >= self._max_waiting:
            pool.refused += 1
            for one in keys:
                if one in self._pools:
                    self._drop_if_idle(self._pools[one])
            return Admission.REFUSED
        place = self._place = self._place + 1
        self._n_requests += 1
        request = Request(key, keys, holder, rank_of(place, priority) if priority else (place, place), pool)
        for one in keys:
            self._pools[one].n_waiting += 1
        self._line_up(request, pool)
        self._waits[holder] = (*self._waits.get(holder, ()), request)
        return Admission.WAITING

    def _forget(self, request: Request) -> None:
        """Take a request that stands in no line out of the books."""
        self._n_requests -= 1
        requests = self._waits.pop(request.holder)
        if len(requests) > 1:
            self._waits[request.holder] = tuple(other for other in requests if other is not request)
        if request is self._reserver:
            self._reserver = None
            for key in request.passed or ():
                pool = self._pools[key]
                if pool.reserved_for is request:
                    pool.reserved_for = None
                    self._unkept.append(pool)
        for key in request.keys:
            pool = self._pools[key]
            pool.n_waiting -= 1
            if not pool.in_use:
                self._drop_if_idle(pool)

    def _give_back(self, keys: Iterable[Hashable], holder: Hashable) -> list[Pool]:
        held = self._held.get(holder, ())
        freed = [key for key in keys if key in held]
        if not freed:
            return []
        rest = tuple(key for key in held if key not in freed) if len(freed) < len(held) else ()
        if rest:
            self._held[holder] = rest
        else:
            del self._held[holder]
        pools = [self._pools[key] for key in freed]
        for pool in pools:
            pool.in_use -= 1
        return pools

    def _fill(self, pools: list[Pool]) -> tuple[Grant, ...]:
        """Serve those who wait for any of these pools, by rank over all of them."""
        if len(pools) == 1 and not pools[0].n_waiting and not self._unkept:
            if not pools[0].in_use:
                self._drop_if_idle(pools[0])
            return ()
        grants: list[Grant] = []
        if self._unkept:
            pools, self._unkept = [*pools, *self._unkept], []
        while (pool := self._next_of(pools)) is not None:
            request = pool.line.pop()
            if len(request.keys) == 1 and request.holder not in self._held:
                # What `_serve` would do, for the usual case.
                pool.take(request.rank, self._now)
                self._held[request.holder] = request.keys
                self._forget(request)
            elif not self._serve(request):
                continue
            grants.append(Grant(request.key, request.holder))
            if self._unkept:
                pools, self._unkept = [*pools, *self._unkept], []
        for pool in pools:
            if not pool.in_use:
                self._drop_if_idle(pool)
        return tuple(grants)

    def _next_of(self, pools: list[Pool]) -> Pool | None:
        """Return the pool whose first in line goes next; None: no pool with room has a line."""
        found = None
        for pool in pools:
            if (
                pool.n_waiting
                and (pool.reserved_for is not None or pool.has_room(self._now))
                and pool.line
                and (pool.reserved_for is None or pool.has_room(self._now, pool.line.first()))
                and (found is None or pool.line.first_rank() < found.line.first_rank())
            ):
                found = pool
        return found

    def _serve(self, request: Request) -> bool:
        """Give a request all that it wants, or put it into the line of a pool that has no room for it."""
        held = self._held.get(request.holder, ())
        missing = tuple(key for key in request.keys if key not in held) if held else request.keys
        pools = [self._pools[key] for key in missing]
        for pool in pools:
            if not pool.has_room(self._now, request):
                self._stand_in(request, pool)
                return False
        for pool in pools:
            pool.take(request.rank, self._now)
        self._held[request.holder] = (*held, *missing)
        self._forget(request)
        return True

    def _stand_in(self, request: Request, pool: Pool) -> None:
        """Put a request into another line; if it was passed over there too often, keep the next slot for it."""
        if pool.last_rank is None or pool.last_rank > request.rank:
            passed = request.passed = request.passed or {}
            passed[pool.key] = passed.get(pool.key, 0) + 1
            if passed[pool.key] >= PATIENCE and self._reserver in (None, request):
                self._reserver = pool.reserved_for = request
                request.rank = _FIRST
        request.pool = pool
        self._line_up(request, pool)

    def _line_up(self, request: Request, pool: Pool) -> None:
        pool.line.add(request, request.rank)
        if pool.bucket is not None:
            self._thirsty[pool.key] = pool


def keys_of(key: Hashable) -> tuple[Hashable, ...]:
    """Return the keys of the pools that are meant."""
    return key.keys if type(key) is Keys else (key,)


def checked(number: int | None, what: str) -> int | None:
    """Return a number of slots, or None.

    Raises:
        ValueError: It is no integer of at least 0.
    """
    if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 0):
        raise ValueError(f"{what} must be an int of 0 or more, or None, not {number!r}")
    return number
