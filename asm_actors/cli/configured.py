"""What the commands share that read a configuration, or another file that a user wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asm_actors.cli.common import Failure, failure_of
from asm_actors.errors import AsmError
from asm_actors.settings.config import Config
from asm_actors.settings.reading import read_map as read_map_of

__all__ = ["configuration", "read_map"]


def configuration(file: Path | None) -> tuple[Config, dict[str, str]]:
    """Read the configuration; also where each value is from.

    Raises:
        Failure: It is malformed.
    """
    try:
        return Config.load_with_sources(file)
    except AsmError as error:
        raise failure_of(error) from error


def read_map(file: Path, what: str) -> dict[str, Any]:
    """Read a TOML or JSON file with one map in it.

    Args:
        file: where it is.
        what: what it holds, for errors.

    Raises:
        Failure: it cannot be read, or holds something else.
    """
    try:
        return read_map_of(file, "fields")
    except AsmError as error:
        raise Failure(f"{what} {error.message}") from error
