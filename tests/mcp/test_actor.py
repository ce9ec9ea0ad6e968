"""Servers of tools in simulated systems: starting, calling, crashing, stopping."""

from __future__ import annotations

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.script import Script, tool_call, usage
from asm_actors.services import mcp_name

pytestmark = pytest.mark.usefixtures("quiet")


def calls(*names, **arguments):
    """A turn that calls tools."""
    made = [tool_call(f"call_{n}", name, arguments) for n, name in enumerate(names, start=1)]
    return Script(*made, usage(1, 1))


def outputs(sim):
    """What the model was told in its last request."""
    messages = sim.provider.requests[-1].messages
    return [message["tool_output"] for message in messages if message["role"] == "tool"]


@pytest.mark.parametrize("seed", range(5))
def test_tools_of_a_server_are_tools_like_others(make_sim, world, seed):
    with make_sim(calls("files__read", "files__write", path="x"), seed=seed) as sim:
        result = sim.manager.run_once("Go")
        assert result.output["content"] == "Done."
        assert outputs(sim) == [{"did": "read"}, {"did": "write"}]
        assert sorted(world.calls) == [("read", {"path": "x"}), ("write", {"path": "x"})]
        offered = sim.provider.requests[0].tools
        assert [each["name"] for each in offered] == ["files__read", "files__write"]
        tools = sim.services.tools
        assert [tools[name].safe_to_repeat for name in ("files__read", "files__write")] == [True, False]
        assert "mcp" in sim.system.tree()
        sim.check_promises()
    assert world.connections[0].is_closed


def test_what_a_tool_says_it_failed_with_is_told_to_the_model(make_sim):
    with make_sim(calls("files__read", fails=True)) as sim:
        run = sim.manager.run_once("Go").run_id
        assert outputs(sim) == ["it does not want to"]
        assert "tool_call_failed" in sim.types_of(run)


def test_only_the_tools_that_are_wanted_are_taken(make_sim):
    with make_sim(options={"tools": ["write"], "timeout": 7.0, "requires_approval": True}) as sim:
        (tool,) = sim.services.tools.values()
        assert (tool.name, tool.timeout, tool.requires_approval) == ("files__write", 7.0, True)


def test_a_wanted_tool_that_is_not_there_fails_the_start(make_sim):
    with (
        pytest.raises(AsmError, match="'files' has no tool 'erase'; it has read, write"),
        make_sim(options={"tools": ["erase"]}),
    ):
        pass


def test_a_tool_of_the_host_keeps_its_name(make_sim):
    def files__read() -> None:
        pass

    with pytest.raises(AsmError, match="files__read"), make_sim(tools=[files__read]):
        pass


def test_a_server_that_cannot_be_used_fails_the_start_and_nothing_is_left(make_sim, world):
    world.failures = ["is out of order"]
    with pytest.raises(AsmError) as caught, make_sim():
        pass
    assert caught.value.code is ErrorCode.TOOL_ERROR
    assert caught.value.message == "the MCP server 'files' is out of order"
    assert caught.value.details == {"server": "files"}
    assert all(connection.is_closed for connection in world.connections)


def test_a_server_that_does_not_answer_fails_the_start_within_its_time(make_sim, world):
    world.never_opens = True
    sim = make_sim(options={"start_timeout": 5.0})
    with pytest.raises(AsmError, match="did not list its tools within 5 s"), sim:
        pass
    assert sim.clock.monotonic() < 20


def test_a_call_that_is_cancelled_is_cancelled_at_the_server_which_lives_on(make_sim, world):
    world.hang = True
    with make_sim(calls("files__read")) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "Go")
        sim.settle()
        sim.manager.cancel_run(run.id)
        assert world.cancelled == ["read"]
        assert (world.opened, world.connections[0].is_closed) == (1, False)
        assert sim.services.whereis(mcp_name("files")).life.actor.statistics().in_flight == 0
        sim.check_promises()


def test_a_call_that_is_over_its_time_is_cancelled_at_the_server(make_sim, world):
    world.hang = True
    with make_sim(calls("files__read"), options={"timeout": 3.0}) as sim:
        sim.manager.run_once("Go")
        assert outputs(sim) == ["files__read did not finish within 3 s"]
        assert world.cancelled == ["read"]


@pytest.mark.parametrize("seed", range(5))
def test_a_server_that_dies_fails_its_calls_and_comes_back(make_sim, world, seed):
    world.hang = True
    with make_sim(calls("files__read"), calls("files__write"), seed=seed) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "Go")
        sim.settle()
        world.hang = False
        world.connections[-1].lose()
        result = sim.manager.await_run(run.id)
        failed, done = outputs(sim)
        assert "files" in failed
        assert done == {"did": "write"}
        assert result.output["content"] == "Done."
        assert world.opened == 2
        assert world.connections[0].is_closed
        sim.check_promises()


def test_a_crash_of_its_actor_fails_its_calls_and_says_that_they_may_have_had_their_effect(make_sim, world):
    world.hang = True
    with make_sim(calls("files__read")) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "Go")
        sim.settle()
        sim.crash(sim.services.whereis(mcp_name("files")))
        sim.manager.await_run(run.id)
        assert "the call may have had its effect" in outputs(sim)[0]
        assert world.connections[0].is_closed


def test_a_server_that_keeps_dying_is_given_up_and_its_calls_fail_at_once(make_sim, world):
    with make_sim(calls("files__read")) as sim:
        world.failures = ["is out of order"] * 100
        world.connections[-1].lose()
        sim.advance(120)
        assert sim.services.directory.lost_servers == {"files"}
        sim.manager.run_once("Go")
        assert "given up" in outputs(sim)[0]


def test_a_call_waits_for_a_server_that_is_being_started_again(make_sim, world):
    with make_sim(calls("files__read")) as sim:
        world.failures = ["is out of order"] * 3
        world.connections[-1].lose()
        sim.settle()
        assert sim.manager.run_once("Go").output["content"] == "Done."
        assert outputs(sim) == [{"did": "read"}]
        assert world.opened == 5


def test_after_a_restart_of_the_system_runs_find_their_tools_again(make_sim, world):
    world.hang = True
    with make_sim(calls("files__read")) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "Go")
        sim.settle()
        world.hang = False
        sim.kill()
        assert sim.manager.await_run(run.id).output["content"] == "Done."
        assert world.calls == [("read", {}), ("read", {})]  # it is safe to repeat
        sim.check_promises()


def test_a_policy_gates_the_tools_of_servers_like_all_others(make_sim, world):
    policy = {"tool_rules": [["deny", ["files__write"]]]}
    with make_sim(calls("files__read", "files__write")) as sim:
        sim.manager.run_once("Go", policy=policy)
        assert world.calls == [("read", {})]
        assert "files__write" in outputs(sim)[1]
        sim.check_promises()


def test_a_server_whose_calls_need_an_approval_is_asked_when_it_is_granted(make_sim, world):
    with make_sim(calls("files__write"), options={"requires_approval": True}) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "Go")
        sim.settle()
        assert sim.run(run.id).status == "awaiting_approval"
        assert world.calls == []
        sim.manager.grant_approval(run.id, "call_1")
        assert sim.manager.await_run(run.id).output["content"] == "Done."
        assert world.calls == [("write", {})]
        sim.check_promises()
