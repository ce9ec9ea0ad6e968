"""`Subscription` and `AsyncSubscription`: what a subscriber holds; iterate it, or pull pages from it.

Both are thin: the cursor lives in the subscription's actor, and only what is asked for is read. Leaving one aside
for an hour costs nothing and misses nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.journal.subscription import Pull, Scope
from asm_actors.services import SUBSCRIPTIONS, Services
from supervisors import ActorDeadError, Future
from supervisors.control import StartChild

__all__ = ["AsyncSubscription", "Subscription"]

PAGE = 256
"""Events of one pull while iterating."""


class _Base:
    """What both surfaces share."""

    def __init__(self, services: Services, scope: Scope, cursor: int, timeout: float | None) -> None:
        self._services = services
        self._scope = scope
        self._cursor = cursor
        self._timeout = timeout
        self._ref: Any = None
        self._starting: Future[Any] | None = None
        self._closed = False

    @property
    def cursor(self) -> int:
        """The last place handed over: a sequence number, or a position if the whole journal is followed."""
        return self._cursor

    def _open(self) -> Future[Any]:
        """Start the actor; its future is the ref."""
        if self._starting is None:
            supervisor = self._services.whereis(SUBSCRIPTIONS)
            if supervisor is None:
                raise AsmError(ErrorCode.STREAM_CLOSED, "the actor system is not running")
            message = StartChild((self._scope, self._cursor), {})
            self._starting = supervisor.ask(message, block=False)
        return self._starting

    def _ask(self, pull: Pull) -> Future[list[Event]]:
        future: Future[list[Event]] = self._ref.ask(pull, block=False)
        return future

    def _took(self, events: list[Event]) -> list[Event]:
        if events:
            last = events[-1]
            place = last.sequence_number if self._scope.session_id is not None else last.position
            self._cursor = place or self._cursor
        return events

    def close(self) -> None:
        """End the subscription; idempotent. Nothing else is affected by it."""
        self._closed = True
        if self._ref is not None:
            self._ref.shutdown()


class Subscription(_Base):
    """Events as they become durable, on the blocking surface. Use it in a `with` block, or close it.

    Iterating waits for the next event; it ends when `timeout` seconds pass without one, when the subscription is
    closed, or when the system stops. Each event comes once, in order, without gaps.
    """

    def pull(self, limit: int = PAGE, timeout: float | None = None) -> list[Event]:
        """Return the next events, at most `limit`; an empty list if none came within `timeout` seconds.

        Args:
            limit: How many at most.
            timeout: Seconds to wait for the first; 0 does not wait; None waits for ever.

        Raises:
            StateError: ``stream_closed``.
            ResourceError: ``session_not_found``.
        """
        if self._closed:
            raise AsmError(ErrorCode.STREAM_CLOSED, "the subscription is closed")
        try:
            if self._ref is None:
                self._ref = self._open().get()
            return self._took(self._ask(Pull(limit, timeout)).get())
        except ActorDeadError as error:
            self._closed = True
            raise AsmError.wrap(ErrorCode.STREAM_CLOSED, error, "the system was stopped") from error

    def __iter__(self) -> Iterator[Event]:
        while not self._closed:
            try:
                events = self.pull(PAGE, self._timeout)
            except AsmError as error:
                if error.code is ErrorCode.STREAM_CLOSED:
                    return
                raise
            if not events:
                return
            yield from events

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class AsyncSubscription(_Base):
    """Events as they become durable, on the asyncio surface: `async with`, `async for`; see `Subscription`."""

    async def pull(self, limit: int = PAGE, timeout: float | None = None) -> list[Event]:  # noqa: ASYNC109
        """As `Subscription.pull`, awaited."""
        if self._closed:
            raise AsmError(ErrorCode.STREAM_CLOSED, "the subscription is closed")
        try:
            if self._ref is None:
                self._ref = await self._open()
            return self._took(await self._ask(Pull(limit, timeout)))
        except ActorDeadError as error:
            self._closed = True
            raise AsmError.wrap(ErrorCode.STREAM_CLOSED, error, "the system was stopped") from error

    async def __aiter__(self) -> AsyncIterator[Event]:
        while not self._closed:
            try:
                events = await self.pull(PAGE, self._timeout)
            except AsmError as error:
                if error.code is ErrorCode.STREAM_CLOSED:
                    return
                raise
            if not events:
                return
            for event in events:
                yield event

    async def __aenter__(self) -> AsyncSubscription:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()
