"""Handles of an `AsyncActorSystem`: what they are asked is awaited, and the caller's loop goes on meanwhile."""

from __future__ import annotations

import asyncio

import pytest

import asm_actors as asm
from asm_actors import AsmError, ErrorCode, messages
from asm_actors.providers.script import Script, stall, text


def on_a_system(work):
    """Run `work(system, session)` on an event loop, with a provider that never finishes its answer."""

    async def main():
        provider = asm.ScriptedProvider(Script(text("Hel"), stall()))
        async with asm.AsyncActorSystem.start(asm.MemoryStore(), {"mock": provider}) as system:
            session = await system.sessions.start_session(agent_id="a")
            try:
                return await work(system, session)
            finally:
                await system.stop(cancel_runs=True)

    return asyncio.run(main())


def test_what_a_session_and_a_run_are_asked_is_awaited():
    async def work(system, session):
        handle = system.session(session.id)
        assert (await handle.ask(messages.ActivateSession())).status == "active"
        run = await system.sessions.submit_run(session.id, "Hello")
        assert (await handle.ask(messages.GetStatus(), timeout=20))["in_flight_runs"] == [run.id]
        return await system.run(run.id).ask(messages.CancelRun(reason="enough"), timeout=20)

    assert on_a_system(work).status == "cancelled"


def test_the_loop_of_who_asks_goes_on_until_the_time_is_over():
    async def work(system, session):
        await system.session(session.id).ask(messages.ActivateSession())
        run = await system.sessions.submit_run(session.id, "Hello")
        for handle in (system.run(run.id), system.session(session.id)):
            ticks = 0

            async def tick():
                nonlocal ticks
                while True:
                    ticks += 1
                    await asyncio.sleep(0)

            ticking = asyncio.ensure_future(tick())
            with pytest.raises(TimeoutError):
                await handle.ask(messages.AwaitRun(run.id), timeout=0.02)
            ticking.cancel()
            assert ticks > 1

    on_a_system(work)


def test_what_is_refused_is_raised_where_it_is_awaited_and_what_is_no_message_at_once():
    async def work(system, session):
        handle = system.session(session.id)
        answer = handle.ask(messages.ResumeSession())
        with pytest.raises(AsmError) as caught:
            await answer
        assert caught.value.code is ErrorCode.INVALID_OPERATION
        for asked in (handle, system.run("run_1")):
            with pytest.raises(AsmError) as caught:
                asked.ask("hello")
            assert caught.value.code is ErrorCode.VALIDATION_ERROR
            with pytest.raises(AsmError):
                asked.ask(messages.CancelRun(), timeout="soon")

    on_a_system(work)


def test_without_blocking_they_give_the_future_itself():
    async def work(system, session):
        handle = system.session(session.id)
        future = handle.ask(messages.ActivateSession(), block=False)
        assert (await asyncio.to_thread(future.get, timeout=20)).status == "active"
        run = await system.sessions.submit_run(session.id, "Hello")
        assert (await system.run(run.id).ask(messages.CancelRun(), block=False)).status == "cancelled"
        handle.tell(messages.PauseSession())
        assert (await handle.ask(messages.GetSession())).status == "paused"

    on_a_system(work)
