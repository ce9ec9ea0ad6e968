"""What a run's actor accepts, and what it tells its session.

Callers send `CancelRun` to a run's handle; the other commands come from the session, the provider and timers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from asm_actors.errors import AsmError
    from asm_actors.events import EventType
    from asm_actors.journal.append import Draft
    from asm_actors.runs.resumption import Progress
    from asm_actors.runs.run import Run

__all__ = [
    "INTERRUPTED",
    "ApprovalDecided",
    "CancelForApproval",
    "CancelRun",
    "CompactsFirst",
    "DeadlineReached",
    "DenyApproval",
    "Durable",
    "GrantApproval",
    "HoldRun",
    "InterruptRun",
    "PauseRun",
    "ReleaseRun",
    "ResumeRun",
    "RunAppends",
    "RunAsks",
    "RunBarrier",
    "RunEnded",
    "RunHolds",
    "RunStandsBack",
    "RunSteered",
    "RunSteers",
    "RunWaits",
    "SteerRun",
    "Steering",
    "SteeringDurable",
    "SupersedeRun",
]


ROLLED_BACK: Final = "rolled_back"
"""Key in what the end of a run tells, and in the run's details: it is no part of the conversation any more."""
INTERRUPTED: Final = "interrupted"
"""The reason of a run's end that was interrupted."""


def _told(**facts: str | None) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


class CancelRun(NamedTuple):
    """Withdraw a run. Asking a run that is over changes nothing; the answer is the run's final record."""

    reason: str | None = None
    """Why, for the journal."""
    run_id: str | None = None
    """Which run; a run's handle fills it in."""
    by: str | None = None
    """Who withdraws it, for the journal."""

    @property
    def told(self) -> dict[str, Any]:
        """What the run's end tells of it."""
        return _told(reason=self.reason, by=self.by)


class InterruptRun(NamedTuple):
    """Stop what a run does now, and end it as cancelled, its reason ``interrupted``; otherwise as `CancelRun`."""

    reason: str | None = None
    """Why, for the journal, where it stands as ``note``."""
    run_id: str | None = None
    """Which run; a run's handle fills it in."""
    by: str | None = None
    """Who interrupts it, for the journal."""

    @property
    def told(self) -> dict[str, Any]:
        """What the run's end tells of it."""
        return _told(reason=INTERRUPTED, operation="interrupt", note=self.reason, by=self.by)


class SupersedeRun(NamedTuple):
    """From the session: stop, for another run takes the place of this one; otherwise as `CancelRun`."""

    by_run: str
    """The run that takes its place."""
    run_id: str
    """Which run."""
    rolls_back: bool = False
    """Whether what it was asked and has said is taken out of the conversation, and its files are put back."""

    @property
    def told(self) -> dict[str, Any]:
        """What the run's end tells of it."""
        told: dict[str, Any] = {"reason": f"superseded by {self.by_run}", "superseded_by": self.by_run}
        return {**told, ROLLED_BACK: True} if self.rolls_back else told


class PauseRun(NamedTuple):
    """Have a run stand still at its next turn boundary. Answer, at once: the `Run`; see `SessionManager.pause_run`."""

    reason: str | None = None
    """Why, for the journal."""
    run_id: str | None = None
    """Which run; a run's handle fills it in."""
    by: str | None = None
    """Who wants it, for the journal."""


class ResumeRun(NamedTuple):
    """Have a paused run go on, or a pause that is wished not happen. Answer: the `Run`."""

    reason: str | None = None
    """Why, for the journal."""
    run_id: str | None = None
    """Which run; a run's handle fills it in."""
    by: str | None = None
    """Who wants it, for the journal."""


class SteerRun(NamedTuple):
    """Give more input to the turn that a run's provider answers now. Answer, when that has taken it: the `Run`."""

    input: Any = None
    """A text, ``{"prompt": text}`` or ``{"messages": [one of the user]}``."""
    run_id: str | None = None
    """Which run; a run's handle fills it in."""
    by: str | None = None
    """Whose input it is, for the journal."""


