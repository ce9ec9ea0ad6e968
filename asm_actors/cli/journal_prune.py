"""`asm journal prune`: carry a retention policy out on a journal that no process holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from asm_actors.cli.common import FAILED, Failure, echo_json, json_option
from asm_actors.cli.configured import configuration, read_map
from asm_actors.cli.journal_look import echo_problems
from asm_actors.cli.locating import config_option, journal_alone_option
from asm_actors.cli.text import details
from asm_actors.cli.working import open_for_writing, showing, step_shower
from asm_actors.errors import AsmError
from asm_actors.events import EventType
from asm_actors.maintenance.execution import Execution
from asm_actors.maintenance.file_artifacts import FileArtifactStore
from asm_actors.maintenance.hands import Alone, AloneSurroundings
from asm_actors.maintenance.policy import ESSENTIAL, RetentionPolicy
from asm_actors.sessions.session import SessionStatus

__all__ = ["prune"]

_PRUNABLE = [kind.value for kind in EventType if kind not in ESSENTIAL]
_DAYS = click.IntRange(min=1)


@click.command()
@journal_alone_option
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A TOML or JSON file with the fields of a retention policy, instead of the settings (retention_…); options "
    "below come on top.",
)
@config_option
@click.option("--max-session-age-days", type=_DAYS, help="Hide sessions that were created longer ago.")
@click.option(
    "--max-completed-session-age-days",
    type=_DAYS,
    help="Hide sessions that changed longer ago and are not exempt. Default: 90.",
)
@click.option("--max-events-per-session", type=_DAYS, metavar="N", help="Prune sessions with more events.")
@click.option("--max-total-events", type=_DAYS, metavar="N", help="Prune while the journal has more events.")
@click.option(
    "--hard-delete-after-days", type=_DAYS, help="Delete what was hidden longer ago for good. Default: 30."
)
@click.option(
    "--archive",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Export each session to this directory before something of it goes.",
)
@click.option(
    "--exempt-status",
    "exempt_statuses",
    multiple=True,
    type=click.Choice([status.value for status in SessionStatus]),
    help="Hide no sessions of this status; may be repeated. Default: active, paused.",
)
@click.option(
    "--exempt-tag", "exempt_tags", multiple=True, help="Leave sessions with this tag alone. Default: pinned."
)
@click.option(
    "--prune-first",
    "prune_event_types_first",
    multiple=True,
    type=click.Choice(_PRUNABLE),
    metavar="TYPE",
    help="Prune events of this type before others. Default: message_streamed, token_usage_updated.",
)
@click.option("--batch-size", type=_DAYS, metavar="N", help="Sessions in one step. Default: 100.")
@click.option(
    "--artifacts",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    metavar="DIR",
    help="Where the files of artifacts are, to remove those of sessions that are gone.",
)
@click.option("--dry-run", is_flag=True, help="Only count what would be done.")
@json_option
@click.pass_context
def prune(
    ctx: click.Context,
    /,
    *,
    journal: Path,
    policy_file: Path | None,
    config_file: Path | None,
    archive: Path | None,
    artifacts: Path | None,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Delete old sessions and prune long ones, by a retention policy.

    Old sessions are hidden first (deleted softly), and deleted for good some time later. Only asm journal compact makes
    the file smaller. Ends with exit code 1 if something could not be done.

    \b
        asm journal prune --dry-run
        asm journal prune --policy retention.toml --archive var/archive
        asm journal prune --max-events-per-session 10000 --exempt-tag keep
    """  # noqa: D301 - click's mark before lines that are kept as they are
    try:
        policy = _policy(policy_file, config_file, archive, given)
        files = None if artifacts is None else FileArtifactStore(artifacts)
    except AsmError as error:
        raise Failure(error.message) from error
    with open_for_writing(journal) as store, showing("pruning", "sessions") as show:
        execution = Execution(
            Alone(store), policy, AloneSurroundings(), files, step_shower(show), is_dry_run=dry_run
        )
        report = execution.run()
    if as_json:
        echo_json(report.to_map())
    else:
        shown = report.to_map()
        del shown["errors"], shown["is_dry_run"]
        if dry_run:
            click.echo("nothing was changed; this would be done:", err=True)
        click.echo(details({name: f"{value:,}" for name, value in shown.items()}))
        if report.errors:
            click.echo(f"{click.style('not done', fg='red', bold=True)}: {len(report.errors):,}")
            echo_problems(report.errors)
    if report.errors:
        ctx.exit(FAILED)


def _policy(
    file: Path | None, config_file: Path | None, archive: Path | None, given: dict[str, Any]
) -> RetentionPolicy:
    """Put a policy together: the fields of a file or of the settings, and over them what the command line says."""
    settings = configuration(config_file)[0].retention_policy().to_map()
    fields = settings if file is None else read_map(file, "the policy")
    fields.update({name: value for name, value in given.items() if value not in (None, ())})
    store = None
    if archive is not None:
        store = FileArtifactStore(archive)
        fields["archive_before_prune"] = True
    elif fields.get("archive_before_prune"):
        raise Failure("the policy wants archives: say where they go with --archive DIR")
    return RetentionPolicy.from_map(fields, archive_store=store)
