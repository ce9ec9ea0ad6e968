"""Whether the runs of a session started in their turn, as its journal tells."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from asm_actors.events import Event, EventType
from asm_actors.journal.store import Store
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
