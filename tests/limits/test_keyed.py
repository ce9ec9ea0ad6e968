"""Limits by agent, tenant and provider: what is taken, what is refused, which pools it makes."""

from __future__ import annotations

import pytest

from asm_actors.config import Limits
from asm_actors.errors import ValidationError
from asm_actors.journal.search import RunSearch
from asm_actors.keyed_limits import limit_for
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session
from asm_actors.slot_keys import SlotKeys, pool_name, priority_of
from asm_actors.testing.system import SimulatedSystem
from supervisors.rates import Rate
from supervisors.slots import Keys

COUNTS = [
    "max_runs_per_agent",
    "max_runs_per_tenant",
    "max_runs_per_provider",
    "max_sessions_per_agent",
    "max_sessions_per_tenant",
]
RATES = [f"max_run_starts_per_second_per_{kind}" for kind in ("agent", "tenant", "provider")]


def session(*tags, agent_id="writer", **options):
    return Session.new(id="ses_1", now=0, agent_id=agent_id, tags=tags, options=options)


def run(**options):
    return Run.new(id="run_1", now=0, session_id="ses_1", options=options or None)


@pytest.mark.parametrize("field", COUNTS)
@pytest.mark.parametrize("value", [None, 1, 7, {}, {"a": 1}, {"a": None, "*": 3}, {"*": 2}])
def test_a_count_by_key_is_taken_and_read_back(field, value):
    limits = Limits(**{field: value})
    assert getattr(limits, field) == value
    assert Limits.from_map(limits.to_map()) == limits


@pytest.mark.parametrize("field", RATES)
@pytest.mark.parametrize("value", [None, 0.5, 3, {"a": 0.1, "*": 9}])
def test_a_rate_by_key_is_taken_and_read_back(field, value):
    limits = Limits(**{field: value})
    assert Limits.from_map(limits.to_map()) == limits


@pytest.mark.parametrize("field", [*COUNTS, *RATES])
@pytest.mark.parametrize(
    "value", [0, -1, True, "5", [], {"a": 0}, {"a": True}, {1: 1}, {"": 1}, {"a": {"b": 1}}, {"\ud800": 1}]
)
def test_anything_else_is_refused_by_name(field, value):
    with pytest.raises(ValidationError, match=rf"limits\.{field}"):
        Limits(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tenant_tag_prefix", ""),
        ("tenant_tag_prefix", None),
        ("max_run_starts_per_second", 0),
        ("max_run_starts_per_second", float("inf")),
        ("max_run_starts_per_second", 10**4000),
        ("tenant_tag_prefix", "\ud800"),
        ("run_start_burst", 0),
        ("run_start_burst", 1.5),
        ("max_waiting_runs", -1),
        ("max_waiting_runs", True),
    ],
)
def test_what_is_no_limit_of_the_whole_is_refused_by_name(field, value):
    with pytest.raises(ValidationError, match=rf"limits\.{field} must be"):
        Limits(**{field: value})


@pytest.mark.parametrize("field", ["max_run_starts_per_second", *RATES])
@pytest.mark.parametrize("rate", [10**400, 10**30, 1e10, 5e-324, 1e-310, 1e-7, float("nan")])
def test_a_rate_with_which_nothing_would_ever_begin_or_nobody_can_count_is_refused(field, rate):
    for value in (rate, {"a": rate}):
        with pytest.raises(ValidationError, match=rf"limits\.{field}"):
            Limits(**{field: value})


@pytest.mark.parametrize("rate", [1e-6, 1e9, 10**9])
def test_with_the_lowest_and_the_highest_rate_a_run_begins_at_once(rate):
    limits = Limits(max_run_starts_per_second=rate, max_run_starts_per_second_per_agent={"*": rate})
    with SimulatedSystem(limits=limits) as system:
        system.operations.submit_run(system.active_session().id, "Hello")
        system.settle()
        (found,) = system.store.search_runs(RunSearch()).runs
        assert found.status == "completed"


def test_a_map_is_copied():
    given = {"a": 1}
    limits = Limits(max_runs_per_agent=given)
    given["a"] = 9
    assert limits.max_runs_per_agent == {"a": 1}


@pytest.mark.parametrize(
    ("limit", "found"),
    [(None, None), (3, 3), ({"a": 1}, 1), ({"b": 1}, None), ({"*": 4}, 4), ({"a": None, "*": 4}, None)],
)
def test_the_limit_of_a_key_is_its_own_or_that_of_all_others(limit, found):
    assert limit_for(limit, "a") == found


def test_without_limits_by_key_there_are_the_shared_pools_alone():
    keys = SlotKeys(Limits())
    assert keys.of_run(session("tenant:acme"), "claude") == "runs"
    assert keys.of_session(session("tenant:acme")) == "sessions"
    assert not keys.is_rated


def test_a_run_needs_a_slot_of_every_pool_that_has_a_limit_for_it():
    limits = Limits(
        max_runs_per_agent={"writer": 2},
        max_runs_per_tenant=3,
        max_run_starts_per_second_per_provider={"claude": 5},
    )
    keys = SlotKeys(limits)
    assert keys.of_run(session("x", "tenant:acme", "tenant:", "tenant:b"), "claude") == Keys(
        "runs", ("agent", "writer"), ("tenant", "acme"), ("tenant", "b"), ("provider", "claude")
    )
    assert keys.of_run(session(agent_id="other"), None) == "runs"
    assert keys.run_limit("runs") == 50
    assert keys.run_limit(("agent", "writer")) == 2
    assert keys.run_limit(("provider", "claude")) is None
    assert keys.run_rate(("provider", "claude")) == Rate(5, 5)
    assert keys.run_rate("runs") is None
    assert keys.is_rated


def test_a_session_needs_a_slot_of_its_agent_and_its_tenant():
    limits = Limits(max_sessions_per_agent=2, max_sessions_per_tenant={"acme": 1}, tenant_tag_prefix="org=")
    keys = SlotKeys(limits)
    assert keys.of_session(session("org=acme")) == Keys("sessions", ("agent", "writer"), ("tenant", "acme"))
    assert keys.of_session(session("tenant:acme")) == Keys("sessions", ("agent", "writer"))
    assert keys.of_run(session("org=acme"), "x") == "runs"


@pytest.mark.parametrize(("rate", "burst", "found"), [(2.5, None, 3), (0.1, None, 1), (9, 4, 4)])
def test_the_burst_of_a_rate_is_that_of_a_second_unless_it_is_given(rate, burst, found):
    keys = SlotKeys(Limits(max_run_starts_per_second=rate, run_start_burst=burst))
    assert keys.run_rate("runs") == Rate(rate, found)


def test_pools_are_shown_by_kind_and_name():
    assert [pool_name(key) for key in ("runs", ("tenant", "acme"))] == ["runs", "tenant:acme"]


@pytest.mark.parametrize(
    ("own", "of_session", "found"),
    [({}, {}, 0), ({}, {"priority": 3}, 3), ({"priority": 0}, {"priority": 3}, 0)],
)
def test_the_priority_of_a_run_is_its_own_or_its_sessions(own, of_session, found):
    assert priority_of(session(**of_session), run(**own)) == found
