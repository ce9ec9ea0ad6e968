"""Strategy decisions as tables: strategy x restart type x exit kind, auto-shutdown, escalation."""

from __future__ import annotations

from itertools import product

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from supervisors.exits import ABANDONED, KILLED, NORMAL, SHUTDOWN, Crashed, Shutdown, is_abnormal
from supervisors.intensity import RestartWindow
from supervisors.plan import (
    ChildStatus,
    Departure,
    Plan,
    after_exit,
    is_clean_stop,
    restart,
    stop_order,
    wants_restart,
)
from supervisors.spec import AutoShutdown, ChildSpec, Restart, Strategy, SupervisorFlags

CRASH = Crashed(ValueError("x"))
RUNNING, RESTARTING, STOPPED = ChildStatus.RUNNING, ChildStatus.RESTARTING, ChildStatus.STOPPED
PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY
ONE_FOR_ONE, ONE_FOR_ALL, REST_FOR_ONE = Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE


class Worker:
    pass


@frozen
class Child:
    spec: ChildSpec
    status: ChildStatus = RUNNING


def family(*members, **options):
    """Build children from (id, restart) or (id, restart, status)."""
    return {
        name: Child(ChildSpec(name, Worker, restart=how, **options), *status)
        for name, how, *status in members
    }


def decide(children, child_id, reason, strategy=ONE_FOR_ONE, auto=AutoShutdown.NEVER, intensity=10):
    flags = SupervisorFlags(strategy, intensity, 5.0, auto)
    return after_exit(children, child_id, reason, flags, window=RestartWindow(intensity, 5.0), now=0.0)


@pytest.mark.parametrize(
    ("how", "reason", "comes_back"),
    [
        *(
            (PERMANENT, reason, True)
            for reason in (NORMAL, SHUTDOWN, Shutdown("x"), CRASH, KILLED, ABANDONED)
        ),
        *((TRANSIENT, reason, False) for reason in (NORMAL, SHUTDOWN, Shutdown("x"))),
        *((TRANSIENT, reason, True) for reason in (CRASH, KILLED, ABANDONED)),
        *(
            (TEMPORARY, reason, False)
            for reason in (NORMAL, SHUTDOWN, Shutdown("x"), CRASH, KILLED, ABANDONED)
        ),
    ],
)
def test_the_restart_type_and_the_exit_decide_who_comes_back(how, reason, comes_back):
    assert wants_restart(ChildSpec("a", Worker, restart=how), reason) is comes_back
    plan = decide(family(("a", how)), "a", reason)
    assert plan.start == (("a",) if comes_back else ())


@pytest.mark.parametrize(
    ("strategy", "plan"),
    [
        (ONE_FOR_ONE, Plan(start=("c",))),
        (ONE_FOR_ALL, Plan(stop=("e", "d", "b", "a"), start=("a", "b", "c", "d", "e"))),
        (REST_FOR_ONE, Plan(stop=("e", "d"), start=("c", "d", "e"))),
    ],
)
def test_a_strategy_stops_in_reverse_and_starts_in_order(strategy, plan):
    children = family(*((name, PERMANENT) for name in "abcde"))
    assert decide(children, "c", CRASH, strategy) == plan


@pytest.mark.parametrize("strategy", [ONE_FOR_ALL, REST_FOR_ONE])
def test_a_temporary_bystander_is_stopped_and_forgotten(strategy):
    children = family(("a", PERMANENT), ("t", TEMPORARY), ("b", PERMANENT))
    assert decide(children, "a", CRASH, strategy) == Plan(stop=("b", "t"), forget=("t",), start=("a", "b"))


def test_a_bystander_of_one_for_one_is_left_alone():
    children = family(("a", PERMANENT), ("t", TEMPORARY))
    assert decide(children, "a", CRASH) == Plan(start=("a",))


