"""The pure part of a commit: where each append of a group goes, and which are refused.

1. A group is planned against what is stored (:class:`Stored`) and what the group itself placed before.
2. An append that is refused leaves no trace in the plan.
3. Nothing stored changes here: the store writes the finished plan, and only then takes over its new numbers.

Sessions and runs get numbers in the order of their creation. They order the listings, and as keys of eight bytes
they keep the indexes small.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.ids import event_id
from asm_actors.journal.append import Append, Appended, Draft, Packed
from asm_actors.journal.codec import (
    columns_of,
    event_ids_of,
    events_of,
    pack_run,
    pack_segment,
    pack_session,
    seal_segment,
    unpack_segment,
)
from asm_actors.journal.large import EMPTY_VALUE, LargeValues
from asm_actors.journal.lineage import check_place
from asm_actors.journal.packing import finding
from asm_actors.journal.query import EventFilter
from asm_actors.runs.run import Run
from asm_actors.sessions.session import Session

__all__ = ["Counters", "Group", "PlacedRun", "PlacedSegment", "Spot", "Stored", "known_in_blob"]


class Counters(NamedTuple):
    """The next numbers to give away."""

    position: int = 1
    session: int = 1
    run: int = 1


class Spot:
    """Where a session stands: its number and the sequence number of its last event."""

    __slots__ = ("head", "number")

    def __init__(self, number: int, head: int) -> None:
        self.number = number
        self.head = head


class PlacedRun(NamedTuple):
    """A run's record and where it goes."""

    run: Run
    owner: int
    """The number of its session."""
    is_new: bool


class PlacedSegment(NamedTuple):
    """The events of one append and where they go."""

    number: int
    first_sequence: int
    n_events: int
    first_position: int
    blob: bytes


class Stored(Protocol):
    """What a plan asks of the store. All of it is read only."""

    def spot(self, session_id: str) -> Spot | None:
        """Return where a session stands, or None if it is unknown."""
        ...

    def run_spot(self, run_id: str) -> tuple[int, int] | None:
        """Return a run's number and its session's number, or None if it is unknown."""
        ...

    def session_by_key(self, idempotency_key: str) -> str | None:
        """Return the id of the session with this idempotency key."""
        ...

    def run_by_key(self, session_id: str, idempotency_key: str) -> str | None:
        """Return the id of the session's run with this idempotency key."""
        ...

    def known_events(self, session_id: str, ids: Collection[str]) -> Mapping[str, Event]:
        """Return those events of a session that have one of these ids."""
        ...