class GrantApproval(NamedTuple):
    """Let a call of a tool that somebody was asked about be made, or made again. Answer: the `Run`.

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
    scope: str = "once"
    """How far it goes: ``once`` for this call, ``run`` or ``session`` for those that are like it, too."""
    tool_input: Mapping[str, Any] | None = None
    """The arguments with which the call shall be made instead; None: as they were asked about."""


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


class CancelForApproval(NamedTuple):
    """Cancel a run in order to ask somebody about a call of a tool; see `SessionManager.cancel_for_approval`.

    Answer: the run's final record.
    """

    approval_data: Mapping[str, Any]
    """What is asked: ``tool_name``, and what else there is to tell."""
    run_id: str | None = None
    """Which run; a run's handle fills it in."""


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


class RunAsks(NamedTuple):
    """As `RunAppends`, of a run that goes on; somebody is asked about a call of it by one of the events."""

    run_id: str
    """Which run."""
    drafts: Sequence[Draft]
    """Its events, in order."""
    run: Run | None
    """Its new record, if it changed."""
    acknowledge: int
    """How many events a `Durable` shall tell of; 0: none is wanted."""


class ApprovalDecided(NamedTuple):
    """From the session: somebody decided about a call, or nobody did in time."""

    run_id: str
    """Which run."""
    call_id: str
    """Which call."""
    type: EventType
    """`tool_approval_granted` or `tool_approval_denied`."""
    data: dict[str, Any]
    """The event's payload."""
    at_us: int
    """When, in microseconds since the epoch."""


class RunBarrier(NamedTuple):
    """To the session: tell the run (`Durable` of nothing) when all is durable that was written before this."""

    run_id: str
    """Which run."""


class CompactsFirst(NamedTuple):
    """To the session, as the last word of a run's actor: the conversation is to be summed up before the run begins."""

    run_id: str
    """Which run."""
    compaction: Run
    """The record of the run that does so, pending; the other's details are to name it (``compaction``)."""


class RunHolds(NamedTuple):
    """To the session, as the last word of a run's actor: the run waits for somebody outside, and gives up its slot."""

    run_id: str
    """Which run."""
    drafts: Sequence[Draft]
    """Its events so far, in order; may be empty."""
    run: Run
    """Its record: ``paused`` or ``awaiting_approval``."""
    progress: Progress
    """How far it has come: what it goes on from."""


class HoldRun:
    """From the session: stand still at the next turn boundary; `RunHolds`, or `RunStandsBack`, answers there."""


class ReleaseRun:
    """From the session: go on at the next turn boundary after all."""


class RunStandsBack(NamedTuple):
    """To the session, as the last word of a run's actor: it was to hold and had not begun; it waits for its turn."""

    run_id: str
    """Which run."""


class Steering(NamedTuple):
    """From the session: input into the turn that is being answered."""

    key: int
    """The session's name for it."""
    message: dict[str, Any]
    """A message of the user, in the form of a request."""
    by: str | None
    """Whose input it is."""


class RunSteers(NamedTuple):
    """To the session: put input into a turn on record, then tell the run (`SteeringDurable`)."""

    run_id: str
    """Which run."""
    drafts: Sequence[Draft]
    """What tells of it."""
    run: Run
    """Its new record."""
    number: int
    """Which input of the run it is, from 1."""


class SteeringDurable(NamedTuple):
    """From the session: an input is on record; it may be handed to the provider."""

    number: int
    """Which input."""


class RunSteered(NamedTuple):
    """To the session: what became of an input."""

    run_id: str
    """Which run."""
    key: int
    """The session's name for it."""
    drafts: Sequence[Draft] = ()
    """What tells that it was not taken."""
    error: AsmError | None = None
    """Why it was not taken; None if it was."""


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
