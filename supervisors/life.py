"""`Life`: everything the runtime keeps about one actor between its start and its last report.

It is the actor's mailbox, its links (parent, children, monitors) and its end, in one object, because a process may
hold 100,000 of them. Rules that hold here and nowhere else:

1. Only the dispatcher's thread runs handlers, takes messages, and changes links. Other threads use `mailbox.py`.
2. Signals (shut down, kill, crash of a task) overtake messages.
3. Each life ends once: phase goes RUNNING -> STOPPING -> DEAD and exactly one report goes to the parent and to each
   monitor, after the hooks ran, the children are gone and the owned tasks were awaited. The first reason stays, but
   what fails during an orderly end makes it a crash, and a kill makes any end a kill: it ended the waiting.
4. Nothing that is asked is left without an answer: whatever is in the mailbox at the end, slips in later, or was to
   be answered later, is answered with `ActorDeadError`.
5. No exception leaves this file, whatever the actor does: the turn of the others goes on.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from threading import get_ident
from typing import TYPE_CHECKING, Any
from weakref import ref as weak

from pykka._envelope import Envelope
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

from supervisors import pykka_registry
from supervisors.exits import KILLED, NORMAL, SHUTDOWN, Crashed, ExitReason, describe, error_text, is_abnormal
from supervisors.mailbox import (
    DEAD,
    NEW,
    RUNNING,
    STOPPING,
    Mailbox,
    StopFlag,
    answer,
    answer_dead,
    answer_error,
)
from supervisors.notices import ChildExited, Down, Monitor

if TYPE_CHECKING:
    import asyncio

    from supervisors.actor import Actor
    from supervisors.dispatcher import Dispatcher
    from supervisors.timers import Timer

__all__ = ["DEAD", "NEW", "RUNNING", "STOPPING", "Life", "StopFlag"]

logger = logging.getLogger("pykka")

# The response to an ask that is answered later, by somebody else.
_LATER: Any = object()
_PYKKA_MESSAGES = frozenset({_ActorStop, ProxyCall, ProxyGetAttr, ProxySetAttr})


class Life(Mailbox):
    """Links and end of one actor, and its mailbox; see the module for its rules."""

    __slots__ = (
        "__weakref__",
        "actor",
        "asking",
        "children",
        "handled",
        "leaving",
        "monitoring",
        "monitors",
        "parent",
        "promised",
        "reason",
        "tasks",
        "timers",
    )

    def __init__(self, actor: Actor, dispatcher: Dispatcher, capacity: int | None) -> None:
        super().__init__(dispatcher, capacity)
        self.actor: Any = actor
        self.handled = 0
        self.reason: ExitReason | None = None
        # Set by `Actor.exit()`: leave with this reason once the running handler is through.
        self.leaving: ExitReason | None = None
        # The future of the ask that is being handled, for `Actor.reply_later()`, and those it gave out.
        self.asking: Any = None
        # In order, so that a simulation's askers hear of an end in the same order each time.
        self.promised: dict[Any, None] | None = None
        self.parent: Life | None = None
        self.children: dict[Any, None] | None = None
        self.monitors: dict[Monitor, Any] | None = None
        self.monitoring: set[Monitor] | None = None
        # In the order of their start, so that a simulation cancels them in the same order each time.
        self.tasks: dict[asyncio.Task[Any], None] | None = None
        self.timers: set[Timer] | None = None

    # --- Running -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Run `on_start`; a failure ends the life.

        Raises:
            BaseException: What `on_start` raised, after the life has begun to end.
        """
        self.phase = RUNNING
        try:
            self.actor.on_start()
        except BaseException as error:
            self._fail(error, "none")
            raise
        if self.leaving is not None:
            self.end(self.leaving)

    def run(self, limit: int) -> int:
        """Handle at most `limit` messages; return how many. `has_work()` tells whether there is more."""
        if self.signals is not None:
            self._take_signals()
        if self.leaving is not None and self.phase == RUNNING:
            self.end(self.leaving)  # a task or a callback called `exit()` while messages waited
        if self.phase != RUNNING:
            if self.phase != NEW:
                self.refuse_queue(is_over=self.phase == DEAD)
            return 0
        waiting, take = self.queue.qsize, self.queue.get_nowait
        actor = self.actor
        left = limit
        while left and waiting():
            left -= 1
            item = take()
            if type(item) is Envelope:
                self._handle_envelope(actor, item)
                item = None  # see there
            else:
                try:
                    if type(item) in _PYKKA_MESSAGES:
                        self._handle_pykka(actor, item, None)
                    else:
                        actor.on_receive(item)
                except BaseException as error:  # the crash border: whatever it is, it ends this actor only
                    self._fail(error, "failure")
            if self.leaving is not None and self.phase == RUNNING:
                self.end(self.leaving)
            if self.signals is not None:
                self._take_signals()
            if self.phase != RUNNING:
                break
        self.handled += limit - left
        return limit - left

    def has_work(self) -> bool:
        """Whether there is something to do now."""
        return self.signals is not None or (self.phase == RUNNING and not self.queue.empty())

    def _handle_envelope(self, actor: Actor, envelope: Envelope[Any]) -> None:
        message, reply_to = envelope.message, envelope.reply_to
        try:
            if type(message) in _PYKKA_MESSAGES:
                response = self._handle_pykka(actor, message, reply_to)
            else:
                self.asking = reply_to
                response = actor.on_receive(message)
                reply_to, self.asking = self.asking, None
            if reply_to is not None and response is not _LATER:
                reply_to.set(response)
        except Exception as error:
            self.asking = None
            if reply_to is None or getattr(reply_to, "is_done", False):
                self._fail(error, "failure")
            else:
                logger.info(f"Exception returned from {actor} to caller:", exc_info=sys.exc_info())
                answer_error(reply_to)
        except BaseException as error:  # ends this actor, not the process's others
            self.asking = None
            if reply_to is not None:
                answer_error(reply_to)
            self._fail(error, "stop")
        # An exception's traceback keeps this frame and its callers': with these in them, it would keep itself.
        del envelope, reply_to

    def _handle_pykka(self, actor: Actor, message: Any, reply_to: Any) -> Any:
        if type(message) is not _ActorStop:
            return actor._handle_receive(message)
        if reply_to is not None:
            self.stop_waiters = [*(self.stop_waiters or ()), reply_to]
        self._request_exit(NORMAL)
        return _LATER

    def _take_signals(self) -> None:
        while signals := self.take_signals():
            for kind, detail in signals:
                self._take_signal(kind, detail)

    def _take_signal(self, kind: str, detail: Any) -> None:
        phase = self.phase
        if kind == "kill":
            self._die_at_once(detail or KILLED)
        elif kind == "crash" and phase != RUNNING:
            self._note_late(detail)
        elif kind == "crash":
            self._fail(detail, "failure")
        elif kind == "start" and phase == NEW:
            with suppress(BaseException):  # logged and reported by start(); nobody waits for it
                self.start()
        elif kind == "exit" and phase == NEW:
            self.leaving = self.leaving or detail  # told to go before its start: it starts and goes
        elif kind == "exit" and phase == RUNNING:
            self._request_exit(detail)
        elif phase == RUNNING and self.leaving is not None:
            self.end(self.leaving)

    def _request_exit(self, reason: ExitReason) -> None:
        try:
            deferred = self.actor.on_exit_request(reason)
        except BaseException as error:  # the crash border
            self._fail(error, "failure")
            return
        if self.leaving is not None and self.phase == RUNNING:
            self.end(self.leaving)
        elif not deferred:
            self.end(reason)

    # --- The end -----------------------------------------------------------------------------------------

    def end(self, reason: ExitReason) -> None:
        """Begin an orderly end: `on_stop`, then children, then tasks, then the report."""
        if self.phase != RUNNING:
            return
        self._leave(reason)
        try:
            self.actor.on_stop()
        except BaseException as error:  # the crash border; the end goes on
            self._log_failure(error)
            self.reason = Crashed(error)
        self._wind_up()

    def _fail(self, error: BaseException, hook: str) -> None:
        """End as crashed; `hook` is `failure`, `stop`, or `none` for an actor that never started."""
        if self.phase != RUNNING:
            self._note_late(error)
            return
        actor = self.actor
        exc_info = (type(error), error, error.__traceback__)
        try:
            if isinstance(error, Exception):
                self.phase, self.reason = STOPPING, Crashed(error)
                actor._handle_failure(*exc_info)  # Pykka's own: logs, unregisters, sets the stop flag
                if hook == "failure":
                    actor.on_failure(*exc_info)
            else:
                # Pykka would stop every actor of the process here; a supervisor decides about this one instead.
                logger.debug(f"{error_text(error)} in {actor}. Stopping this actor.")
                logger.error(f"{type(error).__name__} ended {actor}:", exc_info=exc_info)
                self.dispatcher.note_interrupt(error)
                self._leave(Crashed(error))
                if hook != "none":
                    actor.on_stop()
        except BaseException as second:  # the crash border; the first error stays the reason
            self._log_failure(second)
        self._wind_up()

    def _log_failure(self, error: BaseException) -> Any:
        self.dispatcher.note_interrupt(error)
        with suppress(BaseException):  # of an actor whose own text cannot be made, say
            return self.actor._handle_failure(type(error), error, error.__traceback__)
        logger.error(f"Unhandled exception in {self.ref}:", exc_info=error)
        pykka_registry.unregister(self.ref)
        self.stopped.set()
        return None

    def _leave(self, reason: ExitReason) -> None:
        self.phase, self.reason = STOPPING, reason
        pykka_registry.unregister(self._ref)
        self.stopped.set()
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug(f"Stopped {self.actor}")

    def _wind_up(self) -> None:
        for timer in tuple(self.timers or ()):
            timer.cancel()
        if self.children:
            for child in reversed(tuple(self.children)):
                child.life.signal("exit", SHUTDOWN)
        for task in tuple(self.tasks or ()):
            task.cancel()
        if not self.queue.empty():
            self.refuse_queue(is_over=False)
        self._finish_if_quiet()

    def _finish_if_quiet(self) -> None:
        # A loop, since the end of a last child may be the end of its parent, and so on up a tree of any depth.
        life: Life | None = self
        while life is not None and life.phase == STOPPING and not life.children and not life.tasks:
            life = life._report()

    def _die_at_once(self, reason: ExitReason) -> None:
        if self.phase == DEAD:
            return
        family: list[Any] = [self]
        for life in family:  # grows meanwhile: everybody below
            family.extend(child.life for child in life.children or ())
            life.children = None
        for life in reversed(family[1:]):
            life.parent = None  # which dies as well and need not hear of it
            life._cut(KILLED)
        parent = self._cut(reason)
        if parent is not None:
            parent._finish_if_quiet()

    def _cut(self, reason: ExitReason) -> Life | None:
        """End now, without hooks and without waiting for tasks."""
        if self.phase != STOPPING:
            self._leave(reason)
        self.reason = reason
        for timer in tuple(self.timers or ()):
            timer.cancel()
        for task in tuple(self.tasks or ()):
            task.cancel()
        return self._report()

    def _report(self) -> Life | None:
        """Make the one report of this life; return the parent, which may have waited for it."""
        assert self.phase == STOPPING
        assert self.reason is not None
        self.phase = DEAD
        reason, ref = self.reason, self._ref
        self.refuse_queue(is_over=True)
        if self.promised:
            for promise in tuple(self.promised):
                answer_dead(promise, ref)
            self.promised = None
        if self.monitoring:
            for monitor in self.monitoring:
                watched = monitor.target.life.monitors
                if watched is not None:
                    watched.pop(monitor, None)
            self.monitoring = None
        parent, self.parent = self.parent, None
        if parent is not None:
            parent._child_exited(ref, reason)
        if self.monitors:
            for monitor, watcher in self.monitors.items():
                watcher.down(Down(ref, reason, monitor))
            self.monitors = None
        if self.stop_waiters:
            for waiter in self.stop_waiters:
                answer(waiter, None)
            self.stop_waiters = None
        self.dispatcher.forget(self)
        # Refs to a dead actor may be kept for long, and its attributes be large. The link to the ref is weak from now
        # on, for the ref holds this life: all of it goes with the last ref, without a collector.
        self.actor = None
        self.children = None
        self._ref = weak(ref)
        return parent

    def discard(self) -> None:
        """End a life that was never started: nobody will hear of it but those who asked it something."""
        if self.phase == NEW:
            self._leave(KILLED)
            self._report()

    # --- Links -------------------------------------------------------------------------------------------

    def signal_child_exited(self, ref: Any, reason: ExitReason) -> None:
        """Take a child's exit report: a message while running, the next step of the end while stopping."""
        self._child_exited(ref, reason)
        self._finish_if_quiet()

    def _child_exited(self, ref: Any, reason: ExitReason) -> None:
        if self.children is not None and ref in self.children:
            del self.children[ref]
            if self.phase == RUNNING:
                self.put_notice(ChildExited(ref, reason))

    def down(self, notice: Down) -> None:
        """Take the answer to a monitor."""
        if self.monitoring is not None:
            self.monitoring.discard(notice.monitor)
        self.put_notice(notice)

    def keep_promise(self, promise: Any) -> None:
        """Forget a promised answer that was given; on the thread that gave it."""
        promised = self.promised
        if promised is not None:
            promised.pop(promise, None)
            # An empty dict takes more than the whole mailbox. Only here may none be added meanwhile.
            if not promised and get_ident() == self.dispatcher.thread_id:
                self.promised = None

    def task_done(self, task: asyncio.Task[Any]) -> None:
        """Forget an owned task; its crash is the owner's crash."""
        if self.tasks is not None:
            self.tasks.pop(task, None)
        if not task.cancelled():
            error = task.exception()
            if error is not None:
                if self.phase == RUNNING:
                    self.signal("crash", error)
                else:
                    self._note_late(error)
        if self.phase == STOPPING:
            self._finish_if_quiet()

    def _note_late(self, error: BaseException) -> None:
        """Something failed after the end began: no hook runs again, but it is not lost."""
        logger.error(f"{self.ref} failed while it was being stopped:", exc_info=error)
        self.dispatcher.note_interrupt(error)
        if self.phase == STOPPING and self.reason is not None and not is_abnormal(self.reason):
            self.reason = Crashed(error)

    def __str__(self) -> str:
        state = ("new", "running", "stopping", "dead")[self.phase]
        ending = f", {describe(self.reason)}" if self.reason is not None else ""
        return f"<life of {self.ref}: {state}{ending}, {len(self.queue)} waiting>"
