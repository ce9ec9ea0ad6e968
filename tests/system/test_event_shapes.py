"""What the runtime itself writes has the shape that each event type promises, and says whose it is."""

from __future__ import annotations

import asm_actors as asm
from asm_actors.events import shape_warnings
from asm_actors.providers.script import Script, crash, fail, raw, text, thinking, tool_call, tool_result
from asm_actors.testing.system import SimulatedSystem


def search(query: str) -> str:
    """Find something."""
    if query == "bad":
        raise ValueError(query)
    return f"found {query}"


def _script(request):
    if any(message["role"] == "tool" for message in request.messages):
        return Script(text("done"))
    match request.input:
        case "fail":
            return Script(text("half"), fail("provider_error", "broke"))
        case "retry":
            return Script(fail("provider_unavailable", "away"))
        case "crash":
            return Script(crash())
        case "odd":
            return Script(raw("warning", {"a": 1}), thinking("hm"), text("so"))
        case "own":
            return Script(tool_call("call_1", "own", {}), tool_result("call_1", "own", {"a": 1}), text("so"))
        case asked:
            return Script(tool_call("call_1", asked, {"query": "bad" if asked == "search" else "x"}))


def test_every_event_has_the_promised_shape_and_names_its_provider():
    with SimulatedSystem(script=_script, tools=[search], retry=asm.RetryPolicy(max_attempts=2)) as sim:
        session = sim.active_session(metadata={"correlation_id": "cor_1"})
        for asked in ("fail", "retry", "crash", "odd", "own", "search", "no_such_tool"):
            sim.manager.submit_run(session.id, asked)
            for _ in range(5):
                sim.settle()
                sim.advance(60)
        cancelled = sim.manager.start_run(session.id, "odd", metadata={"correlation_id": "cor_2"})
        sim.manager.cancel_run(cancelled.id)
        sim.manager.complete_session(session.id)
        sim.settle()
        events = sim.events(session.id)
        assert {
            "tool_call_failed",
            "error_occurred",
            "run_failed",
            "run_completed",
            "token_usage_updated",
        } <= {event.type.value for event in events}
        assert [warning for event in events for warning in shape_warnings(event.type, event.data)] == []
        assert {event.provider for event in events} == {"mock"}
        assert {event.correlation_id for event in events if event.run_id != cancelled.id} == {"cor_1"}
        assert {event.correlation_id for event in events if event.run_id == cancelled.id} == {"cor_2"}
        failed = [event for event in events if event.type == "run_failed"]
        assert {event.data["provider_error"]["provider"] for event in failed} == {"mock"}


def test_a_session_that_fails_for_a_provider_tells_what_that_said():
    with SimulatedSystem() as sim:
        session = sim.active_session(provider="mock")
        error = asm.ProviderError("provider_timeout", "late")
        sim.manager.fail_session(session.id, error)
        assert error.provider_error is None
        data = sim.events(session.id)[-1].data
        assert (data["error_code"], data["provider_error"]["kind"]) == ("provider_timeout", "timeout")
        assert data["provider_error"]["provider"] == "mock"
