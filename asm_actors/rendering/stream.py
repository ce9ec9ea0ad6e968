"""`Rendering`: events through a renderer into sinks.

::

    renderer, sinks = asm.StudioRenderer(tty=True), [asm.TTYSink(), asm.FileSink("session.log")]
    asm.Rendering.stream(manager.subscribe(session.id), renderer, sinks)

1. The sinks are opened in their order. One that cannot be opened ends the rendering with its error, before any event
   was taken; those that are open are closed.
2. Each event goes to every sink, in order, before the next one is taken. A sink that fails later is closed and left
   out; the others go on. It is logged once, and `Rendered.failures` names it. If none is left, what the last one raised
   ends the rendering: there is nobody to render for.
3. At the end each sink gets what the renderer says then, is flushed, and closed. If the events end by an exception, or
   the renderer raises, the sinks are flushed and closed all the same, and that exception is raised.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from attrs import frozen

from asm_actors.events import Event
from asm_actors.rendering.renderer import Renderer
from asm_actors.rendering.sink import Sink
from asm_actors.serialization import invalid

__all__ = ["Rendered", "Rendering", "SinkFailure", "Stage"]

logger: Final = logging.getLogger("asm_actors.rendering")


@frozen
class SinkFailure:
    """A sink that was left out.

    Attributes:
        sink: Which.
        stage: What it was doing: ``write``, ``write_event``, ``flush`` or ``close``.
        error: What it raised.
    """

    sink: Any
    stage: str
    error: Exception


@frozen
class Rendered:
    """What became of a rendering.

    Attributes:
        events: How many events it took.
        failures: Sinks that failed on the way.
    """

    events: int
    failures: tuple[SinkFailure, ...] = ()


class _Sinks:
    """What both stages share: a renderer, the sinks that still work, and what happened.

    Args:
        renderer: Makes text of events.
        sinks: Where it goes.
    """

    def __init__(self, renderer: Renderer, sinks: Iterable[Sink]) -> None:
        if not isinstance(renderer, Renderer):
            raise invalid("renderer", "must have init, render_event and finish", renderer)
        if not isinstance(sinks, Iterable):
            raise invalid("sinks", "must be a list of sinks", sinks)
        self._given: Sequence[Sink] = tuple(sinks)
        for sink in self._given:
            if not isinstance(sink, Sink):
                raise invalid("sinks", "must have init, write, write_event, flush and close each", sink)
        self._renderer = renderer
        self._open: list[Sink] = []
        self._failures: list[SinkFailure] = []
        self._events = 0
        self._state: Any = None

    @property
    def rendered(self) -> Rendered:
        """What became of it so far."""
        return Rendered(self._events, tuple(self._failures))

    def _render(self, event: Event) -> str:
        text, self._state = self._renderer.render_event(event, self._state)
        self._events += 1
        return text

    def _check_any_left(self) -> None:
        if self._given and not self._open:
            raise self._failures[-1].error

    def _failed(self, sink: Sink, stage: str, error: Exception) -> None:
        if sink in self._open:
            self._open.remove(sink)
        self._failures.append(SinkFailure(sink, stage, error))
        logger.error("a sink (%s) failed in %s; it is left out", type(sink).__name__, stage, exc_info=error)


class Stage(_Sinks):
    """A rendering that is fed by hand, in a `with` block; `Rendering.stream` feeds one from an iterable.

    Args:
        renderer: Makes text of events.
        sinks: Where it goes.

    Raises:
        ValidationError: An argument is malformed.
    """

    def show(self, event: Event) -> None:
        """Render one event into every sink."""
        text = self._render(event)
        self._each("write_event", event, text)
        self._check_any_left()

    def __enter__(self) -> Self:
        self._state = self._renderer.init()
        try:
            for sink in self._given:
                sink.init()
                self._open.append(sink)
        except BaseException:
            self._each("close")
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                text, self._state = self._renderer.finish(self._state)
                self._each("write", text)
        finally:
            self._each("flush")
            self._each("close")

    def _each(self, stage: str, *args: Any) -> None:
        for sink in tuple(self._open):
            try:
                answer = getattr(sink, stage)(*args)
                if inspect.isawaitable(answer):
                    _discard(answer)
                    raise invalid("sinks", "must not be awaited: use Rendering.stream_async", sink)
            except Exception as error:  # a sink is anybody's, and harms only itself
                self._failed(sink, stage, error)
                if stage != "close":
                    self._let_go(sink)

    def _let_go(self, sink: Sink) -> None:
        try:
            sink.close()
        except Exception:  # it is left out already
            logger.debug("a sink that had failed could not be closed", exc_info=True)


class _AsyncStage(_Sinks):
    """As `Stage`, awaited. Sinks that may wait for a disk or a terminal work on a thread."""

    async def show(self, event: Event) -> None:
        text = self._render(event)
        await self._each("write_event", event, text)
        self._check_any_left()

    async def begin(self) -> None:
        self._state = self._renderer.init()
        try:
            for sink in self._given:
                await _perform(sink, sink.init)
                self._open.append(sink)
        except BaseException:
            await self._each("close")
            raise

    async def end(self, *, is_whole: bool) -> None:
        try:
            if is_whole:
                text, self._state = self._renderer.finish(self._state)
                await self._each("write", text)
        finally:
            await self._each("flush")
            await self._each("close")

    async def _each(self, stage: str, *args: Any) -> None:
        for sink in tuple(self._open):
            try:
                await _perform(sink, getattr(sink, stage), *args)
            except Exception as error:  # as in Stage
                self._failed(sink, stage, error)
                if stage != "close":
                    await self._let_go(sink)

    async def _let_go(self, sink: Sink) -> None:
        try:
            await _perform(sink, sink.close)
        except Exception:  # as in Stage
            logger.debug("a sink that had failed could not be closed", exc_info=True)


async def _perform(sink: Sink, method: Callable[..., Any], *args: Any) -> None:
    if getattr(sink, "blocks", False):
        await asyncio.to_thread(method, *args)
        return
    answer = method(*args)
    if inspect.isawaitable(answer):
        await answer


def _discard(answer: Any) -> None:
    close = getattr(answer, "close", None)
    if callable(close):
        close()  # of a coroutine: it would complain that nobody awaited it


class Rendering:
    """See the module."""

    @staticmethod
    def stream(events: Iterable[Event], renderer: Renderer, sinks: Iterable[Sink]) -> Rendered:
        """Render events until they end.

        Args:
            events: A list, a subscription, or any other iterable.
            renderer: Makes text of them.
            sinks: Where the text goes.

        Returns:
            How many there were, and which sinks failed.

        Raises:
            ValidationError: An argument is malformed.
            StorageError: A sink cannot be opened (or whatever else it raises then).
            Exception: What the last sink raised that was left.
        """
        stage = Stage(renderer, sinks)
        with stage:
            for event in events:
                stage.show(event)
        return stage.rendered

    @staticmethod
    async def stream_async(
        events: AsyncIterable[Event] | Iterable[Event], renderer: Renderer, sinks: Iterable[Sink]
    ) -> Rendered:
        """As `stream`, awaited; of an asynchronous iterable, or of any other one."""
        stage = _AsyncStage(renderer, sinks)
        await stage.begin()
        is_whole = False
        try:
            if isinstance(events, AsyncIterable):
                async for event in events:
                    await stage.show(event)
            else:
                for event in events:
                    await stage.show(event)
            is_whole = True
        finally:
            await stage.end(is_whole=is_whole)
        return stage.rendered
