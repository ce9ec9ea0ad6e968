"""The shared tail: the newest committed events, from which subscriptions that keep up are served.

Pure. It answers the same question as the store, "what is there after this cursor", for the newest part of the
journal, and says so when a cursor lies before that: then the store answers. Events are decoded once for all readers.
What a read costs depends on what it returns and not on how much is kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice
from operator import attrgetter
from typing import Any

from asm_actors.events import Event
from asm_actors.journal.append import Append, Appended, Packed
from asm_actors.journal.batch import size_of
from asm_actors.journal.codec import events_of, pack_drafts, unpack_drafts
from asm_actors.journal.query import EventFilter

__all__ = ["Tail"]

_ALL = EventFilter()
MAX_EVENTS = 20_000
"""Events kept; one bound on its memory."""
MAX_BYTES = 16 << 20
"""Bytes of events kept, as they are stored; the other bound."""
_COMPACT_FROM = 64


class _Segment:
    """One append that was committed."""

    __slots__ = ("append", "events", "last_position", "last_sequence", "position", "sequence", "size")

    def __init__(self, append: Append, placed: Appended) -> None:
        self.append = append
        self.sequence = placed.first_sequence
        self.position = placed.first_position
        self.last_sequence = self.sequence + placed.count - 1
        self.last_position = self.position + placed.count - 1
        self.size = size_of(append)
        self.events: list[Event] | None = None

    @property
    def count(self) -> int:
        return self.last_position - self.position + 1

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


_GONE: Any = None
_by_sequence = attrgetter("last_sequence")
_by_position = attrgetter("last_position")


class _Line:
    """Segments in order, of which the oldest go: a list whose dead beginning is cut off now and then."""

    __slots__ = ("_first", "_segments")

    def __init__(self) -> None:
        self._segments: list[_Segment] = []
        self._first = 0

    def __len__(self) -> int:
        return len(self._segments) - self._first

    @property
    def oldest(self) -> _Segment:
        return self._segments[self._first]

    @property
    def newest(self) -> _Segment:
        return self._segments[-1]

    def append(self, segment: _Segment) -> None:
        self._segments.append(segment)

    def drop_oldest(self) -> _Segment:
        segment = self._segments[self._first]
        self._segments[self._first] = _GONE  # so that it takes no memory until the cut
        self._first += 1
        if self._first >= _COMPACT_FROM and self._first * 2 > len(self._segments):
            del self._segments[: self._first]
            self._first = 0
        return segment

    def after(self, place: int, last: Callable[[_Segment], int]) -> Iterator[_Segment]:
        """Those whose last place lies beyond; `last` says in which count."""
        segments = self._segments
        first = bisect_right(segments, place, lo=self._first, key=last)
        return (segments[index] for index in range(first, len(segments)))


class Tail:
    """Recent events by position and by session.

    Attributes:
        position: The journal's last committed position.
        n_followers: Subscriptions that may read; without any, nothing is kept.
    """

    def __init__(self, position: int) -> None:
        self.n_followers = 0
        self._lines: dict[str, _Line] = {}
        # Where each session last grew, for those that grew lately: before `_floor` nobody knows.
        self._grown: OrderedDict[str, int] = OrderedDict()
        self.begin(position)

    def begin(self, position: int) -> None:
        """Begin anew: nothing is known of what was committed up to this position."""
        self.position = position
        self._grown.clear()
        self._floor = position
        self._forget(position)

    def _forget(self, position: int) -> None:
        self._start = position
        self._line = _Line()
        self._lines.clear()
        self._n_events = self._n_bytes = 0

    def __len__(self) -> int:
        return self._n_events

    def add(self, append: Append, placed: Appended) -> None:
        """Note a committed append."""
        if placed.count == 0:
            return
        position = self.position = placed.first_position + placed.count - 1
        if self.n_followers == 0:
            if self._n_events or self._grown:
                self.begin(position)
            self._start = self._floor = position
            return
        grown = self._grown
        grown[append.session_id] = position
        grown.move_to_end(append.session_id)
        if len(grown) > MAX_EVENTS:
            self._floor = grown.popitem(last=False)[1]
        if placed.count != len(append.drafts):
            # Some of them were there before: what is where is the store's to tell.
            self._forget(position)
            return
        self._keep(append.session_id, _Segment(append, placed))

    def _keep(self, session_id: str, segment: _Segment) -> None:
        line = self._lines.get(session_id)
        if line is None:
            line = self._lines[session_id] = _Line()
        line.append(segment)
        self._line.append(segment)
        self._n_events += segment.count
        self._n_bytes += segment.size
        while (self._n_events > MAX_EVENTS or self._n_bytes > MAX_BYTES) and len(self._line) > 1:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        oldest = self._line.drop_oldest()
        self._n_events -= oldest.count
        self._n_bytes -= oldest.size
        self._start = oldest.last_position
        session_id = oldest.append.session_id
        of_session = self._lines[session_id]
        of_session.drop_oldest()
        if not of_session:
            del self._lines[session_id]

    def has_grown(self, session_id: str | None, since: int) -> bool:
        """Whether there may be more, of a session or of all, than at an earlier position of the journal."""
        if since >= self.position:
            return False
        if session_id is None or since < self._floor:
            return True
        return self._grown.get(session_id, 0) > since

    def head(self, session_id: str) -> int | None:
        """Sequence number of a session's last event, if that is among those kept."""
        line = self._lines.get(session_id)
        return line.newest.last_sequence if line else None

    def read_session(self, session_id: str, after: int, limit: int) -> list[Event] | None:
        """Events of a session after a sequence number, at most `limit`; None if only the store can tell."""
        line = self._lines.get(session_id)
        if line is None or line.oldest.sequence > after + 1:
            return None
        found: list[Event] = []
        for segment in line.after(after, _by_sequence):
            found += islice(segment.read(), max(0, after + 1 - segment.sequence), None)
            if len(found) >= limit:
                break
        return found[:limit]

    def read_all(self, after: int, limit: int) -> list[Event] | None:
        """Events after a position, at most `limit`; None if only the store can tell."""
        if after >= self.position:
            return []
        if after < self._start or not self._line:
            return None
        found: list[Event] = []
        for segment in self._line.after(after, _by_position):
            found += islice(segment.read(), max(0, after + 1 - segment.position), None)
            if len(found) >= limit:
                break
        return found[:limit]
