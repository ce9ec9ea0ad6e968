"""A session on its way into a journal, as much of it as has been read and not written. Pure."""

from __future__ import annotations

from attrs import define, field

from asm_actors.events import EventType
from asm_actors.journal.append import Draft
from asm_actors.maintenance.artifact import Artifact
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = ["Incoming"]


@define
class Incoming:
    """See the module."""

    session: Session
    line: int
    head: int
    written: int
    """Its last sequence number that is in the journal."""
    is_staged: bool = False
    drafts: list[Draft] = field(factory=list)
    holes: list[int] = field(factory=list)
    runs: list[Run] = field(factory=list)
    open_runs: list[Run] = field(factory=list)
    """Open ones that have their places in the journal already, as if they were over."""
    artifacts: list[Artifact] = field(factory=list)
    n_runs: int = 0
    n_open: int = 0
    n_events: int = 0

    def fill(self, upto: int) -> None:
        """Put something in the places of missing events, to be pruned later: a place must have been taken once."""
        for sequence in range(self.head + 1, upto):
            self.holes.append(sequence)
            self.drafts.append(Draft(EventType.MESSAGE_STREAMED, self.session.created_us))
        self.head = max(self.head, upto - 1)
