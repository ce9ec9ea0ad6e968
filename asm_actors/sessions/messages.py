"""What a session's actor accepts. Each is also a method of the session manager and of a session's handle.

An ask is answered when what it asked for is durable. What the present state forbids raises an `AsmError` at the
asker and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from asm_actors.runs.messages import CancelRun

if TYPE_CHECKING:
    from asm_actors.capabilities.resolver import CapabilityResolver
    from asm_actors.errors import AsmError
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
    "ExecuteRun",
    "FailSession",
    "GetSession",
    "GetStatus",
    "PauseSession",
    "Recover",
    "ResumeSession",
    "RunLoaded",
    "RunOnce",
    "SessionLoaded",
    "SlotGranted",
    "SlotRefused",
    "SubmitRun",
]


class CreateSession(NamedTuple):
    """Make the session durable; first message of a new one. Answer: the `Session`."""

    session: Session
    """Its record, pending."""


class GetSession(NamedTuple):
    """Answer: the `Session` as it is now."""


class GetStatus(NamedTuple):
    """Answer: a map that tells what runs and what waits (see `SessionManager.status`)."""


class ActivateSession(NamedTuple):
    """Make a pending (or paused) session active; takes a session slot. Answer: the `Session`."""


class PauseSession(NamedTuple):
    """Start no new run until resumed; frees the session slot. Answer: the `Session`."""

    reason: str | None = None
    """Why, for the journal."""


class ResumeSession(NamedTuple):
    """Make a paused session active again. Answer: the `Session`."""


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
    """How many are held."""


class RunLoaded(NamedTuple):
    """From the actor's own read: the record which an earlier message needs."""

    run: Run | None
    """The record; None if there is no such run."""
    message: Any
    """The message that needs it."""
    reply: Any
    """The token of its asker."""


class SessionLoaded(NamedTuple):
    """From the actor's own read at its start: what the journal holds of this session."""

    session: Session
    """The record."""
    runs: tuple[Run, ...]
    """Its runs that are not over, oldest first."""
    cause: AsmError | None = None
    """What ended the session's last life, if it was in this process."""
