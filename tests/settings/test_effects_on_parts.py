"""Settings of times, sizes, queries, retention and routing: what each changes."""

from __future__ import annotations

import pykka
import pytest

import asm_actors as asm
from asm_actors import AsmError, Config
from asm_actors.providers.script import Script, fail, stall, text
from asm_actors.workspace.config import WorkspaceConfig
from asm_actors.workspace.exec import Exec


def of(*_names):
    """Say which settings a test is about; `test_every_setting_has_a_test_of_its_effect` reads it."""
    return lambda test: test


def code_of(call):
    with pytest.raises(AsmError) as found:
        call()
    return found.value.code


def active(system, **options):
    session = system.sessions.start_session(agent_id="a", **options)
    return system.sessions.activate_session(session.id)


STALLED = Script(text("so far "), stall())


# --- Times ---------------------------------------------------------------------------------------------------------


@of("stream_idle_timeout_ms", "task_shutdown_timeout_ms")
def test_how_long_a_stream_waits(simulated):
    one = simulated(script=STALLED, stream_idle_timeout_ms=7_000, task_shutdown_timeout_ms=250)
    stream = one.system.sessions.stream_session("x")
    assert stream._options.shutdown_timeout == 0.25
    assert list(stream)[-1].data["reason"] == "stream idle timeout after 7000 ms"


def test_how_long_a_provider_may_take_to_stop(started):
    from asm_actors.tree import root_spec

    system = started(task_shutdown_timeout_ms=250)
    (providers,) = [child for child in root_spec(system.services)["children"] if child.id == "providers"]
    assert providers.args[0][0].args[0][0].shutdown == 0.25


@of("await_run_timeout_ms")
def test_how_long_await_run_waits(started):
    system = started(script=STALLED, await_run_timeout_ms=10)
    run_ = system.sessions.submit_run(active(system).id, "x")
    with pytest.raises(pykka.Timeout):
        system.sessions.await_run(run_.id)
    assert system.sessions._operations.patience(3.0) == 3.0
    assert started().sessions._operations.patience(None) is None


@of("execute_timeout_ms")
def test_how_long_a_turn_may_take_with_a_provider_without_a_bound(simulated):
    one = simulated(script=STALLED, execute_timeout_ms=2_000)
    begin = one.clock.monotonic()
    assert code_of(lambda: one.system.sessions.run_once("x")) == "provider_timeout"
    assert 2.0 <= one.clock.monotonic() - begin < 3.0
    bounded = asm.ScriptedProvider(STALLED)
    bounded.timeout = 5.0
    two = simulated(providers={"mock": bounded}, execute_timeout_ms=2_000)
    begin = two.clock.monotonic()
    assert code_of(lambda: two.system.sessions.run_once("x")) == "provider_timeout"
    assert 5.0 <= two.clock.monotonic() - begin < 6.0


@of("command_timeout_ms", "max_output_bytes", "default_shell", "default_success_exit_codes")
def test_how_commands_are_run(tmp_path):
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\necho "mine: $2"\nexit 3\n')
    shell.chmod(0o755)
    config = Config(
        command_timeout_ms=250,
        max_output_bytes=7,
        default_shell=str(shell),
        default_success_exit_codes=[0, 3],
    )
    command = config.command("anything")
    assert command.timeout == 0.25
    result = Exec().run(command)
    assert (result.stdout, result.exit_code) == (b"mine: a", 3)
    assert result.check(config.default_success_exit_codes) is result
    assert code_of(result.check) == "command_failed"
    assert code_of(lambda: Exec().run(config.command(["sleep", "30"])).check()) == "command_timeout"
    assert Config(command_timeout_ms=None).command(["true"], max_output_bytes=1).max_output_bytes == 1


# --- Workspaces ----------------------------------------------------------------------------------------------------


@of("max_patch_bytes", "workspace_timeout_ms", "excluded_workspace_roots")
def test_what_a_workspace_is_unless_a_run_says_otherwise(started):
    system = started(max_patch_bytes=5, workspace_timeout_ms=2_500, excluded_workspace_roots=["target"])
    session = active(system, run_options={"workspace": {"enabled": False}})
    stored = system.store.session(session.id).options["run_options"]["workspace"]
    assert (stored["max_patch_bytes"], stored["timeout"], stored["excluded_roots"]) == (5, 2.5, ["target"])
    given = {"workspace": {"max_patch_bytes": 6}}
    assert (
        system.store.run(system.sessions.run_once("x", **given).run_id).options["workspace"][
            "max_patch_bytes"
        ]
        == 6
    )
    whole = system.store.run(system.sessions.run_once("x", workspace=WorkspaceConfig()).run_id).options[
        "workspace"
    ]
    assert whole == WorkspaceConfig().to_map()


def test_folders_that_are_excluded_are_in_no_snapshot(tmp_path):
    from asm_actors.workspace.workspace import open_workspace

    for folder in ("target", "deps"):
        (tmp_path / "files" / folder).mkdir(parents=True)
        (tmp_path / "files" / folder / "a").write_text("a")
    config = WorkspaceConfig.from_map(
        {
            **Config(excluded_workspace_roots=["target"]).workspace_options(),
            "path": str(tmp_path / "files"),
            "strategy": "hash",
            "store_path": str(tmp_path / "store"),
        }
    )
    workspace = open_workspace(config)
    before = workspace.snapshot("before")
    for folder in ("target", "deps"):
        (tmp_path / "files" / folder / "a").write_text("b")
    assert list(workspace.diff(before, workspace.snapshot("after")).changed_paths) == ["deps/a"]


