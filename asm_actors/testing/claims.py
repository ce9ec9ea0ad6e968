"""What a process that may be killed told its callers, and whether a journal keeps it.

The process that will be killed holds a `Reporter`: as soon as a caller has been answered, or a subscriber has seen
events, it writes one line about that to a pipe. Such a line is a `Claim`. Whoever reads the other end of the pipe
collects the claims in a `Ledger`, which compares them with the journal once the process is dead. A line is shorter
than what a pipe takes at once, so a kill cannot leave half of one behind.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from asm_actors.events import Event, EventType
from asm_actors.journal.store import Store
from asm_actors.runs.result import RunResult
from asm_actors.runs.run import TERMINAL_RUN_STATUSES, Run, RunStatus
from asm_actors.sessions.session import TERMINAL_SESSION_STATUSES, Session, SessionStatus

__all__ = ["Claim", "ClaimKind", "Ledger", "Reporter"]

_PAGE: Final = 5_000
_DIGEST_BYTES: Final = 12
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
    DEFECT = "defect"
    """Something happened in the process that never should."""


class Claim(NamedTuple):
    """One line of the pipe. Which fields are used depends on the kind."""

    kind: ClaimKind
    """What it is about."""
    id: str = ""
    """The session, run or key; of `SEEN` the session, empty for the whole journal; of `DEFECT` what happened."""
    status: str = ""
    """The status in the record; of `KEY` the session."""
    session_id: str = ""
    """The session of a run."""
    first: int = 0
    """Of `SEEN`: the place of the first event; a position for the whole journal, else a sequence number."""
    last: int = 0
    """The last sequence number in a session's record, of a result's events; of `SEEN` the place of the last event."""
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
        self._write(Claim(ClaimKind.SESSION, session.id, session.status, last=session.last_sequence))

    def run(self, run: Run) -> None:
        """A caller got this record."""
        self._write(Claim(ClaimKind.RUN, run.id, run.status, run.session_id))

    def result(self, result: RunResult) -> None:
        """A caller got this result."""
        events = result.events
        last = events[-1].sequence_number or 0
        digest = _digest_of(result.output, map(_digest_of_event, events))
        self._write(
            Claim(ClaimKind.RESULT, result.run_id, result.status, result.session_id, last=last, digest=digest)
        )

    def key(self, idempotency_key: str, session_id: str) -> None:
        """A caller was told that a key belongs to a session."""
        self._write(Claim(ClaimKind.KEY, idempotency_key, session_id))

    def seen(self, session_id: str | None, events: Sequence[Event]) -> None:
        """A subscriber of a session, or of the whole journal (None), was handed these events."""
        if not events:
            return
        places = [_place(event, session_id) for event in events]
        if places != list(range(places[0], places[0] + len(places))):
            self.defect(f"a subscriber of {session_id or 'the journal'} was handed {places}")
        digest = _digest_of(None, map(_digest_of_event, events))
        self._write(Claim(ClaimKind.SEEN, session_id or "", first=places[0], last=places[-1], digest=digest))

    def defect(self, text: str) -> None:
        """Something happened that never should."""
        self._write(Claim(ClaimKind.DEFECT, text[:_MAX_TEXT]))

    def _write(self, claim: Claim) -> None:
        line = (json.dumps(claim, ensure_ascii=False) + "\n").encode()
        assert len(line) <= _MAX_LINE or claim.kind is ClaimKind.DEFECT
        try:
            os.write(self._descriptor, line)
        except BrokenPipeError:
            os._exit(1)


class Ledger:
    """All claims of the lives of one journal, in their order."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []

    def read(self, lines: Iterable[bytes]) -> None:
        """Take what a life wrote, line by line."""
        for line in lines:
            kind, *rest = json.loads(line)
            self.claims.append(Claim(ClaimKind(kind), *rest))

    def count(self, kind: ClaimKind) -> int:
        """Return how many claims are of a kind."""
        return sum(claim.kind is kind for claim in self.claims)

    def faults(self, store: Store) -> list[str]:
        """Compare the claims with an open journal; one sentence per claim that it does not keep."""
        journal = _Journal(store)
        faults = list(journal.double_ids())
        for claim in self.claims:
            faults += journal.broken(claim)
        return faults


