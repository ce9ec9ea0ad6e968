"""Tools of servers as tools of the host: known before any session begins, and gated like all others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.services import Services, mcp_name
from asm_actors.tools.mcp_actor import CallServer, CancelCall, GetServerTools
from asm_actors.tools.mcp_values import ServerAnswer, ServerTool, server_error, tool_names
from asm_actors.tools.tool import Tool
from supervisors import ActorDeadError, Future

__all__ = ["ask_for_tools", "call_server", "tools_of_servers"]

_LOOK_AGAIN_S: Final = 0.02
_LOOK_AGAIN_MOST_S: Final = 1.0


def ask_for_tools(services: Services) -> dict[str, Future[tuple[ServerTool, ...]]]:
    """Ask all servers for their tools at once; a future fails with an `AsmError` that names its server."""
    found: dict[str, Future[tuple[ServerTool, ...]]] = {}
    for name in services.mcp_servers:
        ref = services.whereis(mcp_name(name))
        if ref is None:
            raise server_error(name, "could not be started")
        found[name] = ref.ask(GetServerTools(), block=False)
    return found


def tools_of_servers(services: Services, listed: Mapping[str, Iterable[ServerTool]]) -> dict[str, Tool]:
    """Make tools of what the servers list, by the names under which models know them.

    Raises:
        AsmError: A server lists no tool of a name that is wanted, or one that cannot be a tool; or a tool of the host
            has the name already.
    """
    made: dict[str, Tool] = {}
    for server, offered in listed.items():
        config = services.mcp_servers[server]
        chosen = _chosen(server, offered, config.tools)
        names = tool_names(server, chosen)
        for tool in chosen.values():
            name = names[tool.name]
            if name in services.tools or name in made:
                raise server_error(server, f"lists a tool {name!r}, which there is already")
            try:
                made[name] = Tool(
                    name=name,
                    description=tool.description,
                    input_schema=tool.input_schema,
                    function=_function(services, server, tool.name),
                    safe_to_repeat=tool.safe_to_repeat,
                    timeout=config.timeout,
                    requires_approval=config.requires_approval,
                )
            except AsmError as error:
                text = f"lists a tool {tool.name!r} that cannot be used (leave it out with `tools`): {error.message}"
                raise server_error(server, text) from error
    return made


def _chosen(
    server: str, offered: Iterable[ServerTool], wanted: tuple[str, ...] | None
) -> dict[str, ServerTool]:
    found = {tool.name: tool for tool in offered}
    if wanted is None:
        return found
    for name in wanted:
        if name not in found:
            raise server_error(server, f"has no tool {name!r}; it has {', '.join(found) or 'none'}")
    return {name: found[name] for name in wanted}


def _function(services: Services, server: str, tool: str) -> Callable[..., Any]:
    async def call(**arguments: Any) -> Any:
        answer = await call_server(services, server, tool, arguments)
        if answer.is_error:
            raise AsmError(ErrorCode.TOOL_EXECUTION_FAILED, str(answer.output), details={"server": server})
        return answer.output

    return call


async def call_server(
    services: Services, server: str, tool: str, arguments: Mapping[str, Any]
) -> ServerAnswer:
    """Call a tool of a server, waiting for one that is being started again. On the actors' event loop.

    Raises:
        ToolError: ``tool_execution_failed``: the server refused, ended meanwhile, or is given up.
    """
    pause = _LOOK_AGAIN_S
    while True:
        ref = services.whereis(mcp_name(server))
        if ref is not None:
            answer = await _ask(ref, server, tool, arguments)
            if answer is not None:
                return answer
        elif server in services.directory.lost_servers:
            text = "crashed too often and is given up"
            raise server_error(server, text, ErrorCode.TOOL_EXECUTION_FAILED)
        await asyncio.sleep(pause)
        pause = min(_LOOK_AGAIN_MOST_S, pause * 2)


async def _ask(ref: Any, server: str, tool: str, arguments: Mapping[str, Any]) -> ServerAnswer | None:
    key = object()
    asked: Future[ServerAnswer | None] = ref.ask(CallServer(key, tool, arguments), block=False)
    try:
        return await asked
    except asyncio.CancelledError:
        ref.post(CancelCall(key))
        raise
    except ActorDeadError as error:
        text = f"ended while {tool} was called; the call may have had its effect"
        raise server_error(server, text, ErrorCode.TOOL_EXECUTION_FAILED) from error
