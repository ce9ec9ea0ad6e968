"""`ThreadActor`: an actor on a thread of its own, for components that block.

It is supervised like any other: a parent starts it with `start_child`, hears of its end once, and may shut it down.
What it cannot be is killed: Python cannot end a thread. A kill *abandons* it: it is unregistered, its mailbox and the
ask that it is handling are refused, the report says `Abandoned`, and the daemon thread ends whenever it comes back
from where it blocks.

1. The thread touches only the mailbox. Links are touched on the dispatcher's thread, where the report is made.
2. However the thread ends, it hands one reason to the dispatcher; the first report counts.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import Any, ClassVar, cast

import pykka
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from supervisors import pykka_registry
from supervisors.dispatcher import Dispatcher
from supervisors.errors import DispatcherStopped, Overloaded
from supervisors.exits import ABANDONED, NORMAL, SHUTDOWN, Crashed, ExitReason, error_text
from supervisors.future import Future
from supervisors.mailbox import DEAD, NEW, RUNNING, STOPPING, answer, answer_dead, answer_error, refuse
from supervisors.notices import Down, Monitor

__all__ = ["ThreadActor"]

logger = logging.getLogger("pykka")


class _Leave:
    """First in the mailbox: leave now, with this reason."""

    __slots__ = ("reason",)

    def __init__(self, reason: ExitReason) -> None:
        self.reason = reason


class ThreadLife:
    """Mailbox, links and end of one thread actor; see the module for its rules."""

    signals = tasks = children = None  # what a `Life` may have and this may not

    def __init__(self, actor: ThreadActor, dispatcher: Dispatcher, capacity: int | None) -> None:
        self.actor: Any = actor
        self.ref: Any = None
        self.dispatcher = dispatcher
        self.capacity = capacity
        self.phase = NEW
        self.reason: ExitReason | None = None
        self.parent: Any = None
        self.monitors: dict[Monitor, Any] | None = None
        self.handled = 0
        self.queue: deque[Any] = deque()
        self.stop_waiters: list[Any] = []
        self.thread: threading.Thread | None = None
        self._condition = threading.Condition()
        self._is_waiting = False
        self._handling: Envelope[Any] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether the thread does anything but wait for a message, or its end is still to be reported."""
        return self.phase != DEAD and (bool(self.queue) or not self._is_waiting)

    # --- The mailbox: any thread -------------------------------------------------------------------------

    def put(self, item: Any) -> None:
        """Queue a message or a Pykka envelope.

        Raises:
            Overloaded: The mailbox is bounded and full; nothing was queued.
        """
        with self._condition:
            if self.capacity is not None and len(self.queue) >= self.capacity:
                refuse(self.ref, item, self.capacity)
            self._append(item)

    def put_notice(self, item: Any) -> None:
        """Queue a notice of the runtime, never refused."""
        with self._condition:
            self._append(item)

    def _append(self, item: Any) -> None:
        self.queue.append(item)
        self._condition.notify()
        if self.phase == DEAD:
            self.abandon_queue()

    def get(self) -> Envelope[Any]:
        """Wait for the next message, as a Pykka envelope; for `_Leave` when the life is over."""
        with self._condition:
            self._is_waiting = True
            while not self.queue:
                if self.phase == DEAD:
                    return Envelope(_Leave(ABANDONED))
                self._condition.wait()
            self._is_waiting = False
            item = self.queue.popleft()
            envelope = item if type(item) is Envelope else Envelope(item)
            self._handling = envelope
            return envelope

    def empty(self) -> bool:
        """Whether no message waits."""
        return not self.queue

    # --- Signals and links: the dispatcher's thread ------------------------------------------------------

    def start(self) -> None:
        """Start the thread; `on_start` runs there, so its failure is the actor's crash, not a failed start."""
        self.dispatcher.thread_lives[self] = None
        self.phase = RUNNING
        self.actor._start_thread()

    def signal(self, kind: str, detail: Any = None) -> None:
        """Take a signal; `exit` overtakes the mailbox, `kill` abandons the thread. Any thread."""
        if kind == "exit":
            with self._condition:
                self.queue.appendleft(_Leave(detail or SHUTDOWN))
                self._condition.notify()
        elif kind == "kill" and self.phase != DEAD:
            with suppress(DispatcherStopped):  # which has ended all its actors
                self.dispatcher.call_from_outside(self._die_at_once, ABANDONED)

    def note_stopping(self) -> None:
        """Note that the hooks of the end are running (the actor's thread)."""
        with self._condition:
            if self.phase == RUNNING:
                self.phase = STOPPING

    def leave_with(self, reason: ExitReason) -> None:
        """Have the end reported (the actor's thread, at its end)."""
        try:
            self.dispatcher.call_from_outside(self.report, reason)
        except DispatcherStopped:
            self.report(reason)  # nobody is left whom it could tell; those who asked are answered

    def _die_at_once(self, reason: ExitReason) -> None:
        del reason  # a thread can only be abandoned
        self.report(ABANDONED)

    _cut = _die_at_once

    def report(self, reason: ExitReason) -> None:
        """Make the one report of this life (dispatcher's thread)."""
        with self._condition:
            if self.phase == DEAD:
                return
            self.phase = DEAD
            self.reason = reason
            pykka_registry.unregister(self.ref)
            self.ref.actor_stopped.set()
            self._condition.notify_all()  # a thread that waits for a message goes home
        handling = self._handling
        if handling is not None and handling.reply_to is not None and reason == ABANDONED:
            answer_dead(handling.reply_to, self.ref)
        self.abandon_queue()
        parent, self.parent = self.parent, None
        if parent is not None:
            parent.signal_child_exited(self.ref, reason)
        for monitor, watcher in (self.monitors or {}).items():
            watcher.down(Down(self.ref, reason, monitor))
        self.monitors = None
        for waiter in self.stop_waiters:
            answer(waiter, None)
        self.stop_waiters.clear()
        self.dispatcher.thread_lives.pop(self, None)
        self.dispatcher.forget(cast("Any", self))
        self.actor = None

    def discard(self) -> None:
        """End a life that was never started."""
        self.report(ABANDONED)

    def abandon_queue(self) -> None:
        """Answer what waits with an error."""
        while True:
            with self._condition:
                if not self.queue:
                    return
                item = self.queue.popleft()
            if type(item) is Envelope and item.reply_to is not None:
                if isinstance(item.message, _ActorStop):
                    answer(item.reply_to, None)
                else:
                    answer_dead(item.reply_to, self.ref)


