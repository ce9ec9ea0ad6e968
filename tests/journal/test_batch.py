"""Group commit: what is a batch, what the line holds, and when it is behind or full."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asm_actors.journal import batch as module
from asm_actors.journal.append import Append, Draft, Packed
from asm_actors.journal.batch import Batcher, size_of
from asm_actors.journal.messages import Commit
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session


def commit(n_events=1, size=100, name="s"):
    return Commit(None, Append(name, Packed(n_events, b"x" * size), 0), ())


def test_the_first_write_is_a_batch_of_its_own_and_what_comes_meanwhile_is_the_next():
    batcher = Batcher()
    first, second, third = commit(), commit(), commit()
    batcher.add(first)
    assert batcher.take() == [first]
    batcher.add(second)
    batcher.add(third)
    assert batcher.take() is None
    assert batcher.finish() == [first]
    assert batcher.take() == [second, third]


def test_nothing_waits_means_no_batch():
    batcher = Batcher()
    assert batcher.take() is None
    assert batcher.is_idle


def test_a_batch_ends_before_the_write_that_would_pass_its_bound_of_events():
    batcher = Batcher()
    writes = [commit(module.MAX_EVENTS - 1), commit(2), commit(1)]
    for write in writes:
        batcher.add(write)
    assert batcher.take() == writes[:1]
    batcher.finish()
    assert batcher.take() == writes[1:]


def test_a_batch_ends_before_the_write_that_would_pass_its_bound_of_bytes():
    batcher = Batcher()
    writes = [commit(1, module.MAX_BYTES - 10), commit(1, 100)]
    for write in writes:
        batcher.add(write)
    assert batcher.take() == writes[:1]


def test_one_write_beyond_the_bounds_goes_alone():
    batcher = Batcher()
    huge = commit(module.MAX_EVENTS + 1)
    batcher.add(huge)
    batcher.add(commit())
    assert batcher.take() == [huge]


def test_a_failed_batch_is_halved_and_the_rest_goes_back_to_the_head_of_the_line():
    batcher = Batcher()
    writes = [commit() for _ in range(5)]
    for write in writes:
        batcher.add(write)
    batcher.take()
    late = commit()
    batcher.add(late)
    assert batcher.halve() == writes[:3]
    assert list(batcher.waiting) == [*writes[3:], late]
    assert batcher.halve() == writes[:2]
    assert batcher.halve() == writes[:1]
    assert batcher.halve() == writes[:1]
    batcher.finish()
    assert batcher.take() == [*writes[1:], late]
    assert batcher.n_waiting_events == batcher.n_waiting_bytes == 0


@pytest.mark.parametrize("kind", ["events", "bytes"])
def test_the_line_is_behind_then_full_and_neither_when_it_is_short_again(kind):
    batcher = Batcher()
    low = commit(module.BEHIND_EVENTS + 1) if kind == "events" else commit(1, module.BEHIND_BYTES + 1)
    high = commit(module.FULL_EVENTS) if kind == "events" else commit(1, module.FULL_BYTES)
    assert not batcher.is_behind
    batcher.add(low)
    assert batcher.is_behind
    assert not batcher.is_full
    batcher.add(high)
    assert batcher.is_full
    batcher.take()
    batcher.finish()
    batcher.take()
    assert not batcher.is_behind
    assert not batcher.is_full


def test_the_size_of_an_append_counts_its_body_and_its_records():
    bare = size_of(Append("s", Packed(2, b"x" * 1000), 0))
    assert bare == 1000
    with_records = Append(
        "s", Packed(2, b"x" * 1000), 0, Session(id="s", agent_id="a"), (Run(id="r", session_id="s"),)
    )
    assert size_of(with_records) > bare
    assert size_of(Append("s", [Draft("message_streamed", 1)] * 3, 0)) > size_of(Append("s", (), 0)) == 0


@given(
    st.lists(st.one_of(st.tuples(st.integers(0, 9_000), st.integers(0, 20 << 20)), st.sampled_from("tfh")))
)
def test_whatever_comes_leaves_once_in_order_within_the_bounds_and_the_counts_are_right(steps):
    batcher, came, left = Batcher(), [], []
    for step in steps:
        if step == "t":
            batch = batcher.take()
            if batch is not None and len(batch) > 1:
                assert sum(len(one.append.drafts) for one in batch) <= module.MAX_EVENTS
                assert sum(size_of(one.append) for one in batch) <= module.MAX_BYTES
        elif step == "f" and batcher.under_way is not None:
            left += batcher.finish()
        elif step == "h" and batcher.under_way is not None:
            batcher.halve()
        elif isinstance(step, tuple):
            came.append(Commit(None, Append("s", Packed(step[0], _Sized(step[1])), 0), ()))
            batcher.add(came[-1])
        assert batcher.n_waiting_events == sum(len(one.append.drafts) for one in batcher.waiting)
        assert batcher.n_waiting_bytes == sum(size_of(one.append) for one in batcher.waiting)
    assert [*left, *(batcher.under_way or ()), *batcher.waiting] == came


class _Sized:
    """Bytes that are only counted."""

    def __init__(self, size):
        self._size = size

    def __len__(self):
        return self._size
