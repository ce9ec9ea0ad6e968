"""The asyncio loop of a simulation: the part of a loop that tasks, futures, timers and async generators need.

1. It does nothing by itself. `SimulationDispatcher` takes its callbacks out, one by one, and tells it the time.
2. Callbacks run in the order in which they were asked for, timers in the order of their times, as in any loop. What
   a set of tasks does (a `TaskGroup` that cancels its tasks, say) depends on their hashes, which are addresses in
   other loops; here they are numbers, so that the same program does the same in each run.
3. There are no sockets, signals or processes: what is simulated takes them from its dispatcher's blocking calls.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from supervisors.simulation import SimulationDispatcher

__all__ = ["SimulationLoop"]

logger = logging.getLogger("supervisors")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _Task(asyncio.Task[Any]):
    """A task whose hash is its number."""

    def __init__(self, coroutine: Any, number: int, **options: Any) -> None:
        self._number = number
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self._number


class _Future(asyncio.Future[Any]):
    """A future whose hash is its number."""

    def __init__(self, number: int, **options: Any) -> None:
        self._number = number
        super().__init__(**options)

    def __hash__(self) -> int:
        return self._number


class SimulationLoop(asyncio.AbstractEventLoop):
    """Stepped from outside; see the module.

    Attributes:
        callbacks: What can run now, oldest first.
        failures: What was given to the loop's exception handler.
    """

    def __init__(self, dispatcher: SimulationDispatcher) -> None:
        self._dispatcher = dispatcher
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._n_cancelled = 0
        self._n_made = 0
        self._closed = False
        # Weak: the interpreter tells of one that is dropped half-way only if nobody keeps it.
        self._generators: WeakValueDictionary[int, AsyncGenerator[Any, Any]] = WeakValueDictionary()
        self.callbacks: deque[asyncio.Handle] = deque()
        self.failures: list[dict[str, Any]] = []

    # --- Callbacks and timers ----------------------------------------------------------------------------

    def time(self) -> float:
        """Seconds on the simulation's clock."""
        return self._dispatcher.clock.monotonic()

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Queue a callback."""
        handle = asyncio.Handle(callback, args, self, context)
        if not self._closed:
            self.callbacks.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Queue a callback from any thread; it runs when the simulation goes on."""
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call back after some seconds of the simulation's clock."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call back at a time of the simulation's clock."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if not self._closed:
            heapq.heappush(self._timers, (when, self._next(), handle))
            handle._scheduled = True  # type: ignore[attr-defined]  # asks to be told of its cancellation
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        # asyncio calls this. Most timers are cancelled: they must not stay until their time comes.
        if not handle._scheduled:  # type: ignore[attr-defined]
            return
        self._n_cancelled += 1
        if self._n_cancelled > 100 and self._n_cancelled > len(self._timers) // 2:
            self._timers = [timer for timer in self._timers if not timer[2].cancelled()]
            heapq.heapify(self._timers)
            self._n_cancelled = 0

    def next_timer(self) -> float | None:
        """When the next timer is due, on the simulation's clock."""
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
            self._n_cancelled -= 1
        return timers[0][0] if timers else None

    def admit_due(self) -> None:
        """Move the timers that are due to the callbacks."""
        while (when := self.next_timer()) is not None and when <= self.time():
            handle = heapq.heappop(self._timers)[2]
            handle._scheduled = False  # type: ignore[attr-defined]
            self.callbacks.append(handle)

    def _next(self) -> int:
        self._n_made += 1
        return self._n_made

    # --- Tasks, futures, calls that block ----------------------------------------------------------------

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future of this loop."""
        return _Future(self._next(), loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """Run a coroutine."""
        return _Task(coro, self._next(), loop=self, name=name, context=context)

    def run_in_executor(self, executor: Any, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Run a call as one of the steps of the simulation."""
        del executor
        return self._dispatcher.run_blocking(func, *args)

    # --- Async generators --------------------------------------------------------------------------------

    def note_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Remember a generator that was begun (a hook of the interpreter)."""
        self._generators[self._next()] = generator

    def finalize_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Close a generator that was dropped half-way (a hook of the interpreter)."""
        if not self._closed:
            self.call_soon(self.create_task, generator.aclose())

    # --- Questions and the end ---------------------------------------------------------------------------

    def get_debug(self) -> bool:
        """Whether asyncio's debug mode is on: never."""
        return False

    def is_running(self) -> bool:
        """Whether the loop runs: it is always about to."""
        return not self._closed

    def is_closed(self) -> bool:
        """Whether the simulation is over."""
        return self._closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep and log what nobody handles."""
        logger.error(context.get("message"), exc_info=context.get("exception"))
        self.failures.append(context)

    def close(self) -> None:
        """Drop what is left."""
        self._closed = True
        self.callbacks.clear()
        self._timers.clear()
