"""The contract of sinks: where rendered text, and the events themselves, go."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable

from asm_actors.events import Event

__all__ = ["BaseSink", "Sink"]


@runtime_checkable
class Sink(Protocol):
    """What `Rendering` asks of a sink. A failure is raised; what becomes of it is told in `Rendering`.

    With `Rendering.stream_async` each method may return an awaitable.
    """

    def init(self) -> Any:
        """Open it; called once, before anything else."""
        ...

    def write(self, text: str) -> Any:
        """Take text that belongs to no event: what a renderer says at the end."""
        ...

    def write_event(self, event: Event, text: str) -> Any:
        """Take an event, and the text that was made of it, which may be empty."""
        ...

    def flush(self) -> Any:
        """Hand on what it still holds."""
        ...

    def close(self) -> Any:
        """Let go; called once, also after a failure, if `init` went well."""
        ...


class BaseSink:
    """A sink that ignores everything: a base for those that do not.

    Attributes:
        blocks: Whether its methods may wait for a disk or a terminal, and so belong on a thread.
    """

    blocks: ClassVar[bool] = False

    def init(self) -> Any:
        """Nothing to open."""

    def write(self, text: str) -> Any:
        """Ignored."""

    def write_event(self, event: Event, text: str) -> Any:
        """Ignored."""

    def flush(self) -> Any:
        """Nothing is held."""

    def close(self) -> Any:
        """Nothing to let go."""
