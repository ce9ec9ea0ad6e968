"""One call of a tool: its result, its failures, its time."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.tools.calling import call_tool
from asm_actors.tools.context import ToolContext
from asm_actors.tools.tool import tool


@pytest.fixture
def call(make_threads):
    def call(function, **given):
        timeout = given.pop("timeout", 60.0)
        return asyncio.run(call_tool(tool(function, timeout=timeout), given, make_threads()))

    return call


@pytest.mark.parametrize("is_async", [False, True])
def test_it_returns_what_the_tool_returns(call, is_async):
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
def test_whatever_the_tool_raises_is_its_failure(call, is_async, raised, code, text):
    def plain():
        raise raised

    async def coroutine():
        raise raised

    output, error = call(coroutine if is_async else plain)
    assert output is None
    assert error.code.value == code
    assert text in error.message


def test_a_coroutine_that_is_over_its_time_is_cancelled(call):
    ended = []

    async def slow():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(True)

    _, error = call(slow, timeout=0.001)
    assert "did not finish within 0.001 s" in error.message
    assert ended == [True]


def test_a_function_that_is_over_its_time_is_left_and_named(make_threads, caplog):
    gate = threading.Event()
    caplog.set_level(logging.WARNING, logger="asm_actors.tools")

    def slow():
        gate.wait(10)

    async def run():
        try:
            return await call_tool(tool(slow, timeout=0.001), {}, make_threads())
        finally:
            gate.set()

    _, error = asyncio.run(run())
    assert error.code is ErrorCode.TOOL_EXECUTION_FAILED
    assert "did not finish within 0.001 s" in error.message
    assert "tool slow was given up; its thread cannot be stopped" in caplog.text


def test_a_call_that_is_cancelled_is_cancelled(make_threads):
    async def slow():
        await asyncio.get_running_loop().create_future()

    async def run():
        task = asyncio.ensure_future(call_tool(tool(slow), {}, make_threads()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(run())
    assert sys.exc_info()[1] is None


# --- Threads ------------------------------------------------------------------------------------------------------


class Held:
    """A tool that says when it runs, and goes on when it is let."""

    def __init__(self, loop):
        self.begun = asyncio.Event()
        self.gate = threading.Event()
        self.threads = []
        self._loop = loop

    def __call__(self, context: ToolContext):
        self.context = context
        self.threads.append(threading.current_thread().name)
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self.gate.wait(10)
        return "done"


def context():
    return ToolContext("ses_1", "run_1", "call_1")


def hold(threads, **options):
    """Begin a call that is held, and return it with its task."""
    held = Held(asyncio.get_running_loop())
    made = tool(held, name="held", **options)
    return held, asyncio.ensure_future(call_tool(made, {}, threads, context()))


async def ended(threads):
    """Wait until the calls that were given up have ended."""
    while threads.n_left:  # noqa: ASYNC110 - of a thread that is about to end
        await asyncio.sleep(0)


def test_a_thread_is_named_after_what_it_does(make_threads):
    async def run():
        held, task = hold(make_threads())
        await held.begun.wait()
        held.gate.set()
        assert await task == ("done", None)
        return held.threads

    assert asyncio.run(run()) == ["tools-0 (held)"]


def test_waiting_for_a_thread_is_not_the_tools_time(make_threads):
    async def run():
        threads = make_threads(1)
        first, task = hold(threads, timeout=None)
        await first.begun.wait()
        second = asyncio.ensure_future(
            call_tool(tool(lambda: "quick", name="quick", timeout=0.05), {}, threads)
        )
        await asyncio.wait([second], timeout=0.2)
        assert (second.done(), threads.n_waiting, threads.n_taken) == (False, 1, 1)
        first.gate.set()
        assert await second == ("quick", None)
        await task
        assert threads.n_taken == 0

    asyncio.run(run())


def test_a_tool_that_is_given_up_is_told_and_keeps_its_thread_until_it_ends(make_threads):
    async def run():
        threads = make_threads(2)
        held, task = hold(threads, timeout=0.01)
        _, error = await task
        assert error.code is ErrorCode.TOOL_EXECUTION_FAILED
        assert held.context.is_cancelled()
        assert (threads.n_left, threads.n_taken) == (1, 1)
        assert (await call_tool(tool(lambda: 1, name="other"), {}, threads)) == (1, None)
        held.gate.set()
        await ended(threads)
        assert threads.n_taken == 0

    asyncio.run(run())


def test_when_all_threads_are_held_by_calls_that_were_given_up_others_are_refused_at_once(make_threads):
    async def run():
        threads = make_threads(1)
        held, task = hold(threads, timeout=0.01)
        await held.begun.wait()
        waits = asyncio.ensure_future(call_tool(tool(lambda: 1, name="waits"), {}, threads))
        await task
        for answer in (await waits, await call_tool(tool(lambda: 1, name="late"), {}, threads)):
            assert answer[1].code is ErrorCode.OVERLOADED
            assert "tool_threads" in answer[1].message
        held.gate.set()
        await ended(threads)
        assert await call_tool(tool(lambda: 1, name="again"), {}, threads) == (1, None)

    asyncio.run(run())


def test_a_call_that_is_cancelled_in_line_leaves_the_line_and_never_runs(make_threads):
    made = []

    async def run():
        threads = make_threads(1)
        held, task = hold(threads)
        await held.begun.wait()
        waits = asyncio.ensure_future(call_tool(tool(lambda: made.append(1), name="waits"), {}, threads))
        await asyncio.sleep(0)
        waits.cancel()
        await asyncio.wait([waits])
        assert waits.cancelled()
        held.gate.set()
        await task
        assert (threads.n_taken, threads.n_waiting) == (0, 0)

    asyncio.run(run())
    assert made == []


def test_a_call_that_is_cancelled_as_it_gets_its_place_hands_it_on(make_threads):
    async def hold_place(threads):
        async with threads.place("b"):
            raise AssertionError("it was cancelled before")

    async def run():
        threads = make_threads(1)
        async with threads.place("a"):
            waits = asyncio.ensure_future(hold_place(threads))
            await asyncio.sleep(0)
            assert threads.n_waiting == 1
        waits.cancel()  # the place is its already, and it does not know yet
        await asyncio.wait([waits])
        assert waits.cancelled()
        assert threads.n_taken == 0

    asyncio.run(run())
