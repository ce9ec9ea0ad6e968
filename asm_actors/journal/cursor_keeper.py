"""The actor that keeps named cursors: claims and acknowledgements come in, a few small commits go out.

Acknowledgements gather for a moment and share one transaction, on the thread on which the journal commits. A restart
of this actor loses nothing: consumers claim their names again, and say what they had acknowledged.
"""

from __future__ import annotations

import logging
from typing import Any, Final, NamedTuple

from asm_actors.errors import AsmError
from asm_actors.journal.cursor_book import Acknowledge, Claim, CursorBook, Forget, ListCursors, Release
from asm_actors.journal.cursors import NamedCursor
from asm_actors.services import Services
from supervisors import Actor, Timer
from supervisors.exits import ExitReason

__all__ = ["CursorKeeper"]

logger = logging.getLogger("asm_actors.journal")
THREAD: Final = "asm-journal"
"""The journal's committing thread."""
LINGER_S = 0.05
"""How long acknowledgements that nobody waits for are gathered: they cost at most twenty commits a second."""
RETRY_S = 1.0
"""Before a write that failed is tried again."""

_Waiting = list[tuple[Any, Any]]
"""Futures, and what they are set to when the next write is durable."""


class _WriteNow:
    """To itself: enough was gathered."""


class _Leave(NamedTuple):
    """To itself: what was told before it was asked to leave has been taken."""

    reason: ExitReason


class _Loaded:
    """To itself: what the store has."""

    __slots__ = ("cursors", "error")

    def __init__(self) -> None:
        self.cursors: list[NamedCursor] = []
        self.error: AsmError | None = None


class _Saved:
    """To itself: how a write went."""

    __slots__ = ("batch", "error", "waiting")

    def __init__(self, batch: dict[str, NamedCursor | None], waiting: _Waiting) -> None:
        self.batch = batch
        self.waiting = waiting
        self.error: AsmError | None = None


class CursorKeeper(Actor):
    """See the module.

    Args:
        services: The system's.
    """

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._book: CursorBook | None = None
        self._held: list[tuple[Any, Any]] = []
        self._is_loading = False
        self._is_writing = False
        self._is_failing = False
        self._waiting: _Waiting = []
        self._timer: Timer | None = None
        self._leaving: ExitReason | None = None

    def lags(self, position: int) -> dict[str, int | None]:
        """Events beyond each cursor; None where one session is followed. Empty until a name was asked for."""
        entries = () if self._book is None else self._book.entries()
        return {
            cursor.name: None if cursor.session_id is not None else max(0, position - cursor.cursor)
            for cursor, _ in entries
        }

    def on_receive(self, message: Any) -> Any:
        kind = type(message)
        if kind in (Claim, Acknowledge, Release, Forget, ListCursors):
            self._take(message, self.reply_later())
        elif kind is _Loaded:
            self._loaded(message)
        elif kind is _Saved:
            self._saved(message)
        elif kind is _Leave:
            self._leave(message.reason)
        elif kind is _WriteNow:
            self._timer = None
            self._write()
        else:
            return super().on_receive(message)
        return None

    def on_exit_request(self, reason: ExitReason) -> bool:
        """What was acknowledged is written first, that which is still in line for this actor too."""
        if self._is_idle and not len(self._life.queue):
            return False
        self._life.put_notice(_Leave(reason))
        return True

    @property
    def _is_idle(self) -> bool:
        return not (self._is_loading or self._is_writing or (self._book is not None and self._book.is_dirty))

    def _leave(self, reason: ExitReason) -> None:
        if self._is_idle:
            self.exit(reason)
        else:
            self._leaving = reason
            self._write()

    # --- The book ------------------------------------------------------------------------------------------------

    def _take(self, message: Any, reply: Any) -> None:
        if self._book is None:
            self._held.append((message, reply))
            if not self._is_loading:
                self._is_loading = True
                self.spawn(self._load(), name="load")
            return
        try:
            value, is_durable = self._perform(self._book, message)
        except AsmError as error:
            _refuse(reply, error)
            return
        if reply is None:
            self._write_soon(is_urgent=False)
        elif is_durable and not self._book.is_dirty and not self._is_writing:
            reply.set(value)
        elif is_durable:
            self._waiting.append((reply, value))
            self._write_soon(is_urgent=True)
        else:
            reply.set(value)

    def _perform(self, book: CursorBook, message: Any) -> tuple[Any, bool]:
        """Do what is asked; return the answer, and whether it waits for the disk."""
        now = self._services.now_us()
        match message:
            case Claim():
                return book.claim(message, now), True
            case Acknowledge():
                book.acknowledge(message, now)
                return None, True
            case Forget(name=name):
                return book.forget(name), True
            case Release(holder=holder):
                book.release(holder)
                return None, False
            case _:
                return book.entries(), False

    async def _load(self) -> None:
        loaded = _Loaded()
        try:
            loaded.cursors = await self.dispatcher.run_blocking(self._services.store.cursors, thread=THREAD)
        except AsmError as error:
            loaded.error = error
        self.actor_ref.post(loaded)

    def _loaded(self, loaded: _Loaded) -> None:
        self._is_loading = False
        held, self._held = self._held, []
        if loaded.error is None:
            self._book = CursorBook(loaded.cursors)
        for message, reply in held:
            if loaded.error is None:
                self._take(message, reply)
            else:  # the next one who asks has it tried again
                _refuse(reply, loaded.error)
        if self._leaving is not None:
            self._leave(self._leaving)

    # --- Writing -------------------------------------------------------------------------------------------------

    def _write_soon(self, *, is_urgent: bool) -> None:
        if self._is_writing or self._is_failing or self._book is None:
            if is_urgent and self._is_failing and not self._is_writing:
                self._write()
            return
        if is_urgent:
            self._write()
        elif self._book.is_dirty and self._timer is None:
            self._timer = self.send_after(LINGER_S, _WriteNow())

    def _write(self) -> None:
        """Begin a write, unless one is under way: its end begins the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_writing or self._book is None:
            return
        saved = _Saved(self._book.take_dirty(), self._waiting)
        self._waiting = []
        self._is_writing = True
        self.spawn(self._save(saved), name="save")

    async def _save(self, saved: _Saved) -> None:
        store = self._services.store
        try:
            await self.dispatcher.run_blocking(store.save_cursors, saved.batch, thread=THREAD)
        except AsmError as error:
            saved.error = error
        self.actor_ref.post(saved)

    def _saved(self, saved: _Saved) -> None:
        assert self._book is not None
        self._is_writing = False
        if saved.error is not None:
            self._book.put_back(saved.batch)
            if not self._is_failing:
                logger.error("cursors could not be saved and are tried again: %s", saved.error)
            for reply, _ in saved.waiting:
                _refuse(reply, saved.error)
        else:
            for reply, value in saved.waiting:
                if not reply.is_done:
                    reply.set(value)
        self._is_failing = saved.error is not None
        if self._leaving is not None:
            # What cannot be written now comes again: everything not acknowledged durably does.
            if self._book.is_dirty and not self._is_failing:
                self._write()
            else:
                self.exit(self._leaving)
        elif self._is_failing:
            self._timer = self.send_after(RETRY_S, _WriteNow())
        elif self._waiting:
            self._write()
        else:
            self._write_soon(is_urgent=False)


def _refuse(reply: Any, error: AsmError) -> None:
    if reply is not None and not reply.is_done:
        reply.set_error(error)
