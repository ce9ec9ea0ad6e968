"""`asm journal repair`, `backup`, `compact`, `migrate`: what happens to the files of a journal."""

from __future__ import annotations

from pathlib import Path

import attrs
import click

from asm_actors.cli.common import (
    FAILED,
    echo_json,
    failure_of,
    hint,
    json_option,
    open_for_reading,
)
from asm_actors.cli.journal_look import echo_problems
from asm_actors.cli.locating import journal_option
from asm_actors.cli.working import check_is_there, open_for_writing, showing
from asm_actors.errors import AsmError
from asm_actors.journal.lmdb_migrate import migrate as migrate_journal
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.store_maintenance import RepairReport

__all__ = ["backup", "compact", "migrate", "repair"]


@click.command()
@journal_option
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@json_option
@click.pass_context
def repair(ctx: click.Context, journal: Path, dry_run: bool, as_json: bool) -> None:
    """Set right what can be set right, and tell what cannot.

    Damaged bytes are set aside first. Ends with exit code 1 if something is lost or stays wrong. Begin with:

    \b
        asm journal repair --dry-run
    """  # noqa: D301 - click's mark before lines that are kept as they are
    check_is_there(journal)
    store = LmdbStore(journal)
    try:
        with showing("repairing", "steps") as show:
            report = store.repair(show, dry_run=dry_run)
    except AsmError as error:
        raise failure_of(error, journal) from error
    finally:
        store.close()
    if as_json:
        echo_json(attrs.asdict(report))
    else:
        _echo_repair(report, journal)
    if report.unmended or report.lost:
        ctx.exit(FAILED)


def _echo_repair(report: RepairReport, journal: Path) -> None:
    if not (report.mended or report.unmended or report.lost):
        click.echo(f"{click.style('sound', fg='green', bold=True)}: nothing to repair")
        return
    if report.mended:
        click.echo(f"{'would be mended' if report.dry_run else 'mended'}: {len(report.mended):,}")
        echo_problems(report.mended)
    if report.unmended:
        click.echo(f"{click.style('cannot be mended', fg='red', bold=True)}: {len(report.unmended):,}")
        echo_problems(report.unmended)
    if report.lost:
        click.echo(f"{click.style('lost', fg='red', bold=True)}: {len(report.lost):,}")
        echo_problems(
            [
                f"{lost.session_id or 'an unknown session'}: events {lost.first_sequence} to {lost.last_sequence}:"
                f" {lost.reason}"
                for lost in report.lost
            ]
        )
    if report.quarantine is not None:
        click.echo(f"the damaged bytes are kept in {report.quarantine}")
    if report.dry_run:
        click.echo(f"nothing was changed; repair with: {hint('journal repair', journal)}", err=True)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@journal_option
@click.option("--compact/--no-compact", default=True, help="Leave free pages out; slower, smaller.")
@json_option
def backup(path: Path, journal: Path, compact: bool, as_json: bool) -> None:
    """Copy the journal as it is now to PATH, a directory that is not there yet.

    Works also while another process writes. The copy is a journal like any other:

    \b
        asm journal backup var/backup-1
        asm journal verify --journal var/backup-1
    """  # noqa: D301 - click's mark before lines that are kept as they are
    with open_for_reading(journal) as store, showing("copying", "bytes") as show:
        report = store.backup(path, show, compact=compact)
    if as_json:
        echo_json(attrs.asdict(report))
    else:
        click.echo(
            f"{report.path}: {report.bytes:,} bytes, {report.sessions:,} sessions, {report.runs:,} runs,"
            f" up to position {report.last_position:,}"
        )


@click.command()
@journal_option
@json_option
def compact(journal: Path, as_json: bool) -> None:
    """Give the space of what was deleted back to the file system.

    It needs room for a second copy while it works.
    """
    with open_for_writing(journal) as store, showing("compacting", "bytes") as show:
        report = store.compact(show)
    if as_json:
        echo_json({**attrs.asdict(report), "bytes_freed": report.bytes_freed})
    else:
        click.echo(
            f"{report.bytes_before:,} bytes before, {report.bytes_after:,} now: {report.bytes_freed:,} are free"
        )


@click.command()
@journal_option
@json_option
def migrate(journal: Path, as_json: bool) -> None:
    """Bring a journal of an earlier layout to the one of this release.

    One that has it already stays as it is. Take a backup first: cp -r of a journal that nobody writes is one.
    """
    check_is_there(journal)
    try:
        with showing("migrating", "steps") as show:
            report = migrate_journal(journal, show)
    except AsmError as error:
        raise failure_of(error, journal) from error
    found = attrs.asdict(report)
    if as_json:
        echo_json(found)
    else:
        click.echo(", ".join(f"{name}: {value}" for name, value in found.items()))
