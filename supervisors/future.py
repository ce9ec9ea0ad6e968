"""`Future`: Pykka's future with four differences.

1. It costs one small object until somebody blocks on it: no lock or condition of its own.
2. A blocking `get()` on a dispatcher's own thread raises `WouldDeadlock` instead of stopping everything.
3. `await` waits on any asyncio loop without blocking it; so does awaiting what `map`, `filter`, `join` and `reduce`
   make. Only a hook of the user's own runs in a thread of the loop's executor, for it may block.
4. Results for one loop are delivered in bursts (`bridge.py`).
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from typing import Any, Generic, TypeVar, cast

import pykka

from supervisors.bridge import deliver_to
from supervisors.errors import WouldDeadlock

__all__ = ["Future"]

logger = logging.getLogger("supervisors")

J = TypeVar("J")
M = TypeVar("M")
R = TypeVar("R")
T = TypeVar("T")

# Guards the two short sections in which a result and its waiters meet. One lock for all futures: it is held for
# some hundred nanoseconds, and a lock each would cost more memory than the future.
_lock = threading.Lock()
_UNSET: Any = object()

# Threads that run a dispatcher now, by their ident; kept by the dispatchers.
dispatcher_threads: set[int] = set()


class Future(pykka.Future[T], Generic[T]):
    """A value that is there now or later; see the module for what differs from Pykka's."""

    _get_hook: Callable[[float | None], T] | None = None
    _get_hook_result: Any = _UNSET
    _done: bool = False
    _value: Any = None
    _exc_info: Any = None
    _event: threading.Event | None = None
    _callbacks: list[Callable[[Future[T]], object]] | None = None
    # Set by a dispatcher that runs on the caller's thread (simulation): runs it until this future is done.
    _driver: Any = None
    # The futures from whose values the get hook makes this one's, if it does so without blocking.
    _sources: tuple[pykka.Future[Any], ...] | None = None

    def __init__(self) -> None:
        # Pykka's __init__ makes two objects; the class attributes above stand for them.
        pass

    def __repr__(self) -> str:
        state = "pending" if not self._done else "failed" if self._exc_info else "done"
        return f"<supervisors.Future {state}>"

    @property
    def is_done(self) -> bool:
        """Whether the value or the exception is there."""
        return self._done

    @property
    def is_available(self) -> bool:
        """Whether `get()` has something to return, or a hook to make it."""
        return self._done or self._get_hook is not None

    def get(self, *, timeout: float | None = None) -> T:
        """Return the value, or raise the exception, waiting for it if need be.

        Args:
            timeout: Seconds to wait; None waits for ever.

        Raises:
            pykka.Timeout: The time is over and nothing was set.
            WouldDeadlock: The value is not there and this is the thread of a dispatcher.
            Exception: Whatever was set as exception.
        """
        if not self._done and self._get_hook is None:
            self._wait(timeout)
        if self._get_hook is not None:
            if self._get_hook_result is _UNSET:
                self._get_hook_result = self._get_hook(timeout)
            return cast("T", self._get_hook_result)
        if self._exc_info is None:
            return cast("T", self._value)
        exc_type, exc_value, exc_traceback = self._exc_info
        if exc_value is None:
            exc_value = exc_type()
        try:
            if exc_value.__traceback__ is not exc_traceback:
                raise exc_value.with_traceback(exc_traceback)
            raise exc_value
        finally:
            # The traceback keeps this frame: with these in it, the exception would keep itself and the future.
            del self, exc_value, exc_traceback

    def _wait(self, timeout: float | None) -> Any:
        if threading.get_ident() in dispatcher_threads:
            raise WouldDeadlock(
                "get() on the dispatcher's thread would wait for ever for a value that this thread has to produce; "
                "tell the other actor and handle its answer as a message, or await the future in a task (spawn)"
            )
        if self._driver is not None and self._driver.on_thread():
            try:
                return self._driver.drive(self, timeout)
            finally:
                del self  # see `get`
        with _lock:
            if self._event is None:
                self._event = threading.Event()
            event = self._event
            if self._done:
                return None
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.is_available:
            remaining = None if deadline is None else deadline - time.monotonic()
            if remaining is not None and remaining <= 0.0:
                raise pykka.Timeout(f"{timeout} seconds")
            event.wait(remaining)
        return None

    def set(self, value: Any = None) -> None:
        """Set the value and wake whoever waits.

        Raises:
            queue.Full: A value, an exception or a get hook was set before.
        """
        self._settle(value, None)

    def set_exception(self, exc_info: Any = None) -> None:
        """Set an exception; without an argument the one being handled now.

        Args:
            exc_info: A triple as from `sys.exc_info()`.

        Raises:
            queue.Full: A value, an exception or a get hook was set before.
        """
        assert exc_info is None or len(exc_info) == 3
        self._settle(None, exc_info or sys.exc_info())

    def set_error(self, error: BaseException) -> None:
        """Set an exception object that is not being handled."""
        self._settle(None, (type(error), error, error.__traceback__))

    def _settle(self, value: Any, exc_info: Any) -> None:
        with _lock:
            if self._done or self._get_hook is not None:
                raise queue.Full
            self._value = value
            self._exc_info = exc_info
            self._done = True
            event, callbacks = self._event, self._callbacks
            self._callbacks = None
        self._tell(event, callbacks)

    def _tell(
        self, event: threading.Event | None, callbacks: Iterable[Callable[[Future[T]], object]] | None
    ) -> None:
        if event is not None:
            event.set()
        for callback in callbacks or ():
            self._call(callback)

    def _call(self, callback: Callable[[Future[T]], object]) -> None:
        try:
            callback(self)
        except KeyboardInterrupt:  # the user's, on the main thread
            raise
        except BaseException:  # it is not the fault of whoever sets the value, an actor mostly
            logger.exception(f"{callback!r} failed when {self!r} was set")

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Have `func(timeout)` make the value at the first `get()`; see Pykka.

        Raises:
            queue.Full: A value or an exception was set before.
        """
        with _lock:
            if self._done:
                raise queue.Full
            self._get_hook = func
            event, callbacks = self._event, self._callbacks
            self._callbacks = None
        self._tell(event, callbacks)

    def add_done_callback(self, callback: Callable[[Future[T]], object]) -> None:
        """Call `callback(self)` once when a value, an exception or a hook is set, on the thread that sets it.

        At once if it is set already. What the callback raises is logged.
        """
        with _lock:
            if not self._done and self._get_hook is None:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(callback)
                return
        self._call(callback)

    def remove_done_callback(self, callback: Callable[[Future[T]], object]) -> None:
        """Forget a callback that was added, if it has not been called."""
        with _lock:
            if self._callbacks is not None and callback in self._callbacks:
                self._callbacks.remove(callback)

    # --- Awaiting ----------------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, T]:
        if not self._done and self._get_hook is None:
            yield from self._wait_on_loop()
        if self._get_hook is None or self._get_hook_result is not _UNSET:
            return self.get()
        if self._sources is None or not all(isinstance(source, Future) for source in self._sources):
            # It may block: it runs where that harms nobody.
            return (yield from asyncio.get_running_loop().run_in_executor(None, self.get).__await__())
        for source in self._sources:
            try:
                yield from source.__await__()
            except Exception:  # get() raises it, or makes of it what the hook makes of it
                break
        return self.get()

    __iter__ = __await__

    def _wait_on_loop(self) -> Generator[Any, None, None]:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        callback = deliver_to(loop, waiter)
        self.add_done_callback(callback)
        try:
            yield from waiter
        except BaseException:
            # The awaiting task was cancelled: whoever waits again and again for one future leaves nothing in it.
            self.remove_done_callback(callback)
            raise

    # --- Pykka's combinators, which name their sources ---------------------------------------------------

    def filter(self: Future[Iterable[J]], func: Callable[[J], bool]) -> Future[Iterable[J]]:
        """Make a future of the items for which `func` is true; see Pykka."""
        return _made_of(super().filter(func), self)

    def join(self: Future[Any], *futures: pykka.Future[Any]) -> Future[Iterable[Any]]:
        """Make a future of the list of this one's value and the others'; see Pykka."""
        return _made_of(super().join(*futures), self, *futures)

    def map(self, func: Callable[[T], M]) -> Future[M]:
        """Make a future of what `func` makes of the value; see Pykka."""
        return _made_of(super().map(func), self)

    def reduce(self: Future[Iterable[J]], func: Callable[[R, J], R], *args: R) -> Future[R]:
        """Make a future of the items put together by `func`; see Pykka."""
        return _made_of(super().reduce(func, *args), self)


def _made_of(made: pykka.Future[M], *sources: pykka.Future[Any]) -> Future[M]:
    future = cast("Future[M]", made)
    future._sources = sources
    return future
