"""What all tests share: nothing is left behind, the two dispatchers, and model servers on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pykka
import pytest

from supervisors import testing
from supervisors.loop_dispatcher import LoopDispatcher
from supervisors.simulation import SimulationDispatcher

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _leaves_nothing_behind():
    """Fail a test that leaves an actor in Pykka's registry, or a thread, behind."""
    before = threading.enumerate()
    yield
    left = testing.leaked(before)
    if left:
        pykka.ActorRegistry.stop_all(block=False)
        pytest.fail(f"left behind: {', '.join(left)}")


@pytest.fixture
def dispatcher():
    """A `LoopDispatcher` that is open, and closed after the test."""
    with LoopDispatcher("test") as opened:
        yield opened


@pytest.fixture
def simulation():
    """Makes a `SimulationDispatcher` from a seed and options; each is closed after the test, and clean."""
    made = []

    def make(seed=0, **options):
        made.append(SimulationDispatcher(seed, **options))
        return made[-1]

    yield make
    for each in made:
        assert each.close()
        assert each.failures == []


@pytest.fixture
def settle():
    """`supervisors.testing.settle`."""
    return testing.settle


# Model servers -------------------------------------------------------------------------------------------------


class Hold:
    """A step: say nothing until the client has gone away."""


class Cut:
    """A step: drop the connection without a word."""


class Gate:
    """A step: go on when the test calls `Loopback.open`."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()


class Loopback:
    """An HTTP server that answers with scripted bytes, in a thread of its own.

    The first part of a request's path names the scenario, so that one server serves every test at once.
    """

    Hold = Hold
    Cut = Cut
    Gate = Gate

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self._plans: dict[str, list[tuple[Any, ...]]] = {}
        self._asked: dict[str, threading.Event] = {}
        self._gone: dict[str, threading.Event] = {}
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loopback")
        self._thread.start()
        assert self._ready.wait(5)

    def plan(self, scenario: str, *steps: Any) -> str:
        """Set what a scenario answers: bytes, Hold(), Cut(), Gate(). Return its base URL."""
        self._plans[scenario] = [steps]
        self._asked[scenario] = threading.Event()
        self._gone[scenario] = threading.Event()
        return f"http://127.0.0.1:{self.port}/{scenario}"

    def then(self, scenario: str, *steps: Any) -> None:
        """Set what its next request is answered; what was planned last answers all that follow."""
        self._plans[scenario].append(steps)

    def open(self, gate: Gate) -> None:
        """Let all who wait at the gate go on."""
        self._loop.call_soon_threadsafe(gate.is_open.set)

    async def was_asked(self, scenario: str) -> bool:
        return await asyncio.to_thread(self._asked[scenario].wait, 5)

    async def client_went_away(self, scenario: str) -> bool:
        return await asyncio.to_thread(self._gone[scenario].wait, 5)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._stop = asyncio.Event()
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer_one(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *rest = head.rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (row.partition(": ") for row in rest)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        path = line.split(" ")[1]
        scenario = path.split("/")[1]
        self.requests.append({"path": path, "headers": headers, "body": json.loads(body)})
        self._asked[scenario].set()
        plans = self._plans[scenario]
        for step in plans.pop(0) if len(plans) > 1 else plans[0]:
            if isinstance(step, Cut):
                writer.transport.abort()
                return
            if isinstance(step, Hold):
                await reader.read()
                self._gone[scenario].set()
                return
            if isinstance(step, Gate):
                await step.is_open.wait()
                continue
            writer.write(step)
            await writer.drain()


def response(status: int, body: bytes, kind: str = "application/json", **headers: str) -> bytes:
    """One whole HTTP response; header names are written with underscores."""
    rows = [
        f"HTTP/1.1 {status} Status",
        f"content-type: {kind}",
        f"content-length: {len(body)}",
        "connection: close",
    ]
    rows += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(rows).encode() + b"\r\n\r\n" + body


def sse_head(kind: str = "text/event-stream; charset=utf-8") -> bytes:
    """The head of a response whose body ends with the connection."""
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\nrequest-id: req_test\r\n\r\n".encode()


def sse(*events: dict[str, Any]) -> bytes:
    """The wire form of events."""
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def message_start(**usage: int) -> dict[str, Any]:
    counted = {"input_tokens": 11, "output_tokens": 1} | usage
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test", "content": []}
    return {"type": "message_start", "message": message | {"usage": counted}}


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of one content block."""
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text_block(index: int, *texts: str) -> list[dict[str, Any]]:
    return block(
        index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": text} for text in texts)
    )


def message_end(reason: str = "end_turn", **usage: int) -> list[dict[str, Any]]:
    counted = {"output_tokens": 7} | usage
    delta = {"stop_reason": reason, "stop_sequence": None}
    return [{"type": "message_delta", "delta": delta, "usage": counted}, {"type": "message_stop"}]


class Wire:
    """Builders of bytes and events, as a fixture, since test folders are no packages."""

    response = staticmethod(response)
    head = staticmethod(sse_head)
    sse = staticmethod(sse)
    message_start = staticmethod(message_start)
    block = staticmethod(block)
    text_block = staticmethod(text_block)
    message_end = staticmethod(message_end)

    @staticmethod
    def whole(*texts: str) -> bytes:
        """A whole streamed answer of text."""
        return sse_head() + sse(message_start(), *text_block(0, *texts), *message_end())


@pytest.fixture(scope="session")
def wire() -> type[Wire]:
    return Wire


@pytest.fixture(scope="session")
def loopback() -> Iterator[Loopback]:
    server = Loopback()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def npm_cache() -> Path:
    """Where npm packages for tests are kept, the mock model server among them; skips without npm, never in CI."""
    from asm_actors.errors import AsmError
    from asm_actors.testing.mock_server import AIMOCK, install_npm_package, npm_available

    if not npm_available():
        _skip_or_fail("Node.js and npm are not installed")
    cache = Path(os.environ.get("ASM_NPM_CACHE") or REPOSITORY / ".cache" / "npm")
    try:
        install_npm_package(*AIMOCK, cache)
    except AsmError as error:
        _skip_or_fail(f"{error} {error.details}")
    return cache


@pytest.fixture(scope="session")
def mock_model_server(npm_cache: Path) -> Iterator[Any]:
    """The npm mock model server; each test adds fixtures for messages of its own."""
    from asm_actors.testing.mock_server import MockModelServer

    with MockModelServer(cache=npm_cache) as server:
        yield server


def _skip_or_fail(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; in CI these tests must run")
    pytest.skip(reason)