class Group:
    """One group of appends on its way into a store.

    Attributes:
        answers: what became of each append so far, in order.
        segments: the events to write.
        sessions: the last version of each session record to write, by number, and whether it is new.
        runs: the last version of each run record to write, by the run's number.
        spots: where the touched sessions stand afterwards, by id.
        large: the payloads that do not stand in the segments and records themselves, by digest.
        counters: the next numbers to give away afterwards.
    """

    def __init__(self, stored: Stored, counters: Counters) -> None:
        self._stored = stored
        self.answers: list[Appended | AsmError] = []
        self.segments: list[PlacedSegment] = []
        self.sessions: dict[int, tuple[Session, bool]] = {}
        self.runs: dict[int, PlacedRun] = {}
        self.spots: dict[str, Spot] = {}
        self.large: LargeValues = {}
        self._position, self._next_session, self._next_run = counters
        self._run_numbers: dict[str, int] = {}
        self._session_keys: dict[str, str] = {}
        self._run_keys: dict[tuple[str, str], str] = {}

    @property
    def counters(self) -> Counters:
        """The next numbers to give away once this group is written."""
        return Counters(self._position, self._next_session, self._next_run)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.segments or self.sessions or self.runs)

    @classmethod
    def plan(cls, stored: Stored, counters: Counters, appends: Sequence[Append]) -> Group:
        """Place a group.

        Only the last version of each record is encoded, when the group is complete. If one then turns out not to be
        storable, it is too late to refuse its append alone, so the group is planned again with each record encoded
        where it stands.
        """
        group = cls(stored, counters)
        for append in appends:
            group._answer(append)
        try:
            group.encoded = group._encode()
        except AsmError:
            group = cls(stored, counters)
            for append in appends:
                group._answer(append, check_records=True)
            group.encoded = group._encode()
        return group

    encoded: tuple[dict[int, bytes], dict[int, bytes]]
    """The encoded session records and run records, by number."""

    def _encode(self) -> tuple[dict[int, bytes], dict[int, bytes]]:
        return (
            {number: pack_session(session, self.large) for number, (session, _) in self.sessions.items()},
            {number: pack_run(placed.run, self.large) for number, placed in self.runs.items()},
        )

    def _answer(self, append: Append, *, check_records: bool = False) -> None:
        try:
            if check_records:
                _check_storable(append)
            answer: Appended | AsmError = self._place(append)
        except AsmError as error:
            error.context.setdefault("session_id", append.session_id)
            answer = error
        self.answers.append(answer)

    def _place(self, append: Append) -> Appended:
        session_id, drafts, base_id, session, runs, expect = append
        known = self.spots.get(session_id) or self._stored.spot(session_id)
        if known is None and session is None:
            raise AsmError(ErrorCode.SESSION_NOT_FOUND, f"there is no session {session_id}")
        if known is not None:
            number, head = known.number, known.head
        else:
            # What a fork shares with its parent counts as its own.
            number, head = self._next_session, 0 if session is None else session.forked_at or 0
        position = self._position
        answer: Appended | None = None
        if expect is None:
            if isinstance(drafts, Packed):
                raise AsmError(
                    ErrorCode.VALIDATION_ERROR, "packed events need the sequence number they follow"
                )
            if head and drafts:
                drafts, answer = self._without_known(append, drafts)
        elif expect != head:
            raise _overtaken(session_id, expect, head)
        if session is not None:
            self._check_session(append, session, is_new=known is None)
        placed = self._check_runs(append, number) if runs else ()
        count = len(drafts)
        if count:
            if isinstance(drafts, Packed):
                blob = seal_segment(number, head + 1, drafts.body)
                if drafts.large is not None:
                    self.large.update(drafts.large)
            else:
                columns = columns_of(drafts)
                if answer is None and any(columns[7]):
                    self._check_ids(append, drafts, head)
                blob = pack_segment(number, head + 1, base_id, columns, self.large)
            self.segments.append(PlacedSegment(number, head + 1, count, position, blob))
            self._position = position + count
        # Whatever refuses an append stands above the segment, so from here on it is in.
        self.spots[session_id] = Spot(number, head + count)
        if session is not None:
            self._take_session(number, session, is_new=known is None)
        for run_number, run in placed:
            self._take_run(run_number, run)
        return answer if answer is not None and not count else Appended(head + 1, position, count)

    def _take_session(self, number: int, session: Session, *, is_new: bool) -> None:
        if is_new:
            self._next_session += 1
            if session.idempotency_key is not None:
                self._session_keys[session.idempotency_key] = session.id
        before = self.sessions.get(number)
        self.sessions[number] = (session, is_new or (before is not None and before[1]))

    def _take_run(self, number: int, run: PlacedRun) -> None:
        before = self.runs.get(number)
        if run.is_new:
            self._next_run = number + 1
            self._run_numbers[run.run.id] = number
            if run.run.idempotency_key is not None:
                self._run_keys[run.run.session_id, run.run.idempotency_key] = run.run.id
        elif before is not None and before.is_new:
            run = run._replace(is_new=True)
        self.runs[number] = run

    def _check_session(self, append: Append, session: Session, is_new: bool) -> None:
        if session.id != append.session_id:
            raise AsmError(
                ErrorCode.SESSION_MISMATCH,
                f"the append of {append.session_id} brings the record of {session.id}",
            )
        if is_new and session.forked_at is not None:
            self._check_fork(session, session.forked_at)
        key = session.idempotency_key
        if is_new and key is not None:
            taken = self._session_keys.get(key) or self._stored.session_by_key(key)
            if taken is not None:
                raise _key_taken("session", key, taken)

    def _check_fork(self, session: Session, at: int) -> None:
        parent = session.parent_session_id
        spot = None if parent is None else self.spots.get(parent) or self._stored.spot(parent)
        if parent is None or spot is None:
            raise AsmError(
                ErrorCode.SESSION_NOT_FOUND, f"there is no session {parent} to fork {session.id} from"
            )
        check_place(parent, at, spot.head)

    def _check_runs(self, append: Append, owner: int) -> list[tuple[int, PlacedRun]]:
        placed: list[tuple[int, PlacedRun]] = []
        fresh: dict[str, int] = {}
        for run in append.runs:
            if run.session_id != append.session_id:
                raise AsmError(
                    ErrorCode.SESSION_MISMATCH,
                    f"the append of {append.session_id} brings a run of {run.session_id}",
                )
            number = fresh.get(run.id) or self._run_numbers.get(run.id)
            if number is not None:
                known = self.runs.get(number)
                if known is not None and known.owner != owner:
                    raise _run_elsewhere(run)
                placed.append((number, PlacedRun(run, owner, False)))
                continue
            stored = self._stored.run_spot(run.id)
            if stored is not None:
                if stored[1] != owner:
                    raise _run_elsewhere(run)
                placed.append((stored[0], PlacedRun(run, owner, False)))
                continue
            if run.idempotency_key is not None:
                self._check_run_key(run, append.runs, fresh)
            number = self._next_run + len(fresh)
            fresh[run.id] = number
            placed.append((number, PlacedRun(run, owner, True)))
        return placed

    def _check_run_key(self, run: Run, beside: Sequence[Run], fresh: Mapping[str, int]) -> None:
        key = run.idempotency_key
        assert key is not None
        taken = self._run_keys.get((run.session_id, key)) or self._stored.run_by_key(run.session_id, key)
        if taken is None:
            taken = next(
                (other.id for other in beside if other.id in fresh and other.idempotency_key == key), None
            )
        if taken is not None:
            raise _key_taken("run", key, taken)

    def _check_ids(self, append: Append, drafts: Sequence[Draft], head: int) -> None:
        """Refuse ids that are there already, or twice in one append."""
        ids = _ids_of(append.base_id, drafts)
        if head:
            for own in self._known(append.session_id, frozenset(ids)):
                raise _event_taken(own)

    def _known(self, session_id: str, ids: Collection[str]) -> dict[str, Event]:
        """Find events by id, in the store and in what this group placed so far."""
        found: dict[str, Event] = {}
        if self._stored.spot(session_id) is not None:
            found.update(self._stored.known_events(session_id, ids))
        spot = self.spots.get(session_id)
        if spot is not None:
            for segment in self.segments:
                if segment.number == spot.number:
                    found.update(known_in_blob(segment.blob, session_id, segment.first_position, ids))
        return found

    def _without_known(
        self, append: Append, drafts: Sequence[Draft]
    ) -> tuple[Sequence[Draft], Appended | None]:
        """Drop the drafts whose events are there already.

        Returns:
            The others, with their ids fixed if any was dropped; and where the first of the dropped ones is.
        """
        ids = _ids_of(append.base_id, drafts)
        known = self._known(append.session_id, frozenset(ids))
        if not known:
            return drafts, None
        for own, draft in zip(ids, drafts, strict=True):
            event = known.get(own)
            if event is not None and (event.type != draft.type or event.run_id != draft.run_id):
                raise _event_taken(own)
        rest = [draft._replace(id=own) for own, draft in zip(ids, drafts, strict=True) if own not in known]
        first = min(known.values(), key=lambda event: event.sequence_number or 0)
        return rest, Appended(first.sequence_number or 0, first.position or 0, 0)


