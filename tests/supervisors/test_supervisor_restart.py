"""OTP's matrix on live actors: restart type x way to end, and the restart strategies."""

from __future__ import annotations

import pytest

from supervisors import control
from supervisors.backoff import Backoff
from supervisors.errors import StartFailed
from supervisors.exits import KILLED, NORMAL, Crashed
from supervisors.plan import ChildStatus
from supervisors.registry import AlreadyRegistered
from supervisors.reports import ChildStarted, ChildTerminated, StartFailure, UnexpectedMessage
from supervisors.spec import AutoShutdown, ChildSpec, Restart, SpecError, Strategy, SupervisorFlags
from supervisors.supervisor import Supervisor

PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY
ONE_FOR_ALL = SupervisorFlags(Strategy.ONE_FOR_ALL, intensity=5)
REST_FOR_ONE = SupervisorFlags(Strategy.REST_FOR_ONE, intensity=5)
PATIENT = SupervisorFlags(intensity=100)


def refusal(caught):
    return caught.value.refusal


# --- Start --------------------------------------------------------------------------------------------------


def test_sup_start_normal_children_start_in_the_order_of_their_specs(stage):
    supervisor = stage.supervisor("a", "b", "c")
    assert stage.diary == ["start a", "start b", "start c"]
    assert stage.ids(supervisor) == ["a", "b", "c"]
    assert all(stage.child(supervisor, name).is_alive() for name in "abc")


def test_sup_start_fail_stops_those_already_started_in_reverse_and_the_failure_is_the_exit(stage):
    stage.failing_starts["c"] = 1
    supervisor = stage.supervisor("a", "b", "c", "d")
    assert stage.diary == ["start a", "start b", "fail c", "stop b", "stop a"]
    assert not supervisor.is_alive()
    assert isinstance(supervisor.exit_reason, Crashed)
    assert isinstance(supervisor.exit_reason.error, StartFailed)
    assert isinstance(supervisor.exit_reason.error.__cause__, stage.Boom)


def test_a_failed_start_of_a_subtree_is_a_failed_start_to_the_parent(sim):
    sim.failing_starts["b"] = 1
    inner = ChildSpec("inner", Supervisor, args=([sim.spec("a"), sim.spec("b")],))
    outer = sim.supervisor("x", flags=PATIENT)
    with pytest.raises(StartFailed):
        sim.ask(control.start_child, outer, inner)
    assert sim.diary == ["start x", "start a", "fail b", "stop a"]
    assert sim.ids(outer) == ["x"]


def test_specs_are_checked_before_anything_runs(stage):
    with pytest.raises(SpecError, match="two children"):
        stage.start(Supervisor, [stage.spec("a"), stage.spec("a")])
    with pytest.raises(SpecError, match="auto_shutdown is never"):
        stage.start(Supervisor, [stage.spec("a", TRANSIENT, significant=True)])
    assert stage.diary == []


# --- Restart type x way to end ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("restart", "end", "status"),
    [
        (PERMANENT, "normal", ChildStatus.RUNNING),
        (PERMANENT, "shutdown", ChildStatus.RUNNING),
        (PERMANENT, "shutdown_with_detail", ChildStatus.RUNNING),
        (PERMANENT, "crash", ChildStatus.RUNNING),
        (PERMANENT, "killed", ChildStatus.RUNNING),
        (TRANSIENT, "normal", ChildStatus.STOPPED),
        (TRANSIENT, "shutdown", ChildStatus.STOPPED),
        (TRANSIENT, "shutdown_with_detail", ChildStatus.STOPPED),
        (TRANSIENT, "crash", ChildStatus.RUNNING),
        (TRANSIENT, "killed", ChildStatus.RUNNING),
        (TEMPORARY, "normal", None),
        (TEMPORARY, "shutdown", None),
        (TEMPORARY, "shutdown_with_detail", None),
        (TEMPORARY, "crash", None),
        (TEMPORARY, "killed", None),
    ],
)
def test_permanent_transient_temporary_by_every_way_to_end(stage, ends, restart, end, status):
    supervisor = stage.supervisor("bystander", stage.spec("a", restart))
    first, bystander = stage.child(supervisor, "a"), stage.child(supervisor, "bystander")
    stage.end(first, ends[end])
    assert not first.is_alive()
    assert stage.child(supervisor, "bystander") is bystander
    if status is None:
        assert stage.ids(supervisor) == ["bystander"]
        return
    info = stage.info(supervisor, "a")
    assert info.status is status
    if status is ChildStatus.RUNNING:
        assert info.ref is not first
        assert info.ref.is_alive()
        assert info.restarts == 1
    else:
        assert (info.ref, info.restarts) == (None, 0)


