"""Whether runs start in their turn, and whether they start at all."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from asm_actors.config import Limits
from asm_actors.events import Event, EventType
from asm_actors.journal.store import Store
from asm_actors.providers.base import prompt_from_input
from asm_actors.runs.run import Run, RunStatus
from asm_actors.runs.state import Phase
from asm_actors.services import RUN_SLOTS, Services, session_name
from asm_actors.sessions.session import SessionStatus
from asm_actors.testing.promises import RUN_ENDS


def order_faults(store: Store, max_concurrent: int, submitted: Collection[str]) -> Iterator[str]:
    """Check the order of starts, and how many runs of a session went on at once.

    Of the runs that were submitted, one starts only if fewer than `max_concurrent` older ones have neither started nor
    ended: these hold a place of the session and wait for a slot that all sessions share.
    """
    for session in store.sessions(include_deleted=True):
        waiting = [run.id for run in store.runs(session.id) if run.id in submitted]
        yield from _faults(store.read_session(session.id), waiting, max_concurrent)


def _faults(events: list[Event], waiting: list[str], max_concurrent: int) -> Iterator[str]:
    started: set[str | None] = set()
    for event in events:
        run_id = event.run_id or ""
        if event.type in RUN_ENDS:
            started.discard(run_id)
            if run_id in waiting:
                waiting.remove(run_id)
        elif event.type is EventType.RUN_STARTED:
            if run_id in started:
                yield f"{run_id} started twice"
            started.add(run_id)
            if len(started) > max_concurrent:
                yield f"{sorted(map(str, started))} of {event.session_id} went on at once"
            if run_id in waiting:
                place = waiting.index(run_id)
                waiting.remove(run_id)
                if place >= max_concurrent:
                    yield f"{run_id} started before {waiting[:place]}, which were submitted earlier"


def liveness_faults(services: Services, limits: Limits) -> Iterator[str]:
    """Check, long after anything failed, that only those runs are open that wait for somebody.

    A run under way plays a part that never ends. One that is to be executed has a live session, and that one is paused,
    or its places, or all slots, are taken.
    """
    store = services.store

    def is_under_way(run: Run) -> bool:
        return run.status is not RunStatus.PENDING and not _waits_to_go_on(services, run)

    open_runs = [run for run in store.open_runs() if run.options.get("submitted") or is_under_way(run)]
    under_way = [run for run in open_runs if is_under_way(run)]
    for run in under_way:
        if prompt_from_input(run.input).split()[0] not in ("stall", "mute"):
            yield f"{run.id} should have ended by itself: {run.input}"
    for run in open_runs:
        if services.whereis(session_name(run.session_id)) is None:
            yield f"{run.id} is {run.status}, and nobody looks after it"
    slots = services.whereis(RUN_SLOTS).life.actor.statistics()
    are_slots_free = all(numbers.in_use < (numbers.limit or numbers.in_use + 1) for numbers in slots.values())
    for session in store.sessions(status=SessionStatus.ACTIVE):
        mine = [run for run in open_runs if run.session_id == session.id]
        n_under_way = sum(map(is_under_way, mine))
        actor = services.whereis(session_name(session.id))
        is_waiting = actor is None or not actor.life.actor.state.holds_slot
        if n_under_way < min(limits.max_concurrent_runs, len(mine)) and are_slots_free and not is_waiting:
            yield f"{session.id} could start one of {[run.id for run in mine if not is_under_way(run)]}"


def _waits_to_go_on(services: Services, run: Run) -> bool:
    """Whether a run that was under way once, and is taken up again, still waits for its place or its slot."""
    session = services.whereis(session_name(run.session_id))
    ref = None if session is None else session.life.actor.run_ref(run.id)
    return ref is None or ref.life.actor.state.phase is Phase.WAITING
