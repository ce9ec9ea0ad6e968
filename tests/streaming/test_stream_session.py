"""One-shot streams: their events, their ends, and what closing them means."""

from __future__ import annotations

import gc
import logging

import pykka
import pytest

import asm_actors as asm
from asm_actors import AsmError, RunStatus, SessionStatus
from asm_actors.providers.script import Script, stall, text, tool_call
from asm_actors.services import JOURNAL
from asm_actors.testing.system import SimulatedSystem

ALL = [
    "message_sent",
    "run_started",
    "message_streamed",
    "message_streamed",
    "message_received",
    "token_usage_updated",
    "run_completed",
]


def types(events):
    return [event.type.value for event in events]


# --- Events and ends -----------------------------------------------------------------------------------------------


def test_a_stream_hands_over_each_event_of_the_run_once_in_order_as_it_is_in_the_journal(o):
    stream = o.stream("Hello", provider="mock")
    events = list(stream)
    assert types(events) == ALL
    assert events == o.system.store.read_session(stream.session_id, asm.EventFilter(run_ids=stream.run_id))
    assert list(stream) == []
    assert stream.is_closed


def test_events_come_while_the_run_is_under_way(o):
    stream = o.stream("Hello", provider="gated")
    seen = [next(stream) for _ in range(3)]
    assert (types(seen)[-1], seen[-1].data["content"]) == ("message_streamed", "so far ")
    assert o.status_of(stream.run_id) is RunStatus.RUNNING
    o.gate.open()
    assert types(stream)[-1] == "run_completed"


def test_it_is_a_whole_session_and_the_result_is_that_of_run_once(o):
    stream = o.stream(
        {"prompt": "Hello"},
        provider="mock",
        agent_id="me",
        tags=["one"],
        context={"system_prompt": "Be brief."},
    )
    assert stream.meta == {"session_id": stream.session_id, "run_id": stream.run_id, "provider": "mock"}
    result = stream.result(20)
    assert (result.run_id, result.output["content"]) == (stream.run_id, "Mock response")
    session = o.system.store.session(stream.session_id)
    assert (session.status, session.agent_id, session.tags) == (SessionStatus.COMPLETED, "me", ("one",))
    assert o.providers["mock"].requests[-1].system_prompt == "Be brief."
    assert types(stream) == ALL  # the result does not take them away


def test_options_of_a_run_pass_through(o):
    stream = o.stream("Hello", provider="mock", max_turns=3, adapter_opts={"model": "m"})
    stream.result(20)
    options = o.system.store.run(stream.run_id).options
    assert (options["max_turns"], options["adapter_opts"]) == (3, {"model": "m"})


def test_a_failed_run_ends_with_its_own_events_and_the_result_raises_its_error(o):
    stream = o.stream("Hello", provider="broken")
    events = list(stream)
    assert types(events)[-1] == "run_failed"
    assert events[-1].data["error_message"] == "it broke"
    with pytest.raises(AsmError, match="it broke") as found:
        stream.result()
    assert found.value.code == "provider_error"
    assert o.system.store.session(stream.session_id).status is SessionStatus.FAILED


def test_what_is_refused_before_there_is_a_run_is_raised(opened):
    o = opened(limits=asm.Limits(max_parallel_sessions=1))
    with pytest.raises(AsmError, match="must be one of"):
        o.stream("Hello", provider="nobody")
    first = o.stream("Hello", provider="gated")
    next(first)
    second = o.stream("Hello", provider="mock")
    with pytest.raises(AsmError) as found:
        next(iter(second))
    assert found.value.code == "max_sessions_exceeded"
    assert list(second) == []
    with pytest.raises(AsmError, match="max_parallel_sessions"):
        second.result()


@pytest.mark.parametrize(
    "options",
    [
        {"idle_timeout": 0},
        {"idle_timeout": -1.0},
        {"idle_timeout": "soon"},
        {"shutdown_timeout": -1},
        {"cancel_on_close": "yes"},
        {"event_callback": "no function"},
        {"no_such_option": 1},
        {"input": object()},
    ],
)
def test_malformed_options_are_refused_and_make_nothing(o, options):
    with pytest.raises((AsmError, TypeError)) as found:
        o.stream(**{"input": "Hello", "provider": "mock", **options})
    assert isinstance(found.value, TypeError) or found.value.code == "validation_error"
    assert o.system.store.last_position() == 0


