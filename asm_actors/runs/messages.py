"""What a run's actor accepts, and what it tells its session.

Callers send `CancelRun` to a run's handle; the other commands come from the session, the provider and timers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from asm_actors.errors import AsmError
    from asm_actors.journal.append import Draft
    from asm_actors.runs.run import Run

__all__ = [
    "CancelRun",
    "DeadlineReached",
    "DenyApproval",
    "Durable",
    "GrantApproval",
    "RunAppends",
    "RunBarrier",
    "RunEnded",
    "RunWaits",
]


class CancelRun(NamedTuple):
    """Withdraw a run. Asking a run that is over changes nothing; the answer is the run's final record."""

    reason: str | None = None
    """Why, for the journal."""
    run_id: str | None = None
    """Which run; a run's handle fills it in."""


class GrantApproval(NamedTuple):
    """Let a call of a tool that somebody was asked about be made (again). Answer: the `Run`.

    A second decision about a call changes nothing. One that nobody asked for is refused with ``invalid_operation``.
    """

    run_id: str | None = None
    """Which run; a run's handle fills it in."""
    tool_call_id: str = ""
    """Which call."""
    by: str | None = None
    """Who decides, for the journal."""
    reason: str | None = None
    """Why, for the journal."""


class DenyApproval(NamedTuple):
    """Have a call not made (again): the model is told, or a run that would begin again ends.

    Otherwise as `GrantApproval`.
    """

    run_id: str | None = None
    """Which run; a run's handle fills it in."""
    tool_call_id: str = ""
    """Which call."""
    by: str | None = None
    """Who decides, for the journal."""
    reason: str | None = None
    """Why, for the journal."""


class DeadlineReached(NamedTuple):
    """From the session's timer: the run's own deadline has come."""

    run_id: str
    """Which run."""


class Durable(NamedTuple):
    """From the journal: events of this run are durable; the run may go on."""

    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    """How many events."""


class RunAppends(NamedTuple):
    """To the session: events of a run that goes on."""

    run_id: str
    """Which run."""
    drafts: Sequence[Draft]
    """Its events, in order."""
    run: Run | None
    """Its new record, if it changed."""
    acknowledge: int
    """How many events a `Durable` shall tell of; 0: none is wanted."""


class RunBarrier(NamedTuple):
    """To the session: tell the run (`Durable` of nothing) when all is durable that was written before this."""

    run_id: str
    """Which run."""


class RunWaits(NamedTuple):
    """To the session: no slot is free, the run stands in line for one."""

    run_id: str
    """Which run."""


class RunEnded(NamedTuple):
    """To the session, once: the last events of a run and its final record."""

    run_id: str
    """Which run."""
    drafts: Sequence[Draft]
    """The last events; the last of them is the terminal one."""
    run: Run
    """The final record."""
    error: AsmError | None
    """What those who wait for the result get raised; None if the run completed."""
    facts: dict[str, Any]
    """What the session keeps of it: the provider's own session id and model."""
