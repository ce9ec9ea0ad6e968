"""Tools that are plain functions in a real system: one that hangs is in nobody's way, and a stop says what is left."""

from __future__ import annotations

import logging
import threading

import pytest

import asm_actors as asm
from asm_actors.providers.script import Script, text, tool_call, usage

pytestmark = pytest.mark.usefixtures("_quiet_logs")

WITHIN_S = 20.0


class Hung:
    """A plain function that hangs until the test lets it go."""

    def __init__(self):
        self.begun = threading.Event()
        self.gate = threading.Event()

    def __call__(self, context: asm.ToolContext) -> str:
        self.context = context
        self.begun.set()
        self.gate.wait(WITHIN_S)
        return "at last"


@pytest.fixture
def hung():
    made = Hung()
    yield made
    made.gate.set()


def script_for(request):
    """Calls the tool that the input names, then answers."""
    if request.turn > 1:
        return Script(text("Done."))
    return Script(tool_call(f"call_{request.input}", request.input), usage(1, 1))


@pytest.fixture
def make_system(hung, tmp_path):
    systems = []

    def make(**options):
        tools = [asm.tool(hung, name="hung", timeout=None), asm.tool(lambda: "quick", name="quick")]
        provider = asm.ScriptedProvider(script_for)
        systems.append(
            asm.ActorSystem.start(tmp_path / "journal", {"mock": provider}, tools=tools, **options)
        )
        return systems[-1]

    yield make
    hung.gate.set()
    for system in systems:
        system.stop()


def begin_hanging(system, hung):
    session = system.sessions.start_session(agent_id="agent")
    system.sessions.activate_session(session.id)
    run = system.sessions.submit_run(session.id, "hung")
    assert hung.begun.wait(WITHIN_S)
    return run


def test_a_tool_that_hangs_stops_neither_other_tools_nor_reads_of_the_store(make_system, hung):
    system = make_system(tool_threads=2)
    run = begin_hanging(system, hung)
    for _ in range(3):
        result = system.sessions.run_once("quick")
        assert [event.type for event in result.events].count("tool_call_completed") == 1
    assert system.sessions.get_session_events(run.session_id)
    assert system.queries.search_sessions().sessions
    assert system.sessions.get_run(run.id).status == "running"
    hung.gate.set()
    system.sessions.await_run(run.id, timeout=WITHIN_S)
    assert hung.context == asm.ToolContext(run.session_id, run.id, "call_hung", 1, "agent")


def test_a_tool_is_told_that_its_run_was_cancelled(make_system, hung):
    system = make_system()
    run = begin_hanging(system, hung)
    assert not hung.context.is_cancelled()
    assert system.sessions.cancel_run(run.id).status == "cancelled"
    assert hung.context.is_cancelled()
    assert system.services.directory.tool_threads.n_left == 1


def test_a_tool_that_never_ends_holds_up_a_stop_for_a_bounded_time_and_is_named(make_system, hung, caplog):
    system = make_system()
    begin_hanging(system, hung)
    caplog.set_level(logging.WARNING, logger="supervisors")
    real_close = system.dispatcher.close
    system.dispatcher.close = lambda timeout=10.0: real_close(0.5)
    report = system.stop(timeout=0.0)
    assert not report.is_clean
    assert "tools-0 (hung)" in caplog.text
