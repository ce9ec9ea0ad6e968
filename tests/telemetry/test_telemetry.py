"""`Telemetry`: follows the journal of a system, in simulation and with real threads."""

from __future__ import annotations

import logging
import threading

import pytest

import asm_actors as asm
from asm_actors.providers.script import Script, fail, text, tool_call, wait
from asm_actors.testing.system import SimulatedSystem
from supervisors.testing import Gate


def search(query: str) -> str:
    """Find something."""
    return f"found {query}"


def _script(request):
    if any(message["role"] == "tool" for message in request.messages):
        return Script(text("done"))
    return Script(tool_call("call_1", "search", {"query": "x"}))


def _simulated(**options):
    return SimulatedSystem(script=_script, tools=[search], **options)


def _seen(recorder):
    return [(span.kind.value, span.phase.value) for span in recorder.spans]


WHOLE = [
    ("session", "start"),
    ("run", "start"),
    ("provider_attempt", "start"),
    ("provider_attempt", "stop"),
    ("tool_call", "start"),
    ("tool_call", "stop"),
    ("provider_attempt", "start"),
    ("provider_attempt", "stop"),
    ("run", "stop"),
    ("session", "stop"),
]


def _whole_run(sim):
    session = sim.active_session()
    sim.manager.execute_run(sim.manager.start_run(session.id, "Hello").id)
    sim.manager.complete_session(session.id)
    sim.settle()


def test_a_run_of_a_whole_system_is_told():
    recorder = asm.TelemetryRecorder()
    with _simulated() as sim:
        telemetry = asm.Telemetry(sim.system, [recorder])
        telemetry.catch_up()
        _whole_run(sim)
        assert telemetry.catch_up() > 0
        assert telemetry.catch_up() == 0
        assert _seen(recorder) == WHOLE
        [run] = recorder.ended("run")
        assert run.attributes["gen_ai.agent.id"] == "agent"
        assert run.attributes["gen_ai.usage.output_tokens"] > 0
        statistics = telemetry.statistics()
        assert (statistics.spans, statistics.lag, statistics.is_running) == (len(WHOLE), 0, False)
        telemetry.stop()


def test_after_a_restart_it_goes_on_where_it_was_without_doubles():
    recorder, gate = asm.TelemetryRecorder(), Gate()

    def script(request):
        if any(message["role"] == "tool" for message in request.messages):
            return Script(wait(gate), text("done"))
        return Script(tool_call("call_1", "search", {"query": "x"}))

    with SimulatedSystem(script=script, tools=[search]) as sim:
        telemetry = asm.Telemetry(sim.system, [recorder], name="telemetry", after=0)
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "Hello")
        sim.settle()
        telemetry.catch_up()
        telemetry.stop()
        before = len(recorder.spans)
        sim.advance(1)
        sim.restart(timeout=0)
        sim.settle()
        gate.open()
        sim.settle()
        telemetry = asm.Telemetry(sim.system, [recorder], name="telemetry", after=0)
        telemetry.catch_up()
        assert sim.run(run.id).status == "completed"
        starts = [span for span in recorder.spans if span.phase == "start"]
        assert len({span.id for span in starts}) == len(starts)
        [ended] = recorder.ended("run")
        [started] = [span for span in starts if span.kind == "run"]
        assert (ended.id, ended.start_us, ended.trace_id) == (started.id, started.start_us, started.trace_id)
        assert before < len(recorder.spans)
        assert recorder.values("asm.run.recoveries") == [1]
        assert recorder.values("asm.runs") == [1]
        telemetry.stop()


