"""What a process that may be killed told its callers, saw, and did: claims, which a journal must keep.

The process that will be killed holds a `Reporter`: as soon as a caller has been answered, or a subscriber has seen
events, it writes one line about that to a pipe; what it is about to do (call a tool, acknowledge, erase) it tells
before. Such a line is a `Claim`. Whoever reads the other end of the pipe collects the claims in a
`asm_actors.testing.ledger.Ledger`, which compares them with the journal once the process is dead. A line is shorter
than what a pipe takes at once, so a kill cannot leave half of one behind.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Final, NamedTuple

from asm_actors.events import Event
from asm_actors.runs.result import RunResult
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = ["MARK", "Claim", "ClaimKind", "Reporter", "digest_of", "mark_of"]

_DIGEST_BYTES: Final = 12
_MARK_BYTES: Final = 6
MARK: Final = 4 * _MARK_BYTES // 3
"""Characters of an event's mark."""
_AT_ONCE: Final = 16
"""Events of one line."""
# What a pipe takes as a whole, by POSIX at least 512 bytes.
_MAX_LINE: Final = 512
_MAX_TEXT: Final = 300


class ClaimKind(StrEnum):
    """What a line of the pipe is about."""

    OPENING = "opening"
    """The process is about to open the journal."""
    SESSION = "session"
    """A caller got this record of a session."""
    RUN = "run"
    """A caller got this record of a run."""
    RESULT = "result"
    """A caller got this result, and read the run's events."""
    KEY = "key"
    """A caller was told that this idempotency key belongs to this session."""
    SEEN = "seen"
    """A subscriber was handed these events."""
    DOING = "doing"
    """The process begins or ends a piece of its work."""
    CALLED = "called"
    """A tool of the host has begun its work."""
    RESUMED = "resumed"
    """A named subscription was opened, and stands here."""
    ACKING = "acking"
    """A named subscription is about to acknowledge."""
    ACKED = "acked"
    """A named subscription was told that its acknowledgement is durable."""
    ERASING = "erasing"
    """A session is about to be deleted for good."""
    ERASED = "erased"
    """Somebody was told that a session is deleted for good."""
    PRUNING = "pruning"
    """Events of a session, or of all that are not exempt, are about to be pruned."""
    BACKUP = "backup"
    """Somebody was told that a backup is whole."""
    UPKEEP = "upkeep"
    """Somebody was told that the journal was compacted, migrated, repaired, ..."""
    DEFECT = "defect"
    """Something happened in the process that never should."""


class Claim(NamedTuple):
    """One line of the pipe. Which fields are used depends on the kind."""

    kind: ClaimKind
    """What it is about."""
    id: str = ""
    """The session, run, key, name or path; of `SEEN` the session, empty for the whole journal; of `DEFECT` what
    happened."""
    status: str = ""
    """The status in the record; of `KEY` the session, of `CALLED` the tool; of `SEEN` how far behind `first` each event
    stands, empty if they follow each other without a gap; of `DOING` ``begin`` or ``end``."""
    session_id: str = ""
    """The session of a run or a call; of `SEEN` the name of the subscription."""
    first: int = 0
    """Of `SEEN` the place behind which it read: a position for the whole journal, else a sequence number; of `SESSION`
    1 if it was deleted softly; of `DOING` the thread."""
    last: int = 0
    """The last sequence number in a session's record, of a result's events; of `SEEN` the place of the last event; of a
    named subscription its place; of `ERASING` the session's own events; of `BACKUP` its last position."""
    digest: str = ""
    """Of the events which were seen, of a result's output and events."""


