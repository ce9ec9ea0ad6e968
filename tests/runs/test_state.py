"""Every (phase, message) pair of a run: what it leads to, and what is told to whom."""

from __future__ import annotations

import pytest

from asm_actors import effects as fx
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers import messages as p
from asm_actors.providers.items import Raw, TextDelta, TurnDone, Usage
from asm_actors.runs import state as core
from asm_actors.runs.messages import (
    ApprovalDecided,
    CancelRun,
    DeadlineReached,
    Durable,
    HoldRun,
    InterruptRun,
    ReleaseRun,
    RunAppends,
    RunWaits,
    Steering,
    SteeringDurable,
    SupersedeRun,
)
from asm_actors.runs.notices import TimeIsUp
from asm_actors.runs.run import RunStatus

BOOM = AsmError(ErrorCode.PROVIDER_ERROR, "boom")
GONE = AsmError(ErrorCode.PROVIDER_UNAVAILABLE, "the provider crashed")
MESSAGES = {
    "slot": core.SlotTaken(),
    "in_line": core.InLine(),
    "items": p.TurnItems((TextDelta("Hi"),)),
    "last": p.TurnItems((TurnDone(),), True),
    "failed": p.TurnItems((), True, BOOM),
    "retries": p.TurnRetries(BOOM, 1, 0.5),
    "stopped": p.TurnStopped(()),
    "durable": Durable(0),
    "gone": core.ProviderGone(GONE),
    "gone_for_good": core.ProviderGone(GONE, for_good=True),
    "back": core.ProviderBack(),
    "cancel": CancelRun("enough"),
    "interrupt": InterruptRun("enough"),
    "superseded": SupersedeRun("run_2", "run_1"),
    "deadline": DeadlineReached("run_1"),
    "overdue": core.StopOverdue(),
    "tool_ended": core.ToolEnded("call_1", "seen"),
    "tools_stopped": core.ToolsStopped([]),
    "prepared": core.Prepared(continuation={"mode": "auto", "used": "none", "messages": 0}),
    "not_prepared": core.Prepared(error=BOOM),
    "finished": core.Finished({"backend": "hash"}),
    "work_overdue": core.WorkOverdue(),
}
# phase -> message -> the phase and the terminal event it leads to; what is left out changes nothing.
TABLE = {
    "waiting": {
        "slot": ("streaming", None),
        "in_line": ("waiting", None),
        "cancel": ("ended", "run_cancelled"),
        "deadline": ("ended", "run_timeout"),
    },
    "streaming": {
        "items": ("streaming", None),
        "last": ("ended", "run_completed"),
        "failed": ("ended", "run_failed"),
        "retries": ("streaming", None),
        "gone": ("parked", None),
        "gone_for_good": ("ended", "run_failed"),
        "cancel": ("stopping", None),
        "deadline": ("stopping", None),
    },
    "parked": {
        "gone_for_good": ("ended", "run_failed"),
        "back": ("streaming", None),
        "cancel": ("ended", "run_cancelled"),
        "deadline": ("ended", "run_timeout"),
    },
    "recovering": {
        "durable": ("streaming", None),
        "cancel": ("stopping", None),
        "deadline": ("stopping", None),
    },
    "preparing": {
        "prepared": ("streaming", None),
        "not_prepared": ("ended", "run_failed"),
        "cancel": ("stopping_work", None),
        "deadline": ("stopping_work", None),
    },
    "stopping_work": {
        "prepared": ("ended", "run_cancelled"),
        "not_prepared": ("ended", "run_cancelled"),
        "overdue": ("ended", "run_cancelled"),
    },
    "finishing": {
        "finished": ("finishing", None),
        "work_overdue": ("finishing", None),
    },
    "calling": {
        "durable": ("calling", None),
        "tool_ended": ("streaming", None),
        "cancel": ("stopping_calls", None),
        "deadline": ("stopping_calls", None),
    },
    "stopping_calls": {
        "tool_ended": ("stopping_calls", None),
        "tools_stopped": ("ended", "run_cancelled"),
        "overdue": ("ended", "run_cancelled"),
    },
    "stopping": {
        "items": ("stopping", None),
        "last": ("ended", "run_cancelled"),
        "failed": ("ended", "run_cancelled"),
        "stopped": ("ended", "run_cancelled"),
        "gone": ("ended", "run_cancelled"),
        "gone_for_good": ("ended", "run_cancelled"),
        "overdue": ("ended", "run_cancelled"),
    },
    "ended": {},
}
# What has a run stand still, or gives it input: tests/control/test_run_core.py; its policy: test_policing.py.
ELSEWHERE = {ApprovalDecided, TimeIsUp, HoldRun, ReleaseRun, Steering, SteeringDurable, p.TurnSteered}
for row in TABLE.values():
    # To give up its place for another run is to be cancelled.
    if "cancel" in row:
        row["superseded"] = row["interrupt"] = row["cancel"]