@pytest.mark.parametrize(
    ("restart", "end", "is_reported"),
    [
        (PERMANENT, "normal", True),
        (TRANSIENT, "normal", False),
        (TRANSIENT, "crash", True),
        (TEMPORARY, "shutdown", False),
        (TEMPORARY, "killed", True),
    ],
)
def test_odd_ends_are_reported_once_and_orderly_ones_are_not(stage, ends, restart, end, is_reported):
    supervisor = stage.supervisor(stage.spec("a", restart))
    first = stage.child(supervisor, "a")
    stage.end(first, ends[end])
    reports = stage.reports_of(ChildTerminated)
    expected = ChildTerminated(supervisor, "a", first, ends[end], restart is not TEMPORARY)
    assert reports == ([expected] if is_reported else [])


def test_a_child_that_leaves_within_its_own_start_has_run_and_ended(sim):
    class Brief(sim.Worker):
        def on_start(self):
            super().on_start()
            self.exit(NORMAL)

    brief = ChildSpec("brief", Brief, args=(sim, "brief"), restart=TRANSIENT)
    supervisor = sim.supervisor("a", brief)
    assert sim.info(supervisor, "brief").status is ChildStatus.STOPPED
    assert sim.diary == ["start a", "start brief", "stop brief"]


# --- Strategies ---------------------------------------------------------------------------------------------


def test_one_for_one_restarts_only_the_child_that_ended(stage):
    supervisor = stage.supervisor("a", "b", "c")
    before = [stage.child(supervisor, name) for name in "abc"]
    stage.take_diary()
    stage.crash(supervisor, "b")
    assert stage.diary == ["start b"]
    after = [stage.child(supervisor, name) for name in "abc"]
    assert [old is new for old, new in zip(before, after, strict=True)] == [True, False, True]


def test_one_for_all_stops_the_others_in_reverse_and_starts_all_in_order(stage):
    supervisor = stage.supervisor("a", "b", "c", "d", flags=ONE_FOR_ALL)
    stage.take_diary()
    stage.crash(supervisor, "b")
    assert stage.diary == ["stop d", "stop c", "stop a", "start a", "start b", "start c", "start d"]
    assert stage.ids(supervisor) == ["a", "b", "c", "d"]


def test_rest_for_one_takes_those_along_that_were_started_later(stage):
    supervisor = stage.supervisor("a", "b", "c", "d", flags=REST_FOR_ONE)
    stage.take_diary()
    stage.crash(supervisor, "b")
    assert stage.diary == ["stop d", "stop c", "start b", "start c", "start d"]
    assert stage.ids(supervisor) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("flags", [ONE_FOR_ALL, REST_FOR_ONE])
def test_temporary_bystander_is_taken_down_by_a_sibling_and_does_not_come_back(stage, flags):
    supervisor = stage.supervisor("a", stage.spec("t", TEMPORARY), flags=flags)
    bystander = stage.child(supervisor, "t")
    stage.crash(supervisor, "a")
    assert stage.ids(supervisor) == ["a"]
    assert not bystander.is_alive()


@pytest.mark.parametrize("flags", [ONE_FOR_ALL, REST_FOR_ONE])
def test_a_temporary_childs_own_end_takes_nobody_along(stage, flags):
    supervisor = stage.supervisor(stage.spec("t", TEMPORARY), "a", flags=flags)
    stage.take_diary()
    stage.crash(supervisor, "t")
    assert stage.diary == []
    assert stage.ids(supervisor) == ["a"]


def test_one_for_all_brings_back_a_sibling_that_had_ended_well(stage):
    supervisor = stage.supervisor("a", stage.spec("t", TRANSIENT), flags=ONE_FOR_ALL)
    stage.end(stage.child(supervisor, "t"), NORMAL)
    stage.take_diary()
    stage.crash(supervisor, "a")
    assert stage.diary == ["start a", "start t"]