def test_a_callback_is_told_each_event_and_one_that_raises_harms_only_itself(o, caplog):
    seen = []

    def note(event):
        seen.append(event.type.value)
        raise ValueError("mine")

    with caplog.at_level(logging.CRITICAL, "asm_actors.callbacks"):
        stream = o.stream("Hello", provider="mock", event_callback=note)
        assert types(stream) == ALL == seen
    assert stream.result().callback_failures == len(ALL)


def test_waiting_for_the_result_has_a_time(o):
    stream = o.stream("Hello", provider="gated")
    with pytest.raises((pykka.Timeout, TimeoutError)):
        stream.result(0.02)
    o.gate.open()
    assert stream.result(20).status is RunStatus.COMPLETED


# --- Closing -------------------------------------------------------------------------------------------------------


def test_closing_cancels_the_run_and_is_idempotent(o):
    stream = o.stream("Hello", provider="silent")
    assert [next(stream).type.value for _ in range(3)][-1] == "message_streamed"
    stream.close()
    stream.close()
    assert list(stream) == []
    run = o.system.store.run(stream.run_id)
    assert (run.status, run.error["details"]) == (RunStatus.CANCELLED, {"reason": "stream_closed"})
    assert o.system.store.session(stream.session_id).status is SessionStatus.CANCELLED
    with pytest.raises(AsmError) as found:
        stream.result(20)
    assert found.value.code == "cancelled"


def test_a_stream_may_be_closed_before_anything_was_taken_from_it(o):
    stream = o.stream("Hello", provider="silent")
    stream.close()
    assert o.status_of(stream.run_id) is RunStatus.CANCELLED
    assert list(stream) == []


@pytest.mark.parametrize("how", ["made so", "closed so"])
def test_a_run_may_go_on_without_its_stream(o, how):
    stream = o.stream("Hello", provider="gated", cancel_on_close=how != "made so")
    next(stream)
    stream.close(**({} if how == "made so" else {"cancel": False}))
    o.gate.open()
    assert o.await_run(stream.run_id).output["content"] == "so far and more"


def test_closing_after_the_end_changes_nothing(o):
    stream = o.stream("Hello", provider="mock")
    events = list(stream)
    stream.close()
    assert o.status_of(stream.run_id) is RunStatus.COMPLETED
    assert o.system.store.last_position() == len(events) + 3  # the session's own


def test_a_forgotten_stream_closes(o):
    stream = o.stream("Hello", provider="silent")
    next(stream)
    run_id = stream.run_id
    del stream
    gc.collect()
    with pytest.raises(AsmError) as found:
        o.await_run(run_id)
    assert found.value.code == "cancelled"


def test_leaving_its_block_closes_it():
    with asm.ActorSystem.start(
        asm.MemoryStore(), {"silent": asm.ScriptedProvider(Script(text("so far "), stall()))}
    ) as system:
        with system.sessions.stream_session("Hello") as stream:
            for event in stream:
                if event.type is asm.EventType.MESSAGE_STREAMED:
                    break
        assert system.store.run(stream.run_id).status is RunStatus.CANCELLED


def test_a_stream_of_a_system_that_stops_ends(o):
    stream = o.stream("Hello", provider="silent")
    next(stream)
    o.stop()
    assert "run_completed" not in types(stream)


def test_a_stream_outlives_a_restart_of_the_tree_below_it():
    script = [Script(text("so far "), stall()), Script(text("again"))]
    with SimulatedSystem(3, script=script) as simulated:
        stream = simulated.manager.stream_session("Hello")
        seen = [next(stream) for _ in range(3)]
        simulated.crash(simulated.services.whereis(JOURNAL))
        seen += stream
        assert [event.sequence_number for event in seen] == list(range(3, 3 + len(seen)))
        assert types(seen)[-1] == "run_completed"
        assert stream.result().output["content"] == "again"
        simulated.dispatcher.failures.clear()


