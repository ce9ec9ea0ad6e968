"""`asm config`, and the settings that other commands go by."""

from __future__ import annotations

import json

import asm_actors as asm


def test_every_setting_is_shown_with_its_source(run_asm, tmp_path):
    (tmp_path / "asm.toml").write_text('patience = 3\nretention_exempt_tags = ["kept"]\n')
    lines = {line["name"]: line for line in run_asm.lines("config", "show", "--config", "asm.toml")}
    assert list(lines) == list(asm.Config().to_map())
    assert lines["patience"] == {"name": "patience", "value": 3.0, "source": "asm.toml"}
    assert lines["retention_exempt_tags"]["value"] == ["kept"]
    assert lines["linger"]["source"] == "default"


def test_for_people_it_is_a_line_each(run_asm):
    result = run_asm("config", "show", "--changed", env={"ASM_PATIENCE": "3", "ASM_POLICY": '{"name": "p"}'})
    assert result.stdout == 'patience = 3.0  ASM_PATIENCE\npolicy = {"name": "p"}  ASM_POLICY\n'
    explained = run_asm("config", "show", "--explain").stdout
    assert "It must be one of commit, interval, none." in explained


def test_the_file_can_be_named_by_a_variable(run_asm, tmp_path):
    (tmp_path / "asm.json").write_text('{"patience": 4}')
    (line,) = run_asm("config", "show", "--changed", env={"ASM_CONFIG": "asm.json"}).stdout.splitlines()
    assert line == "patience = 4.0  asm.json"


def test_secrets_are_not_shown(run_asm):
    secret = "sk-ant-api03-" + "a" * 40
    servers = {"w": {"url": "https://wiki.example", "headers": {"authorization": secret}}}
    env = {
        "ASM_MCP_SERVERS": json.dumps(servers),
        "ASM_POLICY": json.dumps({"metadata": {"note": secret}}),
        "ASM_JOURNAL": secret,
    }
    result = run_asm("config", "show", "--changed", env=env)
    assert secret not in result.output
    assert 'mcp_servers = "(set, and not shown)"' in result.stdout
    assert '"note": "[REDACTED]"' in result.stdout


def test_a_check_says_that_all_is_legal(run_asm):
    result = run_asm("config", "check", env={"ASM_PATIENCE": "3"})
    assert (result.exit_code, result.stdout) == (
        0,
        f"all is legal; 1 of {len(asm.Config().to_map())} settings are not as by default\n",
    )
    assert run_asm.lines("config", "check") == [{"ok": True, "changed": {}}]


def test_a_check_says_what_is_not(run_asm, tmp_path):
    (tmp_path / "asm.toml").write_text("max_paralel_runs = 3\n")
    line = run_asm.refused("config", "check", "--config", "asm.toml")
    assert line == "asm.toml: there is no setting max_paralel_runs; did you mean max_parallel_runs?"
    assert "ASM_PATIENCE: patience must be" in run_asm.refused("config", "check", env={"ASM_PATIENCE": "x"})
    assert "none.toml: there is no such file" in run_asm.refused("config", "show", "--config", "none.toml")


def test_numbers_that_nothing_holds_are_one_line(run_asm, tmp_path):
    (tmp_path / "huge.json").write_text('{"linger": ' + "9" * 400 + "}")
    (tmp_path / "huge.toml").write_text("max_queued_runs = " + "9" * 5000)
    for words in (("config", "check"), ("run", "--provider", "mock", "x"), ("sessions",)):
        assert "linger must be" in run_asm.refused(*words, "--config", "huge.json")
        assert "huge.toml: it holds a number" in run_asm.refused(*words, "--config", "huge.toml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["huge.json", "huge.toml"]


# --- In other commands ---------------------------------------------------------------------------------------------


def test_a_run_goes_by_the_settings(run_asm, tmp_path):
    (tmp_path / "asm.toml").write_text(
        'journal = "kept"\n[policy]\nname = "p"\nlimits = {max_total_tokens = 5}\n'
    )
    result = run_asm("run", "--provider", "mock", "why?", "--config", "asm.toml")
    assert result.exit_code == 1
    assert "policy_violation" in result.stderr
    (run,) = run_asm.lines("runs", "--journal", "kept")
    assert run["error"]["code"] == "policy_violation"


def test_a_journal_on_the_command_line_stands_over_the_settings(run_asm, tmp_path):
    (tmp_path / "asm.toml").write_text('journal = "kept"\n')
    run_asm("run", "--provider", "mock", "why?", "--config", "asm.toml", "--journal", "mine")
    assert (tmp_path / "mine").is_dir()
    assert not (tmp_path / "kept").exists()


def test_malformed_settings_stop_a_run_before_it_begins(run_asm, tmp_path):
    line = run_asm.refused("run", "--provider", "mock", "why?", env={"ASM_PATIENCE": "x"})
    assert line.startswith("ASM_PATIENCE: ")
    assert list(tmp_path.iterdir()) == []


def test_pruning_goes_by_the_settings_unless_a_policy_is_named(run_asm, own_journal, tmp_path):
    (tmp_path / "asm.toml").write_text("retention_max_events_per_session = 8\n")
    words = ("journal", "prune", "--dry-run", "--journal", str(own_journal))
    assert run_asm.lines(*words)[0]["events_pruned"] == 0
    (report,) = run_asm.lines(*words, "--config", "asm.toml")
    assert report["events_pruned"] > 0
    (tmp_path / "policy.toml").write_text("batch_size = 3\n")
    (report,) = run_asm.lines(*words, "--config", "asm.toml", "--policy", "policy.toml")
    assert report["events_pruned"] == 0
