"""Effects: what a pure core wants done, as values; its shell does it.

A core's step returns a list of these and never acts itself. They are few and closed: new behaviour belongs into a
core, not into a new effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from asm_actors.errors import AsmError
    from asm_actors.journal.append import Draft
    from asm_actors.runs.resumption import Progress
    from asm_actors.runs.run import Run
    from asm_actors.sessions.session import Session

__all__ = [
    "AcquireSlot",
    "CallTool",
    "CancelTimer",
    "Effect",
    "Finish",
    "Leave",
    "LoadRun",
    "Note",
    "Prepare",
    "Refuse",
    "ReleaseSlot",
    "Reply",
    "SetTimer",
    "StartRun",
    "StopTools",
    "StopWork",
    "Then",
    "ToProvider",
    "ToRun",
    "ToSession",
    "Write",
]


class Reply(NamedTuple):
    """Answer an asker."""

    to: Any
    """The asker's token; None if nobody waits."""
    value: Any
    """The answer."""


class Refuse(NamedTuple):
    """Answer an asker with an error."""

    to: Any
    """The asker's token; None if nobody waits."""
    error: AsmError
    """What it gets raised."""


class Note(NamedTuple):
    """Send the actor itself a message."""

    message: Any
    """The message."""


Then: TypeAlias = Reply | Refuse | Note
"""What may follow a write, once it is durable."""


class Write(NamedTuple):
    """Append to the journal: events and the records they lead to, in one transaction."""

    drafts: Sequence[Draft]
    """The events; with no events and no records it is a barrier behind all earlier writes."""
    session: Session | None = None
    """The session's new record, if it changed."""
    runs: Sequence[Run] = ()
    """New records of runs."""
    then: Sequence[Then] = ()
    """What follows when it is durable; if it cannot be made so, each asker in it gets the error."""


class StartRun(NamedTuple):
    """Start the actor of a run."""

    run: Run
    """Its record."""
    progress: Progress | None = None
    """How far it had come, if it is taken up again; None: it begins with its input."""
    head: int = 0
    """Sequence number of its session's last event: its own events come after that."""


class ToRun(NamedTuple):
    """Send a message to the actor of a run."""

    run_id: str
    """Which run."""
    message: Any
    """The message."""


class ToSession(NamedTuple):
    """Send a notice up to the session's actor."""

    message: Any
    """The notice."""


class ToProvider(NamedTuple):
    """Send a message to the provider's actor."""

    message: Any
    """The message."""


class CallTool(NamedTuple):
    """Call a tool of the host; its end comes as a notice (`ToolEnded`)."""

    call_id: str
    """The provider's id of the call."""
    name: str
    """The tool."""
    input: dict[str, Any]
    """The arguments."""


class StopTools(NamedTuple):
    """Cancel the calls of tools that are under way; the answer comes as a notice (`ToolsStopped`)."""

    run_id: str
    """Whose calls."""


class Prepare(NamedTuple):
    """Get ready what a run needs before its provider is asked; its end comes as a notice (`Prepared`)."""

    run: Run
    """Its record; its options and details say what it needs and what is there."""
    upto: int
    """Sequence number of the last event of its session that came before it."""
    mode: str | None = None
    """How it goes on from the conversation before it, if that is not to be as its options say."""
    reason: str | None = None
    """Why not, for its record."""


class Finish(NamedTuple):
    """Do what is left to be done after a run; its end comes as a notice (`Finished`)."""

    run: Run
    """Its record; its details say what is there."""
    is_completed: bool
    """Whether its model had come to an answer."""
    releases: bool
    """Whether only what is not needed any more is to be given back; all else is done."""


class StopWork(NamedTuple):
    """Have what `Prepare` or `Finish` began stopped as soon as it can be; its notice comes nevertheless."""

    run_id: str
    """Whose work."""


class LoadRun(NamedTuple):
    """Read a run's record from the store, then handle `message` with it (as `RunLoaded`)."""

    run_id: str
    """Which run."""
    message: Any
    """The message that needs the record."""
    reply: Any
    """The token of its asker."""


class AcquireSlot(NamedTuple):
    """Ask for a slot of a pool; the answer comes as a message."""

    pool: str
    """Which pool."""
    wait: bool = False
    """Whether to stand in line if none is free."""


class ReleaseSlot(NamedTuple):
    """Give a slot back while living on."""

    pool: str
    """Which pool."""


class SetTimer(NamedTuple):
    """Have a message delivered later."""

    key: str
    """Name of the timer; setting it again replaces it."""
    delay_s: float
    """Seconds from now."""
    message: Any
    """The message."""


class CancelTimer(NamedTuple):
    """Take a timer back; unknown ones are no error."""

    key: str
    """Name of the timer."""


class Leave(NamedTuple):
    """End the actor in good order."""


Effect: TypeAlias = (
    Reply
    | Refuse
    | Note
    | Write
    | StartRun
    | ToRun
    | ToSession
    | ToProvider
    | LoadRun
    | CallTool
    | StopTools
    | Prepare
    | Finish
    | StopWork
    | AcquireSlot
    | ReleaseSlot
    | SetTimer
    | CancelTimer
    | Leave
)
"""Everything a core may want."""
