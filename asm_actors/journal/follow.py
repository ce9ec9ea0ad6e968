"""`Subscription` and `AsyncSubscription`: what a subscriber holds; iterate it, or pull pages from it.

Both are thin: the cursor is all they have, and only what is asked for is read. Leaving one aside for an hour costs
nothing and misses nothing. The actor behind it may die (the journal was restarted, say): the next pull begins anew at
the cursor with another one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, Self, TypeVar

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.journal.subscription import Hurry, Page, Pull, Scope
from asm_actors.serialization import check_integer, invalid
from asm_actors.services import SUBSCRIPTIONS, Services
from supervisors import ActorDeadError, DispatcherStopped, Future, SupervisionError
from supervisors.control import start_child

__all__ = ["AsyncSubscription", "Subscription"]

T = TypeVar("T")

PAGE = 256
"""Events of one pull while iterating."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 0.5
"""Between attempts to begin anew while a part of the system is being restarted."""
PATIENCE_S = 30.0
"""For how long that is tried."""
_LOST = frozenset({ErrorCode.STREAM_CLOSED, ErrorCode.INTERRUPTED})


class _Base:
    """What both surfaces share."""

    def __init__(self, services: Services, scope: Scope, cursor: int, timeout: float | None = None) -> None:
        self._services = services
        self._scope = scope
        self._timeout = _seconds(timeout)
        self._cursor = self._place = cursor
        # Pulled, and not handed over yet; the cursor stands before them.
        self._held: deque[Event] = deque()
        self._is_over = False
        self._is_hurried = False
        self._closed = threading.Event()
        self._ref: Any = None
        self._starting: Future[Any] | None = None
        self._pulling = threading.Lock()

    @property
    def cursor(self) -> int:
        """Where it stands: a sequence number, or a position if the whole journal is followed.

        The last event handed over, or one beyond it if those that came next were not wanted. A subscription opened
        with ``after=cursor`` goes on here.
        """
        return self._cursor

    @property
    def is_over(self) -> bool:
        """Whether nothing will follow: the session is over, or ``before`` is reached, and all was handed over."""
        return self._is_over and not self._held

    def close(self) -> None:
        """End the subscription; idempotent, from any thread. Nothing else is affected by it."""
        self._closed.set()
        starting = self._starting
        if starting is not None:
            starting.add_done_callback(_shut_down)

    def hurry(self) -> None:
        """Have pulls wait no more, the one that waits now included: what is there is handed over, then nothing."""
        self._is_hurried = True
        ref = self._ref
        if ref is not None:
            ref.post(Hurry())

    # --- Pulling, told once for both surfaces: yields what to wait for ------------------------------------------

    def _pull(self, limit: int, timeout: float | None) -> Generator[Future[Any], Any, list[Event]]:
        yield from self._fill(check_integer(limit, "limit", least=1), _seconds(timeout))
        return [self._hand_over() for _ in range(min(limit, len(self._held)))]

    def _fill(self, limit: int, timeout: float | None) -> Generator[Future[Any], Any, None]:
        """Have something to hand over, if there is anything."""
        if not self._pulling.acquire(blocking=False):
            raise AsmError(
                ErrorCode.INVALID_OPERATION,
                "another pull of this subscription waits; open one for each reader",
            )
        try:
            if self._closed.is_set():
                raise _closed()
            if self._held or self._is_over:
                return
            page = yield from self._ask(limit, timeout)
            self._place, self._is_over = page.cursor, page.is_over
            self._held.extend(page.events)
            if not page.events:
                self._cursor = self._place
        finally:
            self._pulling.release()

    def _ask(self, limit: int, timeout: float | None) -> Generator[Future[Any], Any, Page]:
        clock = self._services.dispatcher.clock
        until = None if timeout is None else clock.monotonic() + timeout
        lost_at: float | None = None
        pause = FIRST_PAUSE_S
        while True:
            if self._closed.is_set():
                raise _closed()
            try:
                if self._ref is None:
                    self._ref = yield self._open()
                    if (
                        self._closed.is_set()
                    ):  # meanwhile, by another thread, which may have come too early to see it
                        self._ref.shutdown()
                        raise _closed()
                left = None if until is None else max(0.0, until - clock.monotonic())
                pull = Pull(limit, 0.0 if self._is_hurried else left, self._place)
                page: Page = yield self._ref.ask(pull, block=False)
                return page
            except (ActorDeadError, SupervisionError, AsmError) as error:
                if isinstance(error, AsmError) and error.code not in _LOST:
                    raise
                lost_at = clock.monotonic() if lost_at is None else lost_at
                self._ref = self._starting = None
                if (
                    self._closed.is_set()
                    or not self._services.directory.is_up
                    or clock.monotonic() > lost_at + PATIENCE_S
                ):
                    raise _closed(error) from error
            yield self._wait(pause)
            pause = min(LONGEST_PAUSE_S, 2 * pause)

    def _open(self) -> Future[Any]:
        """Start the actor; the future is its ref."""
        if self._starting is None:
            supervisor = self._services.whereis(SUBSCRIPTIONS)
            if supervisor is None:
                raise _closed()
            self._starting = start_child(supervisor, self._scope, self._place)
        return self._starting

    def _wait(self, seconds: float) -> Future[None]:
        """A future that is done after some time of the system's clock."""
        dispatcher = self._services.dispatcher
        future: Future[None] = Future()
        future._driver = dispatcher.driver
        try:
            dispatcher.call_from_outside(lambda: dispatcher.call_later(seconds, lambda: future.set(None)))
        except DispatcherStopped as error:
            raise _closed(error) from error
        return future

    def _hand_over(self) -> Event:
        event = self._held.popleft()
        self._cursor = self._scope.place(event) if self._held else self._place
        return event

    def _is_ended_by(self, error: AsmError) -> bool:
        """Whether iterating ends quietly with this error: it was closed, or the system was stopped."""
        return error.code is ErrorCode.STREAM_CLOSED and (
            self._closed.is_set() or not self._services.directory.is_up
        )


