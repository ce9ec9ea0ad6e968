"""Turns that call the host's tools: what is written before what is done, and what the model is told."""

from __future__ import annotations

import pytest

from asm_actors import effects as fx
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers import messages as p
from asm_actors.providers.items import ToolCallEnded, ToolCallStarted
from asm_actors.runs import state as core
from asm_actors.runs.calls import UNKNOWN_OUTCOME, Call, messages_of_turn
from asm_actors.runs.messages import CancelRun, Durable, RunAppends
from asm_actors.tools.tool import Tool

SCHEMA = {"type": "object", "properties": {"at": {}}, "required": ["at"], "additionalProperties": False}
LOOK = Tool("look", "Looks", SCHEMA, print, safe_to_repeat=True)
CHARGE = Tool("charge", "Charges", {"type": "object"}, print)
TOOLS = (LOOK, CHARGE)
BOOM = AsmError(ErrorCode.TOOL_EXECUTION_FAILED, "look failed: boom")


def streaming(bench, **options):
    return bench("streaming", tools=TOOLS, **options)


def drafts(bench, effects, kind):
    appends = bench.notices(effects, RunAppends) + bench.notices(effects, core.RunEnded)
    return [draft.data for append in appends for draft in append.drafts if draft.type == kind]


def called(effects):
    return [effect.call_id for effect in effects if type(effect) is fx.CallTool]


def asked(effects):
    (request,) = [e.message.request for e in effects if type(e) is fx.ToProvider]
    return request


# --- The boundary ------------------------------------------------------------------------------------------------


def test_the_boundary_of_a_turn_is_one_append_with_the_runs_record_and_the_starts_of_its_calls(bench):
    run = streaming(bench)
    effects = run.call(("look", {"at": "a"}), ("charge", {"amount": 1}))
    assert len(effects) == 1
    assert run.types(effects) == [
        "message_streamed",
        "message_received",
        "token_usage_updated",
        "turn_completed",
        "tool_call_started",
        "tool_call_started",
    ]
    (append,) = run.notices(effects, RunAppends)
    assert (append.run.turn_count, append.run.cost_usd) == (1, 0.25)
    assert append.run.token_usage == {"input_tokens": 3, "output_tokens": 5}
    assert append.run.status == "running"
    (completed,) = drafts(bench, effects, "turn_completed")
    assert completed == {
        "turn": 1,
        "stop_reason": "tool_use",
        "token_usage": {"input_tokens": 3, "output_tokens": 5},
        "cost_usd": 0.25,
        "model": "model-1",
        "provider_session_id": "thread-1",
        "pending_tool_calls": [
            {"id": "call_1", "name": "look", "input": {"at": "a"}},
            {"id": "call_2", "name": "charge", "input": {"amount": 1}},
        ],
    }
    assert drafts(bench, effects, "tool_call_started")[1] == {
        "tool_call_id": "call_2",
        "tool_name": "charge",
        "tool_input": {"amount": 1},
        "turn": 1,
        "attempt": 1,
        "safe_to_repeat": False,
    }


def test_calls_begin_only_when_their_starts_are_durable_and_all_at_once(bench):
    run = streaming(bench)
    (append,) = run.notices(run.call(("look", {"at": "a"}), ("charge", {})), RunAppends)
    assert append.acknowledge == run.state.n_pending
    assert called(run.tell(Durable(append.acknowledge - 1))) == []
    assert called(run.tell(Durable(1))) == ["call_1", "call_2"]
    assert called(run.tell(Durable(0))) == []


def test_what_was_durable_before_does_not_count(bench):
    run = streaming(bench)
    run.say(
        *"x" * (core.WINDOW - 2)
    )  # with the start of the run that fills the window: an answer is on its way
    earlier = run.state.n_pending
    run.call(("look", {"at": "a"}))
    assert called(run.tell(Durable(earlier))) == []
    assert called(run.durable()) == ["call_1"]


