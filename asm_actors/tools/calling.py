"""One call of a host's tool, carried out: on the actors' event loop or on a thread for tools, within its time.

Runs as a task of the run's actor. Whatever the tool raises is the call's failure, not the actor's.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.tools.context import ToolContext
from asm_actors.tools.threads import ToolThreads
from asm_actors.tools.tool import Tool

__all__ = ["call_tool"]

logger = logging.getLogger("asm_actors.tools")


async def call_tool(
    tool: Tool, arguments: dict[str, Any], threads: ToolThreads, context: ToolContext | None = None
) -> tuple[Any, AsmError | None]:
    """Call a tool and wait for its end.

    Args:
        tool: Which tool.
        arguments: Its arguments, by name, as the model gave them.
        threads: Where plain functions run.
        context: Which call it is, if the tool wants to know.

    Returns:
        What it returned and None; or None and how it failed: ``tool_execution_failed``, or what it raised if that is an
        `AsmError`.
    """
    limit: asyncio.Timeout | None = None
    try:
        given = tool.prepared(arguments, context)
        if tool.is_async:
            async with asyncio.timeout(tool.timeout) as limit:
                return await tool.function(**given), None
        async with threads.place(tool.name) as place, asyncio.timeout(tool.timeout) as limit:
            output, raised = await place.run(lambda: _attempt(tool, given))
            return output, None if raised is None else _failed(tool, raised)
    except TimeoutError as error:
        if limit is None or not limit.expired():
            return None, _failed(tool, error)  # the tool's own
        text = f"{tool.name} did not finish within {tool.timeout:g} s"
        return None, AsmError.wrap(ErrorCode.TOOL_EXECUTION_FAILED, error, text)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise  # the run's doing
        return None, _failed(tool, error)
    except (Exception, SystemExit) as error:  # the tool's own: the model is told, the run goes on
        return None, _failed(tool, error)
    finally:
        if context is not None:
            context.cancel()


def _attempt(tool: Tool, given: dict[str, Any]) -> tuple[Any, BaseException | None]:
    try:
        return tool.function(**given), None
    except BaseException as error:  # not every exception can cross over to the event loop
        return None, error


def _failed(tool: Tool, error: BaseException) -> AsmError:
    logger.info("tool %s failed", tool.name, exc_info=error)
    if isinstance(error, AsmError):
        return error
    text = str(error)
    return AsmError.wrap(
        ErrorCode.TOOL_EXECUTION_FAILED,
        error,
        f"{tool.name} failed: {type(error).__name__}{': ' if text else ''}{text}",
    )
