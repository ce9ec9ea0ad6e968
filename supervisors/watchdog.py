"""`Watchdog`: names the actor that holds a dispatcher's thread, while it does, with the stack it hangs at.

A thread looks from time to time; so it sees a handler that never returns, which no measurement afterwards would.

1. One incident is counted and logged once: by the thread while it lasts, else by the dispatcher when it is over.
2. A slice of an actor is watched from its start. An owned task cannot be: it is suspected when two looks in a row
   meet it at work, and an incident when the loop does not answer either until the next look. Nothing is asked of the
   loop while it has nothing to do, so that an idle process sleeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
import traceback
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supervisors.loop_dispatcher import LoopDispatcher

__all__ = ["Watchdog"]

logger = logging.getLogger("supervisors")

_ADVICE = "handlers must be short: move waiting into an owned task (spawn) and blocking calls into the pool (blocking)"


class Watchdog:
    """Watches one dispatcher; see the module.

    Attributes:
        held: How many incidents there were.
        held_by: Who held the thread at the last one.
        longest_s: The longest time, in seconds, that an incident is known to have lasted.
    """

    def __init__(self, dispatcher: LoopDispatcher) -> None:
        self._dispatcher = dispatcher
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        # What was counted last: a slice, or a task. By identity: each slice is a tuple of its own.
        self._counted: Any = None
        self._suspect: Any = None
        self._suspect_since = 0.0
        self._answered = threading.Event()
        self.held = 0
        self.held_by: str | None = None
        self.longest_s = 0.0

    def open(self, thread_id: int, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch."""
        self._end.clear()
        name = f"{self._dispatcher.name}-watchdog"
        self._thread = threading.Thread(target=self._watch, args=(thread_id, loop), name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching, and wait for the thread."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def note(self, running: tuple[Any, float], seconds: float) -> None:
        """Take note of a slice that is over and was too long (dispatcher's thread)."""
        who = str(running[0].ref)
        if self._count(running, who, seconds):
            logger.warning(
                f"{who} held the dispatcher {self._dispatcher.name} for {seconds:.3f} s; {_ADVICE}"
            )

    def _count(self, incident: Any, who: str, seconds: float) -> bool:
        with self._lock:
            self.longest_s = max(self.longest_s, seconds)
            if self._counted is incident:
                return False
            self._counted = incident
            self.held += 1
            self.held_by = who
            return True

    def _watch(self, thread_id: int, loop: asyncio.AbstractEventLoop) -> None:
        limit = self._dispatcher.hold_limit_s
        while not self._end.wait(limit):
            running = self._dispatcher.running
            if running is None:
                self._look_at_task(thread_id, loop)
            elif (seconds := perf_counter() - running[1]) >= limit:
                self._catch(running, str(running[0].ref), seconds, thread_id)

    def _catch(self, incident: Any, who: str, seconds: float, thread_id: int) -> None:
        if self._count(incident, who, seconds):
            frame = sys._current_frames().get(thread_id)
            stack = "".join(traceback.format_stack(frame)) if frame is not None else "(no stack)"
            logger.warning(
                f"{who} is holding the dispatcher {self._dispatcher.name}; {_ADVICE}. Now at:\n{stack}"
            )

    def _look_at_task(self, thread_id: int, loop: asyncio.AbstractEventLoop) -> None:
        task = asyncio.current_task(loop)
        if task is None or task is not self._suspect or self._answered.is_set():
            self._suspect, self._suspect_since = task, perf_counter()
            if task is not None:
                self._answered = threading.Event()  # a new one: it also stands for the incident
                with contextlib.suppress(RuntimeError):  # closed meanwhile
                    loop.call_soon_threadsafe(self._answered.set)
            return
        lives = tuple(self._dispatcher.lives)
        owner = next((life.ref for life in lives if task in (getattr(life, "tasks", None) or ())), "nobody")
        who = f"task {task.get_name()} of {owner}"
        self._catch(self._answered, who, perf_counter() - self._suspect_since, thread_id)
