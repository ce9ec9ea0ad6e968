"""`SlotPool`: the slot table as an actor. Slots are granted by message and freed by the exit of their holder.

Whoever wants a slot sends `Acquire` and goes on; the answer comes as a message, at once or when one is free.
A holder need not give a slot back: the pool watches it, and its end, however it comes, frees the slot. Who wants slots
of several pools names them with `Keys` wherever a key is asked for. A pool with a rate sets a timer for the next grant.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import evolve, frozen

from supervisors.actor import Actor
from supervisors.notices import Down, Monitor
from supervisors.slot_counts import Keys
from supervisors.slots import DEFAULT_MAX_WAITING, Admission, Grant, PoolStatistics, SlotTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from supervisors.rates import Rate
    from supervisors.ref import Ref
    from supervisors.timers import Timer

__all__ = [
    "Acquire",
    "GetPoolStatistics",
    "HandOver",
    "Keys",
    "Release",
    "Resize",
    "SlotBinding",
    "SlotGranted",
    "SlotPool",
    "SlotRefused",
    "Ticket",
]


class Ticket:
    """Holds a slot for an actor that does not exist yet; freed by its owner's exit. Equal only to itself.

    Args:
        owner: Ref of the actor that will pass the slot on with `HandOver`.
    """

    __slots__ = ("owner",)

    def __init__(self, owner: Any) -> None:
        self.owner = owner


class SlotGranted(NamedTuple):
    """From a pool: the holder has the slot."""

    key: Hashable
    """The pool's key."""
    holder: Any
    """Ref or ticket that holds it."""


class SlotRefused(NamedTuple):
    """From a pool: too many wait already; nothing changed."""

    key: Hashable
    """The pool's key."""
    holder: Any
    """Ref or ticket that would have held it."""


class Acquire(NamedTuple):
    """To a pool: I want a slot. Reply to an ask: the `Admission`; the grant is a message in any case."""

    key: Hashable
    """The pool's key."""
    holder: Any
    """Ref of the actor whose exit frees the slot, or a `Ticket`. Asking again changes nothing."""
    reply_to: Any = None
    """Ref that is told; by default the holder, or the ticket's owner."""
    granted: Any = None
    """What it is told when the slot is granted; by default `SlotGranted(key, holder)`."""
    refused: Any = None
    """What it is told if the line is full; by default `SlotRefused(key, holder)`. What can be called is called with the
    key of the pool that is full and its `PoolStatistics`, and makes the message."""
    wait: bool = True
    """Whether to stand in line if no slot is free; without it that is a refusal."""
    waiting: Any = None
    """What it is told when it has to stand in line; by default nothing."""
    priority: int = 0
    """Higher goes first in the line (see `slot_order.rank_of`)."""


class Release(NamedTuple):
    """To a pool: give the slot back, or leave the line, while the holder lives on."""

    key: Hashable
    """The pool's key."""
    holder: Any
    """Ref or ticket."""


class HandOver(NamedTuple):
    """To a pool: what the ticket holds is now held by an actor, and freed by its exit."""

    ticket: Ticket
    """The ticket, which is void from now on."""
    holder: Any
    """Ref of the actor."""


class Resize(NamedTuple):
    """To a pool: change a limit."""

    key: Hashable
    """The pool's key."""
    limit: int | None
    """The new limit; None is none."""


class GetPoolStatistics(NamedTuple):
    """To a pool. Reply: `PoolStatistics` by key."""


class _Refill:
    """To itself: a rate lets somebody go on by now."""


