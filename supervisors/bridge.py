"""Carries "it is done" from the thread that sets a future to the asyncio loop where somebody awaits it.

Waking a loop from another thread costs a system call, which is more than everything else about a future: so all that
becomes due for one loop before it wakes comes with one wake-up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary
from weakref import ref as weak

__all__ = ["deliver_to"]


class _Bridge:
    """Into one loop."""

    __slots__ = ("_due", "_loop", "_woken")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Weak, for a value that held its own key would keep every loop for ever.
        self._loop = weak(loop)
        self._due: deque[asyncio.Future[None]] = deque()
        self._woken = False

    def deliver(self, waiter: asyncio.Future[None]) -> None:
        """Finish the waiter on its loop, soon (any thread)."""
        loop = self._loop()
        if loop is None:
            return
        if asyncio._get_running_loop() is loop:
            if not waiter.done():
                waiter.set_result(None)
            return
        self._due.append(waiter)
        if not self._woken:
            self._woken = True
            # A loop that was closed meanwhile has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._flush)

    def _flush(self) -> None:
        # Cleared first: whoever appends after this line wakes the loop again, whoever came before is served below.
        self._woken = False
        due = self._due
        while due:
            waiter = due.popleft()
            if not waiter.done():
                waiter.set_result(None)


_bridges: WeakKeyDictionary[asyncio.AbstractEventLoop, _Bridge] = WeakKeyDictionary()


def deliver_to(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None]) -> Callable[[Any], None]:
    """Make a callback that finishes `waiter` on `loop`, from whatever thread it is called on."""
    bridge = _bridges.get(loop)
    if bridge is None:
        bridge = _bridges[loop] = _Bridge(loop)
    return lambda _future: bridge.deliver(waiter)
