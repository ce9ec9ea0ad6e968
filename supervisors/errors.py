"""What can go wrong between actors, drawn as a tree.

    SupervisionError
    ├── Overloaded            the receiver's mailbox is full; nothing was queued (receiver's fault, try later)
    ├── WouldDeadlock         a blocking wait on the dispatcher's own thread (caller's fault, change the code)
    ├── DispatcherStopped     the dispatcher no longer runs actors
    └── StartFailed           a child's start failed; `.__cause__` is what it raised

Pykka's own `ActorDeadError` and `Timeout` mean here what Pykka says they mean.
"""

from __future__ import annotations

__all__ = ["DispatcherStopped", "Overloaded", "StartFailed", "SupervisionError", "WouldDeadlock"]


class SupervisionError(Exception):
    """Base of the errors which this package raises itself."""


class Overloaded(SupervisionError):  # noqa: N818 - says what is, as Pykka's Timeout
    """The mailbox has as many messages waiting as it may hold; the message was not queued."""


class WouldDeadlock(SupervisionError):  # noqa: N818 - as above
    """A blocking `get()` on the thread that would have to produce the value."""


class DispatcherStopped(SupervisionError):  # noqa: N818 - as above
    """An actor was to be started, or a message sent, on a dispatcher that has been stopped."""


class StartFailed(SupervisionError):  # noqa: N818 - as above
    """The `__init__` or `on_start` of a child raised; the child is gone."""
