"""Every setting acts: of each a test of what it changes. None may be missing."""

from __future__ import annotations

import ast
import contextlib
import threading
from pathlib import Path

import attrs
import pytest

import asm_actors as asm
from asm_actors import AsmError, Config
from asm_actors.providers.script import Script, stall, text, tool_call
from asm_actors.telemetry.feed import Telemetry
from asm_actors.telemetry.hook import TelemetryRecorder


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


# --- The system ----------------------------------------------------------------------------------------------------


@of("journal", "durability")
def test_the_journal_and_how_it_is_synced(started, tmp_path):
    system = started(journal=str(tmp_path / "journal"), durability="none")
    system.sessions.run_once("x")
    assert (tmp_path / "journal" / "data.mdb").exists() or any((tmp_path / "journal").iterdir())
    assert system.services.sync is False
    other = started(durability="interval")
    assert other.services.sync_interval == 1.0


def test_without_a_journal_there_is_no_start():
    assert code_of(lambda: asm.ActorSystem.from_config(Config())) == "validation_error"
    assert code_of(asm.ActorSystem.start) == "validation_error"
    assert (
        code_of(lambda: asm.ActorSystem.start(asm.MemoryStore(), config={"linger": 1})) == "validation_error"
    )


def test_arguments_of_a_start_stand_over_the_configuration(started, tmp_path):
    system = started(
        journal=str(tmp_path / "unused"),
        max_parallel_runs=3,
        linger=5.0,
        redaction_enabled=True,
        options={
            "journal": asm.MemoryStore(),
            "limits": asm.Limits(max_parallel_runs=7),
            "linger": None,
            "redaction": False,
        },
    )
    services = system.services
    assert (services.limits.max_parallel_runs, services.session_linger, services.redactor) == (7, None, None)
    assert list(tmp_path.iterdir()) == []
    assert services.config.max_parallel_runs == 3


@of("on_restart", "max_recoveries", "linger", "patience")
def test_how_runs_and_sessions_live_on(started):
    services = started(on_restart="fail", max_recoveries=0, linger=10.0, patience=3.0).services
    assert (services.on_restart, services.max_recoveries) == ("fail", 0)
    assert (services.session_linger, services.patience) == (10.0, 3.0)
    assert started(linger=None).services.session_linger is None


@of("tool_threads")
def test_how_many_plain_functions_work_at_once(started):
    at_once, most, both = 0, [0], threading.Barrier(2, timeout=0.05)
    lock = threading.Lock()

    @asm.tool
    def work(n: int) -> str:
        """Work."""
        nonlocal at_once
        with lock:
            at_once += 1
            most[0] = max(most[0], at_once)
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait()
        with lock:
            at_once -= 1
        return "done"

    script = [
        Script(tool_call("c1", "work", {"n": 1}), tool_call("c2", "work", {"n": 2})),
        Script(text("done")),
    ]
    started(script=script, tool_threads=1, options={"tools": [work]}).sessions.run_once("x")
    assert most == [1]


@of("policy")
def test_what_all_runs_may_do(started):
    system = started(policy={"limits": {"max_tool_calls": 0}})
    assert code_of(lambda: system.sessions.run_once("x")) == "policy_violation"


@of("pricing_table")
def test_what_runs_cost(started):
    system = started(pricing_table={"mock": {"input": 1.0, "output": 2.0}})
    system.sessions.run_once("x")
    assert system.queries.get_cost_summary().total_cost_usd == 10 * 1.0 + 20 * 2.0
    assert system.services.pricing.rates_of("claude", None) is not None  # the built-in ones stay


@of("mcp_servers")
def test_servers_of_tools_are_handed_on(started):
    assert Config(mcp_servers={"wiki": {"url": "https://wiki.example"}}).start_arguments()["mcp_servers"] == {
        "wiki": {"url": "https://wiki.example"}
    }


# --- How much at once ----------------------------------------------------------------------------------------------


@of("max_parallel_sessions", "max_sessions_per_agent", "max_sessions_per_tenant", "tenant_tag_prefix")
@pytest.mark.parametrize(
    ("settings", "tags"),
    [
        ({"max_parallel_sessions": 1}, []),
        ({"max_sessions_per_agent": 1}, []),
        ({"max_sessions_per_tenant": 1, "tenant_tag_prefix": "of:"}, ["of:acme"]),
    ],
)
def test_how_many_sessions_may_be_active(started, settings, tags):
    system = started(**settings)
    active(system, tags=tags)
    assert code_of(lambda: active(system, tags=tags)) == "max_sessions_exceeded"


LIMITED = [
    "max_parallel_runs",
    "max_runs_per_agent",
    "max_runs_per_provider",
    "max_run_starts_per_second",
    "max_run_starts_per_second_per_agent",
    "max_run_starts_per_second_per_provider",
]


