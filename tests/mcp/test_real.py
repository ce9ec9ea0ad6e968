"""Real servers in child processes: what they answer, and that nothing of them is ever left."""

from __future__ import annotations

import asyncio
import builtins
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

import asm_actors as asm
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.script import Script, text, tool_call, usage
from asm_actors.tools.mcp_client import ThreadedConnection
from asm_actors.tools.mcp_values import NotConnectedError

pytestmark = pytest.mark.usefixtures("quiet")

WITHIN_S = 20.0


def turn(*made):
    return Script(*(tool_call(f"call_{n}", *one) for n, one in enumerate(made, start=1)), usage(1, 1))


def start(servers, *scripts):
    provider = asm.ScriptedProvider([*scripts, Script(text("Done."))], by="turn")
    system = asm.ActorSystem.start(asm.MemoryStore(), {"mock": provider}, mcp_servers=servers)
    system.provider = provider
    return system


def outputs(system):
    return [one["tool_output"] for one in system.provider.requests[-1].messages if one["role"] == "tool"]


def wait_for(path):
    """Wait until a server has left a file, and return what is in it."""
    until = time.monotonic() + WITHIN_S
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < until, f"{path.name} never came"
        time.sleep(0.01)
    return path.read_text()


def is_alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_gone(pid):
    until = time.monotonic() + WITHIN_S
    while is_alive(pid):
        assert time.monotonic() < until, f"process {pid} is left"
        time.sleep(0.01)


def test_tools_of_real_servers_are_called_and_all_processes_end(real, where):
    calls = turn(
        ("one__add", {"a": 1, "b": 2}),
        ("two__greet", {"name": "Ada"}),
        ("one__odd_name_of_tool", {}),
        ("one__fail", {}),
        ("one__picture", {}),
        ("one__add", {"a": "x", "b": 2}),
    )
    with start({"one": real(), "two": real(tools=["greet"])}, calls) as system:
        tools = system.services.tools
        assert [name for name in tools if name.startswith("two__")] == ["two__greet"]
        assert tools["one__add"].description == "Add two numbers."
        assert tools["one__add"].input_schema["required"] == ["a", "b"]
        assert [tools[f"one__{name}"].safe_to_repeat for name in ("add", "greet", "hang")] == [
            True,
            True,
            False,
        ]
        system.sessions.run_once("Go")
        added, greeted, odd, failed, picture, refused = outputs(system)
        assert (added, odd) == ({"result": 3}, {"result": "odd"})
        assert greeted.startswith("Hello Ada from ")
        assert "fail" in failed
        assert picture[0]["source"] == {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}
        assert "a: 'x' is not of type 'integer'" in refused
        assert is_alive(int(wait_for(where / "pid")))
    wait_gone(int(wait_for(where / "pid")))


def test_a_server_that_is_killed_in_a_call_fails_it_and_the_next_call_works(real, where):
    script = turn(("files__hang", {})), turn(("files__greet", {}))
    with start({"files": real()}, *script) as system:
        session = system.sessions.start_session(agent_id="a")
        system.sessions.activate_session(session.id)
        run = system.sessions.submit_run(session.id, "Go")
        wait_for(where / "hangs")
        first = int(wait_for(where / "pid"))
        os.kill(first, signal.SIGKILL)
        system.sessions.await_run(run.id)
        failed, greeted = outputs(system)
        assert "the call may have had its effect" in failed
        assert greeted.startswith("Hello you from ")
        assert not greeted.endswith(str(first))


def test_a_cancelled_call_is_cancelled_at_the_server_which_lives_on(real, where):
    with start({"files": real()}, turn(("files__hang", {}))) as system:
        session = system.sessions.start_session(agent_id="a")
        system.sessions.activate_session(session.id)
        run = system.sessions.submit_run(session.id, "Go")
        wait_for(where / "hangs")
        system.sessions.cancel_run(run.id)
        wait_for(where / "cancelled")
        assert is_alive(int(wait_for(where / "pid")))


