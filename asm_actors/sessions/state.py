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
from asm_actors.cost.built_in import BUILT_IN_PRICES
from asm_actors.cost.pricing import PricingTable
from asm_actors.effects import Effect, Note, ReleaseSlot, StartRun, Write
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.append import EMPTY
from asm_actors.policies.policy import Policy
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.open_runs import Closing, MayStandStill, Phase, RunEntry
from asm_actors.sessions.queue import RunQueue
from asm_actors.sessions.session import Session, SessionStatus
from asm_actors.slot_keys import SESSIONS_POOL, priority_of

__all__ = [
    "DEFAULT_RULES",
    "MAX_OPEN_RUNS",
    "ROLLS_BACK",
    "SESSIONS_POOL",
    "SUPERSEDES",
    "Handler",
    "Rules",
    "SessionState",
    "check_not_deleted",
    "check_unborn",
    "refusal",
]

SUPERSEDES: Final = "supersedes"
"""Key in the options of a run: ids of the runs whose place it takes (`sessions.second_run`)."""
ROLLS_BACK: Final = "rolls_back"
"""Key in the options of such a run: what these had said is taken out of the conversation."""
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

    @property
    def policy(self) -> Policy | None:
        """What all runs may do and use."""

    @property
    def pricing(self) -> PricingTable:
        """What models cost."""

    @property
    def tools(self) -> Mapping[str, Any]:
        """Tools of the host, by name."""


@frozen
class _Rules:
    on_restart: str = "resume"
    max_recoveries: int = MAX_RECOVERIES
    default_provider: str | None = None
    providers: Mapping[str, Any] = EMPTY
    policy: Policy | None = None
    pricing: PricingTable = BUILT_IN_PRICES
    tools: Mapping[str, Any] = EMPTY


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
    resuming: dict[str, Any] | None = None
    """Why the first of them wants it, and who he is, as the event tells it."""
    once: tuple[Run, float | None, Any] | None = None
    """What `RunOnce` asked for, until the slot is there."""
    closing: Closing | None = None
    completes_after: str | None = None
    """The run whose end completes the session (`RunOnce`)."""
    holds_slot: bool = False
    n_ending_many: int = 0
    """How often it is in the middle of ending many of its runs (`sessions.ending_many`); none starts meanwhile."""
    prelude: Write | None = None
    """What is to be written with the next write."""
    head: int = 0
    """Sequence number of its last event; counted by the shell, which writes."""
    rules: Rules = DEFAULT_RULES
    """How runs are recovered."""
    second_run: str | None = None
    """What becomes of a run that comes while others take all places (`sessions.second_run`); None: it waits."""

    @property
    def places_to_come(self) -> int:
        """How many runs start as soon as the session has its slot again, for which it stands in line (`recovery`)."""
        if self.holds_slot or self.session.status is not SessionStatus.ACTIVE:
            return 0
        return MAX_OPEN_RUNS if self.max_concurrent is None else max(0, self.max_concurrent - self.n_started)

    def adopt(self, session: Session) -> None:
        """Take a record as the session's own, with what its options say of its limits."""
        self.session = session
        options = session.options
        if options:
            self.max_concurrent = options.get("max_concurrent_runs", self.max_concurrent)
            self.queue.limit = options.get("max_queued_runs", self.queue.limit)
            second = options.get("second_run")
            self.second_run = None if second == "enqueue" else second

    def priority_of(self, run: Run) -> int:
        """The priority of one of its runs."""
        return priority_of(self.session, run)

    def waits_for_others(self, run: Run) -> bool:
        """Whether runs are open yet whose place this one takes."""
        return any(other in self.open for other in run.options.get(SUPERSEDES, ()))

    @property
    def may_start(self) -> bool:
        """Whether one more run may start now."""
        return (
            (self.max_concurrent is None or self.n_started < self.max_concurrent)
            and self.session.status is SessionStatus.ACTIVE
            and self.holds_slot
            and self.closing is None
            and not self.n_ending_many
        )

    def start(self, entry: RunEntry) -> Effect:
        """Start a run, or go on with one that is taken up again."""
        entry.phase = Phase.STARTED
        entry.life += 1
        self.n_started += 1
        progress, entry.progress = entry.progress, None
        return StartRun(entry.run, progress, self.head)

    def start_next(self) -> list[Effect]:
        """Start as many of the waiting runs as may run, in their order."""
        effects: list[Effect] = []
        while self.may_start and (run_id := self.queue.first()) is not None:
            entry = self.open[run_id]
            if self.second_run is not None and self.waits_for_others(entry.run):
                break
            self.queue.dequeue()
            effects.append(self.start(entry))
        return effects

    def start_after_compaction(self, run_id: str) -> list[Effect]:
        """Let the runs go on that waited for a run which has summed the conversation up, or could not.

        They come before those in the queue.
        """
        effects: list[Effect] = []
        for entry in self.open.values():
            if entry.phase is not Phase.HELD or entry.run.details.get("compaction") != run_id:
                continue
            if entry.run.status is not RunStatus.PENDING and entry.run.status is not RunStatus.RUNNING:
                continue  # it has begun since, and waits for somebody
            if entry.pausing is not None:
                effects.append(Note(MayStandStill(entry.run.id)))
                continue
            effects += self.start_or_put_back(entry)
        return effects

    def start_or_put_back(self, entry: RunEntry) -> list[Effect]:
        """Start a run whose turn it is; if it may not start now it is the first in line."""
        if self.may_start:
            return [self.start(entry)]
        entry.phase = Phase.QUEUED
        self.queue.put_back((entry.run.id,))
        return []

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