@of(*LIMITED, "max_runs_per_tenant", "max_run_starts_per_second_per_tenant", "run_start_burst")
@pytest.mark.parametrize("name", [*LIMITED, "max_runs_per_tenant", "max_run_starts_per_second_per_tenant"])
def test_how_many_runs_may_execute_or_begin(simulated, name):
    one = simulated(script=STALLED, run_start_burst=1, **{name: 1})
    runs = [
        one.system.sessions.submit_run(active(one.system, tags=["tenant:acme"]).id, "x") for _ in range(2)
    ]
    one.settle()
    assert sorted(one.system.store.run(run_.id).status.value for run_ in runs) == ["pending", "running"]


@of("max_concurrent_runs", "max_queued_runs", "max_waiting_runs")
def test_how_many_runs_of_a_session_may_execute_and_wait(simulated):
    one = simulated(script=STALLED, max_concurrent_runs=2, max_queued_runs=1)
    session = active(one.system)
    for _ in range(3):
        one.system.sessions.submit_run(session.id, "x")
    one.settle()
    status = one.system.sessions.status(session.id)
    assert (status["in_flight_count"], status["queued_count"]) == (2, 1)
    assert code_of(lambda: one.system.sessions.submit_run(session.id, "x")) == "max_runs_exceeded"
    two = simulated(script=STALLED, max_parallel_runs=1, max_waiting_runs=0)
    two.system.sessions.submit_run(active(two.system).id, "x")
    two.settle()
    assert code_of(lambda: two.system.sessions.submit_run(active(two.system).id, "x")) == "max_runs_exceeded"


# --- Telemetry and redaction ---------------------------------------------------------------------------------------


@of("telemetry_enabled")
def test_whether_spans_are_told(started):
    told = {}
    for enabled in (True, False):
        system, recorder = started(telemetry_enabled=enabled), TelemetryRecorder()
        with Telemetry(system, [recorder], after=0):
            system.sessions.run_once("x")
        told[enabled] = bool(recorder.spans)
    assert told == {True: True, False: False}


@of("audit_logging_enabled")
def test_whether_there_is_an_audit_log(started):
    assert started().audit.enabled
    assert not started(audit_logging_enabled=False).audit.enabled


SECRET = "sk-ant-api03-" + "a" * 40


@of(
    "redaction_enabled", "redaction_patterns", "redaction_mode", "redaction_replacement", "redaction_deep_scan",
    "redaction_scan_metadata", "redaction_max_depth", "redaction_environment",
)  # fmt: skip
def test_what_is_redacted(started, monkeypatch):
    def kept(context, metadata=None, **settings):
        system = started(**settings)
        session = system.sessions.start_session(agent_id="a", context=context, metadata=metadata)
        found = system.sessions.get_session(session.id)
        return found.metadata["x"] if metadata else found.context["x"]

    assert kept({"x": SECRET}) == "[REDACTED]"
    assert kept({"x": SECRET}, redaction_enabled=False) == SECRET
    assert kept({"x": "CUST-1"}, redaction_patterns=[r"CUST-\d"]) == "[REDACTED]"
    assert kept({"x": SECRET}, redaction_patterns=[r"CUST-\d"], redaction_mode="replace") == SECRET
    assert kept({"x": SECRET}, redaction_replacement="***") == "***"
    assert kept({"x": [SECRET]}, redaction_deep_scan=False) == [SECRET]
    assert kept({}, {"x": SECRET}, redaction_scan_metadata=False) == SECRET
    # Deeper than that it is replaced as a whole.
    deep = {"a": {"b": {"c": SECRET, "d": "kept"}}}
    assert kept({"x": deep})["a"]["b"]["d"] == "kept"
    assert "kept" not in str(kept({"x": deep}, redaction_max_depth=2))
    monkeypatch.setenv("SOME_API_KEY", "plain-words-only")
    assert kept({"x": "plain-words-only"}) == "[REDACTED]"
    assert kept({"x": "plain-words-only"}, redaction_environment=False) == "plain-words-only"


# --- None is missing -----------------------------------------------------------------------------------------------


def test_every_setting_has_a_test_of_its_effect():
    trees = [ast.parse(path.read_text()) for path in Path(__file__).parent.glob("test_effects*.py")]
    marks = [
        mark
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for mark in node.decorator_list
        if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "of"
    ]
    named = {name for mark in marks for argument in mark.args for name in _names(argument)}
    assert {attribute.name for attribute in attrs.fields(Config)} == named


def _names(argument):
    return LIMITED if isinstance(argument, ast.Starred) else [ast.literal_eval(argument)]
