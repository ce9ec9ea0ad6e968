"""The retention policy: defaults, validation, maps."""

from __future__ import annotations

import math

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.maintenance.file_artifacts import FileArtifactStore
from asm_actors.maintenance.policy import ESSENTIAL, RetentionPolicy


def test_the_defaults():
    assert RetentionPolicy().to_map() == {
        "max_session_age_days": None,
        "max_completed_session_age_days": 90,
        "max_events_per_session": None,
        "max_total_events": None,
        "hard_delete_after_days": 30,
        "archive_before_prune": False,
        "exempt_statuses": ["active", "paused"],
        "exempt_tags": ["pinned"],
        "prune_event_types_first": ["message_streamed", "token_usage_updated"],
        "batch_size": 100,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"max_session_age_days": 0},
        {"max_session_age_days": -1},
        {"max_completed_session_age_days": 1.5},
        {"max_completed_session_age_days": True},
        {"max_events_per_session": "many"},
        {"max_total_events": 0},
        {"hard_delete_after_days": 0},
        {"batch_size": 0},
        {"batch_size": None},
        {"batch_size": math.inf},
        {"archive_before_prune": "yes"},
        {"archive_before_prune": True},
        {"archive_store": "a directory"},
        {"exempt_statuses": ["asleep"]},
        {"exempt_statuses": 5},
        {"exempt_tags": "pinned"},
        {"exempt_tags": [""]},
        {"prune_event_types_first": ["no_such_type"]},
        {"prune_event_types_first": "message_streamed"},
        {"prune_event_types_first": ["run_completed"]},
    ],
)
def test_what_is_malformed_is_refused(fields):
    with pytest.raises(AsmError) as caught:
        RetentionPolicy(**fields)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


def test_infinity_is_no_bound():
    assert RetentionPolicy(max_session_age_days=math.inf, hard_delete_after_days=math.inf) == RetentionPolicy(
        hard_delete_after_days=None
    )


def test_archives_need_a_place(tmp_path):
    policy = RetentionPolicy(archive_before_prune=True, archive_store=FileArtifactStore(tmp_path))
    assert policy.archive_before_prune


def test_it_goes_to_a_map_and_comes_back():
    policy = RetentionPolicy(max_total_events=5, exempt_tags=["a", "b"], exempt_statuses=[], batch_size=7)
    assert RetentionPolicy.from_map(policy.to_map()) == policy
    assert RetentionPolicy.from_map({}) == RetentionPolicy()


@pytest.mark.parametrize("value", [None, [], {"max_age": 5}, {"archive_store": "x"}])
def test_a_malformed_map_is_refused(value):
    with pytest.raises(AsmError) as caught:
        RetentionPolicy.from_map(value)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


def test_how_a_run_ended_is_never_pruned():
    assert {EventType.RUN_COMPLETED, EventType.RUN_CANCELLED, EventType.SESSION_CREATED} <= ESSENTIAL
    assert EventType.MESSAGE_RECEIVED not in ESSENTIAL