class _Journal:
    """Everything a journal holds, read once."""

    def __init__(self, store: Store) -> None:
        self.sessions = {session.id: session for session in store.sessions(include_deleted=True)}
        self.runs = {run.id: run for run in store.runs()}
        self.keys: dict[str, str] = {}
        self.events: list[Event] = []
        while True:
            page = store.read_all(after=len(self.events), limit=_PAGE)
            if not page.events:
                break
            self.events += page.events
        self.by_session: dict[str, list[Event]] = {}
        for event in self.events:
            self.by_session.setdefault(event.session_id, []).append(event)
        # Many claims are about the same event.
        self._digests: dict[int, bytes] = {}

    def _digest(self, event: Event) -> bytes:
        position = event.position or 0
        found = self._digests.get(position)
        if found is None:
            found = self._digests[position] = _digest_of_event(event)
        return found

    def double_ids(self) -> Iterator[str]:
        """Events that share an id."""
        places: dict[str, int | None] = {}
        for event in self.events:
            if event.id in places:
                yield f"{event.id} stands at {places[event.id]} and again at {event.position}"
            places[event.id] = event.position

    def broken(self, claim: Claim) -> Iterator[str]:
        """Say what is wrong with a claim."""
        match claim.kind:
            case ClaimKind.SESSION:
                yield from self._session(claim)
            case ClaimKind.RUN:
                yield from self._run(claim)
            case ClaimKind.RESULT:
                yield from self._result(claim)
            case ClaimKind.KEY:
                if self.keys.setdefault(claim.id, claim.status) != claim.status:
                    yield f"{claim.id} belonged to {self.keys[claim.id]}, and later to {claim.status}"
                found = self.sessions.get(claim.status)
                if found is None or found.idempotency_key != claim.id:
                    yield f"{claim.id} belonged to {claim.status}, whose record is {found}"
            case ClaimKind.SEEN:
                events = self.by_session.get(claim.id, []) if claim.id else self.events
                kept = events[claim.first - 1 : claim.last]
                if _digest_of(None, map(self._digest, kept)) != claim.digest:
                    yield f"a subscriber saw other events than these: {claim}, {kept}"
            case ClaimKind.DEFECT:
                yield f"the process reported: {claim.id}"
            case ClaimKind.OPENING:
                pass

    def _session(self, claim: Claim) -> Iterator[str]:
        session = self.sessions.get(claim.id)
        if session is None:
            yield f"a caller got {claim.id}, which is not there: {claim}"
        elif session.last_sequence < claim.last:
            yield f"{claim.id} ends at {session.last_sequence}; a caller had seen {claim.last}"
        elif SessionStatus(claim.status) in TERMINAL_SESSION_STATUSES and session.status != claim.status:
            yield f"a caller was told that {claim.id} is {claim.status}; it is {session.status}"
        elif session.status is SessionStatus.PENDING and claim.status != SessionStatus.PENDING:
            yield f"{claim.id} was {claim.status}, and is pending again"

    def _run(self, claim: Claim) -> Iterator[str]:
        run = self.runs.get(claim.id)
        if run is None or run.session_id != claim.session_id:
            yield f"a caller got {claim.id} of {claim.session_id}, and the journal has {run}"
        elif RunStatus(claim.status) in TERMINAL_RUN_STATUSES and run.status != claim.status:
            yield f"a caller was told that {claim.id} is {claim.status}; it is {run.status}"
        elif run.status is RunStatus.PENDING and claim.status != RunStatus.PENDING:
            yield f"{claim.id} was {claim.status}, and is pending again"

    def _result(self, claim: Claim) -> Iterator[str]:
        faults = list(self._run(claim))
        yield from faults
        if faults:
            return
        events = self.by_session.get(claim.session_id, [])
        own = [event for event in events if event.run_id == claim.id]
        if not own or own[-1].sequence_number != claim.last or own[-1].type is not EventType.RUN_COMPLETED:
            yield f"{claim.id} ended at {claim.last} of {claim.session_id}; its last events are {own[-2:]}"
        elif _digest_of(self.runs[claim.id].output, map(self._digest, own)) != claim.digest:
            yield f"a caller got another result of {claim.id} than the journal has: {own}"


def _place(event: Event, session_id: str | None) -> int:
    return (event.position if session_id is None else event.sequence_number) or 0


def _digest_of(output: object, events: Iterable[bytes]) -> str:
    """Sum up an output, and events by their own digests."""
    found = hashlib.blake2b(json.dumps(output, sort_keys=True).encode(), digest_size=_DIGEST_BYTES)
    for event in events:
        found.update(event)
    return found.hexdigest()


def _digest_of_event(event: Event) -> bytes:
    """Sum up every field of an event."""
    text = json.dumps(event.to_map(), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()
