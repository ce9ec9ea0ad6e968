"""Test tools for whoever builds on this package: no test needs to sleep.

ManualClock   time that moves only when told to
settle        block until no message is queued or being handled
Probe         an actor that records what it gets, and lets a test wait for it
Gate          parks a task, or a thread, until the test opens it
leaked        what a test has left behind: actors and threads
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import pykka

from supervisors.actor import Actor
from supervisors.dispatcher import Dispatcher
from supervisors.future import Future
from supervisors.loop_dispatcher import LoopDispatcher
from supervisors.manual_clock import ManualClock
from supervisors.simulation import SimulationDispatcher

__all__ = ["Gate", "ManualClock", "Probe", "leaked", "settle"]

T = TypeVar("T")
_QUIET_ROUNDS = 10
_THREADS_GRACE_S = 1.0
_ASLEEP_CHECK_S = 0.05


def settle(dispatcher: Dispatcher, timeout: float = 10.0) -> None:
    """Block until the dispatcher is quiescent: no message queued or handled, no call in a blocking thread.

    Actors with a thread of their own count like the others.

    Owned tasks that wait (for a gate, a socket, a timer) do not count as work.

    Args:
        dispatcher: Whose actors to wait for.
        timeout: Seconds after which an endless conversation is given up.

    Raises:
        pykka.Timeout: It did not come to rest.
    """
    if isinstance(dispatcher, SimulationDispatcher):
        dispatcher.run_until_idle()
        return
    assert isinstance(dispatcher, LoopDispatcher)
    if dispatcher.is_asleep:
        return
    done: Future[None] = Future()
    state: dict[str, Any] = {"seen": None, "quiet": 0}

    def look() -> None:
        if done.is_done:
            return  # given up
        numbers = dispatcher.statistics()
        is_waiting = numbers.blocking > 0 or any(life.is_busy for life in dispatcher.thread_lives)
        seen = (numbers.handled, numbers.turns)
        if numbers.ready == 0 and not is_waiting and seen == state["seen"]:
            state["quiet"] += 1
        else:
            state["seen"], state["quiet"] = seen, 0
        # Several rounds, since a callback, or a task on its way, may take some rounds of the loop to become a message.
        if state["quiet"] >= _QUIET_ROUNDS:
            done.set(None)
        elif is_waiting:
            dispatcher.loop.call_later(0.0005, look)
        else:
            dispatcher.loop.call_soon(look)

    dispatcher.call_from_outside(look)
    deadline = time.monotonic() + timeout
    while not done.is_done and not dispatcher.is_asleep:
        try:
            done.get(timeout=min(_ASLEEP_CHECK_S, max(0.0, deadline - time.monotonic())))
        except pykka.Timeout:
            if time.monotonic() >= deadline:
                done.set(None)
                raise pykka.Timeout(
                    f"not at rest within {timeout} seconds: {dispatcher.statistics()}"
                ) from None


class Probe:
    """An actor that keeps every message it gets.

    Args:
        dispatcher: Where it runs.
        reply: Makes the reply to an ask from the message; None by default.
    """

    def __init__(self, dispatcher: Dispatcher, reply: Callable[[Any], Any] | None = None) -> None:
        self._dispatcher = dispatcher
        self._condition = threading.Condition()
        self.messages: list[Any] = []
        self._n_taken = 0
        self.ref = dispatcher.start(_ProbeActor, self, reply)

    def _record(self, message: Any) -> None:
        with self._condition:
            self.messages.append(message)
            self._condition.notify_all()

    def take(self, kind: type[T] | None = None, timeout: float = 10.0) -> T:
        """Wait for the next message not yet taken; with `kind`, for the next of that type, passing over others.

        Raises:
            pykka.Timeout: None came.
        """
        if isinstance(self._dispatcher, SimulationDispatcher):
            self._dispatcher.run_until_idle()
            timeout = 0.0
        with self._condition:
            while True:
                while self._n_taken < len(self.messages):
                    message = self.messages[self._n_taken]
                    self._n_taken += 1
                    if kind is None or isinstance(message, kind):
                        return cast("T", message)
                if not self._condition.wait_for(lambda: self._n_taken < len(self.messages), timeout):
                    raise pykka.Timeout(f"no {kind.__name__ if kind else 'message'} within {timeout} seconds")

    def __len__(self) -> int:
        return len(self.messages)


class _ProbeActor(Actor):
    def __init__(self, probe: Probe, reply: Callable[[Any], Any] | None) -> None:
        super().__init__()
        self._probe = probe
        self._reply = reply

    def on_receive(self, message: Any) -> Any:
        self._probe._record(message)
        return self._reply(message) if self._reply is not None else None


class Gate:
    """Something to wait at until a test opens it; whoever comes later passes at once.

    Args:
        dispatcher: In a simulation: what to run while the test waits for an arrival.
    """

    def __init__(self, dispatcher: Dispatcher | None = None) -> None:
        self._opened: Future[None] = Future()
        self._arrived: Future[None] = Future()
        self._opened._driver = self._arrived._driver = None if dispatcher is None else dispatcher.driver
        self._lock = threading.Lock()
        self.n_arrived = 0

    def _arrive(self) -> None:
        with self._lock:
            self.n_arrived += 1
            first = self.n_arrived == 1
        if first:
            self._arrived.set(None)

    async def wait(self) -> None:
        """Wait in a task."""
        self._arrive()
        await self._opened

    def wait_blocking(self, timeout: float = 10.0) -> None:
        """Wait on a thread (of the blocking pool, say).

        Raises:
            pykka.Timeout: It was not opened in time.
        """
        self._arrive()
        self._opened.get(timeout=timeout)

    def await_arrival(self, timeout: float = 10.0) -> None:
        """Block the test until somebody waits at the gate.

        Raises:
            pykka.Timeout: Nobody came.
        """
        self._arrived.get(timeout=timeout)

    @property
    def is_open(self) -> bool:
        """Whether it has been opened."""
        return self._opened.is_done

    def open(self) -> None:
        """Let all pass, now and later. Idempotent."""
        with self._lock:
            if not self._opened.is_done:
                self._opened.set(None)


def leaked(threads_before: Iterable[threading.Thread] = ()) -> list[str]:
    """Name what is still there: actors in Pykka's registry, and threads that were not there before.

    A thread that is just about to end gets the time to do so.

    Args:
        threads_before: `threading.enumerate()` from before the test.
    """
    before = {*threads_before, threading.current_thread()}
    deadline = time.monotonic() + _THREADS_GRACE_S
    for thread in threading.enumerate():
        if thread not in before:
            thread.join(max(0.0, deadline - time.monotonic()))
    actors = [f"actor {ref}" for ref in pykka.ActorRegistry.get_all()]
    return actors + [f"thread {thread.name}" for thread in threading.enumerate() if thread not in before]
