"""How a supervisor ends: order, shutdown times, kills, odd ends, significant children."""

from __future__ import annotations

import threading

import pytest

from supervisors import control
from supervisors.exits import ABANDONED, KILLED, NORMAL, SHUTDOWN, Crashed, Shutdown
from supervisors.plan import ChildStatus
from supervisors.reports import AutoShutdownReached, ChildAbandoned, OddShutdown
from supervisors.spec import BRUTAL_KILL, AutoShutdown, ChildSpec, Restart, Strategy, SupervisorFlags
from supervisors.supervisor import Supervisor
from supervisors.thread_actor import ThreadActor

PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY
ANY, ALL = AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT


@pytest.mark.parametrize("reason", [SHUTDOWN, Shutdown("upgrade"), NORMAL])
def test_children_stop_in_reverse_and_the_supervisor_ends_with_the_reason_it_was_given(stage, reason):
    supervisor = stage.supervisor("a", "b", "c")
    refs = [stage.child(supervisor, name) for name in "abc"]
    stage.take_diary()
    supervisor.shutdown(reason)
    stage.settle()
    assert stage.diary == ["stop c", "stop b", "stop a"]
    assert [ref.exit_reason for ref in refs] == [SHUTDOWN] * 3
    assert supervisor.exit_reason == reason
    assert stage.reports_of(OddShutdown) == []


def test_pykkas_stop_returns_when_the_whole_tree_is_gone(stage):
    inner = ChildSpec("inner", Supervisor, args=([stage.spec("b"), stage.spec("c")],))
    supervisor = stage.supervisor("a", inner, "d")
    stage.take_diary()
    assert supervisor.stop(timeout=5) is True
    assert stage.diary == ["stop d", "stop c", "stop b", "stop a"]
    assert supervisor.exit_reason == NORMAL


def test_a_supervisor_without_children_ends_at_once(stage):
    supervisor = stage.supervisor()
    assert supervisor.stop(timeout=5) is True


def test_each_child_is_awaited_before_the_one_before_it_is_told(sim):
    sim.stubborn.add("b")
    supervisor = sim.supervisor("a", sim.spec("b", shutdown=3.0), "c")
    sim.take_diary()
    supervisor.shutdown()
    sim.advance(2.9)
    assert sim.diary == ["stop c"]
    sim.advance(0.1)
    assert sim.diary == ["stop c", "stop a"]


def test_sup_stop_timeout_kills_the_child_that_takes_too_long_and_reports_it(sim):
    sim.stubborn.add("b")
    supervisor = sim.supervisor("a", sim.spec("b", shutdown=1.0))
    slow = sim.child(supervisor, "b")
    supervisor.shutdown()
    sim.advance(0.99)
    assert slow.is_alive()
    sim.advance(0.01)
    assert slow.exit_reason == KILLED
    assert supervisor.exit_reason == SHUTDOWN
    assert sim.reports_of(OddShutdown) == [OddShutdown(supervisor, "b", KILLED, 1)]


def test_sup_stop_infinity_waits_as_long_as_it_takes(sim):
    sim.stubborn.add("a")
    supervisor = sim.supervisor(sim.spec("a", shutdown=None))
    slow = sim.child(supervisor, "a")
    supervisor.shutdown()
    sim.advance(1e6)
    assert supervisor.is_alive()
    sim.end(slow, SHUTDOWN)
    assert supervisor.exit_reason == SHUTDOWN
    assert sim.reports_of(OddShutdown) == []


def test_sup_stop_brutal_kill_runs_no_hook_and_is_no_odd_end(stage):
    supervisor = stage.supervisor("a", stage.spec("b", shutdown=BRUTAL_KILL))
    killed = stage.child(supervisor, "b")
    stage.take_diary()
    supervisor.shutdown()
    stage.settle()
    assert killed.exit_reason == KILLED
    assert stage.diary == ["stop a"]
    assert stage.reports_of(OddShutdown) == []


def test_a_shutdown_time_of_zero_asks_and_kills_at_once(sim):
    sim.stubborn.add("a")
    supervisor = sim.supervisor(sim.spec("a", shutdown=0))
    child = sim.child(supervisor, "a")
    supervisor.shutdown()
    sim.settle()
    assert child.exit_reason == KILLED


def test_a_crash_in_the_stop_hook_is_an_odd_end_and_stops_nobody_else(stage):
    stage.failing_stops.add("b")
    supervisor = stage.supervisor("a", "b", "c")
    stage.take_diary()
    supervisor.shutdown()
    stage.settle()
    assert stage.diary == ["stop c", "stop b", "stop a"]
    [report] = stage.reports_of(OddShutdown)
    assert report.child_id == "b"
    assert isinstance(report.reason, Crashed)