@pytest.mark.parametrize("status", [STOPPED, RESTARTING])
def test_a_group_member_that_does_not_run_is_not_stopped_but_started_with_the_others(status):
    children = family(("a", PERMANENT), ("b", TRANSIENT, status), ("c", PERMANENT))
    assert decide(children, "a", CRASH, ONE_FOR_ALL) == Plan(stop=("c",), start=("a", "b", "c"))


def test_a_transient_child_that_ended_well_keeps_its_spec_and_a_temporary_one_does_not():
    assert decide(family(("a", TRANSIENT)), "a", NORMAL) == Plan()
    assert decide(family(("a", TEMPORARY)), "a", CRASH) == Plan(forget=("a",))


@pytest.mark.parametrize("strategy", list(Strategy))
def test_one_restart_too_many_makes_the_supervisor_leave(strategy):
    children = family(("a", PERMANENT), ("b", PERMANENT))
    flags = SupervisorFlags(strategy, 1, 5.0)
    window = RestartWindow(1, 5.0)
    assert after_exit(children, "a", CRASH, flags, window=window, now=0.0).leave is None
    plan = after_exit(children, "b", CRASH, flags, window=window, now=5.0)
    assert plan == Plan(leave=Departure.MAX_INTENSITY)


def test_an_end_that_needs_no_restart_is_not_counted():
    window = RestartWindow(0, 5.0)
    flags = SupervisorFlags(intensity=0)
    plan = after_exit(family(("a", TRANSIENT)), "a", NORMAL, flags, window=window, now=0.0)
    assert plan == Plan()
    assert window.count(0.0) == 0


def test_each_failed_try_counts_as_a_restart():
    children = family(("a", PERMANENT, RESTARTING))
    window = RestartWindow(2, 5.0)
    flags = SupervisorFlags(intensity=2)
    plans = [restart(children, "a", flags, window=window, now=0.0) for _ in range(3)]
    assert plans == [Plan(start=("a",)), Plan(start=("a",)), Plan(leave=Departure.MAX_INTENSITY)]


def test_after_another_child_failed_to_restart_rest_for_one_goes_on_from_that_child():
    children = family(
        ("a", PERMANENT), ("b", PERMANENT), ("c", PERMANENT, RESTARTING), ("d", PERMANENT, STOPPED)
    )
    plan = restart(children, "c", SupervisorFlags(REST_FOR_ONE), window=RestartWindow(9, 5.0), now=0.0)
    assert plan == Plan(start=("c", "d"))


def test_after_another_child_failed_to_restart_one_for_all_stops_those_already_back():
    children = family(
        ("a", PERMANENT), ("b", PERMANENT), ("c", PERMANENT, RESTARTING), ("d", PERMANENT, STOPPED)
    )
    plan = restart(children, "c", SupervisorFlags(ONE_FOR_ALL), window=RestartWindow(9, 5.0), now=0.0)
    assert plan == Plan(stop=("b", "a"), start=("a", "b", "c", "d"))


@pytest.mark.parametrize(
    ("how", "reason", "auto", "leaves"),
    [
        *(
            (TRANSIENT, reason, AutoShutdown.ANY_SIGNIFICANT, True)
            for reason in (NORMAL, SHUTDOWN, Shutdown(1))
        ),
        *((TRANSIENT, reason, AutoShutdown.ANY_SIGNIFICANT, False) for reason in (CRASH, KILLED)),
        *(
            (TEMPORARY, reason, AutoShutdown.ANY_SIGNIFICANT, True)
            for reason in (NORMAL, SHUTDOWN, CRASH, KILLED)
        ),
        *((TEMPORARY, reason, AutoShutdown.ALL_SIGNIFICANT, False) for reason in (NORMAL, CRASH)),
    ],
)
def test_a_significant_end_leaves_when_it_is_for_good(how, reason, auto, leaves):
    children = family(("a", how), ("b", how), significant=True)
    plan = decide(children, "a", reason, auto=auto)
    assert plan.leave is (Departure.AUTO_SHUTDOWN if leaves else None)


