"""Where a command's journal and its settings are.

The journal is the one that ``--journal`` names, else ASM_JOURNAL, else the settings' file (``--config``, else
ASM_CONFIG), else the usual place. All commands take it so; settings of other kinds do not matter to those that read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from asm_actors.cli.common import DEFAULT_JOURNAL, TOLD_BY, failure_of
from asm_actors.errors import AsmError
from asm_actors.settings.config import Config

__all__ = ["config_option", "journal_alone_option", "journal_option"]

F = TypeVar("F", bound=Callable[..., Any])

_FILE: Final = "asm_actors.config_file"
_SAID: Final = "asm_actors.journal"
# What contexts share: the commands of a group take what was said at the group.


def config_option(command: F) -> F:
    """Add `--config`."""
    return _config_option(expose_value=True)(command)


def journal_option(command: F) -> F:
    """Add `--journal`, and `--config` for where the journal is."""
    return journal_alone_option(_config_option(expose_value=False)(command))


def journal_alone_option(command: F) -> F:
    """Add `--journal` to a command that has `--config` for more than that."""
    option = click.option(
        "--journal",
        "journal",
        type=click.Path(file_okay=False, path_type=Path),
        callback=_journal,
        envvar="ASM_JOURNAL",
        show_envvar=True,
        metavar="DIR",
        help=f"The journal's directory; by default that of the settings, else {DEFAULT_JOURNAL}.",
    )
    return option(command)


def _config_option(*, expose_value: bool) -> Callable[[F], F]:
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        callback=_config_file,
        is_eager=True,  # the journal may stand in it
        expose_value=expose_value,
        envvar="ASM_CONFIG",
        show_envvar=True,
        metavar="FILE",
        help="Settings, TOML or JSON; ASM_… variables stand over it. See: asm config show.",
    )


def _config_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    known: Path | None = ctx.meta.get(_FILE)
    if known is not None and not _is_said(ctx, param):
        return known
    if value is not None:
        ctx.meta[_FILE] = value
    return value


def _journal(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path:
    known: Path | None = ctx.meta.get(_SAID)
    if _is_said(ctx, param):
        ctx.meta[_SAID] = value
    elif known is not None:
        value = known
    if value is not None:
        ctx.meta[TOLD_BY] = "ASM_JOURNAL" if ctx.meta.get(_SAID) is None else "--journal"
        return value
    file: Path | None = ctx.meta.get(_FILE)
    found = None if file is None or ctx.resilient_parsing else _of_file(file)
    ctx.meta[TOLD_BY] = None if found is None else str(file)
    return Path(DEFAULT_JOURNAL if found is None else found)


def _is_said(ctx: click.Context, param: click.Parameter) -> bool:
    return ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE


def _of_file(file: Path) -> str | None:
    try:
        return Config.load(file, {}).journal
    except AsmError as error:
        raise failure_of(error) from error
