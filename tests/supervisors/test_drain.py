"""Drain: a closed door, a wait for zero, a named rest; exactly one report whatever the order of events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisors.drain import Drain, DrainReport, close_all


def test_an_empty_drain_is_through_when_it_closes():
    drain = Drain()
    assert drain.close() == DrainReport(finished=0, orphans=(), refused=0)
    assert drain.close() is None


def test_a_closed_door_admits_nobody_new():
    drain = Drain()
    assert drain.admit("a")
    assert drain.close() is None
    assert not drain.is_open
    assert not drain.admit("b")
    assert drain.admit("a")  # it is in already
    assert drain.finish("a") == DrainReport(finished=1, orphans=(), refused=1)


def test_the_last_to_finish_ends_the_drain():
    drain = Drain()
    for item in "abc":
        drain.admit(item)
    assert drain.finish("a") is None
    drain.close()
    assert drain.finish("c") is None
    assert drain.in_flight == 1
    report = drain.finish("b")
    assert report == DrainReport(finished=2, orphans=(), refused=0)
    assert report.is_clean
    assert drain.report is report


def test_what_is_left_when_the_bound_passes_are_orphans_oldest_first():
    drain = Drain()
    for item in "abc":
        drain.admit(item)
    drain.close()
    drain.finish("b")
    report = drain.expire()
    assert report == DrainReport(finished=1, orphans=("a", "c"), refused=0)
    assert not report.is_clean
    assert drain.expire() is None
    assert drain.finish("a") is None  # too late; the report stands
    assert drain.report is report


def test_a_timer_that_fires_after_the_end_is_harmless():
    drain = Drain()
    drain.admit("a")
    drain.close()
    assert drain.finish("a") is not None
    assert drain.expire() is None


def test_expiring_an_open_drain_closes_its_door():
    drain = Drain()
    drain.admit("a")
    assert drain.expire().orphans == ("a",)
    assert not drain.admit("b")


def test_all_doors_close_before_any_wait():
    first, second = Drain(), Drain()
    first.admit("a")
    assert close_all([first, second]) == (DrainReport(0, (), 0),)
    assert not first.is_open
    assert not second.is_open


@given(st.lists(st.tuples(st.sampled_from(["admit", "finish", "close", "expire"]), st.integers(0, 4))))
def test_any_history_gives_exactly_one_report_after_the_door_closed_and_none_before(history):
    drain = Drain()
    inside, reports = set(), []
    for action, item in history:
        if action == "admit":
            if drain.admit(item):
                inside.add(item)
        elif action == "finish":
            reports.append(drain.finish(item))
            if drain.report is None or reports[-1] is not None:
                inside.discard(item)
        else:
            reports.append(getattr(drain, action)())
    given_reports = [report for report in reports if report is not None]
    assert len(given_reports) == (drain.report is not None)
    if drain.is_open:
        assert drain.report is None
    elif drain.report is None:
        assert inside
    assert drain.in_flight == len(inside) or drain.report is not None
