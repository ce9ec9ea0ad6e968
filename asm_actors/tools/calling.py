"""One call of a host's tool, carried out: on the actors' event loop or on a thread for tools, within its time.

Runs as a task of the run's actor. Whatever the tool raises is the call's failure, not the actor's.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from asm_actors.errors import AsmError, ErrorCode, text_of
from asm_actors.tools.context import ToolContext
from asm_actors.tools.coroutines import Leash, OverTime, call_coroutine
from asm_actors.tools.threads import ToolThreads
from asm_actors.tools.tool import Tool

__all__ = ["call_tool"]

logger = logging.getLogger("asm_actors.tools")
_NO_LEASH = Leash()


async def call_tool(
    tool: Tool,
    arguments: dict[str, Any],
    threads: ToolThreads,
    context: ToolContext | None = None,
    leash: Leash = _NO_LEASH,
) -> tuple[Any, AsmError | None]:
    """Call a tool and wait for its end.

    Args:
        tool: Which tool.
        arguments: Its arguments, by name, as the model gave them.
        threads: Where plain functions run.
        context: Which call it is, if the tool wants to know.
        leash: What becomes of a coroutine that does not end when it is cancelled.

    Returns:
        What it returned and None; or None and how it failed: ``tool_execution_failed``, or what it raised if that is an
        `AsmError`.
    """
    limit: asyncio.Timeout | None = None
    try:
        given = tool.prepared(arguments, context)
        if tool.is_async:
            ended = await call_coroutine(tool.function, given, tool.name, tool.timeout, leash)
            return _told(tool, *ended)
        async with threads.place(tool.name) as place, asyncio.timeout(tool.timeout) as limit:
            return _told(tool, *await place.run(lambda: _attempt(tool, given)))
    except OverTime as error:
        return None, _over_time(tool, error, is_left=error.is_left)
    except TimeoutError as error:
        if limit is None or not limit.expired():
            return None, _failed(tool, error)  # the tool's own
        return None, _over_time(tool, error)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise  # the run's doing
        return None, _failed(tool, error)
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # of what makes the arguments
        return None, _failed(tool, error)
    finally:
        if context is not None:
            context.cancel()


def _attempt(tool: Tool, given: dict[str, Any]) -> tuple[Any, BaseException | None]:
    try:
        return tool.function(**given), None
    except BaseException as error:  # not every exception can cross over to the event loop
        return None, error


def _told(tool: Tool, output: Any, raised: BaseException | None) -> tuple[Any, AsmError | None]:
    return output, None if raised is None else _failed(tool, raised)


def _over_time(tool: Tool, error: Exception, *, is_left: bool = False) -> AsmError:
    text = f"{tool.name} did not finish within {tool.timeout:g} s"
    if is_left:
        text += "; it could not be stopped and goes on"
    return AsmError.wrap(ErrorCode.TOOL_EXECUTION_FAILED, error, text)


def _failed(tool: Tool, error: BaseException) -> AsmError:
    logger.info("tool %s failed", tool.name, exc_info=error)
    if isinstance(error, AsmError):
        return error
    text = text_of(error)
    return AsmError.wrap(
        ErrorCode.TOOL_EXECUTION_FAILED,
        error,
        f"{tool.name} failed: {type(error).__name__}{': ' if text else ''}{text}",
    )
