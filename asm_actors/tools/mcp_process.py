"""The process of a server that is a command: lines in, lines out, and nothing of it left behind.

It runs under a guardian (see `workspace.guardian`), so that whatever it started ends with it, and all of it ends when
this process does, `kill -9` included. Belongs to the event loop on which it was started.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from asyncio.streams import FlowControlMixin
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.tools.mcp_server import McpServer
from asm_actors.tools.mcp_values import server_error
from asm_actors.workspace import guardian
from asm_actors.workspace.starting import find_program, guardian_request

__all__ = ["ServerProcess"]

logger = logging.getLogger("asm_actors.mcp")

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
"""The longest message of a server; a longer one ends the connection."""
MAX_LOG_LINE_BYTES: Final = 64 * 1024
"""The longest line of its error output; what is longer is not logged."""
LEAVE_S: Final = 2.0
"""Seconds that a server may take to end by itself when its input ends, then again when it is told to (SIGTERM)."""
# Until then the guardian has either cleared everything away or never will.
BACKSTOP_S: Final = 8.0
_INHERITED: Final = ("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER")
_LOADING: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_LAST_LINES: Final = 20
_TOLD_LINES: Final = 3
_LINE_LENGTH: Final = 300
_MESSAGE: Final = 5


class ServerProcess:
    """One process with its guardian; made by `start`.

    Attributes:
        over: Set when it says nothing more.
        gone: Set when nothing of it is left.
        said: The last lines of its error output.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.over = asyncio.Event()
        self.gone = asyncio.Event()
        self.said: deque[str] = deque(maxlen=_LAST_LINES)
        self.status: int | None = None
        self._loop = asyncio.get_running_loop()
        self._guardian: subprocess.Popen[bytes]
        self._control: socket.socket
        self._stdout: asyncio.StreamReader
        self._stdin: asyncio.StreamWriter
        self._transports: list[asyncio.BaseTransport] = []
        self._listening: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, name: str, server: McpServer) -> ServerProcess:
        """Start the command of a server.

        Raises:
            AsmError: ``command_not_found``, ``tool_permission_denied``, ``validation_error`` (no such directory) or
                ``dependency_not_available`` (no interpreter for the guardian).
        """
        if server.cwd is not None and not os.path.isdir(server.cwd):  # noqa: ASYNC240, PTH112 - of this moment
            raise server_error(name, f"has no directory {server.cwd}", ErrorCode.VALIDATION_ERROR)
        if not sys.executable:
            raise server_error(
                name, "needs a Python interpreter to watch over it", ErrorCode.DEPENDENCY_NOT_AVAILABLE
            )
        made = cls(name)
        await made._start(server)
        return made

    async def _start(self, server: McpServer) -> None:
        assert server.command is not None
        env = {key: os.environ[key] for key in _INHERITED if key in os.environ} | dict(server.env)
        try:
            executable = find_program(server.command, server.cwd, env)
        except AsmError as error:
            raise server_error(self.name, f"cannot be started: {error.message}", error.code) from error
        with contextlib.ExitStack() as theirs:
            control, their_control = socket.socketpair()
            theirs.callback(their_control.close)
            pipes = [os.pipe() for _ in range(3)]
            request = {
                "argv": [os.fsencode(word) for word in (server.command, *server.args)],
                "executable": os.fsencode(executable),
                "env": {os.fsencode(key): os.fsencode(value) for key, value in env.items()},
                "control": their_control.fileno(),
                "parent": os.getpid(),
                "grace_ms": int(LEAVE_S * 1000),
            }
            (stdin, my_stdin), (my_stdout, stdout), (my_stderr, stderr) = pipes
            for handle in (stdin, stdout, stderr):
                theirs.callback(os.close, handle)
            file = theirs.enter_context(guardian_request(request))
            try:
                self._guardian = subprocess.Popen(  # noqa: ASYNC220, S603 - a millisecond, on a thread of its own
                    [sys.executable, "-I", "-S", "-c", guardian.BOOTSTRAP, str(file.fileno())],
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    cwd=server.cwd,
                    env={key: os.environ[key] for key in _LOADING if key in os.environ},
                    pass_fds=(their_control.fileno(), file.fileno()),
                    start_new_session=True,
                )
            except OSError as error:
                for handle in (my_stdin, my_stdout, my_stderr):
                    os.close(handle)
                control.close()
                text = f"could not be started: {error}"
                raise server_error(self.name, text, ErrorCode.DEPENDENCY_NOT_AVAILABLE) from error
        control.setblocking(False)
        self._control = control
        self._loop.add_reader(control.fileno(), self._hear)
        await self._connect(my_stdin, my_stdout, my_stderr)

    async def _connect(self, stdin: int, stdout: int, stderr: int) -> None:
        self._stdout = await self._reader(stdout, MAX_LINE_BYTES)
        self._listening = asyncio.create_task(self._listen(await self._reader(stderr, MAX_LOG_LINE_BYTES)))
        transport, protocol = await self._loop.connect_write_pipe(
            FlowControlMixin, os.fdopen(stdin, "wb", buffering=0)
        )
        self._transports.append(transport)
        self._stdin = asyncio.StreamWriter(transport, protocol, None, self._loop)

    async def _reader(self, handle: int, limit: int) -> asyncio.StreamReader:
        reader = asyncio.StreamReader(limit=limit)
        transport, _ = await self._loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(handle, "rb", buffering=0)
        )
        self._transports.append(transport)
        return reader

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines of its output, until it ends."""
        try:
            while line := await self._stdout.readline():
                if line.strip():
                    yield line
        except ValueError:  # longer than the limit
            self.said.append(f"[a message of more than {MAX_LINE_BYTES} bytes]")
        finally:
            self.over.set()

    async def write(self, line: bytes) -> None:
        """Send a line.

        Raises:
            OSError: It reads no more.
        """
        self._stdin.write(line)
        await self._stdin.drain()

    async def _listen(self, stderr: asyncio.StreamReader) -> None:
        """Log what it says beside the protocol, and keep the last of it for the error if it fails."""
        while True:
            try:
                line = await stderr.readline()
            except ValueError:  # too long
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self.said.append(text[:_LINE_LENGTH])
            logger.info("%s: %s", self.name, text)

    def _hear(self) -> None:
        """Take what the guardian says."""
        try:
            said = self._control.recv(64 * _MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        for at in range(0, len(said), _MESSAGE):
            kind, number = said[at : at + 1], int.from_bytes(said[at + 1 : at + _MESSAGE], "big")
            if kind == guardian.ENDED:
                self.status = number
            elif kind == guardian.FAILED:
                self.said.append(os.strerror(number))
        if not said:
            self._loop.remove_reader(self._control.fileno())
            self._control.close()
            self.gone.set()
            self.over.set()

    def _say(self, what: bytes, number: int) -> None:
        with contextlib.suppress(OSError):  # it is gone: that is heard in a moment
            self._control.send(what + number.to_bytes(4, "big"))

    def how_it_ended(self) -> str:
        """How its process ended, and the last that it said."""
        how = "closed its output"
        if self.status is not None:
            code = os.waitstatus_to_exitcode(self.status)
            how = f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"{how}: {' | '.join(tuple(self.said)[-_TOLD_LINES:])}" if self.said else how

    async def stop(self) -> None:
        """End its input, then the process and all that it started; returns when nothing is left."""
        self._stdin.close()
        if not await self._is_gone(LEAVE_S):
            self._say(guardian.STOP, int(LEAVE_S * 1000))
            if not await self._is_gone(LEAVE_S + BACKSTOP_S):
                self._guardian.kill()
                await self._is_gone(LEAVE_S)
        if not self.gone.is_set():
            self._loop.remove_reader(self._control.fileno())
            self._control.close()
            self.gone.set()
        if self._listening is not None:
            await asyncio.wait([self._listening], timeout=0.1)
            self._listening.cancel()
        for transport in self._transports:
            transport.close()
        self._guardian.wait()

    async def _is_gone(self, within: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self.gone.wait()
        return self.gone.is_set()

    def __repr__(self) -> str:
        return f"<ServerProcess {self.name}>"
