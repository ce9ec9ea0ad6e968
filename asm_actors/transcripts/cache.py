"""Transcripts that were read before, so that the next reader reads only what came since."""

from __future__ import annotations

from collections import OrderedDict
from operator import is_
from threading import Lock
from typing import Final, NamedTuple

from asm_actors.journal.store import Store
from asm_actors.sessions.session import Session
from asm_actors.transcripts.message import Message
from asm_actors.transcripts.reading import read_on, read_transcript
from asm_actors.transcripts.transcript import Transcript

__all__ = ["TranscriptCache"]

_SESSIONS: Final = 256
_CHARS: Final = 32_000_000
_EMPTY_SIZE: Final = 400
"""What a message without a text takes, in characters."""


class _Kept(NamedTuple):
    transcript: Transcript
    created_us: int
    size: int


class TranscriptCache:
    """The transcripts of the sessions that were read last. Any thread may use it.

    A transcript is a fold of events, and events never change; so what is kept stays true, and only what came after it
    is read. Compaction and rollback are events like others. A session that was deleted for good, and another one of the
    same id made, is told by the time of its creation. What takes events out of the journal says so by :meth:`forget`.

    Args:
        max_sessions: how many transcripts are kept at most.
        max_chars: how many characters these may have in all.
    """

    def __init__(self, max_sessions: int = _SESSIONS, max_chars: int = _CHARS) -> None:
        self._max_sessions = max_sessions
        self._max_chars = max_chars
        self._lock = Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._chars = 0
        self._forgotten = 0

    def __len__(self) -> int:
        return len(self._kept)

    def read(self, store: Store, session: Session, at: int) -> Transcript:
        """Return a session's transcript as of one of its events.

        Args:
            store: where its events are.
            session: its record.
            at: a sequence number of the session, at least 1.

        Raises:
            ResourceError: ``session_not_found``.
            ValidationError: the session has no such event.
        """
        with self._lock:
            known = self._kept.get(session.id)
            forgotten = self._forgotten
            if known is not None:
                self._kept.move_to_end(session.id)
        if known is not None and known.created_us == session.created_us and _end(known.transcript) <= at:
            transcript = read_on(store, known.transcript, at)
        else:
            transcript = read_transcript(store, session.id, at=at)
        if known is None or transcript is not known.transcript:
            self._keep(session, transcript, forgotten, known)
        return transcript

    def forget(self, session_id: str | None = None) -> None:
        """Forget the transcript of a session of which something was taken out; None: all of them."""
        with self._lock:
            # Who reads right now may have read what is gone: it is not kept.
            self._forgotten += 1
            for key in tuple(self._kept) if session_id is None else (session_id,):
                self._drop(key)

    def _keep(self, session: Session, transcript: Transcript, forgotten: int, before: _Kept | None) -> None:
        size = _size_of(transcript, before)
        with self._lock:
            if forgotten != self._forgotten:
                return
            known = self._kept.get(session.id)
            if (
                known is not None
                and known.created_us == session.created_us
                and _end(known.transcript) > _end(transcript)
            ):
                return
            self._drop(session.id)
            if size > self._max_chars:
                return
            self._kept[session.id] = _Kept(transcript, session.created_us, size)
            self._chars += size
            while len(self._kept) > self._max_sessions or self._chars > self._max_chars:
                self._drop(next(iter(self._kept)))

    def _drop(self, session_id: str) -> None:
        known = self._kept.pop(session_id, None)
        if known is not None:
            self._chars -= known.size


def _end(transcript: Transcript) -> int:
    return transcript.last_sequence or 0


def _size_of(transcript: Transcript, before: _Kept | None) -> int:
    """Characters of a transcript, about; of one that only grew, what is new is counted."""
    messages = transcript.messages
    if before is not None:
        old = before.transcript.messages
        if len(old) <= len(messages) and all(map(is_, old, messages)):
            return before.size + sum(map(_size, messages[len(old) :]))
    return sum(map(_size, messages))


def _size(message: Message) -> int:
    size = _EMPTY_SIZE + len(message.content)
    for value in (message.tool_input, message.tool_output):
        if value is not None:
            size += len(value) if isinstance(value, str) else len(str(value))
    return size
