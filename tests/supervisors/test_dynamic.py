"""Dynamic supervision: OTP's simple_one_for_one on live actors, names, bounds, slots, and a hundred thousand."""

from __future__ import annotations

import time

import pykka
import pytest

from supervisors import control
from supervisors.actor import Actor
from supervisors.backoff import Backoff
from supervisors.control import ChildError, Refusal
from supervisors.dynamic import DynamicSupervisor
from supervisors.errors import Overloaded, StartFailed
from supervisors.exits import KILLED, NORMAL, SHUTDOWN, Shutdown
from supervisors.plan import ChildStatus
from supervisors.registry import AlreadyRegistered, NotRegistered
from supervisors.reports import ChildTerminated, IntensityReached, OddShutdown, StartFailure
from supervisors.simulation import SimulationDispatcher
from supervisors.slot_pool import GetPoolStatistics, Resize, SlotBinding, SlotPool
from supervisors.spec import (
    BRUTAL_KILL,
    AutoShutdown,
    ChildSpec,
    Restart,
    SpecError,
    Strategy,
    SupervisorFlags,
)
from supervisors.supervisor import Supervisor

PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY
PATIENT = SupervisorFlags(intensity=1000, period=3600.0)


def dynamic(stage, restart=TEMPORARY, *, flags=PATIENT, options=None, **more):
    template = ChildSpec("worker", stage.Worker, (stage,), restart=restart, **(options or {}))
    return stage.start(DynamicSupervisor, template, flags=flags, on_report=stage.reports.append, **more)


def start(stage, supervisor, name):
    return stage.ask(control.start_child, supervisor, name)


def refs(stage, supervisor):
    return [info.ref for info in stage.ask(control.which_children, supervisor)]


# --- Starting ----------------------------------------------------------------------------------------------


def test_children_get_the_templates_arguments_and_then_their_own(stage):
    template = ChildSpec("w", stage.Worker, (stage, "shared"), restart=TEMPORARY)
    supervisor = stage.start(DynamicSupervisor, template)
    child = stage.ask(control.start_child, supervisor, "own", 1)
    assert child.proxy().extra.get(timeout=5) == ("own", 1)


def test_child_adm_simple(stage):
    supervisor = dynamic(stage, TRANSIENT)
    first, second = start(stage, supervisor, "a"), start(stage, supervisor, "b")
    assert refs(stage, supervisor) == [first, second]
    assert stage.ask(control.count_children, supervisor) == control.ChildCounts(
        specs=1, active=2, supervisors=0, workers=2
    )
    assert stage.ask(control.terminate_child, supervisor, first) is None
    assert first.exit_reason == SHUTDOWN
    assert refs(stage, supervisor) == [second]
    for gone in (first, "no ref"):
        with pytest.raises(ChildError) as caught:
            stage.ask(control.terminate_child, supervisor, gone)
        assert caught.value.refusal is Refusal.NOT_FOUND
    for forbidden in (control.restart_child, control.delete_child):
        with pytest.raises(ChildError) as caught:
            stage.ask(forbidden, supervisor, second)
        assert caught.value.refusal is Refusal.DYNAMIC


def test_a_start_that_fails_raises_is_reported_and_not_tried_again(stage):
    supervisor = dynamic(stage, PERMANENT)
    stage.failing_starts["a"] = 1
    with pytest.raises(StartFailed) as caught:
        start(stage, supervisor, "a")
    assert isinstance(caught.value.__cause__, stage.Boom)
    stage.settle()
    assert stage.diary == ["fail a"]
    assert len(stage.reports_of(StartFailure)) == 1
    assert refs(stage, supervisor) == []


