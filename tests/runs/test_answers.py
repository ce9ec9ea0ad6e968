"""The last turn of a run whose answer has to fit a schema, and what turns cost."""

from __future__ import annotations

import pytest

from asm_actors.cost.pricing import PricingTable
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.providers.items import MessageDone, TextDelta, TurnDone, TurnStarted, Usage
from asm_actors.runs import state as core
from asm_actors.runs.costs import added, cost_of_turn
from asm_actors.runs.messages import CancelRun, RunAppends
from asm_actors.runs.resumption import progress_of
from asm_actors.runs.turn import Turn, drafts_of

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
PRICES = PricingTable.of(
    {
        "mock": {
            "default": {"input": 1.0, "output": 2.0},
            "model-1": {"input": 10.0, "output": 20.0, "cache_read": 1.0},
        },
        "other": {"input": 100.0, "output": 100.0},
    }
)


@pytest.fixture
def asked(bench):
    """A run whose answer has to fit."""
    return bench("streaming", run_options={"output_schema": SCHEMA})


def drafts(run, effects):
    return [draft for appended in run.notices(effects, RunAppends) for draft in appended.drafts]


def test_a_fitting_answer_is_the_runs_object(asked):
    ended = asked.end(asked.finish('{"n": 3}'))
    assert ended.run.status == "completed"
    assert ended.run.details == {"object": {"n": 3}, "object_attempts": 1}
    assert ended.run.output["content"] == '{"n": 3}'


def test_a_misfit_is_told_to_the_model_in_a_further_turn(asked):
    effects = asked.finish("three")
    assert asked.types(effects)[-1] == "turn_completed"
    told = drafts(asked, effects)[-1].data
    assert told["turn"] == 1
    assert told["output_faults"]
    assert "not JSON" in told["correction"]
    assert asked.to_provider(effects) == ["StartTurn"]
    assert asked.phase == "streaming"
    request = asked.state.request
    assert request.turn == 2
    assert [said["role"] for said in request.messages[-3:]] == ["user", "assistant", "user"]
    assert request.messages[-1]["content"] == told["correction"]
    assert request.messages[-3:][1:] == asked.state.past
    ended = asked.end(asked.finish('{"n": 4}'))
    assert ended.run.details == {"object": {"n": 4}, "object_attempts": 2}
    assert (ended.run.turn_count, ended.run.token_usage) == (2, {"input_tokens": 6, "output_tokens": 10})


@pytest.mark.parametrize(("retries", "turns"), [(None, 3), (0, 1), (1, 2)])
def test_the_run_fails_when_no_answer_fitted_within_the_bound(bench, retries, turns):
    options = {"output_schema": SCHEMA} | ({} if retries is None else {"max_output_retries": retries})
    run = bench("streaming", run_options=options)
    for _ in range(turns - 1):
        assert run.to_provider(run.finish("{}")) == ["StartTurn"]
    ended = run.end(run.finish("{}"))
    assert ended.run.status == "failed"
    assert ended.error.code is ErrorCode.INVALID_FORMAT
    assert ended.error.details == {"faults": ["'n' is a required property"], "attempts": turns}


def test_a_run_without_turns_left_fails_by_that(bench):
    run = bench("streaming", run_options={"output_schema": SCHEMA, "max_turns": 1})
    ended = run.end(run.finish("{}"))
    assert ended.error.code is ErrorCode.POLICY_VIOLATION
    assert ended.error.details["limit"] == "max_turns"


def test_a_run_that_is_rebuilt_has_the_same_conversation(asked):
    told = drafts(asked, asked.finish("three"))
    events = [
        Event(
            id=f"evt_{at}",
            type=one.type,
            timestamp_us=one.timestamp_us,
            session_id="ses_1",
            run_id="run_1",
            sequence_number=at,
            data=one.data,
        )
        for at, one in enumerate(told, 1)
        if one.type is not EventType.MESSAGE_STREAMED
    ]
    progress = progress_of(asked.state.run, events)
    assert progress.messages == asked.state.past
    assert (progress.turn, progress.next_turn, progress.n_corrections) == (1, 2, 1)


def test_a_run_is_cancelled_between_its_answers_as_ever(asked):
    asked.finish("three")
    asked.tell(CancelRun("enough"))
    assert asked.phase == "stopping"


