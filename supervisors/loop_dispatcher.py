"""`LoopDispatcher`: the production dispatcher, an asyncio loop in a thread of its own.

One callback, the *turn*, drains the ready actors in slices until none is ready or its time is up, then lets the loop
look at sockets, timers and tasks. Waking the loop from another thread costs a system call, so a burst of messages
from outside wakes it once: whoever appends to `_foreign` and finds no alarm under way raises one; the loop clears
the alarm before it looks. So an append is either seen by that look or raises the next alarm.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from threading import get_ident
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, Self

from attrs import evolve

from supervisors import collector
from supervisors import dispatcher as base
from supervisors.blocking import BlockingPool
from supervisors.dispatcher import Dispatcher, DispatcherStatistics
from supervisors.errors import DispatcherStopped, WouldDeadlock
from supervisors.exits import KILLED, Crashed, error_text
from supervisors.future import dispatcher_threads
from supervisors.life import RUNNING
from supervisors.loops import new_loop, wind_up
from supervisors.watchdog import Watchdog

if TYPE_CHECKING:
    from supervisors.clock import Clock
    from supervisors.life import Life

__all__ = ["LoopDispatcher", "default_dispatcher"]

logger = logging.getLogger("supervisors")


class LoopDispatcher(Dispatcher):
    """Runs actors on an asyncio loop (uvloop's if installed) in one daemon thread.

    Args:
        name: Name of the thread.
        clock: Source of `now()`; timers always follow the loop's own clock.
        hold_limit_s: A handler that runs longer is logged with its stack, and counted, by the watchdog.
        turn_limit_s: Seconds after which a turn lets the loop do its other work.
        pool_size: Threads for blocking calls.
        auto_stop: End the thread when the last actor is gone, and start it again with the next.
        calm_collector: While open, make passes of the process's cyclic garbage collector rarer; see
            `supervisors.collector`. For processes that hold thousands of actors.
    """

    def __init__(
        self,
        name: str = "dispatcher",
        *,
        clock: Clock | None = None,
        hold_limit_s: float = 0.1,
        turn_limit_s: float = 0.005,
        pool_size: int = 4,
        auto_stop: bool = False,
        calm_collector: bool = False,
    ) -> None:
        super().__init__(clock=clock)
        self._calm_collector = calm_collector
        self.name = name
        self.hold_limit_s = hold_limit_s
        self._turn_limit_s = turn_limit_s
        self._pool_size = pool_size
        self._auto_stop = auto_stop
        # Guards the fields up to the empty line: whether there is a thread, and which.
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ending: threading.Thread | None = None  # of a default dispatcher that goes to sleep
        self._loop: asyncio.AbstractEventLoop | None = None

        self._is_over = False  # the loop was stopped by us, for good
        self._is_clean = True  # no task was left behind
        self._awake = False  # a turn is queued or running
        self._alarm = False  # a wake-up from outside is on its way
        self._pools: dict[str | None, BlockingPool] = {}
        self._watchdog = Watchdog(self)
        # The slice that runs now, for the watchdog: (life, when it began).
        self.running: tuple[Life, float] | None = None

    def __repr__(self) -> str:
        return f"<LoopDispatcher {self.name}>"

    # --- Life of the dispatcher --------------------------------------------------------------------------

    def open(self) -> Self:
        """Start the thread; returns when the loop runs. Idempotent.

        Raises:
            DispatcherStopped: It has been stopped.
        """
        while True:
            with self._lock:
                if self._stopped:
                    raise self._refusal()
                if self._thread is not None:
                    return self
                ending = self._ending
                if ending is None:
                    started = threading.Event()
                    self._thread = threading.Thread(
                        target=self._main, args=(started,), name=self.name, daemon=True
                    )
                    self._thread.start()
                    started.wait()
                    return self
            if ending is threading.current_thread():
                raise DispatcherStopped(
                    f"{self!r} is going to sleep; nothing can be started by what it leaves behind"
                )
            # Not under the lock: what runs last on that thread may want it.
            ending.join()
            with self._lock:
                if self._ending is ending:
                    self._ending = None

    def adopt(self, life: Life) -> None:
        """Keep an actor alive until its life is over. Any thread.

        Raises:
            DispatcherStopped: The dispatcher has been stopped.
        """
        if get_ident() == self.thread_id:
            if self._is_over:
                raise self._refusal()
            self.lives[life] = None
            return
        while True:
            self.open()
            # Under the lock with which `close` and an idle default dispatcher decide that this is the end.
            with self._lock:
                if self._thread is not None and not self._stopped:
                    self.lives[life] = None
                    return

    def close(self, timeout: float = 10.0) -> bool:
        """Kill what still runs, end the thread and the pools. Idempotent.

        Returns:
            Whether all threads ended within `timeout` seconds, and all tasks; what blocks, or refuses to be cancelled,
            is left behind.

        Raises:
            WouldDeadlock: This is the dispatcher's own thread.
        """
        if self.on_thread():
            raise WouldDeadlock(
                "close() would wait for the thread on which it was called; call it from another"
            )
        deadline = monotonic() + timeout
        with self._lock:
            self._stopped = True
            thread, loop = self._thread or self._ending, self._loop
        if thread is None or loop is None:
            return True
        threads = [life.thread for life in tuple(self.thread_lives) if life.thread is not None]
        pools = tuple(self._pools.values())
        with contextlib.suppress(RuntimeError):  # it is closed already
            loop.call_soon_threadsafe(self._close_on_thread)
        thread.join(timeout)
        for actor_thread in threads:
            actor_thread.join(max(0.0, deadline - monotonic()))
        done = (
            [pool.join(max(0.0, deadline - monotonic())) for pool in pools]
            if not thread.is_alive()
            else [False]
        )
        left = [one.name for pool in pools for one in pool.threads if one.is_alive()]
        if left and not thread.is_alive():
            logger.warning(
                "%r was closed; threads that do not end are left behind: %s", self, ", ".join(left)
            )
        return self._is_clean and all(done) and not any(actor_thread.is_alive() for actor_thread in threads)

    def _close_on_thread(self) -> None:
        self._admit_foreign()
        for life in reversed(tuple(self.lives)):
            if life.parent is None:
                life._die_at_once(KILLED)
        for life in reversed(tuple(self.lives)):
            life._die_at_once(KILLED)
        self._ready.clear()
        self._stop_loop()

    def _stop_loop(self) -> None:
        self._is_over = True
        self.loop.stop()

    def _forget_last(self) -> None:
        # Queued more than once, it may run again while somebody who has the lock waits for this thread's end.
        if self._thread is threading.current_thread():
            with self._lock:
                if not self.lives and not self._stopped:
                    self._ending, self._thread = self._thread, None  # the next actor opens a new one
                    self._stop_loop()

    def forget(self, life: Life) -> None:
        """Let go of an actor whose life is over."""
        super().forget(life)
        if self._auto_stop and not self.lives and not self._is_over and self.on_thread():
            self.loop.call_soon(self._forget_last)

    def _main(self, started: threading.Event) -> None:
        loop = new_loop()
        asyncio.set_event_loop(loop)
        self._loop = loop
        self.thread_id = get_ident()
        dispatcher_threads.add(self.thread_id)
        base._local.dispatcher = self
        self._awake = self._alarm = self._is_over = False
        if self._calm_collector:
            collector.calm()
        self._watchdog.open(self.thread_id, loop)
        started.set()
        try:
            while not self._is_over:
                try:
                    loop.run_forever()
                except BaseException as error:
                    # asyncio lets SystemExit and KeyboardInterrupt of a task pass, after noting them in the task:
                    # they are the crash of its owner, and no reason to stop everybody else.
                    logger.error(f"{error_text(error)} passed through the loop of {self!r}, which goes on")  # noqa: TRY400
        finally:
            self._clean_up(loop)

    def _clean_up(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watchdog.close()
        if self._calm_collector:
            collector.restore()
        self._is_clean = wind_up(loop, repr(self), self._given_up) and self._is_clean
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            # A call that blocks for ever cannot be ended; its thread is left behind rather than this one with it.
            pool.shutdown(wait=False, cancel_futures=True)
        dispatcher_threads.discard(get_ident())
        loop.close()
        # The system may give the number of this thread to another one, which is not to be taken for this.
        self.thread_id = None
        self._abandon(self._take_foreign())

    # --- Messages from outside ---------------------------------------------------------------------------

    def _wake_from_outside(self) -> None:
        if not self._alarm:
            self._alarm = True
            loop = self._loop
            if loop is not None:
                try:
                    loop.call_soon_threadsafe(self._answer_alarm)
                except RuntimeError:
                    self._answer_closed(loop)

    def _answer_closed(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop was closed when a message came: refuse it, unless a new loop has taken over."""
        left: list[Life] = []
        with self._lock:
            if self._loop is loop:
                left = self._take_foreign()
            else:
                self._alarm = False
        self._abandon(left)
        if self._foreign:
            self._wake_from_outside()

    def _take_foreign(self) -> list[Life]:
        # In this order: whoever appends after the clearing finds the loop closed and comes here himself.
        self._alarm = False
        left = []
        with contextlib.suppress(IndexError):  # two threads may do this
            while True:
                left.append(self._foreign.popleft())
        return left

    def _abandon(self, left: list[Life]) -> None:
        for life in left:
            life.abandon_queue()

    @property
    def is_asleep(self) -> bool:
        """Whether there is no thread: nothing was started yet, or an `auto_stop` dispatcher has no actor."""
        return self._thread is None

    # --- Turns -------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if not self._awake:
            self._awake = True
            self.loop.call_soon(self._turn)

    def _answer_alarm(self) -> None:
        # Cleared first: whoever appends after this line raises a new alarm, whoever came before is drained below.
        self._alarm = False
        if not self._awake:
            self._awake = True
            self._turn()

    def _turn(self) -> None:
        ready = self._ready
        if self._foreign:
            self._admit_foreign()
        before = perf_counter()
        until = before + self._turn_limit_s
        limit = self.slice
        self._turns += 1
        try:
            while ready:
                life = ready.popleft()
                self.running = running = (life, before)
                self._handled += life.run(limit)
                if life.signals or (life.phase == RUNNING and life.queue.qsize()):
                    ready.append(life)
                else:
                    life.scheduled = False
                now = perf_counter()
                if now - before > self.hold_limit_s:
                    self._watchdog.note(running, now - before)
                before = now
                if now > until:
                    break
        except (
            BaseException
        ) as error:  # a fault of this package: it costs one actor its life, not all of them
            self._give_up(error)
        finally:
            self.running = None
            if ready:
                self.loop.call_soon(self._turn)
            else:
                self._awake = False

    def _give_up(self, error: BaseException) -> None:
        assert self.running is not None
        life = self.running[0]
        logger.critical(f"{life.ref} could not be run on and is ended:", exc_info=error)
        life.scheduled = False
        with contextlib.suppress(BaseException):
            life._die_at_once(Crashed(error))

    # --- Services ----------------------------------------------------------------------------------------

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The asyncio loop; for libraries that need one. Call it only from its own thread."""
        assert self._loop is not None, "the dispatcher has not been opened"
        return self._loop

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Any:
        """Call back on the dispatcher's thread after a delay; returns a handle with `cancel()`."""
        return self.loop.call_later(max(0.0, delay_s), callback)

    def call_from_outside(self, callback: Callable[..., object], *args: Any) -> None:
        """Call back soon on the dispatcher's thread; callable from any thread.

        Raises:
            DispatcherStopped: The dispatcher has been stopped.
        """
        self.open()
        try:
            self.loop.call_soon_threadsafe(callback, *args)
            if self._auto_stop:
                self.loop.call_soon_threadsafe(self._forget_last)  # it may have been opened for this alone
        except RuntimeError:
            raise self._refusal() from None

    def create_task(self, coroutine: Coroutine[Any, Any, Any], name: str | None) -> asyncio.Task[Any]:
        """Run a coroutine on the dispatcher's loop (dispatcher's thread only)."""
        return self.loop.create_task(coroutine, name=name)

    def run_blocking(
        self, func: Callable[..., Any], *args: Any, thread: str | None = None, threads: int = 1
    ) -> asyncio.Future[Any]:
        """Run a blocking function off the dispatcher's thread; see `Dispatcher.run_blocking`."""
        pool = self._pools.get(thread)
        if pool is None:
            size, name = (self._pool_size, f"{self.name}-pool") if thread is None else (threads, thread)
            pool = self._pools[thread] = BlockingPool(size, name)
        future = self.loop.run_in_executor(pool, func, *args)
        self._blocking += 1
        future.add_done_callback(self._blocking_done)
        return future

    def _blocking_done(self, _future: asyncio.Future[Any]) -> None:
        self._blocking -= 1

    def statistics(self) -> DispatcherStatistics:
        """Numbers of this moment."""
        dog = self._watchdog
        return evolve(super().statistics(), held=dog.held, held_by=dog.held_by, longest_s=dog.longest_s)


_default_lock = threading.Lock()
_default: LoopDispatcher | None = None


def default_dispatcher() -> LoopDispatcher:
    """The process's default dispatcher, for actors that are started without one."""
    global _default  # noqa: PLW0603 - one per process by definition
    with _default_lock:
        if _default is None:
            _default = LoopDispatcher("supervisors-default", auto_stop=True)
        return _default
