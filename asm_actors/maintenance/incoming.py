"""A session on its way into a journal, as much of it as has been read and not written. Pure."""

from __future__ import annotations

from attrs import define, field

from asm_actors.errors import AsmError
from asm_actors.events import Event, EventType
from asm_actors.journal.append import Draft
from asm_actors.maintenance.artifact import Artifact
from asm_actors.maintenance.lines import at_line
from asm_actors.redaction.naming import check_artifact, check_record
from asm_actors.redaction.redactor import Redactor
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = ["Incoming", "check_incoming"]


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


def check_incoming(redactor: Redactor, value: object, line: int) -> None:
    """Refuse a secret in a name: names are stored as they are.

    Args:
        redactor: The system's.
        value: What a line holds.
        line: Its number.

    Raises:
        ValidationError: There is one; the error names the line, and does not show it.
    """
    try:
        if isinstance(value, Session | Run):
            check_record(redactor, value, has_chosen_id=True)
        elif isinstance(value, Event):
            redactor.check_names(id=value.id, run_id=value.run_id, provider=value.provider)
        elif isinstance(value, Artifact):
            redactor.check_name(value.id, "id")
            check_artifact(redactor, key=value.key, backend=value.storage_backend, ref=value.storage_ref)
    except AsmError as error:
        raise at_line(line, error) from None