def test_max_children_counts_also_those_that_are_coming_back(sim):
    backoff = Backoff(initial=9.0, maximum=9.0, jitter=0)
    supervisor = dynamic(sim, PERMANENT, options={"backoff": backoff}, max_children=2)
    first = start(sim, supervisor, "a")
    start(sim, supervisor, "b")
    sim.end(first, KILLED)
    with pytest.raises(ChildError) as caught:
        start(sim, supervisor, "c")
    assert caught.value.refusal is Refusal.MAX_CHILDREN
    sim.ask(control.terminate_child, supervisor, first)
    assert start(sim, supervisor, "c").is_alive()


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("strategy", lambda spec: DynamicSupervisor(spec(), flags=SupervisorFlags(Strategy.ONE_FOR_ALL))),
        ("name", lambda spec: DynamicSupervisor(spec(name="one"))),
        ("significant", lambda spec: DynamicSupervisor(spec(restart=TEMPORARY, significant=True))),
    ],
)
def test_a_template_that_breaks_a_rule_is_refused(sim, field, make):
    with pytest.raises(SpecError) as caught, sim.dispatcher.activate():
        make(lambda **options: ChildSpec("w", sim.Worker, **options))
    assert caught.value.field == field


# --- Restart type x way to end -----------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["normal", "shutdown", "shutdown_with_detail", "crash", "killed"])
@pytest.mark.parametrize("restart", list(Restart))
def test_simple_one_for_one_by_every_way_to_end(stage, ends, restart, end):
    supervisor = dynamic(stage, restart)
    bystander, child = start(stage, supervisor, "b"), start(stage, supervisor, "a")
    stage.end(child, ends[end])
    comes_back = restart is PERMANENT or (restart is TRANSIENT and end in {"crash", "killed"})
    now = refs(stage, supervisor)
    assert now[0] is bystander
    assert len(now) == 1 + comes_back
    assert child not in now
    assert stage.diary.count("start a") == 1 + comes_back  # with its own arguments
    is_reported = restart is PERMANENT or end in {"crash", "killed"}
    assert len(stage.reports_of(ChildTerminated)) == is_reported


def test_restarts_of_an_instance_are_counted(stage):
    supervisor = dynamic(stage, PERMANENT)
    start(stage, supervisor, "a")
    for _ in range(3):
        stage.end(refs(stage, supervisor)[0], KILLED)
    [info] = stage.ask(control.which_children, supervisor)
    assert info.restarts == 3
    assert stage.ask(control.statistics, supervisor).restarts == 3


def test_simple_one_for_one_escalation(stage):
    supervisor = dynamic(stage, PERMANENT, flags=SupervisorFlags(intensity=1, period=3600.0))
    other = start(stage, supervisor, "other")
    start(stage, supervisor, "a")
    for _ in range(2):
        stage.end(refs(stage, supervisor)[-1], KILLED)
    assert supervisor.exit_reason == Shutdown("reached_max_restart_intensity")
    assert other.exit_reason == SHUTDOWN
    assert len(stage.reports_of(IntensityReached)) == 1


def test_a_failed_restart_is_tried_again_and_counted(stage):
    supervisor = dynamic(stage, PERMANENT)
    child = start(stage, supervisor, "a")
    stage.failing_starts["a"] = 2
    stage.end(child, KILLED)
    assert stage.diary == ["start a", "fail a", "fail a", "start a"]
    assert stage.ask(control.statistics, supervisor).recent_restarts == 3


def test_hanging_restart_loop_simple(sim):
    supervisor = dynamic(sim, PERMANENT, flags=SupervisorFlags(intensity=10**6))
    child = start(sim, supervisor, "a")
    sim.failing_starts["a"] = 10**9
    child.kill()
    while sim.diary.count("fail a") < 5:
        assert sim.dispatcher.step()
    sim.ask(control.terminate_child, supervisor, child)  # by the ref of its last life
    sim.settle()
    assert sim.ask(control.count_children, supervisor).workers == 0


