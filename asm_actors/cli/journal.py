"""`asm journal`: look a journal over, keep it small and sound, move it. Its commands stand in files of their own."""

from __future__ import annotations

import click

from asm_actors.cli.journal_keep import backup, compact, migrate, repair
from asm_actors.cli.journal_look import health, stats, verify
from asm_actors.cli.journal_prune import prune
from asm_actors.cli.journal_transfer import export, import_

__all__ = ["journal"]


@click.group(short_help="Check, prune, back up, export or import a journal.")
def journal() -> None:
    """Look a journal over, keep it small and sound, move it.

    verify, stats, health, backup and export only read, and may run while another process writes. The others need the
    journal for themselves, and name the process that holds it.
    """


for _command in (verify, stats, health, prune, repair, backup, compact, migrate, export, import_):
    journal.add_command(_command)
