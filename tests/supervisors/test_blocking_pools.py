"""Blocking calls in pools of their own names: how many threads, and what a close says of those that never end."""

from __future__ import annotations

import logging
import threading

import pytest

from supervisors.actor import Actor
from supervisors.loop_dispatcher import LoopDispatcher

WITHIN_S = 20.0


class Doing(Actor):
    def on_receive(self, message):
        return message(self)


@pytest.fixture
def dispatcher():
    made = LoopDispatcher("pools").open()
    yield made
    made.close()


def begin(dispatcher, calls, **options):
    """Begin blocking calls from the dispatcher's thread."""
    ref = dispatcher.start(Doing)
    ref.ask(
        lambda me: [me.dispatcher.run_blocking(call, **options) for call in calls] and None, timeout=WITHIN_S
    )
    ref.stop()


def test_calls_of_a_named_pool_run_at_the_same_time_on_as_many_threads_as_it_has(dispatcher):
    meeting = threading.Barrier(3)
    names = []

    def meet():
        names.append(threading.current_thread().name)
        meeting.wait(WITHIN_S)

    begin(dispatcher, [meet, meet], thread="tools", threads=2)
    meeting.wait(WITHIN_S)
    assert sorted(names) == ["tools-0", "tools-1"]


def test_a_pool_that_is_full_of_calls_that_hang_is_in_no_other_pools_way(dispatcher):
    gate, done = threading.Event(), threading.Event()
    try:
        begin(dispatcher, [lambda: gate.wait(WITHIN_S)] * 3, thread="tools", threads=2)
        begin(dispatcher, [done.set])
        assert done.wait(WITHIN_S)
    finally:
        gate.set()


def test_a_close_leaves_behind_what_does_not_end_and_names_it(caplog):
    caplog.set_level(logging.WARNING, logger="supervisors")
    dispatcher = LoopDispatcher("left").open()
    gate, begun = threading.Event(), threading.Event()

    def hang():
        begun.set()
        gate.wait(WITHIN_S)

    try:
        begin(dispatcher, [hang], thread="tools", threads=2)
        assert begun.wait(WITHIN_S)
        assert dispatcher.close(timeout=0.2) is False
        assert "left behind: tools-0" in caplog.text
    finally:
        gate.set()