def test_back_off_grows_with_each_restart_of_one_instance(sim):
    options = {"backoff": Backoff(initial=1.0, jitter=0)}
    supervisor = dynamic(sim, PERMANENT, options=options)
    start(sim, supervisor, "calm")
    start(sim, supervisor, "a")
    for pause in (1.0, 2.0, 4.0):
        sim.end(refs(sim, supervisor)[-1], KILLED)
        sim.advance(pause - 0.01)
        assert sim.ask(control.statistics, supervisor).restarting == 1
        sim.advance(0.01)
        assert sim.ask(control.statistics, supervisor).active == 2
    sim.end(refs(sim, supervisor)[0], KILLED)  # another instance begins at the first pause
    sim.advance(1.0)
    assert sim.ask(control.statistics, supervisor).active == 2


def test_a_back_off_ends_with_the_supervisor(sim):
    supervisor = dynamic(sim, PERMANENT, options={"backoff": Backoff(initial=9.0, maximum=9.0)})
    sim.end(start(sim, supervisor, "a"), KILLED)
    supervisor.stop(timeout=1)
    sim.advance(20)
    assert sim.diary == ["start a"]


# --- Significant -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auto", "survives_one", "survives_both"),
    [(AutoShutdown.ANY_SIGNIFICANT, False, False), (AutoShutdown.ALL_SIGNIFICANT, True, False)],
)
def test_significant_simple(stage, auto, survives_one, survives_both):
    flags = SupervisorFlags(auto_shutdown=auto)
    supervisor = dynamic(stage, TEMPORARY, flags=flags, options={"significant": True})
    children = [start(stage, supervisor, name) for name in "ab"]
    stage.end(children[0], NORMAL)
    assert supervisor.is_alive() is survives_one
    stage.end(children[1], NORMAL) if survives_one else None
    assert supervisor.is_alive() is survives_both
    assert supervisor.exit_reason == Shutdown("auto_shutdown")


# --- Ending ------------------------------------------------------------------------------------------------


def test_simple_one_for_one_shutdown_stops_all_at_once(sim):
    sim.stubborn.add("slow")
    supervisor = dynamic(sim, options={"shutdown": 3.0})
    children = [start(sim, supervisor, name) for name in ("a", "slow", "b", "slow")]
    supervisor.shutdown(Shutdown("bye"))
    sim.settle()
    assert [child.is_alive() for child in children] == [False, True, False, True]
    with pytest.raises(ChildError) as caught:
        start(sim, supervisor, "c")
    assert caught.value.refusal is Refusal.STOPPING
    sim.advance(3.0)
    assert [child.exit_reason for child in children] == [SHUTDOWN, KILLED, SHUTDOWN, KILLED]
    assert supervisor.exit_reason == Shutdown("bye")
    assert sim.reports_of(OddShutdown) == [OddShutdown(supervisor, "Worker", KILLED, 2)]


def test_brutal_kill_runs_no_hook(stage):
    supervisor = dynamic(stage, options={"shutdown": BRUTAL_KILL})
    children = [start(stage, supervisor, name) for name in "ab"]
    stage.take_diary()
    supervisor.stop(timeout=5)
    assert [child.exit_reason for child in children] == [KILLED, KILLED]
    assert stage.diary == []
    assert stage.reports_of(OddShutdown) == []


def test_terminating_a_slow_child_kills_it_in_its_time_and_answers_then(sim):
    sim.stubborn.add("slow")
    supervisor = dynamic(sim, PERMANENT, options={"shutdown": 2.0})
    child = start(sim, supervisor, "slow")
    ended = [control.terminate_child(supervisor, child) for _ in range(2)]
    sim.settle()
    assert not ended[0].is_done
    assert sim.ask(control.which_children, supervisor)[0].status is ChildStatus.STOPPING
    sim.advance(2.0)
    assert [future.get() for future in ended] == [None, None]
    assert child.exit_reason == KILLED
    assert refs(sim, supervisor) == []


def test_a_dynamic_supervisor_is_a_child_like_any_other(stage):
    template = ChildSpec("w", stage.Worker, (stage,), restart=TEMPORARY)
    root = stage.supervisor("a", ChildSpec("crowd", DynamicSupervisor, (template,), name="crowd"))
    child = stage.ask(control.start_child, stage.dispatcher.names.resolve("crowd"), "x")
    assert stage.ask(control.count_children, root).supervisors == 1
    stage.take_diary()
    root.stop(timeout=5)
    assert stage.diary == ["stop x", "stop a"]
    assert child.exit_reason == SHUTDOWN


