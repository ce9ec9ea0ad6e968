"""The sinks that come along: a terminal, a file, lines of JSON, a function, a broker."""

from __future__ import annotations

import inspect
import json
import logging
import os
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TextIO

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.pubsub.sink import Broadcaster, PubSubSink
from asm_actors.rendering.ansi import strip_ansi
from asm_actors.rendering.jsonl import compact_entry
from asm_actors.rendering.sink import BaseSink
from asm_actors.serialization import check_text, invalid

__all__ = ["BroadcastSink", "CallbackSink", "FileSink", "JSONLSink", "TTYSink"]

logger = logging.getLogger("asm_actors.rendering")


class TTYSink(BaseSink):
    """Writes text to a terminal, at once.

    Args:
        device: Where to; standard output as it is when the sink is opened.
    """

    blocks: ClassVar[bool] = True

    def __init__(self, device: TextIO | None = None) -> None:
        if device is not None and not callable(getattr(device, "write", None)):
            raise invalid("device", "must be a text file", device)
        self._given = device
        self._device: TextIO | None = device

    def init(self) -> None:
        """Find the device."""
        self._device = sys.stdout if self._given is None else self._given

    def write(self, text: str) -> None:
        """Write text as it is, colours and all."""
        if text and self._device is not None:
            self._device.write(text)
            self._device.flush()

    def write_event(self, event: Event, text: str) -> None:
        """Write an event's text."""
        self.write(text)

    def flush(self) -> None:
        """Nothing is held."""
        if self._device is not None:
            self._device.flush()


