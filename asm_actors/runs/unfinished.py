"""The record of a run that is over but for what is to be done about its files. Pure.

How it is to end stands in its details meanwhile (`ENDING`), so that a crash changes nothing about it.
"""

from __future__ import annotations

from typing import Final

from asm_actors.journal.append import Draft
from asm_actors.runs.run import Run, RunStatus

__all__ = ["ENDING", "WORKSPACE", "must_finish", "put_off"]

ENDING: Final = "ending"
"""Key in a run's ``details``: how it is to end; ``status event data error``."""
WORKSPACE: Final = "workspace"
"""Key in a run's ``options`` and ``details``: what is to be done about its files, and what is known of them."""


def must_finish(run: Run) -> bool:
    """Whether something is left to be done about the files of a run that ends."""
    return WORKSPACE in run.details and not run.details[WORKSPACE].get("is_finished")


def put_off(run: Run, last: Draft) -> Run:
    """Return the record of a run that is over but for that.

    Args:
        run: Its final record.
        last: Its terminal event.
    """
    ending = {"status": run.status.value, "event": last.type.value, "data": last.data, "error": run.error}
    return run.replace(
        status=RunStatus.PENDING if run.started_us is None else RunStatus.RUNNING,
        error=None,
        ended_us=None,
        details={**run.details, ENDING: ending},
    )
