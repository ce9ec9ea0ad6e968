"""What is said for all runs of a session, with one run, and at its execution: the last word counts."""

from __future__ import annotations

import pytest

import asm_actors as asm
from asm_actors.providers.script import Script, text


@pytest.fixture
def provider():
    return asm.ScriptedProvider(Script(text("hello")))


@pytest.fixture
def sessions(provider):
    with asm.ActorSystem.start(asm.MemoryStore(), {"mock": provider}) as system:
        yield system.sessions


def test_options_for_the_provider_are_put_together_key_by_key_and_others_replaced(sessions, provider):
    session = sessions.start_session(
        agent_id="a",
        run_options={"adapter_opts": {"a": 1, "b": 1, "c": 1}, "max_turns": 1, "permission_mode": "plan"},
    )
    sessions.activate_session(session.id)
    run = sessions.start_run(session.id, "x", adapter_opts={"b": 2, "c": 2}, max_turns=2)
    result = sessions.execute_run(run.id, adapter_opts={"c": 3})
    options = result.run.options
    assert options["adapter_opts"] == {"a": 1, "b": 2, "c": 3}
    assert (options["max_turns"], options["permission_mode"]) == (2, "plan")
    assert dict(provider.requests[-1].options) == {"a": 1, "b": 2, "c": 3}


def test_a_map_of_options_is_not_changed_by_whoever_gave_it(sessions, provider):
    given = {"a": {"deep": 1}}
    session = sessions.start_session(agent_id="a", run_options={"adapter_opts": given})
    given["a"]["deep"] = 2
    sessions.activate_session(session.id)
    sessions.execute_run(sessions.start_run(session.id, "x").id)
    assert provider.requests[-1].options["a"] == {"deep": 1}


@pytest.mark.parametrize("name", ["", None, 3, "a\x00b"])
def test_a_router_takes_no_target_without_a_proper_name(name, provider):
    with pytest.raises(asm.AsmError, match="validation_error"):
        asm.Router({name: provider})
