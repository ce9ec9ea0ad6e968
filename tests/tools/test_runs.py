"""Runs whose models call tools of the host, in simulated systems."""

from __future__ import annotations

import asyncio

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.anthropic_request import build_body
from asm_actors.providers.script import Script, text
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.testing.system import SimulatedSystem
from asm_actors.tools.context import ToolContext
from asm_actors.tools.tool import tool

pytestmark = pytest.mark.usefixtures("_quiet_logs")


def run_in(sim, session=None, **options):
    session = sim.active_session() if session is None else session
    return sim.manager.submit_run(session.id, "Compute", **options)


@pytest.mark.parametrize("seed", range(5))
def test_a_model_gets_the_results_of_its_calls_and_answers(bench, seed):
    turns = bench.calls(("add", {"a": 1, "b": 2}), ("multiply", {"a": 3, "b": 4})), bench.says("3 and 12")
    with bench.system(*turns, seed=seed) as sim:
        run = run_in(sim)
        result = sim.manager.await_run(run.id)
        assert result.output == {"content": "3 and 12", "stop_reason": "end_turn", "tool_calls": []}
        assert result.token_usage == {"input_tokens": 30, "output_tokens": 12}
        assert result.run.turn_count == 2
        assert sorted(bench.made) == [("add", 1, 2), ("multiply", 3, 4)]
        first, second = bench.provider.requests
        assert [each["name"] for each in first.tools] == ["add", "multiply", "fail", "hang", "charge"]
        assert [message.get("tool_output") for message in second.messages] == [None, None, 3, {"product": 12}]
        assert sim.types_of(run.id) == [
            "message_sent",
            "run_started",
            "message_streamed",
            "message_received",
            "token_usage_updated",
            "turn_completed",
            "tool_call_started",
            "tool_call_started",
            "tool_call_completed",
            "tool_call_completed",
            "message_streamed",
            "message_received",
            "token_usage_updated",
            "run_completed",
        ]
        sim.check_promises()


def test_the_next_request_is_one_that_a_messages_api_takes(bench):
    turns = bench.calls(("add", {"a": 1, "b": 2}), ("fail", {})), bench.says()
    with bench.system(*turns) as sim:
        sim.manager.await_run(run_in(sim).id)
        body = build_body(bench.provider.requests[1], model="m", max_tokens=100)
    user, assistant, results = body["messages"]
    assert user == {"role": "user", "content": "Compute"}
    assert [block["type"] for block in assistant["content"]] == ["text", "tool_use", "tool_use"]
    assert results == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "call_1", "content": "3"},
            {
                "type": "tool_result",
                "tool_use_id": "call_2",
                "content": "fail failed: ValueError: no such thing",
                "is_error": True,
            },
        ],
    }
    assert {each["name"] for each in body["tools"]} == {"add", "multiply", "fail", "hang", "charge"}


def test_calls_of_one_turn_run_at_the_same_time(bench):
    here = {name: asyncio.Event() for name in "ab"}

    @tool
    async def meet(who: str, whom: str) -> str:
        here[who].set()
        await here[whom].wait()
        return who

    bench.tools = [meet]
    calls = bench.calls(("meet", {"who": "a", "whom": "b"}), ("meet", {"who": "b", "whom": "a"}))
    with bench.system(calls, bench.says()) as sim:
        assert sim.manager.await_run(run_in(sim).id).output["content"] == "Done."


def test_a_tool_that_is_over_its_time_is_answered_as_an_error(bench):
    with bench.system(bench.calls(("hang", {})), bench.says()) as sim:
        run = run_in(sim)
        sim.advance(4)
        assert sim.run(run.id).status == "running"
        sim.advance(2)
        assert sim.run(run.id).status == "completed"
        assert "within 5 s" in bench.provider.requests[1].messages[-1]["tool_output"]
        assert bench.cancelled == ["hang"]


