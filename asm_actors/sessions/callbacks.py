"""Event callbacks: a user's function is told each event of a run while the caller waits for the result.

It runs on the caller's thread (or event loop), is fed by a subscription of its own, and so can neither slow anybody
down nor miss anything. One that raises harms only itself: the log has it once, the result counts it, the run goes on.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

import attrs

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.journal.follow import AsyncSubscription, Subscription
from asm_actors.journal.query import EventFilter
from asm_actors.journal.subscription import Scope
from asm_actors.runs.result import RunResult
from asm_actors.serialization import invalid
from supervisors import Future

__all__ = ["Callbacks", "EventCallback", "check_callback", "follow", "follow_async", "scope_of_run"]

logger = logging.getLogger("asm_actors.callbacks")

EventCallback = Callable[[Event], Any]


class Callbacks:
    """Calls a user's function, and counts when it raises."""

    def __init__(self, callback: EventCallback, run_id: str) -> None:
        self._callback = callback
        self._run_id = run_id
        self._failures = 0

    def _failed(self) -> None:
        self._failures += 1
        if self._failures == 1:
            logger.error(
                "event_callback of run %s raised; the run goes on",
                self._run_id,
                exc_info=True,  # noqa: LOG014 - called in a handler
            )

    def call(self, event: Event) -> None:
        try:
            self._callback(event)
        except Exception:  # the user's, and harms only itself
            self._failed()

    async def call_async(self, event: Event) -> None:
        try:
            called = self._callback(event)
            if inspect.isawaitable(called):
                await called
        except Exception:  # as above
            self._failed()

    def counted(self, result: RunResult) -> RunResult:
        return attrs.evolve(result, callback_failures=self._failures) if self._failures else result


def check_callback(callback: Any) -> None:
    """Refuse what cannot be called.

    Raises:
        ValidationError: It is not callable.
    """
    if not callable(callback):
        raise invalid("event_callback", "must be callable with an event", callback)


def scope_of_run(session_id: str, run_id: str, *, may_come: bool = False) -> Scope:
    """The events of one run; `may_come` if its session is being made just now."""
    return Scope(session_id, EventFilter(run_ids=run_id), may_come)


def follow(
    subscription: Subscription, run_id: str, result: Future[RunResult], callback: EventCallback
) -> RunResult:
    """Tell a callback the events of a run until its result is there, and all of them; return the result.

    Raises:
        AsmError: How the run ended, if it did not complete; its events were told all the same.
    """
    callbacks = Callbacks(callback, run_id)
    # The result comes after the last event is durable: once it is there, nothing need be waited for.
    result.add_done_callback(lambda _: subscription.hurry())
    with subscription:
        is_last = False
        while not is_last:
            is_done = result.is_done
            try:
                events = subscription.pull()
            except AsmError as error:
                if error.code is not ErrorCode.STREAM_CLOSED:
                    raise
                break  # the system stops; the result says what became of the run
            for event in events:
                callbacks.call(event)
            is_last = subscription.is_over or (is_done and not events)
    return callbacks.counted(result.get())


async def follow_async(
    subscription: AsyncSubscription, run_id: str, result: Future[RunResult], callback: EventCallback
) -> RunResult:
    """As `follow`, awaited; the callback may be a coroutine function."""
    callbacks = Callbacks(callback, run_id)
    result.add_done_callback(lambda _: subscription.hurry())
    async with subscription:
        is_last = False
        while not is_last:
            is_done = result.is_done
            try:
                events = await subscription.pull()
            except AsmError as error:
                if error.code is not ErrorCode.STREAM_CLOSED:
                    raise
                break
            for event in events:
                await callbacks.call_async(event)
            is_last = subscription.is_over or (is_done and not events)
    return callbacks.counted(await result)
