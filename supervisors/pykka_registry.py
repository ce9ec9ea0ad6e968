"""Makes Pykka's `ActorRegistry` fit for 100,000 actors.

Pykka keeps its refs in a list, so that removing one costs time in proportion to their number. The list is a class
attribute used in six ways (append, remove, `in`, iteration, slice, length); `RefTable` offers exactly these on a
dict, which keeps insertion order and removes in constant time. All of Pykka's own functions go on working on it,
for every actor type of the process. The contract test fails first if a Pykka release uses the attribute otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, cast

from pykka import ActorRef, ActorRegistry

__all__ = ["RefTable", "install", "register", "unregister"]

logger = logging.getLogger("pykka")


class RefTable:
    """Ordered set of refs with the part of a list's interface that `ActorRegistry` uses."""

    __slots__ = ("_refs",)

    def __init__(self, refs: list[ActorRef[Any]]) -> None:
        self._refs: dict[ActorRef[Any], None] = dict.fromkeys(refs)

    def append(self, ref: ActorRef[Any]) -> None:
        self._refs[ref] = None

    def remove(self, ref: ActorRef[Any]) -> None:
        # Quietly, unlike a list's: our own actors leave without Pykka's lock, perhaps just before this.
        self._refs.pop(ref, None)

    def discard(self, ref: ActorRef[Any]) -> bool:
        # One dict operation: atomic under the interpreter lock, so no registry lock is needed around it.
        return self._refs.pop(ref, self) is None

    def __contains__(self, ref: object) -> bool:
        return ref in self._refs

    def __len__(self) -> int:
        return len(self._refs)

    def __iter__(self) -> Iterator[ActorRef[Any]]:
        # A snapshot: our actors come and go without the registry's lock.
        refs: list[ActorRef[Any]] = list(self._refs)
        return iter(refs)

    def __reversed__(self) -> Iterator[ActorRef[Any]]:
        refs: list[ActorRef[Any]] = list(self._refs)
        return iter(refs[::-1])

    def __getitem__(self, index: Any) -> Any:
        return list(self._refs)[index]


def install() -> RefTable:
    """Put a `RefTable` in the place of Pykka's list, once per process, and return it."""
    with ActorRegistry._actor_refs_lock:
        current: Any = ActorRegistry._actor_refs
        if not isinstance(current, RefTable):
            current = RefTable(current)
            ActorRegistry._actor_refs = cast("Any", current)
        return cast("RefTable", current)


_table = install()


def register(ref: ActorRef[Any]) -> None:
    """Do what `ActorRegistry.register` does, without formatting a log line that nobody reads."""
    _table.append(ref)
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug(f"Registered {ref}")


def unregister(ref: ActorRef[Any]) -> None:
    """Do what `ActorRegistry.unregister` does, in constant time."""
    removed = _table.discard(ref)
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug(f"Unregistered {ref}" if removed else f"Unregistered {ref} (not found in registry)")
