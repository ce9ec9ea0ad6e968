"""`SlotLine`: the starts of a dynamic supervisor that wait for a slot of a pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from supervisors.notices import Monitor
from supervisors.slot_pool import Acquire, HandOver, Release, SlotBinding, Ticket

if TYPE_CHECKING:
    from collections.abc import Hashable

    from supervisors.actor import Actor
    from supervisors.ref import Ref

__all__ = ["SlotLine"]

S = TypeVar("S")


class SlotLine(Generic[S]):
    """Tickets in a pool, each for one start.

    Args:
        owner: The supervisor; its end voids all tickets.
        binding: The pool and the key in it.
    """

    __slots__ = ("_binding", "_monitors", "_owner", "_waiting")

    def __init__(self, owner: Actor, binding: SlotBinding) -> None:
        self._owner = owner
        self._binding = binding
        self._waiting: dict[Ticket, tuple[Hashable, S]] = {}
        self._monitors: dict[Any, Monitor] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def request(self, start: S, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Ask the pool for a slot; its answer is a message to the owner.

        Args:
            start: What is to start, given back with the answer.
            args: The child's arguments, from which the binding makes the key.
            kwargs: Its keyword arguments.

        Raises:
            NotRegistered: There is no pool now.
            ActorDeadError: The pool has ended.
        """
        key = self._binding.key_for(args, kwargs)
        ticket = Ticket(self._owner.actor_ref)
        pool = self._pool()
        pool.tell(Acquire(key, ticket))
        self._waiting[ticket] = (key, start)
        # A dead pool grants nothing, and its successor knows of no ticket of the old one.
        if pool not in self._monitors:
            self._monitors[pool] = self._owner.monitor(pool)

    def take(self, key: Hashable, ticket: Ticket) -> S | None:
        """Give the start that the ticket was for; None, and the slot goes back, if nobody waits for it."""
        _, start = self._waiting.pop(ticket, (None, None))
        if start is None:
            self.give_back(key, ticket)
        return start

    def lose(self, ticket: Ticket) -> S | None:
        """Give the start of a ticket that was refused."""
        return self._waiting.pop(ticket, (None, None))[1]

    def lose_all(self, pool: Any = None) -> list[S]:
        """Give all starts that wait, since the pool has ended or nobody wants them any more."""
        self._monitors.pop(pool, None)
        starts = [start for _, start in self._waiting.values()]
        self._waiting.clear()
        return starts

    def withdraw(self, is_meant: Callable[[S], bool]) -> S | None:
        """Take the first start for which `is_meant` holds out of the line."""
        for ticket, (key, start) in self._waiting.items():
            if is_meant(start):
                del self._waiting[ticket]
                self.give_back(key, ticket)
                return start
        return None

    def hand_over(self, ticket: Ticket, ref: Ref[Any]) -> None:
        """Make the started child the holder of the slot; its exit frees it."""
        self._pool().post(HandOver(ticket, ref))

    def give_back(self, key: Hashable, ticket: Ticket) -> None:
        """Give back the slot, or the place in the line, of a start that came to nothing."""
        self._pool().post(Release(key, ticket))

    def _pool(self) -> Any:
        pool = self._binding.pool
        return pool if hasattr(pool, "life") else self._owner.dispatcher.names.resolve(pool)