def _ids_of(base_id: int, drafts: Sequence[Draft]) -> list[str]:
    """Return the ids of an append's events, and refuse it if two are equal."""
    ids = [draft.id or event_id(base_id, k) for k, draft in enumerate(drafts)]
    if len(set(ids)) != len(ids):
        raise _event_taken(next(own for own in ids if ids.count(own) > 1))
    return ids


def known_in_blob(
    blob: bytes | memoryview, session_id: str, first_position: int, ids: Collection[str]
) -> dict[str, Event]:
    """Return the events of an encoded segment that have one of these ids."""
    segment = unpack_segment(blob, "segments", session_id)
    if not any(own in ids for own in event_ids_of(segment)):
        return {}
    # Whoever asks compares what they are, not what they tell.
    with finding(lambda _: EMPTY_VALUE):
        events = events_of(segment, session_id, first_position, (0, len(segment.codes)), EventFilter())
    return {event.id: event for event in events if event.id in ids}


def _check_storable(append: Append) -> None:
    if append.session is not None:
        pack_session(append.session)
    for run in append.runs:
        pack_run(run)


def _overtaken(session_id: str, expected: int, actual: int) -> AsmError:
    return AsmError(
        ErrorCode.INVALID_OPERATION,
        f"the last sequence number of {session_id} is {actual}, not {expected}: another writer was faster",
        details={"expected": expected, "actual": actual},
    )


def _key_taken(kind: str, key: str, taken: str) -> AsmError:
    return AsmError(
        ErrorCode.ALREADY_EXISTS,
        f"the idempotency key {key!r} belongs to the {kind} {taken}",
        details={"idempotency_key": key, f"{kind}_id": taken},
    )


def _event_taken(own: str) -> AsmError:
    return AsmError(
        ErrorCode.ALREADY_EXISTS, f"the event id {own} is taken by another event", details={"event_id": own}
    )


def _run_elsewhere(run: Run) -> AsmError:
    return AsmError(
        ErrorCode.RUN_MISMATCH, f"the run {run.id} belongs to another session", context={"run_id": run.id}
    )
