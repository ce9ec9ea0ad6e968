"""What a session's actor accepts. Each is also a method of the session manager and of a session's handle.

An ask is answered when what it asked for is durable. What the present state forbids raises an `AsmError` at the
asker and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from asm_actors.journal.append import EMPTY
from asm_actors.runs.messages import (
    CancelRun,
    DenyApproval,
    GrantApproval,
    InterruptRun,
    PauseRun,
    ResumeRun,
    SteerRun,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from asm_actors.capabilities.resolver import CapabilityResolver
    from asm_actors.errors import AsmError
    from asm_actors.runs.resumption import Progress
    from asm_actors.runs.run import Run
    from asm_actors.sessions.session import Session

__all__ = [
    "ActivateSession",
    "AwaitRun",
    "CancelRun",
    "CancelSession",
    "CompleteSession",
    "CreateRun",
    "CreateSession",
    "DeleteSession",
    "DenyApproval",
    "ExecuteRun",
    "FailSession",
    "ForkSession",
    "GetSession",
    "GetStatus",
    "GrantApproval",
    "InterruptRun",
    "InterruptSession",
    "PauseRun",
    "PauseSession",
    "ProgressLoaded",
    "QueueRun",
    "Recover",
    "RecoverRun",
    "ResumeRun",
    "ResumeSession",
    "RunLoaded",
    "RunOnce",
    "SessionLoaded",
    "SlotGranted",
    "SlotRefused",
    "SteerRun",
    "SubmitRun",
    "UpdateSessionLimits",
]


class CreateSession(NamedTuple):
    """Make the session durable; first message of a new one. Answer: the `Session`."""

    session: Session
    """Its record, pending."""


class GetSession(NamedTuple):
    """Answer: the `Session` as it is now."""


class GetStatus(NamedTuple):
    """Answer: a map that tells what runs and what waits (see `SessionManager.status`)."""

    subscribers: int = 0
    """How many read the session's events now; filled in on the way."""


class UpdateSessionLimits(NamedTuple):
    """Change limits of the session; None: as it is. Answer: the `Session`."""

    max_concurrent_runs: int | None = None
    """Runs that may execute at once."""
    max_queued_runs: int | None = None
    """Runs that may wait."""
    second_run: str | None = None
    """What becomes of a run that comes while others take all places."""
    priority: int | None = None
    """Of its runs."""


class ActivateSession(NamedTuple):
    """Make a pending (or paused) session active; takes a session slot. Answer: the `Session`."""


class PauseSession(NamedTuple):
    """Start no run until resumed, have those under way stand still; frees the session slot. Answer: the `Session`."""

    reason: str | None = None
    """Why, for the journal."""
    by: str | None = None
    """Who wants it, for the journal."""


class ResumeSession(NamedTuple):
    """Make a paused session active again; the runs that its pause holds go on. Answer: the `Session`."""

    reason: str | None = None
    """Why, for the journal."""
    by: str | None = None
    """Who wants it, for the journal."""


class CompleteSession(NamedTuple):
    """End the session well. Answer: the `Session`."""

    cancel_runs: bool = False
    """Cancel open runs first; without it they make this `invalid_operation`."""


class FailSession(NamedTuple):
    """End the session with an error, cancelling its open runs. Answer: the `Session`."""

    error: AsmError
    """Why."""


class CancelSession(NamedTuple):
    """Withdraw the session, cancelling its open runs. Answer: the `Session`."""

    reason: str | None = None
    """Why, for the journal."""
    by: str | None = None
    """Who wants it, for the journal."""


class InterruptSession(NamedTuple):
    """Interrupt all runs that are to be executed; the session goes on. Answer, when they are over: the runs, by id."""

    reason: str | None = None
    """Why, for the journal."""
    by: str | None = None
    """Who wants it, for the journal."""


class DeleteSession(NamedTuple):
    """Hide the session, which must not have open runs; it starts no new ones. Answer: the `Session`."""

    reason: str | None = None
    """Why, for the journal."""


