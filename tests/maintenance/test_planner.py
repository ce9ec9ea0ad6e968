"""What follows from a policy, as tables."""

from __future__ import annotations

import pytest

from asm_actors.events import EventType
from asm_actors.maintenance.planner import (
    DAY_US,
    due_for_hard_delete,
    due_for_soft_delete,
    surplus_of,
)
from asm_actors.maintenance.policy import RetentionPolicy
from asm_actors.sessions.session import Session, SessionStatus

NOW = 1_700_000_000_000_000


def session(status="completed", *, age=0, quiet=None, deleted=None, tags=()):
    return Session(
        id="a",
        agent_id="agent",
        status=SessionStatus(status),
        created_us=NOW - age * DAY_US,
        updated_us=NOW - (age if quiet is None else quiet) * DAY_US,
        deleted_us=None if deleted is None else NOW - deleted * DAY_US,
        tags=tags,
    )


@pytest.mark.parametrize(
    ("fields", "one", "is_due"),
    [
        ({}, session(age=91), True),
        ({}, session(age=90), False),
        ({}, session(age=200, quiet=89), False),
        ({}, session("failed", age=91), True),
        ({}, session("cancelled", age=91), True),
        ({}, session("pending", age=91), True),
        ({}, session("active", age=91), False),
        ({}, session("paused", age=91), False),
        ({}, session(age=91, tags=("pinned",)), False),
        ({}, session(age=91, tags=("other",)), True),
        ({}, session(age=91, deleted=1), False),
        ({"max_completed_session_age_days": None}, session(age=9999), False),
        ({"max_session_age_days": 10}, session(age=11, quiet=0), True),
        ({"max_session_age_days": 10}, session(age=10, quiet=0), False),
        ({"max_session_age_days": 10}, session("active", age=11), False),
        ({"max_session_age_days": 10, "exempt_statuses": []}, session("active", age=11), True),
        ({"max_session_age_days": 10, "exempt_tags": ["x"]}, session(age=11, tags=("x",)), False),
        ({"max_session_age_days": 10, "exempt_tags": []}, session(age=11, tags=("pinned",)), True),
    ],
)
def test_what_is_due_for_soft_deletion(fields, one, is_due):
    assert due_for_soft_delete(RetentionPolicy(**fields), one, NOW) is is_due


@pytest.mark.parametrize(
    ("fields", "one", "is_due"),
    [
        ({}, session(age=500, deleted=31), True),
        ({}, session(age=500, deleted=30), False),
        ({}, session(age=500), False),
        ({}, session(deleted=31, tags=("pinned",)), False),
        ({}, session("active", deleted=31), True),
        ({"hard_delete_after_days": 1}, session(deleted=2), True),
        ({"hard_delete_after_days": None}, session(deleted=9999), False),
    ],
)
def test_what_is_due_for_deletion_for_good(fields, one, is_due):
    assert due_for_hard_delete(RetentionPolicy(**fields), one, NOW) is is_due


EVENTS = [
    (number, EventType(kind))
    for number, kind in enumerate(
        (
            "session_created",
            "run_started",
            "message_sent",
            "message_streamed",
            "message_streamed",
            "token_usage_updated",
            "message_received",
            "error_occurred",
            "run_completed",
        ),
        start=1,
    )
]


@pytest.mark.parametrize(
    ("excess", "gone"),
    [
        (0, []),
        (1, [4]),
        (3, [4, 5, 6]),
        (4, [3, 4, 5, 6]),
        (5, [3, 4, 5, 6, 7]),
        (9, [3, 4, 5, 6, 7]),
    ],
)
def test_what_goes_first(excess, gone):
    surplus, count = surplus_of(RetentionPolicy(), EVENTS)
    assert (surplus.first(excess), count) == (gone, 9)


def test_other_types_may_go_first():
    policy = RetentionPolicy(prune_event_types_first=["message_received"])
    surplus, _ = surplus_of(policy, EVENTS)
    assert surplus.first(1) == [7]
    assert surplus.first(2) == [3, 7]


def test_what_lies_before_a_number_can_be_spared():
    surplus, _ = surplus_of(RetentionPolicy(), EVENTS)
    assert surplus.after(4).first(9) == [5, 6, 7]
