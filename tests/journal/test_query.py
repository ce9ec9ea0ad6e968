"""Filters say what is wrong with them, and mean the same whichever way they are written."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.query import EventFilter


def test_one_value_and_several_mean_the_same():
    assert EventFilter(run_ids="r") == EventFilter(run_ids=["r"])
    assert EventFilter(types="run_failed") == EventFilter(types=(EventType.RUN_FAILED,))
    assert EventFilter(providers="p") == EventFilter(providers={"p"})


def test_an_instant_may_be_a_datetime_or_microseconds():
    assert EventFilter(since=datetime(1970, 1, 1, 0, 0, 1, 5, UTC)) == EventFilter(since=1_000_005)


def test_only_bounds_leave_a_filter_taking_all():
    assert EventFilter(after=1, before=2, limit=3).takes_all
    for wish in ({"run_ids": "r"}, {"types": "run_failed"}, {"since": 0}, {"until": 0}, {"providers": "p"}):
        assert not EventFilter(**wish).takes_all
    assert not EventFilter(correlation_id="c").takes_all


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"types": "no_such_type"}, ErrorCode.INVALID_EVENT_TYPE),
        ({"types": 5}, ErrorCode.VALIDATION_ERROR),
        ({"run_ids": 5}, ErrorCode.VALIDATION_ERROR),
        ({"run_ids": [5]}, ErrorCode.VALIDATION_ERROR),
        ({"after": -1}, ErrorCode.VALIDATION_ERROR),
        ({"limit": "5"}, ErrorCode.VALIDATION_ERROR),
        ({"before": True}, ErrorCode.VALIDATION_ERROR),
        ({"since": "yesterday"}, ErrorCode.VALIDATION_ERROR),
        ({"until": datetime(2026, 1, 1)}, ErrorCode.VALIDATION_ERROR),  # noqa: DTZ001 - that is the point
    ],
)
def test_a_malformed_wish_is_a_typed_error(wish, code):
    with pytest.raises(AsmError) as caught:
        EventFilter(**wish)
    assert caught.value.code is code
