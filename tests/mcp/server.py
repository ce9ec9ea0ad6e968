"""A real server of tools, run as a child process by the tests: lines on its standard input and output."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from mcp.server.mcpserver import Image, MCPServer
from mcp_types import ToolAnnotations

HERE = Path(os.environ["WHERE"])
server = MCPServer("tests")


def note(name, text=""):
    """Leave a file that says that something happened."""
    (HERE / name).write_text(text or "x")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool(annotations=ToolAnnotations(idempotent_hint=True), structured_output=False)
def greet(name: str = "you") -> str:
    """Greet somebody."""
    return f"Hello {name} from {os.getpid()}"


@server.tool(name="odd.name/of tool")
def odd() -> str:
    return "odd"


@server.tool()
def fail() -> str:
    raise ValueError("no such thing")


@server.tool(structured_output=False)
def picture() -> Image:
    return Image(data=b"\x89PNG", format="png")


@server.tool()
async def hang() -> str:
    """Never end."""
    note("hangs")
    try:
        await asyncio.Event().wait()
    except BaseException:
        note("cancelled")
        raise
    return "never"


@server.tool()
def crash() -> str:
    """End the process at once."""
    print("going down", file=sys.stderr, flush=True)
    os._exit(7)


if "--child" in sys.argv:
    # Of a session of its own: it outlives the server unless somebody sees to it.
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    note("child", str(child.pid))
if "--broken" in sys.argv:
    print("cannot find the way", file=sys.stderr, flush=True)
    sys.exit(3)
if "--silent" in sys.argv:
    import time

    time.sleep(600)
note("pid", str(os.getpid()))
server.run("stdio")