def test_a_run_that_ends_as_interrupted_ends_its_stream():
    script = [Script(text("so far "), stall()), Script(text("again"))]
    with SimulatedSystem(3, script=script, on_restart="fail") as simulated:
        stream = simulated.manager.stream_session("Hello")
        seen = [next(stream) for _ in range(3)]
        simulated.crash(simulated.services.whereis(JOURNAL))
        seen += stream
        assert types(seen)[-1] == "run_failed"
        with pytest.raises(AsmError) as found:
            stream.result()
        assert found.value.code == "interrupted"
        simulated.dispatcher.failures.clear()


# --- Silence -------------------------------------------------------------------------------------------------------


def test_a_stream_that_hears_nothing_cancels_the_run_and_says_so(o):
    stream = o.stream("Hello", provider="silent", idle_timeout=0.05)
    last = list(stream)[-1]
    assert (last.type.value, last.data["reason"]) == ("run_cancelled", "stream idle timeout after 50 ms")
    with pytest.raises(AsmError, match="stream idle timeout after 50 ms") as found:
        stream.result()
    assert found.value.code == "timeout"
    assert o.status_of(stream.run_id) is RunStatus.CANCELLED


def test_with_cancel_on_close_off_only_the_stream_gives_up(o):
    stream = o.stream("Hello", provider="gated", idle_timeout=0.05, cancel_on_close=False)
    assert types(stream)[-1] == "message_streamed"
    with pytest.raises(AsmError, match="idle"):
        stream.result()
    o.gate.open()
    assert o.await_run(stream.run_id).status is RunStatus.COMPLETED


def test_the_idle_timeout_is_that_of_the_configuration_unless_the_caller_says_otherwise():
    config = asm.Config(stream_idle_timeout_ms=5_000)
    script = Script(text("so far "), stall())
    with SimulatedSystem(3, script=script, config=config) as simulated:
        stream = simulated.system.sessions.stream_session("Hello")
        begin = simulated.clock.monotonic()
        assert list(stream)[-1].data["reason"] == "stream idle timeout after 5000 ms"
        assert 5.0 <= simulated.clock.monotonic() - begin < 6.0
        other = simulated.system.sessions.stream_session("Hello", idle_timeout=60.0)
        begin = simulated.clock.monotonic()
        list(other)
        assert 60.0 <= simulated.clock.monotonic() - begin < 61.0


def test_two_minutes_are_the_default():
    with SimulatedSystem(3, script=Script(text("so far "), stall())) as simulated:
        begin = simulated.clock.monotonic()
        last = list(simulated.system.sessions.stream_session("Hello"))[-1]
        assert last.data["reason"] == "stream idle timeout after 120000 ms"
        assert 120.0 <= simulated.clock.monotonic() - begin < 121.0


def test_while_a_person_is_waited_for_no_time_counts():
    # The tool cannot be told apart from one whose outcome is unknown, so the next life asks; here the events stand for
    # it: what matters is what the stream makes of them.
    with SimulatedSystem(3, script=Script(text("so far "), stall())) as simulated:
        stream = simulated.system.sessions.stream_session("Hello", idle_timeout=5.0)
        for event in stream:
            if event.type is asm.EventType.MESSAGE_STREAMED:
                break
        stream._note(_event("tool_approval_requested", tool_call_id="c1"))
        assert stream._wait() is None
        stream._note(_event("tool_approval_granted", tool_call_id="c1"))
        assert stream._wait() == 5.0
        stream._note(_event("run_paused"))
        assert stream._wait() is None
        stream._note(_event("run_resumed"))
        assert stream._wait() == 5.0
        stream.close()


def _event(kind, **data):
    return asm.Event.new(id="evt_1", type=kind, session_id="ses_1", now=1, data=data)


def test_tools_and_turns_are_in_the_stream():
    @asm.tool
    def look(where: str) -> str:
        """Look."""
        return f"seen {where}"

    script = [Script(tool_call("c1", "look", {"where": "here"})), Script(text("done"))]
    with SimulatedSystem(3, script=script, tools=[look]) as simulated:
        stream = simulated.system.sessions.stream_session("Hello")
        found = types(stream)
        assert (
            found.index("tool_call_started")
            < found.index("tool_call_completed")
            < found.index("run_completed")
        )
        assert stream.result().output["content"] == "done"