def test_arguments_are_checked_before_the_tool_is_called_and_the_model_is_told_what_is_wrong(bench):
    with bench.system(bench.calls(("add", {"a": 1, "b": "two"}), ("add", {"a": 1})), bench.says()) as sim:
        run = run_in(sim)
        assert sim.manager.await_run(run.id).output["content"] == "Done."
        assert bench.made == []
        wrong, missing = (one["tool_output"] for one in bench.provider.requests[1].messages[-2:])
        assert "b: 'two' is not of type 'integer'" in wrong
        assert "missing: b" in missing
        sim.check_promises()


@pytest.mark.parametrize("is_async", [False, True])
def test_a_tool_is_told_which_call_it_answers_and_the_same_one_when_it_is_called_again(bench, is_async):
    told = []

    async def one(context: ToolContext, n: int) -> int:
        told.append(context)
        if len(told) == 1:
            await bench.gate.wait()
        return n

    def other(n: int, context: ToolContext) -> int:
        told.append(context)
        return n

    bench.tools = [tool(one if is_async else other, name="look", safe_to_repeat=True)]
    with bench.system(bench.calls(("look", {"n": 1})), bench.says()) as sim:
        run = run_in(sim)
        sim.settle()
        if is_async:
            sim.kill()
        assert sim.manager.await_run(run.id).output["content"] == "Done."
        expected = [ToolContext(run.session_id, run.id, "call_1", attempt, "agent") for attempt in (1, 2)]
        assert told == expected[: len(told)]
        assert len(told) == (2 if is_async else 1)
        assert "context" not in bench.provider.requests[0].tools[0]["input_schema"]["properties"]


def test_a_tool_is_told_where_the_files_of_its_run_are(bench, tmp_path):
    told = []

    @tool
    def look(context: ToolContext) -> None:
        told.append(context.workspace_path)

    bench.tools = [look]
    here = {"path": str(tmp_path / "here"), "strategy": "hash", "store_path": str(tmp_path / "kept")}
    (tmp_path / "here").mkdir()
    with bench.system(bench.calls(("look", {})), bench.says()) as sim:
        for workspace in ({**here, "enabled": True}, {**here, "enabled": False}, None):
            sim.manager.await_run(run_in(sim, workspace=workspace).id)
    assert told == [str(tmp_path / "here"), None, None]


def test_a_run_may_take_so_many_turns_and_no_more(bench):
    with bench.system(bench.calls(("add", {"a": 1, "b": 2}))) as sim:
        session = sim.active_session()
        run = run_in(sim, session, max_turns=3)
        with pytest.raises(AsmError) as caught:
            sim.manager.await_run(run.id)
        assert caught.value.code is ErrorCode.POLICY_VIOLATION
        assert caught.value.details["max_turns"] == 3
        assert sim.run(run.id).token_usage == {"input_tokens": 30, "output_tokens": 15}
        assert len(bench.made) == 2
        sim.check_promises()


# --- Which tools --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "option", "offered"),
    [
        (None, None, ["add", "multiply", "fail", "hang", "charge"]),
        (["add", "fail", "unknown"], None, ["add", "fail"]),
        (None, ["multiply"], ["multiply"]),
        (["add"], ["multiply"], []),
        (["add"], ["add", "multiply"], ["add"]),
        ("add", None, []),
        ({"add": True}, None, []),
        (None, [], []),
    ],
)
def test_the_session_and_the_run_each_restrict_the_tools(bench, context, option, offered):
    with bench.system(Script(text("Hi"))) as sim:
        session = sim.active_session(context={} if context is None else {"tools": context})
        sim.manager.await_run(run_in(sim, session, tools=option).id)
        assert [each["name"] for each in bench.provider.requests[0].tools] == offered


