"""Where a command's journal is: as it is told, else as the settings say, else the usual place."""

from __future__ import annotations

import pytest


@pytest.fixture
def filled(run_asm, tmp_path):
    """Journals ``said``, ``env``, ``file`` and the usual one, and settings that name ``file``."""
    for name in ("said", "env", "file", "var/journal"):
        run_asm("run", "--provider", "mock", f"which? {name}", "--journal", name)
    (tmp_path / "asm.toml").write_text('journal = "file"\n')
    return {"ASM_CONFIG": "asm.toml"}


def asked(run_asm, *words, **env):
    """What the only run of the journal was asked that a command looks into."""
    result = run_asm("runs", "--json", *words, env=env)
    assert result.exit_code == 0, result.output
    return result.stdout.split("which? ")[1].split('"')[0]


def test_the_command_line_comes_first_then_the_variable_then_the_settings_then_the_usual_place(
    run_asm, filled
):
    both = {**filled, "ASM_JOURNAL": "env"}
    assert asked(run_asm, "--journal", "said", **both) == "said"
    assert asked(run_asm, **both) == "env"
    assert asked(run_asm, **filled) == "file"
    assert asked(run_asm, "--config", "asm.toml") == "file"
    assert asked(run_asm) == "var/journal"
    assert asked(run_asm, ASM_JOURNAL="", **filled) == "file"


@pytest.mark.parametrize(
    "words",
    [
        ("sessions",),
        ("runs",),
        ("events",),
        ("approvals",),
        ("journal", "stats"),
        ("journal", "verify"),
        ("journal", "health"),
        ("journal", "compact"),
        ("journal", "repair", "--dry-run"),
        ("journal", "prune", "--dry-run"),
        ("journal", "export", "-"),
        ("journal", "backup", "copy"),
    ],
    ids=" ".join,
)
def test_every_command_goes_by_the_settings(run_asm, tmp_path, words, filled):
    (tmp_path / "none.toml").write_text('journal = "absent"\n')
    assert run_asm(*words, env=filled).exit_code == 0
    told = run_asm.refused(*words, "--config", "none.toml")
    assert told.startswith("there is no journal at absent")
    assert told.endswith("(it is named by none.toml)")


def test_commands_about_one_thing_go_by_the_settings_too(run_asm, filled):
    (session,) = [line["id"] for line in run_asm.lines("sessions", "--config", "asm.toml")]
    (run,) = [line["id"] for line in run_asm.lines("runs", "--config", "asm.toml")]
    for words in (
        ("show", session),
        ("show", run),
        ("transcript", session),
        ("fork", session),
        ("cancel", run),
    ):
        assert run_asm(*words, env=filled).exit_code == 0
        assert run_asm(*words).exit_code == 2


def test_a_run_and_what_it_tells_to_do_next_go_by_the_settings(run_asm, filled):
    result = run_asm("run", "--provider", "mock", "more", env=filled)
    assert "--journal file" in result.stderr
    assert len(run_asm.lines("runs", "--journal", "file")) == 2


def test_what_is_said_at_a_group_counts_for_its_commands(run_asm, filled):
    line = run_asm.refused("approvals", "--journal", "absent", "grant", "run_x", env={"ASM_JOURNAL": "env"})
    assert line.startswith("there is no journal at absent")


def test_an_error_says_who_named_the_journal(run_asm):
    assert "neither --journal nor ASM_JOURNAL nor a file of settings" in run_asm.refused("sessions")
    assert "(it is named by ASM_JOURNAL)" in run_asm.refused("sessions", env={"ASM_JOURNAL": "absent"})
    assert "(it is named by --journal)" in run_asm.refused("sessions", "--journal", "absent")


def test_broken_settings_matter_only_where_the_journal_is_looked_for_in_them(run_asm, tmp_path, filled):
    (tmp_path / "broken.toml").write_text("linger = -1")
    assert "broken.toml: linger must be" in run_asm.refused("sessions", "--config", "broken.toml")
    assert run_asm("sessions", "--config", "broken.toml", "--journal", "said").exit_code == 0
    assert run_asm("sessions", "--journal", "said", env={"ASM_LINGER": "x"}).exit_code == 0
