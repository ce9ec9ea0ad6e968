"""The error tree and the closed list of codes."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime

import pytest

from asm_actors import error_codes, errors
from asm_actors.errors import (
    DEFAULT_MESSAGES,
    RETRYABLE,
    AsmError,
    ConcurrencyError,
    ErrorCategory,
    ErrorCode,
    ProviderError,
    ResourceError,
    RuntimeFailure,
    StateError,
    StorageError,
    ToolError,
    ValidationError,
    category_of,
    codes_in,
    is_retryable,
    is_valid_code,
)

# Written out, not derived: the list is a promise to whoever branches on codes.
CODES = {
    "validation": "validation_error invalid_input missing_required_field invalid_format",
    "state": "invalid_status invalid_transition invalid_event_type invalid_capability_type "
    "missing_required_capability stream_closed context_mismatch invalid_cursor session_mismatch run_mismatch",
    "resource": "not_found session_not_found run_not_found capability_not_found already_exists "
    "duplicate_capability",
    "provider": "provider_error provider_unavailable provider_rate_limited provider_timeout "
    "provider_authentication_failed provider_quota_exceeded",
    "storage": "storage_error storage_connection_failed dependency_not_available migration_required "
    "storage_write_failed storage_read_failed query_error maintenance_error persistence_error journal_locked",
    "runtime": "timeout cancelled policy_violation internal_error unknown_error interrupted",
    "concurrency": "max_sessions_exceeded max_runs_exceeded capability_not_supported invalid_operation "
    "overloaded",
    "tool": "tool_error tool_not_found tool_execution_failed tool_permission_denied command_not_found "
    "command_timeout command_failed outcome_unknown",
}
CLASSES = {
    "validation": ValidationError,
    "state": StateError,
    "resource": ResourceError,
    "provider": ProviderError,
    "storage": StorageError,
    "runtime": RuntimeFailure,
    "concurrency": ConcurrencyError,
    "tool": ToolError,
}
PAIRS = [(code, category) for category, codes in CODES.items() for code in codes.split()]


@pytest.mark.parametrize(("code", "category"), PAIRS)
def test_each_code_has_its_category_and_class(code, category):
    assert is_valid_code(code)
    assert category_of(code) == category
    error = AsmError(code)
    assert type(error) is CLASSES[category]
    assert type(AsmError.of(code)) is CLASSES[category]
    assert error.category is ErrorCategory(category)
    assert error.code is ErrorCode(code)


def test_the_list_of_codes_is_closed():
    assert {code.value for code in ErrorCode} == {code for code, _ in PAIRS}
    assert len(PAIRS) == len(ErrorCode)


def test_every_code_has_a_text_of_its_own():
    assert set(DEFAULT_MESSAGES) == set(ErrorCode)
    assert len(set(DEFAULT_MESSAGES.values())) == len(ErrorCode)
    assert all(AsmError(code).message == DEFAULT_MESSAGES[code] for code in ErrorCode)


@pytest.mark.parametrize("category", CODES)
def test_codes_are_listed_by_category(category):
    assert {code.value for code in codes_in(category)} == set(CODES[category].split())


def test_what_is_no_code_has_no_category():
    assert category_of("nonsense") is ErrorCategory.UNKNOWN
    assert codes_in("unknown") == ()
    assert not is_valid_code("nonsense")


@pytest.mark.parametrize("code", list(ErrorCode))
def test_only_passing_troubles_are_retryable(code):
    expected = code in {
        "provider_timeout",
        "provider_rate_limited",
        "provider_unavailable",
        "storage_connection_failed",
        "timeout",
        "interrupted",
        "overloaded",
    }
    assert (code in RETRYABLE) is expected
    assert AsmError(code).retryable is expected
    assert is_retryable(code) is expected
    assert is_retryable(AsmError(code)) is expected


def test_the_raiser_can_know_better_than_the_rule():
    error = AsmError("provider_error", retryable=True, retry_after=2.5)
    assert is_retryable(error)
    assert error.retry_after == 2.5


def test_text_form_is_code_and_message():
    assert str(AsmError("run_not_found", "no run run_1")) == "[run_not_found] no run run_1"
    assert repr(AsmError("run_not_found", "no run")) == "ResourceError('run_not_found', 'no run')"


def test_an_empty_message_is_kept():
    assert AsmError("timeout", "").message == ""


def test_a_code_off_the_list_is_a_defect_of_the_raiser():
    with pytest.raises(ValueError, match="no error code"):
        AsmError("nonsense")


def test_a_class_refuses_a_code_of_another_category():
    with pytest.raises(ValueError, match="RuntimeFailure"):
        ValidationError("timeout")
    assert ValidationError("invalid_input").code is ErrorCode.INVALID_INPUT


def test_a_subclass_elsewhere_may_carry_any_code():
    class CorruptError(AsmError):
        """A more exact class of another module."""

    error = CorruptError("storage_read_failed")
    assert type(error) is CorruptError
    assert error.category is ErrorCategory.STORAGE


def test_all_classes_are_caught_as_the_root():
    for code in ErrorCode:
        with pytest.raises(AsmError):
            raise AsmError(code)


def test_maps_given_to_an_error_are_copied():
    details = {"a": 1}
    error = AsmError("timeout", details=details, context=details, provider_error=details)
    details["a"] = 2
    assert error.details == error.context == error.provider_error == {"a": 1}


def full_error():
    return AsmError(
        "provider_rate_limited",
        "slow down",
        details={"n": 1, "when": datetime(2026, 1, 2, tzinfo=UTC)},
        provider_error={"provider": "claude", "kind": "rate_limit"},
        context={"run_id": "run_1"},
        retry_after=3.0,
        retryable=False,
        timestamp=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    )


@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_a_copy_is_equal_in_every_field(copied):
    error = full_error()
    twin = copied(error)
    assert twin is not error
    assert type(twin) is type(error)
    assert twin == error
    assert hash(twin) == hash(error)
    assert twin.to_map() == error.to_map()


@pytest.mark.parametrize(
    "change",
    [
        {"code": "provider_timeout"},
        {"message": "x"},
        {"details": {}},
        {"context": {"run_id": "run_2"}},
        {"provider_error": None},
        {"retry_after": 4.0},
        {"retryable": True},
        {"timestamp": None},
    ],
)
def test_errors_that_differ_in_one_field_are_unequal(change):
    fields = {**full_error().to_map(), **change}
    assert AsmError.from_map(fields) != AsmError.from_map(full_error().to_map())


def test_an_error_equals_nothing_but_an_error():
    assert full_error() != full_error().to_map()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"code": "nonsense"}, "code"),
        ({"code": None}, "code"),
        ({"code": ["timeout"]}, "code"),
        ({"message": None}, "message"),
        ({"message": 3}, "message"),
        ({"details": []}, "details"),
        ({"context": "x"}, "context"),
        ({"provider_error": 1}, "provider_error"),
        ({"retryable": "yes"}, "retryable"),
        ({"retry_after": -1}, "retry_after"),
        ({"retry_after": True}, "retry_after"),
        ({"retry_after": float("nan")}, "retry_after"),
        ({"retry_after": float("inf")}, "retry_after"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": "2026-01-02T03:04:05"}, "timestamp"),
        ({"timestamp": 5}, "timestamp"),
    ],
)
def test_reading_a_malformed_error_names_the_field(change, word):
    with pytest.raises(ValidationError, match=word):
        AsmError.from_map({**full_error().to_map(), **change})


@pytest.mark.parametrize("value", [None, [], "timeout", 3])
def test_an_error_is_read_from_a_map_only(value):
    with pytest.raises(ValidationError):
        AsmError.from_map(value)


def test_reading_a_minimal_error_fills_the_rest():
    error = AsmError.from_map({"code": "timeout", "message": "late"})
    assert error == AsmError("timeout", "late")


def test_wrapping_keeps_the_foreign_exception():
    cause = KeyError("k")
    error = AsmError.wrap("internal_error", cause)
    assert error.__cause__ is cause
    assert error.message == "'k'"
    assert error.details == {"original_exception": "builtins.KeyError"}


def test_wrapping_with_a_message_keeps_the_foreign_text_in_the_details():
    error = AsmError.wrap(ErrorCode.STORAGE_ERROR, OSError("disk"), "cannot write")
    assert error.message == "cannot write"
    assert error.details == {"original_exception": "builtins.OSError", "original_message": "disk"}


def test_wrapping_an_exception_without_a_usable_text_uses_the_default():
    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError

    assert AsmError.wrap("internal_error", MuteError()).message == DEFAULT_MESSAGES[ErrorCode.INTERNAL_ERROR]
    assert AsmError.wrap("internal_error", ValueError()).message == DEFAULT_MESSAGES[ErrorCode.INTERNAL_ERROR]


def test_record_and_payload_leave_out_what_is_empty():
    bare = AsmError("timeout", "late")
    assert bare.to_record() == {"code": "timeout", "message": "late"}
    assert bare.to_payload() == {"error_code": "timeout", "error_message": "late"}
    full = AsmError("timeout", "late", details={"a": 1}, provider_error={"kind": "timeout"})
    extras = {"details": {"a": 1}, "provider_error": {"kind": "timeout"}}
    assert full.to_record() == {"code": "timeout", "message": "late", **extras}
    assert full.to_payload() == {"error_code": "timeout", "error_message": "late", **extras}


def test_the_docstring_draws_every_class():
    drawn = errors.__doc__ or ""
    for kind in CLASSES.values():
        assert kind.__name__ in drawn


@pytest.mark.parametrize("module", [errors, error_codes])
def test_all_names_are_there(module):
    assert all(hasattr(module, name) for name in module.__all__)
