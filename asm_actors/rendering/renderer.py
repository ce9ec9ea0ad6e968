"""The contract of renderers, and the simplest one. Pure: an event and a state in, a text and a state out.

A renderer is a value that holds its options; what it remembers from one event to the next is the state, another value.
So one renderer serves any number of streams at once.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from attrs import frozen

from asm_actors.events import Event

__all__ = ["PassthroughRenderer", "Renderer"]


@runtime_checkable
class Renderer(Protocol):
    """What `Rendering` asks of a renderer."""

    def init(self) -> Any:
        """Return the state before the first event."""
        ...

    def render_event(self, event: Event, state: Any) -> tuple[str, Any]:
        """Return what an event adds to the text, and the state after it."""
        ...

    def finish(self, state: Any) -> tuple[str, Any]:
        """Return what stands at the end, and the last state."""
        ...


@frozen
class PassthroughRenderer:
    """Renders nothing: for sinks that want the events themselves."""

    def init(self) -> None:
        """There is nothing to remember."""

    def render_event(self, event: Event, state: None) -> tuple[str, None]:
        """No text."""
        return "", None

    def finish(self, state: None) -> tuple[str, None]:
        """No text."""
        return "", None