def test_the_next_turn_is_asked_for_when_all_are_answered_with_the_answers_in_the_order_of_the_calls(bench):
    run = streaming(bench)
    run.call(("look", {"at": "a"}), ("charge", {"amount": 1}))
    run.durable()
    first = run.tell(core.ToolEnded("call_2", {"paid": True}))
    assert run.types(first) == ["tool_call_completed"]
    assert run.to_provider(first) == []
    second = run.tell(core.ToolEnded("call_1", None, BOOM))
    assert run.types(second) == ["tool_call_failed"]
    assert [type(effect) for effect in second] == [fx.ToSession, fx.ToProvider]
    request = asked(second)
    assert (request.turn, request.attempt) == (2, 1)
    blocks = [
        {"type": "text", "text": "Let me see. "},
        {"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": "a"}},
        {"type": "tool_use", "id": "call_2", "name": "charge", "input": {"amount": 1}},
    ]
    tool = {"role": "tool", "content": ""}
    assert list(request.messages[-3:]) == [
        {"role": "assistant", "content": blocks},
        tool
        | {
            "tool_call_id": "call_1",
            "tool_name": "look",
            "tool_output": "look failed: boom",
            "is_error": True,
        },
        tool
        | {
            "tool_call_id": "call_2",
            "tool_name": "charge",
            "tool_output": {"paid": True},
            "is_error": False,
        },
    ]
    assert run.phase == "streaming"


def test_a_run_sums_up_its_turns_tokens_and_cost(bench):
    run = streaming(bench)
    run.call(("look", {"at": "a"}))
    run.durable()
    run.tell(core.ToolEnded("call_1", 1))
    ended = run.end(run.finish("Hi"))
    assert (ended.run.turn_count, ended.run.cost_usd) == (2, 0.25)
    assert ended.run.token_usage == {"input_tokens": 6, "output_tokens": 10}
    assert ended.run.output == {"content": "Hi", "stop_reason": "end_turn", "tool_calls": []}
    assert ended.drafts[-1].data["total_cost_usd"] == 0.25


def test_a_run_that_ends_with_its_only_turn_writes_no_boundary(bench):
    run = streaming(bench)
    assert "turn_completed" not in run.types(run.finish("Hi"))


# --- Whose call it is ---------------------------------------------------------------------------------------------


def test_without_tools_of_the_host_the_run_completes_with_its_open_calls(bench):
    run = bench("streaming")
    effects = run.call(("look", {"at": "a"}))
    assert run.end(effects).run.output["tool_calls"] == [
        {"id": "call_1", "name": "look", "input": {"at": "a"}}
    ]
    assert run.types(effects).count("tool_call_started") == 1


def test_what_the_provider_runs_itself_is_told_as_it_speaks_and_ends_no_turn(bench):
    run = streaming(bench)
    effects = run.call(("search", {}), ended=[("call_1", "search")])
    assert run.types(effects)[1:3] == ["tool_call_started", "tool_call_completed"]
    assert run.end(effects).run.status == "completed"


def test_what_the_provider_runs_under_the_name_of_a_hosts_tool_is_told_as_a_whole(bench):
    run = streaming(bench)
    effects = run.call(("look", {"at": "a"}), ended=[("call_1", "look")])
    started, *_ = drafts(bench, effects, "tool_call_started")
    assert started == {"tool_call_id": "call_1", "tool_name": "look", "tool_input": {"at": "a"}}
    assert run.end(effects).run.status == "completed"


def test_the_first_call_of_a_provider_is_noted_in_the_record_at_once_and_once(bench):
    run = streaming(bench)
    (append,) = run.notices(run.items(ToolCallStarted("call_1", "search", {})), RunAppends)
    assert append.run.provider_metadata == {"has_called_tools": True}
    (append,) = run.notices(run.items(ToolCallEnded("call_1", "search", "found")), RunAppends)
    assert append.run is None
    assert run.end(run.finish()).run.provider_metadata == {"provider": "mock", "model": "model-1"}


# --- Calls that cannot be made --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "code", "text"),
    [
        ("search", {}, "tool_not_found", "there is no tool 'search'; there are: look, charge"),
        ("look", {}, "tool_error", "missing: at"),
        ("look", {"at": 1, "of": 2}, "tool_error", "unknown: of"),
    ],
)
def test_a_call_that_cannot_be_made_is_answered_as_an_error_and_the_run_goes_on(
    bench, name, given, code, text
):
    run = streaming(bench)
    effects = run.call((name, given))
    assert called(effects) == []
    types = run.types(effects)
    assert types.count("tool_call_started") == 1
    (failed,) = drafts(bench, effects, "tool_call_failed")
    assert failed["error"]["code"] == code
    assert text in failed["tool_output"]
    message = asked(effects).messages[-1]
    assert (message["is_error"], message["tool_output"]) == (True, failed["tool_output"])


