"""The same operations blocking, awaited, and as messages to handles."""

from __future__ import annotations

import asyncio
import inspect

import pytest

import asm_actors as asm
from asm_actors import messages
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.script import Script, heed, stall, text, tool_call
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.sessions.operations import Operations

NAMES = [
    "pause_run",
    "resume_run",
    "interrupt_run",
    "cancel_run",
    "cancel_all",
    "steer_run",
    "get_operation_history",
    "get_operation_status",
    "pause_session",
    "resume_session",
    "interrupt_session",
    "complete_session",
    "fail_session",
    "cancel_session",
    "children",
]


@pytest.mark.parametrize("name", NAMES)
def test_an_operation_is_defined_once_and_has_two_faces(name):
    operation = getattr(Operations, name)
    for face in (asm.SessionManager, asm.AsyncSessionManager):
        method = getattr(face, name)
        assert method.__doc__ == operation.__doc__
        assert list(inspect.signature(method).parameters) == list(inspect.signature(operation).parameters)
    assert inspect.iscoroutinefunction(getattr(asm.AsyncSessionManager, name))


def look(at: str) -> str:
    """Looks."""
    return at


def script(request):
    if request.input == "heed":
        return Script(heed())
    if request.input == "stall":
        return Script(text("Hm."), stall())
    if request.turn == 1:
        return Script(heed(says=False), tool_call("call_1", "look", {"at": "it"}))
    return Script(text("Done."))


def provider():
    return ScriptedProvider(script, capabilities=(("steering", "sampling"),))


async def _until(manager, run_id, status):
    async for _ in manager.stream_session_events((await manager.get_run(run_id)).session_id, after=0):
        if (await manager.get_run(run_id)).status == status:
            return


def test_awaited():
    async def main():
        async with asm.AsyncActorSystem.start(
            asm.MemoryStore(), {"mock": provider()}, tools=[look]
        ) as system:
            manager = system.sessions
            session = await manager.start_session(agent_id="a")
            await manager.activate_session(session.id)
            run = await manager.submit_run(session.id, "Hello")
            await _until(manager, run.id, "running")
            await manager.pause_run(run.id, by="ann")
            await manager.steer_run(run.id, "go")
            await _until(manager, run.id, "paused")
            await manager.resume_run(run.id)
            assert (await manager.await_run(run.id)).output["content"] == "Done."
            history = await manager.get_operation_history(run.id)
            assert [one["operation"] for one in history] == ["steer", "pause", "resume"]
            others = [(await manager.submit_run(session.id, "stall")).id for _ in range(3)]
            found = await manager.cancel_all([*others, "run_x"])
            assert [getattr(one, "status", None) for one in found.values()] == ["cancelled"] * 3 + [None]
            child = await manager.start_session(agent_id="a", parent_session_id=session.id)
            assert [one.id for one in await manager.children(session.id)] == [child.id]
            assert set(await manager.cancel_session(session.id, cascade=True)) == {session.id, child.id}

    asyncio.run(main())


def test_blocking():
    with asm.ActorSystem.start(asm.MemoryStore(), {"mock": provider()}) as system:
        manager = system.sessions
        session = manager.start_session(agent_id="a")
        manager.activate_session(session.id)
        runs = [manager.submit_run(session.id, "stall").id for _ in range(3)]
        found = manager.interrupt_session(session.id, reason="enough")
        assert [run.status for run in found.values()] == ["cancelled"] * 3
        assert list(found) == runs
        parent = manager.start_session(agent_id="a")
        child = manager.start_session(agent_id="a", parent_session_id=parent.id)
        assert manager.cancel_session(parent.id, cascade=True)[child.id].status == "cancelled"


def test_a_runs_handle_takes_the_messages(stage):
    run_id = stage.to("running")
    handle = stage.sim.system.run(run_id)
    handle.tell(messages.PauseRun(reason="tea"))
    stage.sim.advance(20)
    assert stage.sim.run(run_id).status == "paused"
    assert handle.ask(messages.ResumeRun(by="ann")).status == "running"
    stage.sim.advance(2.5)
    assert handle.ask(messages.SteerRun("left")).id == run_id
    assert handle.ask(messages.InterruptRun("enough")).status == "cancelled"
    with pytest.raises(AsmError) as caught:
        handle.ask(messages.PauseRun())
    assert caught.value.code is ErrorCode.INVALID_OPERATION
    stage.finish()


def test_a_sessions_handle_takes_the_messages(stage):
    run_id = stage.to("running")
    handle = stage.sim.system.session(stage.session.id)
    assert handle.ask(messages.PauseSession("tea", "ann")).status == "paused"
    assert handle.ask(messages.ResumeSession("back", "ann")).status == "active"
    assert stage.sim.events(stage.session.id)[-1].data == {"reason": "back", "by": "ann"}
    assert [run.status for run in handle.ask(messages.InterruptSession()).values()] == ["cancelled"]
    assert stage.sim.run(run_id).status == "cancelled"


@pytest.mark.parametrize(
    "message", [messages.PauseRun(by=7), messages.SteerRun(7), messages.InterruptRun(reason=7)]
)
def test_a_handle_refuses_malformed_messages_and_the_run_goes_on(stage, message):
    run_id = stage.to("running")
    with pytest.raises(AsmError) as caught:
        stage.sim.system.run(run_id).ask(message)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    stage.finish()
    assert stage.sim.run(run_id).status == "completed"