class _Written(BaseSink):
    """A text file: opened by its path and closed again, or given open and left so."""

    blocks: ClassVar[bool] = True

    def __init__(self, target: str | os.PathLike[str] | TextIO, *, append: bool = False) -> None:
        is_file = callable(getattr(target, "write", None))
        if not is_file and not isinstance(target, str | os.PathLike):
            raise invalid("target", "must be a path or a text file", target)
        if isinstance(target, str) and not target:
            raise invalid("target", "must not be empty", target)
        self._path = None if is_file else Path(target)  # type: ignore[arg-type]  # one or the other
        self._file: TextIO | None = target if is_file else None  # type: ignore[assignment]  # as above
        self._mode: Literal["a", "w"] = "a" if append else "w"

    def init(self) -> None:
        """Open the file.

        Raises:
            StorageError: ``storage_write_failed``: it cannot be opened.
        """
        if self._path is None:
            return
        try:
            # What no encoding holds is written so that one sees it, instead of ending the rendering.
            self._file = self._path.open(self._mode, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise AsmError(
                ErrorCode.STORAGE_WRITE_FAILED,
                f"cannot write to {self._path}: {error.strerror or error}",
                details={"path": str(self._path)},
            ) from error

    def _put(self, text: str) -> None:
        if text and self._file is not None:
            self._file.write(text)

    def flush(self) -> None:
        """Hand what is held to the operating system."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._path is not None and self._file is not None:
            file, self._file = self._file, None
            file.close()


class FileSink(_Written):
    """Writes text to a file, without colours and what else is for terminals only.

    Args:
        target: A path, or a text file, which stays open.
        append: Write behind what the file at the path holds, instead of replacing it.
    """

    def write(self, text: str) -> None:
        """Write text, plain."""
        self._put(strip_ansi(text))

    def write_event(self, event: Event, text: str) -> None:
        """Write an event's text, plain."""
        self._put(strip_ansi(text))


class JSONLSink(_Written):
    """Writes each event as a line of JSON; text is ignored.

    Args:
        target: A path, or a text file, which stays open.
        mode: ``full``: `Event.to_map`, which `Event.from_map` reads again. ``compact``: ``{"t": ms, "e": {"t": code,
            …}}``, see `rendering.jsonl`.
        append: As in `FileSink`.

    Raises:
        ValidationError: An argument is malformed.
    """

    def __init__(
        self, target: str | os.PathLike[str] | TextIO, *, mode: str = "full", append: bool = False
    ) -> None:
        super().__init__(target, append=append)
        if mode not in ("full", "compact"):
            raise invalid("mode", "must be full or compact", mode)
        self._entry: Callable[[Event], dict[str, Any]] = Event.to_map if mode == "full" else compact_entry

    def write_event(self, event: Event, text: str) -> None:
        """Write an event."""
        self._put(json.dumps(self._entry(event), ensure_ascii=False) + "\n")


class _Pending:
    """Answers that are to be awaited, one after the other; a failure is told, not raised.

    Args:
        answers: What is to be awaited.
        failed: Called for each that raises.
        done: Called for each that does not.
    """

    def __init__(
        self, answers: Sequence[Any], failed: Callable[[], None], done: Callable[[], None] | None = None
    ) -> None:
        self._answers = answers
        self._failed = failed
        self._done = done

    def __await__(self) -> Generator[Any, None, None]:
        return self._wait().__await__()

    async def _wait(self) -> None:
        for answer in self._answers:
            try:
                await answer
            except Exception:  # the user's, and harms only itself
                self._failed()
            else:
                if self._done is not None:
                    self._done()

    def close(self) -> None:
        """Nobody will await them."""
        for answer in self._answers:
            if inspect.iscoroutine(answer):
                answer.close()


class CallbackSink(BaseSink):
    """Calls a function with each event and its text; one that raises is logged once, counted, and called again.

    Args:
        callback: Takes the event and the text; with `Rendering.stream_async` it may be a coroutine function.

    Attributes:
        error_count: How often it raised.

    Raises:
        ValidationError: It is not callable.
    """

    def __init__(self, callback: Callable[[Event, str], Any]) -> None:
        if not callable(callback):
            raise invalid("callback", "must be callable with an event and a text", callback)
        self._callback = callback
        self.error_count = 0

    def write_event(self, event: Event, text: str) -> Any:
        """Call the function."""
        try:
            answer = self._callback(event, text)
        except Exception:  # the user's, and harms only itself
            self._failed(event)
            return None
        return _Pending([answer], lambda: self._failed(event)) if inspect.isawaitable(answer) else None

    def _failed(self, event: Event) -> None:
        self.error_count += 1
        if self.error_count == 1:
            logger.error(
                "the callback of a rendering raised on event %s; further failures are counted only",
                event.id,
                exc_info=True,  # noqa: LOG014 - called in a handler
            )


class BroadcastSink(BaseSink):
    """Hands each event on to a broker, by topic; failures are counted and stop nothing. See `PubSubSink`.

    Args:
        pubsub: The broker.
        include_text: Messages are ``(wrapper, session_id, event, text)`` instead of ``(wrapper, session_id, event)``.
        message_wrapper: What messages begin with.
        options: Those of `PubSubSink`: ``topic topic_fn prefix scope``.

    Raises:
        ValidationError: An argument is malformed.
    """

    def __init__(
        self,
        pubsub: Broadcaster,
        *,
        include_text: bool = False,
        message_wrapper: str = "asm_event",
        **options: Any,
    ) -> None:
        wrapper = check_text(message_wrapper, "message_wrapper")
        self._text = ""

        def with_text(event: Event) -> tuple[str, str, Event, str]:
            return wrapper, event.session_id, event, self._text

        self._sink = PubSubSink(pubsub, message_wrapper=with_text if include_text else wrapper, **options)

    @property
    def broadcast_count(self) -> int:
        """Messages handed over."""
        return self._sink.broadcast_count

    @property
    def error_count(self) -> int:
        """Failures."""
        return self._sink.error_count

    def write_event(self, event: Event, text: str) -> Any:
        """Hand an event on; with `Rendering.stream_async` the broker may answer with awaitables."""
        self._text = text
        pending = self._sink._broadcast(event)
        return _Pending(pending, lambda: self._sink._failed(event), self._counted) if pending else None

    def _counted(self) -> None:
        self._sink.broadcast_count += 1