# --- Sizes ---------------------------------------------------------------------------------------------------------


@of("event_buffer_size")
def test_how_many_events_a_stream_keeps():
    assert Config(event_buffer_size=7).event_stream("ses_1", "run_1").buffer_size == 7


@of("error_text_max_bytes", "error_text_max_lines")
def test_how_much_of_a_providers_error_output_is_kept(started):
    told = {"provider": "mock", "kind": "process_error", "stderr": "one\ntwo\nthree", "message": "broke"}
    script = Script(fail("provider_error", "broke", provider_error=told))
    for settings, kept in (
        ({"error_text_max_lines": 2}, "one\ntwo"),
        ({"error_text_max_bytes": 4}, "one\n"),
    ):
        system = started(script=script, **settings)
        with pytest.raises(AsmError) as found:
            system.sessions.run_once("x")
        error = system.store.run(found.value.context["run_id"]).error["provider_error"]
        assert (error["stderr"], error["truncated"]) == (kept, True)
    assert told["stderr"] == "one\ntwo\nthree"


@of("chars_per_token")
def test_how_long_a_token_is(started):
    lengths = {}
    for chars in (1, 4):
        system = started(script=Script(text("0123456789")), chars_per_token=chars)
        session = active(system)
        for _ in range(4):
            system.sessions.execute_run(system.sessions.start_run(session.id, "0123456789").id)
        cut = system.sessions.transcript(session.id, max_tokens_approx=10)
        lengths[chars] = len(cut.messages)
        again = system.sessions.start_run(
            session.id, "x", continuation="replay", continuation_opts={"max_tokens_approx": 10}
        )
        assert system.sessions.execute_run(again.id).continuation["messages"] <= lengths[chars]
        lengths[chars, "sent"] = system.store.run(again.id).details["continuation"]["messages"]
    assert (lengths[1], lengths[4]) == (1, 4)
    assert lengths[1, "sent"] < lengths[4, "sent"]


# --- Queries and retention -----------------------------------------------------------------------------------------


@of("max_query_limit", "default_session_query_limit", "default_run_query_limit", "default_event_query_limit")
def test_how_large_pages_are(started):
    system = started(
        max_query_limit=5,
        default_session_query_limit=1,
        default_run_query_limit=2,
        default_event_query_limit=3,
    )
    for _ in range(3):
        system.sessions.run_once("x")
    queries = system.queries
    assert len(queries.search_sessions().sessions) == 1
    assert len(queries.search_runs().runs) == 2
    assert len(queries.search_events().events) == 3
    assert len(queries.search_events(limit=5).events) == 5
    for search in (queries.search_sessions, queries.search_runs, queries.search_events):
        assert code_of(lambda search=search: search(limit=6)) == "validation_error"
    assert len(started(max_query_limit=5).queries.search_events().events) <= 5


@of(
    "retention_max_session_age_days", "retention_max_completed_age_days", "retention_hard_delete_after_days",
    "retention_max_events_per_session", "retention_max_total_events", "retention_batch_size",
    "retention_exempt_statuses", "retention_exempt_tags", "retention_prune_event_types_first",
)  # fmt: skip
def test_what_maintenance_keeps(started):
    settings = {
        "retention_max_session_age_days": 1,
        "retention_max_completed_age_days": 2,
        "retention_hard_delete_after_days": 3,
        "retention_max_events_per_session": 4,
        "retention_max_total_events": 5,
        "retention_batch_size": 6,
        "retention_exempt_statuses": ["failed"],
        "retention_exempt_tags": ["kept"],
        "retention_prune_event_types_first": ["message_received"],
    }
    policy = Config(**settings).retention_policy()
    assert policy == asm.RetentionPolicy(
        1, 2, 4, 5, 3, False, None, ["failed"], ["kept"], ["message_received"], 6
    )
    system = started(retention_max_events_per_session=8)
    result = system.sessions.run_once("x")
    before = len(system.store.read_session(result.session_id, asm.EventFilter()))
    assert system.maintenance.execute().events_pruned == before - 8


# --- Routing -------------------------------------------------------------------------------------------------------


@of(
    "default_router_name", "circuit_breaker_failure_threshold", "circuit_breaker_cooldown_ms",
    "circuit_breaker_half_open_max_probes", "sticky_session_ttl_ms",
)  # fmt: skip
def test_how_routers_are_made():
    config = Config(
        default_router_name="way",
        circuit_breaker_failure_threshold=2,
        circuit_breaker_cooldown_ms=1_500,
        circuit_breaker_half_open_max_probes=3,
        sticky_session_ttl_ms=500,
    )
    options = config.router_options()
    router = asm.Router({"mock": asm.ScriptedProvider()}, **options)
    assert router.name == "way"
    rules = options["breaker"]
    assert (rules.failure_threshold, rules.cooldown, rules.half_open_max_probes) == (2, 1.5, 3)
    assert options["sticky_ttl"] == 0.5


@of("claude_default_model")
def test_the_model_of_claude():
    provider = asm.AnthropicProvider(**Config(claude_default_model="claude-x").anthropic_options())
    assert provider.model == "claude-x"