def test_the_corrected_turn_of_a_native_conversation_goes_on_with_the_newest_one(bench):
    run = bench("preparing")
    run.state.run = run.state.run.replace(options={**run.state.run.options, "output_schema": SCHEMA})
    run.tell(core.Prepared((), "thread_1", {"mode": "auto", "used": "native", "messages": 0}))
    run.items(TurnStarted("m", "thread_2"), TextDelta("no"), MessageDone("no"), TurnDone(), is_last=True)
    assert run.state.request.provider_session_id == "thread_2"


# --- Costs -----------------------------------------------------------------------------------------------------------


def turn(*items):
    made = Turn()
    drafts_of(made, items, 0, "run_1", "mock", None)
    return made


@pytest.mark.parametrize(
    ("items", "options", "expected"),
    [
        ((Usage(1, 1), TurnDone()), {}, 3.0),
        ((TurnStarted("model-1"), Usage(1, 1), TurnDone()), {}, 30.0),
        ((TurnStarted("model-1-mini"), Usage(1, 1), TurnDone()), {}, 30.0),
        ((TurnStarted("model-1"), Usage(1, 1, 5), TurnDone()), {}, 35.0),
        ((TurnStarted("other-model"), Usage(1, 1), TurnDone()), {}, 3.0),
        ((Usage(1, 1), TurnDone()), {"model": "model-1"}, 30.0),
        ((Usage(1, 1), TurnDone()), {"model": 7}, 3.0),
        ((Usage(1, 1), TurnDone(cost_usd=0.5)), {}, 0.5),
        ((Usage(1, 1), TurnDone(cost_usd=0.0)), {}, 3.0),
        ((TurnDone(cost_usd=0.5),), {}, 0.5),
        ((TurnDone(),), {}, None),
        ((Usage(1, 1),), {}, 3.0),  # it was cut: what was used has its price
        ((Usage(1, 1), TurnDone(metadata={"routing": {"routed_provider": "other"}})), {}, 200.0),
        ((Usage(1, 1), TurnDone(metadata={"routing": {}})), {}, 3.0),
    ],
)
def test_what_a_turn_costs(items, options, expected):
    assert cost_of_turn(turn(*items), "mock", options, PRICES) == expected


def test_the_cost_of_an_unknown_provider_is_not_known():
    assert cost_of_turn(turn(Usage(1, 1), TurnDone()), "nobody", {}, PRICES) is None
    assert cost_of_turn(turn(Usage(1, 1), TurnDone()), None, {}, PRICES) is None


@pytest.mark.parametrize(
    ("before", "more", "total"), [(None, None, None), (1.0, None, 1.0), (None, 2.0, 2.0), (1.0, 2.0, 3.0)]
)
def test_costs_add_up(before, more, total):
    assert added(before, more) == total


def test_a_run_costs_what_its_turns_cost_and_says_so(bench):
    run = bench("streaming", run_options={"output_schema": SCHEMA})
    run.state.pricing = PRICES
    told = drafts(run, run.finish("three"))
    assert told[-1].data["cost_usd"] == 3 * 10.0 + 5 * 20.0
    ended = run.end(run.finish('{"n": 1}'))
    assert ended.run.cost_usd == 260.0
    assert ended.drafts[-1].data["total_cost_usd"] == 260.0


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_what_was_used_has_its_price_however_a_run_ends(bench, how):
    run = bench("streaming")
    run.state.pricing = PRICES
    run.items(TurnStarted("model-1"), TextDelta("Well"), Usage(3, 5))
    if how == "failed":
        ended = run.end(run.items(is_last=True, error=AsmError(ErrorCode.PROVIDER_ERROR, "boom")))
    else:
        run.tell(CancelRun("enough"))
        ended = run.end(run.tell(core.ProviderGone(run.gone)))
    assert ended.run.status == how
    assert ended.run.cost_usd == 130.0
    assert ended.drafts[-1].data["total_cost_usd"] == 130.0


def test_a_run_of_unknown_cost_says_nothing_about_it(bench):
    run = bench("streaming")
    ended = run.end(run.finish())
    assert ended.run.cost_usd is None
    assert "total_cost_usd" not in ended.drafts[-1].data