def test_what_was_not_acknowledged_when_the_process_died_comes_again_with_the_same_ids():
    first, second = asm.TelemetryRecorder(), asm.TelemetryRecorder()
    with _simulated() as sim:
        telemetry = asm.Telemetry(sim.system, [first], name="telemetry", after=0)
        _whole_run(sim)
        telemetry.catch_up()
        sim.kill()  # before the acknowledgement was written
        telemetry = asm.Telemetry(sim.system, [second], name="telemetry", after=0)
        telemetry.catch_up()
        telemetry.stop()
    told = {(span.id, span.phase) for span in first.spans}
    assert second.spans
    assert {(span.id, span.phase) for span in second.spans} <= told


def test_a_name_that_an_earlier_version_followed_keeps_its_place(monkeypatch):
    from asm_actors.telemetry import feed

    recorder = asm.TelemetryRecorder()
    with _simulated() as sim:
        with monkeypatch.context() as earlier:
            earlier.setattr(feed, "TELEMETRY_TYPES", feed.TELEMETRY_TYPES - {"tool_approval_requested"})
            asm.Telemetry(sim.system, [recorder], name="telemetry", after=0).catch_up()
            sim.advance(1)
        _whole_run(sim)
        telemetry = asm.Telemetry(sim.system, [recorder], name="telemetry", after="now")
        telemetry.catch_up()
        telemetry.stop()
        assert _seen(recorder) == WHOLE


def test_a_name_that_follows_something_else_is_refused():
    with _simulated() as sim:
        sim.manager.subscribe(name="other", type="message_streamed").close()
        with pytest.raises(asm.ConcurrencyError):
            asm.Telemetry(sim.system, [], name="other").catch_up()


def test_whoever_comes_late_tells_the_whole_of_a_run_under_way():
    gate = Gate()
    recorder = asm.TelemetryRecorder()
    with SimulatedSystem(script=Script(text("so far"), wait(gate), text(" done"))) as sim:
        session = sim.active_session(agent_id="painter")
        run = sim.manager.submit_run(session.id, "Hello")
        sim.settle()
        telemetry = asm.Telemetry(sim.system, [recorder])
        telemetry.catch_up()
        gate.open()
        sim.settle()
        telemetry.catch_up()
        telemetry.stop()
        assert _seen(recorder) == [("provider_attempt", "stop"), ("run", "stop")]
        [ended] = recorder.ended("run")
        assert ended.start_us == sim.run(run.id).started_us
        assert ended.attributes["gen_ai.agent.id"] == "painter"


def test_a_failing_provider_is_told_attempt_by_attempt():
    recorder = asm.TelemetryRecorder()
    script = Script(fail("provider_unavailable", "away"))
    with SimulatedSystem(script=script, retry=asm.RetryPolicy(max_attempts=3)) as sim:
        telemetry = asm.Telemetry(sim.system, [recorder], after=0)
        session = sim.active_session()
        sim.manager.submit_run(session.id, "Hello")
        for _ in range(4):
            sim.settle()
            sim.advance(60)
        telemetry.catch_up()
        telemetry.stop()
    attempts = recorder.ended("provider_attempt")
    assert [span.error.code for span in attempts] == ["provider_unavailable"] * 3
    assert [span.error.code for span in recorder.ended("run")] == ["provider_unavailable"]


def test_secrets_are_not_told():
    recorder = asm.TelemetryRecorder()
    secret = "sk-ant-api03-" + "a" * 40
    with SimulatedSystem(script=Script(fail("provider_error", f"key {secret}"))) as sim:
        telemetry = asm.Telemetry(sim.system, [recorder], after=0)
        session = sim.active_session()
        sim.manager.submit_run(session.id, f"my key is {secret}")
        sim.settle()
        telemetry.catch_up()
        telemetry.stop()
    assert recorder.ended("run")[0].error.message
    assert secret not in repr((recorder.spans, recorder.metrics))


class Raising:
    def on_span(self, span):
        raise RuntimeError("no")

    def on_metric(self, metric):
        raise RuntimeError("no")


