"""`asm demo`: what it promises is in its journal."""

from __future__ import annotations

import json
import signal
from collections import Counter

import pytest
from click.testing import CliRunner

from asm_actors.cli import main
from asm_actors.cli.demo import _fresh


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What one demo of 40 sessions says of itself; its journal is at ``report["journal"]``."""
    path = tmp_path_factory.mktemp("demo") / "journal"
    words = ["demo", "--sessions", "40", "--seed", "3", "--journal", str(path), "--json"]
    result = CliRunner().invoke(main, words, env={"ANTHROPIC_API_KEY": None})
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def test_its_counts_are_those_of_its_journal(run_asm, report):
    runs = run_asm.lines("runs", "--journal", report["journal"])
    assert dict(Counter(run["status"] for run in runs)) == report["runs"]
    assert len(runs) == report["sessions"] == 40
    (stats,) = run_asm.lines("journal", "stats", "--journal", report["journal"])
    assert stats["events"] == report["events"] == report["events_seen"]
    assert (stats["open_runs"], stats["open_sessions"]) == (0, 0)
    assert run_asm("journal", "verify", "--journal", report["journal"]).exit_code == 0


def test_the_crash_restarts_the_provider_and_fails_only_runs_that_had_spoken(run_asm, report):
    assert report["provider_restarts"] == 1
    runs = run_asm.lines("runs", "--journal", report["journal"])
    failed = [run for run in runs if run["status"] == "failed"]
    assert {run["error"]["code"] for run in failed} == {"provider_unavailable"}
    assert all("a defect in the provider" in run["error"]["message"] for run in failed)
    assert all(run["output"]["partial"] for run in failed)
    retried = [run for run in runs if run["attempt"] == 1]
    assert {run["status"] for run in retried} == {"completed"}
    assert len(retried) == report["retried"] == 3
    assert len(failed) == 1


def test_cancelled_runs_keep_what_they_had_said(run_asm, report):
    cancelled = run_asm.lines("runs", "--journal", report["journal"], "--status", "cancelled")
    assert cancelled
    assert {run["error"]["details"]["reason"] for run in cancelled} == {"demo"}


def test_no_more_runs_than_slots_were_under_way(report):
    assert report["slots_peak"] <= report["slots"] == 26


def test_on_no_terminal_it_prints_plain_lines_and_where_to_look(run_asm):
    result = run_asm("demo", "--sessions", "10", "--seed", "1")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert (
        "! Supervisor: child 'flaky' crashed: RuntimeError('a defect in the provider'); restarting"
        in result.stdout
    )
    assert "sessions           10 at once" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("  asm journal verify --journal var/demo/")


def test_each_one_gets_a_journal_of_its_own(tmp_path):
    first = _fresh()
    first.mkdir(parents=True)
    assert _fresh() != first
    assert _fresh().parent == first.parent


def test_a_model_that_cannot_be_reached_spoils_nothing(run_asm):
    env = {"ANTHROPIC_API_KEY": "sk-test", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    result = run_asm("demo", "--sessions", "10", "--no-progress", env=env)
    assert result.exit_code == 0
    assert "(no answer: the provider cannot be reached" in result.stdout
    assert "10 at once" in result.stdout


def test_ctrl_c_ends_it_and_leaves_no_run_open(run_asm, children):
    child = children.asm("demo", "--sessions", "300", "--journal", "here")
    for line in child.stdout:
        if "runs under way" in line and " 0 runs under way" not in line:
            break
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate()
    assert child.returncode == 130
    assert "Traceback" not in errors
    assert run_asm("journal", "verify", "--journal", "here").exit_code == 0
    assert run_asm.lines("runs", "--journal", "here", "--open") == []


def test_too_few_sessions_are_refused(run_asm):
    assert "--sessions" in run_asm.refused("demo", "--sessions", "1")