def test_the_others_are_called_all_the_same(bench):
    run = streaming(bench)
    run.call(("search", {}), ("look", {"at": 1}))
    assert called(run.durable()) == ["call_2"]
    request = asked(run.tell(core.ToolEnded("call_2", 5)))
    assert [message.get("tool_output") for message in request.messages[-1:]] == [5]


def test_a_result_that_json_cannot_hold_is_told_as_text(bench):
    run = streaming(bench)
    run.call(("look", {"at": 1}))
    run.durable()
    request = asked(run.tell(core.ToolEnded("call_1", {1: {2, 3}, "x": float("inf")})))
    assert request.messages[-1]["tool_output"] == {"1": [2, 3], "x": "inf"}


@pytest.mark.parametrize("limit", [1, 2])
def test_a_run_takes_no_more_turns_than_it_may(bench, limit):
    run = streaming(bench, run_options={"max_turns": limit})
    for _ in range(limit - 1):
        run.call(("look", {"at": 1}))
        run.durable()
        run.tell(core.ToolEnded("call_1", 1))
    ended = run.end(run.call(("look", {"at": 1})))
    assert ended.error.code is ErrorCode.POLICY_VIOLATION
    assert ended.error.details["max_turns"] == limit
    assert ended.run.status == "failed"
    assert ended.run.token_usage == {"input_tokens": 3 * limit, "output_tokens": 5 * limit}


def test_fifty_turns_are_the_bound_unless_it_is_told(bench):
    assert streaming(bench).state.max_turns == 50


# --- Stopped while tools are called -----------------------------------------------------------------------------------


def calling(bench, *, durable=True):
    run = streaming(bench)
    run.call(("look", {"at": 1}), ("charge", {}))
    if durable:
        run.durable()
    return run


def test_a_cancel_ends_the_calls_first_and_puts_each_end_on_record(bench):
    run = calling(bench)
    effects = run.tell(CancelRun("enough"))
    assert [type(effect) for effect in effects] == [fx.StopTools, fx.SetTimer]
    run.tell(core.ToolEnded("call_1", 5))  # it ended just now
    ended = run.end(effects := run.tell(core.ToolsStopped(["call_2"])))
    assert run.types(effects) == ["tool_call_failed", "run_cancelled"]
    assert ended.drafts[0].data["error"]["code"] == "cancelled"
    assert ended.error.details == {"reason": "enough", "tools_left_running": ["charge"]}


def test_a_cancel_before_the_starts_are_durable_calls_nothing(bench):
    run = calling(bench, durable=False)
    run.tell(CancelRun())
    assert called(run.durable()) == []
    assert run.types(run.tell(core.ToolsStopped([])))[-1] == "run_cancelled"
    assert run.tell(Durable(9)) == []


def test_calls_that_do_not_end_are_left_and_named(bench):
    run = calling(bench)
    run.tell(CancelRun())
    ended = run.end(run.tell(core.StopOverdue()))
    assert ended.error.details == {"tools_left_running": ["look", "charge"]}


def test_a_provider_that_dies_while_tools_are_called_is_missed_only_in_the_next_turn(bench):
    run = calling(bench)
    assert run.tell(core.ProviderGone(bench.gone)) == []
    run.tell(CancelRun())
    assert run.tell(core.ProviderGone(bench.gone)) == []
    assert run.phase == "stopping_calls"


def test_a_run_that_ends_between_turns_keeps_what_the_provider_told_of_itself(bench):
    run = calling(bench)
    run.tell(CancelRun())
    ended = run.end(run.tell(core.ToolsStopped([])))
    assert ended.run.provider_metadata["provider_session_id"] == "thread-1"


# --- Taken up again ---------------------------------------------------------------------------------------------------