class ForkSession(NamedTuple):
    """Make a session that begins with this one's history; see `SessionManager.fork_session`. Answer: the new `Session`.

    For handles: a session is never asked itself, since it may be over and another one is made.
    """

    at: int | None = None
    """Sequence number of the last event that is shared; None: of this session's last one."""
    id: str | None = None
    """The new session's id, if the caller chooses it."""
    agent_id: str | None = None
    """Another agent; None here, and below: as this session has it."""
    provider: str | None = None
    """Another provider."""
    context: Mapping[str, Any] | None = None
    """Another context."""
    metadata: Mapping[str, Any] | None = None
    """Other facts."""
    tags: Iterable[str] | None = None
    """Other labels."""
    idempotency_key: str | None = None
    """A repeated fork with the same key gives the same session."""
    options: Mapping[str, Any] | None = None
    """What it says about its runs: `SessionOptions`, one by one in the place of what this session says."""


class CreateRun(NamedTuple):
    """Make a run durable without executing it. Answer: the `Run`."""

    run: Run
    """Its record, pending."""
    wanted: CapabilityResolver | None = None
    """Capabilities which its provider must have, or may lack; None: none are asked for."""


class ExecuteRun(NamedTuple):
    """Execute a run that was created, in its turn. Answer, when it is over: its `RunResult`."""

    run_id: str
    """Which run."""
    deadline_s: float | None = None
    """Seconds it may take in all, from now."""
    options: dict[str, Any] | None = None
    """More options of the execution, merged over those of the run."""


class SubmitRun(NamedTuple):
    """Create a run and put it in the queue. Answer: the `Run`, as soon as it is durable."""

    run: Run
    """Its record, pending."""
    deadline_s: float | None = None
    """Seconds it may take in all, from now."""
    wanted: CapabilityResolver | None = None
    """As for `CreateRun`."""


class QueueRun(NamedTuple):
    """Put a run that was created in the queue. Answer: the `Run`, as soon as that is durable."""

    run_id: str
    """Which run."""
    deadline_s: float | None = None
    """Seconds it may take in all, from now."""


class AwaitRun(NamedTuple):
    """Answer, when the run is over: its `RunResult`; a run that ended otherwise raises its error."""

    run_id: str
    """Which run."""


class RunOnce(NamedTuple):
    """Create and activate this session, execute one run, complete the session. Answer: the `RunResult`.

    If the run ends otherwise, the session fails (or is cancelled) with it and the asker gets the run's error.
    """

    session: Session
    """The session's record, pending."""
    run: Run
    """The run's record, pending."""
    deadline_s: float | None = None
    """Seconds the run may take in all, from now."""


class Recover(NamedTuple):
    """To the supervisor of the sessions: start the actors of these; the journal holds open runs of them."""

    session_ids: tuple[str, ...]
    """Which ones."""
    cause: AsmError | None = None
    """What ended their last lives, if it was in this process."""


class SlotGranted(NamedTuple):
    """From the slot pool: the slot is held."""

    pool: str
    """Which pool."""


class SlotRefused(NamedTuple):
    """From the slot pool: no slot is free."""

    pool: str
    """Which pool."""
    in_use: int
    """How many are held of the one that is full."""
    limit: int | None = None
    """How many it has."""
    full: Hashable = "sessions"
    """Key of the pool that is full: that of all sessions, or that of an agent or a tenant."""


class RunLoaded(NamedTuple):
    """From the actor's own read: the record which an earlier message needs."""

    run: Run | None
    """The record; None if there is no such run."""
    message: Any
    """The message that needs it."""
    reply: Any
    """The token of its asker."""


class RecoverRun(NamedTuple):
    """Of the core to itself, with `LoadRun`: read how far a run had come whose actor crashed."""

    run_id: str
    """Which run."""
    cause: AsmError
    """How it crashed."""


class ProgressLoaded(NamedTuple):
    """From the actor's own read: how far a run had come whose actor crashed."""

    run_id: str
    """Which run."""
    progress: Progress | None
    """How far; None if it could not be read."""
    cause: AsmError
    """How its actor crashed, or why it could not be read."""


class SessionLoaded(NamedTuple):
    """From the actor's own read at its start: what the journal holds of this session."""

    session: Session
    """The record."""
    runs: tuple[Run, ...]
    """Its runs that are not over, oldest first."""
    cause: AsmError | None = None
    """What ended the session's last life, if it was in this process."""
    progress: Mapping[str, Progress] = EMPTY
    """By id of a run: how far it had come, as far as its record does not tell that itself."""
