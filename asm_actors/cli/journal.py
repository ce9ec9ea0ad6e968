"""`asm journal verify` and `asm journal stats`."""

from __future__ import annotations

from pathlib import Path

import attrs
import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from asm_actors.cli.common import FAILED, echo_json, journal_option, json_option, open_for_reading
from asm_actors.cli.text import details
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.store import VerifyReport

__all__ = ["journal"]

_PROBLEMS_SHOWN = 20


@click.group(short_help="Check a journal, or count what is in it.")
def journal() -> None:
    """Check a journal, or see what is in it.

    Both only read, and may run while another process writes.
    """


@journal.command()
@journal_option
@json_option
@click.pass_context
def verify(ctx: click.Context, journal: Path, as_json: bool) -> None:
    """Read everything and check it: checksums, gaps, records, indexes.

    Ends with exit code 1 if anything is wrong.
    """
    with open_for_reading(journal) as store:
        report = _verify(store)
    if as_json:
        echo_json({**attrs.asdict(report), "is_sound": report.is_sound})
    else:
        checked = f"{report.events:,} events, {report.sessions:,} sessions, {report.runs:,} runs"
        if report.is_sound:
            click.echo(f"{click.style('sound', fg='green', bold=True)}: {checked}")
        else:
            click.echo(f"{click.style('damaged', fg='red', bold=True)}: {checked}")
        for problem in report.problems[:_PROBLEMS_SHOWN]:
            click.echo(f"  {problem}")
        if len(report.problems) > _PROBLEMS_SHOWN:
            click.echo(f"  … and {len(report.problems) - _PROBLEMS_SHOWN:,} more; see all with --json")
    if not report.is_sound:
        ctx.exit(FAILED)


@journal.command()
@journal_option
@json_option
def stats(journal: Path, as_json: bool) -> None:
    """Count what the journal holds, and the space it takes."""
    with open_for_reading(journal) as store:
        found = attrs.asdict(store.statistics())
        # A reader makes no commits of its own.
        del found["commits"], found["description"]
        found["open_sessions"] = len(store.open_sessions())
        found["open_runs"] = len(store.open_runs())
        found["path"] = str(store.path)
    if as_json:
        echo_json(found)
    else:
        shown = {name: f"{value:,}" if isinstance(value, int) else value for name, value in found.items()}
        click.echo(details(shown))


def _verify(store: LmdbStore) -> VerifyReport:
    console = Console(stderr=True)
    if not console.is_terminal:
        return store.verify()
    columns = (
        TextColumn("checking"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("events"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("events", total=store.last_position())
        return store.verify(lambda done, total: progress.update(task, completed=done, total=total))
