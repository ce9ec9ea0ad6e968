"""One call of a host's tool, carried out: on the actors' event loop or on a thread of the pool, within its time.

Runs as a task of the run's actor. Whatever the tool raises is the call's failure, not the actor's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.tools.tool import Tool

__all__ = ["call_tool"]

logger = logging.getLogger("asm_actors.tools")


async def call_tool(
    tool: Tool, arguments: dict[str, Any], blocking: Callable[..., asyncio.Future[Any]]
) -> tuple[Any, AsmError | None]:
    """Call a tool and wait for its end.

    Args:
        tool: Which tool.
        arguments: Its arguments, by name.
        blocking: Runs a function in a pool of threads.

    Returns:
        What it returned and None; or None and how it failed: ``tool_execution_failed``.
    """

    def on_thread() -> tuple[Any, BaseException | None]:
        try:
            return tool.function(**arguments), None
        except BaseException as error:  # not every exception can cross over to the event loop
            return None, error

    try:
        async with asyncio.timeout(tool.timeout) as limit:
            if tool.is_async:
                return await tool.function(**arguments), None
            output, raised = await blocking(on_thread)
            return output, None if raised is None else _failed(tool, raised)
    except TimeoutError as error:
        if not limit.expired():
            return None, _failed(tool, error)  # the tool's own
        if not tool.is_async:
            logger.warning("tool %s is over its time; its thread cannot be stopped and goes on", tool.name)
        text = f"{tool.name} did not finish within {tool.timeout:g} s"
        return None, AsmError.wrap(ErrorCode.TOOL_EXECUTION_FAILED, error, text)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise  # the run's doing
        return None, _failed(tool, error)
    except (Exception, SystemExit) as error:  # the tool's own: the model is told, the run goes on
        return None, _failed(tool, error)


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
