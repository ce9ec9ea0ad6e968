"""One call of a tool: its result, its failures, its time."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.tools.calling import call_tool
from asm_actors.tools.tool import tool


def blocking(function):
    return asyncio.get_running_loop().run_in_executor(None, function)


def call(function, **given):
    timeout = given.pop("timeout", 60.0)
    return asyncio.run(call_tool(tool(function, timeout=timeout), given, blocking))


@pytest.mark.parametrize("is_async", [False, True])
def test_it_returns_what_the_tool_returns(is_async):
    def plain(a):
        return {"a": a, "thread": threading.current_thread() is threading.main_thread()}

    async def coroutine(a):
        return plain(a)

    output, error = call(coroutine if is_async else plain, a=1)
    assert error is None
    assert output == {"a": 1, "thread": is_async}


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("raised", "code", "text"),
    [
        (ValueError("no such city"), "tool_execution_failed", "ValueError: no such city"),
        (KeyError(), "tool_execution_failed", "failed: KeyError"),
        (StopIteration(1), "tool_execution_failed", "StopIteration"),
        (SystemExit(3), "tool_execution_failed", "SystemExit"),
        (TimeoutError("its own"), "tool_execution_failed", "TimeoutError: its own"),
        (asyncio.CancelledError("its own"), "tool_execution_failed", "CancelledError"),
        (AsmError(ErrorCode.TOOL_PERMISSION_DENIED, "not you"), "tool_permission_denied", "not you"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_the_tool_raises_is_its_failure(is_async, raised, code, text):
    def plain():
        raise raised

    async def coroutine():
        raise raised

    output, error = call(coroutine if is_async else plain)
    assert output is None
    assert error.code.value == code
    assert text in error.message


def test_a_coroutine_that_is_over_its_time_is_cancelled():
    ended = []

    async def slow():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(True)

    _, error = call(slow, timeout=0.001)
    assert "did not finish within 0.001 s" in error.message
    assert ended == [True]


def test_a_function_that_is_over_its_time_is_left_and_named(caplog):
    gate = threading.Event()
    caplog.set_level(logging.WARNING, logger="asm_actors.tools")

    def slow():
        gate.wait(10)

    async def run():
        try:
            return await call_tool(tool(slow, timeout=0.001), {}, blocking)
        finally:
            gate.set()

    _, error = asyncio.run(run())
    assert error.code is ErrorCode.TOOL_EXECUTION_FAILED
    assert "tool slow is over its time" in caplog.text


def test_a_call_that_is_cancelled_is_cancelled():
    async def slow():
        await asyncio.get_running_loop().create_future()

    async def run():
        task = asyncio.ensure_future(call_tool(tool(slow), {}, blocking))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(run())
    assert sys.exc_info()[1] is None