def test_one_for_all_other_child_fails_restart(stage):
    supervisor = stage.supervisor("a", "b", "c", flags=ONE_FOR_ALL)
    stage.take_diary()
    stage.failing_starts["b"] = 1
    stage.crash(supervisor, "a")
    # The failed member is tried again, with the whole group: whoever was already back goes down once more.
    assert stage.diary == [
        *("stop c", "stop b", "start a", "fail b"),
        *("stop a", "start a", "start b", "start c"),
    ]
    assert [report.child_id for report in stage.reports_of(StartFailure)] == ["b"]


def test_rest_for_one_other_child_fails_restart(stage):
    supervisor = stage.supervisor("a", "b", "c", flags=REST_FOR_ONE)
    stage.take_diary()
    stage.failing_starts["b"] = 1
    stage.crash(supervisor, "a")
    # The group is now the failed member and those after it: the first stays up.
    assert stage.diary == ["stop c", "stop b", "start a", "fail b", "start b", "start c"]


def test_two_siblings_that_end_during_a_group_restart_cause_no_second_one(sim):
    supervisor = sim.supervisor("a", "b", "c", flags=ONE_FOR_ALL)
    refs = [sim.child(supervisor, name) for name in "abc"]
    sim.take_diary()
    for ref in refs:
        ref.kill()
    sim.settle()
    assert sim.diary == ["start a", "start b", "start c"]
    assert sim.ask(control.statistics, supervisor).recent_restarts == 1


def test_an_earlier_sibling_that_ends_during_a_rest_for_one_restart_is_judged_after_it(sim):
    sim.stubborn.add("c")
    later = sim.spec("c", shutdown=10.0)
    supervisor = sim.supervisor("a", "b", later, flags=REST_FOR_ONE)
    sim.take_diary()
    sim.crash(supervisor, "b")  # now waits for c to stop
    sim.crash(supervisor, "a")
    assert sim.diary == []
    sim.stubborn.clear()
    sim.advance(10.0)  # c is killed; b and c start; then the end of a takes all three
    assert sim.diary == ["start b", "start c", "stop c", "stop b", "start a", "start b", "start c"]
    assert sim.ask(control.count_children, supervisor).active == 3


# --- Starts that fail ---------------------------------------------------------------------------------------


def test_a_failed_restart_is_tried_again_until_it_succeeds(stage):
    supervisor = stage.supervisor("a", flags=PATIENT)
    stage.failing_starts["a"] = 3
    stage.crash(supervisor, "a")
    assert stage.diary == ["start a", "fail a", "fail a", "fail a", "start a"]
    numbers = stage.ask(control.statistics, supervisor)
    assert (numbers.failed_starts, numbers.restarts, numbers.recent_restarts) == (3, 1, 4)


def test_hanging_restart_loop_lets_requests_in_between(sim):
    supervisor = sim.supervisor("a", "b", flags=SupervisorFlags(intensity=10**6))
    sim.failing_starts["a"] = 10**9
    sim.child(supervisor, "a").kill()
    while sim.diary.count("fail a") < 5:
        assert sim.dispatcher.step()
    assert sim.info(supervisor, "a").status is ChildStatus.RESTARTING
    with pytest.raises(control.ChildError) as caught:
        sim.ask(control.restart_child, supervisor, "a")
    assert refusal(caught) is control.Refusal.RESTARTING
    with pytest.raises(control.ChildError) as caught:
        sim.ask(control.delete_child, supervisor, "a")
    assert refusal(caught) is control.Refusal.RESTARTING
    sim.ask(control.terminate_child, supervisor, "a")
    sim.settle()  # comes to rest: the loop is over
    assert sim.info(supervisor, "a").status is ChildStatus.STOPPED
    sim.failing_starts["a"] = 0
    assert sim.ask(control.restart_child, supervisor, "a").is_alive()


def test_hanging_restart_loop_is_ended_by_the_supervisors_own_stop(sim):
    supervisor = sim.supervisor("a", "b", flags=SupervisorFlags(intensity=10**6))
    sim.failing_starts["a"] = 10**9
    sim.child(supervisor, "a").kill()
    while sim.diary.count("fail a") < 5:
        assert sim.dispatcher.step()
    assert supervisor.stop(timeout=5)
    assert not supervisor.is_alive()


