"""`SimulationDispatcher`: the same actors on the caller's thread, with a manual clock and a seed.

At every step a seeded choice is made between all that could go on: any ready actor's next message, the loop's next
callback, the next call of any blocking thread. Two runs with one seed are identical; many seeds explore many
interleavings. Nothing happens between the calls of `run_until_idle`, `advance` and the blocking `get` of a future.

1. Within a step the rules of production hold: a blocking `get` there raises `WouldDeadlock`.
2. What a step raises, short of a fault of an actor, is the user's: Ctrl-C leaves the simulation after the actor which
   it hit has been ended like any that crashed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Self

import pykka
from attrs import evolve

from supervisors.dispatcher import Dispatcher, DispatcherStatistics
from supervisors.exits import KILLED, Crashed, error_text
from supervisors.future import dispatcher_threads
from supervisors.manual_clock import ManualClock
from supervisors.simulation_loop import SimulationLoop

if TYPE_CHECKING:
    from supervisors.future import Future
    from supervisors.life import Life

__all__ = ["SimulationDispatcher"]

logger = logging.getLogger("supervisors")


class SimulationDispatcher(Dispatcher):
    """Runs actors step by step on the thread that made it.

    Args:
        seed: Chooses the schedule.
        clock: Moved by `advance`; a new one by default.
        on_step: Called before every step; may crash actors (`crash`), tell them something, or stop time.
        max_steps: A run of more steps without coming to rest is an endless loop.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        clock: ManualClock | None = None,
        on_step: Callable[[SimulationDispatcher], None] | None = None,
        max_steps: int = 1_000_000,
    ) -> None:
        self.manual_clock = clock if clock is not None else ManualClock()
        super().__init__(clock=self.manual_clock)
        self.random = random.Random(seed)  # noqa: S311 - chooses a schedule
        self.thread_id = threading.get_ident()
        self.driver = self
        self.steps = 0
        self.on_step = on_step
        self.max_steps = max_steps
        self._simulation_loop = SimulationLoop(self)  # type: ignore[abstract]  # no sockets
        self._jobs: dict[str | None, deque[tuple[Callable[[], None], asyncio.Future[Any]]]] = {}
        self._lives: list[Life] = []
        # The last Ctrl-C that came, and the last that was passed on: one comes twice if it hits a task.
        self._interrupt: KeyboardInterrupt | None = None
        self._passed_on: KeyboardInterrupt | None = None

    def __repr__(self) -> str:
        return f"<SimulationDispatcher at step {self.steps}>"

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop on which owned tasks run."""
        return self._simulation_loop

    @property
    def failures(self) -> list[dict[str, Any]]:
        """What was given to the loop's exception handler: faults that no actor answers for."""
        return self._simulation_loop.failures

    def open(self) -> Self:
        """Nothing needs to be opened here.

        Raises:
            DispatcherStopped: It has been stopped.
        """
        if self._stopped:
            raise self._refusal()
        return self

    # --- Driving -----------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Do one thing that could be done next, chosen by the seed; return false if there is none.

        Raises:
            KeyboardInterrupt: The user's; it came while an actor, a task or a blocking call ran.
        """
        if self._foreign:
            self._admit_foreign()
        loop = self._simulation_loop
        loop.admit_due()
        if self._ready:
            self._lives.extend(self._ready)
            self._ready.clear()
        jobs = [queue for queue in self._jobs.values() if queue]
        n_lives = len(self._lives)
        choices = n_lives + len(jobs) + bool(loop.callbacks)
        if not choices:
            return False
        self.steps += 1
        if self.on_step is not None:
            self.on_step(self)
        pick = self.random.randrange(choices)
        with self._running():
            if pick < n_lives:
                self._run_life(pick)
            elif pick < n_lives + len(jobs):
                jobs[pick - n_lives].popleft()[0]()
            else:
                self._run_callback()
        if self._interrupt is not self._passed_on:
            self._passed_on = self._interrupt
            assert self._passed_on is not None
            raise self._passed_on
        return True

    def _run_life(self, index: int) -> None:
        life = self._lives[index]
        # Swapped to the end, so that taking one of many ready actors costs the same.
        self._lives[index] = self._lives[-1]
        self._lives.pop()
        try:
            self._handled += life.run(1)
        except Exception as error:  # a fault of this package, as in `LoopDispatcher`
            logger.critical(f"{life.ref} could not be run on and is ended:", exc_info=error)
            life._die_at_once(Crashed(error))
        finally:
            if life.has_work():
                self._lives.append(life)
            else:
                life.scheduled = False

    def _run_callback(self) -> None:
        callbacks = self._simulation_loop.callbacks
        handle = callbacks.popleft() if callbacks else None
        if handle is not None and not handle.cancelled():
            try:
                handle._run()
            except (KeyboardInterrupt, SystemExit) as error:
                # asyncio lets them pass after noting them in the task, whose owner they end.
                logger.error(f"{error_text(error)} passed through the loop of {self!r}, which goes on")  # noqa: TRY400
                self.note_interrupt(error)

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Make this thread the dispatcher's, for one step."""
        loop = self._simulation_loop
        before, hooks = asyncio._get_running_loop(), sys.get_asyncgen_hooks()
        me = threading.get_ident()
        is_inner = me in dispatcher_threads
        dispatcher_threads.add(me)
        asyncio._set_running_loop(loop)
        sys.set_asyncgen_hooks(firstiter=loop.note_generator, finalizer=loop.finalize_generator)
        try:
            with self.activate():
                yield
        finally:
            sys.set_asyncgen_hooks(*hooks)
            asyncio._set_running_loop(before)
            if not is_inner:
                dispatcher_threads.discard(me)

    def note_interrupt(self, error: BaseException) -> None:
        """Remember Ctrl-C until the step is through."""
        if isinstance(error, KeyboardInterrupt):
            self._interrupt = error

    def run_until_idle(self) -> int:
        """Step until nothing is left to do at the present time; return the number of steps.

        Raises:
            RuntimeError: It did not come to rest within `max_steps`.
        """
        first = self.steps
        while self.step():
            self._demand_end(first)
        return self.steps - first

    def _demand_end(self, first: int) -> None:
        if self.steps - first > self.max_steps:
            raise RuntimeError(
                f"not idle after {self.max_steps} steps: {[str(life) for life in self._lives][:5]}"
            )

    def advance(self, seconds: float) -> None:
        """Come to rest, then let time pass: each timer on the way fires at its own time, with all it causes."""
        self.run_until_idle()
        until = self.clock.monotonic() + seconds
        while (when := self.next_timer()) is not None and when <= until:
            self._jump(when)
            self.run_until_idle()
        self._jump(until)
        self.run_until_idle()

    def _jump(self, when: float) -> None:
        self.manual_clock.move_to(max(when, self.clock.monotonic()))

    def next_timer(self) -> float | None:
        """When the next timer is due, in seconds of the clock."""
        return self._simulation_loop.next_timer()

    def drive(self, future: Future[Any], timeout: float | None) -> None:
        """Run until a future is done; when all rest, jump to the next timer.

        Raises:
            pykka.Timeout: The timeout (on the manual clock) is over, or nothing is left that could set the future.
            RuntimeError: Neither happened within `max_steps`.
        """
        until = None if timeout is None else self.clock.monotonic() + timeout
        first = self.steps
        try:
            while not future.is_available:
                if self.step():
                    self._demand_end(first)
                    continue
                when = self.next_timer()
                if until is not None and (when is None or when > until):
                    self._jump(until)
                    raise pykka.Timeout(f"{timeout} seconds of the simulation's clock")
                if when is None:
                    raise pykka.Timeout("the simulation is at rest and nobody is left who could answer")
                self._jump(when)
        finally:
            del future  # see `Future.get`

    def crash(self, ref: Any, error: BaseException) -> None:
        """Inject a crash: the actor fails with this error before its next message."""
        ref.life.signal("crash", error)

    def close(self, timeout: float = 10.0) -> bool:
        """Kill what still runs and let its cancelled tasks run to their end. Idempotent.

        Returns:
            Whether nothing was left behind: no task that refuses to be cancelled.
        """
        del timeout  # no time passes
        if self._stopped:
            return True
        self._stopped = True
        self.on_step = None
        with self._running():
            for life in reversed(tuple(self.lives)):
                if life.parent is None:
                    life._die_at_once(KILLED)
            for life in reversed(tuple(self.lives)):
                life._die_at_once(KILLED)
        self._drop_jobs()
        loop = self._simulation_loop
        try:
            self.run_until_idle()
            for task in sorted(asyncio.all_tasks(loop), key=hash):
                task.cancel()
            for generator in tuple(loop._generators.values()):
                loop.create_task(generator.aclose())
            self.run_until_idle()
        finally:
            left = asyncio.all_tasks(loop)
            for task in left:
                logger.error(f"{task!r} refuses to be cancelled and is left behind")
                task._log_destroy_pending = False  # type: ignore[attr-defined]
            self._drop_jobs()
            loop.close()
        return not left

    def _drop_jobs(self) -> None:
        # As in production: what has not begun does not begin any more.
        for queue in self._jobs.values():
            for _, future in queue:
                future.cancel()
            self._blocking -= len(queue)
            queue.clear()

    # --- What a dispatcher offers ------------------------------------------------------------------------

    def _wake(self) -> None:
        """Nothing runs by itself here."""

    def _wake_from_outside(self) -> None:
        if self._stopped:
            while self._foreign:
                self._foreign.popleft().abandon_queue()

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Any:
        """Call back after some seconds of the manual clock; returns a handle with `cancel()`."""
        return self._simulation_loop.call_later(max(0.0, delay_s), callback)

    def call_from_outside(self, callback: Callable[..., object], *args: Any) -> None:
        """Call back in one of the next steps; callable from any thread.

        Raises:
            DispatcherStopped: The simulation has been closed.
        """
        self.open()
        self._simulation_loop.call_soon(callback, *args)

    def create_task(self, coroutine: Coroutine[Any, Any, Any], name: str | None) -> asyncio.Task[Any]:
        """Run a coroutine on the simulation's loop."""
        return self._simulation_loop.create_task(coroutine, name=name)

    def run_blocking(
        self, func: Callable[..., Any], *args: Any, thread: str | None = None, threads: int = 1
    ) -> asyncio.Future[Any]:
        """Run a blocking call as one step; the calls of one `thread` stay in order."""
        future = self._simulation_loop.create_future()

        def job() -> None:
            self._blocking -= 1
            if future.done():  # its caller was cancelled meanwhile
                return
            try:
                value = func(*args)
            except BaseException as error:  # the caller's to handle, where it awaits the future
                future.set_exception(error)
                self.note_interrupt(error)
            else:
                future.set_result(value)

        self._blocking += 1
        self._jobs.setdefault(thread, deque()).append((job, future))
        return future

    def statistics(self) -> DispatcherStatistics:
        """Numbers of this moment."""
        numbers = super().statistics()
        return evolve(numbers, ready=numbers.ready + len(self._lives), turns=self.steps)
