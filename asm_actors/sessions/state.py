"""The state of a session's core, and the checks that both halves of it share.

The core is the function `sessions.core.step`; its parts are `lifecycle.py` (the session's own status),
`admission.py` (its runs until they start), `run_ends.py` (until they are over) and `recovery.py`. Rules:

1. Every change of the session's status, of its queue, and of who waits for which run happens in these files; the
   status goes through `SESSION_TRANSITIONS`. They know no clock, no ids, no actors: they get `now`, return effects.
2. Refusing changes nothing: a check that raises comes before the first change.
3. Whatever is told to a caller hangs on a `Write` (its `then`), so it is durable first. A no-op answers behind the
   earlier writes.
4. Each run leaves `open` exactly once, with its terminal event in the same step. What comes later for it is late
   and ignored. So a run has one terminal event whatever races.

The state is changed in place by its one owner, the session's actor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

from attrs import define, field, frozen

from asm_actors.config import MAX_RECOVERIES
from asm_actors.effects import Effect, ReleaseSlot, StartRun, Write
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.append import EMPTY
from asm_actors.runs.run import Run
from asm_actors.sessions.open_runs import Closing, Phase, RunEntry
from asm_actors.sessions.queue import RunQueue
from asm_actors.sessions.session import Session, SessionStatus

__all__ = [
    "DEFAULT_RULES",
    "MAX_OPEN_RUNS",
    "SESSIONS_POOL",
    "Handler",
    "Rules",
    "SessionState",
    "check_not_deleted",
    "check_unborn",
    "refusal",
]

SESSIONS_POOL = "sessions"
MAX_OPEN_RUNS = 10_000
"""Runs of one session that may be open, created ones included; a bound on memory, not a limit to plan with."""


Handler: TypeAlias = "Callable[[SessionState, Any, int, Any], list[Effect]]"
"""Handles one kind of message: `(state, message, now, reply) -> effects`."""


class Rules(Protocol):
    """What a system says about the recovery of runs; `Services` is one."""

    @property
    def on_restart(self) -> str:
        """What becomes of a run that was under way, unless it says so itself."""

    @property
    def max_recoveries(self) -> int:
        """How many crashes a run survives."""

    @property
    def default_provider(self) -> str | None:
        """The provider of runs that name none."""

    @property
    def providers(self) -> Mapping[str, Any]:
        """Providers by name; each says whether it is `resumable`."""


@frozen
class _Rules:
    on_restart: str = "resume"
    max_recoveries: int = MAX_RECOVERIES
    default_provider: str | None = None
    providers: Mapping[str, Any] = EMPTY


DEFAULT_RULES: Final[Rules] = _Rules()
"""The rules of a system that says nothing about them."""


@define
class SessionState:
    """All that a live session knows; see the module."""

    session: Session
    """Its record; one without an id until the first message, or the journal, says what it is."""
    max_concurrent: int | None
    """Runs that may execute at once; None: any number."""
    queue: RunQueue
    open: dict[str, RunEntry] = field(factory=dict)
    n_started: int = 0
    activating: list[Any] | None = None
    """Askers who wait for the session slot."""
    once: tuple[Run, float | None, Any] | None = None
    """What `RunOnce` asked for, until the slot is there."""
    closing: Closing | None = None
    completes_after: str | None = None
    """The run whose end completes the session (`RunOnce`)."""
    holds_slot: bool = False
    prelude: Write | None = None
    """What is to be written with the next write."""
    head: int = 0
    """Sequence number of its last event; counted by the shell, which writes."""
    rules: Rules = DEFAULT_RULES
    """How runs are recovered."""

    @property
    def may_start(self) -> bool:
        """Whether one more run may start now."""
        return (
            (self.max_concurrent is None or self.n_started < self.max_concurrent)
            and self.session.status is SessionStatus.ACTIVE
            and self.holds_slot
            and self.closing is None
        )

    def start(self, entry: RunEntry) -> Effect:
        """Start a run, or go on with one that is taken up again."""
        entry.phase = Phase.STARTED
        self.n_started += 1
        progress, entry.progress = entry.progress, None
        return StartRun(entry.run, progress, self.head)

    def start_next(self) -> list[Effect]:
        """Start as many of the waiting runs as may run, oldest first."""
        effects: list[Effect] = []
        while self.may_start and (run_id := self.queue.dequeue()) is not None:
            effects.append(self.start(self.open[run_id]))
        return effects

    def release_slot(self) -> list[Effect]:
        """Give the session slot back, if it is held."""
        if not self.holds_slot:
            return []
        self.holds_slot = False
        return [ReleaseSlot(SESSIONS_POOL)]

    def check_not_closing(self) -> None:
        """Refuse while the session is about to end.

        Raises:
            ConcurrencyError: ``invalid_operation``.
        """
        if self.closing is not None:
            raise refusal(self, f"change it: it is about to end as {self.closing.status.value}")


def refusal(state: SessionState, what: str) -> AsmError:
    """The error for something that makes no sense in the session's present state."""
    session = state.session
    return AsmError(
        ErrorCode.INVALID_OPERATION,
        f"session {session.id} is {session.status.value}: cannot {what}",
        context={"session_id": session.id, "status": session.status.value},
    )


def check_not_deleted(state: SessionState, what: str) -> None:
    """Refuse to change a session that was deleted.

    Raises:
        ConcurrencyError: ``invalid_operation``.
    """
    if state.session.deleted_us is not None:
        raise AsmError(
            ErrorCode.INVALID_OPERATION,
            f"session {state.session.id} was deleted: cannot {what}",
            context={"session_id": state.session.id},
        )


def check_unborn(state: SessionState) -> None:
    """Refuse to make a session that is there.

    Raises:
        ResourceError: ``already_exists``.
    """
    if state.session.id:
        raise AsmError(
            ErrorCode.ALREADY_EXISTS,
            f"there is a session {state.session.id} already; choose another id",
            context={"session_id": state.session.id},
        )
