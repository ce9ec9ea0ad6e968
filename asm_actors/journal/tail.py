"""The shared tail: the newest committed events, from which subscriptions that keep up are served.

Pure. It answers the same question as the store, "what is there after this cursor", for the newest part of the
journal, and says so when a cursor lies before that: then the store answers. Events are decoded once for all readers.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from asm_actors.events import Event
from asm_actors.journal.append import Append, Appended, Packed
from asm_actors.journal.codec import events_of, pack_drafts, unpack_drafts
from asm_actors.journal.query import EventFilter

__all__ = ["Tail"]

_ALL = EventFilter()
MAX_EVENTS = 20_000
"""Events kept; the bound on its memory."""


class _Segment:
    """One append that was committed."""

    __slots__ = ("append", "count", "events", "position", "sequence")

    def __init__(self, append: Append, placed: Appended) -> None:
        self.append = append
        self.sequence = placed.first_sequence
        self.position = placed.first_position
        self.count = placed.count
        self.events: list[Event] | None = None

    def read(self) -> list[Event]:
        if self.events is None:
            self.events = self._decode()
        return self.events

    def _decode(self) -> list[Event]:
        append, sequence, position = self.append, self.sequence, self.position
        drafts = append.drafts
        packed = drafts if isinstance(drafts, Packed) else pack_drafts(append.base_id, drafts)
        segment = unpack_drafts(packed)._replace(first_sequence=sequence)
        return events_of(segment, append.session_id, position, (0, self.count), _ALL)


class Tail:
    """Recent events by position and by session.

    Attributes:
        position: The journal's last committed position.
        n_followers: Subscriptions that may read; without any, nothing is kept.
    """

    def __init__(self, position: int) -> None:
        self.position = position
        self.n_followers = 0
        self._start = position
        self._segments: deque[_Segment] = deque()
        self._by_session: dict[str, deque[_Segment]] = {}
        self._n_events = 0
        # Where each session last grew, for those that grew lately: before `_floor` nobody knows.
        self._grown: OrderedDict[str, int] = OrderedDict()
        self._floor = position

    def add(self, append: Append, placed: Appended) -> None:
        """Note a committed append."""
        if placed.count == 0:
            return
        self.position = placed.first_position + placed.count - 1
        if self.n_followers == 0:
            if self._segments or self._grown:
                self._clear()
            self._start = self._floor = self.position
            return
        grown = self._grown
        grown[append.session_id] = self.position
        grown.move_to_end(append.session_id)
        if len(grown) > MAX_EVENTS:
            self._floor = grown.popitem(last=False)[1]
        if placed.count != len(append.drafts):
            # Some of them were there before: what is where is the store's to tell.
            self._clear()
            self._start = self.position
            return
        segment = _Segment(append, placed)
        self._segments.append(segment)
        self._by_session.setdefault(append.session_id, deque()).append(segment)
        self._n_events += placed.count
        while self._n_events > MAX_EVENTS and len(self._segments) > 1:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        oldest = self._segments.popleft()
        self._n_events -= oldest.count
        self._start = oldest.position + oldest.count - 1
        of_session = self._by_session[oldest.append.session_id]
        of_session.popleft()
        if not of_session:
            del self._by_session[oldest.append.session_id]

    def _clear(self) -> None:
        self._segments.clear()
        self._by_session.clear()
        self._n_events = 0

    def has_grown(self, session_id: str | None, since: int) -> bool:
        """Whether there may be more, of a session or of all, than at an earlier position of the journal."""
        if since >= self.position:
            return False
        if session_id is None or since < self._floor:
            return True
        return self._grown.get(session_id, 0) > since

    def read_session(self, session_id: str, after: int, limit: int) -> list[Event] | None:
        """Events of a session after a sequence number, at most `limit`; None if only the store can tell."""
        segments = self._by_session.get(session_id)
        if segments is None or segments[0].sequence > after + 1:
            return None
        found: list[Event] = []
        for segment in segments:
            if segment.sequence + segment.count - 1 > after:
                events = segment.read()
                found += events[max(0, after + 1 - segment.sequence) :]
                if len(found) >= limit:
                    return found[:limit]
        return found

    def read_all(self, after: int, limit: int) -> list[Event] | None:
        """Events after a position, at most `limit`; None if only the store can tell."""
        if after >= self.position:
            return []
        if after < self._start or not self._segments:
            return None
        found: list[Event] = []
        for segment in self._segments:
            if segment.position + segment.count - 1 > after:
                found += segment.read()[max(0, after + 1 - segment.position) :]
                if len(found) >= limit:
                    return found[:limit]
        return found