def test_a_restart_waits_until_what_a_failed_start_left_behind_is_gone(sim):
    """Two lives of one child never overlap, not even with the rest of a subtree that failed half-way."""
    sim.failing_starts["late"] = 0
    sim.stubborn.add("slow")
    inner_specs = [sim.spec("slow", shutdown=3.0, name="the slow one"), sim.spec("late")]
    inner = ChildSpec("inner", Supervisor, args=(inner_specs,))
    outer = sim.supervisor(inner, flags=PATIENT)
    sim.child(outer, "inner").kill()
    sim.failing_starts["late"] = 1
    sim.settle()
    assert sim.info(outer, "inner").status is ChildStatus.RESTARTING
    assert sim.ask(control.statistics, outer).failed_starts == 1  # and not one for each try to take the name
    sim.advance(3.0)
    assert sim.info(outer, "inner").status is ChildStatus.RUNNING
    assert sim.dispatcher.names.whereis("the slow one") is not None


# --- Back-off -----------------------------------------------------------------------------------------------


def test_back_off_delays_each_restart_more_and_starts_anew_after_a_stable_life(sim):
    backoff = Backoff(initial=1.0, maximum=4.0, jitter=0, stable_after=60.0)
    supervisor = sim.supervisor(sim.spec("a", backoff=backoff), flags=PATIENT)
    for pause in (1.0, 2.0, 4.0, 4.0):
        sim.take_diary()
        sim.crash(supervisor, "a")
        sim.advance(pause - 0.01)
        assert sim.diary == []
        assert sim.info(supervisor, "a").status is ChildStatus.RESTARTING
        sim.advance(0.01)
        assert sim.diary == ["start a"]
    sim.advance(60.0)
    sim.take_diary()
    sim.crash(supervisor, "a")
    sim.advance(1.0)
    assert sim.diary == ["start a"]


def test_back_off_of_a_group_stops_the_others_first_and_starts_all_after_the_pause(sim):
    calm = sim.spec("b", backoff=Backoff(initial=2.0, jitter=0))
    supervisor = sim.supervisor("a", calm, "c", flags=ONE_FOR_ALL)
    sim.take_diary()
    sim.crash(supervisor, "b")
    assert sim.diary == ["stop c", "stop a"]
    sim.advance(2.0)
    assert sim.diary == ["stop c", "stop a", "start a", "start b", "start c"]


def test_back_off_also_spaces_the_tries_of_a_start_that_fails(sim):
    supervisor = sim.supervisor(sim.spec("a", backoff=Backoff(initial=1.0, jitter=0)), flags=PATIENT)
    sim.failing_starts["a"] = 2
    sim.crash(supervisor, "a")
    sim.advance(1.0)
    assert sim.diary == ["start a", "fail a"]
    sim.advance(2.0)
    assert sim.diary == ["start a", "fail a", "fail a"]
    sim.advance(4.0)
    assert sim.diary == ["start a", "fail a", "fail a", "start a"]


def test_a_child_terminated_during_its_back_off_stays_down(sim):
    supervisor = sim.supervisor(sim.spec("a", backoff=Backoff(initial=1.0)), flags=PATIENT)
    sim.crash(supervisor, "a")
    sim.ask(control.terminate_child, supervisor, "a")
    sim.advance(60.0)
    assert sim.info(supervisor, "a").status is ChildStatus.STOPPED


def test_commands_are_taken_while_a_group_waits_out_a_back_off(sim):
    supervisor = sim.supervisor(sim.spec("a", backoff=Backoff(initial=9.0, jitter=0)), flags=ONE_FOR_ALL)
    sim.crash(supervisor, "a")
    sim.ask(control.start_child, supervisor, sim.spec("b"))
    assert sim.ids(supervisor) == ["a", "b"]
    sim.take_diary()
    sim.advance(9.0)
    assert sim.diary == ["stop b", "start a", "start b"]


# --- Commands: OTP's child_adm ------------------------------------------------------------------------------


def test_child_adm_start_terminate_restart_delete(stage):
    supervisor = stage.supervisor()
    ref = stage.ask(control.start_child, supervisor, stage.spec("a"))
    assert stage.child(supervisor, "a") is ref
    with pytest.raises(control.ChildError) as caught:
        stage.ask(control.start_child, supervisor, stage.spec("a"))
    assert refusal(caught) is control.Refusal.ALREADY_STARTED
    assert caught.value.ref is ref
    for forbidden in (control.restart_child, control.delete_child):
        with pytest.raises(control.ChildError) as caught:
            stage.ask(forbidden, supervisor, "a")
        assert refusal(caught) is control.Refusal.RUNNING

    assert stage.ask(control.terminate_child, supervisor, "a") is None
    assert not ref.is_alive()
    assert stage.ask(control.terminate_child, supervisor, "a") is None
    with pytest.raises(control.ChildError) as caught:
        stage.ask(control.start_child, supervisor, stage.spec("a"))
    assert refusal(caught) is control.Refusal.ALREADY_PRESENT

    again = stage.ask(control.restart_child, supervisor, "a")
    assert again is not ref
    assert again.is_alive()
    stage.ask(control.terminate_child, supervisor, "a")
    stage.ask(control.delete_child, supervisor, "a")
    assert stage.ids(supervisor) == []
    for gone in (control.terminate_child, control.restart_child, control.delete_child):
        with pytest.raises(control.ChildError) as caught:
            stage.ask(gone, supervisor, "a")
        assert refusal(caught) is control.Refusal.NOT_FOUND


