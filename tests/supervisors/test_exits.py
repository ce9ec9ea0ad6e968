"""Exit reasons: equality, the one question, the printed phrase."""

from __future__ import annotations

import pytest
from attrs.exceptions import FrozenInstanceError

from supervisors import exits
from supervisors.exits import (
    ABANDONED,
    KILLED,
    NORMAL,
    SHUTDOWN,
    Crashed,
    Normal,
    Shutdown,
    describe,
    is_abnormal,
)

ERROR = ValueError("no such key")


@pytest.mark.parametrize(
    ("reason", "abnormal"),
    [
        (NORMAL, False),
        (SHUTDOWN, False),
        (Shutdown("drained"), False),
        (Shutdown(detail=("failed", 3)), False),
        (Crashed(ERROR), True),
        (KILLED, True),
        (ABANDONED, True),
    ],
)
def test_every_end_is_abnormal_but_normal_and_shutdown(reason, abnormal):
    assert is_abnormal(reason) is abnormal


@pytest.mark.parametrize(
    ("reason", "phrase"),
    [
        (NORMAL, "normal"),
        (SHUTDOWN, "shutdown"),
        (Shutdown("drained"), "shutdown (drained)"),
        (Crashed(ERROR), "crashed: ValueError('no such key')"),
        (KILLED, "killed"),
        (ABANDONED, "abandoned"),
    ],
)
def test_a_reason_reads_as_a_phrase(reason, phrase):
    assert describe(reason) == phrase


def test_reasons_are_values():
    assert Normal() == NORMAL
    assert Shutdown("x") == Shutdown("x") != SHUTDOWN
    assert len({NORMAL, Normal(), SHUTDOWN, Shutdown(), KILLED, ABANDONED}) == 4


def test_crashes_are_equal_only_if_they_are_the_same_crash():
    assert Crashed(ERROR) == Crashed(ERROR)
    assert hash(Crashed(ERROR)) == hash(Crashed(ERROR))
    assert Crashed(ERROR) != Crashed(ValueError("no such key"))


def test_a_reason_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        SHUTDOWN.detail = "later"
    assert SHUTDOWN.detail is None


def test_all_public_names_exist_and_are_documented():
    for name in exits.__all__:
        assert getattr(exits, name).__doc__


class UnspeakableError(Exception):
    def __repr__(self):
        raise RuntimeError("it cannot be shown")


def test_a_crash_by_what_cannot_be_shown_is_named_by_its_type():
    assert describe(Crashed(UnspeakableError())) == "crashed: UnspeakableError (it cannot be shown)"
