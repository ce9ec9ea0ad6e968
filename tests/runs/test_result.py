from __future__ import annotations

import json

import pytest

from asm_actors.errors import AsmError, ErrorCode, ProviderError
from asm_actors.events import Event
from asm_actors.runs.result import RunResult, error_of_run
from asm_actors.runs.run import Run, RunStatus


@pytest.fixture
def completed():
    run = Run.new(id="run_1", now=1, session_id="ses_1").with_status("running", 2)
    run = run.with_output({"content": "Hi", "stop_reason": "end_turn"}, 3, token_usage={"input_tokens": 4})
    return run.replace(cost_usd=0.5)


def test_a_result_shows_the_record(completed):
    result = RunResult.of(completed)
    assert (result.run_id, result.session_id) == ("run_1", "ses_1")
    assert result.output == {"content": "Hi", "stop_reason": "end_turn"}
    assert result.token_usage == {"input_tokens": 4}
    assert result.cost_usd == 0.5
    assert result.status is RunStatus.COMPLETED
    assert result.stop_reason == "end_turn"
    assert result.run is completed


def test_events_are_read_when_first_asked_for_and_only_once(completed):
    reads = []
    event = Event.new(type="run_completed", session_id="ses_1", id="evt_1", now=3)

    def read():
        reads.append(1)
        return [event]

    result = RunResult.of(completed, read)
    assert reads == []
    assert result.events == [event]
    assert result.events == [event]
    assert reads == [1]


def test_a_result_is_json_ready_with_its_events(completed):
    event = Event.new(type="run_completed", session_id="ses_1", id="evt_1", now=3)
    shown = json.loads(json.dumps(RunResult.of(completed, lambda: [event]).to_map()))
    assert shown["output"]["content"] == "Hi"
    assert shown["status"] == "completed"
    assert [each["id"] for each in shown["events"]] == ["evt_1"]
    assert shown["callback_failures"] == 0


def test_results_of_one_record_are_equal_however_their_events_are_read(completed):
    assert RunResult.of(completed) == RunResult.of(completed, list)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (RunStatus.FAILED, ErrorCode.PROVIDER_RATE_LIMITED),
        (RunStatus.CANCELLED, ErrorCode.CANCELLED),
        (RunStatus.TIMEOUT, ErrorCode.TIMEOUT),
    ],
    ids=str,
)
def test_a_run_that_ended_otherwise_raises_the_error_on_its_record(status, code):
    error = AsmError(code, "so it was", details={"n": 1}, provider_error={"kind": "x"})
    run = Run.new(id="run_1", now=1, session_id="ses_1").with_error(error, 2, status)
    found = error_of_run(run)
    assert (found.code, found.message, found.details) == (code, "so it was", {"n": 1})
    assert found.provider_error["kind"] == "x"
    assert found.context == {"session_id": "ses_1", "run_id": "run_1", "status": status.value}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (RunStatus.FAILED, ErrorCode.UNKNOWN_ERROR),
        (RunStatus.CANCELLED, ErrorCode.CANCELLED),
        (RunStatus.TIMEOUT, ErrorCode.TIMEOUT),
    ],
    ids=str,
)
def test_a_record_without_an_error_raises_what_its_status_says(status, code):
    run = Run.new(id="run_1", now=1, session_id="ses_1").with_status(status, 2)
    assert error_of_run(run).code is code


def test_an_error_at_hand_is_raised_as_a_copy_that_names_the_run_and_keeps_what_the_record_lacks():
    class OwnError(ProviderError):
        def __init__(self):
            super().__init__(ErrorCode.PROVIDER_RATE_LIMITED, "slow", retry_after=2.0, context={"shard": 3})

    live = OwnError()
    live.__cause__ = cause = OSError("below")
    ids = [f"run_{number}" for number in range(2)]
    runs = [Run.new(id=each, now=1, session_id="ses_1").with_error(live, 2, RunStatus.FAILED) for each in ids]
    found = [error_of_run(run, live) for run in runs]
    for run, error in zip(runs, found, strict=True):
        assert type(error) is OwnError
        assert (str(error), error.retry_after, error.__cause__) == (str(live), 2.0, cause)
        assert error.context == {
            "shard": 3,
            "session_id": "ses_1",
            "run_id": run.id,
            "status": "failed",
        }
    assert live.context == {"shard": 3}
