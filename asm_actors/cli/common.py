"""What the commands share: the journal option, opening a journal for reading, errors, JSON lines."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from asm_actors.errors import AsmError, ErrorCategory, ErrorCode
from asm_actors.journal.lmdb_store import LmdbStore

__all__ = [
    "DEFAULT_JOURNAL",
    "FAILED",
    "INTERRUPTED",
    "MISTAKE",
    "TOLD_BY",
    "Failure",
    "PositiveNumber",
    "echo_json",
    "failure_of",
    "hint",
    "json_option",
    "open_for_reading",
]

FAILED: Final = 1
MISTAKE: Final = 2
INTERRUPTED: Final = 130

DEFAULT_JOURNAL: Final = "var/journal"
TOLD_BY: Final = "asm_actors.journal_told_by"
"""In the `meta` of a command's context: who says where its journal is; None: nobody."""

F = TypeVar("F", bound=Callable[..., Any])

# What the user can put right, beside whole categories: these are kept with errors that are nobody's mistake.
_MISTAKES: Final = frozenset(
    {ErrorCode.INVALID_OPERATION, ErrorCode.JOURNAL_LOCKED, ErrorCode.PROVIDER_AUTHENTICATION_FAILED}
)
_MISTAKEN_CATEGORIES: Final = frozenset(
    {ErrorCategory.VALIDATION, ErrorCategory.STATE, ErrorCategory.RESOURCE}
)
# The command that lists what was not found.
_LISTS: Final[Mapping[ErrorCode, str]] = {
    ErrorCode.SESSION_NOT_FOUND: "sessions",
    ErrorCode.RUN_NOT_FOUND: "runs",
}


class Failure(Exception):  # noqa: N818 - it is what became of the command
    """Ends a command with one line and an exit code.

    Args:
        message: what is wrong, and what to do next.
        exit_code: `FAILED` or `MISTAKE`.
    """

    def __init__(self, message: str, exit_code: int = MISTAKE) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


def failure_of(error: AsmError, journal: Path | None = None) -> Failure:
    """Say in one line what an error means to somebody at a terminal.

    Args:
        error: what happened.
        journal: where, for the hint.
    """
    is_mistake = error.code in _MISTAKES or error.category in _MISTAKEN_CATEGORIES
    text = " ".join(error.message.split())
    if error.code in _LISTS:
        text = f"{text}; list them with: {hint(_LISTS[error.code], journal)}"
    elif (
        journal is not None
        and error.code is ErrorCode.NOT_FOUND
        and error.details.get("path") == str(journal)
    ):
        text = f"{text} ({_told_by()})"
    return Failure(text if is_mistake else f"{text} [{error.code}]", MISTAKE if is_mistake else FAILED)


def _told_by() -> str:
    context = click.get_current_context(silent=True)
    source = None if context is None else context.meta.get(TOLD_BY)
    if source is None:
        return "the usual place, for neither --journal nor ASM_JOURNAL nor a file of settings names another"
    return f"it is named by {source}"


def program() -> str:
    """How this command was called, for hints that can be pasted."""
    called = Path(sys.argv[0])
    if called.name != "asm" or shutil.which("asm") is not None:
        return "asm"
    path = os.path.relpath(called)
    return path if not path.startswith("..") else str(called)


def hint(command: str, journal: Path | None = None) -> str:
    """A command of this program to be pasted, with the journal it is about unless that goes without saying."""
    usual = os.environ.get("ASM_JOURNAL") or (None if os.environ.get("ASM_CONFIG") else DEFAULT_JOURNAL)
    if journal is None or str(journal) == usual:
        return f"{program()} {command}"
    return f"{program()} {command} --journal {shlex.quote(str(journal))}"


class PositiveNumber(click.FloatRange):
    """A finite number above 0."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{found} is no finite number.", param, ctx)
        return found


def json_option(command: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")(command)


@contextmanager
def open_for_reading(journal: Path) -> Iterator[LmdbStore]:
    """Open a journal read-only; another process may be writing it.

    Raises:
        Failure: there is none, it cannot be read, or what was asked for is not in it.
    """
    store = LmdbStore(journal, readonly=True)
    try:
        store.open()
        yield store
    except AsmError as error:
        raise failure_of(error, journal) from error
    finally:
        store.close()


def echo_json(value: Mapping[str, Any]) -> None:
    """Print a JSON-ready map as one line."""
    click.echo(json.dumps(value, ensure_ascii=False))