@pytest.mark.parametrize(("restart", "is_odd"), [(PERMANENT, True), (TRANSIENT, False), (TEMPORARY, False)])
def test_a_normal_end_on_shutdown_is_odd_only_for_a_permanent_child(sim, restart, is_odd):
    sim.stubborn.add("a")
    supervisor = sim.supervisor(sim.spec("a", restart))
    child = sim.child(supervisor, "a")
    supervisor.shutdown()
    sim.settle()
    sim.end(child, NORMAL)
    assert supervisor.exit_reason == SHUTDOWN
    assert bool(sim.reports_of(OddShutdown)) is is_odd


def test_a_child_that_crashed_just_before_its_turn_is_reported_and_not_restarted(sim):
    sim.stubborn.add("b")
    supervisor = sim.supervisor("a", sim.spec("b", shutdown=1.0))
    supervisor.shutdown()
    sim.settle()
    sim.crash(supervisor, "a")  # while b takes its time
    sim.take_diary()
    sim.advance(1.0)
    assert supervisor.exit_reason == SHUTDOWN
    assert sim.diary == []
    assert [report.child_id for report in sim.reports_of(OddShutdown)] == ["b", "a"]


def test_an_exit_request_overtakes_a_group_restart(sim):
    sim.stubborn.add("b")
    flags = SupervisorFlags(Strategy.ONE_FOR_ALL, intensity=5)
    supervisor = sim.supervisor("a", sim.spec("b", shutdown=9.0), flags=flags)
    sim.crash(supervisor, "a")  # waits for b
    waiting = control.start_child(supervisor, sim.spec("c"))
    sim.settle()
    supervisor.shutdown()
    sim.take_diary()
    sim.settle()
    with pytest.raises(control.ChildError) as caught:
        waiting.get()
    assert caught.value.refusal is control.Refusal.STOPPING
    sim.advance(9.0)
    assert sim.diary == []  # nothing is started any more
    assert supervisor.exit_reason == SHUTDOWN


def test_commands_are_refused_while_the_supervisor_ends_but_terminate_is_still_answered(sim):
    sim.stubborn.add("a")
    supervisor = sim.supervisor(sim.spec("a", shutdown=4.0))
    ended = control.terminate_child(supervisor, "a")
    sim.settle()
    supervisor.shutdown()
    sim.settle()
    with pytest.raises(control.ChildError) as caught:
        sim.ask(control.start_child, supervisor, sim.spec("b"))
    assert caught.value.refusal is control.Refusal.STOPPING
    sim.advance(4.0)
    assert ended.get() is None


def test_a_pending_back_off_does_not_delay_the_end(sim):
    from supervisors.backoff import Backoff

    supervisor = sim.supervisor(sim.spec("a", backoff=Backoff(initial=100, maximum=100)))
    sim.crash(supervisor, "a")
    supervisor.shutdown()
    sim.settle()
    assert supervisor.exit_reason == SHUTDOWN
    sim.advance(200)
    assert sim.diary == ["start a"]


def test_a_killed_supervisor_takes_its_children_along(stage):
    inner = ChildSpec("inner", Supervisor, args=([stage.spec("x")],))
    supervisor = stage.supervisor("a", inner)
    refs = [stage.child(supervisor, "a"), stage.child(stage.child(supervisor, "inner"), "x")]
    supervisor.kill()
    stage.settle()
    assert [ref.exit_reason for ref in refs] == [KILLED, KILLED]


def test_a_fault_in_the_supervisor_itself_leaves_no_child_behind(sim):
    sim.stubborn.add("b")
    supervisor = sim.supervisor("a", sim.spec("b", shutdown=2.0))
    refs = [sim.child(supervisor, name) for name in "ab"]
    sim.dispatcher.crash(supervisor, sim.Boom("fault"))
    sim.settle()
    assert refs[0].exit_reason == SHUTDOWN
    sim.advance(2.0)
    assert refs[1].exit_reason == KILLED
    assert isinstance(supervisor.exit_reason, Crashed)


def test_a_stubborn_sibling_of_a_failed_start_is_killed_in_its_time(sim):
    sim.stubborn.add("a")
    sim.failing_starts["b"] = 1
    supervisor = sim.supervisor(sim.spec("a", shutdown=2.0), "b")
    assert not supervisor.is_alive()
    assert len(sim.dispatcher.lives) == 2
    sim.advance(2.0)
    assert len(sim.dispatcher.lives) == 0


