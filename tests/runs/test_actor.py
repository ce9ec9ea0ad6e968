"""Runs as actors, between their session and their provider, on the simulation; and a few on the real thing."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from asm_actors import ActorSystem, AsyncActorSystem
from asm_actors.config import Limits
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.retry import RetryPolicy
from asm_actors.providers.script import Script, crash, fail, sleep, stall, text, wait
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.services import provider_name
from asm_actors.testing.promises import journal_faults, live_faults
from asm_actors.testing.system import SimulatedSystem
from supervisors.testing import Gate, settle

pytestmark = pytest.mark.usefixtures("_quiet_logs")


def one(seed, provider, **options):
    return SimulatedSystem(seed, providers={"mock": provider}, **options)


def submitted(sim, **options):
    """A run in a session of its own, and a future of its result."""
    session = sim.active_session(**options)
    run = sim.manager.submit_run(session.id, "Hello")
    return run, sim.operations.await_run(run.id)


# --- Crashes of the provider ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_crash_before_anything_was_said_is_retried_and_on_record(seed):
    provider = ScriptedProvider([Script(crash()), Script(text("Hello"))])
    with one(seed, provider) as sim:
        run, result = submitted(sim)
        sim.advance(5)
        assert result.get().output["content"] == "Hello"
        assert sim.types_of(run.id).count("error_occurred") == 1
        assert sim.run(run.id).attempt == 1
        sim.check_promises()


@pytest.mark.parametrize("seed", range(5))
def test_a_crash_after_something_was_said_fails_the_run_and_keeps_what_was_said(seed):
    gate = Gate()
    provider = ScriptedProvider(Script(text("Hel"), wait(gate), crash(RuntimeError("segfault"))))
    with one(seed, provider) as sim:
        run, result = submitted(sim)
        sim.settle()
        gate.open()
        sim.advance(5)
        error = sim.error_of(result)
        assert error.code is ErrorCode.PROVIDER_UNAVAILABLE
        assert "segfault" in error.message
        record = sim.run(run.id)
        assert (record.status, record.output) == ("failed", {"content": "Hel", "partial": True})
        assert provider.calls == 1
        sim.check_promises()


def test_a_crash_takes_down_the_other_turns_of_its_provider_which_are_retried_if_they_may_be():
    gate = Gate()
    scripts = {
        "spoke": Script(text("Hel"), stall()),
        "silent": Script(wait(gate), text("Done")),
        "bad": Script(crash()),
    }
    provider = ScriptedProvider(lambda request: scripts[request.input])
    with one(0, provider) as sim:
        session = [sim.active_session() for _ in range(3)]
        spoke = sim.manager.submit_run(session[0].id, "spoke")
        silent = sim.manager.submit_run(session[1].id, "silent")
        sim.settle()
        scripts["bad"], again = Script(crash()), Script(text("Better"))
        bad = sim.manager.submit_run(session[2].id, "bad")
        while sim.services.whereis(provider_name("mock")) is not None:
            assert sim.dispatcher.step()
        scripts["bad"] = again
        gate.open()
        sim.advance(5)
        assert sim.run(spoke.id).status == "failed"
        assert sim.run(silent.id).output["content"] == "Done"
        assert sim.run(bad.id).output["content"] == "Better"
        sim.check_promises()


def test_a_run_survives_three_crashes_of_its_provider_and_no_fourth():
    provider = ScriptedProvider(Script(crash()))
    with one(0, provider) as sim:
        run, result = submitted(sim)
        sim.advance(60)
        assert sim.error_of(result).code is ErrorCode.PROVIDER_UNAVAILABLE
        assert provider.calls == 4
        assert sim.types_of(run.id).count("error_occurred") == 3
        sim.check_promises()


@pytest.mark.parametrize("seed", range(5))
def test_a_crash_storm_gives_its_provider_up_and_says_so_while_others_go_on(seed):
    good = ScriptedProvider(Script(text("Hel"), sleep(30), text("lo")))
    bad = ScriptedProvider(Script(crash()))
    with SimulatedSystem(seed, providers={"good": good, "bad": bad}) as sim:
        fine, fine_result = submitted(sim, provider="good")
        doomed = []
        for _ in range(2):
            doomed.append(submitted(sim, provider="bad"))
            sim.advance(4)
        assert sim.manager.status()["lost_providers"] == ["bad"]
        assert sim.services.whereis(provider_name("bad")) is None
        assert {sim.error_of(result).code for _, result in doomed} == {ErrorCode.PROVIDER_UNAVAILABLE}
        assert {sim.run(run.id).status for run, _ in doomed} == {"failed"}
        session = sim.active_session(provider="bad")
        with pytest.raises(AsmError) as caught:
            sim.manager.submit_run(session.id, "Hello")
        assert caught.value.code is ErrorCode.PROVIDER_UNAVAILABLE
        assert "given up" in caught.value.message
        sim.advance(20)
        assert fine_result.get().output["content"] == "Hello"
        assert sim.run(fine.id).attempt == 0
        assert sim.system.is_running
        sim.check_promises()


@pytest.mark.parametrize("steps", range(0, 60, 3))
def test_a_cancel_at_any_moment_of_a_crash_and_restart_ends_the_run_once(steps):
    provider = ScriptedProvider(Script(crash()))
    with one(steps, provider) as sim:
        run, result = submitted(sim)
        sim.steps(steps)
        cancelled = sim.operations.cancel_run(run.id)
        sim.advance(30)
        assert cancelled.get().status in ("cancelled", "failed")
        assert result.is_available
        sim.check_promises()


def test_a_run_whose_provider_is_being_restarted_is_cancelled_at_once():
    with one(0, ScriptedProvider(Script(crash()))) as sim:
        run, _ = submitted(sim)
        while sim.services.whereis(provider_name("mock")) is not None:
            assert sim.dispatcher.step()
        sim.settle()
        assert sim.run_ref(run.id).life.actor.state.phase.value == "parked"
        before = sim.clock.monotonic()
        assert sim.manager.cancel_run(run.id).status == "cancelled"
        assert sim.clock.monotonic() == before
        sim.check_promises()


def test_a_run_whose_provider_is_not_configured_any_more_fails_at_once():
    with SimulatedSystem(providers={"old": ScriptedProvider(Script(stall()))}) as sim:
        session = sim.active_session(provider="old")
        sim.manager.submit_run(session.id, "one")
        sim.settle()
        run = sim.manager.submit_run(session.id, "two")
        sim.providers = {"new": ScriptedProvider()}
        sim.kill()
        sim.settle()
        assert sim.run(run.id).error["code"] == "provider_unavailable"
        sim.check_promises()


# --- Failures and retries ------------------------------------------------------------------------------------------


def test_retry_after_is_waited_for_on_the_clock_and_on_record():
    busy = fail(ErrorCode.PROVIDER_RATE_LIMITED, "busy", retry_after=30.0)
    provider = ScriptedProvider([Script(busy), Script(text("Thanks"))])
    with one(0, provider, retry=RetryPolicy(jitter=0)) as sim:
        run, result = submitted(sim)
        sim.advance(29.9)
        assert not result.is_available
        (noted,) = [event for event in sim.events_of(run.id) if event.type == "error_occurred"]
        assert noted.data["retry_in_s"] == 30.0
        sim.advance(0.2)
        assert result.get().output["content"] == "Thanks"
        assert sim.run(run.id).attempt == 1
        sim.check_promises()


def test_a_deadline_ends_a_run_that_waits_to_be_retried():
    provider = ScriptedProvider(Script(fail(ErrorCode.PROVIDER_RATE_LIMITED, "busy", retry_after=100.0)))
    with one(0, provider) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "Hello", deadline=10.0)
        sim.advance(11)
        assert sim.run(run.id).status == "timeout"
        sim.advance(200)
        assert provider.calls == 1
        sim.check_promises()


def test_a_long_answer_to_a_slow_journal_keeps_its_order_and_loses_nothing():
    provider = ScriptedProvider(chunks=[f"{n} " for n in range(3000)])
    for seed in range(3):
        with one(seed, provider) as sim:
            run, result = submitted(sim)
            sim.settle()
            said = "".join(e.data["content"] for e in sim.events_of(run.id) if e.type == "message_streamed")
            assert said == "".join(f"{n} " for n in range(3000)) == result.get().output["content"]
            sim.check_promises()


class _Stuck(ScriptedProvider):
    """Its streams do not close."""

    async def stream(self, request):
        async for item in super().stream(request):
            try:
                yield item
            except GeneratorExit:
                raise
        while not self.gate.is_open:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                await self.gate.wait()


def test_a_stream_that_does_not_close_is_given_up_after_a_while_and_the_slot_is_free():
    provider = _Stuck(Script(text("Hel"), complete=False))
    provider.gate = Gate()
    with one(0, provider, limits=Limits(max_parallel_runs=1)) as sim:
        run, _ = submitted(sim)
        sim.settle()
        cancelled = sim.operations.cancel_run(run.id)
        sim.advance(20)
        assert not cancelled.is_available
        sim.advance(20)
        assert cancelled.get().error["details"]["stream_left_open"] is True
        assert sim.manager.status()["active_runs"] == 0
        provider.gate.open()
        sim.check_promises()


# --- Results and callbacks -------------------------------------------------------------------------------------------


def test_a_result_knows_its_runs_events_whoever_asks_for_it():
    with one(0, ScriptedProvider()) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "Hello")
        sim.manager.submit_run(session.id, "another")
        for result in (sim.manager.await_run(run.id), sim.manager.await_run(run.id)):
            assert [event.run_id for event in result.events] == [run.id] * len(result.events)
            assert [event.type.value for event in result.events] == sim.types_of(run.id)
        once = sim.manager.run_once("Hello")
        assert once.events[-1].type == "run_completed"


def test_a_callback_gets_every_event_of_its_run_and_of_no_other():
    with one(0, ScriptedProvider()) as sim:
        session = sim.active_session()
        sim.manager.submit_run(session.id, "before")
        run = sim.manager.start_run(session.id, "Hello")
        heard = []
        result = sim.manager.execute_run(run.id, event_callback=heard.append)
        assert [event.id for event in heard] == [event.id for event in result.events]
        assert result.callback_failures == 0


def test_a_callback_that_raises_is_counted_and_logged_once_and_the_run_goes_on(caplog):
    caplog.set_level(logging.ERROR, logger="asm_actors.callbacks")

    def callback(event):
        raise ValueError("mine")

    with one(0, ScriptedProvider()) as sim:
        session = sim.active_session()
        run = sim.manager.start_run(session.id, "Hello")
        result = sim.manager.execute_run(run.id, event_callback=callback)
        assert result.status == "completed"
        assert result.callback_failures == len(result.events)
        assert len(caplog.records) == 1
        assert run.id in caplog.text
        sim.check_promises()


@pytest.mark.parametrize("refused", ["pending session", "over", "unknown"])
def test_a_callback_does_not_keep_a_refusal_from_its_caller(refused):
    with one(0, ScriptedProvider()) as sim:
        session = sim.manager.start_session(agent_id="a")
        run_id = sim.manager.start_run(session.id, "Hello").id
        if refused == "over":
            sim.manager.cancel_run(run_id)
        heard = []
        with pytest.raises(AsmError) as caught:
            sim.manager.execute_run(
                "run_none" if refused == "unknown" else run_id, event_callback=heard.append
            )
        assert caught.value.code in (ErrorCode.INVALID_OPERATION, ErrorCode.RUN_NOT_FOUND)
        sim.check_promises()


def test_run_once_with_a_callback_leaves_the_session_as_the_run_ended():
    scripts = [Script(text("Hi")), Script(fail(ErrorCode.PROVIDER_ERROR, "no"))]
    with one(0, ScriptedProvider(scripts)) as sim:
        heard = []
        result = sim.manager.run_once("Hello", event_callback=heard.append)
        assert [event.run_id for event in heard] == [result.run_id] * len(heard)
        assert sim.session(result.session_id).status == "completed"
        with pytest.raises(AsmError) as caught:
            sim.manager.run_once("Hello", event_callback=heard.append)
        assert caught.value.code is ErrorCode.PROVIDER_ERROR
        assert [session.status for session in sim.manager.list_sessions()] == ["failed", "completed"]
        sim.check_promises()


# --- On the real dispatcher, with a journal on disk ------------------------------------------------------------------


@pytest.fixture
def real(tmp_path):
    """Starts systems on `LoopDispatcher` and LMDB; each is stopped, and its promises are checked."""
    made = []

    def start(provider, **options):
        system = ActorSystem.start(tmp_path / "journal", {"mock": provider}, **options)
        made.append(system)
        return system

    yield start
    for system in made:
        if system.is_running:
            settle(system.dispatcher)
            assert journal_faults(system.store) == []
            assert live_faults(system.services) == []
        system.stop()


def test_many_runs_at_once_all_end_and_every_slot_is_free(real):
    system = real(ScriptedProvider(chunks=5), limits=Limits(max_parallel_runs=3, max_parallel_sessions=None))
    manager = system.sessions
    sessions = [manager.activate_session(manager.start_session(agent_id="a").id) for _ in range(10)]
    runs = [manager.submit_run(session.id, str(n)) for session in sessions for n in range(3)]
    assert {manager.await_run(run.id, timeout=30).status for run in runs} == {"completed"}
    assert manager.status()["active_runs"] == 0


def test_a_cancel_closes_a_stalled_stream(real):
    provider = ScriptedProvider(Script(text("Hel"), stall()))
    system = real(provider)
    manager = system.sessions
    session = manager.activate_session(manager.start_session(agent_id="a").id)
    run = manager.submit_run(session.id, "Hello")
    with manager.subscribe(session.id, run_id=run.id, type="message_streamed") as events:
        next(iter(events))
    assert manager.cancel_run(run.id).output == {"content": "Hel", "partial": True}
    assert provider.open_streams == 0


def test_a_callback_that_blocks_delays_its_own_call_only(real):
    system = real(ScriptedProvider())
    manager = system.sessions
    session = manager.activate_session(manager.start_session(agent_id="a").id)
    run = manager.start_run(session.id, "Hello")
    blocked, release = threading.Event(), threading.Event()

    def callback(event):
        blocked.set()
        assert release.wait(30)

    found = []
    caller = threading.Thread(
        target=lambda: found.append(manager.execute_run(run.id, event_callback=callback))
    )
    caller.start()
    assert blocked.wait(30)
    assert manager.await_run(run.id, timeout=30).status == "completed"
    assert manager.run_once("Hello").status == "completed"
    release.set()
    caller.join(30)
    assert found[0].callback_failures == 0


def test_a_journal_on_disk_is_taken_up_by_the_next_system(real):
    system = real(ScriptedProvider(Script(text("Hel"), stall())))
    manager = system.sessions
    session = manager.activate_session(manager.start_session(agent_id="a").id)
    under_way = manager.submit_run(session.id, "one")
    queued = manager.submit_run(session.id, "two")
    settle(system.dispatcher)
    assert set(system.stop().orphans) == {under_way.id, queued.id}
    manager = real(ScriptedProvider()).sessions
    assert manager.await_run(queued.id, timeout=30).status == "completed"
    result = manager.await_run(under_way.id, timeout=30)
    assert (result.output["content"], result.run.recoveries) == ("Mock response", 0)
    types = [event.type for event in result.events]
    assert types.index("run_interrupted") + 1 == types.index("run_recovered")


async def _on_asyncio(path):
    async with AsyncActorSystem.start(path, {"mock": ScriptedProvider()}) as system:
        heard = []

        async def callback(event):
            await asyncio.sleep(0)
            heard.append(event)

        result = await system.sessions.run_once("Hello", event_callback=callback)
        plain = await system.sessions.run_once("Hello")
        with pytest.raises(AsmError) as caught:
            await system.sessions.execute_run(plain.run_id, event_callback=callback)
        assert caught.value.code is ErrorCode.INVALID_OPERATION
        assert [event.id for event in heard[: len(result.events)]] == [event.id for event in result.events]
        assert result.output == plain.output


def test_the_asyncio_surface_does_the_same(tmp_path):
    asyncio.run(_on_asyncio(tmp_path / "journal"))
