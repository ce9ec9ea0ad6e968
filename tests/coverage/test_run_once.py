"""One type of result, with all that a run has to tell, whichever way the run was asked for."""

from __future__ import annotations

import pytest

import asm_actors as asm
from asm_actors.providers.script import Script, text

PRICES = {"mock": {"input": 0.5, "output": 0.25}}
POLICY = {"name": "p", "limits": {"max_total_tokens": 5}, "on_violation": "warn"}


@pytest.fixture
def system():
    with asm.ActorSystem.start(
        asm.MemoryStore(), {"mock": asm.ScriptedProvider(Script(text("hello")))}, pricing=PRICES
    ) as started:
        yield started


def _once(sessions, options):
    return sessions.run_once("x", **options)


def _stepwise(sessions, options):
    session = sessions.start_session(agent_id="a")
    sessions.activate_session(session.id)
    return sessions.execute_run(sessions.start_run(session.id, "x", **options).id)


def _at_execution(sessions, options):
    session = sessions.start_session(agent_id="a")
    sessions.activate_session(session.id)
    return sessions.execute_run(sessions.start_run(session.id, "x").id, **options)


def _submitted(sessions, options):
    session = sessions.start_session(agent_id="a")
    sessions.activate_session(session.id)
    return sessions.await_run(sessions.submit_run(session.id, "x", **options).id)


def _by_the_session(sessions, options):
    session = sessions.start_session(agent_id="a", run_options=options)
    sessions.activate_session(session.id)
    return sessions.await_run(sessions.submit_run(session.id, "x").id)


def _streamed(sessions, options):
    with sessions.stream_session("x", **options) as stream:
        return stream.result()


WAYS = [_once, _stepwise, _at_execution, _submitted, _by_the_session, _streamed]


@pytest.mark.parametrize("way", WAYS)
def test_a_result_tells_cost_policy_workspace_and_continuation_whichever_way_it_was_asked_for(
    system, tmp_path, way
):
    (tmp_path / "files").mkdir()
    workspace = {
        "enabled": True,
        "path": str(tmp_path / "files"),
        "strategy": "hash",
        "store_path": str(tmp_path / "s"),
    }
    options = {"policy": POLICY, "workspace": workspace, "continuation": "auto", "permission_mode": "plan"}
    result = way(system.sessions, options)
    assert type(result) is asm.RunResult
    assert (result.output["content"], result.stop_reason) == ("hello", "end_turn")
    assert result.cost_usd == 10 * 0.5 + 20 * 0.25
    assert (result.policy["policy"], result.policy["action"]) == ("p", "warn")
    assert result.workspace["backend"] == "hash"
    assert result.continuation["mode"] == "auto"
    assert result.events[-1].type == "run_completed"
    assert system.services.providers["mock"].requests[-1].permission_mode == "plan"
    told = result.to_map()
    assert told["cost_usd"] == result.cost_usd


@pytest.mark.parametrize("way", WAYS)
def test_what_a_run_is_not_asked_to_do_its_result_says_nothing_of(system, way):
    result = way(system.sessions, {})
    assert (result.policy, result.workspace, result.continuation, result.object) == (None,) * 4


def test_the_agent_of_run_once_is_its_provider_unless_one_is_named(system):
    sessions = system.sessions
    assert sessions.get_session(sessions.run_once("x").session_id).agent_id == "mock"
    assert sessions.get_session(sessions.run_once("x", agent_id="me").session_id).agent_id == "me"


def test_a_permission_mode_is_normalised_and_an_unknown_one_refused(system):
    result = system.sessions.run_once("x", permission_mode=asm.PermissionMode.FULL_AUTO)
    assert result.run.options["permission_mode"] == "full_auto"
    with pytest.raises(asm.AsmError, match="is not one of: default, accept_edits"):
        system.sessions.run_once("x", permission_mode="yolo")
    assert asm.PermissionMode.normalize(None) is None
    assert asm.PermissionMode.normalize("plan").options_for("claude") == {"permission_mode": "plan"}