class Subscription(_Base):
    """Events as they become durable, on the blocking surface. Use it in a `with` block, or close it.

    Iterating waits for the next event. It ends when the session is over and its last event was handed over, when
    `timeout` seconds pass without an event, when the subscription is closed, or when the system stops. Each event
    comes once, in order, without gaps; what a loop that was broken off had not taken comes with the next one.
    """

    def pull(self, limit: int = PAGE, timeout: float | None = None) -> list[Event]:
        """Return the next events, at most `limit`; an empty list if none came within `timeout` seconds.

        Args:
            limit: How many at most.
            timeout: Seconds to wait for the first; 0 does not wait; None waits until there is one, or until none can
                come any more (`is_over`).

        Raises:
            StateError: ``stream_closed``: it was closed, or the system was stopped.
            ResourceError: ``session_not_found``.
            ConcurrencyError: ``invalid_operation``: another thread is pulling.
            ValidationError: An argument is malformed.
        """
        return drive(self._pull(limit, timeout))

    def __iter__(self) -> Iterator[Event]:
        while True:
            if not self._held or self._closed.is_set():
                try:
                    drive(self._fill(PAGE, self._timeout))
                except AsmError as error:
                    if self._is_ended_by(error):
                        return
                    raise
                if not self._held:
                    return
            yield self._hand_over()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class AsyncSubscription(_Base):
    """Events as they become durable, on the asyncio surface: `async with`, `async for`; see `Subscription`."""

    async def pull(self, limit: int = PAGE, timeout: float | None = None) -> list[Event]:  # noqa: ASYNC109
        """As `Subscription.pull`, awaited. Cancelling it loses nothing: the next pull gives what this one had found."""
        return await drive_async(self._pull(limit, timeout))

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            if not self._held or self._closed.is_set():
                try:
                    await drive_async(self._fill(PAGE, self._timeout))
                except AsmError as error:
                    if self._is_ended_by(error):
                        return
                    raise
                if not self._held:
                    return
            yield self._hand_over()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()


def drive(steps: Generator[Future[Any], Any, T]) -> T:
    """Go through steps that yield what they wait for, blocking at each."""
    try:
        future = next(steps)
        while True:
            try:
                value = future.get()
            except Exception as error:  # the steps decide what it means
                future = steps.throw(error)
            else:
                future = steps.send(value)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()


async def drive_async(steps: Generator[Future[Any], Any, T]) -> T:
    """Go through steps that yield what they wait for, awaiting each."""
    try:
        future = next(steps)
        while True:
            try:
                value = await future
            except Exception as error:  # as above
                future = steps.throw(error)
            else:
                future = steps.send(value)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()


def _seconds(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout >= 0:
        raise invalid("timeout", "must be seconds of at least 0, or None", timeout)
    return None if timeout == float("inf") else float(timeout)


def _closed(error: BaseException | None = None) -> AsmError:
    if error is None:
        return AsmError(ErrorCode.STREAM_CLOSED, "the subscription is closed, or the system is not running")
    return AsmError.wrap(
        ErrorCode.STREAM_CLOSED, error, "the subscription was closed, or the system was stopped"
    )


def _shut_down(starting: Future[Any]) -> None:
    try:
        starting.get().shutdown()
    except Exception:  # it never began: there is nothing to end
        return