def test_a_run_that_is_taken_up_does_nothing_before_that_is_durable(bench):
    run = bench("recovering", tools=TOOLS)
    assert run.to_provider(run.tell(Durable(0))) == ["StartTurn"]


def test_if_it_is_cancelled_before_it_goes_on_the_stream_of_its_earlier_life_is_closed_first(bench):
    run = bench("recovering", tools=TOOLS)
    assert run.to_provider(run.tell(CancelRun())) == ["CloseTurn"]
    assert run.types(run.tell(p.TurnStopped(()))) == ["run_cancelled"]


def test_calls_go_on_where_they_were(bench):
    done = Call("call_1", "look", {"at": 1}, attempt=1)
    done.answered("seen", is_error=False)
    calls = [
        done,
        Call("call_2", "look", {"at": 2}),
        Call("call_3", "look", {"at": 3}, attempt=1, is_started=True, safe_to_repeat=True),
        Call("call_4", "charge", {}, attempt=1, is_started=True),
        Call("call_5", "charge", {}, attempt=1, is_started=True, decision="granted"),
        Call("call_6", "charge", {}, attempt=1, is_started=True, decision="denied"),
        Call("call_7", "charge", {}, decision="denied"),
    ]
    run = bench("recovering", tools=TOOLS, calls=calls)
    effects = run.tell(Durable(0))
    started = {data["tool_call_id"]: data["attempt"] for data in drafts(bench, effects, "tool_call_started")}
    assert started == {"call_2": 1, "call_3": 2, "call_5": 2, "call_7": 0}
    failed = {
        data["tool_call_id"]: data["error"]["code"] for data in drafts(bench, effects, "tool_call_failed")
    }
    assert failed == {
        "call_4": "outcome_unknown",
        "call_6": "outcome_unknown",
        "call_7": "tool_permission_denied",
    }
    assert called(run.durable()) == ["call_2", "call_3", "call_5"]


def test_when_all_calls_were_answered_the_next_turn_is_asked_for(bench):
    done = Call("call_1", "look", {"at": 1}, attempt=1)
    done.answered("seen", is_error=False)
    run = bench("recovering", tools=TOOLS, calls=[done])
    request = asked(run.tell(Durable(0)))
    assert request.turn == 2
    assert request.messages[-1]["tool_output"] == "seen"


def test_an_unknown_outcome_is_told_to_the_model(bench):
    lost = Call("call_1", "charge", {}, attempt=1, is_started=True)
    run = bench("recovering", tools=TOOLS, calls=[lost])
    message = asked(run.tell(Durable(0))).messages[-1]
    assert (message["tool_output"], message["is_error"]) == (UNKNOWN_OUTCOME, True)


def test_a_tool_that_is_gone_by_then_is_answered_as_an_error(bench):
    run = bench("recovering", calls=[Call("call_1", "look", {"at": 1})])
    effects = run.tell(Durable(0))
    assert run.types(effects) == ["tool_call_started", "tool_call_failed"]
    assert "there are: none" in asked(effects).messages[-1]["tool_output"]


# --- The conversation -------------------------------------------------------------------------------------------------


def test_blocks_that_the_provider_gives_are_kept_as_they_are():
    blocks = [{"type": "thinking", "thinking": "…", "signature": "s"}, {"type": "tool_use", "id": "call_1"}]
    said = [{"role": "assistant", "content": "", "blocks": blocks}]
    assert messages_of_turn(said, [Call("call_1", "look", {})]) == ({"role": "assistant", "content": blocks},)


@pytest.mark.parametrize("said", [[], [{"role": "tool", "content": "out"}]])
def test_calls_without_a_message_get_one(said):
    *_, last = messages_of_turn(said, [Call("call_1", "look", {"at": 1})])
    assert last == {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": 1}}],
    }


def test_a_retry_inside_a_turn_does_not_touch_the_calls_before_it(bench):
    run = calling(bench)
    run.tell(core.ToolEnded("call_1", 1))
    run.tell(core.ToolEnded("call_2", 2))
    run.tell(p.TurnRetries(BOOM, 1, 0.5))
    assert run.state.request.turn == 2
    assert run.state.request.attempt == 2
    assert len(run.state.request.messages) == 5
