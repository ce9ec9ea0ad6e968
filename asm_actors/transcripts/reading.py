"""Transcripts from a store, as of any sequence number."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import groupby, islice
from typing import Final

from attrs import evolve

from asm_actors.events import Event
from asm_actors.journal.lineage import check_place
from asm_actors.journal.query import EventFilter
from asm_actors.journal.store import Store
from asm_actors.transcripts.builder import FATES
from asm_actors.transcripts.transcript import Transcript
from asm_actors.transcripts.truncation import Truncation

__all__ = ["read_on", "read_transcript", "read_update", "read_window"]

_PAGE: Final = 4096
"""Events that are in memory at a time."""

_WHOLE: Final = Truncation()


def read_transcript(
    store: Store,
    session_id: str,
    *,
    at: int | None = None,
    wanted: EventFilter | None = None,
    truncation: Truncation = _WHOLE,
) -> Transcript:
    """Read the transcript of a session.

    Args:
        store: where its events are.
        session_id: the session; of a fork the shared history is part of it.
        at: as of this sequence number (inclusive); None: as it is now.
        wanted: which of its events.
        truncation: what the transcript may hold.

    Raises:
        ResourceError: ``session_not_found``.
        ValidationError: ``at`` is no sequence number of the session.
    """
    chosen = EventFilter() if wanted is None else wanted
    last = store.head(session_id)
    if at is not None:
        end = check_place(session_id, at, last) + 1
        chosen = evolve(chosen, before=end if chosen.before is None else min(end, chosen.before))
    transcript = Transcript(session_id)
    for events in _pages(store, session_id, chosen):
        transcript = transcript.updated(events)
    return evolve(transcript, messages=truncation.cut(transcript.messages))


def read_update(store: Store, transcript: Transcript, *, truncation: Truncation = _WHOLE) -> Transcript:
    """Return a transcript with what came since; without anything new it is this very one.

    It goes on after its last sequence number, or, if it has none, from its last time on.

    Args:
        store: where the session's events are.
        transcript: the transcript so far.
        truncation: what it may hold.

    Raises:
        ResourceError: ``session_not_found``.
    """
    since = transcript.last_timestamp_us if transcript.last_sequence is None else None
    wanted = EventFilter(after=transcript.last_sequence, since=since)
    # Without sequence numbers the time is all there is, and events of the very last one are found again.
    known = {message.metadata.get("event_id") for message in transcript.messages} if since is not None else ()
    result = transcript
    for events in _pages(store, transcript.session_id, wanted):
        result = result.updated(event for event in events if event.id not in known)
    return result if result is transcript else evolve(result, messages=truncation.cut(result.messages))


def read_on(store: Store, transcript: Transcript, at: int) -> Transcript:
    """Return a whole transcript with what came since, up to one of its session's events (inclusive).

    Args:
        store: where the session's events are.
        transcript: the transcript so far; nothing was cut off.
        at: a sequence number of the session. Without anything between nothing is read.

    Raises:
        ResourceError: ``session_not_found``.
    """
    last = transcript.last_sequence or 0
    if at <= last:
        return transcript
    for events in _pages(store, transcript.session_id, EventFilter(after=last, before=at + 1)):
        transcript = transcript.updated(events)
    return transcript


def read_window(store: Store, session_id: str, at: int, wanted: EventFilter) -> Transcript:
    """Read what some events of a session say, as it counts at a later one.

    What became of their runs is told by all events up to there: whether a run is over, was rolled back or begun again,
    or is no part of the conversation at all.

    Args:
        store: where the session's events are.
        session_id: the session.
        at: as of this sequence number (inclusive).
        wanted: which events.

    Raises:
        ResourceError: ``session_not_found``.
    """
    end = at + 1
    chosen = evolve(wanted, before=end if wanted.before is None else min(end, wanted.before))
    found = merge(
        _events(store, session_id, chosen),
        _events(store, session_id, EventFilter(types=FATES, before=end)),
        key=_number,
    )
    # One that is wanted and tells a fate too is there twice.
    once = (next(same) for _, same in groupby(found, _number))
    transcript = Transcript(session_id)
    while events := list(islice(once, _PAGE)):
        transcript = transcript.updated(events)
    return transcript


def _number(event: Event) -> int:
    return event.sequence_number or 0


def _events(store: Store, session_id: str, wanted: EventFilter) -> Iterator[Event]:
    return (event for page in _pages(store, session_id, wanted) for event in page)


def _pages(store: Store, session_id: str, wanted: EventFilter) -> Iterator[list[Event]]:
    left = wanted.limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(left, _PAGE)
        events = store.read_session(session_id, evolve(wanted, limit=size))
        if events:
            yield events
        if len(events) < size:
            return
        wanted = evolve(wanted, after=events[-1].sequence_number)
        left = None if left is None else left - len(events)
