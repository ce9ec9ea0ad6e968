"""What the commands that work on a whole journal share: opening it for writing, and showing how far they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from asm_actors.cli.common import failure_of
from asm_actors.errors import AsmError
from asm_actors.journal import lmdb_presence
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.maintenance.report import MaintenanceProgress, OnProgress

__all__ = ["Show", "check_is_there", "open_for_writing", "showing", "step_shower"]

Show: TypeAlias = Callable[[int, int | None], None]
"""Shows how much is done, of how much."""


def check_is_there(journal: Path) -> None:
    """Refuse a directory without a journal: opening it for writing would make one.

    Raises:
        Failure: there is none, or its file is empty or lost.
    """
    try:
        lmdb_presence.check_is_there(journal)
    except AsmError as error:
        raise failure_of(error, journal) from error


@contextmanager
def open_for_writing(journal: Path, *, may_be_new: bool = False) -> Iterator[LmdbStore]:
    """Become the journal's writer for a while.

    Args:
        journal: its directory.
        may_be_new: make it if it is not there.

    Raises:
        Failure: there is none, another process holds it, or what was asked for failed.
    """
    if not may_be_new:
        check_is_there(journal)
    store = LmdbStore(journal)
    try:
        store.open()
        yield store
    except AsmError as error:
        raise failure_of(error, journal) from error
    finally:
        store.close()


@contextmanager
def showing(what: str, unit: str) -> Iterator[Show]:
    """Show a bar on standard error while something long goes on, if that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _show_nothing
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _show_nothing(_done: int, _total: int | None) -> None: ...


def step_shower(show: Show) -> OnProgress:
    """Make of a bar what maintenance tells its progress to."""

    def tell(progress: MaintenanceProgress) -> None:
        show(progress.done, progress.total)

    return tell