PAIRS = [(phase, name) for phase in TABLE for name in MESSAGES]


def test_the_table_holds_every_phase_and_message():
    assert set(TABLE) == {phase.value for phase in core.Phase}
    assert {type(message) for message in MESSAGES.values()} | ELSEWHERE == set(core._HANDLERS)


@pytest.mark.parametrize(("phase", "name"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_each_message_in_each_phase_leads_where_the_table_says(bench, phase, name):
    run = bench(phase)
    before = run.snapshot()
    effects = run.tell(MESSAGES[name])
    target, end = TABLE[phase].get(name, (phase, None))
    assert run.phase == target
    if end is not None:
        ended = run.end(effects)
        assert run.types(effects)[-1] == end
        assert ended.run.is_terminal
        assert (ended.error is None) == (end == "run_completed")
    else:
        assert run.notices(effects, core.RunEnded) == []
        assert fx.Leave() not in effects
    if name not in TABLE[phase]:
        assert effects == []
        assert run.state == before


def test_a_message_of_no_known_kind_is_a_defect(bench):
    assert not core.knows("what")
    with pytest.raises(KeyError):
        bench().tell("what")


# --- Start -----------------------------------------------------------------------------------------------------


def test_a_run_begins_by_standing_in_line_for_a_slot(bench):
    assert core.begin(bench().state) == [fx.AcquireSlot("runs")]


def test_with_the_slot_the_input_and_the_start_are_told_before_the_provider_is_asked(bench):
    run = bench(options={"model": "m-1"})
    effects = run.tell(core.SlotTaken())
    append = effects[0].message
    assert run.types(effects) == ["message_sent", "run_started"]
    assert append.drafts[0].data == {"role": "user", "content": "Hello"}
    assert append.drafts[1].data == {"provider": "mock", "turn": 1, "model": "m-1"}
    assert {(draft.run_id, draft.provider, draft.correlation_id) for draft in append.drafts} == {
        ("run_1", "mock", "cor_1")
    }
    assert append.run.status is RunStatus.RUNNING
    assert append.run.started_us == run.now + 1_000_000
    assert run.to_provider(effects) == ["StartTurn"]


def test_a_run_that_must_wait_for_its_slot_says_so(bench):
    assert bench().notices(bench().tell(core.InLine()), RunWaits) == [RunWaits("run_1")]


# --- The turn --------------------------------------------------------------------------------------------------


def test_a_turn_becomes_events_and_the_runs_record(bench):
    run = bench("streaming")
    run.say("Hel")
    ended = run.end(run.finish("Hello"))
    assert [draft.type.value for draft in ended.drafts] == [
        "message_streamed",
        "message_received",
        "token_usage_updated",
        "run_completed",
    ]
    assert ended.run.output == {"content": "Hello", "stop_reason": "end_turn", "tool_calls": []}
    assert ended.run.token_usage == {"input_tokens": 3, "output_tokens": 5}
    assert ended.run.provider_metadata == {"provider": "mock", "model": "model-1"}
    assert ended.run.turn_count == 1
    assert ended.facts == {"provider_session_id": None, "model": "model-1"}


def test_a_failed_turn_keeps_what_it_had_said_and_used(bench):
    run = bench("streaming")
    run.say("Hel")
    ended = run.end(run.items(TextDelta("lo"), Usage(3, 2), is_last=True, error=BOOM))
    assert ended.error is BOOM
    assert ended.run.output == {"content": "Hello", "partial": True}
    assert ended.run.token_usage == {"input_tokens": 3, "output_tokens": 2}
    assert ended.run.error["code"] == "provider_error"


def test_a_stream_that_ends_without_saying_so_is_a_failure_of_the_provider(bench):
    ended = bench.end(bench("streaming").items(TextDelta("Hel"), is_last=True))
    assert ended.error.code is ErrorCode.PROVIDER_ERROR
    assert ended.run.output == {"content": "Hel", "partial": True}


def test_a_retry_is_on_record_and_what_was_said_before_does_not_count(bench):
    run = bench("streaming", resumable=True)
    run.say("Wrong")
    effects = run.tell(p.TurnRetries(BOOM, 1, 0.5))
    (append,) = run.notices(effects, RunAppends)
    assert append.drafts[0].type == "error_occurred"
    assert append.drafts[0].data["attempt"] == 1
    assert append.drafts[0].data["retry_in_s"] == 0.5
    ended = run.end(run.finish("Right"))
    assert ended.run.output["content"] == "Right"
    assert ended.run.attempt == 1


def batches_of(effects):
    return [e.message.batches for e in effects if type(e) is fx.ToProvider and type(e.message) is p.More]


# --- Credit ----------------------------------------------------------------------------------------------------


def test_further_batches_are_asked_for_before_the_credit_is_used_up(bench):
    run = bench("streaming")
    effects = [run.say("a", "b") for _ in range(4 * core.ASK_EVERY)]
    assert sum(batches_of([effect for step in effects for effect in step])) == 4 * core.ASK_EVERY
    assert batches_of(effects[core.ASK_EVERY - 1]) == [core.ASK_EVERY]


def test_as_many_batches_are_asked_for_as_were_heard(bench):
    run = bench("streaming")
    run.say(*"x" * core.WINDOW)
    run.say("y")
    assert batches_of(run.tell(Durable(core.WINDOW + 2))) == [2]


def test_a_batch_that_makes_no_event_counts_too(bench):
    run = bench("streaming")
    effects = [effect for _ in range(core.ASK_EVERY) for effect in run.items(Usage(1, 1))]
    assert batches_of(effects) == [core.ASK_EVERY]


def test_a_full_window_holds_the_provider_back_until_its_events_are_durable(bench):
    run = bench("streaming")
    effects = run.say(*"x" * core.WINDOW)
    assert run.to_provider(effects) == []
    (append,) = run.notices(effects, RunAppends)
    assert append.acknowledge == core.WINDOW + 2
    assert batches_of(run.tell(Durable(append.acknowledge))) == [1]
    assert run.state.n_pending == 0


def test_an_attempt_of_the_provider_itself_keeps_the_credit_of_the_call(bench):
    run = bench("streaming")
    run.say(*"x" * core.WINDOW)
    run.tell(p.TurnRetries(GONE, 1, 0.5))
    assert batches_of(run.tell(Durable(core.WINDOW + 2))) == [1]


@pytest.mark.parametrize("size", [1, 7, 63, 64, 100, 255, 256, 1000])
def test_more_is_always_asked_for_again_whatever_the_sizes_of_batches(bench, size):
    run = bench("streaming")
    asked, credit = [], p.CREDIT
    for _ in range(2000 // size + 2):
        effects = run.say(*"x" * size)
        credit -= 1
        asked += [append.acknowledge for append in run.notices(effects, RunAppends) if append.acknowledge]
        credit += sum(batches_of(effects))
        while credit == 0:
            assert asked, "nothing will ever tell this run to go on"
            credit += sum(batches_of(run.tell(Durable(asked.pop(0)))))
        assert run.state.n_pending < core.WINDOW + p.CREDIT * size


def test_after_a_crash_of_the_provider_the_new_stream_starts_with_its_own_credit(bench):
    run = bench("streaming", resumable=True)
    run.say(*"x" * core.WINDOW)
    run.tell(core.ProviderGone(GONE))
    run.tell(core.ProviderBack())
    assert run.to_provider(run.tell(Durable(core.WINDOW))) == []


# --- The provider dies, comes back -----------------------------------------------------------------------------


def test_a_run_that_has_heard_nothing_yet_is_asked_again_when_the_provider_is_back(bench):
    run = bench("streaming")
    effects = run.tell(core.ProviderGone(GONE))
    assert run.types(effects) == ["error_occurred"]
    assert run.notices(effects, RunAppends)[0].drafts[0].data["will_retry"] is True
    (effect,) = run.tell(core.ProviderBack())
    assert effect.message.request.attempt == 2
    assert run.end(run.finish()).run.attempt == 1


def test_usage_and_news_of_the_provider_are_no_answer_yet(bench):
    run = bench("streaming")
    run.items(Raw("api_retry"), Usage(1, 0))
    run.tell(core.ProviderGone(GONE))
    assert run.phase == "parked"


def test_a_run_that_has_heard_something_fails_when_the_provider_dies(bench):
    run = bench("streaming")
    run.say("Hel")
    ended = run.end(run.tell(core.ProviderGone(GONE)))
    assert ended.error is GONE
    assert ended.run.output == {"content": "Hel", "partial": True}


def test_a_resumable_provider_may_begin_again_although_it_had_spoken(bench):
    run = bench("streaming", resumable=True)
    run.say("Hel")
    run.tell(core.ProviderGone(GONE))
    assert run.phase == "parked"


def test_a_run_survives_so_many_deaths_of_its_provider_and_no_more(bench):
    run = bench("streaming")
    for _ in range(run.state.max_crashes):
        run.tell(core.ProviderGone(GONE))
        assert run.phase == "parked"
        run.tell(core.ProviderBack())
    assert run.end(run.tell(core.ProviderGone(GONE))).error is GONE


# --- Cancel, deadline ------------------------------------------------------------------------------------------


def test_a_cancel_closes_the_stream_first_and_keeps_what_had_arrived(bench):
    run = bench("streaming")
    run.say("Hel")
    effects = run.tell(CancelRun("enough"))
    assert run.to_provider(effects) == ["CancelTurn"]
    assert [effect.delay_s for effect in run.of(effects, fx.SetTimer)] == [core.STOP_PATIENCE_S]
    assert run.types(run.say("l")) == ["message_streamed"]
    ended = run.end(run.tell(p.TurnStopped((TextDelta("o"), Usage(3, 2)))))
    assert [draft.type.value for draft in ended.drafts] == [
        "message_streamed",
        "token_usage_updated",
        "run_cancelled",
    ]
    assert ended.drafts[-1].data["reason"] == "enough"
    assert ended.drafts[-1].data["partial_content"] is True
    assert ended.run.status is RunStatus.CANCELLED
    assert ended.run.output == {"content": "Hello", "partial": True}
    assert ended.run.token_usage == {"input_tokens": 3, "output_tokens": 2}
    assert ended.error.code is ErrorCode.CANCELLED


def test_the_first_of_cancel_and_deadline_counts(bench):
    run = bench("streaming")
    run.tell(DeadlineReached("run_1"))
    assert run.tell(CancelRun("enough")) == []
    ended = run.end(run.tell(p.TurnStopped(())))
    assert ended.run.status is RunStatus.TIMEOUT
    assert ended.error.code is ErrorCode.TIMEOUT
    assert "deadline" in ended.error.message


def test_a_stream_that_does_not_close_is_left_behind_and_the_end_says_so(bench):
    ended = bench.end(bench("stopping").tell(core.StopOverdue()))
    assert ended.error.details == {"reason": "enough", "stream_left_open": True}


def test_a_run_that_never_started_has_no_start_time_and_an_end(bench):
    run = bench().end(bench().tell(CancelRun()))
    assert run.run.started_us is None
    assert run.run.ended_us is not None
    assert run.run.status is RunStatus.CANCELLED