def test_a_blocking_thread_that_cannot_be_ended_is_abandoned_and_reported():
    from supervisors.loop_dispatcher import LoopDispatcher

    entered, release = threading.Event(), threading.Event()
    reports = []

    class Blocking(ThreadActor):
        def on_receive(self, message):
            entered.set()
            release.wait(10)

    dispatcher = LoopDispatcher("abandon").open()
    try:
        spec = ChildSpec("blocking", Blocking, shutdown=0.01)
        supervisor = dispatcher.start(Supervisor, [spec], on_report=reports.append)
        [child] = control.which_children(supervisor).get(timeout=5)
        child.ref.tell("block")
        assert entered.wait(5)
        assert supervisor.stop(timeout=5)
        assert [r for r in reports if isinstance(r, ChildAbandoned)] == [
            ChildAbandoned(supervisor, "blocking", child.ref)
        ]
        assert child.ref.exit_reason == ABANDONED
    finally:
        release.set()
        dispatcher.close()


# --- Significant children: OTP's significant_* -------------------------------------------------------------


@pytest.mark.parametrize(
    ("auto", "restart", "end", "ends_the_supervisor"),
    [
        (ANY, TRANSIENT, "normal", True),
        (ANY, TRANSIENT, "shutdown", True),
        (ANY, TRANSIENT, "shutdown_with_detail", True),
        (ANY, TRANSIENT, "crash", False),
        (ANY, TRANSIENT, "killed", False),
        (ANY, TEMPORARY, "normal", True),
        (ANY, TEMPORARY, "shutdown", True),
        (ANY, TEMPORARY, "crash", True),
        (ANY, TEMPORARY, "killed", True),
        (ALL, TRANSIENT, "normal", False),
        (ALL, TEMPORARY, "crash", False),
    ],
)
def test_significant_child_by_every_way_to_end(stage, ends, auto, restart, end, ends_the_supervisor):
    flags = SupervisorFlags(intensity=5, auto_shutdown=auto)
    specs = [stage.spec(name, restart, significant=True) for name in "ab"]
    supervisor = stage.supervisor("bystander", *specs, flags=flags)
    stage.end(stage.child(supervisor, "a"), ends[end])
    assert supervisor.is_alive() is not ends_the_supervisor
    if ends_the_supervisor:
        assert supervisor.exit_reason == Shutdown("auto_shutdown")
        assert stage.diary[-2:] == ["stop b", "stop bystander"]
        assert [report.child_id for report in stage.reports_of(AutoShutdownReached)] == ["a"]


def test_significant_all_ends_with_the_last_significant_child_and_not_with_a_bystander(stage):
    flags = SupervisorFlags(auto_shutdown=ALL)
    specs = [stage.spec(name, TRANSIENT, significant=True) for name in "ab"]
    supervisor = stage.supervisor(stage.spec("bystander", TEMPORARY), *specs, flags=flags)
    stage.end(stage.child(supervisor, "bystander"), NORMAL)
    stage.end(stage.child(supervisor, "b"), NORMAL)
    assert supervisor.is_alive()
    stage.end(stage.child(supervisor, "a"), NORMAL)
    assert supervisor.exit_reason == Shutdown("auto_shutdown")


def test_significant_bystander_that_a_group_restart_takes_down_does_not_end_the_supervisor(stage):
    flags = SupervisorFlags(Strategy.ONE_FOR_ALL, intensity=5, auto_shutdown=ANY)
    supervisor = stage.supervisor("a", stage.spec("s", TEMPORARY, significant=True), flags=flags)
    stage.crash(supervisor, "a")
    assert stage.ids(supervisor) == ["a"]
    assert supervisor.is_alive()


def test_significant_child_that_is_terminated_on_request_does_not_end_the_supervisor(stage):
    flags = SupervisorFlags(auto_shutdown=ANY)
    supervisor = stage.supervisor(stage.spec("s", TRANSIENT, significant=True), flags=flags)
    stage.ask(control.terminate_child, supervisor, "s")
    assert stage.info(supervisor, "s").status is ChildStatus.STOPPED
    assert supervisor.is_alive()


@pytest.mark.parametrize(
    ("restart", "comes_back"), [(PERMANENT, True), (TRANSIENT, False), (TEMPORARY, False)]
)
def test_significant_upwards_the_end_of_a_subtree_is_an_ordered_one_to_its_parent(stage, restart, comes_back):
    specs = [stage.spec("s", TRANSIENT, significant=True)]
    inner = ChildSpec(
        "inner", Supervisor, (specs,), {"flags": SupervisorFlags(auto_shutdown=ANY)}, restart=restart
    )
    outer = stage.supervisor(inner)
    stage.end(stage.child(stage.child(outer, "inner"), "s"), NORMAL)
    running = [info.id for info in stage.ask(control.which_children, outer) if info.ref is not None]
    assert running == (["inner"] if comes_back else [])
