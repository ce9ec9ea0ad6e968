"""Tools that are coroutine functions: whatever they raise is theirs, and one that does not end is given up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading

import pytest

import asm_actors as asm
from asm_actors.errors import ErrorCode
from asm_actors.providers.script import Script, text, tool_call, usage
from asm_actors.tools.calling import call_tool
from asm_actors.tools.coroutines import Leash
from asm_actors.tools.tool import tool
from supervisors.testing import Gate

WITHIN_S = 20.0


class UnspeakableError(Exception):
    def __str__(self):
        raise KeyboardInterrupt


class Stubborn:
    """A coroutine tool that takes no notice of its cancellation until its gate is open."""

    def __init__(self, gate):
        self.gate = gate
        self.n_cancelled = 0

    async def __call__(self) -> str:
        while not self.gate.is_open:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.n_cancelled += 1
        return "at last"


def turns():
    return [Script(tool_call("call_1", "stubborn"), usage(1, 1)), Script(text("Done."))]


# --- What they raise ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "raised",
    [UnspeakableError(), GeneratorExit(), KeyboardInterrupt(), SystemExit(1), asyncio.CancelledError()],
    ids=lambda value: type(value).__name__,
)
def test_a_tool_that_raises_something_odd_fails_and_its_run_goes_on(bench, raised, is_async):
    def plain() -> None:
        raise raised

    async def coroutine() -> None:
        await asyncio.sleep(0)
        raise raised

    bench.tools = [tool(coroutine if is_async else plain, name="odd")]
    with bench.system(bench.calls(("odd", {})), bench.says()) as sim:
        session = sim.manager.start_session(agent_id="agent")
        sim.manager.activate_session(session.id)
        result = sim.manager.execute_run(sim.manager.start_run(session.id, "hi").id)
        assert result.output["content"] == "Done."
        (answer,) = [each for each in bench.provider.requests[1].messages if each["role"] == "tool"]
        assert answer["tool_output"].startswith(f"odd failed: {type(raised).__name__}")
        (failed,) = [each for each in result.events if each.type == "tool_call_failed"]
        assert failed.data["error"]["code"] == "tool_execution_failed"
        sim.dispatcher.failures.clear()  # a simulation passes an exit of a thread on


# --- One that does not end ----------------------------------------------------------------------------------------


def test_one_that_takes_no_notice_of_its_time_is_given_up_after_a_while(make_threads, caplog):
    given_up = []

    async def run():
        stubborn = Stubborn(Gate())
        made = tool(stubborn, name="stubborn", timeout=0.001)
        leash = Leash(lambda: 0.001, given_up.append)
        answer = await call_tool(made, {}, make_threads(), leash=leash)
        assert not given_up[0].done()
        stubborn.gate.open()
        await asyncio.wait(given_up)
        return answer

    output, error = asyncio.run(run())
    assert (output, error.code) == (None, ErrorCode.TOOL_EXECUTION_FAILED)
    assert error.message.endswith("did not finish within 0.001 s; it could not be stopped and goes on")
    assert "tool stubborn was given up" in caplog.text


def test_one_that_answers_when_it_is_cancelled_is_over_its_time_has_answered(make_threads):
    async def late():
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return "what there was"

    assert asyncio.run(call_tool(tool(late, timeout=0.001), {}, make_threads())) == ("what there was", None)


def test_a_second_cancellation_of_the_call_does_not_wait(make_threads):
    given_up = []

    async def run():
        stubborn = Stubborn(Gate())
        leash = Leash(lambda: None, given_up.append)
        call = asyncio.ensure_future(call_tool(tool(stubborn, name="s"), {}, make_threads(), leash=leash))
        while not stubborn.n_cancelled:
            await asyncio.sleep(0)
            if not given_up:
                call.cancel()
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        stubborn.gate.open()
        await asyncio.wait(given_up)
        return call.cancelled()

    assert asyncio.run(run())
    assert len(given_up) == 1


def test_a_cancel_waits_for_it_as_long_as_the_system_allows_and_names_it(bench):
    gate = bench.gate
    bench.tools = [tool(Stubborn(gate), name="stubborn", timeout=None)]
    with bench.system(*turns(), config=asm.Config(task_shutdown_timeout_ms=7_000)) as sim:
        session = sim.manager.start_session(agent_id="agent")
        sim.manager.activate_session(session.id)
        run = sim.manager.submit_run(session.id, "hi")
        sim.settle()
        began = sim.clock.monotonic()
        final = sim.manager.cancel_run(run.id, reason="enough")
        assert sim.clock.monotonic() - began == 7.0
        assert final.error["details"] == {"reason": "enough", "tools_left_running": ["stubborn"]}
        # What is left keeps neither the run's actor nor the session.
        assert sim.manager.complete_session(session.id).status == "completed"
        sim.settle()
        assert sim.system.run(run.id).ref() is None
        assert sim.services.whereis(("session", session.id)) is None
        assert sim.dispatcher.has_given_up
        gate.open()
        sim.settle()
        assert not sim.dispatcher.has_given_up


def test_a_stop_gives_it_the_time_that_is_left_and_says_that_it_is_not_clean(bench, caplog):
    caplog.set_level(logging.CRITICAL + 1)
    bench.tools = [tool(Stubborn(bench.gate), name="stubborn", timeout=None)]
    sim = bench.system(*turns())
    with sim:
        session = sim.manager.start_session(agent_id="agent")
        sim.manager.activate_session(session.id)
        run = sim.manager.submit_run(session.id, "hi")
        sim.settle()
        began = sim.clock.monotonic()
        report = sim.system.stop(timeout=2.0)
        assert sim.clock.monotonic() - began == 2.0
        assert (report.orphans, report.is_clean) == ((run.id,), False)
        bench.gate.open()


def test_a_real_stop_does_not_wait_again_for_what_was_given_up(tmp_path, caplog):
    caplog.set_level(logging.CRITICAL + 1)
    begun = threading.Event()

    async def stubborn() -> None:
        begun.set()
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.get_running_loop().create_future()

    system = asm.ActorSystem.start(
        tmp_path / "journal",
        {"mock": asm.ScriptedProvider(turns(), by="turn")},
        tools=[asm.tool(stubborn)],
        config=asm.Config(task_shutdown_timeout_ms=10),
    )
    try:
        session = system.sessions.start_session(agent_id="agent")
        system.sessions.activate_session(session.id)
        run = system.sessions.submit_run(session.id, "hi")
        assert begun.wait(WITHIN_S)
        final = system.sessions.cancel_run(run.id)
        assert final.error["details"]["tools_left_running"] == ["stubborn"]
    finally:
        report = system.stop(timeout=2.0)
    assert (report.orphans, report.is_clean) == ((), False)