@frozen
class SlotBinding:
    """How a `DynamicSupervisor` takes slots for its children.

    Attributes:
        pool: The pool's ref, or its name in the dispatcher's registry.
        key: The pool's key, or a function that makes it from the arguments of a child.
    """

    pool: Any
    key: Hashable | Callable[..., Hashable] = "slots"

    def key_for(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Hashable:
        """Give the key for a child with these arguments."""
        return self.key(*args, **kwargs) if callable(self.key) else self.key


class SlotPool(Actor):
    """Grants slots of keyed pools by priority, and in the order of asking.

    Args:
        limits: Slots by key; None is no limit.
        default_limit: Slots of each other key, or what tells it.
        max_waiting: Longest line of each pool.
        rate: Tells how often a slot of a pool is granted; None: as often as there is one.

    Raises:
        ValueError: A number is negative.
    """

    def __init__(
        self,
        limits: Mapping[Hashable, int | None] | None = None,
        *,
        default_limit: int | Callable[[Hashable], int | None] | None = None,
        max_waiting: int | None = DEFAULT_MAX_WAITING,
        rate: Callable[[Hashable], Rate | None] | None = None,
    ) -> None:
        super().__init__()
        self._table = SlotTable(limits, default_limit=default_limit, max_waiting=max_waiting, rate=rate)
        # What to tell whom, and since when it waits, by place in a line.
        self._wishes: dict[tuple[Hashable, Any], tuple[Acquire, float]] = {}
        self._timer: Timer | None = None
        # One monitor per ref that holds, waits, or owns tickets.
        self._monitors: dict[Any, Monitor] = {}
        self._tickets: dict[Any, dict[Ticket, None]] = {}

    @property
    def table(self) -> SlotTable:
        """The table, for looks from the dispatcher's own thread."""
        if self._table.is_rated:
            self._grant(self._table.refill(self.now()))
        return self._table

    def statistics(self) -> Mapping[Hashable, PoolStatistics]:
        """Give the counts by key."""
        counts, now = dict(self.table.statistics()), self.now()
        longest: dict[Hashable, float] = {}
        for wish, since in self._wishes.values():
            for key in wish.key.keys if type(wish.key) is Keys else (wish.key,):
                longest[key] = max(longest.get(key, 0.0), now - since)
        for key, waited in longest.items():
            counts[key] = evolve(counts[key], longest_wait=waited)
        return MappingProxyType(counts)

    def on_receive(self, message: Any) -> Any:
        """Handle requests, and the exits of those that hold or wait."""
        if not self._table.is_rated:
            return self._handle(message)
        self._grant(self._table.refill(self.now()))
        answer = self._handle(message)
        self._set_timer()
        return answer

    def _handle(self, message: Any) -> Any:
        kind = type(message)
        if kind is Acquire:
            return self._acquire(message)
        if kind is Down:
            return self._forget(message.ref)
        match message:
            case Release(key=key, holder=holder):
                if not self._table.withdraw(key, holder):
                    self._grant(self._table.release(key, holder))
                self._wishes.pop((key, holder), None)
                self._grant(self._table.settle())
                self._look_away(holder)
            case HandOver(ticket=ticket, holder=holder):
                self._hand_over(ticket, holder)
            case Resize(key=key, limit=limit):
                self._grant(self._table.resize(key, limit))
            case GetPoolStatistics():
                return self.statistics()
            case _Refill():
                pass  # what is due was granted before this was looked at
            case _:
                return super().on_receive(message)
        return None

    def _set_timer(self) -> None:
        """Look again when a rate lets the next one go on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._table.next_refill()
        if due is not None:
            self._timer = self.send_after(max(0.0, due - self.now()), _Refill())

    def _acquire(self, wish: Acquire) -> Admission:
        key, holder, table = wish.key, wish.holder, self._table
        # Only one that does not want to wait, or cannot, needs to be told which pool is full.
        full = None if wish.wait or table.holds(key, holder) else table.full(key)
        if full is not None:
            table.note_refusal(full)
            admission = Admission.REFUSED
        else:
            admission = table.acquire(key, holder, wish.priority)
        if admission is Admission.REFUSED:
            self._refuse(wish, table.full(key) if full is None else full)
            return admission
        self._watch(holder)
        if admission is Admission.GRANTED:
            self._tell(wish)
        else:
            self._wishes.setdefault((key, holder), (wish, self.now()))
            if wish.waiting is not None:
                _reply_to(wish).post(wish.waiting)
        return admission

    def _refuse(self, wish: Acquire, full: Hashable) -> None:
        message = wish.refused
        if message is None:
            message = SlotRefused(wish.key, wish.holder)
        elif callable(message):
            message = message(full, self._table.pool_statistics(full))
        _reply_to(wish).post(message)

    def _grant(self, grants: Iterable[Grant]) -> None:
        for grant in grants:
            self._tell(self._wishes.pop(grant)[0])

    def _tell(self, wish: Acquire) -> None:
        message = wish.granted if wish.granted is not None else SlotGranted(wish.key, wish.holder)
        # Whoever ended meanwhile does not hear of it, and its `Down` frees the slot.
        _reply_to(wish).post(message)

    def _hand_over(self, ticket: Ticket, holder: Ref[Any]) -> None:
        self._watch(holder)
        awaited = self._table.lines_of(holder)
        grants = self._table.hand_over(ticket, holder)
        for key in awaited:
            if self._table.holds(key, holder):
                self._tell(self._wishes.pop((key, holder))[0])
        self._look_away(ticket)
        self._look_away(holder)  # the ticket may have held nothing
        self._grant(grants)

    # --- Watching ------------------------------------------------------------------------------------------

    def _watch(self, holder: Any) -> None:
        ref = holder
        if isinstance(holder, Ticket):
            ref = holder.owner
            self._tickets.setdefault(ref, {})[holder] = None
        if ref not in self._monitors:
            self._monitors[ref] = self.monitor(ref)

    def _look_away(self, holder: Any) -> None:
        """Stop watching a ref that has nothing to do with any pool any more."""
        if self._table.knows(holder):
            return
        ref = holder
        if isinstance(holder, Ticket):
            ref = holder.owner
            tickets = self._tickets.get(ref, {})
            tickets.pop(holder, None)
        if not self._tickets.get(ref) and not self._table.knows(ref):
            self._tickets.pop(ref, None)
            monitor = self._monitors.pop(ref, None)
            if monitor is not None:
                self.demonitor(monitor)

    def _forget(self, ref: Any) -> None:
        """Free all that an ended actor held, waited for, or kept with tickets."""
        self._monitors.pop(ref, None)
        for holder in (ref, *self._tickets.pop(ref, ())):
            for key in self._table.lines_of(holder):
                self._wishes.pop((key, holder), None)
            self._grant(self._table.exited(holder))


def _reply_to(wish: Acquire) -> Any:
    if wish.reply_to is not None:
        return wish.reply_to
    return wish.holder.owner if isinstance(wish.holder, Ticket) else wish.holder