class ThreadRef(pykka.ActorRef["ThreadActor"]):
    """Ref of a thread actor, with the exit signals of `supervisors.ref.Ref`."""

    @property
    def life(self) -> ThreadLife:
        """What the runtime keeps about this actor."""
        return cast("ThreadLife", self.actor_inbox)

    @property
    def exit_reason(self) -> ExitReason | None:
        """How the actor ended, or None while it lives."""
        return self.life.reason

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """As Pykka's; a full mailbox is an error of the answer, as with `Ref.ask`."""
        try:
            future = super().ask(message, block=False)
        except Overloaded:
            future = self.actor_class._create_future()
            future.set_exception()
        return future.get(timeout=timeout) if block else future

    def post(self, message: Any) -> bool:
        """As `tell`, but a dead receiver is no error; returns whether it was alive."""
        if not self.is_alive():
            return False
        self.life.put(message)
        return True

    def shutdown(self, reason: ExitReason = SHUTDOWN) -> None:
        """Have the actor leave in good order as soon as its thread looks at its mailbox."""
        self.life.signal("exit", reason)

    def kill(self, reason: ExitReason = ABANDONED) -> None:
        """Abandon the actor; see the module."""
        self.life.signal("kill", reason)


class ThreadActor(pykka.ThreadingActor):
    """Base of actors that block; one thread each. Exit reports go through the dispatcher it was started on."""

    use_daemon_thread: ClassVar[bool] = True
    """Whether the process may end while the thread runs: yes, since a thread that blocks cannot be ended."""

    mailbox_capacity: ClassVar[int | None] = None
    """As `Actor.mailbox_capacity`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        life = ThreadLife(self, Dispatcher.current(), self.mailbox_capacity)
        self._thread_life = life
        super().__init__(*args, **kwargs)
        self.actor_inbox = life
        self._actor_ref = life.ref = ThreadRef(self)

    @staticmethod
    def _create_future() -> Future[Any]:
        return Future()

    def exit(self, reason: ExitReason = NORMAL) -> None:
        """Leave with this reason after the message that is being handled."""
        self._thread_life.signal("exit", reason)

    def _start_actor_loop(self) -> None:
        life = self._thread_life
        try:
            life.dispatcher.adopt(cast("Any", life))
        except DispatcherStopped:
            life.discard()
            raise
        life.start()

    def _start_thread(self) -> None:
        super()._start_actor_loop()

    # --- The thread --------------------------------------------------------------------------------------

    def _actor_loop(self) -> None:
        life = self._thread_life
        life.thread = threading.current_thread()
        reason: ExitReason | None = None
        try:
            reason = self._start_up()
            while reason is None:
                envelope = life.get()
                if self.actor_stopped.is_set():
                    break  # abandoned, or stopped by its own hand
                reason = self._take(envelope)
                life._handling = None
                del envelope
        except BaseException as error:  # a fault of this package: the parent hears of the end all the same
            logger.critical(f"{self} could not be run on:", exc_info=error)
            reason = Crashed(error)
        life.leave_with(reason or NORMAL)

    def _start_up(self) -> ExitReason | None:
        try:
            self.on_start()
        except BaseException as error:  # the crash border
            self._handle_failure(*sys.exc_info())
            return Crashed(error)
        return NORMAL if self.actor_stopped.is_set() else None

    def _take(self, envelope: Envelope[Any]) -> ExitReason | None:
        """Handle a message; return the exit reason if it ended the actor."""
        message = envelope.message
        if type(message) is _Leave:
            return self._end(message.reason)
        if type(message) is _ActorStop:
            if envelope.reply_to is not None:
                self._thread_life.stop_waiters.append(envelope.reply_to)
            return self._end(NORMAL)
        self._thread_life.handled += 1
        return self._handle(envelope)

    def _end(self, reason: ExitReason) -> ExitReason:
        """Leave in good order: what `_stop` does, and the reason, if a failing hook makes it another one."""
        pykka_registry.unregister(self.actor_ref)
        self.actor_stopped.set()
        logger.debug(f"Stopped {self}")
        self._thread_life.note_stopping()
        try:
            self.on_stop()
        except BaseException as error:  # the crash border
            self._handle_failure(*sys.exc_info())
            return Crashed(error)
        return reason

    def _handle(self, envelope: Envelope[Any]) -> ExitReason | None:
        reply_to = envelope.reply_to
        try:
            response = self._handle_receive(envelope.message)
            if reply_to is not None:
                answer(reply_to, response)
        except Exception as error:
            if reply_to is not None:
                logger.info(f"Exception returned from {self} to caller:", exc_info=sys.exc_info())
                answer_error(reply_to)
                return NORMAL if self.actor_stopped.is_set() else None
            self._handle_failure(*sys.exc_info())
            try:
                self.on_failure(*sys.exc_info())
            except BaseException:  # the first error stays the reason
                self._handle_failure(*sys.exc_info())
            return Crashed(error)
        except BaseException as error:  # it ends this actor, not the process's others
            if reply_to is not None:
                answer_error(reply_to)
            logger.debug(f"{error_text(error)} in {self}. Stopping this actor.")
            logger.exception(f"{type(error).__name__} ended {self}:")
            self._end(NORMAL)
            return Crashed(error)
        finally:
            del envelope, reply_to  # see `Life._handle_envelope`
        return NORMAL if self.actor_stopped.is_set() else None
