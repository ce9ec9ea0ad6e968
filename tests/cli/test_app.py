"""The command as a whole: help, versions, errors, exit codes."""

from __future__ import annotations

import signal

import click
import pytest

from asm_actors.cli import main


def _commands(group: click.Group, path: str = "asm") -> list[tuple[str, click.Command]]:
    found = []
    for name, command in group.commands.items():
        found.append((f"{path} {name}", command))
        if isinstance(command, click.Group):
            found += _commands(command, f"{path} {name}")
    return found


COMMANDS = _commands(main)


def test_the_commands_are_these():
    assert [path for path, _ in COMMANDS] == [
        "asm demo",
        "asm run",
        "asm sessions",
        "asm runs",
        "asm events",
        "asm show",
        "asm transcript",
        "asm fork",
        "asm cancel",
        "asm approvals",
        "asm approvals grant",
        "asm approvals deny",
        "asm config",
        "asm config show",
        "asm config check",
        "asm journal",
        "asm journal verify",
        "asm journal stats",
        "asm journal health",
        "asm journal prune",
        "asm journal repair",
        "asm journal backup",
        "asm journal compact",
        "asm journal migrate",
        "asm journal export",
        "asm journal import",
    ]


@pytest.mark.parametrize(("path", "command"), COMMANDS)
def test_every_command_and_every_option_has_a_help_text(path, command):
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.name}"


@pytest.mark.parametrize(
    ("path", "command"),
    [c for c in COMMANDS if not isinstance(c[1], click.Group)],
    ids=str,
)
def test_every_command_but_a_group_speaks_json(path, command):
    assert "--json" in [name for parameter in command.params for name in parameter.opts]


def test_without_arguments_it_shows_its_help_on_stdout(run_asm):
    result = run_asm()
    assert result.exit_code == 0
    assert "asm demo" in result.stdout
    assert result.stderr == ""


def test_it_tells_its_version(run_asm):
    result = run_asm("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("asm ")


def test_an_unknown_command_is_one_line_and_exit_code_2(run_asm):
    assert run_asm.refused("xyzzy") == "No such command 'xyzzy'; see: asm --help"


def test_a_malformed_option_is_one_line_that_names_the_help(run_asm):
    line = run_asm.refused("events", "--limit", "many")
    assert "--limit" in line
    assert line.endswith("see: asm events --help")


def test_a_missing_journal_is_one_line_that_names_it(run_asm):
    assert "no journal at nowhere" in run_asm.refused("sessions", "--journal", "nowhere")


def test_the_journal_can_be_named_by_the_environment(run_asm, journal):
    result = run_asm("sessions", env={"ASM_JOURNAL": str(journal)})
    assert result.exit_code == 0
    assert "greeter" in result.stdout


def test_a_reader_that_goes_away_ends_it_quietly(children, tmp_path):
    holder, _, _ = children.hold(tmp_path / "held")
    child = children.asm("events", "--journal", "held", "--follow")
    child.stdout.readline()
    child.stdout.close()
    holder.communicate()  # it ends its run, and so there is more to print
    assert child.wait() == 141
    assert child.stderr.read() == ""


def test_ctrl_c_is_quiet_and_130(children, journal):
    child = children.asm("events", "--journal", str(journal), "--follow")
    child.stdout.readline()
    child.send_signal(signal.SIGINT)
    assert child.wait() == 130
    assert child.stderr.read().strip() == ""
