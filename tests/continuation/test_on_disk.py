"""On a real dispatcher and a journal on the disk: a conversation goes on after the end of its system."""

from __future__ import annotations

import asyncio

import asm_actors as asm
from asm_actors.providers.script import Script, text
from asm_actors.transcripts.builder import SUMMARY


def provider():
    return asm.ScriptedProvider(lambda request: Script(text(f"{len(request.messages)} heard")))


def test_a_conversation_outlives_its_system(tmp_path):
    with asm.ActorSystem.start(tmp_path / "journal", {"p": provider()}) as system:
        session = system.sessions.start_session(agent_id="a", run_options={"continuation": "auto"})
        system.sessions.activate_session(session.id)
        for prompt in ("one", "two"):
            run = system.sessions.start_run(session.id, prompt)
            result = system.sessions.execute_run(run.id)
        assert result.output["content"] == "3 heard"
    with asm.ActorSystem.start(tmp_path / "journal", {"p": provider()}) as system:
        run = system.sessions.start_run(session.id, "three")
        assert system.sessions.execute_run(run.id).output["content"] == "5 heard"
        assert len(system._services.transcripts) == 1


def test_it_is_summed_up_on_the_asyncio_surface_too(tmp_path):
    async def talk():
        async with asm.AsyncActorSystem.start(tmp_path / "journal", {"p": provider()}) as system:
            manager = system.sessions
            session = await manager.start_session(agent_id="a")
            await manager.activate_session(session.id)
            run = await manager.start_run(session.id, "one")
            await manager.execute_run(run.id)
            result = await manager.compact_session(session.id, keep_last=0)
            assert (await manager.get_capabilities()).provider == "p"
            transcript = await manager.transcript(session.id)
            return result, [message.content for message in transcript.messages]

    result, texts = asyncio.run(talk())
    assert result.continuation["messages"] == 2
    assert texts == [SUMMARY + "2 heard"]
