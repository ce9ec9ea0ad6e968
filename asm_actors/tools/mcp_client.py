"""Connections to servers of the Model Context Protocol. The only file that uses the ``mcp`` package (extra ``mcp``).

Each connection has a thread with an event loop of its own: whatever the package or a server's traffic does there (a
large answer to decode, a close that takes its time), the actors' loop does not feel it. The package is imported there,
too, since that takes a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncGenerator, Coroutine, Mapping
from concurrent.futures import Future, InvalidStateError
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.tools.mcp_process import ServerProcess
from asm_actors.tools.mcp_server import McpServer
from asm_actors.tools.mcp_values import NotConnectedError, ServerAnswer, ServerTool, answer_of, server_error

if TYPE_CHECKING:
    from mcp import Client

__all__ = ["ThreadedConnection"]

logger = logging.getLogger("asm_actors.mcp")

_CONNECTION_CLOSED: Final = -32000
_MAX_PAGES: Final = 1_000
_MAX_TEXT: Final = 1_000


class ThreadedConnection:
    """See the module, and `McpConnection`.

    Args:
        name: The server's.
        server: Where it is.
    """

    def __init__(self, name: str, server: McpServer) -> None:
        self._name = name
        self._server = server
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wish: asyncio.Event | None = None
        self._is_over = False
        self._client: Client | None = None
        self._opened: Future[tuple[ServerTool, ...]] = Future()
        self._ended: Future[str] = Future()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._main, name=f"mcp-{name}", daemon=True)

    # --- On the actors' loop -----------------------------------------------------------------------------------------

    async def open(self) -> tuple[ServerTool, ...]:
        """Connect, and ask for the tools; see `McpConnection`."""
        self._thread.start()
        return await asyncio.wrap_future(self._opened)

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> ServerAnswer:
        """Call a tool; see `McpConnection`."""
        work = self._call(tool, dict(arguments))
        try:
            assert self._loop is not None
            running = asyncio.run_coroutine_threadsafe(work, self._loop)
        except (AssertionError, RuntimeError):  # there is no loop, or no more
            work.close()
            raise NotConnectedError from None
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise self._gone() from None  # its loop ended under it

    async def lost(self) -> str:
        """Return when the connection has ended; see `McpConnection`."""
        return await asyncio.shield(asyncio.wrap_future(self._ended))

    async def aclose(self) -> None:
        """End it; see `McpConnection`."""
        self.abandon()
        if self._thread.ident is not None:
            await self.lost()

    def abandon(self) -> None:
        """Have it ended, and wait for nothing."""
        with self._lock:
            self._is_over = True
            if self._loop is not None and self._wish is not None:
                with contextlib.suppress(RuntimeError):  # it has ended
                    self._loop.call_soon_threadsafe(self._wish.set)

    def _gone(self) -> AsmError:
        return server_error(
            self._name, "is gone; the call may have had its effect", ErrorCode.TOOL_EXECUTION_FAILED
        )

    # --- On its own thread -------------------------------------------------------------------------------------------

    def _main(self) -> None:
        why = "was closed"
        try:
            why = asyncio.run(self._live())
        except BaseException as error:  # whatever it is, it is the end of this connection and of nothing else
            why = self._said(error)
            failure = error if isinstance(error, AsmError) else server_error(self._name, why)
            with contextlib.suppress(InvalidStateError):  # it was open, or nobody waits
                self._opened.set_exception(failure)
        finally:
            with contextlib.suppress(InvalidStateError):
                self._opened.set_exception(server_error(self._name, why))
            with contextlib.suppress(InvalidStateError):
                self._ended.set_result(why)

    async def _live(self) -> str:
        with self._lock:
            self._loop, self._wish = asyncio.get_running_loop(), asyncio.Event()
            if self._is_over:
                return "was closed"
        wish = asyncio.create_task(self._wish.wait())
        work = asyncio.create_task(self._serve())
        try:
            await asyncio.wait([wish, work], return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
        finally:
            wish.cancel()
            work.cancel()
            await asyncio.wait([work])
        return "was closed"

    async def _serve(self) -> str:
        """Have the connection; return how it ended by itself."""
        _demand_package(self._name)
        if self._server.url is not None:
            async with self._over_http(self._server.url) as client:
                await self._use(client)
                await asyncio.get_running_loop().create_future()  # each request tells by itself how it went
        process = await ServerProcess.start(self._name, self._server)
        try:
            async with self._over(process) as client:
                try:
                    await self._use(client)
                    await process.over.wait()
                finally:
                    self._client = None
        except Exception as error:  # the package and the server raise whatever they like
            await _to_its_end(process.stop())
            text = f"cannot be used: {self._said(error)}; it {process.how_it_ended()}"
            raise server_error(self._name, text) from error
        finally:
            await _to_its_end(process.stop())
        return process.how_it_ended()

    async def _use(self, client: Client) -> None:
        self._client = client
        found: list[ServerTool] = []
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            page = await client.list_tools(cursor=cursor)
            found += map(_server_tool, page.tools)
            cursor = page.next_cursor
            if cursor is None:
                break
        with contextlib.suppress(InvalidStateError):  # nobody waits any more
            self._opened.set_result(tuple(found))

    @contextlib.asynccontextmanager
    async def _over(self, process: ServerProcess) -> AsyncGenerator[Client, None]:
        import mcp

        async with mcp.Client(_pipes(process), client_info=_about_us(), cache=None) as client:
            yield client

    @contextlib.asynccontextmanager
    async def _over_http(self, url: str) -> AsyncGenerator[Client, None]:
        import mcp
        from mcp.client.streamable_http import streamable_http_client
        from mcp.shared._httpx_utils import create_mcp_http_client

        async with create_mcp_http_client(headers=dict(self._server.headers)) as http:
            transport = streamable_http_client(url, http_client=http)
            async with mcp.Client(transport, client_info=_about_us(), cache=None) as client:
                yield client

    async def _call(self, tool: str, arguments: dict[str, Any]) -> ServerAnswer:
        if self._client is None:
            raise NotConnectedError
        try:
            result = await self._client.call_tool(tool, arguments)
        except Exception as error:
            if getattr(error, "code", None) == _CONNECTION_CLOSED:
                raise self._gone() from error
            text = f"failed: {self._said(error)}"
            raise server_error(self._name, text, ErrorCode.TOOL_EXECUTION_FAILED) from error
        blocks = [block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in result.content]
        return answer_of(blocks, result.structured_content, is_error=result.is_error)

    def _said(self, error: BaseException) -> str:
        """What an error says, that of the first one in a group."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        text = error.message if isinstance(error, AsmError) else str(error)
        return (text or type(error).__name__)[:_MAX_TEXT]


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await what must not be cut short; a cancellation counts when it is through."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled


