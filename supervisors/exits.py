"""Exit reasons: how the life of an actor ended, as values.

A reason travels in an exit report or in an answer to a monitor. Whoever receives it asks one question,
`is_abnormal`, and gets the answer OTP gives: every end is abnormal but a normal one and an ordered one.

    Normal      the actor had nothing more to do
    Shutdown    it was told to go, or left in good order for a reason it names in `detail`
    Crashed     an exception left one of its handlers, hooks or tasks
    Killed      it did not stop in its shutdown time, or was killed outright
    Abandoned   a blocking thread that cannot be killed was cut off
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import field, frozen

__all__ = [
    "ABANDONED",
    "KILLED",
    "NORMAL",
    "SHUTDOWN",
    "Abandoned",
    "Crashed",
    "ExitReason",
    "Killed",
    "Normal",
    "Shutdown",
    "describe",
    "error_text",
    "is_abnormal",
]


@frozen
class Normal:
    """The actor ended of its own accord and in good order."""


@frozen
class Shutdown:
    """The actor was told to stop, or chose to stop in good order.

    Attributes:
        detail: Why, if the stopper says so; any value with a readable repr.
    """

    detail: object = None


@frozen
class Crashed:
    """An exception ended the actor. Two crashes are equal only if they hold the same exception object.

    Attributes:
        error: The exception, with its traceback.
    """

    error: BaseException = field(eq=id)


@frozen
class Killed:
    """The actor was ended at once: no hook ran, its tasks were cancelled."""


@frozen
class Abandoned:
    """The actor's thread blocks and cannot be killed; it was unregistered and left behind."""


ExitReason: TypeAlias = Normal | Shutdown | Crashed | Killed | Abandoned
"""Every way to end: a closed union."""

NORMAL = Normal()
SHUTDOWN = Shutdown()
KILLED = Killed()
ABANDONED = Abandoned()


def is_abnormal(reason: ExitReason) -> bool:
    """Tell whether a transient child with this end would be restarted.

    Args:
        reason: How the life ended.

    Returns:
        False for `Normal` and `Shutdown` (with or without a detail), true for all others.
    """
    return not isinstance(reason, (Normal, Shutdown))


def describe(reason: ExitReason) -> str:
    """Give the reason as a short phrase for logs and for printed trees.

    Args:
        reason: How the life ended.

    Returns:
        One line, such as ``shutdown (drained)`` or ``crashed: ValueError('no such key')``.
    """
    match reason:
        case Normal():
            return "normal"
        case Shutdown(detail=None):
            return "shutdown"
        case Shutdown(detail=detail):
            return f"shutdown ({detail})"
        case Crashed(error=error):
            return f"crashed: {error_text(error)}"
        case Killed():
            return "killed"
        case Abandoned():
            return "abandoned"


def error_text(error: BaseException) -> str:
    """Return the `repr` of an exception; where that itself fails, for it may be anybody's code, its type."""
    try:
        return repr(error)
    except BaseException:
        return f"{type(error).__name__} (it cannot be shown)"
