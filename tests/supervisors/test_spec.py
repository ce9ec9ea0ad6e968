"""Child specs and flags: defaults, and one error per broken rule."""

from __future__ import annotations

import pickle

import pytest
from attrs.exceptions import FrozenInstanceError

from supervisors.backoff import Backoff
from supervisors.spec import (
    BRUTAL_KILL,
    AutoShutdown,
    ChildKind,
    ChildSpec,
    Restart,
    SpecError,
    Strategy,
    SupervisorFlags,
    check_specs,
)


class Worker:
    pass


class Boss:
    is_supervisor = True


def test_a_worker_has_otps_defaults():
    spec = ChildSpec("a", Worker)
    assert spec.kind is ChildKind.WORKER
    assert (spec.args, spec.kwargs) == ((), {})
    assert spec.restart is Restart.PERMANENT
    assert spec.shutdown == 5.0
    assert spec.significant is False
    assert spec.backoff is None
    assert spec.name is None


def test_a_supervisor_gets_no_bound_on_its_shutdown_by_default():
    spec = ChildSpec("a", Boss)
    assert spec.kind is ChildKind.SUPERVISOR
    assert spec.shutdown is None
    assert ChildSpec("a", Boss, shutdown=2.0).shutdown == 2.0


def test_flags_have_otps_defaults():
    flags = SupervisorFlags()
    assert flags.strategy is Strategy.ONE_FOR_ONE
    assert (flags.intensity, flags.period) == (1, 5.0)
    assert flags.auto_shutdown is AutoShutdown.NEVER


@pytest.mark.parametrize("shutdown", [0, 0.5, 60, None, BRUTAL_KILL])
def test_every_legal_shutdown_time_is_taken(shutdown):
    assert ChildSpec("a", Worker, shutdown=shutdown).shutdown is shutdown


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("id", lambda: ChildSpec([], Worker)),
        ("name", lambda: ChildSpec("a", Worker, name={})),
        ("actor_class", lambda: ChildSpec("a", Worker())),
        ("args", lambda: ChildSpec("a", Worker, args="text")),
        ("restart", lambda: ChildSpec("a", Worker, restart="permanent")),
        ("restart", lambda: ChildSpec("a", Worker, restart=Strategy.ONE_FOR_ONE)),
        ("shutdown", lambda: ChildSpec("a", Worker, shutdown=-1)),
        ("shutdown", lambda: ChildSpec("a", Worker, shutdown="brutal_kill")),
        ("shutdown", lambda: ChildSpec("a", Worker, shutdown=True)),
        ("shutdown", lambda: ChildSpec("a", Worker, shutdown=float("inf"))),
        ("shutdown", lambda: ChildSpec("a", Worker, shutdown=float("nan"))),
        ("significant", lambda: ChildSpec("a", Worker, significant=True)),
        ("significant", lambda: ChildSpec("a", Worker, restart=Restart.TRANSIENT, significant="yes")),
        ("backoff", lambda: ChildSpec("a", Worker, backoff=0.1)),
        ("strategy", lambda: SupervisorFlags(strategy="one_for_one")),
        ("intensity", lambda: SupervisorFlags(intensity=-1)),
        ("intensity", lambda: SupervisorFlags(intensity=1.5)),
        ("intensity", lambda: SupervisorFlags(intensity=True)),
        ("period", lambda: SupervisorFlags(period=0)),
        ("period", lambda: SupervisorFlags(period=-5.0)),
        ("period", lambda: SupervisorFlags(period=float("inf"))),
        ("period", lambda: SupervisorFlags(period="5")),
        ("auto_shutdown", lambda: SupervisorFlags(auto_shutdown=False)),
    ],
)
def test_a_broken_rule_names_its_field_and_the_remedy(field, make):
    with pytest.raises(SpecError) as caught:
        make()
    assert caught.value.field == field
    assert caught.value.advice
    assert str(caught.value).startswith(f"{field}: ")
    assert caught.value.advice in str(caught.value)


def test_a_spec_error_is_a_value_error_and_survives_pickling():
    error = SpecError("period", "0 is no span", "use more")
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, ValueError)
    assert (copy.field, copy.advice, str(copy)) == (error.field, error.advice, str(error))


@pytest.mark.parametrize("restart", [Restart.TRANSIENT, Restart.TEMPORARY])
def test_a_child_that_may_end_for_good_may_be_significant(restart):
    assert ChildSpec("a", Worker, restart=restart, significant=True).significant


@pytest.mark.parametrize(
    ("field", "flags", "specs"),
    [
        ("children", SupervisorFlags(), ["a"]),
        ("id", SupervisorFlags(), [ChildSpec("a", Worker), ChildSpec("a", Boss)]),
        ("name", SupervisorFlags(), [ChildSpec("a", Worker, name="n"), ChildSpec("b", Worker, name="n")]),
        (
            "significant",
            SupervisorFlags(),
            [ChildSpec("a", Worker, restart=Restart.TEMPORARY, significant=True)],
        ),
    ],
)
def test_rules_between_children_and_flags_are_checked_together(field, flags, specs):
    with pytest.raises(SpecError) as caught:
        check_specs(flags, specs)
    assert caught.value.field == field


def test_a_legal_family_comes_back_in_its_order():
    flags = SupervisorFlags(auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    specs = [
        ChildSpec("b", Worker, restart=Restart.TRANSIENT, significant=True),
        ChildSpec("a", Boss),
        ChildSpec(1, Worker, backoff=Backoff()),
    ]
    assert check_specs(flags, specs) == tuple(specs)


def test_arguments_are_taken_as_copies_and_a_spec_is_frozen():
    kwargs = {"x": 1}
    spec = ChildSpec("a", Worker, [1, 2], kwargs)
    kwargs["x"] = 2
    assert spec.args == (1, 2)
    assert spec.kwargs == {"x": 1}
    with pytest.raises(FrozenInstanceError):
        spec.restart = Restart.TEMPORARY
