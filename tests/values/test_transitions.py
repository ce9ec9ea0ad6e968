"""Status tables and the function that reads them."""

from __future__ import annotations

from enum import StrEnum

import pytest

from asm_actors.errors import ErrorCode, StateError
from asm_actors.transitions import advance, state_diagram, terminal_statuses


class Door(StrEnum):
    OPEN = "open"
    SHUT = "shut"
    BRICKED = "bricked"


TABLE = {
    Door.OPEN: frozenset({Door.SHUT}),
    Door.SHUT: frozenset({Door.OPEN, Door.BRICKED}),
    Door.BRICKED: frozenset(),
}


@pytest.mark.parametrize(("current", "target"), [(a, b) for a in TABLE for b in TABLE[a]])
def test_a_listed_change_is_allowed(current, target):
    assert advance(TABLE, current, target) is target


@pytest.mark.parametrize("status", list(Door))
def test_the_present_status_is_always_allowed(status):
    assert advance(TABLE, status, status) is status


@pytest.mark.parametrize(
    ("current", "target", "allowed"),
    [
        (Door.OPEN, Door.BRICKED, ["shut"]),
        (Door.BRICKED, Door.OPEN, []),
        (Door.BRICKED, Door.SHUT, []),
    ],
)
def test_any_other_change_raises_and_names_both_ends(current, target, allowed):
    with pytest.raises(StateError) as caught:
        advance(TABLE, current, target, "door", "door_1")
    error = caught.value
    assert error.code is ErrorCode.INVALID_TRANSITION
    assert error.details == {"from": str(current), "to": str(target), "allowed": allowed}
    assert error.context == {"door_id": "door_1"}
    assert f"door door_1 cannot go from {current} to {target}" in error.message


def test_the_message_tells_what_is_possible_instead():
    with pytest.raises(StateError, match="status cannot go from open to bricked: it may become shut"):
        advance(TABLE, Door.OPEN, Door.BRICKED)
    with pytest.raises(StateError, match="bricked is final"):
        advance(TABLE, Door.BRICKED, Door.OPEN)


def test_allowed_statuses_are_named_in_the_tables_order():
    table = {
        Door.BRICKED: frozenset(),
        Door.OPEN: frozenset(),
        Door.SHUT: frozenset({Door.OPEN, Door.BRICKED}),
    }
    assert state_diagram(table).splitlines()[-1] == "shut    ─> bricked | open"


def test_the_diagram_has_a_line_per_status():
    assert state_diagram(TABLE) == "open    ─> shut\nshut    ─> open | bricked\nbricked ─> (final)"


def test_statuses_without_followers_are_terminal():
    assert terminal_statuses(TABLE) == {Door.BRICKED}
