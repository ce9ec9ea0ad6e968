"""The values with which a session's core keeps its open runs. Pure."""

from __future__ import annotations

from enum import Enum
from typing import Any

from attrs import define

from asm_actors.errors import AsmError
from asm_actors.events import EventType
from asm_actors.journal.append import EMPTY, Draft
from asm_actors.runs.request import correlation_of
from asm_actors.runs.resumption import Progress
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session, SessionStatus

__all__ = ["Closing", "DurableFor", "Ended", "Phase", "RunCrashed", "RunEntry", "run_draft"]


class Phase(Enum):
    """Where an open run stands in its session.

    Created: nobody has asked for its execution. Queued: it waits for its turn. Started: it has an actor. Recovering:
    its actor crashed, and how far it had come is being read; it still counts as started. Held: it waits for a decision
    of somebody outside, without an actor; the journal has all of it.
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
    has_crashed_stopping: bool = False
    """Whether an actor crashed that was told so."""
    progress: Progress | None = None
    """How far it had come, until it has an actor again."""
    decided: dict[str, str] | None = None
    """By id of a call that somebody was asked about: ``requested``, ``granted`` or ``denied``."""

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


class Ended:
    """Note of a session's core to itself: the session's end is durable."""


class DurableFor:
    """Note of a session's core to itself: events of a run are durable; passed on to the run."""

    __slots__ = ("count", "run_id")

    def __init__(self, run_id: str, count: int) -> None:
        self.run_id = run_id
        self.count = count


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
