"""What the commands share that read a configuration, or another file that a user wrote."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from attrs import evolve

from asm_actors.cli.common import Failure, failure_of
from asm_actors.errors import AsmError
from asm_actors.settings.config import Config

__all__ = ["config_option", "configuration", "journal_of", "read_map"]

F = TypeVar("F", bound=Callable[..., Any])


def config_option(command: F) -> F:
    """Add `--config`."""
    option = click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        envvar="ASM_CONFIG",
        show_envvar=True,
        metavar="FILE",
        help="Settings, TOML or JSON; ASM_… variables stand over it. See: asm config show.",
    )
    return option(command)


def configuration(file: Path | None) -> tuple[Config, dict[str, str]]:
    """Read the configuration; also where each value is from.

    Raises:
        Failure: It is malformed.
    """
    try:
        return Config.load_with_sources(file)
    except AsmError as error:
        raise failure_of(error) from error


def journal_of(config: Config, journal: Path) -> Config:
    """Return the configuration with the journal in force: as the command says, else the file, else the usual place."""
    context = click.get_current_context()
    is_said = context.get_parameter_source("journal") is not click.core.ParameterSource.DEFAULT
    return config if config.journal is not None and not is_said else evolve(config, journal=str(journal))


def read_map(file: Path, what: str) -> dict[str, Any]:
    """Read a TOML or JSON file with one map in it.

    Args:
        file: where it is.
        what: what it holds, for errors.

    Raises:
        Failure: it cannot be read, or holds something else.
    """
    kind, loads = ("JSON", json.loads) if file.suffix == ".json" else ("TOML", tomllib.loads)
    try:
        found = loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Failure(f"{what} {file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise Failure(f"{what} {file} is no {kind}: {error}") from error
    if not isinstance(found, dict):
        raise Failure(f"{what} {file} must hold a map of fields")
    return found
