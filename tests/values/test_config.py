"""Limits and defaults."""

from __future__ import annotations

import attrs
import pytest

from asm_actors import config
from asm_actors.config import Limits
from asm_actors.errors import ErrorCode, ValidationError
from asm_actors.events import EventType
from asm_actors.sessions.session import SessionStatus


def test_the_defaults_are_the_promised_ones():
    assert Limits().to_map() == {
        "max_parallel_sessions": 100,
        "max_parallel_runs": 50,
        "max_concurrent_runs": 1,
        "max_queued_runs": 100,
        "max_runs_per_agent": None,
        "max_runs_per_tenant": None,
        "max_runs_per_provider": None,
        "max_sessions_per_agent": None,
        "max_sessions_per_tenant": None,
        "tenant_tag_prefix": "tenant:",
        "max_run_starts_per_second": None,
        "max_run_starts_per_second_per_agent": None,
        "max_run_starts_per_second_per_tenant": None,
        "max_run_starts_per_second_per_provider": None,
        "run_start_burst": None,
        "max_waiting_runs": None,
    }


COUNTS = [
    "max_parallel_sessions",
    "max_parallel_runs",
    "max_concurrent_runs",
    "max_queued_runs",
    "run_start_burst",
    "max_waiting_runs",
]


@pytest.mark.parametrize(
    "fields",
    [
        {"max_parallel_sessions": None},
        {"max_parallel_sessions": 1},
        {"max_parallel_runs": None},
        {"max_parallel_runs": 1},
        {"max_concurrent_runs": 1_000_000},
        {"max_concurrent_runs": None},
        {"max_queued_runs": 0},
        {"max_queued_runs": None},
    ],
)
def test_values_within_the_bounds_are_taken(fields):
    limits = Limits(**fields)
    assert limits.to_map() == Limits().to_map() | fields
    assert Limits.from_map(fields) == limits


@pytest.mark.parametrize("value", [-1, 1.0, "5", True, False, [], 1 << 64, float("nan")])
@pytest.mark.parametrize("field", COUNTS)
def test_any_other_value_is_refused_by_name_with_what_to_give_instead(field, value):
    with pytest.raises(
        ValidationError, match=rf"limits\.{field} must be an integer of at least [01]"
    ) as caught:
        Limits(**{field: value})
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert caught.value.details == {"field": f"limits.{field}"}


@pytest.mark.parametrize("field", ["max_parallel_sessions", "max_parallel_runs", "max_concurrent_runs"])
def test_nothing_at_all_is_no_limit(field):
    with pytest.raises(ValidationError, match=field):
        Limits(**{field: 0})


def test_an_unknown_limit_is_refused_and_the_known_ones_named():
    with pytest.raises(ValidationError, match="'max_sessions'; they have max_parallel_sessions, "):
        Limits.from_map({"max_sessions": 3})
    with pytest.raises(ValidationError):
        Limits.from_map({3: 3})


@pytest.mark.parametrize("value", [None, [], "x", 3])
def test_limits_are_read_from_a_map_only(value):
    with pytest.raises(ValidationError):
        Limits.from_map(value)


def test_limits_cannot_be_changed():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Limits().max_queued_runs = 3


def test_named_statuses_and_types_exist():
    assert all(SessionStatus(status) for status in config.RETENTION_EXEMPT_STATUSES)
    assert all(EventType(type_) for type_ in config.RETENTION_PRUNE_EVENT_TYPES_FIRST)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STREAM_IDLE_TIMEOUT", 120.0),
        ("APPROVAL_TIMEOUT", 300.0),
        ("COMMAND_TIMEOUT", 30.0),
        ("EVENT_BUFFER_SIZE", 1_000),
        ("MAX_OUTPUT_BYTES", 1 << 20),
        ("MAX_PATCH_BYTES", 1 << 20),
        ("ERROR_TEXT_MAX_BYTES", 1 << 14),
        ("ERROR_TEXT_MAX_LINES", 200),
        ("EVENT_QUERY_LIMIT", 100),
        ("BREAKER_FAILURE_THRESHOLD", 5),
        ("BREAKER_COOLDOWN", 30.0),
        ("STICKY_SESSION_TTL", 300.0),
        ("CHARS_PER_TOKEN", 4),
    ],
)
def test_documented_defaults_hold(name, value):
    assert getattr(config, name) == value
    assert type(getattr(config, name)) is type(value)
