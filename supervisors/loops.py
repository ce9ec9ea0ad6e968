"""How a dispatcher's asyncio loop begins and ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Coroutine
from typing import Any

__all__ = ["new_loop", "wind_up"]

logger = logging.getLogger("supervisors")

# For tasks that do not end when they are cancelled: nobody is left who waits for them.
_LAST_GRACE_S = 1.0


def new_loop() -> asyncio.AbstractEventLoop:
    """Make a loop: uvloop's if it is installed, for it wakes and sleeps at a third of the cost."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def wind_up(
    loop: asyncio.AbstractEventLoop, whose: str, given_up: Collection[asyncio.Task[Any]] = ()
) -> bool:
    """Cancel the tasks that are left on a loop that was stopped, twice if need be, and close its async generators.

    Args:
        loop: The loop; it is not closed.
        whose: Names it in the log, where a task that refuses to be cancelled is named.
        given_up: Tasks that had their time to end; they are cancelled again, and not waited for.

    Returns:
        Whether no task is left behind.
    """
    for _ in range(2):
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        awaited = tasks.difference(given_up)
        _run(loop, asyncio.wait(awaited, timeout=_LAST_GRACE_S) if awaited else asyncio.sleep(0))
    left = asyncio.all_tasks(loop)
    _run(loop, loop.shutdown_asyncgens())
    for task in left:
        logger.error(f"{task.get_name()} of {whose} refuses to be cancelled and is left behind: {task!r}")
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # it has been logged
    return not left


def _run(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> None:
    """Run to the end whatever other tasks throw at the loop meanwhile."""
    task = loop.create_task(work)
    while not task.done():
        with contextlib.suppress(BaseException):
            loop.run_until_complete(task)
