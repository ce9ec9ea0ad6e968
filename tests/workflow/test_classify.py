"""What a workflow should do about an error: one line per code."""

from __future__ import annotations

import asyncio
import json

import pykka
import pytest

import asm_actors as asm
from asm_actors import AsmError, ErrorCategory, ErrorCode, RecommendedAction, classify_error

ACTIONS = {
    "provider_timeout": "retry",
    "storage_connection_failed": "retry",
    "timeout": "retry",
    "interrupted": "retry",
    "provider_rate_limited": "wait_and_retry",
    "max_runs_exceeded": "wait_and_retry",
    "overloaded": "wait_and_retry",
    "provider_unavailable": "failover",
    "cancelled": "cancel",
    "policy_violation": "cancel",
}


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_code_has_its_action(code):
    found = classify_error(AsmError(code))
    assert found.recommended_action == ACTIONS.get(code.value, "abort")
    assert (found.category, found.retryable) == (code.category, asm.AsmError(code).retryable)
    assert found.error.code is code


def test_a_code_alone_will_do():
    assert classify_error("provider_timeout").recommended_action is RecommendedAction.RETRY


@pytest.mark.parametrize(
    "odd", ["no_such_code", "", 5, None, {}, object()], ids=lambda odd: type(odd).__name__
)
def test_what_is_no_error_and_no_code_is_refused(odd):
    with pytest.raises(AsmError) as caught:
        classify_error(odd)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


def test_whoever_raised_it_may_know_that_a_retry_helps():
    found = classify_error(AsmError("provider_error", "overloaded, try again", retryable=True))
    assert (found.retryable, found.recommended_action) == (True, "retry")
    stubborn = classify_error(AsmError("provider_unavailable", retryable=False))
    assert (stubborn.retryable, stubborn.recommended_action) == (False, "failover")


@pytest.mark.parametrize(
    ("error", "code", "action"),
    [
        (TimeoutError("late"), "timeout", "retry"),
        (pykka.Timeout("late"), "timeout", "retry"),
        (asyncio.CancelledError(), "cancelled", "cancel"),
        (KeyError("x"), "internal_error", "abort"),
        (RuntimeError("boom"), "internal_error", "abort"),
    ],
)
def test_errors_of_other_families_are_wrapped(error, code, action):
    found = classify_error(error)
    assert (found.error.code, found.recommended_action) == (code, action)
    assert found.error.__cause__ is error


def test_a_class_is_json():
    told = json.loads(json.dumps(classify_error(AsmError("timeout", "late")).to_map()))
    assert (told["recommended_action"], told["category"], told["retryable"]) == ("retry", "runtime", True)
    assert AsmError.from_map(told["error"]).code is ErrorCode.TIMEOUT
    assert classify_error("timeout").category is ErrorCategory.RUNTIME
