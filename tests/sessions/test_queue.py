from __future__ import annotations

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.sessions.queue import RunQueue


def filled(*run_ids, limit=10):
    queue = RunQueue(limit)
    for run_id in run_ids:
        queue.enqueue(run_id)
    return queue


def test_runs_leave_in_the_order_in_which_they_came():
    queue = filled("a", "b", "c")
    assert [queue.dequeue() for _ in range(4)] == ["a", "b", "c", None]


def test_an_empty_queue_is_false_has_no_length_and_gives_nothing():
    queue = RunQueue(3)
    assert not queue
    assert len(queue) == 0
    assert list(queue) == []
    assert queue.dequeue() is None
    assert "a" not in queue


def test_a_run_can_be_taken_out_of_the_middle_and_the_others_keep_their_order():
    queue = filled("a", "b", "c")
    assert queue.remove("b")
    assert list(queue) == ["a", "c"]


def test_removing_a_run_that_does_not_wait_changes_nothing():
    queue = filled("a")
    assert not queue.remove("x")
    assert list(queue) == ["a"]
    assert not RunQueue(1).remove("x")


def test_a_full_queue_refuses_and_names_the_limit_to_raise():
    queue = filled("a", "b", limit=2)
    with pytest.raises(AsmError) as caught:
        queue.enqueue("c")
    assert caught.value.code is ErrorCode.MAX_RUNS_EXCEEDED
    assert "max_queued_runs" in str(caught.value)
    assert list(queue) == ["a", "b"]


def test_a_queue_of_limit_0_takes_nothing():
    queue = RunQueue(0)
    assert queue.is_full
    with pytest.raises(AsmError):
        queue.check_room()


def test_a_queue_without_a_limit_is_never_full():
    queue = filled(*map(str, range(1_000)), limit=None)
    assert not queue.is_full
    queue.check_room()
    assert len(queue) == 1_000


def test_a_run_that_waits_is_refused_a_second_place():
    queue = filled("a")
    with pytest.raises(AsmError) as caught:
        queue.enqueue("a")
    assert caught.value.code is ErrorCode.ALREADY_EXISTS


def test_a_run_that_was_accepted_before_is_taken_although_the_queue_is_full():
    queue = filled("a", limit=1)
    queue.enqueue_anyway("b")
    assert list(queue) == ["a", "b"]
    assert queue.is_full


def test_iterating_is_safe_while_runs_are_taken_out():
    queue = filled("a", "b", "c")
    for run_id in queue:
        queue.remove(run_id)
    assert len(queue) == 0
