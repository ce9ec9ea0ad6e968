"""The configuration: what is legal, where it comes from, and what an error tells."""

from __future__ import annotations

import json
import math
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import asm_actors as asm
from asm_actors import AsmError, Config
from asm_actors.settings.absent import ABSENT

FIELDS = [attribute.name for attribute in attrs.fields(Config)]


def refused(**given):
    with pytest.raises(AsmError) as found:
        Config.load(**{"env": {}, **given})
    assert found.value.code == "validation_error"
    return found.value


# --- Values --------------------------------------------------------------------------------------------------------


def test_it_goes_to_a_map_and_comes_back():
    config = Config(
        max_parallel_runs=None,
        max_runs_per_agent={"a": 1, "*": None},
        policy={"name": "p"},
        default_success_exit_codes=[0, 3],
    )
    assert Config.from_map(json.loads(json.dumps(config.to_map()))) == config
    assert list(config.to_map()) == FIELDS


def test_it_is_frozen():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Config().patience = 3.0


def test_a_map_with_an_unknown_name_is_refused_with_a_suggestion():
    with pytest.raises(
        AsmError, match="there is no setting max_paralel_runs; did you mean max_parallel_runs"
    ):
        Config.from_map({"max_paralel_runs": 3})
    with pytest.raises(AsmError, match="must be a map"):
        Config.from_map([])


@pytest.mark.parametrize("attribute", attrs.fields(Config), ids=lambda attribute: attribute.name)
def test_every_setting_says_what_it_does_and_what_is_legal(attribute):
    assert attribute.metadata["help"].endswith(".")
    assert attribute.metadata["rule"].legal
    # Its default is legal, and so is its default as it is written into a file.
    rule = attribute.metadata["rule"]
    assert rule.accept(attribute.name, attribute.default) == attribute.default
    assert (
        getattr(Config.from_map({attribute.name: Config().to_map()[attribute.name]}), attribute.name)
        == attribute.default
    )


MALFORMED = [
    ("journal", ""), ("journal", 3), ("journal", "a\0b"), ("journal", "\ud800"),
    ("durability", "always"), ("durability", None),
    ("on_restart", "forget"), ("max_recoveries", -1), ("max_recoveries", True), ("max_recoveries", 1.5),
    ("linger", -1), ("linger", math.nan), ("linger", "300"), ("patience", None), ("patience", math.inf),
    ("tool_threads", 0), ("policy", []), ("policy", {"nmae": "x"}), ("policy", {"limits": {"max_turns": -1}}),
    ("pricing_table", None), ("pricing_table", {"claude": {"x": {"input": 1}}}), ("claude_default_model", ""),
    ("mcp_servers", {"a b": {}}), ("mcp_servers", {"a": {"commando": "x"}}),
    ("max_parallel_sessions", 0), ("max_parallel_runs", "50"), ("max_queued_runs", -1), ("max_queued_runs", 1 << 65),
    ("max_runs_per_agent", {"a": 0}), ("max_runs_per_agent", "x"), ("tenant_tag_prefix", ""),
    ("max_run_starts_per_second", 0), ("max_run_starts_per_second_per_agent", {"": 1}),
    ("max_run_starts_per_second", 10**400), ("max_run_starts_per_second", 5e-324),
    ("max_run_starts_per_second_per_agent", 10**30), ("max_run_starts_per_second_per_agent", {"\ud800": 1}),
    ("linger", 10**400), ("patience", 10**4000), ("stream_idle_timeout_ms", 10**400),
    ("sticky_session_ttl_ms", 10**400), ("await_run_timeout_ms", -(10**400)),
    ("telemetry_enabled", "yes"), ("redaction_enabled", 1), ("redaction_patterns", ["("]),
    ("redaction_patterns", "abc"), ("redaction_patterns", [""]), ("redaction_mode", "add"),
    ("redaction_replacement", ""), ("redaction_max_depth", 0),
    ("stream_idle_timeout_ms", 0), ("stream_idle_timeout_ms", 1e300), ("task_shutdown_timeout_ms", None),
    ("await_run_timeout_ms", -1), ("execute_timeout_ms", 0), ("workspace_timeout_ms", None),
    ("event_buffer_size", 0), ("max_patch_bytes", -1), ("chars_per_token", 0),
    ("max_query_limit", 0), ("max_query_limit", 1001), ("default_event_query_limit", None),
    ("retention_max_completed_age_days", 0), ("retention_batch_size", None),
    ("retention_exempt_statuses", ["asleep"]), ("retention_exempt_tags", "pinned"), ("retention_exempt_tags", [3]),
    ("retention_prune_event_types_first", ["run_completed"]),
    ("default_success_exit_codes", []), ("default_success_exit_codes", [256]), ("default_success_exit_codes", 0),
    ("excluded_workspace_roots", {"a": 1}), ("circuit_breaker_failure_threshold", 0), ("sticky_session_ttl_ms", -1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), MALFORMED)
