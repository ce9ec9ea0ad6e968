"""What must hold of every system: checks that return one sentence per fault.

`journal_faults` looks at the journal alone and holds at every instant, in the middle of a crash too.
`live_faults` looks at the actors as well, and holds when the system is at rest. `step_faults` looks at the state of one
session and holds after each of its steps; `watched_steps` has it looked at after all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from asm_actors.events import Event, EventType
from asm_actors.journal.store import Store
from asm_actors.runs.actor import RunActor
from asm_actors.runs.run import Run, RunStatus
from asm_actors.runs.state import RUNS_POOL, Phase
from asm_actors.services import RUN_SLOTS, SESSION_SLOTS, Services
from asm_actors.sessions import core
from asm_actors.sessions.actor import SessionActor
from asm_actors.sessions.open_runs import Phase as Place
from asm_actors.sessions.session import Session, SessionStatus
from asm_actors.sessions.state import SESSIONS_POOL, SessionState
from asm_actors.testing.call_promises import call_faults

__all__ = ["RUN_ENDS", "journal_faults", "live_faults", "step_faults", "watched_steps"]

RUN_ENDS: Final[Mapping[EventType, RunStatus]] = {
    EventType.RUN_COMPLETED: RunStatus.COMPLETED,
    EventType.RUN_FAILED: RunStatus.FAILED,
    EventType.RUN_CANCELLED: RunStatus.CANCELLED,
    EventType.RUN_TIMEOUT: RunStatus.TIMEOUT,
}
"""The terminal events of a run, and the status which each leads to."""

_UNDER_WAY: Final = frozenset({RunStatus.RUNNING, RunStatus.PAUSED, RunStatus.AWAITING_APPROVAL})
_SESSION_STATUS: Final[Mapping[EventType, SessionStatus]] = {
    EventType.SESSION_CREATED: SessionStatus.PENDING,
    EventType.SESSION_FORKED: SessionStatus.PENDING,
    EventType.SESSION_STARTED: SessionStatus.ACTIVE,
    EventType.SESSION_PAUSED: SessionStatus.PAUSED,
    EventType.SESSION_RESUMED: SessionStatus.ACTIVE,
    EventType.SESSION_COMPLETED: SessionStatus.COMPLETED,
    EventType.SESSION_FAILED: SessionStatus.FAILED,
    EventType.SESSION_CANCELLED: SessionStatus.CANCELLED,
}
_PAGE: Final = 5_000


def journal_faults(store: Store, holes: int = 0) -> list[str]:
    """Check the journal.

    Positions count 1, 2, 3 ... over it, sequence numbers in each session. The record of each session and run says
    what its last lifecycle event says. A run has one terminal event if it is over, none if it is not, and nothing
    follows it; a session that is over has no open run, and nothing follows its end. What holds of turns and calls of
    tools stands in `asm_actors.testing.call_promises`.

    Args:
        store: Open.
        holes: Events that maintenance has pruned or erased; exactly so many positions have none.
    """
    faults = list(_position_faults(store, holes))
    n_missing = 0
    for session in store.sessions(include_deleted=True):
        events = store.read_session(session.id)
        runs = store.runs(session.id)
        own = sum(event.session_id == session.id for event in events)
        missing = session.last_sequence - (session.forked_at or 0) - own
        n_missing += missing
        faults += _session_faults(session, events, runs, has_holes=holes > 0)
        by_run: dict[str, list[Event]] = {run.id: [] for run in runs}
        for event in events:
            if event.run_id is None or event.session_id != session.id:
                continue  # what a fork shares is checked where it stands
            if event.run_id not in by_run:
                faults.append(f"{event.id} belongs to run {event.run_id}, of which there is no record")
            by_run.setdefault(event.run_id, []).append(event)
        for run in runs:
            faults += _run_faults(run, by_run[run.id])
            if not missing:
                faults += call_faults(run, by_run[run.id])
    if n_missing > holes:
        faults.append(f"sessions lack {n_missing} events, and {holes} were erased")
    return faults


def _position_faults(store: Store, holes: int) -> Iterator[str]:
    position, last, missing = 0, store.last_position(), 0
    while position < last:
        page = store.read_all(after=position, limit=_PAGE)
        if page.position <= position:
            yield f"position {position + 1} of {last} cannot be read"
            return
        for event in page.events:
            found = event.position or 0
            if found <= position or (found > position + 1 and not holes):
                yield f"position {position + 1} is missing: {found} follows"
                return
            missing += found - position - 1
            position = found
        missing += page.position - position
        position = page.position
    if missing != holes:
        yield f"{missing} positions have no event, and {holes} were erased"


def _session_faults(
    session: Session, events: list[Event], runs: list[Run], *, has_holes: bool
) -> Iterator[str]:
    numbers = [event.sequence_number or 0 for event in events]
    if numbers != (sorted(set(numbers)) if has_holes else list(range(1, len(events) + 1))):
        yield f"the sequence numbers of {session.id} have a gap: {numbers}"
    if numbers and numbers[-1] > session.last_sequence:
        yield f"{session.id} says that its last event is {session.last_sequence}, and has {numbers[-1]}"
    if not has_holes and session.last_sequence != len(events):
        yield f"{session.id} says that its last event is {session.last_sequence}, and has {len(events)}"
    changes = [event for event in events if event.type in _SESSION_STATUS and event.session_id == session.id]
    beginning = EventType.SESSION_CREATED if session.forked_at is None else EventType.SESSION_FORKED
    if not changes or changes[0].type is not beginning:
        yield f"{session.id} does not begin with its creation: {[str(event.type) for event in events[:3]]}"
        return
    if (session.deleted_us is not None) != (events[-1].type is EventType.SESSION_DELETED):
        yield f"the record of {session.id} says deleted_us={session.deleted_us}, its last event is {events[-1].type}"
    said = _SESSION_STATUS[changes[-1].type]
    if session.status is not said:
        yield f"the record of {session.id} says {session.status}, its last event {said}"
    if session.is_terminal:
        last = events[-1 if session.deleted_us is None else -2]
        if last is not changes[-1]:
            yield f"{last.type} follows the end of {session.id}"
        for run in runs:
            if not run.is_terminal:
                yield f"{session.id} is {session.status}, and its run {run.id} is {run.status}"


def _run_faults(run: Run, events: list[Event]) -> Iterator[str]:
    ends = [event for event in events if event.type in RUN_ENDS]
    if len(ends) != run.is_terminal:
        yield f"{run.id} is {run.status} and has {len(ends)} terminal events: {[str(e.type) for e in ends]}"
        return
    has_started = any(event.type is EventType.RUN_STARTED for event in events)
    if ends:
        if RUN_ENDS[ends[0].type] is not run.status:
            yield f"the record of {run.id} says {run.status}, its last event {ends[0].type}"
        if events[-1] is not ends[0]:
            yield f"{events[-1].type} follows the terminal event of {run.id}"
        if run.ended_us is None:
            yield f"{run.id} is over and does not say since when"
    elif has_started != (run.status in _UNDER_WAY):
        yield f"{run.id} is {run.status}, and its events are {[str(event.type) for event in events]}"
    if has_started != (run.started_us is not None):
        yield f"{run.id} says that it started at {run.started_us}; its events differ"


def step_faults(state: SessionState) -> Iterator[str]:
    """Check the state of a session between two of its steps.

    What it counts as started is what is started: a place that is not given back is lost for good. Who waits in its line
    is who says so of himself. A run that stands still was not told to end, for nobody would end it.
    """
    session_id = state.session.id
    started = [
        run_id for run_id, entry in state.open.items() if entry.phase in (Place.STARTED, Place.RECOVERING)
    ]
    if state.n_started != len(started):
        yield f"{session_id} counts {state.n_started} started runs, and these are: {started}"
    in_line = list(state.queue)
    queued = {run_id for run_id, entry in state.open.items() if entry.phase is Place.QUEUED}
    if len(in_line) != len(queued) or set(in_line) != queued:
        yield f"{session_id} has {in_line} in line, and queued are {sorted(queued)}"
    for run_id, entry in state.open.items():
        if entry.run.id != run_id or entry.run.is_terminal:
            yield f"{session_id} has {entry.run.id} open as {run_id}, which is {entry.run.status}"
        if entry.stopping is not None and entry.phase is not Place.STARTED:
            yield f"{run_id} was told to end and is {entry.phase}"


@contextmanager
def watched_steps() -> Iterator[list[str]]:
    """In this block, look at each session's state after each of its steps; gives the faults that were found.

    An actor whose step raised is about to end, and its state means nothing any more.
    """
    faults: list[str] = []
    real: Callable[..., list[Any]] = core.step

    def step(state: SessionState, message: Any, now: int, reply: Any = None) -> list[Any]:
        effects = real(state, message, now, reply)
        faults.extend(f"after {type(message).__name__}: {fault}" for fault in step_faults(state))
        return effects

    core.step = step
    try:
        yield faults
    finally:
        core.step = real


def live_faults(services: Services) -> list[str]:
    """Check the actors of a system that is at rest.

    Slots in use are those of live holders that need one. Each session's actor knows what the journal holds: status,
    last sequence number, open runs. A run's actor lives only for an open run, and holds its slot while it executes. A
    session without an actor has no run that anything is to become of by itself.
    """
    sessions = list(_actors(services, SessionActor))
    runs = list(_actors(services, RunActor))
    faults: list[str] = []
    for session in sessions:
        faults += _actor_faults(services, session)
    open_runs = {run.id for run in services.store.open_runs()}
    for run in runs:
        if run.state.run.id not in open_runs:
            faults.append(
                f"the actor of run {run.state.run.id} lives ({run.state.phase}), and the run is over"
            )
    holding = sum(run.state.phase not in (Phase.WAITING, Phase.ENDED) for run in runs)
    waiting = sum(run.state.phase is Phase.WAITING for run in runs)
    faults += _pool_faults(services, RUN_SLOTS, RUNS_POOL, holding, waiting)
    holding = sum(session.state.holds_slot for session in sessions)
    faults += _pool_faults(services, SESSION_SLOTS, SESSIONS_POOL, holding, None)
    live = {session._id for session in sessions}
    for open_run in services.store.open_runs():
        is_awaited = open_run.status is not RunStatus.PENDING or open_run.options.get("submitted")
        if is_awaited and open_run.session_id not in live:
            faults.append(f"{open_run.id} is {open_run.status}, and {open_run.session_id} has no actor")
    for run_id, session_id in services.directory.runs.items():
        if run_id not in open_runs or session_id not in live:
            faults.append(
                f"the directory has run {run_id} of {session_id}, which is not open in a live session"
            )
    return faults


def _actor_faults(services: Services, actor: SessionActor) -> Iterator[str]:
    state, session_id = actor.state, actor._id
    if not services.store.has_session(session_id):
        yield f"the actor of {session_id} lives, and the journal does not know it"
        return
    stored = services.store.session(session_id)
    if state.session.status is not stored.status:
        yield f"the actor of {session_id} says {state.session.status}, the journal {stored.status}"
    if stored.is_terminal:
        yield f"{session_id} is {stored.status}, and its actor still lives"
    is_active = stored.status is SessionStatus.ACTIVE and stored.deleted_us is None
    if state.holds_slot != is_active and not _waits_for_slot(services, actor):
        yield f"{session_id} is {stored.status}, and holds_slot is {state.holds_slot}"
    stored_open = {run.id for run in services.store.runs(session_id) if not run.is_terminal}
    if set(state.open) != stored_open:
        yield f"{session_id} knows the open runs {sorted(state.open)}, the journal {sorted(stored_open)}"
    for run_id in state.queue:
        if run_id not in state.open:
            yield f"{run_id} waits in the queue of {session_id} and is not open"
    yield from step_faults(state)
    n_started = len(actor._runs or ())
    if state.n_started != n_started:
        yield f"{session_id} counts {state.n_started} started runs and has {n_started} actors"
    first = state.queue.first()
    if first is not None and state.may_start and not state.waits_for_others(state.open[first].run):
        yield f"{session_id} has waiting runs {list(state.queue)} and could start one"


def _waits_for_slot(services: Services, actor: SessionActor) -> bool:
    pool = services.whereis(SESSION_SLOTS)
    key = services.slot_keys.of_session(actor.state.session)
    return bool(pool is not None and pool.life.actor.table.is_waiting(key, actor.actor_ref))


def _pool_faults(services: Services, name: str, key: str, holding: int, waiting: int | None) -> Iterator[str]:
    pool = services.whereis(name)
    if pool is None:
        yield f"there is no slot pool {name}"
        return
    found = pool.life.actor.statistics().get(key)
    in_use, in_line = (0, 0) if found is None else (found.in_use, found.waiting)
    if in_use != holding:
        yield f"{in_use} slots of {name} are in use, and {holding} actors hold one"
    if waiting is not None and in_line != waiting:
        yield f"{in_line} stand in line for {name}, and {waiting} actors wait"
    overlooked = pool.life.actor.table.overlooked()
    if overlooked:
        yield f"{len(overlooked)} stand in line for {name} although all slots that they need are free"


def _actors(services: Services, kind: type[Any]) -> Iterable[Any]:
    for life in tuple(services.dispatcher.lives):
        actor = life.actor
        if isinstance(actor, kind) and life.ref is not None and life.ref.is_alive():
            yield actor