# --- Names -------------------------------------------------------------------------------------------------


def test_names_are_made_from_the_childs_own_arguments_and_outlive_restarts(stage):
    supervisor = dynamic(stage, PERMANENT, name_of=lambda name: ("worker", name))
    first = start(stage, supervisor, "a")
    names = stage.dispatcher.names
    assert names.whereis(("worker", "a")) is first
    stage.end(first, KILLED)
    assert names.whereis(("worker", "a")) is refs(stage, supervisor)[0]


def test_a_second_child_of_the_same_name_is_refused_and_names_the_first(stage):
    supervisor = dynamic(stage, name_of=lambda name: name)
    first = start(stage, supervisor, "a")
    with pytest.raises(StartFailed) as caught:
        start(stage, supervisor, "a")
    cause = caught.value.__cause__
    assert isinstance(cause, AlreadyRegistered)
    assert cause.holder is first
    assert refs(stage, supervisor) == [first]


# --- Slots -------------------------------------------------------------------------------------------------


def slotted(stage, limit, restart=TEMPORARY, key="runs", max_waiting=100, **more):
    pool = stage.start(SlotPool, {"runs": limit}, default_limit=1, max_waiting=max_waiting)
    return pool, dynamic(stage, restart, slots=SlotBinding(pool, key), **more)


def in_use(pool, key="runs"):
    return pool.ask(GetPoolStatistics(), timeout=5)[key].in_use


def test_a_full_pool_delays_starts_which_follow_in_the_order_of_asking(stage):
    pool, supervisor = slotted(stage, 2)
    starts = [control.start_child(supervisor, name) for name in "abcd"]
    stage.settle()
    assert stage.diary == ["start a", "start b"]
    assert stage.ask(control.statistics, supervisor).waiting == 2
    stage.end(starts[1].get(timeout=5), NORMAL)
    assert stage.diary[2:] == ["stop b", "start c"]
    stage.end(starts[0].get(timeout=5), KILLED)
    assert stage.diary[4:] == ["start d"]
    assert all(future.get(timeout=5).is_alive() for future in starts[2:])
    assert in_use(pool) == 2


def test_a_slot_is_held_by_the_child_and_freed_by_its_exit_however_it_comes(stage, ends):
    pool, supervisor = slotted(stage, 1)
    for reason in ends.values():
        child = start(stage, supervisor, "a")
        assert in_use(pool) == 1
        stage.end(child, reason)
        assert in_use(pool) == 0


def test_a_start_that_fails_gives_its_slot_to_the_next(stage):
    stage.failing_starts["a"] = 1
    pool, supervisor = slotted(stage, 1)
    starts = [control.start_child(supervisor, name) for name in "ab"]
    stage.settle()
    with pytest.raises(StartFailed):
        starts[0].get(timeout=5)
    assert starts[1].get(timeout=5).is_alive()
    assert in_use(pool) == 1


def test_a_start_for_which_the_line_is_full_is_refused_as_overloaded(stage):
    _, supervisor = slotted(stage, 1, max_waiting=1)
    starts = [control.start_child(supervisor, name) for name in "abc"]
    stage.settle()
    with pytest.raises(Overloaded):
        starts[2].get(timeout=5)
    assert not starts[1].is_done


def test_a_restart_takes_its_place_at_the_end_of_the_line(stage):
    pool, supervisor = slotted(stage, 1, PERMANENT)
    starts = [control.start_child(supervisor, name) for name in "ab"]
    stage.end(starts[0].get(timeout=5), KILLED)
    assert stage.diary == ["start a", "start b"]
    assert stage.ask(control.statistics, supervisor).waiting == 1
    pool.tell(Resize("runs", 2))
    stage.settle()
    assert stage.diary == ["start a", "start b", "start a"]


