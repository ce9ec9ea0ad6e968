"""Servers of tools: real ones in child processes, and ones that do what a test says in simulated systems."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import psutil
import pytest
from attrs import frozen

from asm_actors.errors import ErrorCode
from asm_actors.providers.script import Script, text
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.testing.system import SimulatedSystem
from asm_actors.tools.mcp_server import McpServer
from asm_actors.tools.mcp_values import ServerAnswer, ServerTool, server_error

SCRIPT = Path(__file__).with_name("server.py")
ANY = {"type": "object"}


class FakeConnection:
    """A connection that the test ends, and whose calls it answers."""

    def __init__(self, world):
        self.world = world
        self.ended = None
        self.is_closed = False

    async def open(self):
        self.ended = asyncio.get_running_loop().create_future()
        self.world.opened += 1
        if self.world.failures:
            raise server_error("files", self.world.failures.pop(0))
        if self.world.never_opens:
            await asyncio.get_running_loop().create_future()
        return tuple(ServerTool(name, "", ANY, name.startswith("read")) for name in self.world.tools)

    async def call(self, tool, arguments):
        self.world.calls.append((tool, dict(arguments)))
        try:
            return await self.world.answer(tool, arguments, self)
        except asyncio.CancelledError:
            self.world.cancelled.append(tool)
            raise

    async def lost(self):
        return await asyncio.shield(self.ended)

    def lose(self, how="was unplugged"):
        if not self.ended.done():
            self.ended.set_result(how)

    async def aclose(self):
        self.is_closed = True
        if self.ended is not None:
            self.lose("was closed")

    def abandon(self):
        self.is_closed = True


class World:
    """What the connections of a fake server do."""

    def __init__(self):
        self.tools = ["read", "write"]
        self.failures = []
        self.never_opens = False
        self.opened = 0
        self.calls = []
        self.cancelled = []
        self.connections = []
        self.hang = False

    def connect(self):
        self.connections.append(FakeConnection(self))
        return self.connections[-1]

    async def answer(self, tool, arguments, connection):
        if self.hang:
            ended = asyncio.shield(connection.ended)
            raise server_error("files", await ended, ErrorCode.TOOL_EXECUTION_FAILED)
        if arguments.get("fails"):
            return ServerAnswer("it does not want to", True)
        return ServerAnswer({"did": tool}, False)


@frozen(kw_only=True)
class FakeServer(McpServer):
    """A server whose connections a `World` makes."""

    command: str | None = "fake"
    world: World = None

    def connect(self, name):
        return self.world.connect()


@pytest.fixture
def world():
    return World()


@pytest.fixture
def make_sim(world):
    """Makes a simulated system with one fake server and a provider that plays a script per turn."""

    def make(*scripts, seed=0, options=None, **more):
        provider = ScriptedProvider([*scripts, Script(text("Done."))], by="turn")
        servers = {"files": FakeServer(world=world, **(options or {}))}
        sim = SimulatedSystem(seed, providers={"mock": provider}, mcp_servers=servers, **more)
        sim.provider = provider
        return sim

    return make


@pytest.fixture
def quiet(caplog):
    """Crashes are the subject here; their logged tracebacks are not worth the time to format."""
    for name in ("pykka", "supervisors.reports", "asm_actors", "mcp"):
        caplog.set_level(logging.CRITICAL + 1, logger=name)


@pytest.fixture
def where(tmp_path):
    return tmp_path


@pytest.fixture
def real(where):
    """Makes the `McpServer` of a real one; all that it started is gone when the test ends."""
    before = set(psutil.Process().children(recursive=True))

    def make(*flags, **options):
        env = {"WHERE": str(where), "PYTHONDONTWRITEBYTECODE": "1"} | options.pop("env", {})
        return McpServer(command=sys.executable, args=[str(SCRIPT), *flags], env=env, **options)

    yield make
    assert set(psutil.Process().children(recursive=True)) - before == set()
