"""Steps that yield what they wait for, with nobody waiting on a thread."""

from __future__ import annotations

import pytest

from asm_actors.journal.driving import drive_alone
from supervisors import Future


def done(value):
    future = Future()
    future.set(value)
    return future


def test_steps_go_on_whenever_what_they_wait_for_is_there():
    first, second, seen = Future(), Future(), []

    def steps():
        seen.append((yield first))
        seen.append((yield done("at once")))
        seen.append((yield second))
        return "over"

    result = drive_alone(steps())
    assert seen == []
    first.set(1)
    assert seen == [1, "at once"]
    assert not result.is_done
    second.set(2)
    assert seen == [1, "at once", 2]
    assert result.get() == "over"


def test_many_steps_that_need_not_wait_do_not_pile_up():
    def steps():
        total = 0
        for k in range(20_000):
            total += yield done(k)
        return total

    assert drive_alone(steps()).get() == 199_990_000


def test_steps_decide_what_an_error_means_and_what_they_raise_is_the_results():
    asked = Future()

    def steps():
        try:
            yield asked
        except ZeroDivisionError:
            yield done(None)
        raise KeyError("mine")

    result = drive_alone(steps())
    asked.set_error(ZeroDivisionError())
    with pytest.raises(KeyError, match="mine"):
        result.get()