def test_what_is_not_legal_is_refused_and_the_error_says_what_is(name, value):
    with pytest.raises(AsmError) as found:
        Config(**{name: value})
    assert (found.value.code, found.value.details) == ("validation_error", {"field": name})
    assert found.value.message.startswith(f"{name} must be ")


@given(st.dictionaries(st.sampled_from(FIELDS), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
), max_size=3))  # fmt: skip
def test_any_json_is_either_legal_or_refused(values):
    try:
        config = Config.from_map(values)
    except AsmError as error:
        assert error.code == "validation_error"
    else:
        assert Config.from_map(json.loads(json.dumps(config.to_map()))) == config
        config.start_arguments()
        config.retention_policy()


@given(st.sampled_from(FIELDS), st.text(max_size=20).filter(lambda text: "\0" not in text))
def test_any_text_of_a_variable_is_either_legal_or_refused(name, text):
    try:
        config = Config.load(env={f"ASM_{name.upper()}": text})
    except AsmError as error:
        assert error.message.startswith(f"ASM_{name.upper()}: {name} must be ")
    else:
        assert Config.from_map(config.to_map()) == config


# --- Sources -------------------------------------------------------------------------------------------------------


def test_a_file_stands_over_defaults_the_environment_over_the_file_and_overrides_over_all(tmp_path):
    path = tmp_path / "asm.toml"
    path.write_text("max_parallel_runs = 1\nmax_queued_runs = 1\nmax_concurrent_runs = 1\n")
    env = {"ASM_MAX_QUEUED_RUNS": "2", "ASM_MAX_CONCURRENT_RUNS": "2", "HOME": "/", "ASMX": "no setting"}
    config, sources = Config.load_with_sources(path, env, {"max_concurrent_runs": 3})
    assert (config.max_parallel_sessions, config.max_parallel_runs) == (100, 1)
    assert (config.max_queued_runs, config.max_concurrent_runs) == (2, 3)
    assert (sources["max_parallel_sessions"], sources["max_parallel_runs"]) == ("default", str(path))
    assert (sources["max_queued_runs"], sources["max_concurrent_runs"]) == ("ASM_MAX_QUEUED_RUNS", "override")
    assert list(sources) == FIELDS


def test_a_file_may_be_json(tmp_path):
    path = tmp_path / "asm.json"
    path.write_text('{"linger": null, "policy": {"name": "tight"}, "redaction_patterns": ["CUST-\\\\d+"]}')
    config = Config.load(path, {})
    assert (config.linger, config.policy, config.redaction_patterns) == (
        None,
        {"name": "tight"},
        (r"CUST-\d+",),
    )


def test_the_environment_is_that_of_the_process_unless_one_is_given(monkeypatch):
    monkeypatch.setenv("ASM_PATIENCE", "7")
    assert Config.load().patience == 7.0
    assert Config.load(env={}).patience == 10.0


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("ASM_JOURNAL", "var/x", "journal", "var/x"),
        ("ASM_JOURNAL", "none", "journal", "none"),
        ("ASM_MAX_PARALLEL_RUNS", "none", "max_parallel_runs", None),
        ("ASM_MAX_PARALLEL_RUNS", " Unlimited ", "max_parallel_runs", None),
        ("ASM_MAX_PARALLEL_RUNS", "1_000", "max_parallel_runs", 1000),
        ("ASM_LINGER", "0.5", "linger", 0.5),
        ("ASM_LINGER", "infinity", "linger", None),
        ("ASM_REDACTION_ENABLED", "no", "redaction_enabled", False),
        ("ASM_REDACTION_ENABLED", "ON", "redaction_enabled", True),
        ("ASM_REDACTION_PATTERNS", "default", "redaction_patterns", ()),
        ("ASM_REDACTION_PATTERNS", "a{1,2}", "redaction_patterns", ("a{1,2}",)),
        ("ASM_REDACTION_PATTERNS", '["a", "b"]', "redaction_patterns", ("a", "b")),
        ("ASM_RETENTION_EXEMPT_TAGS", "pinned, kept ,", "retention_exempt_tags", ("pinned", "kept")),
        ("ASM_RETENTION_EXEMPT_STATUSES", '["active"]', "retention_exempt_statuses", ("active",)),
        ("ASM_DEFAULT_SUCCESS_EXIT_CODES", "0, 3", "default_success_exit_codes", (0, 3)),
        ("ASM_POLICY", '{"name": "p"}', "policy", {"name": "p"}),
        ("ASM_POLICY__LIMITS__MAX_TOOL_CALLS", "5", "policy", {"limits": {"max_tool_calls": 5}}),
        ("ASM_MAX_RUNS_PER_AGENT", "3", "max_runs_per_agent", 3),
        ("ASM_MAX_RUNS_PER_AGENT", '{"a": 1}', "max_runs_per_agent", {"a": 1}),
        ("ASM_MAX_RUNS_PER_AGENT__REVIEWER", "1", "max_runs_per_agent", {"reviewer": 1}),
        ("ASM_MAX_RUNS_PER_AGENT__Reviewer", "1", "max_runs_per_agent", {"Reviewer": 1}),
        ("ASM_PATIENCE", "", "patience", 10.0),
        ("ASM_CONFIG", "asm.toml", "patience", 10.0),
    ],
)  # fmt: skip
def test_a_variable_is_read_as_its_setting_is_meant(variable, text, name, value):
    assert getattr(Config.load(env={variable: text}), name) == value


