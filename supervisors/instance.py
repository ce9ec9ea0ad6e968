"""What a dynamic supervisor keeps about one child while there is need to, and its notes to itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from supervisors.future import Future

__all__ = ["BringBack", "Instance", "Start", "StopOverdue", "TryAgain"]


class Instance:
    """One child over all its lives; kept only for what may be restarted, or is not started yet."""

    __slots__ = ("args", "attempts", "kwargs", "ref", "restarts", "started_at")

    def __init__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.args = args
        self.kwargs = kwargs
        self.ref: Any = None  # the life that runs, or the last one that did
        self.restarts = -1  # the first start is none
        self.attempts = 0
        self.started_at = 0.0


class Start(NamedTuple):
    """A start that waits for a slot."""

    instance: Instance
    """What is to start."""
    promise: Future[Any] | None
    """Who asked for it; None for a restart."""


class TryAgain(NamedTuple):
    """From a dynamic supervisor to itself: try a start again that failed; it counts as a restart."""

    instance: Instance


class BringBack(NamedTuple):
    """From a dynamic supervisor to itself: the back-off is over."""

    instance: Instance


class StopOverdue(NamedTuple):
    """From a dynamic supervisor to itself: the shutdown time is over, of one child or of all."""

    ref: Any
