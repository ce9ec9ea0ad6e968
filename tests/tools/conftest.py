"""Tools that tell what was done with them, and systems in which models call them."""

from __future__ import annotations

import asyncio
import logging

import pytest

from asm_actors.providers.script import Script, text, tool_call, usage
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.testing.system import SimulatedSystem
from asm_actors.tools.threads import ToolThreads
from asm_actors.tools.tool import tool
from supervisors.blocking import BlockingPool
from supervisors.testing import Gate


class Bench:
    """Tools which note their calls; `made` holds the arguments, in order.

    ``add`` is a plain function, ``multiply`` a coroutine function, ``fail`` raises, ``hang`` never ends, ``charge`` is
    not safe to repeat and waits until `gate` is open.
    """

    def __init__(self):
        self.made = []
        self.cancelled = []
        self.gate = Gate()

        @tool(safe_to_repeat=True)
        def add(a: int, b: int) -> int:
            """Add two numbers."""
            self.made.append(("add", a, b))
            return a + b

        @tool(safe_to_repeat=True)
        async def multiply(a: int, b: int) -> dict:
            """Multiply two numbers."""
            self.made.append(("multiply", a, b))
            await asyncio.sleep(0)
            return {"product": a * b}

        @tool
        def fail() -> None:
            self.made.append(("fail",))
            raise ValueError("no such thing")

        @tool(timeout=5.0)
        async def hang() -> None:
            self.made.append(("hang",))
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                self.cancelled.append("hang")
                raise

        @tool(timeout=None)
        async def charge(amount: int) -> str:
            """Charge an amount."""
            self.made.append(("charge", amount))
            await self.gate.wait()
            return "charged"

        self.tools = [add, multiply, fail, hang, charge]

    def system(self, *scripts, seed=0, **options):
        """A simulated system whose provider plays a script per turn."""
        self.provider = ScriptedProvider(list(scripts), by="turn")
        return SimulatedSystem(seed, providers={"mock": self.provider}, tools=self.tools, **options)

    @staticmethod
    def calls(*calls, said="Let me see. "):
        """A turn that calls tools: pairs of name and arguments; ids count ``call_1``, ``call_2`` …"""
        made = [tool_call(f"call_{n}", name, arguments) for n, (name, arguments) in enumerate(calls, start=1)]
        return Script(text(said), *made, usage(10, 5))

    @staticmethod
    def says(content="Done."):
        return Script(text(content), usage(20, 7))


class RunningLoop:
    """As much of a dispatcher as threads for tools need, on the loop that runs."""

    def __init__(self, size):
        self.pool = BlockingPool(size, "tools")

    @property
    def loop(self):
        return asyncio.get_running_loop()

    def run_blocking(self, function, *args, thread, threads):
        return self.loop.run_in_executor(self.pool, function, *args)


@pytest.fixture
def make_threads():
    """Makes `ToolThreads` with so many real threads; all of them end with the test."""
    made = []

    def make(size=2):
        made.append(RunningLoop(size))
        return ToolThreads(made[-1], size)

    yield make
    for each in made:
        each.pool.shutdown(wait=True)


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def _quiet_logs(caplog):
    """Crashes are the subject here; their logged tracebacks are not worth the time to format."""
    for name in ("pykka", "supervisors.reports", "asm_actors"):
        caplog.set_level(logging.CRITICAL + 1, logger=name)