@pytest.mark.parametrize(
    ("status", "leaves"),
    [(RUNNING, False), (RESTARTING, False), (ChildStatus.STOPPING, False), (STOPPED, True)],
)
def test_all_significant_waits_for_the_last_one_that_may_still_live(status, leaves):
    children = family(("a", TRANSIENT), ("b", TRANSIENT, status), significant=True)
    children |= family(("bystander", PERMANENT))
    plan = decide(children, "a", NORMAL, auto=AutoShutdown.ALL_SIGNIFICANT)
    assert plan.leave is (Departure.AUTO_SHUTDOWN if leaves else None)


def test_an_insignificant_end_never_leaves():
    plan = decide(family(("a", TEMPORARY)), "a", NORMAL, auto=AutoShutdown.ANY_SIGNIFICANT)
    assert plan == Plan(forget=("a",))


def test_the_supervisors_own_stop_takes_what_runs_in_reverse():
    children = family(
        ("a", PERMANENT), ("b", PERMANENT, STOPPED), ("c", TEMPORARY), ("d", PERMANENT, RESTARTING)
    )
    assert stop_order(children) == ("c", "a")


@pytest.mark.parametrize(
    ("how", "reason", "wanted", "clean"),
    [
        (PERMANENT, SHUTDOWN, SHUTDOWN, True),
        (PERMANENT, NORMAL, SHUTDOWN, False),
        (PERMANENT, Shutdown("x"), SHUTDOWN, False),
        (PERMANENT, KILLED, SHUTDOWN, False),
        (PERMANENT, KILLED, KILLED, True),
        (PERMANENT, SHUTDOWN, KILLED, False),
        (TRANSIENT, NORMAL, SHUTDOWN, True),
        (TRANSIENT, Shutdown("x"), SHUTDOWN, True),
        (TRANSIENT, CRASH, SHUTDOWN, False),
        (TEMPORARY, KILLED, SHUTDOWN, False),
        (TEMPORARY, NORMAL, KILLED, True),
    ],
)
def test_odd_ends_of_a_stop_are_told_from_clean_ones(how, reason, wanted, clean):
    assert is_clean_stop(ChildSpec("a", Worker, restart=how), reason, wanted) is clean


REASONS = [NORMAL, SHUTDOWN, Shutdown("x"), CRASH, KILLED, ABANDONED]
members = st.lists(
    st.tuples(st.sampled_from(list(Restart)), st.sampled_from([RUNNING, RESTARTING, STOPPED])),
    min_size=1,
    max_size=8,
)


@given(members, st.data(), st.sampled_from(list(Strategy)), st.sampled_from(REASONS))
def test_any_plan_leaves_the_family_as_its_specs_want_it(drawn, data, strategy, reason):
    children = family(*((n, how, status) for n, (how, status) in enumerate(drawn)))
    failed = data.draw(st.sampled_from(list(children)))
    children[failed] = Child(children[failed].spec, RUNNING)
    plan = decide(children, failed, reason, strategy)

    assert failed not in plan.stop
    assert list(plan.stop) == sorted(plan.stop, reverse=True)
    assert list(plan.start) == sorted(plan.start)
    assert all(children[n].spec.restart is TEMPORARY for n in plan.forget)
    assert not set(plan.forget) & set(plan.start)
    assert (failed in plan.start) is wants_restart(children[failed].spec, reason)
    left_alone = set(children) - set(plan.stop) - set(plan.start) - set(plan.forget)
    if not plan.start:
        assert plan.stop == ()
    elif strategy is ONE_FOR_ALL:
        assert left_alone == set()
    elif strategy is REST_FOR_ONE:
        assert left_alone == {n for n in children if n < failed}
    else:
        assert left_alone == set(children) - {failed}


@pytest.mark.parametrize(("how", "reason"), list(product(Restart, REASONS)))
def test_only_the_three_restart_rules_exist(how, reason):
    expected = how is PERMANENT or (how is TRANSIENT and is_abnormal(reason))
    assert bool(decide(family(("a", how)), "a", reason).start) is expected