def test_a_restart_that_waits_for_its_slot_can_be_terminated(stage):
    pool, supervisor = slotted(stage, 1, PERMANENT)
    starts = [control.start_child(supervisor, name) for name in "ab"]
    first = starts[0].get(timeout=5)
    stage.end(first, KILLED)
    stage.ask(control.terminate_child, supervisor, first)
    pool.tell(Resize("runs", 5))
    stage.settle()
    assert stage.diary == ["start a", "start b"]
    assert in_use(pool) == 1


def test_keys_are_made_from_the_childs_arguments(stage):
    _, supervisor = slotted(stage, 9, key=lambda name: ("tenant", name[0]))
    starts = {name: control.start_child(supervisor, name) for name in ("a1", "a2", "b1")}
    stage.settle()
    assert [name for name, future in starts.items() if future.is_done] == ["a1", "b1"]


def test_starts_that_wait_are_refused_when_the_supervisor_ends_and_hold_no_place(stage):
    pool, supervisor = slotted(stage, 1)
    control.start_child(supervisor, "a")
    waiting = control.start_child(supervisor, "b")
    stage.settle()
    supervisor.stop(timeout=5)
    with pytest.raises(ChildError):
        waiting.get(timeout=5)
    stage.settle()
    statistics = pool.ask(GetPoolStatistics(), timeout=5)["runs"]
    assert (statistics.in_use, statistics.waiting) == (0, 0)


def test_a_killed_supervisor_leaves_no_slot_held(stage):
    pool, supervisor = slotted(stage, 2)
    starts = [control.start_child(supervisor, name) for name in "abc"]
    stage.settle()
    supervisor.kill()
    stage.settle()
    with pytest.raises(pykka.ActorDeadError):
        starts[2].get(timeout=5)
    assert in_use(pool) == 0


def test_without_a_pool_a_start_fails_and_when_the_pool_ends_those_that_wait_do(stage):
    supervisor = dynamic(stage, slots=SlotBinding("the pool"))
    with pytest.raises(NotRegistered):
        start(stage, supervisor, "a")
    pool = stage.start(SlotPool, {"slots": 1})
    stage.dispatcher.names.register("the pool", pool)
    starts = [control.start_child(supervisor, name) for name in "ab"]
    stage.settle()
    pool.stop(timeout=5)
    stage.settle()
    assert starts[0].get(timeout=5).is_alive()
    with pytest.raises(pykka.ActorDeadError):
        starts[1].get(timeout=5)


# --- Size --------------------------------------------------------------------------------------------------


class Quiet(Actor):
    pass


def seconds(action):
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def test_simple_one_for_one_scale_many_temporary_children():
    """Neither a start nor an end costs more with ten thousand siblings than with a few hundred."""
    dispatcher = SimulationDispatcher()
    supervisor = dispatcher.start(DynamicSupervisor, ChildSpec("w", Quiet, restart=TEMPORARY))
    dispatcher.run_until_idle()
    actor = supervisor.life.actor
    starts, ends = [], []

    def start_some():
        with dispatcher.activate():
            for _ in range(500):
                actor.on_receive(control.StartChild((), {}))

    starts += [seconds(start_some) for _ in range(20)]
    crowd = actor.children
    assert len(crowd) == 10_000
    for n in range(0, 10_000, 500):
        for ref in crowd[n : n + 500]:
            ref.shutdown()
        ends.append(seconds(dispatcher.run_until_idle))
    assert not actor.children
    assert min(starts[-5:]) < 5 * min(starts[:5])
    assert min(ends[:5]) < 5 * min(ends[-5:])
    dispatcher.close()


def test_a_crowd_stops_together_with_its_supervisor(stage):
    supervisor = stage.start(Supervisor, [ChildSpec("crowd", DynamicSupervisor, (ChildSpec("w", Quiet),))])
    stage.settle()
    crowd = stage.child(supervisor, "crowd")
    futures = [control.start_child(crowd) for _ in range(1000)]
    futures[-1].get(timeout=5)
    supervisor.stop(timeout=10)
    assert not stage.dispatcher.lives