def test_a_caller_who_brings_tools_of_his_own_runs_them_himself(bench):
    with bench.system(bench.calls(("add", {"a": 1, "b": 2}))) as sim:
        run = run_in(sim, adapter_opts={"tools": [{"name": "add"}]})
        assert sim.manager.await_run(run.id).output["tool_calls"] == [
            {"id": "call_1", "name": "add", "input": {"a": 1, "b": 2}}
        ]
        assert bench.provider.requests[0].tools == ()
        assert bench.made == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tools", ["unknown"]),
        ("tools", "add"),
        ("tools", 3),
        ("tools", [3]),
        ("max_turns", 0),
        ("max_turns", "3"),
        ("max_turns", True),
        ("on_restart", "again"),
        ("on_restart", 1),
        ("on_unknown_outcome", "guess"),
    ],
)
def test_a_malformed_option_is_refused_and_nothing_is_made(bench, name, value):
    with bench.system(Script(text("Hi"))) as sim:
        session = sim.active_session()
        operations = (
            lambda: sim.manager.start_run(session.id, "x", **{name: value}),
            lambda: sim.manager.submit_run(session.id, "x", **{name: value}),
            lambda: sim.manager.run_once("x", **{name: value}),
        )
        for operation in operations:
            with pytest.raises(AsmError) as caught:
                operation()
            assert caught.value.code is ErrorCode.VALIDATION_ERROR
            assert name in caught.value.message
        assert sim.store.runs() == []


def test_a_system_refuses_tools_that_are_none():
    with pytest.raises(AsmError), SimulatedSystem(tools=["add"]):
        pass


# --- Cancelled ----------------------------------------------------------------------------------------------------


def test_cancelling_a_run_cancels_its_tools_and_waits_for_them(bench):
    with bench.system(bench.calls(("hang", {}), ("charge", {"amount": 3}))) as sim:
        run = run_in(sim)
        sim.settle()
        final = sim.manager.cancel_run(run.id, reason="enough")
        assert (final.status, final.error["details"]) == ("cancelled", {"reason": "enough"})
        assert bench.cancelled == ["hang"]
        assert sim.types_of(run.id)[-3:] == ["tool_call_failed", "tool_call_failed", "run_cancelled"]
        sim.check_promises()


def test_a_deadline_ends_tools_too(bench):
    with bench.system(bench.calls(("charge", {"amount": 3}))) as sim:
        run = run_in(sim, deadline=10.0)
        sim.advance(9)
        assert sim.run(run.id).status == "running"
        sim.advance(2)
        assert sim.run(run.id).status == "timeout"
        sim.check_promises()


@pytest.mark.parametrize("steps", range(0, 90, 3))
def test_a_cancel_at_any_moment_ends_the_run_once_and_leaves_no_call_open(bench, steps):
    turns = bench.calls(("add", {"a": 1, "b": 2}), ("hang", {})), bench.says()
    with bench.system(*turns, seed=steps) as sim:
        session = sim.active_session()
        sim.operations.submit_run(session.id, "x", id="run_mine")
        sim.steps(steps)
        cancelled = sim.operations.cancel_run("run_mine")
        sim.advance(60)
        if sim.error_of(cancelled) is None:
            types = sim.types_of("run_mine")
            ended = types.count("tool_call_completed") + types.count("tool_call_failed")
            assert types.count("tool_call_started") == ended
        sim.check_promises()


def test_a_provider_that_restarts_between_two_turns_is_waited_for(bench):
    with bench.system(bench.calls(("charge", {"amount": 3})), bench.says()) as sim:
        run = run_in(sim)
        sim.settle()
        sim.crash(sim.services.whereis(("provider", "mock")))
        bench.gate.open()
        sim.advance(5)
        assert sim.run(run.id).status == "completed"
        sim.check_promises()


def test_the_golden_conversation_of_several_turns_is_played_to_its_end():
    @tool
    def get_weather(city: str) -> str:
        return f"12 degrees in {city}"

    provider = ScriptedProvider.golden("multi_turn")
    with SimulatedSystem(providers={"mock": provider}, tools=[get_weather]) as sim:
        result = sim.manager.run_once("How is the weather in Oslo?")
        assert result.output["content"] == "It is 12 degrees in Oslo."
        assert provider.requests[1].messages[-1]["tool_output"] == "12 degrees in Oslo"
