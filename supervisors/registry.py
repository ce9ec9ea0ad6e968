"""Names for actors: a ref is the address of one life, a name outlives restarts.

Hold the name of a peer and resolve it at the moment of sending; a supervisor gives the name to each new life.

1. A name has one live holder. An actor may have several names.
2. A holder loses its names when its life is over. In between, while it stops, its names resolve to nobody
   though they are still taken: a successor starts only after the end.
3. Everything takes constant time. Reading needs no lock and is safe on any thread; writing takes one briefly.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from pykka import ActorDeadError

from supervisors.errors import SupervisionError

if TYPE_CHECKING:
    from supervisors.ref import Ref

__all__ = ["AlreadyRegistered", "NotRegistered", "Registry"]


class AlreadyRegistered(SupervisionError):  # noqa: N818 - reads as the outcome it is
    """The name belongs to another actor whose life is not over.

    Attributes:
        name: The name.
        holder: The ref that has it.
    """

    def __init__(self, name: Hashable, holder: Any) -> None:
        super().__init__(f"{name!r} is the name of {holder}; unregister it first or choose another name")
        self.name = name
        self.holder = holder


class NotRegistered(SupervisionError, LookupError):  # noqa: N818 - as above
    """No live actor has the name.

    Attributes:
        name: The name.
    """

    def __init__(self, name: Hashable) -> None:
        super().__init__(f"no live actor has the name {name!r}")
        self.name = name


class Registry:
    """Names of the actors of one dispatcher, which takes out the dead."""

    __slots__ = ("_lock", "_names", "_refs")

    def __init__(self) -> None:
        self._refs: dict[Hashable, Ref[Any]] = {}
        # By ref, so that an exit need not search. A tuple: nearly all have one name.
        self._names: dict[Ref[Any], tuple[Hashable, ...]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._refs)

    def __contains__(self, name: Hashable) -> bool:
        return self.whereis(name) is not None

    def register(self, name: Hashable, ref: Ref[Any]) -> None:
        """Give an actor a name; giving it the same name again changes nothing.

        Args:
            name: Any hashable value but None.
            ref: The actor.

        Raises:
            AlreadyRegistered: Another actor has the name.
            ActorDeadError: The actor has ended.
            ValueError: The name is None.
        """
        if name is None:
            raise ValueError("None is no name")
        with self._lock:
            holder = self._refs.get(name)
            if holder is not None and holder is not ref:
                if not _is_over(holder):
                    raise AlreadyRegistered(name, holder)
                self._drop(holder)
            if name not in self._names.get(ref, ()):
                self._refs[name] = ref
                self._names[ref] = (*self._names.get(ref, ()), name)
            # Looked at after the entry is there: an end that comes later will find it and remove it.
            if not ref.is_alive():
                self._drop(ref)
                raise ActorDeadError(f"{ref} has ended and cannot have the name {name!r}")

    def unregister(self, name: Hashable) -> bool:
        """Take a name away from whoever has it.

        Args:
            name: The name.

        Returns:
            Whether somebody had it.
        """
        with self._lock:
            ref = self._refs.pop(name, None)
            if ref is None:
                return False
            rest = tuple(other for other in self._names[ref] if other != name)
            if rest:
                self._names[ref] = rest
            else:
                del self._names[ref]
            return True

    def whereis(self, name: Hashable) -> Ref[Any] | None:
        """Find who has a name now.

        Args:
            name: The name.

        Returns:
            The ref of a live actor, or None.
        """
        ref = self._refs.get(name)
        return ref if ref is not None and ref.is_alive() else None

    def resolve(self, name: Hashable) -> Ref[Any]:
        """As `whereis`, for callers that need somebody to be there.

        Raises:
            NotRegistered: Nobody has the name.
        """
        ref = self.whereis(name)
        if ref is None:
            raise NotRegistered(name)
        return ref

    def tell(self, name: Hashable, message: Any) -> None:
        """Send a message to whoever has the name at this moment.

        Raises:
            NotRegistered: Nobody has the name.
            Overloaded: The receiver's mailbox is full.
        """
        try:
            self.resolve(name).tell(message)
        except ActorDeadError:  # it ended between the two steps
            raise NotRegistered(name) from None

    def names_of(self, ref: Ref[Any]) -> tuple[Hashable, ...]:
        """Give the names of an actor, oldest first."""
        return self._names.get(ref, ())

    def names(self) -> tuple[Hashable, ...]:
        """Give all names that live actors have, as of now."""
        return tuple(name for name, ref in self._refs.copy().items() if ref.is_alive())

    def forget(self, ref: Ref[Any]) -> None:
        """Take all names of an actor whose life is over; the dispatcher calls this."""
        if ref in self._names:  # without the lock: most actors have no name
            with self._lock:
                self._drop(ref)

    def _drop(self, ref: Ref[Any]) -> None:
        for name in self._names.pop(ref, ()):
            self._refs.pop(name, None)


def _is_over(ref: Ref[Any]) -> bool:
    """Whether the life is completely over, and not merely ending: two lives under one name never overlap."""
    if ref.is_alive():
        return False
    from supervisors.life import DEAD  # late: the life imports the dispatcher's types, and that this module

    life = getattr(ref, "life", None)  # a plain Pykka ref has none
    return life is None or life.phase == DEAD