def test_entries_of_a_map_come_over_what_the_file_says(tmp_path):
    path = tmp_path / "asm.toml"
    path.write_text("max_runs_per_agent = 4\n[pricing_table.claude.small]\ninput = 1.0\noutput = 2.0\n")
    env = {
        "ASM_PRICING_TABLE__CLAUDE__BIG__INPUT": "3",
        "ASM_PRICING_TABLE__CLAUDE__BIG__OUTPUT": "4",
        "ASM_MAX_RUNS_PER_AGENT__A": "1",
    }
    config, sources = Config.load_with_sources(path, env)
    assert config.pricing_table == {
        "claude": {"small": {"input": 1.0, "output": 2.0}, "big": {"input": 3, "output": 4}}
    }
    assert config.max_runs_per_agent == {"*": 4, "a": 1}
    assert sources["max_runs_per_agent"] == f"{path}, ASM_MAX_RUNS_PER_AGENT__A"


# --- Errors --------------------------------------------------------------------------------------------------------


def test_an_error_names_the_variable_and_what_is_legal():
    error = refused(env={"ASM_MAX_PARALLEL_RUNS": "many"})
    assert error.message == (
        "ASM_MAX_PARALLEL_RUNS: max_parallel_runs must be an integer of at least 1, or none for no bound"
    )
    assert error.details == {"source": "ASM_MAX_PARALLEL_RUNS", "field": "max_parallel_runs"}


def test_an_error_names_the_file(tmp_path):
    path = tmp_path / "asm.toml"
    path.write_text('durability = "always"')
    assert refused(path=path).message == f"{path}: durability must be one of commit, interval, none"


