"""The actor of one server of tools: has the connection, and carries the calls of all runs to it.

A connection that is lost is this actor's crash: the tree starts it again with a growing pause, and with it a new
process. Calls that were under way fail, for nobody knows what became of them; those that come meanwhile wait. What a
server lists when the system starts are its tools until the system stops.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from attrs import frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.services import Services
from asm_actors.tools.mcp_values import McpConnection, NotConnectedError, ServerTool, server_error
from supervisors import Actor, Future
from supervisors.exits import ExitReason

__all__ = ["CallServer", "CancelCall", "GetServerTools", "McpServerActor", "McpServerStatistics"]

logger = logging.getLogger("asm_actors.mcp")


class GetServerTools(NamedTuple):
    """Ask for what the server offers; answered with `ServerTool`s when it is known, or with why it cannot be."""


class CallServer(NamedTuple):
    """Call a tool; answered with a `ServerAnswer`, or with None if the server could not be asked (any more)."""

    key: object
    """Names the call for `CancelCall`."""
    tool: str
    """The tool, as the server calls it."""
    arguments: Mapping[str, Any]
    """Its arguments."""


class CancelCall(NamedTuple):
    """Give up a call; its asker waits no more."""

    key: object
    """Which."""


@frozen
class McpServerStatistics:
    """A server's actor at one moment.

    Attributes:
        name: The server.
        is_open: Whether it is connected.
        in_flight: Calls that it answers.
        waiting: Calls that wait for it to be connected.
        called: Calls since this life began.
    """

    name: str
    is_open: bool
    in_flight: int
    waiting: int
    called: int


class McpServerActor(Actor):
    """See the module.

    Args:
        services: The system's.
        name: Which of its servers.
    """

    def __init__(self, services: Services, name: str) -> None:
        super().__init__()
        self._name = name
        self._server = services.mcp_servers[name]
        self._connection: McpConnection = self._server.connect(name)
        self._tools: tuple[ServerTool, ...] | None = None
        self._asking: list[Future[Any]] = []
        self._waiting: dict[object, tuple[CallServer, Future[Any]]] = {}
        self._calls: dict[object, asyncio.Task[None]] = {}
        self._called = 0
        self._is_leaving = False

    def statistics(self) -> McpServerStatistics:
        """Numbers of this moment."""
        return McpServerStatistics(
            self._name, self._tools is not None, len(self._calls), len(self._waiting), self._called
        )

    def on_start(self) -> None:
        self.spawn(self._serve(), name=f"mcp-{self._name}")

    def on_receive(self, message: Any) -> Any:
        kind = type(message)
        if kind is GetServerTools:
            if self._tools is not None:
                return self._tools
            asking = self.reply_later()
            if asking is not None:
                self._asking.append(asking)
        elif kind is CallServer:
            asking = self.reply_later()
            if asking is None:
                pass  # nobody wants to know
            elif self._tools is None:
                self._waiting[message.key] = (message, asking)
            else:
                self._begin(message, asking)
        elif kind is CancelCall:
            self._waiting.pop(message.key, None)
            call = self._calls.pop(message.key, None)
            if call is not None:
                call.cancel()
        else:
            return super().on_receive(message)
        return None

    def on_exit_request(self, reason: ExitReason) -> bool:
        """End the connection first; whoever waits for an answer hears of this actor's end."""
        if not self._is_leaving:
            self._is_leaving = True
            self.spawn(self._close_and_leave(reason), name=f"close-mcp-{self._name}")
        return True

    async def _close_and_leave(self, reason: ExitReason) -> None:
        try:
            await self._connection.aclose()
        finally:
            self.exit(reason)

    async def _serve(self) -> None:
        try:
            self._opened(await self._open())
            why = await self._connection.lost()
        except AsmError as error:
            for asking in self._asking:
                asking.set_error(error)
            self._asking.clear()
            for _, waiting in self._waiting.values():
                waiting.set(None)
            self._waiting.clear()
            await self._connection.aclose()
            if not self._is_leaving:
                raise
            return
        finally:
            self._connection.abandon()
        if not self._is_leaving:
            raise server_error(self._name, f"was lost: it {why}")

    async def _open(self) -> tuple[ServerTool, ...]:
        seconds = self._server.start_timeout
        try:
            async with asyncio.timeout(seconds) as limit:
                return await self._connection.open()
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise server_error(
                self._name, f"did not list its tools within {seconds:g} s", ErrorCode.TIMEOUT
            ) from error

    def _opened(self, tools: tuple[ServerTool, ...]) -> None:
        self._tools = tools
        for asking in self._asking:
            asking.set(tools)
        self._asking.clear()
        waiting, self._waiting = self._waiting, {}
        for message, asking in waiting.values():
            self._begin(message, asking)

    def _begin(self, message: CallServer, asking: Future[Any]) -> None:
        self._called += 1
        self._calls[message.key] = self.spawn(
            self._call(message, asking), name=f"{self._name}-{message.tool}"
        )

    async def _call(self, message: CallServer, asking: Future[Any]) -> None:
        try:
            answer = await self._connection.call(message.tool, message.arguments)
        except AsmError as error:
            asking.set_error(error)
        except NotConnectedError:
            asking.set(None)
        else:
            asking.set(answer)
        finally:
            self._calls.pop(message.key, None)