def test_what_a_server_started_ends_with_it(real, where):
    with start({"files": real("--child")}):
        child = int(wait_for(where / "child"))
        assert is_alive(child)
    assert not is_alive(child)


def test_after_kill_9_of_this_process_no_server_is_left(real, where):
    server = real("--child")
    program = f"""
        import asm_actors as asm
        server = asm.McpServer(command={server.command!r}, args={list(server.args)!r}, env={dict(server.env)!r})
        with asm.ActorSystem.start(asm.MemoryStore(), mcp_servers={{"files": server}}):
            print("ready", flush=True)
            input()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout.readline() == b"ready\n"
        pids = [int(wait_for(where / name)) for name in ("pid", "child")]
        assert all(map(is_alive, pids))
        process.kill()
    for pid in pids:
        wait_gone(pid)


@pytest.mark.parametrize(
    ("flags", "options", "code", "says"),
    [
        (["--broken"], {}, ErrorCode.TOOL_ERROR, "ended with exit code 3: "),
        (["--silent"], {"start_timeout": 0.5}, ErrorCode.TIMEOUT, "did not list its tools within 0.5 s"),
        ([], {"cwd": "/no/such/place"}, ErrorCode.VALIDATION_ERROR, "no directory"),
    ],
)
def test_a_server_that_cannot_be_used_fails_the_start_and_is_named(real, flags, options, code, says):
    with pytest.raises(AsmError) as caught:
        start({"files": real(*flags, **options)})
    assert caught.value.code is code
    assert "'files'" in caught.value.message
    assert says in caught.value.message


def test_a_command_that_is_not_there_is_told(real):
    with pytest.raises(AsmError) as caught:
        start({"files": asm.McpServer(command="no-such-command-here")})
    assert caught.value.code is ErrorCode.COMMAND_NOT_FOUND


def test_a_server_is_reached_by_http(real, where):
    program = """
        import socket, sys
        from mcp.server.mcpserver import MCPServer
        server = MCPServer("web")
        @server.tool()
        def who(name: str) -> str:
            return f"It is {name}"
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        open(sys.argv[1], "w").write(str(port))
        server.run("streamable-http", host="127.0.0.1", port=port)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(where / "port")], stderr=subprocess.PIPE
    )
    with process:
        try:
            port = wait_for(where / "port")
            while b"running on" not in process.stderr.readline():
                assert process.poll() is None
            server = asm.McpServer(url=f"http://127.0.0.1:{port}/mcp", headers={"authorization": "Bearer x"})
            with start({"web": server}, turn(("web__who", {"name": "me"}))) as system:
                system.sessions.run_once("Go")
                assert outputs(system) == [{"result": "It is me"}]
        finally:
            process.terminate()
            process.stderr.read()


def test_without_the_package_it_is_told_what_to_install(real, monkeypatch):
    find = builtins.__import__

    def without(name, *args, **options):
        if name == "mcp":
            raise ImportError("no module named mcp")
        return find(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(AsmError) as caught:
        start({"files": real()})
    assert caught.value.code is ErrorCode.DEPENDENCY_NOT_AVAILABLE
    assert "asm-actors[mcp]" in caught.value.message


def test_a_connection_that_was_closed_answers_no_calls(real):
    async def use():
        connection = ThreadedConnection("files", real())
        assert len(await connection.open()) == 7
        await connection.aclose()
        await connection.aclose()
        assert await connection.lost() == "was closed"
        with pytest.raises(NotConnectedError):
            await connection.call("add", {"a": 1, "b": 2})

    asyncio.run(use())


def test_a_connection_that_is_abandoned_while_it_opens_ends_by_itself(real, where):
    async def use():
        connection = ThreadedConnection("files", real())
        opening = asyncio.ensure_future(connection.open())
        while not (where / "pid").exists():  # noqa: ASYNC110 - of a child process
            await asyncio.sleep(0.01)
        opening.cancel()
        connection.abandon()
        await connection.lost()

    asyncio.run(use())
