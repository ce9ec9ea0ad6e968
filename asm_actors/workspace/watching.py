"""What drives a process: readiness of files and timers, from an asyncio loop or from a small loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import os
import selectors
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

__all__ = ["LoopWatcher", "Stop", "Timer", "WaitingWatcher", "Watcher"]

_LONGEST_WAIT_S: Final = 86_400.0
"""Selectors refuse to wait for much longer; who waits on looks at the timers again."""


class Timer(Protocol):
    """Something that will be called."""

    def cancel(self) -> None:
        """Do not call it."""


class Watcher(Protocol):
    """Calls back when files are ready and when time has passed, always on one thread."""

    def read(self, handle: int, callback: Callable[[], object]) -> None:
        """Call whenever a file can be read."""

    def stop_reading(self, handle: int) -> None:
        """Call no more."""

    def write(self, handle: int, callback: Callable[[], object]) -> None:
        """Call whenever a file can be written."""

    def stop_writing(self, handle: int) -> None:
        """Call no more."""

    def later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call once, after a time."""

    def from_outside(self, callback: Callable[[], object]) -> None:
        """Call once, soon; any thread may ask for that."""


class Stop:
    """A request to stop, made at most once, by any thread; commands that were given it are stopped then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._numbers = itertools.count()
        self._is_set = False

    @property
    def is_set(self) -> bool:
        """Whether it was made."""
        return self._is_set

    def set(self) -> None:
        """Make the request; again does nothing."""
        with self._lock:
            self._is_set = True
            callbacks, self._callbacks = list(self._callbacks.values()), {}
        for callback in callbacks:
            callback()

    def on_set(self, callback: Callable[[], object]) -> Callable[[], object]:
        """Have a function called on the thread that makes the request, at once if it has been made.

        Returns:
            A function that withdraws it.
        """
        with self._lock:
            number = next(self._numbers)
            if not self._is_set:
                self._callbacks[number] = callback
                return lambda: self._withdraw(number)
        callback()
        return lambda: None

    def _withdraw(self, number: int) -> None:
        with self._lock:
            self._callbacks.pop(number, None)


class LoopWatcher:
    """Watches by the asyncio loop that is running."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.read = self._loop.add_reader
        self.write = self._loop.add_writer
        self.later = self._loop.call_later

    def stop_reading(self, handle: int) -> None:
        """See `Watcher`."""
        self._loop.remove_reader(handle)

    def stop_writing(self, handle: int) -> None:
        """See `Watcher`."""
        self._loop.remove_writer(handle)

    def from_outside(self, callback: Callable[[], object]) -> None:
        """See `Watcher`. A loop that is closed calls nobody."""
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            if not self._loop.is_closed():
                raise


class _Call:
    """A pending call of a `WaitingWatcher`."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class WaitingWatcher:
    """Watches while its caller waits in `step`. A context manager: its files are closed at the end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._files: dict[int, dict[int, Callable[[], object]]] = {}
        self._timers: list[tuple[float, int, _Call]] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._outside: list[Callable[[], object]] = []
        self._wake, self._waker = os.pipe()
        for end in (self._wake, self._waker):
            os.set_blocking(end, False)
        self.read(self._wake, self._woken)

    def __enter__(self) -> WaitingWatcher:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            waker, self._waker = self._waker, -1
        os.close(waker)
        self._selector.close()
        os.close(self._wake)

    def read(self, handle: int, callback: Callable[[], object]) -> None:
        """See `Watcher`."""
        self._watch(handle, selectors.EVENT_READ, callback)

    def stop_reading(self, handle: int) -> None:
        """See `Watcher`."""
        self._watch(handle, selectors.EVENT_READ, None)

    def write(self, handle: int, callback: Callable[[], object]) -> None:
        """See `Watcher`."""
        self._watch(handle, selectors.EVENT_WRITE, callback)

    def stop_writing(self, handle: int) -> None:
        """See `Watcher`."""
        self._watch(handle, selectors.EVENT_WRITE, None)

    def later(self, seconds: float, callback: Callable[[], object]) -> _Call:
        """See `Watcher`."""
        call = _Call(callback)
        heapq.heappush(self._timers, (self._clock() + seconds, next(self._numbers), call))
        return call

    def from_outside(self, callback: Callable[[], object]) -> None:
        """See `Watcher`."""
        with self._lock:
            self._outside.append(callback)
            if self._waker >= 0:
                with contextlib.suppress(BlockingIOError):  # it is awake already
                    os.write(self._waker, b"!")

    def step(self) -> None:
        """Wait until something is ready or due, and call who asked for it."""
        now = self._clock()
        while self._timers and (self._timers[0][2].callback is None or self._timers[0][0] <= now):
            callback = heapq.heappop(self._timers)[2].callback
            if callback is not None:
                callback()
                return
        timeout = min(self._timers[0][0] - now, _LONGEST_WAIT_S) if self._timers else None
        for key, ready in self._selector.select(timeout):
            for kind in (selectors.EVENT_READ, selectors.EVENT_WRITE):
                # One callback may have taken away another.
                if ready & kind and (found := self._files.get(key.fd, {}).get(kind)) is not None:
                    found()

    def _watch(self, handle: int, kind: int, callback: Callable[[], object] | None) -> None:
        kinds = self._files.setdefault(handle, {})
        was = sum(kinds)
        if callback is None:
            kinds.pop(kind, None)
        else:
            kinds[kind] = callback
        now = sum(kinds)
        if not now:
            del self._files[handle]
        if was and not now:
            self._selector.unregister(handle)
        elif now and not was:
            self._selector.register(handle, now)
        elif now != was:
            self._selector.modify(handle, now)

    def _woken(self) -> None:
        try:
            while os.read(self._wake, 512):
                pass
        except BlockingIOError:
            pass
        with self._lock:
            callbacks, self._outside = self._outside, []
        for callback in callbacks:
            callback()
