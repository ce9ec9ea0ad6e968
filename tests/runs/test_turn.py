from __future__ import annotations

import pytest

from asm_actors.providers.items import (
    ITEM_TYPES,
    MessageDone,
    Raw,
    TextDelta,
    ThinkingDelta,
    ToolCallEnded,
    ToolCallStarted,
    TurnDone,
    TurnStarted,
    Usage,
)
from asm_actors.runs.run import Run
from asm_actors.runs.turn import _TAKERS, Turn, drafts_of


def heard(*items, turn=None):
    turn = turn or Turn()
    drafts = drafts_of(turn, items, 7, "run_1", "mock", "cor_1")
    return turn, [(draft.type.value, draft.data) for draft in drafts]


def test_every_kind_of_item_is_known():
    assert {*_TAKERS, TextDelta} == set(ITEM_TYPES)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (TextDelta("Hi"), ("message_streamed", {"content": "Hi", "delta": "Hi"})),
        (ThinkingDelta("hm"), ("message_streamed", {"content": "", "delta": "", "thinking": "hm"})),
        (
            ToolCallStarted("c1", "search", {"q": 1}),
            ("tool_call_started", {"tool_call_id": "c1", "tool_name": "search", "tool_input": {"q": 1}}),
        ),
        (
            ToolCallEnded("c1", "search", "out"),
            ("tool_call_completed", {"tool_call_id": "c1", "tool_name": "search", "tool_output": "out"}),
        ),
        (
            ToolCallEnded("c1", "search", "no", is_error=True),
            ("tool_call_failed", {"tool_call_id": "c1", "tool_name": "search", "tool_output": "no"}),
        ),
        (MessageDone("Hi"), ("message_received", {"content": "Hi", "role": "assistant"})),
        (
            MessageDone("Hi", ({"type": "text"},), "tool"),
            ("message_received", {"content": "Hi", "role": "tool", "blocks": [{"type": "text"}]}),
        ),
        (
            Raw("api_retry", {"n": 1}),
            ("error_occurred", {"error_message": "api_retry", "source": "provider", "n": 1}),
        ),
    ],
    ids=lambda value: (
        type(value).__name__ if not isinstance(value, tuple) or hasattr(value, "_fields") else ""
    ),
)
def test_an_item_becomes_this_event(item, expected):
    assert heard(item)[1] == [expected]


@pytest.mark.parametrize(
    "item", [TurnStarted("m", "thread"), Usage(1, 2), TurnDone()], ids=lambda i: type(i).__name__
)
def test_items_that_only_add_to_the_turn_make_no_event(item):
    turn, events = heard(item)
    assert events == []
    assert not turn.has_spoken


def test_every_event_carries_run_provider_correlation_and_time():
    (draft,) = drafts_of(Turn(), [TextDelta("x")], 7, "run_1", "mock", "cor_1")
    assert (draft.timestamp_us, draft.run_id, draft.provider, draft.correlation_id) == (
        7,
        "run_1",
        "mock",
        "cor_1",
    )
    assert (draft.id, draft.metadata) == (None, {})


def test_the_output_is_the_messages_text_or_else_what_was_streamed():
    turn, _ = heard(TextDelta("Hel"), TextDelta("lo"))
    assert turn.content() == "Hello"
    turn, _ = heard(MessageDone("Hello!"), TurnDone("stop"), turn=turn)
    assert turn.output() == {"content": "Hello!", "stop_reason": "stop", "tool_calls": []}


def test_the_providers_own_output_wins():
    turn, _ = heard(TextDelta("x"), TurnDone("stop", {"exit_code": 0}, 0.25, {"host": "h"}))
    assert turn.output() == {"exit_code": 0}
    assert turn.cost_usd == 0.25
    assert turn.provider_metadata("mock") == {"provider": "mock", "host": "h"}


def test_tool_calls_are_kept_with_their_outputs():
    turn, _ = heard(
        ToolCallStarted("c1", "a", {"x": 1}), ToolCallStarted("c2", "b"), ToolCallEnded("c2", "b", "out")
    )
    assert turn.output()["tool_calls"] == [
        {"id": "c1", "name": "a", "input": {"x": 1}},
        {"id": "c2", "name": "b", "input": {}, "output": "out"},
    ]


def test_of_several_usages_the_last_total_counts():
    turn, _ = heard(Usage(10, 1), Usage(10, 5, 7, 0))
    assert turn.usage == {
        "input_tokens": 10,
        "output_tokens": 5,
        "cache_read_tokens": 7,
        "cache_creation_tokens": 0,
    }


def test_only_what_an_answer_is_made_of_counts_as_having_spoken():
    turn, _ = heard(TurnStarted(), Raw("api_retry"), Usage(1, 0))
    assert not turn.has_spoken
    for item in (TextDelta("x"), ThinkingDelta("x"), ToolCallStarted("c", "t"), MessageDone("")):
        assert heard(item)[0].has_spoken


def test_the_completed_event_tells_reason_turns_usage_and_cost():
    turn, _ = heard(TurnDone("stop", cost_usd=0.5))
    run = (
        Run.new(id="run_1", now=1, session_id="ses_1")
        .with_turn()
        .replace(token_usage={"input_tokens": 1}, cost_usd=0.5)
    )
    assert turn.completed_data(run) == {
        "stop_reason": "stop",
        "num_turns": 1,
        "token_usage": {"input_tokens": 1},
        "total_cost_usd": 0.5,
    }


@pytest.mark.parametrize("number", [-1, True, "5", 1.5, float("nan"), 10**400, None])
def test_what_is_no_number_of_tokens_counts_as_none(number):
    turn = Turn()
    drafts_of(turn, [Usage(number, 7, number, number)], 0, "run_1", None, None)
    assert turn.usage["input_tokens"] == 0
    assert turn.usage["output_tokens"] == 7


@pytest.mark.parametrize("cost", [-1.0, True, "5", float("nan"), float("inf"), 10**400])
def test_what_is_no_price_is_not_known(cost):
    turn = Turn()
    drafts_of(turn, [TurnDone(cost_usd=cost)], 0, "run_1", None, None)
    assert turn.cost_usd is None
