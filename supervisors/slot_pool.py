"""`SlotPool`: the slot table as an actor. Slots are granted by message and freed by the exit of their holder.

Whoever wants a slot sends `Acquire` and goes on; the answer comes as a message, at once or when one is free.
A holder need not give a slot back: the pool watches it, and its end, however it comes, frees the slot.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import frozen

from supervisors.actor import Actor
from supervisors.notices import Down, Monitor
from supervisors.slots import DEFAULT_MAX_WAITING, Admission, Grant, PoolStatistics, SlotTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from supervisors.ref import Ref

__all__ = [
    "Acquire",
    "GetPoolStatistics",
    "HandOver",
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
    """What it is told if the line is full; by default `SlotRefused(key, holder)`."""
    wait: bool = True
    """Whether to stand in line if no slot is free; without it that is a refusal."""
    waiting: Any = None
    """What it is told when it has to stand in line; by default nothing."""


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
    """Grants slots of keyed pools in the order of asking.

    Args:
        limits: Slots by key; None is no limit.
        default_limit: Slots of each other key.
        max_waiting: Longest line of each pool.

    Raises:
        ValueError: A number is negative.
    """

    def __init__(
        self,
        limits: Mapping[Hashable, int | None] | None = None,
        *,
        default_limit: int | None = None,
        max_waiting: int | None = DEFAULT_MAX_WAITING,
    ) -> None:
        super().__init__()
        self._table = SlotTable(limits, default_limit=default_limit, max_waiting=max_waiting)
        # What to tell whom, by place in a line.
        self._wishes: dict[tuple[Hashable, Any], Acquire] = {}
        # One monitor per ref that holds, waits, or owns tickets.
        self._monitors: dict[Any, Monitor] = {}
        self._tickets: dict[Any, dict[Ticket, None]] = {}

    def statistics(self) -> Mapping[Hashable, PoolStatistics]:
        """Give the counts by key."""
        return self._table.statistics()

    def on_receive(self, message: Any) -> Any:
        """Handle requests, and the exits of those that hold or wait."""
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
                self._look_away(holder)
            case HandOver(ticket=ticket, holder=holder):
                self._hand_over(ticket, holder)
            case Resize(key=key, limit=limit):
                self._grant(self._table.resize(key, limit))
            case GetPoolStatistics():
                return self.statistics()
            case _:
                return super().on_receive(message)
        return None

    def _acquire(self, wish: Acquire) -> Admission:
        key, holder = wish.key, wish.holder
        if not wish.wait and not self._table.has_room(key) and not self._table.holds(key, holder):
            admission = Admission.REFUSED
        else:
            admission = self._table.acquire(key, holder)
        if admission is Admission.REFUSED:
            message = wish.refused if wish.refused is not None else SlotRefused(key, holder)
            _reply_to(wish).post(message)
            return admission
        self._watch(holder)
        if admission is Admission.GRANTED:
            self._tell(wish)
        else:
            self._wishes.setdefault((key, holder), wish)
            if wish.waiting is not None:
                _reply_to(wish).post(wish.waiting)
        return admission

    def _grant(self, grants: Iterable[Grant]) -> None:
        for grant in grants:
            self._tell(self._wishes.pop(grant))

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
                self._tell(self._wishes.pop((key, holder)))
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
