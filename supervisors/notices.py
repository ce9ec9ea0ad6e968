"""Notices which the runtime sends to actors: what happened to others, and timers.

They arrive in `on_receive` like any message, in order, and are never refused by a full mailbox.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pykka import ActorRef

    from supervisors.exits import ExitReason

__all__ = ["ChildExited", "Down", "Monitor"]


class Monitor:
    """Token of one `monitor()` call; equal only to itself."""

    __slots__ = ("target",)

    def __init__(self, target: Any) -> None:
        self.target = target


class ChildExited(NamedTuple):
    """To a parent, exactly once per child, when the child's life is completely over."""

    ref: ActorRef[Any]
    """The child that ended; its tasks have been awaited and its own children are gone."""
    reason: ExitReason
    """How it ended."""


class Down(NamedTuple):
    """To whoever called `monitor()`, exactly once per call, when the watched actor's life is over."""

    ref: ActorRef[Any]
    """The actor that ended."""
    reason: ExitReason
    """How it ended."""
    monitor: Monitor
    """The token that `monitor()` returned."""
