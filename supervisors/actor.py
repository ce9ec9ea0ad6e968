"""`Actor`: a real `pykka.Actor` whose mailbox is drained in slices by a dispatcher instead of by a thread.

What it does beyond Pykka: it can own children, tasks and timers, watch other actors, and its life ends in exactly one
exit report. What it does not: block. A handler is short and synchronous; whatever waits is an owned task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from threading import get_ident
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

import pykka
from pykka import ActorRef

from supervisors import pykka_registry
from supervisors.dispatcher import Dispatcher
from supervisors.errors import DispatcherStopped, StartFailed, SupervisionError
from supervisors.exits import NORMAL, ExitReason, error_text
from supervisors.future import Future
from supervisors.life import DEAD, NEW, RUNNING, Life
from supervisors.notices import Down, Monitor
from supervisors.ref import Ref
from supervisors.timers import Timer

if TYPE_CHECKING:
    import asyncio

__all__ = ["Actor"]

logger = logging.getLogger("pykka")
C = TypeVar("C", bound="Actor")


class Actor(pykka.Actor):
    """Base of all actors that are run by a dispatcher.

    Override `on_start`, `on_receive`, `on_stop`, `on_failure` as with Pykka; all of them run on the dispatcher's
    thread and must not block. `__init__` runs on the starter's thread.
    """

    mailbox_capacity: ClassVar[int | None] = None
    """How many messages may wait; one more raises `Overloaded` at the sender. None: no bound, which is right only
    where the senders are bounded themselves."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        # Sets the four attributes that Pykka's __init__ sets, from lighter parts; calling it would make an event,
        # a URN and a ref only to replace them.
        life = Life(self, Dispatcher.current(), self.mailbox_capacity)
        # The same object under its own type: every operation below goes through it.
        self._life = life
        self.actor_inbox = life
        self.actor_stopped = life.stopped  # type: ignore[assignment]
        self._actor_ref = life.ref = Ref(self, life)

    # --- Pykka's extension points ------------------------------------------------------------------------------

    @property
    def actor_urn(self) -> str:  # type: ignore[override]
        """The actor's unique resource name."""
        return self._actor_ref.actor_urn

    @property
    def actor_ref(self) -> Ref[Self]:
        """The actor's ref."""
        return self._actor_ref  # type: ignore[return-value]

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> ActorRef[Self]:
        """Start an actor on the current dispatcher (the thread's own, else the process's default) and register it.

        `__init__` has run when this returns; `on_start` runs on the dispatcher's thread. A failing `on_start` ends
        the actor. An actor with a parent is started with `start_child`.

        Raises:
            DispatcherStopped: The dispatcher has been stopped.
        """
        obj = cls(*args, **kwargs)
        assert obj.actor_ref is not None, (
            "Actor.__init__() have not been called. Did you forget to call super() in your override?"
        )
        pykka_registry.register(obj.actor_ref)
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug(f"Starting {obj}")
        try:
            obj._start_actor_loop()
        except BaseException:
            obj._life.discard()
            raise
        return obj.actor_ref

    @staticmethod
    def _create_actor_inbox() -> Any:
        msg = "the mailbox of a dispatched actor is its Life"
        raise NotImplementedError(msg)

    @staticmethod
    def _create_future() -> Future[Any]:
        return Future()

    def _start_actor_loop(self) -> None:
        life = self._life
        life.dispatcher.adopt(life)
        life.signal("start")

    def _stop(self) -> None:
        self._life.end(NORMAL)

    # --- What a running actor can do ---------------------------------------------------------------------------

    @property
    def dispatcher(self) -> Dispatcher:
        """Who runs this actor."""
        return self._life.dispatcher

    @property
    def parent(self) -> Ref[Any] | None:
        """The actor that started this one with `start_child`, if any."""
        life = self._life.parent
        return None if life is None else life.ref

    @property
    def children(self) -> list[Ref[Any]]:
        """Refs of the children whose lives are not over, in start order."""
        return list(self._life.children or ())

    def now(self) -> float:
        """Seconds on the dispatcher's monotonic clock."""
        return self.dispatcher.clock.monotonic()

    def reply_later(self) -> Future[Any] | None:
        """Take over the answer to the ask that is being handled: set the future when the answer is known.

        Returns:
            The asker's future, or None if the message was told and nobody waits. The value which the handler
            returns is then ignored. If this actor ends before the future is set, its asker gets `ActorDeadError`.
        """
        life = self._life
        asking, life.asking = life.asking, None
        if asking is not None:
            # Kept until it is set, so that this life's end answers whoever still waits.
            if life.promised is None:
                life.promised = {}
            life.promised[asking] = None
            asking.add_done_callback(life.keep_promise)
        return cast("Future[Any] | None", asking)

    def on_exit_request(self, reason: ExitReason) -> bool:
        """Decide about an orderly exit request (`stop`, `shutdown`, the parent's end).

        Returns:
            False (default): the runtime ends the actor now. True: the actor goes on, and will call `exit` itself,
            for example after its children have been stopped in order.
        """
        return False

    def exit(self, reason: ExitReason = NORMAL) -> None:
        """Leave with this reason once the handler that runs now is through; the first call counts.

        From an owned task or a callback: before the next message.
        """
        life = self._life
        if life.leaving is None:
            life.leaving = reason
            if not life.scheduled or not life.dispatcher.on_thread():
                # Called from a task or a callback: have the dispatcher look at it.
                life.signal("leave")

    def start_child(self, actor_class: type[C], *args: Any, **kwargs: Any) -> Ref[C]:
        """Start a child on this actor's dispatcher; its `on_start` runs before this returns.

        The child's end reaches this actor as `ChildExited`; this actor's end stops the child first. Call it in a
        hook, a handler or an owned task, from `on_start` on.

        Raises:
            StartFailed: `__init__` or `on_start` raised, and is the cause; or this actor is ending. Of the failed
                child nothing is left, or will be as soon as what its `on_start` had started is stopped.
        """
        mine = self._life
        dispatcher = mine.dispatcher
        if mine.phase != RUNNING or dispatcher.thread_id != get_ident():
            raise StartFailed(f"{actor_class.__name__} was not started: {mine} takes no child here and now")
        try:
            child = actor_class(*args, **kwargs)
        except BaseException as error:
            dispatcher.note_interrupt(error)
            raise StartFailed(f"{actor_class.__name__} could not be made: {error_text(error)}") from error
        ref = child.actor_ref
        life = ref.life
        if life.dispatcher is not dispatcher:
            life.discard()
            raise StartFailed(
                f"{actor_class.__name__} was made for {life.dispatcher}, its parent is on {dispatcher}"
            )
        pykka_registry.register(ref)
        try:
            dispatcher.adopt(life)
        except DispatcherStopped as error:
            life.discard()
            raise StartFailed(f"{actor_class.__name__} was not started: {error}") from error
        try:
            life.start()
        except BaseException as error:
            raise StartFailed(f"{actor_class.__name__} failed in on_start: {error_text(error)}") from error
        if mine.children is None:
            mine.children = {}
        mine.children[ref] = None
        if life.phase == DEAD and life.reason is not None:
            # It left in good order within its on_start: its parent still hears of it.
            mine.signal_child_exited(ref, life.reason)
        else:
            life.parent = mine
        return ref

    def monitor(self, ref: Any) -> Monitor:
        """Have a `Down` delivered when that actor's life is over; at once if it is.

        Raises:
            TypeError: It is not an actor of this package.
            SupervisionError: It runs on another dispatcher, whose thread this one must not meddle with.
        """
        life = self._life
        target: Life | None = getattr(ref, "life", None)
        if target is None:
            raise TypeError(f"{ref} cannot be monitored: it is no actor of this package")
        if target.dispatcher is not life.dispatcher:
            raise SupervisionError(
                f"{ref} cannot be monitored: it runs on {target.dispatcher}, not {life.dispatcher}"
            )
        monitor = Monitor(ref)
        if target.phase == DEAD:
            life.put_notice(Down(ref, target.reason or NORMAL, monitor))
            return monitor
        if life.monitoring is None:
            life.monitoring = set()
        life.monitoring.add(monitor)
        if target.monitors is None:
            target.monitors = {}
        target.monitors[monitor] = life
        return monitor

    def demonitor(self, monitor: Monitor) -> None:
        """Take a monitor back; a `Down` that is already in the mailbox still arrives."""
        life = self._life
        if life.monitoring is not None and monitor in life.monitoring:
            life.monitoring.discard(monitor)
            watched = monitor.target.life.monitors
            if watched is not None:
                watched.pop(monitor, None)

    def send_after(self, delay_s: float, message: Any) -> Timer:
        """Send this actor a message after `delay_s` seconds of the dispatcher's clock; gone with the actor.

        Returns:
            The timer; of an actor that has ended, or is ending, one that is cancelled.

        Raises:
            RuntimeError: The actor has not been started, or this is not its dispatcher's thread.
        """
        life = self._life
        _demand_running_thread(life, "send_after")
        timer = Timer(life, message)
        if life.phase != RUNNING:
            timer.cancel()
            return timer
        if life.timers is None:
            life.timers = set()
        life.timers.add(timer)
        timer._handle = life.dispatcher.call_later(delay_s, timer.fire)
        return timer

    def spawn(self, coroutine: Coroutine[Any, Any, Any], *, name: str | None = None) -> asyncio.Task[Any]:
        """Run a coroutine as an owned task on the dispatcher's loop.

        Its crash is this actor's crash. It is cancelled, and awaited, when this actor ends; of an actor that is
        ending already it is cancelled before it begins. It tells its result by a message to its owner.

        Raises:
            RuntimeError: The actor has not been started, or this is not its dispatcher's thread.
        """
        life = self._life
        try:
            _demand_running_thread(life, "spawn")
        except RuntimeError:
            coroutine.close()
            raise
        task: asyncio.Task[Any] = life.dispatcher.create_task(coroutine, name)
        if life.tasks is None:
            life.tasks = {}
        life.tasks[task] = None
        task.add_done_callback(life.task_done)
        if life.phase != RUNNING:
            task.cancel()
        return task

    def blocking(self, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Run a blocking function in the dispatcher's bounded pool; await the result in an owned task."""
        return self.dispatcher.run_blocking(func, *args)


def _demand_running_thread(life: Life, what: str) -> None:
    if life.phase == NEW or get_ident() != life.dispatcher.thread_id:
        raise RuntimeError(
            f"{what}() belongs into the hooks, handlers and tasks of {life.ref}, from on_start on"
        )
