"""The values with which a session's core keeps its open runs. Pure."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

from attrs import define

from asm_actors.errors import AsmError
from asm_actors.events import EventType
from asm_actors.journal.append import EMPTY, Draft
from asm_actors.policies.approvals import ApprovalBook
from asm_actors.runs.request import correlation_of
from asm_actors.runs.resumption import Progress
from asm_actors.runs.run import Run
from asm_actors.runs.unfinished import ENDING
from asm_actors.sessions.session import Session, SessionStatus

__all__ = [
    "PAUSE",
    "SUPERSEDED",
    "Closing",
    "DurableFor",
    "Ended",
    "MayStandStill",
    "Phase",
    "RunCrashed",
    "RunEntry",
    "run_draft",
]


SUPERSEDED: Final = "superseded"
"""Key in a run's ``details``: it is to end, for another one took its place, which is over by now; ``by rolls_back``.
While that one is open its own record says so (`sessions.second_run`)."""
PAUSE: Final = "pause"
"""Key in a run's ``details``: that it is to stand still, or stands still; whose wish that is, and why."""


class Phase(Enum):
    """Where an open run stands in its session.

    Created: nobody has asked for its execution. Queued: it waits for its turn. Started: it has an actor. Recovering:
    its actor crashed, and how far it had come is being read; it still counts as started. Held: it waits for somebody
    outside, without an actor and without a slot (`sessions.holding`); the journal has all of it.
    """

    CREATED = "created"
    QUEUED = "queued"
    STARTED = "started"
    RECOVERING = "recovering"
    HELD = "held"


@define
class RunEntry:
    """One open run."""

    run: Run
    phase: Phase
    waiters: list[Any] | None = None
    """Askers who get the result."""
    cancels: list[Any] | None = None
    """Askers who get the final record."""
    has_deadline: bool = False
    is_recorded: bool = True
    """Whether `run` is in the journal as it is here."""
    stopping: Any = None
    """What its actor was told to end it."""
    superseded: dict[str, Any] | None = None
    """What its record says of that (`SUPERSEDED`)."""
    has_crashed_stopping: bool = False
    """Whether an actor crashed that was told so."""
    progress: Progress | None = None
    """How far it had come, until it has an actor again."""
    life: int = 0
    """How many actors it has had: what an earlier one asked to hear is nothing to a later one."""
    pausing: dict[str, Any] | None = None
    """That it is to stand still at its next turn boundary: ``scope``, ``reason``, ``by`` (`sessions.pausing`)."""
    steering: dict[int, Any] | None = None
    """Askers whose input into its turn is on its way, by a name for each."""
    book: ApprovalBook | None = None
    """What somebody was asked about its calls, and what was decided."""
    approval: dict[str, Any] | None = None
    """What somebody is to be asked when it is cancelled for that (`cancel_for_approval`)."""
    is_cut: bool = False
    """Whether it was taken up again: if it stands still since, the stream of its earlier life may still be open."""
    decided: dict[str, str] | None = None
    """By id of a call that somebody was asked about: ``requested``, ``granted`` or ``denied``."""

    @property
    def is_ending(self) -> bool:
        """Whether it was told to end, or is over but for its files: nothing lets it go on any more."""
        return self.stopping is not None or ENDING in self.run.details

    def noted(self, run: Run) -> Run:
        """A record of the run as the journal keeps it: with its successor, and the pause wished for it alone."""
        if self.superseded is not None:
            run = run.replace(details={**run.details, SUPERSEDED: self.superseded})
        if self.pausing is None or self.pausing["scope"] != "run":
            return run
        return run.replace(details={**run.details, PAUSE: self.pausing})

    def wait(self, reply: Any) -> None:
        """Have the result told to one more asker."""
        if reply is not None:
            if self.waiters is None:
                self.waiters = []
            self.waiters.append(reply)

    def wait_for_end(self, reply: Any) -> None:
        """Have the final record told to one more asker."""
        if reply is not None:
            if self.cancels is None:
                self.cancels = []
            self.cancels.append(reply)


@define
class Closing:
    """The session ends like this as soon as its open runs have."""

    status: SessionStatus
    draft_type: EventType
    data: dict[str, Any]
    askers: list[Any]
    is_told: bool = False
    """Whether its runs are being ended for that."""


class Ended:
    """Note of a session's core to itself: the session's end is durable."""


class DurableFor:
    """Note of a session's core to itself: events of a run are durable; passed on to the actor that wrote them."""

    __slots__ = ("count", "life", "run_id")

    def __init__(self, run_id: str, count: int, life: int = 1) -> None:
        self.run_id = run_id
        self.count = count
        self.life = life


class MayStandStill:
    """Note of a session's core to itself: a run that is to stand still waits for nothing else any more."""

    __slots__ = ("run_id",)

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id


class RunCrashed:
    """From the shell: the actor of a run died without a `RunEnded`."""

    __slots__ = ("error", "run_id")

    def __init__(self, run_id: str, error: AsmError) -> None:
        self.run_id = run_id
        self.error = error


def run_draft(session: Session, run: Run, kind: EventType, now: int, data: dict[str, Any]) -> Draft:
    """An event that the session writes for one of its runs."""
    provider = run.provider or session.provider
    return Draft(kind, now, run.id, data, EMPTY, provider, correlation_of(session, run))