@contextlib.asynccontextmanager
async def _pipes(process: ServerProcess) -> AsyncGenerator[Any, None]:
    """A transport of the package over a process: a stream of messages from it, and one to it."""
    import anyio
    from mcp.shared.message import SessionMessage
    from mcp_types import jsonrpc_message_adapter

    told, heard = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_send, to_write = anyio.create_memory_object_stream[SessionMessage](0)

    async def read() -> None:
        async with told:
            async for line in process.lines():
                try:
                    message: Any = SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
                except ValueError as error:
                    logger.warning("%s said what is no message: %.200r", process.name, line)
                    message = error
                try:
                    await told.send(message)
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    return

    async def write() -> None:
        async with to_write:
            async for message in to_write:
                line = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                try:
                    await process.write(line.encode() + b"\n")
                except OSError:  # it reads no more: the requests are answered by the end of its output
                    await told.aclose()
                    return

    tasks = [asyncio.create_task(read()), asyncio.create_task(write())]
    try:
        yield heard, to_send
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for stream in (heard, to_send):
            await stream.aclose()


def _server_tool(tool: Any) -> ServerTool:
    notes = tool.annotations
    is_safe = notes is not None and bool(notes.read_only_hint or notes.idempotent_hint)
    return ServerTool(tool.name, tool.description or tool.title or "", dict(tool.input_schema), is_safe)


def _about_us() -> Any:
    from mcp import Implementation

    try:
        version = metadata.version("asm-actors")
    except metadata.PackageNotFoundError:
        version = "0"
    return Implementation(name="asm-actors", version=version)


def _demand_package(name: str) -> None:
    try:
        import mcp  # noqa: F401
    except ImportError as error:
        text = "needs the package mcp: install asm-actors[mcp]"
        raise server_error(name, text, ErrorCode.DEPENDENCY_NOT_AVAILABLE) from error
