"""The record of a run and its statuses."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime

import attrs
import pytest

from asm_actors.errors import AsmError, ErrorCode, StateError, ValidationError
from asm_actors.runs.run import RUN_TRANSITIONS, TERMINAL_RUN_STATUSES, Run, RunStatus, add_usage

NOW = 1_767_225_600_000_000
ENDS = {"completed", "failed", "cancelled", "timeout"}
ALLOWED = {
    "pending": {"running", "failed", "cancelled", "timeout"},
    "running": ENDS | {"paused", "awaiting_approval"},
    "paused": ENDS | {"running"},
    "awaiting_approval": ENDS | {"running"},
    "completed": set(),
    "failed": set(),
    "cancelled": set(),
    "timeout": set(),
}


def run(**fields):
    return Run.new(**{"id": "run_1", "session_id": "ses_1", "now": NOW, **fields})


def running():
    return run().with_status("running", NOW + 1)


def test_the_table_is_the_promised_one():
    assert {str(status): set(map(str, allowed)) for status, allowed in RUN_TRANSITIONS.items()} == ALLOWED
    assert set(RUN_TRANSITIONS) == set(RunStatus)
    assert set(map(str, TERMINAL_RUN_STATUSES)) == ENDS


@pytest.mark.parametrize("target", list(RunStatus))
@pytest.mark.parametrize("current", list(RunStatus))
def test_status_changes_follow_the_table(current, target):
    before = run().replace(status=current, started_us=NOW + 1)
    as_it_was = before.to_map()
    if target == current:
        assert before.with_status(target, NOW + 5) is before
    elif target in ALLOWED[current]:
        after = before.with_status(target, NOW + 5)
        ended = NOW + 5 if target in ENDS else None
        assert after == before.replace(status=target, ended_us=ended)
        assert type(after.status) is RunStatus
    else:
        with pytest.raises(StateError) as caught:
            before.with_status(target, NOW + 5)
        assert caught.value.code is ErrorCode.INVALID_TRANSITION
        assert caught.value.context == {"run_id": "run_1"}
    assert before.to_map() == as_it_was


@pytest.mark.parametrize("status", ["active", "", None, 3, {}])
def test_an_unknown_status_is_refused(status):
    with pytest.raises(StateError) as caught:
        run().with_status(status, NOW)
    assert caught.value.code is ErrorCode.INVALID_STATUS


def test_a_new_run_is_pending_and_has_not_started():
    fresh = run()
    assert fresh.status is RunStatus.PENDING
    assert fresh.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert fresh.started_at is None
    assert fresh.ended_at is None
    assert (fresh.input, fresh.output, fresh.error, fresh.cost_usd) == (None, None, None, None)
    assert (fresh.turn_count, fresh.attempt) == (0, 0)
    assert fresh.metadata == fresh.token_usage == fresh.provider_metadata == fresh.options == {}


def test_the_first_running_sets_the_start_and_a_resume_keeps_it():
    started = running()
    assert started.started_us == NOW + 1
    resumed = started.with_status("paused", NOW + 2).with_status("running", NOW + 3)
    assert resumed.started_us == NOW + 1
    assert resumed.ended_us is None


def test_a_run_that_ends_before_it_starts_has_an_end_and_no_start():
    cancelled = run().with_status("cancelled", NOW + 2)
    assert cancelled.started_us is None
    assert cancelled.ended_at == datetime(2026, 1, 1, 0, 0, 0, 2, tzinfo=UTC)
    assert cancelled.is_terminal


def test_output_completes_a_run_and_adds_usage():
    first = running().with_token_usage({"input_tokens": 2})
    done = first.with_output({"content": "hi"}, NOW + 9, token_usage={"input_tokens": 3, "output_tokens": 1})
    assert done.status is RunStatus.COMPLETED
    assert done.output == {"content": "hi"}
    assert done.token_usage == {"input_tokens": 5, "output_tokens": 1}
    assert done.ended_us == NOW + 9
    assert first.token_usage == {"input_tokens": 2}


def test_an_error_fails_a_run():
    failed = run().with_error(AsmError("provider_timeout", "late", details={"ms": 5}), NOW + 9)
    assert failed.status is RunStatus.FAILED
    assert failed.error == {"code": "provider_timeout", "message": "late", "details": {"ms": 5}}
    assert failed.ended_us == NOW + 9


def test_an_error_may_name_another_end():
    late = running().with_error({"code": "timeout", "message": "late"}, NOW + 9, RunStatus.TIMEOUT)
    assert late.status is RunStatus.TIMEOUT
    assert late.error == {"code": "timeout", "message": "late"}


def test_the_first_outcome_stands():
    done = running().with_output({"content": "first"}, NOW + 2)
    assert done.with_output({"content": "second"}, NOW + 3) is done
    with pytest.raises(StateError):
        done.with_error(AsmError("timeout"), NOW + 3)
    failed = running().with_error(AsmError("timeout"), NOW + 2)
    assert failed.with_error(AsmError("internal_error"), NOW + 3) is failed


def test_a_pending_run_cannot_complete():
    with pytest.raises(StateError):
        run().with_output({}, NOW)


def test_turns_count_up():
    assert running().with_turn().with_turn().turn_count == 2


@pytest.mark.parametrize(
    ("total", "more", "result"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"a": 2}, {"a": 3}),
        ({"a": 1}, {"a": 2.5}, {"a": 3.5}),
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": "many"}, {"a": "many"}),
        ({"a": "many"}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {"a": True}, {"a": True}),
        ({"a": 1}, {"a": None}, {"a": None}),
    ],
)
def test_usage_adds_numbers_and_replaces_the_rest(total, more, result):
    before = dict(total)
    assert add_usage(total, more) == result
    assert total == before


@pytest.mark.parametrize("value", [None, "hi", 3, 2.5, True, ["a", {"b": None}], {"prompt": "x"}])
def test_input_is_any_json_value(value):
    assert run(input=value).input == value


def test_tuples_and_enum_members_become_plain_json():
    taken = run(input={"a": (1, 2), "s": RunStatus.PENDING}).input
    assert taken == {"a": [1, 2], "s": "pending"}
    assert type(taken["s"]) is str


def test_what_the_caller_gave_is_copied():
    value = {"messages": [{"content": "x"}]}
    fresh = run(input=value, metadata=value, options=value)
    value["messages"][0]["content"] = "y"
    assert fresh.input == fresh.metadata == fresh.options == {"messages": [{"content": "x"}]}


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"session_id": None}, "session_id is required"),
        ({"session_id": ""}, "session_id cannot be empty"),
        ({"id": ""}, "id cannot be empty"),
        ({"id": "x" * 201}, "at most 200 bytes"),
        ({"now": "today"}, "now"),
        ({"input": object()}, "input must be a JSON value"),
        ({"input": {"a": {1, 2}}}, r"input\.a"),
        ({"input": 1 << 64}, "64 bits"),
        ({"input": -(1 << 63) - 1}, "64 bits"),
        ({"input": "\udfff"}, "surrogates"),
        ({"metadata": 1}, "metadata must be a map"),
        ({"options": {"a": float("inf")}}, r"options\.a"),
        ({"provider": ""}, "provider"),
        ({"idempotency_key": ""}, "idempotency_key"),
    ],
)
def test_bad_fields_are_refused_by_name(fields, place):
    with pytest.raises(ValidationError, match=place):
        run(**fields)


MAP = {"id": "run_1", "session_id": "ses_1", "status": "pending", "created_at": "2026-01-01T00:00:00Z"}


def test_reading_the_required_fields_is_enough():
    assert Run.from_map(MAP) == run()


@pytest.mark.parametrize("field", MAP)
def test_a_required_field_cannot_be_missing(field):
    with pytest.raises(ValidationError, match=rf"run\.{field} is required"):
        Run.from_map({key: item for key, item in MAP.items() if key != field})


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"status": "active"}, ErrorCode.INVALID_STATUS),
        ({"created_at": "soon"}, ErrorCode.VALIDATION_ERROR),
        ({"started_at": 3}, ErrorCode.VALIDATION_ERROR),
        ({"ended_at": "2026-13-01T00:00:00Z"}, ErrorCode.VALIDATION_ERROR),
        ({"turn_count": -1}, ErrorCode.VALIDATION_ERROR),
        ({"attempt": True}, ErrorCode.VALIDATION_ERROR),
        ({"cost_usd": "1"}, ErrorCode.VALIDATION_ERROR),
        ({"cost_usd": float("nan")}, ErrorCode.VALIDATION_ERROR),
        ({"cost_usd": -0.5}, ErrorCode.VALIDATION_ERROR),
        ({"cost_usd": 10**400}, ErrorCode.VALIDATION_ERROR),
        ({"output": "x"}, ErrorCode.VALIDATION_ERROR),
        ({"error": []}, ErrorCode.VALIDATION_ERROR),
        ({"token_usage": [1]}, ErrorCode.VALIDATION_ERROR),
        ({"input": b"x"}, ErrorCode.VALIDATION_ERROR),
    ],
)
def test_reading_a_malformed_field_is_an_error(change, code):
    with pytest.raises(AsmError) as caught:
        Run.from_map(MAP | change)
    assert caught.value.code is code


def test_a_whole_cost_is_read_as_a_float():
    cost = Run.from_map(MAP | {"cost_usd": 2}).cost_usd
    assert cost == 2.0
    assert type(cost) is float


def test_the_map_has_every_field_under_its_public_name():
    fields = {field.name for field in attrs.fields(Run)}
    times = {"created_us": "created_at", "started_us": "started_at", "ended_us": "ended_at"}
    assert set(run().to_map()) == {times.get(name, name) for name in fields}


def test_a_record_cannot_be_changed():
    fresh = run()
    for field in attrs.fields(Run):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(fresh, field.name, None)


def test_replace_refuses_what_is_no_field():
    with pytest.raises(TypeError, match="no field"):
        run().replace(started_at=3)


def test_records_are_equal_by_value_hashable_and_picklable():
    one = run(input={"a": 1})
    assert one == run(input={"a": 1})
    assert len({one, run(input={"a": 1})}) == 1
    assert pickle.loads(pickle.dumps(one)) == one
    assert copy.copy(one) == one


def test_a_run_that_begins_keeps_when_and_after_which_event():
    run = Run.new(id="run_1", now=1, session_id="ses_1").begun(7, 12)
    assert (run.status, run.started_us, run.from_sequence) == (RunStatus.RUNNING, 7, 12)
    with pytest.raises(AsmError):
        run.with_error({"code": "cancelled"}, 8).begun(9, 13)