def test_a_terminated_child_is_not_restarted_whatever_its_type(stage):
    supervisor = stage.supervisor("p", stage.spec("r", TRANSIENT), stage.spec("t", TEMPORARY))
    for name in "prt":
        stage.ask(control.terminate_child, supervisor, name)
    assert [(i.id, i.status) for i in stage.ask(control.which_children, supervisor)] == [
        ("p", ChildStatus.STOPPED),
        ("r", ChildStatus.STOPPED),
    ]


def test_do_not_save_child_specs_for_temporary_children(stage):
    supervisor = stage.supervisor(stage.spec("t", TEMPORARY))
    stage.ask(control.terminate_child, supervisor, "t")
    assert stage.ids(supervisor) == []
    assert stage.ask(control.start_child, supervisor, stage.spec("t", TEMPORARY)).is_alive()


def test_a_start_on_request_that_fails_raises_and_leaves_no_spec(stage):
    supervisor = stage.supervisor()
    stage.failing_starts["a"] = 1
    with pytest.raises(StartFailed) as caught:
        stage.ask(control.start_child, supervisor, stage.spec("a"))
    assert isinstance(caught.value.__cause__, stage.Boom)
    assert stage.ids(supervisor) == []
    stage.settle()
    assert stage.diary == ["fail a"]  # not tried again: who asked decides


def test_a_restart_on_request_that_fails_keeps_the_spec(stage):
    supervisor = stage.supervisor("a")
    stage.ask(control.terminate_child, supervisor, "a")
    stage.failing_starts["a"] = 1
    with pytest.raises(StartFailed):
        stage.ask(control.restart_child, supervisor, "a")
    assert stage.info(supervisor, "a").status is ChildStatus.STOPPED


def test_a_bad_spec_is_refused_and_changes_nothing(stage):
    supervisor = stage.supervisor("a")
    with pytest.raises(SpecError):
        stage.ask(control.start_child, supervisor, stage.spec("b", TRANSIENT, significant=True))
    with pytest.raises(SpecError):
        stage.ask(control.start_child, supervisor, "no spec")
    with pytest.raises(SpecError):
        stage.ask(control.start_child, supervisor, stage.spec("b"), "surplus")
    assert stage.ids(supervisor) == ["a"]


def test_commands_wait_for_a_group_restart_and_are_answered_then(sim):
    sim.stubborn.add("b")
    supervisor = sim.supervisor("a", sim.spec("b", shutdown=5.0), flags=ONE_FOR_ALL)
    sim.crash(supervisor, "a")  # waits for b
    started = control.start_child(supervisor, sim.spec("c"))
    ended = control.terminate_child(supervisor, "a")
    sim.settle()
    assert not started.is_done
    assert sim.ask(control.statistics, supervisor).waiting == 2
    sim.stubborn.clear()
    sim.advance(5.0)
    assert started.get().is_alive()
    assert ended.get() is None
    assert [(i.id, i.status.value) for i in sim.ask(control.which_children, supervisor)] == [
        ("a", "stopped"),
        ("b", "running"),
        ("c", "running"),
    ]


def test_commands_on_a_child_that_is_stopping_wait_for_its_end(sim):
    sim.stubborn.add("a")
    supervisor = sim.supervisor(sim.spec("a", shutdown=5.0))
    ended = [control.terminate_child(supervisor, "a") for _ in range(2)]
    again = control.restart_child(supervisor, "a")
    sim.settle()
    assert [future.is_done for future in (*ended, again)] == [False, False, False]
    sim.advance(5.0)
    assert [future.get() for future in ended] == [None, None]
    assert again.get() is sim.child(supervisor, "a")