class Reporter:
    """Writes claims to a pipe, from any thread.

    The process ends at once if nobody reads the pipe any more: it never outlives the test that started it.

    Args:
        descriptor: The pipe; by default the standard output.
    """

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor

    def opening(self) -> None:
        """The journal is about to be opened."""
        self._write(Claim(ClaimKind.OPENING))

    def session(self, session: Session) -> None:
        """A caller got this record."""
        is_deleted = session.deleted_us is not None
        self._write(
            Claim(ClaimKind.SESSION, session.id, session.status, first=is_deleted, last=session.last_sequence)
        )

    def run(self, run: Run) -> None:
        """A caller got this record."""
        self._write(Claim(ClaimKind.RUN, run.id, run.status, run.session_id))

    def result(self, result: RunResult) -> None:
        """A caller got this result."""
        events = result.events
        last = events[-1].sequence_number or 0
        digest = digest_of(result.output, ()) + digest_of(None, map(mark_of, events))
        self._write(
            Claim(ClaimKind.RESULT, result.run_id, result.status, result.session_id, last=last, digest=digest)
        )

    def key(self, idempotency_key: str, session_id: str) -> None:
        """A caller was told that a key belongs to a session."""
        self._write(Claim(ClaimKind.KEY, idempotency_key, session_id))

    def seen(
        self, session_id: str | None, events: Sequence[Event], after: int | None = None, *, name: str = ""
    ) -> None:
        """A subscriber was handed these events.

        Args:
            session_id: The session that it follows; None for the whole journal.
            events: In the order in which they came; all that it wants.
            after: The place behind which it read, if that is known: then nothing may be missing before the first one.
            name: The subscription's name, if it has one.
        """
        places = [_place(event, session_id) for event in events]
        if any(later <= earlier for earlier, later in pairwise(places)):
            self.defect(f"a subscriber of {session_id or 'the journal'} was handed {places}")
        for start in range(0, len(events), _AT_ONCE):
            part, at = events[start : start + _AT_ONCE], places[start : start + _AT_ONCE]
            before = places[start - 1] if start else at[0] - 1 if after is None else after
            offsets = [place - before for place in at]
            is_whole = offsets == list(range(1, len(at) + 1))
            self._write(
                Claim(
                    ClaimKind.SEEN,
                    session_id or "",
                    "" if is_whole else ",".join(map(str, offsets)),
                    name,
                    before,
                    at[-1],
                    "".join(map(mark_of, part)),
                )
            )

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Within the block a piece of work is done, so that it is known what a kill has hit."""
        thread = threading.get_ident()
        self._write(Claim(ClaimKind.DOING, what, "begin", first=thread))
        try:
            yield
        finally:
            self._write(Claim(ClaimKind.DOING, what, "end", first=thread))

    def called(self, key: str, tool: str, session_id: str) -> None:
        """A tool of the host begins its work; `key` is one call's own, and the argument ``key`` of that call."""
        self._write(Claim(ClaimKind.CALLED, key, tool, session_id))

    def resumed(self, name: str, place: int) -> None:
        """A named subscription was opened and stands at a place."""
        self._write(Claim(ClaimKind.RESUMED, name, last=place))

    def acking(self, name: str, place: int) -> None:
        """A named subscription is about to acknowledge everything up to a place."""
        self._write(Claim(ClaimKind.ACKING, name, last=place))

    def acked(self, name: str, place: int) -> None:
        """It was told that this is durable."""
        self._write(Claim(ClaimKind.ACKED, name, last=place))

    def erasing(self, session: Session) -> None:
        """A session that nothing can change any more is about to be deleted for good."""
        n_own = session.last_sequence - (session.forked_at or 0)
        self._write(Claim(ClaimKind.ERASING, session.id, last=n_own))

    def erased(self, session_id: str) -> None:
        """Somebody was told that it is gone for good."""
        self._write(Claim(ClaimKind.ERASED, session_id))

    def pruning(self, session_id: str = "") -> None:
        """Events of a session, or of all without the tag ``pinned``, are about to be pruned."""
        self._write(Claim(ClaimKind.PRUNING, session_id))

    def backup(self, path: str, last_position: int) -> None:
        """Somebody was told that a backup is whole."""
        self._write(Claim(ClaimKind.BACKUP, path, last=last_position))

    def upkeep(self, what: str) -> None:
        """Somebody was told that this has been done to the journal."""
        self._write(Claim(ClaimKind.UPKEEP, what))

    def defect(self, text: str) -> None:
        """Something happened that never should."""
        self._write(Claim(ClaimKind.DEFECT, text[:_MAX_TEXT]))

    def _write(self, claim: Claim) -> None:
        line = (json.dumps(claim, ensure_ascii=False) + "\n").encode()
        assert len(line) <= _MAX_LINE or claim.kind is ClaimKind.DEFECT, claim
        try:
            os.write(self._descriptor, line)
        except BrokenPipeError:
            os._exit(1)


def digest_of(output: object, marks: Iterable[str]) -> str:
    """Sum up an output, and events by their marks, in 24 characters."""
    found = hashlib.blake2b(json.dumps(output, sort_keys=True).encode(), digest_size=_DIGEST_BYTES)
    for mark in marks:
        found.update(mark.encode())
    return found.hexdigest()


def mark_of(event: Event) -> str:
    """Sum up every field of an event in `MARK` characters."""
    text = json.dumps(event.to_map(), sort_keys=True)
    return base64.b64encode(hashlib.blake2b(text.encode(), digest_size=_MARK_BYTES).digest()).decode()


def _place(event: Event, session_id: str | None) -> int:
    return (event.position if session_id is None else event.sequence_number) or 0
