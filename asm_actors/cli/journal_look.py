"""`asm journal verify`, `asm journal stats`, `asm journal health`: they only read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import attrs
import click

from asm_actors.cli.common import FAILED, echo_json, json_option, open_for_reading
from asm_actors.cli.locating import journal_option
from asm_actors.cli.text import details, printable
from asm_actors.cli.working import showing
from asm_actors.maintenance.health import health_of

__all__ = ["echo_problems", "health", "stats", "verify"]

_PROBLEMS_SHOWN = 20


@click.command()
@journal_option
@click.option("--replay/--no-replay", default=True, help="Also check records against their events.")
@json_option
@click.pass_context
def verify(ctx: click.Context, journal: Path, replay: bool, as_json: bool) -> None:
    """Read everything and check it: checksums, gaps, records, indexes.

    Ends with exit code 1 if anything is wrong; asm journal repair tells what can be done about it.
    """
    with open_for_reading(journal) as store, showing("checking", "events") as show:
        report = store.verify(show, replay=replay)
    if as_json:
        echo_json({**attrs.asdict(report), "is_sound": report.is_sound})
    else:
        checked = f"{report.events:,} events, {report.sessions:,} sessions, {report.runs:,} runs"
        if report.holes:
            checked += f"; {report.holes:,} places are empty, since their events were erased"
        if report.is_sound:
            click.echo(f"{click.style('sound', fg='green', bold=True)}: {checked}")
        else:
            click.echo(f"{click.style('damaged', fg='red', bold=True)}: {checked}")
        echo_problems(report.problems)
    if not report.is_sound:
        ctx.exit(FAILED)


@click.command()
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


@click.command()
@journal_option
@click.option("--deep", is_flag=True, help="Also read and check all events and indexes, as verify does.")
@json_option
@click.pass_context
def health(ctx: click.Context, journal: Path, deep: bool, as_json: bool) -> None:
    """Tell what is not as it should be: remains without a session, forgotten runs, unreadable records.

    Ends with exit code 1 if there is anything.
    """
    with open_for_reading(journal) as store:
        found = health_of(store, time.time_ns() // 1000, deep=deep)
    if as_json:
        echo_json({"is_healthy": not found, "findings": found})
    elif not found:
        click.echo(f"{click.style('healthy', fg='green', bold=True)}: nothing to tell")
    else:
        count = f"{len(found):,} thing{'' if len(found) == 1 else 's'} to look at"
        click.echo(f"{click.style('unhealthy', fg='red', bold=True)}: {count}")
        echo_problems(found)
    if found:
        ctx.exit(FAILED)


def echo_problems(problems: Sequence[str]) -> None:
    """Print sentences, one a line; of very many the first ones."""
    for problem in problems[:_PROBLEMS_SHOWN]:
        click.echo(f"  {printable(problem)}")
    if len(problems) > _PROBLEMS_SHOWN:
        click.echo(f"  … and {len(problems) - _PROBLEMS_SHOWN:,} more; see all with --json")