def test_what_another_source_stands_over_is_checked_too(tmp_path):
    path = tmp_path / "asm.toml"
    path.write_text("patience = -1")
    assert refused(path=path, env={"ASM_PATIENCE": "3"}).message.startswith(f"{path}: patience")


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        (
            {"env": {"ASM_PATIANCE": "3"}},
            "ASM_PATIANCE: there is no setting patiance; did you mean patience?",
        ),
        ({"env": {"ASM_": "3"}}, 'list them with "asm config show"'),
        ({"env": {"ASM_PATIENCE__X": "3"}}, "ASM_PATIENCE__X: patience has no such entry"),
        ({"env": {"ASM_POLICY__": "3"}}, "ASM_POLICY__: policy has no such entry"),
        ({"overrides": {"paths": 1}}, "override: there is no setting paths"),
        ({"overrides": {3: 1}}, "override: there is no setting 3"),
        (
            {"env": {"ASM_SQLITE_BUSY_RETRY_SLEEP_MS": "1"}},
            "has no meaning here: the journal is no SQL database",
        ),
        ({"path": "/no/such/file.toml"}, "/no/such/file.toml: there is no such file"),
        ({"path": 5}, "path must be the path of a file, as text or a pathlib.Path, not 5"),
        ({"path": b"asm.toml"}, "path must be the path of a file"),
        ({"path": ""}, "path must be the path of a file"),
        ({"path": "a\0b"}, "path must be a path that the file system can hold"),
        ({"path": "\ud800"}, "path must be a path that the file system can hold"),
        ({"env": {"ASM_PATIENCE": 5}}, "ASM_PATIENCE: must be a text, not 5"),
        ({"env": {5: "x"}}, "env must be a map from names of variables to their texts"),
        ({"env": [1]}, "env must be a map from names of variables to their texts"),
        (
            {"env": {"ASM_MAX_RUNS_PER_AGENT": '{"a": 1, "a": 2}'}},
            "ASM_MAX_RUNS_PER_AGENT: max_runs_per_agent must be",
        ),
        ({"overrides": "x"}, "overrides must be a map from settings to values, not 'x'"),
        ({"overrides": []}, "overrides must be a map from settings to values"),
    ],
)
def test_what_nobody_knows_is_refused(given_, told):
    assert told in refused(**given_).message


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.toml", b"patience = ", "it is no TOML: Invalid value"),
        ("a.json", b'{\n"patience": }', "line 2 is no JSON"),
        ("a.json", b"[1]", "it must hold a map from settings to values"),
        ("a.toml", b"\xff", "it is no text in UTF-8 (byte 0)"),
        ("a.json", b"[" * 100_000, "it is nested too deep"),
        ("a.json", b'{"max_queued_runs": ' + b"9" * 5000 + b"}", "it holds a number that is too long"),
        ("a.toml", b"max_queued_runs = " + b"9" * 5000, "it holds a number that is too long"),
        ("a.json", b'{"linger": ' + b"9" * 400 + b"}", "linger must be a number of seconds"),
        (
            "a.json",
            b'{"policy": {"name": "a", "name": "b"}}',
            "it is no JSON: the key 'name' stands twice in one map",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_told_as_such(tmp_path, name, text, told):
    path = tmp_path / name
    path.write_bytes(text)
    message = refused(path=path).message
    assert message.startswith(f"{path}: ")
    assert told in message


def test_a_folder_is_no_file(tmp_path):
    assert "it cannot be read" in refused(path=tmp_path).message


@pytest.mark.parametrize("name", FIELDS)
def test_a_secret_in_the_wrong_place_is_not_shown(name):
    secret = "sk-ant-api03-" + "x" * 40
    for given_ in ({"env": {f"ASM_{name.upper()}": secret}}, {"overrides": {name: {secret: secret}}}):
        try:
            Config.load(**{"env": {}, **given_})
        except AsmError as error:
            assert secret not in str(error.to_map())


def test_servers_are_not_shown_for_they_may_hold_secrets():
    servers = {
        "wiki": {"url": "https://wiki.example/mcp", "headers": {"authorization": "Bearer hunter2hunter2"}}
    }
    config = Config(mcp_servers=servers)
    assert "hunter2" not in repr(config)
    broken = {"wiki": {"url": "hunter2hunter2"}}
    assert "hunter2" not in str(refused(overrides={"mcp_servers": broken}).to_map())


# --- What has no meaning here --------------------------------------------------------------------------------------

# The settings that a system of this kind is expected to have; each is one here, or stands among those left out.
EXPECTED = """
telemetry_enabled audit_logging_enabled redaction_enabled redaction_patterns redaction_replacement redaction_deep_scan
redaction_scan_metadata stream_idle_timeout_ms task_shutdown_timeout_ms await_run_timeout_ms drain_timeout_buffer_ms
command_timeout_ms execute_timeout_ms execute_grace_timeout_ms circuit_breaker_cooldown_ms sticky_session_ttl_ms
event_stream_poll_interval_ms genserver_call_timeout_ms event_buffer_size max_output_bytes max_patch_bytes
error_text_max_bytes error_text_max_lines max_parallel_sessions max_parallel_runs max_queued_runs
circuit_breaker_failure_threshold circuit_breaker_half_open_max_probes sqlite_max_bind_params
sqlite_busy_retry_attempts sqlite_busy_retry_sleep_ms max_query_limit default_session_query_limit
default_run_query_limit default_event_query_limit retention_max_completed_age_days retention_hard_delete_after_days
retention_batch_size retention_exempt_statuses retention_exempt_tags retention_prune_event_types_first chars_per_token
default_shell default_success_exit_codes excluded_workspace_roots default_router_name
pricing_table policy_cost_rates claude_default_model
""".split()  # noqa: SIM905


@pytest.mark.parametrize("name", EXPECTED)
def test_every_expected_setting_is_here_or_left_out_with_a_reason(name):
    assert (name in FIELDS) != (name in ABSENT)


def test_nothing_else_is_left_out():
    assert set(ABSENT) <= set(EXPECTED)


def test_the_limits_of_the_configuration_are_all_of_limits():
    names = [attribute.name for attribute in attrs.fields(asm.Limits)]
    assert set(names) <= set(FIELDS)
    assert Config().limits() == asm.Limits()


def test_defaults_are_those_of_the_parts():
    assert Config().retention_policy() == asm.RetentionPolicy()
    assert Config().redaction() == asm.Redaction()
    assert Path(Config.load(env={"ASM_JOURNAL": "var/x"}).start_arguments()["journal"]) == Path("var/x")
    assert "journal" not in Config().start_arguments()