def test_a_hook_that_raises_is_logged_once_counted_and_harms_nobody(caplog):
    recorder = asm.TelemetryRecorder()
    with _simulated() as sim:
        telemetry = asm.Telemetry(sim.system, [Raising(), recorder], after=0)
        _whole_run(sim)
        with caplog.at_level(logging.ERROR, logger="asm_actors.telemetry"):
            telemetry.catch_up()
        statistics = telemetry.statistics()
        telemetry.stop()
    assert _seen(recorder) == WHOLE
    assert statistics.hook_failures == len(recorder.spans) + len(recorder.metrics)
    assert len(caplog.records) == 1


def test_one_session_alone_can_be_followed():
    recorder = asm.TelemetryRecorder()
    with _simulated() as sim:
        _whole_run(sim)
        other = sim.active_session()
        telemetry = asm.Telemetry(sim.system, [recorder], session_id=other.id, after=0)
        telemetry.catch_up()
        telemetry.stop()
    assert _seen(recorder) == [("session", "start")]


def test_switched_off_it_does_nothing():
    recorder = asm.TelemetryRecorder()
    with _simulated() as sim:
        with asm.Telemetry(sim.system, [recorder], after=0, enabled=False) as telemetry:
            _whole_run(sim)
            assert telemetry.catch_up() == 0
        assert telemetry.statistics().events == 0
    assert recorder.spans == []


def test_the_configuration_can_switch_it_off():
    config = asm.Config(telemetry_enabled=False)
    with asm.ActorSystem.start(asm.MemoryStore(), {"mock": asm.ScriptedProvider()}, config=config) as system:
        assert not asm.Telemetry(system, []).enabled
        assert asm.Telemetry(system, [], enabled=True).enabled


@pytest.mark.parametrize(
    "options",
    [
        {"hooks": 3},
        {"hooks": [object()]},
        {"name": ""},
        {"after": -1},
        {"after": "begin"},
        {"session_id": 3},
        {"enabled": "yes"},
        {"capacity": 0},
    ],
)
def test_malformed_arguments_are_refused(options):
    with SimulatedSystem() as sim, pytest.raises(asm.ValidationError):
        asm.Telemetry(sim.system, **{"hooks": [], **options})


def test_what_is_no_system_is_refused():
    with pytest.raises(asm.ValidationError):
        asm.Telemetry(object(), [])


# --- With threads ------------------------------------------------------------------------------------------------


@pytest.fixture
def system():
    with asm.ActorSystem.start(asm.MemoryStore(), {"mock": asm.ScriptedProvider()}) as started:
        yield started


def test_on_its_thread_it_tells_everything_up_to_its_stop(system):
    recorder = asm.TelemetryRecorder()
    with asm.Telemetry(system, [recorder]) as telemetry:
        assert telemetry.start() is telemetry
        assert telemetry.statistics().is_running
        with pytest.raises(asm.ConcurrencyError):
            telemetry.catch_up()
        system.sessions.run_once({"prompt": "Hi"}, provider="mock")
    assert [span.kind.value for span in recorder.ended()] == ["provider_attempt", "run", "session"]
    assert not telemetry.statistics().is_running
    assert telemetry.stop()


def test_a_hook_that_hangs_slows_nobody_down(system):
    release, begun = threading.Event(), threading.Event()

    class Hanging:
        def on_span(self, span):
            begun.set()
            release.wait(20)

        def on_metric(self, metric): ...

    telemetry = asm.Telemetry(system, [Hanging()]).start()
    try:
        for _ in range(20):
            system.sessions.run_once({"prompt": "Hi"}, provider="mock")
        assert begun.wait(10)
        assert not telemetry.stop(timeout=0.01)
    finally:
        release.set()


def test_it_ends_with_its_system():
    recorder = asm.TelemetryRecorder()
    system = asm.ActorSystem.start(asm.MemoryStore(), {"mock": asm.ScriptedProvider()})
    telemetry = asm.Telemetry(system, [recorder]).start()
    thread = telemetry._thread
    system.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert telemetry.stop()
