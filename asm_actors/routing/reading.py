"""Reading a target's stream within its time.

One timer for the whole attempt, which cancels the reader only while that waits for the target: a timeout around the
loop would hit whoever takes the items, since a generator is suspended in the middle of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from typing import TypeVar

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.base import TurnRequest
from asm_actors.providers.items import Item
from asm_actors.routing.openings import OpenTarget

__all__ = ["Deadline", "bounded"]

T = TypeVar("T")


class Deadline:
    """A point in time after which waits end with an error.

    Args:
        seconds: From now, on the running loop.
        what: Who is waited for.
    """

    def __init__(self, seconds: float, what: str) -> None:
        self._seconds = seconds
        self._what = what
        self._is_over = False
        self._waiting: asyncio.Task[object] | None = None
        self._timer = asyncio.get_running_loop().call_later(seconds, self._end)

    def _end(self) -> None:
        self._is_over = True
        if self._waiting is not None:
            self._waiting.cancel()

    def is_over(self) -> bool:
        """Tell whether it has passed."""
        return self._is_over

    async def wait(self, work: Awaitable[T]) -> T:
        """Wait for something, until the deadline at most.

        Raises:
            ProviderError: ``provider_timeout``.
        """
        if self.is_over():
            getattr(work, "close", lambda: None)()  # it is not begun
            raise self._error()
        task = asyncio.current_task()
        assert task is not None
        before = task.cancelling()
        self._waiting = task
        try:
            result = await work
        except asyncio.CancelledError:
            # Cancelled by somebody else too: that counts.
            if not self.is_over() or task.uncancel() > before:
                raise
            raise self._error() from None
        finally:
            self._waiting = None
        if self.is_over():
            task.uncancel()  # it answered in spite of its cancellation
            raise self._error()
        return result

    def _error(self) -> AsmError:
        return AsmError(
            ErrorCode.PROVIDER_TIMEOUT,
            f"target {self._what} did not finish the turn within {self._seconds:g} s",
        )

    def close(self) -> None:
        """Stop the timer."""
        self._timer.cancel()


async def bounded(found: OpenTarget, request: TurnRequest, seconds: float) -> AsyncGenerator[Item, None]:
    """Read the stream of a target, opening that included, within so many seconds.

    Raises:
        ProviderError: ``provider_timeout``.
    """
    deadline = Deadline(seconds, found.name)
    try:
        await deadline.wait(found.ready())
        stream = found.target.stream(request)
        try:
            while True:
                try:
                    item = await deadline.wait(anext(stream))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            await stream.aclose()
    finally:
        deadline.close()
