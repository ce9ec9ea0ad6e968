"""Approvals on a real system: awaited and blocking, by the manager and by handles."""

from __future__ import annotations

import asyncio

import asm_actors as asm
from asm_actors.providers.script import Script, text, tool_call


@asm.tool(requires_approval=True)
def pay(key: str) -> str:
    """Pay a bill."""
    return f"paid {key}"


def script(request):
    if request.turn == 1:
        return Script(tool_call("c1", "pay", {"key": "a"}))
    return Script(text(str(request.messages[-1]["tool_output"])))


def started():
    return {"providers": {"mock": asm.ScriptedProvider(script)}, "tools": [pay]}


def first_question(session_id, subscription):
    for event in subscription:
        if event.type is asm.EventType.TOOL_APPROVAL_REQUESTED:
            return event
    raise AssertionError(session_id)


def test_blocking():
    with asm.ActorSystem.start(asm.MemoryStore(), **started()) as system:
        manager = system.sessions
        session = manager.activate_session(manager.start_session(agent_id="agent").id)
        run = manager.submit_run(session.id, "Go.")
        with manager.subscribe(session.id) as subscription:
            first_question(session.id, subscription)
        (asked,) = manager.pending_approvals(session.id)
        manager.grant_approval(run.id, asked.call_id, by="ann", scope=asm.GrantScope.SESSION)
        assert manager.await_run(run.id, timeout=30.0).output["content"] == "paid a"
        assert manager.execute_run(manager.start_run(session.id, "Go.").id).output["content"] == "paid a"
        assert manager.pending_approvals() == []


def test_awaited():
    async def main():
        async with asm.AsyncActorSystem.start(asm.MemoryStore(), **started()) as system:
            manager = system.sessions
            session = await manager.start_session(agent_id="agent")
            await manager.activate_session(session.id)
            run = await manager.submit_run(session.id, "Go.")
            async for event in manager.stream_session_events(session.id, after=0):
                if event.type is asm.EventType.TOOL_APPROVAL_REQUESTED:
                    break
            (asked,) = await manager.pending_approvals(run_id=run.id)
            await manager.deny_approval(run.id, asked.call_id, reason="no")
            result = await manager.await_run(run.id)
            assert result.output["content"] == "the call of pay was denied: no"
            other = await manager.submit_run(session.id, "Go.")
            ended = await manager.cancel_for_approval(other.id, tool_name="pay")
            assert ended.status is asm.RunStatus.CANCELLED

    asyncio.run(main())