def test_a_promised_reply_is_broken_when_the_supervisor_is_killed(sim):
    import pykka

    sim.stubborn.add("a")
    supervisor = sim.supervisor(sim.spec("a", shutdown=5.0))
    ended = control.terminate_child(supervisor, "a")
    sim.settle()
    supervisor.kill()
    sim.settle()
    with pytest.raises(pykka.ActorDeadError):
        ended.get()


def test_count_children_counts_specs_by_kind_and_what_lives(stage):
    inner = ChildSpec("inner", Supervisor, args=([stage.spec("x")],))
    supervisor = stage.supervisor("a", stage.spec("b", TRANSIENT), inner)
    stage.end(stage.child(supervisor, "b"), NORMAL)
    assert stage.ask(control.count_children, supervisor) == control.ChildCounts(
        specs=3, active=2, supervisors=1, workers=2
    )


def test_statistics_tell_what_happened(stage):
    supervisor = stage.supervisor("a", "b", flags=SupervisorFlags(intensity=7, period=9.0))
    stage.crash(supervisor, "a")
    assert stage.ask(control.statistics, supervisor) == control.SupervisorStatistics(
        active=2,
        restarting=0,
        waiting=0,
        started=3,
        restarts=1,
        failed_starts=0,
        recent_restarts=1,
        intensity=7,
        period=9.0,
    )


def test_every_start_is_reported(stage):
    supervisor = stage.supervisor("a")
    first = stage.child(supervisor, "a")
    stage.crash(supervisor, "a")
    second = stage.child(supervisor, "a")
    assert stage.reports_of(ChildStarted) == [
        ChildStarted(supervisor, "a", first, 0),
        ChildStarted(supervisor, "a", second, 1),
    ]


def test_an_unexpected_message_is_reported_and_dropped(stage):
    supervisor = stage.supervisor("a")
    supervisor.tell("what?")
    stage.settle()
    assert stage.reports_of(UnexpectedMessage) == [UnexpectedMessage(supervisor, "what?")]
    assert supervisor.is_alive()


def test_a_report_hook_that_raises_changes_nothing(stage):
    def hook(report):
        raise stage.Boom(report)

    supervisor = stage.start(Supervisor, [stage.spec("a")], on_report=hook)
    stage.settle()
    stage.crash(supervisor, "a")
    assert stage.child(supervisor, "a").is_alive()


def test_a_child_supervisor_inherits_the_report_hook(stage):
    inner = ChildSpec("inner", Supervisor, args=([stage.spec("x")],))
    supervisor = stage.supervisor(inner)
    stage.crash(stage.child(supervisor, "inner"), "x")
    assert [report.child_id for report in stage.reports_of(ChildTerminated)] == ["x"]


# --- Names --------------------------------------------------------------------------------------------------


def test_a_named_child_has_its_name_before_its_first_hook_and_in_every_life(stage):
    seen = []

    class Named(stage.Worker):
        def on_start(self):
            seen.append(self.dispatcher.names.whereis("service") is self.actor_ref)

    supervisor = stage.supervisor(ChildSpec("a", Named, args=(stage, "a"), name="service"))
    first = stage.dispatcher.names.whereis("service")
    stage.crash(supervisor, "a")
    second = stage.dispatcher.names.whereis("service")
    assert first is not second
    assert second is stage.child(supervisor, "a")
    assert seen == [True, True]


def test_a_name_that_is_taken_fails_the_start(stage):
    supervisor = stage.supervisor(stage.spec("a", name="service"))
    with pytest.raises(StartFailed) as caught:
        stage.ask(control.start_child, supervisor, stage.spec("b", name="service"))
    assert isinstance(caught.value.__cause__, AlreadyRegistered)
    assert stage.ids(supervisor) == ["a"]


# --- Significant children are in test_supervisor_shutdown; a restart that never happens is here -------------


def test_a_significant_transient_child_that_crashes_is_restarted(stage):
    flags = SupervisorFlags(intensity=3, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    supervisor = stage.supervisor(stage.spec("a", TRANSIENT, significant=True), flags=flags)
    stage.end(stage.child(supervisor, "a"), KILLED)
    assert stage.child(supervisor, "a").is_alive()


def test_multiple_restarts_within_bounds_are_all_served(stage):
    supervisor = stage.supervisor("a", flags=SupervisorFlags(intensity=50, period=3600.0))
    for _ in range(50):
        stage.child(supervisor, "a").kill()
        stage.settle()
    assert stage.info(supervisor, "a").restarts == 50
