"""`asm journal export` and `asm journal import`: a journal as JSON Lines."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import IO

import attrs
import click

from asm_actors.cli.common import echo_json, hint, json_option, open_for_reading
from asm_actors.cli.locating import journal_option
from asm_actors.cli.working import open_for_writing, showing, step_shower
from asm_actors.maintenance.export import export_to
from asm_actors.maintenance.hands import Alone, AloneSurroundings
from asm_actors.maintenance.imports import import_from
from asm_actors.redaction.making import redactor_of

__all__ = ["export", "import_"]


def _or_stream(path: str, stream: IO[str]) -> Path | IO[str]:
    return stream if path == "-" else Path(path)


@click.command()
@click.argument("path", type=click.Path(allow_dash=True))
@journal_option
@click.option("--session", metavar="ID", help="Only this session.")
@click.option(
    "--with-parents", is_flag=True, help="Before a forked SESSION also those whose history it shares."
)
@json_option
def export(path: str, journal: Path, session: str | None, with_parents: bool, as_json: bool) -> None:
    """Write the journal, or one session, to PATH as JSON Lines; compressed if PATH ends in .gz.

    Works also while another process writes. A PATH of - writes to standard output:

    \b
        asm journal export var/all.jsonl.gz
        asm journal export --session ses_… - | jq .type
    """  # noqa: D301 - click's mark before lines that are kept as they are
    with open_for_reading(journal) as store, showing("exporting", "sessions") as show:
        report = export_to(
            store,
            _or_stream(path, sys.stdout),
            time.time_ns() // 1000,
            session_id=session,
            with_parents=with_parents,
            progress=step_shower(show),
        )
    if path == "-":
        return
    if as_json:
        echo_json(attrs.asdict(report))
    else:
        click.echo(
            f"{report.path}: {report.sessions:,} sessions, {report.runs:,} runs, {report.events:,} events"
        )


@click.command("import")
@click.argument("path", type=click.Path(allow_dash=True))
@journal_option
@click.option("--skip-existing", is_flag=True, help="Leave sessions as they are that are there already.")
@click.option("--as-is", is_flag=True, help="Take no secrets out of what comes in.")
@json_option
def import_(path: str, journal: Path, skip_existing: bool, as_is: bool, as_json: bool) -> None:
    """Bring what asm journal export wrote to PATH into a journal, which may be new.

    Ids, sequence numbers and times stay as they were. A session comes in wholly or not at all; what is wrong with a
    line ends the import there. A PATH of - reads standard input.

    \b
        asm journal import var/all.jsonl.gz --journal var/copy
    """  # noqa: D301 - click's mark before lines that are kept as they are
    with open_for_writing(journal, may_be_new=True) as store, showing("importing", "sessions") as show:
        report = import_from(
            Alone(store),
            _or_stream(path, sys.stdin),
            AloneSurroundings(),
            on_conflict="skip" if skip_existing else "error",
            progress=step_shower(show),
            redactor=redactor_of(not as_is, (), os.environ),
        )
    if as_json:
        echo_json(attrs.asdict(report))
        return
    skipped = f", {report.skipped:,} sessions were there already" if report.skipped else ""
    click.echo(
        f"{report.sessions:,} sessions, {report.runs:,} runs, {report.events:,} events are in {journal}{skipped}"
    )
    if report.open_runs:
        click.echo(
            f"{report.open_runs:,} of the runs are open: the next start of a system takes them up; "
            f"see them with: {hint('runs --open', journal)}",
            err=True,
        )
