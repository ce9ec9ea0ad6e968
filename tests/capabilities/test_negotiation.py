"""What a run needs is compared with what its provider can do before it exists; what came of it stays with it."""

from __future__ import annotations

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.script import Script, text
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.routing.router import Router
from asm_actors.runs.run import RunStatus
from asm_actors.testing.system import SimulatedSystem

FULL = {"status": "full", "supported": ["file_access"], "unsupported": [], "warnings": []}
DEGRADED = {
    "status": "degraded",
    "supported": ["file_access"],
    "unsupported": ["prompt"],
    "warnings": ["optional capability prompt is not available"],
}


def submit(system, session, **options):
    made = system.operations.submit_run(session.id, "Hello", **options)
    system.settle()
    return made


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, None),
        ({"required_capabilities": ["file_access"]}, FULL),
        ({"optional_capabilities": ["file_access"]}, FULL),
        ({"required_capabilities": ["file_access"], "optional_capabilities": ["prompt"]}, DEGRADED),
        ({"optional_capabilities": ["prompt", "file_access"]}, DEGRADED),
    ],
)
def test_what_was_negotiated_is_kept_and_told(system, wanted, expected):
    session = system.active_session(provider="rich")
    run_id = submit(system, session, **wanted).get().id
    run = system.run(run_id)
    assert run.details.get("capabilities") == expected
    (started,) = [event for event in system.events_of(run_id) if event.type == "run_started"]
    assert started.data.get("capabilities") == expected
    done = system.operations.await_run(run_id)
    system.settle()
    assert done.get().capabilities == expected


@pytest.mark.parametrize("how", ["submit_run", "start_run", "run_once"])
def test_what_is_missing_is_told_before_the_run_exists(system, how):
    session = system.active_session(provider="plain")
    wanted = {"required_capabilities": ["file_access", "prompt"]}
    operations = system.operations
    made = error = None
    try:
        if how == "run_once":
            made = operations.run_once("Hello", provider="plain", **wanted)
        else:
            made = getattr(operations, how)(session.id, "Hello", **wanted)
        system.settle()
        error = system.error_of(made)
    except AsmError as refused:
        error = refused
    assert error.code is ErrorCode.MISSING_REQUIRED_CAPABILITY
    assert error.details["missing"] == ["file_access", "prompt"]
    assert system.store.runs() == []
    assert system.providers["plain"].calls == 0


def test_what_a_session_needs_its_runs_need(system):
    session = system.active_session(
        provider="rich", required_capabilities=["file_access"], optional_capabilities=["prompt"]
    )
    assert system.run(submit(system, session).get().id).details["capabilities"] == DEGRADED
    more = submit(system, session, required_capabilities=["tool"])
    assert system.run(more.get().id).details["capabilities"]["supported"] == ["file_access", "tool"]
    other = submit(system, session, provider="plain")
    assert system.error_of(other).code is ErrorCode.MISSING_REQUIRED_CAPABILITY
    system.kill()
    system.restart()
    assert system.run(submit(system, session).get().id).details["capabilities"] == DEGRADED


def test_a_session_that_asks_for_what_there_is_not_is_refused(system):
    with pytest.raises(AsmError) as caught:
        system.operations.start_session(agent_id="a", required_capabilities=["flying"])
    assert caught.value.code is ErrorCode.INVALID_CAPABILITY_TYPE


def test_it_survives_the_end_of_the_process(system):
    session = system.active_session(provider="rich")
    made = system.operations.start_run(session.id, "Hello", optional_capabilities=["prompt", "file_access"])
    system.settle()
    system.kill()
    system.restart()
    done = system.operations.execute_run(made.get().id)
    system.settle()
    assert done.get().capabilities == DEGRADED


def test_manifests_of_the_providers_can_be_looked_up(system):
    assert [one.name for one in system.operations.get_capabilities("rich").get().capabilities] == [
        "chat",
        "files",
        "search",
    ]
    with pytest.raises(AsmError) as caught:
        system.operations.get_capabilities()
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    with pytest.raises(AsmError) as caught:
        system.operations.get_capabilities("other")
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


@pytest.mark.parametrize("own", [None, ["tool"]])
def test_a_router_asks_only_targets_that_have_what_the_run_requires(own):
    targets = {
        "plain": ScriptedProvider(Script(text("plain")), capabilities=[("chat", "sampling")]),
        "files": ScriptedProvider(Script(text("files")), capabilities=[("files", "file_access")]),
        "both": ScriptedProvider(
            Script(text("both")), capabilities=[("files", "file_access"), ("search", "tool")]
        ),
    }
    opts = {} if own is None else {"adapter_opts": {"routing": {"required_capabilities": own}}}
    with SimulatedSystem(providers={"router": Router(targets)}) as system:
        session = system.active_session()
        run_id = submit(system, session, required_capabilities=["file_access"], **opts).get().id
        run = system.run(run_id)
        expected = "files" if own is None else "both"
        assert run.output["content"] == expected
        assert run.provider_metadata["routing"]["routed_provider"] == expected
        assert targets["plain"].calls == 0


def test_what_a_run_requires_is_no_option_of_other_providers(system):
    session = system.active_session(provider="rich")
    submit(system, session, required_capabilities=["file_access"])
    assert dict(system.providers["rich"].requests[-1].options) == {}
    assert system.store.runs(session.id)[0].status is RunStatus.COMPLETED
