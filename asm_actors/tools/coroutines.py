"""A call of a tool that is a coroutine function: a task of its own, which can be given up.

The task belongs to no actor: one that takes no notice of its cancellation holds up nobody for longer than its leash.
Whatever the tool raises is a value here, so nothing of it passes through the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Leash", "OverTime", "call_coroutine"]

logger = logging.getLogger("asm_actors.tools")

Ended = tuple[Any, BaseException | None]


class Leash(NamedTuple):
    """What becomes of a call that is cancelled, or over its time."""

    patience_s: Callable[[], float | None] = lambda: None
    """Asked when it is cancelled: seconds for which its end is waited for; None: without a bound."""
    give_up: Callable[[asyncio.Task[Any]], object] = lambda _: None
    """Told of the task that did not end, and is left behind."""


class OverTime(Exception):  # noqa: N818 - it is no error of whoever raises it
    """The tool's time is over; `is_left` if it could not be stopped."""

    def __init__(self, *, is_left: bool) -> None:
        super().__init__(is_left)
        self.is_left = is_left


async def call_coroutine(
    function: Callable[..., Any],
    given: dict[str, Any],
    name: str,
    timeout: float | None,  # noqa: ASYNC109 - the tool's, and what is raised then says more
    leash: Leash,
) -> Ended:
    """Call a coroutine function and wait for its end.

    Args:
        function: What to call.
        given: Its arguments, by name.
        name: The tool's.
        timeout: Seconds that it may take; None for no bound.
        leash: What becomes of it if it does not end when it is cancelled.

    Returns:
        What it returned and None, or None and what it raised.

    Raises:
        OverTime: It did not end in its time.
        CancelledError: This call was cancelled, and so the tool.
    """
    task = asyncio.get_running_loop().create_task(_attempt(function, given), name=f"tool {name}")
    try:
        await asyncio.wait((task,), timeout=timeout)
    except asyncio.CancelledError:
        await _stopped(task, name, leash)
        raise
    if not task.done():
        if not await _stopped(task, name, leash):
            raise OverTime(is_left=True)
        if task.cancelled() or isinstance(task.result()[1], asyncio.CancelledError):
            raise OverTime(is_left=False)
    return task.result()


async def _attempt(function: Callable[..., Any], given: dict[str, Any]) -> Ended:
    try:
        return await function(**given), None
    except BaseException as error:  # an exit, too, is the tool's failure and nobody else's
        return None, error


async def _stopped(task: asyncio.Task[Any], name: str, leash: Leash) -> bool:
    """Cancel the tool and tell whether it ended in the time that it has for that."""
    task.cancel()
    try:
        await asyncio.wait((task,), timeout=leash.patience_s())
    finally:  # whoever cancels this a second time does not want to wait
        if not task.done():
            logger.warning("tool %s was given up; it takes no notice of its cancellation and goes on", name)
            leash.give_up(task)
    return task.done()
