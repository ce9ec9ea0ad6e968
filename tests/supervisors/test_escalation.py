"""Escalation: one restart too many makes a supervisor give up, and its parent decides."""

from __future__ import annotations

import pytest

from supervisors import control
from supervisors.exits import Shutdown
from supervisors.reports import IntensityReached
from supervisors.spec import ChildSpec, Restart, Strategy, SupervisorFlags
from supervisors.supervisor import Supervisor

PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY
GAVE_UP = Shutdown("reached_max_restart_intensity")


@pytest.mark.parametrize("strategy", list(Strategy))
def test_escalation_stops_the_other_children_in_reverse_and_ends_with_shutdown(stage, strategy):
    """OTP's one_for_one_escalation, one_for_all_escalation and rest_for_one_escalation."""
    flags = SupervisorFlags(strategy, intensity=1, period=3600.0)
    supervisor = stage.supervisor("a", "b", "c", flags=flags)
    stage.crash(supervisor, "b")
    assert supervisor.is_alive()
    stage.take_diary()
    stage.crash(supervisor, "b")
    assert stage.diary == ["stop c", "stop a"]
    assert supervisor.exit_reason == GAVE_UP
    assert stage.reports_of(IntensityReached) == [IntensityReached(supervisor, "b", 1, 3600.0)]


def test_an_intensity_of_zero_gives_up_at_the_first_restart(stage):
    supervisor = stage.supervisor("a", flags=SupervisorFlags(intensity=0))
    stage.crash(supervisor, "a")
    assert supervisor.exit_reason == GAVE_UP


def test_restarts_further_apart_than_the_period_are_always_served(sim):
    supervisor = sim.supervisor("a", flags=SupervisorFlags(intensity=1, period=5.0))
    for _ in range(10):
        sim.crash(supervisor, "a")
        sim.advance(5.01)
    assert sim.info(supervisor, "a").restarts == 10


def test_restarts_of_different_children_count_together(stage):
    supervisor = stage.supervisor("a", "b", flags=SupervisorFlags(intensity=1, period=3600.0))
    stage.crash(supervisor, "a")
    stage.crash(supervisor, "b")
    assert supervisor.exit_reason == GAVE_UP


def test_a_start_that_keeps_failing_exhausts_the_intensity(stage):
    supervisor = stage.supervisor("a", "b", flags=SupervisorFlags(intensity=3, period=3600.0))
    stage.failing_starts["b"] = 10**6
    stage.take_diary()
    stage.child(supervisor, "b").kill()
    stage.settle()
    assert stage.diary == ["fail b", "fail b", "fail b", "stop a"]
    assert supervisor.exit_reason == GAVE_UP


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_a_group_member_that_keeps_failing_exhausts_the_intensity(stage, strategy):
    flags = SupervisorFlags(strategy, intensity=2, period=3600.0)
    supervisor = stage.supervisor("a", "b", flags=flags)
    stage.failing_starts["b"] = 10**6
    stage.crash(supervisor, "a")
    assert supervisor.exit_reason == GAVE_UP
    assert stage.diary.count("fail b") == 2
    assert not stage.dispatcher.lives


@pytest.mark.parametrize(
    ("restart", "comes_back"), [(PERMANENT, True), (TRANSIENT, False), (TEMPORARY, False)]
)
def test_a_subtree_that_gave_up_is_restarted_only_if_it_is_permanent(stage, restart, comes_back):
    """Giving up is an ordered end (`shutdown`), so a transient supervisor is not brought back: as in OTP."""
    inner = ChildSpec("inner", Supervisor, ([stage.spec("x")],), restart=restart)
    outer = stage.supervisor("a", inner, flags=SupervisorFlags(intensity=5))
    first = stage.child(outer, "inner")
    stage.crash(first, "x")
    stage.crash(first, "x")
    assert first.exit_reason == GAVE_UP
    running = [info.id for info in stage.ask(control.which_children, outer) if info.ref is not None]
    assert running == (["a", "inner"] if comes_back else ["a"])
    if comes_back:
        fresh = stage.child(outer, "inner")
        assert stage.child(fresh, "x").is_alive()
        assert stage.ask(control.statistics, fresh).recent_restarts == 0


def test_a_fault_that_persists_escalates_level_by_level_to_the_root(stage):
    innermost = ChildSpec("c", Supervisor, ([stage.spec("x")],))
    middle = ChildSpec("b", Supervisor, ([innermost],))
    root = stage.supervisor(middle)
    for _ in range(8):  # two lives of x per life of c, two of c per life of b, two of b per life of the root
        assert root.is_alive()
        stage.crash(stage.child(stage.child(root, "b"), "c"), "x")
    assert root.exit_reason == GAVE_UP
    assert not stage.dispatcher.lives


def test_a_subtree_that_fails_to_start_again_counts_against_its_parent(stage):
    inner = ChildSpec("inner", Supervisor, ([stage.spec("x")],))
    outer = stage.supervisor(inner, flags=SupervisorFlags(intensity=2, period=3600.0))
    stage.failing_starts["x"] = 10**6
    stage.child(outer, "inner").kill()
    stage.settle()
    assert outer.exit_reason == GAVE_UP
    assert stage.diary.count("fail x") == 2


def test_a_crash_during_the_final_stop_does_not_change_the_reason(stage):
    stage.failing_stops.add("a")
    supervisor = stage.supervisor("a", "b", flags=SupervisorFlags(intensity=0))
    stage.crash(supervisor, "b")
    assert supervisor.exit_reason == GAVE_UP
