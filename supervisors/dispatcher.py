"""`Dispatcher`: runs the actors of one thread, a bounded slice of each in turn.

Two implementations: `LoopDispatcher` (an asyncio loop in a thread of its own) and `SimulationDispatcher` (the caller's
thread, a manual clock, and a seed that chooses who runs next). What they share is here: who is alive, who is ready,
and how other threads get in.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import frozen

from supervisors.clock import Clock, SystemClock
from supervisors.errors import DispatcherStopped
from supervisors.registry import Registry

if TYPE_CHECKING:
    from supervisors.actor import Actor
    from supervisors.life import Life
    from supervisors.ref import Ref

__all__ = ["Dispatcher", "DispatcherStatistics"]

A = TypeVar("A", bound="Actor")
_local = threading.local()


@frozen
class DispatcherStatistics:
    """A dispatcher at one moment.

    Attributes:
        actors: Lives that are not over.
        ready: Actors that have something to do.
        handled: Messages handled since the start.
        turns: Turns of the scheduler since the start.
        held: Times that one actor held the thread longer than the watchdog allows.
        held_by: The last actor that did, as text.
        longest_s: The longest of these times, in seconds.
        blocking: Calls that run or wait in the blocking pool.
    """

    actors: int
    ready: int
    handled: int
    turns: int
    held: int = 0
    held_by: str | None = None
    longest_s: float = 0.0
    blocking: int = 0


class Dispatcher(abc.ABC):
    """Runs actors; see the module."""

    slice = 32
    """Messages that one actor may handle before the next actor has its turn."""

    driver: Any = None
    """Who runs when a future of this dispatcher is waited for on its own thread (simulation), else None."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.names = Registry()
        self.thread_id: int | None = None
        # In the order of their start, for ends that must be the same in each simulation.
        self.lives: dict[Life, None] = {}
        # Of these, the ones with a thread of their own: their work is seen nowhere else.
        self.thread_lives: dict[Any, None] = {}
        self._ready: deque[Life] = deque()
        # Lives that other threads sent something to. A deque append is atomic, so no lock is needed.
        self._foreign: deque[Life] = deque()
        self._stopped = False
        self._handled = 0
        self._turns = 0
        self._blocking = 0
        self._given_up: set[asyncio.Task[Any]] = set()

    # --- Which dispatcher --------------------------------------------------------------------------------------

    @staticmethod
    def current() -> Dispatcher:
        """The dispatcher on which an actor made here and now will run.

        On a dispatcher's thread that one; inside `activate()` that one; else the process's default `LoopDispatcher`,
        whose thread lives while it has actors.
        """
        found: Dispatcher | None = getattr(_local, "dispatcher", None)
        if found is None:
            from supervisors.loop_dispatcher import default_dispatcher

            found = default_dispatcher()
        return found

    @contextlib.contextmanager
    def activate(self) -> Iterator[None]:
        """Make this the current dispatcher of the calling thread, for the `with` block."""
        before = getattr(_local, "dispatcher", None)
        _local.dispatcher = self
        try:
            yield
        finally:
            _local.dispatcher = before

    @abc.abstractmethod
    def open(self) -> Self:
        """Make it ready to run actors. Idempotent.

        Raises:
            DispatcherStopped: It has been stopped.
        """

    @abc.abstractmethod
    def close(self, timeout: float = 10.0) -> bool:
        """Kill what still runs and stop for good. Idempotent.

        Returns:
            Whether nothing was left behind after `timeout` seconds.
        """

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_exc_info: object) -> None:
        self.close()

    def start(self, actor_class: type[A], *args: Any, **kwargs: Any) -> Ref[A]:
        """Start an actor without a parent on this dispatcher, from any thread; see `Actor.start`.

        Raises:
            DispatcherStopped: The dispatcher has been stopped.
        """
        with self.activate():
            ref: Ref[A] = actor_class.start(*args, **kwargs)  # type: ignore[assignment]
            return ref

    # --- Scheduling --------------------------------------------------------------------------------------------

    def adopt(self, life: Life) -> None:
        """Keep an actor alive until its life is over. Any thread.

        Raises:
            DispatcherStopped: The dispatcher has been stopped.
        """
        if self._stopped:
            raise self._refusal()
        self.lives[life] = None

    def forget(self, life: Life) -> None:
        """Let go of an actor whose life is over."""
        self.lives.pop(life, None)
        self.names.forget(life.ref)

    def schedule(self, life: Any) -> None:
        """Note that a life has something to do (dispatcher's thread only)."""
        life.scheduled = True
        self._ready.append(life)
        self._wake()

    def notify(self, life: Any) -> None:
        """Note that a life has something to do (from any other thread)."""
        self._foreign.append(life)
        self._wake_from_outside()

    def note_interrupt(self, error: BaseException) -> None:  # noqa: B027 - most have nothing to do here
        """Take note of an exception that reached the border of an actor's code; a simulation passes Ctrl-C on."""

    def _refusal(self) -> DispatcherStopped:
        return DispatcherStopped(f"{self!r} has been stopped; start a new one")

    def _admit_foreign(self) -> None:
        foreign, ready = self._foreign, self._ready
        while foreign:
            life = foreign.popleft()
            if not life.scheduled:
                life.scheduled = True
                ready.append(life)

    @abc.abstractmethod
    def _wake(self) -> None: ...

    @abc.abstractmethod
    def _wake_from_outside(self) -> None: ...

    # --- Services for actors -----------------------------------------------------------------------------------

    @abc.abstractmethod
    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Any:
        """Call back on the dispatcher's thread after a delay; returns a handle with `cancel()`."""

    @abc.abstractmethod
    def call_from_outside(self, callback: Callable[..., object], *args: Any) -> None:
        """Call back soon on the dispatcher's thread; callable from any thread.

        Raises:
            DispatcherStopped: The dispatcher has been stopped.
        """

    @abc.abstractmethod
    def create_task(self, coroutine: Coroutine[Any, Any, Any], name: str | None) -> asyncio.Task[Any]:
        """Run a coroutine on the dispatcher's loop (dispatcher's thread only)."""

    def give_up(self, task: asyncio.Task[Any]) -> None:
        """Note a task that was cancelled and had its time to end: whoever closes this does not wait for it again."""
        if not task.done():
            # Kept: a loop itself holds no task that waits.
            self._given_up.add(task)
            task.add_done_callback(self._given_up.discard)

    @property
    def has_given_up(self) -> bool:
        """Whether a task that was given up has not ended yet."""
        return bool(self._given_up)

    @abc.abstractmethod
    def run_blocking(
        self, func: Callable[..., Any], *args: Any, thread: str | None = None, threads: int = 1
    ) -> asyncio.Future[Any]:
        """Run a blocking function off the dispatcher's thread.

        Args:
            func: What to call; it must not touch actors but by their refs.
            args: Its arguments.
            thread: Name of a thread of its own on which calls run one by one in order (a journal's committer);
                None: the bounded pool that all share.
            threads: How many threads of that name there may be, as its first call says; with more than one they are a
                pool of their own.
        """

    @property
    @abc.abstractmethod
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop on which owned tasks run; call it only from the dispatcher's thread."""

    @property
    def is_stopped(self) -> bool:
        """Whether it runs no actors any more."""
        return self._stopped

    def on_thread(self) -> bool:
        """Whether the caller is on the dispatcher's thread."""
        return threading.get_ident() == self.thread_id

    def statistics(self) -> DispatcherStatistics:
        """Numbers of this moment."""
        return DispatcherStatistics(
            actors=len(self.lives),
            ready=len(self._ready) + len(self._foreign),
            handled=self._handled,
            turns=self._turns,
            blocking=self._blocking,
        )
