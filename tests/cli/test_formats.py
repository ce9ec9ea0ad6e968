"""`--format`: events as compact tokens, as verbose lines, as a story, as lines of JSON."""

from __future__ import annotations

import json

import pytest

SESSION = "ses_" + "1".zfill(32)


def test_events_as_compact_tokens(run_asm, journal):
    result = run_asm("events", SESSION, "--journal", str(journal), "--format", "compact")
    assert result.exit_code == 0
    assert result.stdout.startswith("s+ greeter s:started << ")
    assert result.stdout.rstrip().endswith("events, 0 tools")
    assert "\x1b" not in result.stdout


def test_events_as_verbose_lines(run_asm, journal):
    result = run_asm("events", SESSION, "--journal", str(journal), "--format", "verbose")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("[session_created] agent_id=greeter")
    assert lines[-2].startswith("[session_completed]")


def test_events_as_a_story(run_asm, journal):
    result = run_asm("events", SESSION, "--journal", str(journal), "--format", "studio")
    assert "● mock session started" in result.stdout
    assert "● Session complete (end_turn) —" in result.stdout
    assert "\r" not in result.stdout


def test_events_as_lines_of_json(run_asm, journal):
    words = ("events", SESSION, "--journal", str(journal))
    result = run_asm(*words, "--format", "jsonl")
    assert [json.loads(line) for line in result.stdout.splitlines()] == run_asm.lines(*words)
    assert run_asm(*words, "--format", "jsonl", "--json").stdout == result.stdout
    assert run_asm(*words, "--format", "lines").stdout == run_asm(*words).stdout


def test_a_limit_holds_for_every_format(run_asm, journal):
    result = run_asm("events", SESSION, "--journal", str(journal), "--format", "compact", "--limit", "2")
    assert result.stdout == "s+ greeter s:started\n2 events, 0 tools\n"


def test_json_and_another_format_exclude_each_other(run_asm, journal):
    line = run_asm.refused("events", "--journal", str(journal), "--format", "studio", "--json")
    assert line == "--json and --format studio exclude each other"


@pytest.mark.parametrize(
    ("style", "begin"),
    [("compact", "<< Hi"), ("verbose", "[message_sent] role=user content=Hi"), ("studio", "  » Hi")],
)
def test_a_question_is_answered_in_every_format(run_asm, style, begin):
    result = run_asm("run", "Hi", "--provider", "mock", "--format", style)
    assert result.exit_code == 0
    assert result.stdout.startswith(begin)
    assert "You asked: Hi" in result.stdout
    assert result.stdout.endswith("\n")


def test_a_question_as_lines_of_json_is_as_with_json(run_asm):
    result = run_asm("run", "Hi", "--provider", "mock", "--format", "jsonl")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert (lines[0]["type"], lines[-1]["type"]) == ("message_sent", "result")
