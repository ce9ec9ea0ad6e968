"""The group of all commands, and the one place that turns what went wrong into a line and an exit code.

Exit codes: 0 well; 1 the work failed (a run, a check of the journal); 2 the user asked for something that cannot be;
130 Ctrl-C; 141 the reader of the output went away. None of them comes with a stack trace: that is kept for defects.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any, NoReturn

import click

from asm_actors.cli.approvals import approvals
from asm_actors.cli.ask import run
from asm_actors.cli.cancel import cancel
from asm_actors.cli.common import FAILED, INTERRUPTED, MISTAKE, Failure, failure_of
from asm_actors.cli.demo import demo
from asm_actors.cli.follow import events
from asm_actors.cli.history import fork, transcript
from asm_actors.cli.journal import journal
from asm_actors.cli.look import runs, sessions, show
from asm_actors.cli.settings import config
from asm_actors.errors import AsmError

__all__ = ["main"]

_READER_GONE = 141


class _Commands(click.Group):
    """The group; its `main` is the border at which exceptions end."""

    def invoke(self, ctx: click.Context) -> Any:
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
            # A path may hold bytes that are no text, and a terminal may lack letters: both are shown all the same.
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            result = super().invoke(ctx)
            # Here and not at the interpreter's exit, where a reader that went away makes noise.
            sys.stdout.flush()
        except BrokenPipeError:
            _point_stdout_nowhere()
            raise click.exceptions.Exit(_READER_GONE) from None
        return result

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command; with `standalone_mode` end the process with its exit code."""

        def call() -> Any:
            return super(_Commands, self).main(args, prog_name or "asm", complete_var, False, **extra)

        if not standalone_mode:
            return call()
        try:
            code = call()
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            sys.exit(0)
        except click.UsageError as error:
            _fail(Failure(_usage(error), MISTAKE))
        except Failure as failure:
            _fail(failure)
        except click.ClickException as error:
            _fail(Failure(error.format_message(), FAILED))
        except AsmError as error:
            _fail(failure_of(error))
        except click.Abort:
            sys.exit(INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)


def _usage(error: click.UsageError) -> str:
    command = "asm" if error.ctx is None else error.ctx.command_path
    return f"{error.format_message().rstrip('.')}; see: {command} --help"


def _fail(failure: Failure) -> NoReturn:
    click.echo(f"{click.style('error:', fg='red', bold=True)} {failure.message}", err=True)
    sys.exit(failure.exit_code)


def _point_stdout_nowhere() -> None:
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        pass  # a stdout that is no file, as in tests, has nothing to flush at the exit


class _Text(click.types.StringParamType):
    """Text that can be stored; paths may be other bytes too, and have a type of their own."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = super().convert(value, param, ctx)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail(f"{text!a} is no text that UTF-8 can hold.", param, ctx)
        return text


def _with_text(command: click.Command) -> click.Command:
    """Have all that a command takes as text looked at."""
    for parameter in command.params:
        if parameter.type is click.STRING:
            parameter.type = _Text()
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        _with_text(below)
    return command


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    try:
        number = metadata.version("asm-actors")
    except metadata.PackageNotFoundError:
        number = "(not installed)"
    click.echo(f"asm {number}")
    ctx.exit()


@click.group(
    "asm",
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A journal is a directory. Set ASM_JOURNAL, or ASM_CONFIG (a file of settings), to name yours once for all.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Host many AI agent sessions in one process, and lose nothing.

    Begin with `asm demo`, which needs no key and no network.
    """


for _command in (
    demo,
    run,
    sessions,
    runs,
    events,
    show,
    transcript,
    fork,
    cancel,
    approvals,
    config,
    journal,
):
    main.add_command(_with_text(_command))
