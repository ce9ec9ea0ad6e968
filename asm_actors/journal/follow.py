"""`Subscription` and `AsyncSubscription`: what a subscriber holds; iterate it, or pull pages from it.

Both are thin: the cursor is all they have, and only what is asked for is read. Leaving one aside for an hour costs
nothing and misses nothing. The actor behind it may die (the journal was restarted, say): the next pull begins anew at
the cursor with another one. See `journal.following`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Self

from asm_actors.errors import AsmError
from asm_actors.events import Event
from asm_actors.journal.driving import drive, drive_async
from asm_actors.journal.following import PAGE, Following
from asm_actors.journal.subscription import SubscriptionStatistics

__all__ = ["AsyncSubscription", "Subscription"]


class Subscription(Following):
    """Events as they become durable, on the blocking surface. Use it in a `with` block, or close it.

    Iterating waits for the next event. It ends when the session is over and its last event was handed over, when
    `timeout` seconds pass without an event, when the subscription is closed, or when the system stops. Each event
    comes once, in order, without gaps; what a loop that was broken off had not taken comes with the next one.

    A named one goes on, in this process or the next, after the last event it acknowledged.
    """

    def pull(self, limit: int = PAGE, timeout: float | None = None) -> list[Event]:
        """Return the next events, at most `limit`; an empty list if none came within `timeout` seconds.

        Args:
            limit: How many at most.
            timeout: Seconds to wait for the first; 0 does not wait; None waits until there is one, or until none can
                come any more (`is_over`).

        Raises:
            StateError: ``stream_closed``: it was closed, the system was stopped, or another consumer took the name.
            ResourceError: ``session_not_found``.
            ConcurrencyError: ``invalid_operation``: another thread is pulling.
            ValidationError: An argument is malformed.
        """
        return drive(self._pull(limit, timeout))

    def ack(self, events: Event | Iterable[Event] | None = None, *, durable: bool = False) -> None:
        """Acknowledge: what comes after a crash begins behind this. For a named subscription only.

        Args:
            events: One event, or several: everything up to the last of them. None: everything handed over so far.
            durable: Wait until it is on the disk. Without, it will be within a moment, and many share one write.

        Raises:
            ConcurrencyError: ``invalid_operation``: it has no name.
            StateError: ``invalid_cursor``: the event was not handed over; ``stream_closed``.
            StorageError: With `durable`: it could not be written; it is tried again.
        """
        drive(self._acknowledge(events, durable))

    def statistics(self) -> SubscriptionStatistics:
        """Where it stands, and how far behind the journal (or its session) it is."""
        return self._measure()

    def __iter__(self) -> Iterator[Event]:
        while True:
            if not self._held or self._closed.is_set():
                try:
                    drive(self._fill(PAGE, self._timeout))
                except AsmError as error:
                    if self.is_ended_by(error):
                        return
                    raise
                if not self._held:
                    return
            yield self._hand_over()

    def __enter__(self) -> Self:
        drive(self._begin())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class AsyncSubscription(Following):
    """Events as they become durable, on the asyncio surface: `async with`, `async for`; see `Subscription`."""

    async def pull(self, limit: int = PAGE, timeout: float | None = None) -> list[Event]:  # noqa: ASYNC109
        """As `Subscription.pull`, awaited. Cancelling it loses nothing: the next pull gives what this one had found."""
        return await drive_async(self._pull(limit, timeout))

    async def ack(self, events: Event | Iterable[Event] | None = None, *, durable: bool = False) -> None:
        """As `Subscription.ack`, awaited."""
        await drive_async(self._acknowledge(events, durable))

    async def statistics(self) -> SubscriptionStatistics:
        """As `Subscription.statistics`, awaited."""
        return await asyncio.to_thread(self._measure)

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            if not self._held or self._closed.is_set():
                try:
                    await drive_async(self._fill(PAGE, self._timeout))
                except AsmError as error:
                    if self.is_ended_by(error):
                        return
                    raise
                if not self._held:
                    return
            yield self._hand_over()

    async def __aenter__(self) -> Self:
        await drive_async(self._begin())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()
