from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import psutil
import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.testing import mock_server
from asm_actors.testing.mock_server import (
    AIMOCK,
    MockModelServer,
    answer,
    failure,
    install_npm_package,
    tool_calls,
)

# Fixtures -----------------------------------------------------------------------------------------------------


def test_an_answer_matches_a_message():
    assert answer("hi", "Hello", usage=(1, 2), reasoning="hm", latency=5, match={"turnIndex": 0}) == {
        "match": {"userMessage": "hi", "turnIndex": 0},
        "response": {
            "content": "Hello",
            "usage": {"prompt_tokens": 1, "completion_tokens": 2},
            "reasoning": "hm",
        },
        "latency": 5,
    }


def test_an_answer_may_match_everything():
    assert answer("", "Hello") == {"match": {}, "response": {"content": "Hello"}}


def test_tool_calls_are_asked_for_once():
    assert tool_calls("go", ("ls", {"path": "."}), ("pwd", {})) == {
        "match": {"userMessage": "go", "hasToolResult": False},
        "response": {
            "toolCalls": [{"name": "ls", "arguments": {"path": "."}}, {"name": "pwd", "arguments": {}}]
        },
    }


def test_a_failure_has_a_status_and_perhaps_a_wait():
    assert failure("x", 529, "overloaded_error", "busy", retry_after=3, chaos={"dropRate": 0.5}) == {
        "match": {"userMessage": "x"},
        "response": {
            "error": {"message": "busy", "type": "overloaded_error"},
            "status": 529,
            "retryAfter": 3,
        },
        "chaos": {"dropRate": 0.5},
    }


# Without Node.js ----------------------------------------------------------------------------------------------


def test_without_node_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(mock_server.shutil, "which", lambda name: None)
    assert not mock_server.npm_available()
    for start in (MockModelServer(cache=tmp_path).start, lambda: install_npm_package(*AIMOCK, tmp_path)):
        with pytest.raises(AsmError, match=r"install Node\.js") as caught:
            start()
        assert caught.value.code is ErrorCode.DEPENDENCY_NOT_AVAILABLE


def test_an_install_that_fails_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(mock_server.shutil, "which", lambda name: "/bin/false")
    with pytest.raises(AsmError, match="could not install nope@1") as caught:
        install_npm_package("nope", "1", tmp_path)
    assert caught.value.details["exit_code"] == 1
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_an_unknown_kind_of_chaos_is_refused():
    with pytest.raises(AsmError, match="rate_limit"):
        MockModelServer(chaos={"mayhem": 1})


def test_a_server_that_is_not_running_has_no_address():
    server = MockModelServer()
    with pytest.raises(AsmError) as caught:
        _ = server.base_url
    assert caught.value.code is ErrorCode.INVALID_OPERATION
    assert server.pid is None
    server.stop()


# With Node.js -------------------------------------------------------------------------------------------------


def post(server, text, key="any"):
    body = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"%s"}]}' % text.encode()
    headers = {"content-type": "application/json", "x-api-key": key}
    request = urllib.request.Request(f"{server.base_url}/v1/messages", data=body, headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.npm
def test_its_life_from_start_to_stop(npm_cache):
    with MockModelServer([answer("hi", "Hello")], api_keys=["right"], cache=npm_cache) as server:
        server.start()
        pid = server.pid
        assert psutil.pid_exists(pid)
        assert server.openai_base_url == f"{server.base_url}/v1"
        assert post(server, "hi", "right") == 200
        assert post(server, "hi", "wrong") == 401
        assert [request["path"] for request in server.requests(status=200)] == ["/v1/messages"]
        assert "listening" in server.log
    assert not psutil.pid_exists(pid)
    server.stop()


@pytest.mark.npm
def test_it_can_be_changed_while_it_runs(npm_cache):
    with MockModelServer(cache=npm_cache, chaos={"drop": 0.0}) as server:
        server.add(answer("hi", "Hello"))
        assert post(server, "hi") == 200
        server.fail_next(529, "overloaded_error", "busy")
        assert [post(server, "hi") for _ in range(2)] == [529, 200]
        server.set_chaos(rate_limit=1.0)
        assert post(server, "hi") == 429
        server.set_chaos()
        assert post(server, "hi") == 200
        server.reset()
        assert server.requests() == []
        assert post(server, "hi") == 404


@pytest.mark.npm
def test_a_fixture_that_is_none_keeps_it_from_starting(npm_cache):
    with pytest.raises(AsmError) as caught:
        MockModelServer([{"match": 3}], cache=npm_cache, start_timeout=20).start()
    assert caught.value.code is ErrorCode.DEPENDENCY_NOT_AVAILABLE
    assert caught.value.details["log"]


@pytest.mark.npm
def test_the_package_is_installed_once(npm_cache, monkeypatch):
    first = install_npm_package(*AIMOCK, npm_cache)
    monkeypatch.setattr(mock_server, "_install", None)
    assert install_npm_package(*AIMOCK, npm_cache) == first
    assert (first / "package.json").is_file()


@pytest.mark.npm
def test_the_child_ends_when_its_parent_is_killed(npm_cache):
    code = (
        "import sys; from asm_actors.testing.mock_server import MockModelServer;"
        f"server = MockModelServer(cache={str(npm_cache)!r}); server.start();"
        "print(server.pid, flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait(5)
    with contextlib.suppress(psutil.NoSuchProcess):
        child.wait(10)
    assert not child.is_running()
