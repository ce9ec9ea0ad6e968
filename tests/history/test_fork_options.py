"""A fork's runs may do what those of its parent may, unless its maker says otherwise."""

from __future__ import annotations

import pytest

from asm_actors import messages
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.testing.system import SimulatedSystem

DENY = {"name": "house", "tool_rules": {"deny": ["pay"]}}


@pytest.fixture
def sim():
    with SimulatedSystem() as sim:
        yield sim


def test_it_has_its_parents_options(sim):
    parent = sim.active_session(policy=DENY, max_queued_runs=3, run_options={"max_turns": 2})
    fork = sim.manager.fork_session(parent.id)
    assert fork.options == parent.options
    assert fork.options["policy"]["tool_rules"] == [{"rule": "deny", "tools": ["pay"]}]


def test_its_maker_may_say_otherwise_one_by_one(sim):
    parent = sim.active_session(policy=DENY, max_queued_runs=3)
    fork = sim.manager.fork_session(parent.id, max_queued_runs=7, second_run="reject")
    assert fork.options == {**parent.options, "max_queued_runs": 7, "second_run": "reject"}
    told = sim.system.session(parent.id).ask(messages.ForkSession(options={"max_queued_runs": 8}))
    assert told.options["max_queued_runs"] == 8


def test_grants_that_stand_for_the_parent_do_not_stand_for_it(sim):
    parent = sim.active_session(policy=DENY)
    actor = sim.system.session(parent.id).ref().life.actor
    session = actor.state.session
    actor.state.session = session.replace(options={**session.options, "grants": [{"tool_name": "pay"}]})
    sim.manager.pause_session(parent.id)
    assert "grants" in sim.manager.get_session(parent.id).options
    assert "grants" not in sim.manager.fork_session(parent.id).options


def test_a_malformed_one_is_refused(sim):
    parent = sim.active_session()
    with pytest.raises(AsmError) as caught:
        sim.manager.fork_session(parent.id, max_queued_runs=-1)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert sim.manager.children(parent.id) == []
