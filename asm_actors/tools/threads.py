"""`ToolThreads`: the threads on which plain functions answer calls of tools.

They are a pool of their own, so that a tool that hangs is in nobody's way but other tools'. A call waits for its place
on the event loop, in line, and its time begins when it has one. A thread whose call was given up (it is over its time,
or cancelled) keeps its place until it really ends; while all threads are held by such calls a new one is refused at
once, since nobody can say when it would begin.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from asm_actors.errors import AsmError, ErrorCode
from supervisors import Dispatcher

__all__ = ["ToolThreads"]

logger = logging.getLogger("asm_actors.tools")

_POOL: Final = "tools"


class _Place:
    """One call's place: a thread that it has, or will have as soon as it wants it."""

    def __init__(self, dispatcher: Dispatcher, size: int, name: str) -> None:
        self._dispatcher = dispatcher
        self._size = size
        self._name = name
        self._is_given_up = False
        self.running: asyncio.Future[Any] | None = None

    async def run(self, function: Callable[[], Any]) -> Any:
        """Call a function on the thread; cancelling this leaves it there if it has begun."""
        self.running = self._dispatcher.run_blocking(self._call, function, thread=_POOL, threads=self._size)
        try:
            return await asyncio.shield(self.running)
        except asyncio.CancelledError:
            self._is_given_up = True
            raise

    def _call(self, function: Callable[[], Any]) -> Any:
        if self._is_given_up:
            return None
        thread = threading.current_thread()
        before, thread.name = thread.name, f"{thread.name} ({self._name})"
        try:
            return function()
        finally:
            thread.name = before


class ToolThreads:
    """See the module. On the dispatcher's thread only.

    Args:
        dispatcher: Has the threads.
        size: Most threads.
    """

    def __init__(self, dispatcher: Dispatcher, size: int) -> None:
        self._dispatcher = dispatcher
        self._size = size
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.n_taken = 0
        """Places that calls have."""
        self.n_left = 0
        """Of these, the ones of calls that were given up and have not ended."""

    @property
    def n_waiting(self) -> int:
        """Calls that wait for a place."""
        return sum(not one.done() for one in self._waiting)

    @asynccontextmanager
    async def place(self, name: str) -> AsyncGenerator[_Place, None]:
        """Wait for a thread, and have it for the block.

        Args:
            name: The tool's, for the thread's.

        Raises:
            ConcurrencyError: ``overloaded``: all threads are held by calls that were given up.
        """
        await self._enter()
        place = _Place(self._dispatcher, self._size, name)
        try:
            yield place
        finally:
            running = place.running
            if running is None or running.done():
                self._leave()
            else:
                self._leave_behind(running, name)

    async def _enter(self) -> None:
        self._check()
        if self.n_taken < self._size:
            self.n_taken += 1
            return
        turn: asyncio.Future[None] = self._dispatcher.loop.create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._leave()  # it was given a place just now
            raise

    def _check(self) -> None:
        if self.n_left >= self._size:
            raise self._refusal()

    def _refusal(self) -> AsmError:
        text = (
            f"all {self._size} threads for tools are held by calls that were given up and have not ended; "
            "raise tool_threads, or give these tools an end"
        )
        return AsmError(ErrorCode.OVERLOADED, text)

    def _leave(self) -> None:
        """Give the place to the next in line."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.n_taken -= 1

    def _leave_behind(self, running: asyncio.Future[Any], name: str) -> None:
        self.n_left += 1
        logger.warning("tool %s was given up; its thread cannot be stopped and goes on", name)

        def ended(future: asyncio.Future[Any]) -> None:
            if not future.cancelled():
                future.exception()  # what it raises now is nobody's
            self.n_left -= 1
            self._leave()

        running.add_done_callback(ended)
        if self.n_left >= self._size:
            waiting, self._waiting = self._waiting, deque()
            for turn in waiting:
                if not turn.done():
                    turn.set_exception(self._refusal())
